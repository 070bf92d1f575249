//! What the lock asks of the store: a few of the v2 API's verbs on keys.

use std::future::Future;

/// A key's value and the index of the change that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// Its value.
    pub value: String,
    /// The v2 store's `modifiedIndex`.
    pub index: u64,
}

/// What a directory holds, one of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Its whole path.
    pub key: String,
    /// It is a directory itself.
    pub dir: bool,
}

/// Why the store did not do it. Texts and numbers are the v2 API's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeysError {
    /// There is no such key.
    #[error("100: Key not found ({key}) [{index}]")]
    NotFound {
        /// The first part of the path that is missing.
        key: String,
        /// The store's index.
        index: u64,
    },
    /// The key was changed since it was read.
    #[error("101: Compare failed ([{wanted} != {found}]) [{index}]")]
    CompareFailed {
        /// The index that was expected.
        wanted: u64,
        /// The one it has.
        found: u64,
        /// The store's index.
        index: u64,
    },
    /// It was to be made and is there.
    #[error("105: Key already exists ({key}) [{index}]")]
    Exists {
        /// The key.
        key: String,
        /// The store's index.
        index: u64,
    },
    /// The store no longer knows what happened since then: read the key, and wait from what it says.
    #[error(
        "401: The event in requested index is outdated and cleared (the requested history has been cleared) [{index}]"
    )]
    HistoryCleared {
        /// The store's index.
        index: u64,
    },
    /// Whatever else the store answers; nothing has happened.
    #[error("{code}: {message}")]
    Refused {
        /// The v2 API's number.
        code: u16,
        /// And its text.
        message: String,
    },
    /// There was no answer.
    #[error(
        "the store did not answer: {why}\nhint: check that a majority of its members runs and that --endpoint names them"
    )]
    Unavailable {
        /// What went wrong.
        why: String,
        /// It was a write, and it may have happened all the same.
        ambiguous: bool,
    },
}

impl KeysError {
    /// Somebody else changed the key first: read it again.
    #[must_use]
    pub fn is_lost_race(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::CompareFailed { .. } | Self::Exists { .. })
    }
}

/// The v2 keys. Cheap to clone.
///
/// Reads are linearizable (`quorum=true`): who reads after a write has returned sees it. The guard of the quorum
/// rests on that.
pub trait Keys: Clone + Send + Sync + 'static {
    /// Reads a key.
    fn get(&self, key: &str) -> impl Future<Output = Result<Found, KeysError>> + Send;

    /// Makes a key that must not exist (`prevExist=false`); gives its index.
    fn create(&self, key: &str, value: &str) -> impl Future<Output = Result<u64, KeysError>> + Send;

    /// Writes a key that was not changed since (`prevIndex`); gives its new index. The same value is a change too.
    fn compare_and_swap(
        &self,
        key: &str,
        value: &str,
        index: u64,
    ) -> impl Future<Output = Result<u64, KeysError>> + Send;

    /// Deletes a key that was not changed since.
    fn compare_and_delete(&self, key: &str, index: u64)
    -> impl Future<Output = Result<(), KeysError>> + Send;

    /// What a directory holds, in the order of names, without what begins with `_`.
    fn list(&self, directory: &str) -> impl Future<Output = Result<Vec<Entry>, KeysError>> + Send;

    /// Waits until the key is changed after this index, and gives the index of that change.
    fn changed(&self, key: &str, after: u64) -> impl Future<Output = Result<u64, KeysError>> + Send;
}
