//! Users and roles as they lie in the store, and how one is changed by another.

use super::{GUEST, ROOT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Deref;

/// A request about users or roles that is refused, with its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("auth: {text}")]
pub struct AuthError {
    /// Of HTTP.
    pub status: u16,
    /// Why.
    pub text: String,
}

pub(super) fn refuse<T>(status: u16, text: impl Into<String>) -> Result<T, AuthError> {
    Err(AuthError { status, text: text.into() })
}

/// A list as Go has it: one that is absent is written as `null`, and an empty one as such.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List(Option<Vec<String>>);

impl Deref for List {
    type Target = [String];

    fn deref(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FromIterator<String> for List {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(Some(names.into_iter().collect()))
    }
}

impl List {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }

    fn push(&mut self, name: &str) {
        self.0.get_or_insert_default().push(name.to_owned());
    }
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The name.
    pub user: String,
    /// A hash where it lies in the store, plain in requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Names of roles.
    pub roles: List,
    /// In requests: roles to be added.
    #[serde(skip_serializing_if = "List::is_nothing")]
    pub grant: List,
    /// In requests: roles to be taken away.
    #[serde(skip_serializing_if = "List::is_nothing")]
    pub revoke: List,
}

impl User {
    /// The user `root` always has the role `root`.
    pub(super) fn with_root(mut self) -> Self {
        if self.user == ROOT && !self.roles.iter().any(|role| role == ROOT) {
            self.roles.push(ROOT);
        }
        self
    }

    /// This user, changed by a request whose password is a hash by now.
    pub(super) fn merged(&self, change: &Self) -> Result<Self, AuthError> {
        let mut roles: BTreeSet<String> = self.roles.iter().cloned().collect();
        for role in change.grant.iter() {
            if !roles.insert(role.clone()) {
                return refuse(409, format!("Granting duplicate role {role} for user {}", change.user));
            }
        }
        for role in change.revoke.iter() {
            if !roles.remove(role) {
                return refuse(409, format!("Revoking ungranted role {role} for user {}", change.user));
            }
        }
        let password = if change.password.is_empty() { &self.password } else { &change.password };
        Ok(Self {
            user: self.user.clone(),
            password: password.clone(),
            roles: roles.into_iter().collect(),
            ..Self::default()
        })
    }
}

/// What a role allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RwPermission {
    /// Keys that may be read; `*` at the end stands for all that begin so.
    pub read: List,
    /// Keys that may be written.
    pub write: List,
}

impl RwPermission {
    /// Whether a key may be read or written; and with everything below, where it is to be recursive.
    fn allows(&self, key: &str, write: bool, recursive: bool) -> bool {
        let patterns = if write { &self.write } else { &self.read };
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => !recursive && key == pattern,
        })
    }
}

/// What a role allows, by what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Keys.
    pub kv: RwPermission,
}

impl Permissions {
    fn is_empty(&self) -> bool {
        self.kv.read.is_empty() && self.kv.write.is_empty()
    }

    fn all() -> Self {
        let all = || List::from_iter(["/*".to_owned()]);
        Self { kv: RwPermission { read: all(), write: all() } }
    }
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// The name.
    pub role: String,
    /// What it allows.
    pub permissions: Permissions,
    /// In requests: what it is to allow besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Permissions>,
    /// In requests: what it is to allow no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Permissions>,
}

impl Role {
    /// The role that may do everything; it lies in no store.
    #[must_use]
    pub fn root() -> Self {
        Self { role: ROOT.to_owned(), permissions: Permissions::all(), ..Self::default() }
    }

    /// What whoever shows no name may do, until somebody says otherwise: everything, so that turning users on breaks
    /// nothing.
    pub(super) fn guest() -> Self {
        Self { role: GUEST.to_owned(), permissions: Permissions::all(), ..Self::default() }
    }

    /// Whether a request is about a new role rather than about a change.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let nothing = |of: &Option<Permissions>| of.as_ref().is_none_or(Permissions::is_empty);
        nothing(&self.grant) && nothing(&self.revoke)
    }

    /// Whether it allows anything by itself.
    #[must_use]
    pub fn has_permissions(&self) -> bool {
        !self.permissions.is_empty()
    }

    pub(super) fn allows(&self, key: &str, write: bool, recursive: bool) -> bool {
        self.role == ROOT || self.permissions.kv.allows(key, write, recursive)
    }

    /// This role, changed by a request.
    pub(super) fn merged(&self, change: &Self) -> Result<Self, AuthError> {
        let none = Permissions::default();
        let (grant, revoke) =
            (change.grant.as_ref().unwrap_or(&none), change.revoke.as_ref().unwrap_or(&none));
        let merge = |old: &[String], grant: &[String], revoke: &[String], what: &str| {
            let mut keys: BTreeSet<String> = old.iter().cloned().collect();
            for key in grant {
                if !keys.insert(key.clone()) {
                    return refuse(409, format!("Granting duplicate {what} permission {key}"));
                }
            }
            // What is not there is gone already.
            for key in revoke {
                keys.remove(key);
            }
            Ok(keys.into_iter().collect())
        };
        let kv = &self.permissions.kv;
        let read = merge(&kv.read, &grant.kv.read, &revoke.kv.read, "read")?;
        let write = merge(&kv.write, &grant.kv.write, &revoke.kv.write, "write")?;
        let permissions = Permissions { kv: RwPermission { read, write } };
        Ok(Self { role: self.role.clone(), permissions, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(read: &[&str], write: &[&str]) -> Permissions {
        let own = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
        Permissions { kv: RwPermission { read: own(read), write: own(write) } }
    }

    #[test]
    fn a_star_at_the_end_stands_for_all_that_begin_so() {
        let allows = |key: &str, recursive| role(&["/a/*", "/b"], &[]).kv.allows(key, false, recursive);
        assert!(allows("/a/x/y", false) && allows("/a/x", true) && allows("/b", false));
        assert!(!allows("/b", true), "below /b there is nothing allowed");
        assert!(!allows("/a", false) && !allows("/b/c", false) && !allows("/ab", false));
        assert!(!role(&["/*"], &[]).kv.allows("/a", true, false), "to read is not to write");
    }

    #[test]
    fn what_is_granted_twice_is_refused_and_what_is_not_there_is_revoked_quietly() {
        let old = Role { role: "r".into(), permissions: role(&["/a"], &[]), ..Role::default() };
        let change = |grant, revoke| Role { role: "r".into(), grant, revoke, ..Role::default() };
        let error = old.merged(&change(Some(role(&["/a"], &[])), None)).unwrap_err();
        assert_eq!(error.to_string(), "auth: Granting duplicate read permission /a");
        let merged =
            old.merged(&change(Some(role(&["/0"], &["/w"])), Some(role(&["/a", "/none"], &[])))).unwrap();
        assert_eq!(merged.permissions, role(&["/0"], &["/w"]));
    }

    #[test]
    fn roles_of_a_user_are_granted_and_revoked_once() {
        let old = User {
            user: "u".into(),
            password: "h".into(),
            roles: ["b".to_owned()].into_iter().collect(),
            ..User::default()
        };
        let change = |grant: &[&str], revoke: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            User { user: "u".into(), grant: own(grant), revoke: own(revoke), ..User::default() }
        };
        assert_eq!(&*old.merged(&change(&["a"], &[])).unwrap().roles, ["a", "b"]);
        assert_eq!(old.merged(&change(&["b"], &[])).unwrap_err().status, 409);
        assert_eq!(old.merged(&change(&[], &["a"])).unwrap_err().status, 409);
        assert_eq!(old.merged(&change(&[], &["b"])).unwrap().password, "h");
    }

    #[test]
    fn absent_lists_may_be_null() {
        let user: User = serde_json::from_str(r#"{"user":"u","roles":null,"grant":null}"#).unwrap();
        assert!(user.roles.is_empty() && user.grant.is_empty());
        assert_eq!(serde_json::to_string(&user).unwrap(), r#"{"user":"u","roles":null}"#);
    }
}
