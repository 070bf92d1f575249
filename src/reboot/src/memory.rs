//! The v2 keys in memory: for tests, models and dry runs.

use crate::keys::{Entry, Found, Keys, KeysError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// Keys with their indices, as a value. One counter for all of them, one step per change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    keys: BTreeMap<String, Found>,
    index: u64,
}

impl Table {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KeysError::NotFound`].
    pub fn get(&self, key: &str) -> Result<Found, KeysError> {
        self.keys.get(key).cloned().ok_or_else(|| self.missing(key))
    }

    /// Writes a key, whatever it holds.
    pub fn set(&mut self, key: &str, value: &str) -> u64 {
        self.index += 1;
        self.keys.insert(key.to_owned(), Found { value: value.to_owned(), index: self.index });
        self.index
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`KeysError::Exists`].
    pub fn create(&mut self, key: &str, value: &str) -> Result<u64, KeysError> {
        if self.keys.contains_key(key) {
            return Err(KeysError::Exists { key: key.to_owned(), index: self.index });
        }
        Ok(self.set(key, value))
    }

    /// Writes a key that still has this index.
    ///
    /// # Errors
    /// [`KeysError::NotFound`], [`KeysError::CompareFailed`].
    pub fn compare_and_swap(&mut self, key: &str, value: &str, wanted: u64) -> Result<u64, KeysError> {
        self.compare(key, wanted)?;
        Ok(self.set(key, value))
    }

    /// Deletes a key that still has this index.
    ///
    /// # Errors
    /// As [`Table::compare_and_swap`].
    pub fn compare_and_delete(&mut self, key: &str, wanted: u64) -> Result<(), KeysError> {
        self.compare(key, wanted)?;
        self.index += 1;
        self.keys.remove(key);
        Ok(())
    }

    /// What a directory holds.
    ///
    /// # Errors
    /// [`KeysError::NotFound`] where nothing lies below it.
    pub fn list(&self, directory: &str) -> Result<Vec<Entry>, KeysError> {
        let below = format!("{directory}/");
        let mut entries = Vec::new();
        for rest in self.keys.keys().filter_map(|key| key.strip_prefix(&below)) {
            let (name, dir) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            let entry = Entry { key: format!("{below}{name}"), dir };
            if !name.starts_with('_') && !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        if entries.is_empty() && !self.keys.keys().any(|key| key.starts_with(&below)) {
            return Err(self.missing(directory));
        }
        Ok(entries)
    }

    fn compare(&self, key: &str, wanted: u64) -> Result<(), KeysError> {
        let found = self.get(key)?.index;
        if found != wanted {
            return Err(KeysError::CompareFailed { wanted, found, index: self.index });
        }
        Ok(())
    }

    fn missing(&self, key: &str) -> KeysError {
        KeysError::NotFound { key: key.to_owned(), index: self.index }
    }
}

/// What happens right before a write of ours, or instead of it.
type Mishap = Box<dyn FnOnce(&mut Table) -> Trouble + Send>;

/// What becomes of the write before which a mishap was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It is done, after whatever the mishap did to the table.
    None,
    /// It is lost, and the answer says that nobody knows.
    Lost,
    /// It is done, and the answer says that nobody knows.
    Unanswered,
}

/// [`Table`] behind the trait, shared by its clones, with mishaps that a test plans.
#[derive(Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    table: Table,
    mishaps: VecDeque<Mishap>,
    writes: u64,
}

impl Memory {
    /// What the table holds now.
    #[must_use]
    pub fn table(&self) -> Table {
        self.inner().table.clone()
    }

    /// Changes the table as another client would.
    pub fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = change(&mut self.inner().table);
        self.news.notify_waiters();
        changed
    }

    /// Plans a mishap for the next write for which none is planned yet.
    pub fn before_write(&self, mishap: impl FnOnce(&mut Table) -> Trouble + Send + 'static) {
        self.inner().mishaps.push_back(Box::new(mishap));
    }

    /// How many writes were asked for.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.inner().writes
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while it holds the table")
    }

    fn write<T>(&self, write: impl FnOnce(&mut Table) -> Result<T, KeysError>) -> Result<T, KeysError> {
        let mut inner = self.inner();
        inner.writes += 1;
        let mishap = inner.mishaps.pop_front();
        let trouble = mishap.map_or(Trouble::None, |mishap| mishap(&mut inner.table));
        let done = if trouble == Trouble::Lost { None } else { Some(write(&mut inner.table)) };
        drop(inner);
        self.news.notify_waiters();
        match (trouble, done) {
            (Trouble::None, Some(done)) => done,
            _ => Err(KeysError::Unavailable { why: "the connection was lost".into(), ambiguous: true }),
        }
    }
}

impl Keys for Memory {
    async fn get(&self, key: &str) -> Result<Found, KeysError> {
        self.inner().table.get(key)
    }

    async fn create(&self, key: &str, value: &str) -> Result<u64, KeysError> {
        self.write(|table| table.create(key, value))
    }

    async fn compare_and_swap(&self, key: &str, value: &str, index: u64) -> Result<u64, KeysError> {
        self.write(|table| table.compare_and_swap(key, value, index))
    }

    async fn compare_and_delete(&self, key: &str, index: u64) -> Result<(), KeysError> {
        self.write(|table| table.compare_and_delete(key, index))
    }

    async fn list(&self, directory: &str) -> Result<Vec<Entry>, KeysError> {
        self.inner().table.list(directory)
    }

    async fn changed(&self, key: &str, after: u64) -> Result<u64, KeysError> {
        loop {
            // Registered before the look: a change in between wakes us.
            let news = self.news.notified();
            let mut news = std::pin::pin!(news);
            news.as_mut().enable();
            if let Some(index) =
                self.inner().table.keys.get(key).map(|found| found.index).filter(|i| *i > after)
            {
                return Ok(index);
            }
            news.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_needs_the_index_that_was_read() {
        let mut table = Table::default();
        let first = table.create("/a", "1").unwrap();
        assert_eq!(table.create("/a", "2"), Err(KeysError::Exists { key: "/a".into(), index: first }));
        let second = table.compare_and_swap("/a", "1", first).unwrap();
        assert!(second > first, "the same value is a change too");
        assert!(table.compare_and_swap("/a", "3", first).unwrap_err().is_lost_race());
        assert!(table.compare_and_delete("/a", first).unwrap_err().is_lost_race());
        table.compare_and_delete("/a", second).unwrap();
        assert!(table.get("/a").unwrap_err().is_lost_race());
    }

    #[test]
    fn a_listing_leaves_out_what_begins_with_an_underscore() {
        let mut table = Table::default();
        for key in ["/d/b/semaphore", "/d/a", "/d/_hidden", "/d/_x/y", "/dd/c"] {
            table.set(key, "");
        }
        let names: Vec<_> =
            table.list("/d").unwrap().into_iter().map(|entry| (entry.key, entry.dir)).collect();
        assert_eq!(names, [("/d/a".to_owned(), false), ("/d/b".to_owned(), true)]);
        assert_eq!(table.list("/d/_x").unwrap().len(), 1, "who knows the name sees what is in it");
        assert!(table.list("/nope").is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whoever_waits_hears_of_the_next_change_and_of_one_that_was() {
        let memory = Memory::default();
        let first = memory.create("/a", "1").await.unwrap();
        let wait = memory.changed("/a", first);
        let change = async { memory.compare_and_swap("/a", "2", first).await.unwrap() };
        let (heard, wrote) = futures::join!(wait, change);
        assert_eq!(heard, Ok(wrote));
        assert_eq!(memory.changed("/a", first).await, Ok(wrote));
    }
}
