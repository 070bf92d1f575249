//! Groups of machines, each with a semaphore of its own, and where their keys lie.

use crate::error::RebootError;
use std::fmt;

/// The directory of everything about the reboot lock, as locksmith has it.
pub const ROOT: &str = "/coreos.com/updateengine/rebootlock";

/// The directory below which each named group has one of its own.
pub const GROUPS: &str = "/coreos.com/updateengine/rebootlock/groups";

/// A group of machines that share a semaphore. The one without a name is locksmith's default; FleetLock calls it
/// `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

impl Group {
    /// The group of this name, as `-group` gives it; empty is the default one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The group FleetLock's clients mean. `default` is the one without a name, so that both protocols meet there.
    ///
    /// # Errors
    /// [`RebootError::GroupName`] where a character is not one of `a-z A-Z 0-9 . -`.
    pub fn fleetlock(name: &str) -> Result<Self, RebootError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(RebootError::GroupName { name: name.to_owned() });
        }
        Ok(Self(if name == "default" { String::new() } else { name.to_owned() }))
    }

    /// The name; empty for the default group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The directory of its keys.
    #[must_use]
    pub fn directory(&self) -> String {
        if self.0.is_empty() { ROOT.to_owned() } else { format!("{GROUPS}/{}", query_escape(&self.0)) }
    }

    /// Locksmith's key.
    #[must_use]
    pub fn semaphore_key(&self) -> String {
        format!("{}/semaphore", self.directory())
    }

    /// Our key beside it. Its name begins with `_`: the v2 store lists no such key, and locksmith asks for none.
    #[must_use]
    pub fn ledger_key(&self) -> String {
        format!("{}/_seatrial", self.directory())
    }

    /// The group whose directory this is, where it is one below [`GROUPS`].
    #[must_use]
    pub fn of_directory(key: &str) -> Option<Self> {
        let escaped = key.strip_prefix(GROUPS)?.strip_prefix('/')?;
        (!escaped.is_empty() && !escaped.contains('/')).then(|| Self(query_unescape(escaped)))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "default" } else { &self.0 })
    }
}

/// As Go's `url.QueryEscape`: a space becomes `+`, everything but letters, digits and `-_.~` becomes `%XX`.
#[must_use]
pub fn query_escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The way back. What is no escape stays as it is.
fn query_unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |place: usize| bytes.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_lie_where_locksmith_has_them() {
        for (group, key) in [
            ("", "/coreos.com/updateengine/rebootlock/semaphore"),
            ("lb", "/coreos.com/updateengine/rebootlock/groups/lb/semaphore"),
            ("lb one", "/coreos.com/updateengine/rebootlock/groups/lb+one/semaphore"),
            ("a/b", "/coreos.com/updateengine/rebootlock/groups/a%2Fb/semaphore"),
            ("ü+~", "/coreos.com/updateengine/rebootlock/groups/%C3%BC%2B~/semaphore"),
        ] {
            assert_eq!(Group::new(group).semaphore_key(), key);
        }
    }

    #[test]
    fn our_key_is_one_that_the_v2_store_does_not_list() {
        let key = Group::new("lb").ledger_key();
        assert!(key.rsplit('/').next().unwrap().starts_with('_'), "{key} would be listed");
    }

    #[test]
    fn fleetlocks_default_is_the_group_without_a_name() {
        assert_eq!(Group::fleetlock("default"), Ok(Group::default()));
        assert_eq!(Group::fleetlock("lb-1.x").unwrap().name(), "lb-1.x");
        for bad in ["", "a b", "a/b", "ü", "a_b"] {
            assert!(Group::fleetlock(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn only_a_directory_right_below_the_groups_is_a_group() {
        assert_eq!(Group::of_directory(&format!("{GROUPS}/lb+one")), Some(Group::new("lb one")));
        for other in
            [ROOT.to_owned(), GROUPS.to_owned(), format!("{GROUPS}/"), format!("{GROUPS}/a/semaphore")]
        {
            assert_eq!(Group::of_directory(&other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_directory_of_its_own_and_comes_back_from_it(name in "\\PC{1,12}") {
            let group = Group::new(name);
            prop_assert_eq!(Group::of_directory(&group.directory()), Some(group));
        }
    }
}
