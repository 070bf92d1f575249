//! The semaphore as locksmith keeps it: who holds it, and how many may.
//!
//! The value of the key is locksmith's JSON to the byte, so that its old programs read what we write and we what they
//! write. Nothing else is ever put into it: they would drop it with their next change.

use seatrial_types::planted::{Planted, is_planted};
use serde::{Deserialize, Serialize};

/// Why locksmith refuses a change; the texts are those it prints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SemaphoreError {
    /// No slot is free. Locksmith tests this first, so that a holder who asks again hears it too.
    #[error("semaphore is at {at}")]
    Exhausted {
        /// Free slots; below zero where `set-max` went below the holders.
        at: i64,
    },
    /// A slot is free, and whoever asks has one already.
    #[error("holder exists")]
    HolderExists,
    /// Whoever gives back holds nothing.
    #[error("holder does not exist")]
    HolderDoesNotExist,
}

/// The value is not locksmith's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the semaphore is not JSON as locksmith writes it: {why}\nhint: read the key with `etcdctl get`, write down who holds it, and delete it; the next command makes a new one"
)]
pub struct Malformed {
    /// What the parser says.
    pub why: String,
}

/// A counting semaphore whose holders have names.
///
/// Invariant (K2): `free + holders == max`, and no holder stands in it twice. `free` is below zero where the maximum
/// was set below the number of holders; it rises again as they leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Semaphore {
    free: i64,
    max: i64,
    /// In byte order, each once.
    holders: Vec<String>,
    /// No holder was ever written: locksmith says `null` then and `[]` later.
    untouched: bool,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    #[serde(default)]
    semaphore: i64,
    #[serde(default)]
    max: i64,
    #[serde(default)]
    holders: Option<Vec<String>>,
}

impl Default for Semaphore {
    /// What is made where no semaphore exists: one slot, nobody in it.
    fn default() -> Self {
        Self { free: 1, max: 1, holders: Vec::new(), untouched: true }
    }
}

impl Semaphore {
    /// Reads the key's value. What contradicts itself is put right by the holders and the maximum, which are facts, while
    /// the count is derived: holders in any order, one of them twice, or a wrong count.
    ///
    /// # Errors
    /// [`Malformed`] where it is no such JSON at all.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        let Raw { semaphore: _, max, holders } =
            serde_json::from_str(value).map_err(|error| Malformed { why: error.to_string() })?;
        let untouched = holders.is_none();
        let mut holders = holders.unwrap_or_default();
        holders.sort_unstable();
        holders.dedup();
        let mut semaphore = Self { free: 0, max, holders, untouched };
        semaphore.recount();
        Ok(semaphore)
    }

    /// The key's value, as Go writes it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let holders = (!self.untouched).then(|| self.holders.clone());
        let raw = Raw { semaphore: self.free, max: self.max, holders };
        go_escaped(&serde_json::to_string(&raw).expect("numbers and strings are always JSON"))
    }

    /// Who holds it, in byte order.
    #[must_use]
    pub fn holders(&self) -> &[String] {
        &self.holders
    }

    /// Whether this one holds it.
    #[must_use]
    pub fn is_held_by(&self, id: &str) -> bool {
        self.find(id).is_ok()
    }

    /// The number of slots. Locksmith allows zero, which grants nothing, and less.
    #[must_use]
    pub fn max(&self) -> i64 {
        self.max
    }

    /// Locksmith's count of free slots, below zero where there are more holders than slots.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.free
    }

    /// Free slots as they are.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.free.max(0)
    }

    /// How many holders there are beyond the slots, after `set-max` went below them.
    #[must_use]
    pub fn over(&self) -> i64 {
        // A maximum below zero grants as little as zero does.
        (len(&self.holders) - self.max.max(0)).max(0)
    }

    /// Takes a slot, as locksmith does: a holder who asks again is refused.
    ///
    /// # Errors
    /// [`SemaphoreError::Exhausted`] first, then [`SemaphoreError::HolderExists`].
    pub fn lock(&mut self, id: &str) -> Result<(), SemaphoreError> {
        if self.free <= 0 {
            return Err(SemaphoreError::Exhausted { at: self.free });
        }
        let place = self.find(id).err().ok_or(SemaphoreError::HolderExists)?;
        self.holders.insert(place, id.to_owned());
        self.untouched = false;
        self.recount();
        Ok(())
    }

    /// Takes a slot, or does nothing where this one has it; says whether it is new.
    ///
    /// # Errors
    /// [`SemaphoreError::Exhausted`].
    pub fn lock_again(&mut self, id: &str) -> Result<bool, SemaphoreError> {
        if self.is_held_by(id) { Ok(false) } else { self.lock(id).map(|()| true) }
    }

    /// Gives a slot back.
    ///
    /// # Errors
    /// [`SemaphoreError::HolderDoesNotExist`].
    pub fn unlock(&mut self, id: &str) -> Result<(), SemaphoreError> {
        let place = self.find(id).map_err(|_| SemaphoreError::HolderDoesNotExist)?;
        self.holders.remove(place);
        self.recount();
        Ok(())
    }

    /// Changes the number of slots and gives the old one. Nobody loses a slot: where there are more holders now than
    /// slots, nothing is granted until enough have left.
    pub fn set_max(&mut self, max: i64) -> i64 {
        let old = std::mem::replace(&mut self.max, max);
        if is_planted(Planted::K16) {
            self.holders.clear();
        }
        self.recount();
        old
    }

    /// As if it were another's (K15).
    pub(crate) fn lock_twice(&mut self, id: &str) {
        let place = self.find(id).unwrap_or_else(|place| place);
        self.holders.insert(place, id.to_owned());
        self.recount();
    }

    /// Panics where the invariant does not hold.
    pub fn check(&self) {
        if is_planted(Planted::K15) {
            return;
        }
        let held = len(&self.holders);
        assert!(
            self.free.saturating_add(held) == self.max,
            "{} free + {held} held != {}",
            self.free,
            self.max
        );
        assert!(
            self.holders.is_sorted_by(|a, b| a < b),
            "holders {:?} not in order, each once",
            self.holders
        );
    }

    fn find(&self, id: &str) -> Result<usize, usize> {
        self.holders.binary_search_by(|holder| holder.as_str().cmp(id))
    }

    fn recount(&mut self) {
        self.free = self.max.saturating_sub(len(&self.holders));
    }
}

fn len(holders: &[String]) -> i64 {
    i64::try_from(holders.len()).expect("fewer holders than an i64 can count")
}

/// Go's encoder escapes what could end a script in HTML.
fn go_escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(max: i64, holders: &[&str]) -> Semaphore {
        let mut semaphore = Semaphore::default();
        semaphore.set_max(i64::MAX);
        for holder in holders {
            semaphore.lock(holder).unwrap();
        }
        semaphore.set_max(max);
        semaphore
    }

    #[test]
    fn a_semaphore_is_written_as_locksmith_writes_it() {
        assert_eq!(Semaphore::default().to_json(), r#"{"semaphore":1,"max":1,"holders":null}"#);
        let mut semaphore = held(3, &["m2", "m1"]);
        assert_eq!(semaphore.to_json(), r#"{"semaphore":1,"max":3,"holders":["m1","m2"]}"#);
        semaphore.unlock("m1").unwrap();
        semaphore.unlock("m2").unwrap();
        assert_eq!(semaphore.to_json(), r#"{"semaphore":3,"max":3,"holders":[]}"#);
        assert_eq!(
            held(1, &["a<b&c>"]).to_json(),
            r#"{"semaphore":0,"max":1,"holders":["a\u003cb\u0026c\u003e"]}"#
        );
    }

    #[test]
    fn null_and_an_empty_list_of_holders_are_told_apart() {
        for json in [r#"{"semaphore":1,"max":1,"holders":null}"#, r#"{"semaphore":1,"max":1,"holders":[]}"#] {
            assert_eq!(Semaphore::parse(json).unwrap().to_json(), json);
        }
    }

    #[test]
    fn refusals_are_locksmiths_and_a_full_semaphore_is_told_before_a_holder_is_known() {
        let mut semaphore = Semaphore::default();
        semaphore.lock("m1").unwrap();
        assert_eq!(semaphore.lock("m1").unwrap_err().to_string(), "semaphore is at 0");
        assert_eq!(semaphore.unlock("m2").unwrap_err().to_string(), "holder does not exist");
        assert_eq!(semaphore.set_max(2), 1);
        assert_eq!(semaphore.lock("m1").unwrap_err().to_string(), "holder exists");
        assert_eq!(semaphore.lock_again("m1"), Ok(false));
        assert_eq!(semaphore.lock_again("m2"), Ok(true));
        assert_eq!(semaphore.lock_again("m3").unwrap_err().to_string(), "semaphore is at 0");
    }

    #[test]
    fn a_maximum_below_the_holders_takes_nothing_from_them_and_grants_nothing() {
        let mut semaphore = held(1, &["m1", "m2", "m3"]);
        assert_eq!((semaphore.count(), semaphore.available(), semaphore.over()), (-2, 0, 2));
        assert_eq!(semaphore.lock("m4").unwrap_err().to_string(), "semaphore is at -2");
        for id in ["m1", "m2"] {
            semaphore.unlock(id).unwrap();
        }
        assert_eq!((semaphore.count(), semaphore.over()), (0, 0));
        semaphore.unlock("m3").unwrap();
        assert_eq!(semaphore.lock("m4"), Ok(()));
        assert_eq!(held(-3, &["m1"]).over(), 1);
        assert_eq!(held(-3, &[]).available(), 0);
    }

    #[test]
    fn what_contradicts_itself_is_put_right_by_who_holds() {
        let read = Semaphore::parse(r#"{"semaphore":7,"max":2,"holders":["b","a","b"],"more":1}"#).unwrap();
        assert_eq!(read.to_json(), r#"{"semaphore":0,"max":2,"holders":["a","b"]}"#);
        assert!(Semaphore::parse("locked").unwrap_err().to_string().contains("\nhint: "));
        assert!(Semaphore::parse(r#"{"semaphore":1,"max":1,"holders":"m1"}"#).is_err());
    }

    proptest! {
        #[test]
        fn free_and_held_make_the_maximum_whatever_is_done(
            steps in prop::collection::vec((0u8..4, 0u8..5, -2i64..6), 0..60),
        ) {
            let mut semaphore = Semaphore::default();
            for (verb, id, max) in steps {
                let id = format!("m{id}");
                let before = semaphore.clone();
                let refused = match verb {
                    0 => semaphore.lock(&id).is_err(),
                    1 => semaphore.unlock(&id).is_err(),
                    2 => semaphore.lock_again(&id).is_err(),
                    _ => { semaphore.set_max(max); false }
                };
                semaphore.check();
                if refused {
                    prop_assert_eq!(&semaphore, &before);
                } else if semaphore.holders().len() > before.holders().len() {
                    prop_assert!(semaphore.count() >= 0, "granted beyond the maximum");
                }
                prop_assert_eq!(Semaphore::parse(&semaphore.to_json()).unwrap(), semaphore.clone());
            }
        }
    }
}
