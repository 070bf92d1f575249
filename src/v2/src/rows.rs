//! The tree as rows of bytes: what a member keeps on disk and sends in a snapshot.

use crate::node::Node;
use crate::tree::Tree;
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::v2::V2Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// All rows lie from the first of these to before the second; `0` is the character behind the slash.
pub const ROWS: (&[u8], &[u8]) = (b"v2/", b"v20");

const HEAD: &[u8] = b"v2/head";
const NODE: &[u8] = b"v2/n";
const EVENT: &[u8] = b"v2/e/";

/// The newest form of the rows.
const FORMAT: u8 = 1;

/// A row's key, and its value; `None`: it goes.
pub type Row = (Bytes, Option<Bytes>);

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not what was written.
    #[error("the row {key:?} of the v2 key space cannot be read: {why}")]
    Malformed {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
    /// Written by a newer program.
    #[error(
        "the v2 key space is kept in form {found}; this program knows forms up to {FORMAT}\nhint: run a program at least as new as the one that wrote it"
    )]
    Format {
        /// The form found.
        found: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Head {
    format: u8,
    index: u64,
    clock_ms: u64,
}

/// What a change has touched.
#[derive(Default)]
pub(crate) struct Touched {
    pub(crate) nodes: BTreeSet<String>,
    pub(crate) events: Vec<Arc<V2Event>>,
    /// Indices of events that are remembered no longer.
    pub(crate) forgotten: Vec<u64>,
    pub(crate) head: bool,
}

fn bytes<T: Serialize>(value: &T) -> Bytes {
    postcard::to_stdvec(value).expect("numbers, text and lists can be written to memory").into()
}

fn event_key(index: u64) -> Bytes {
    [EVENT, &index.to_be_bytes()].concat().into()
}

impl Touched {
    /// As rows of the tree as it is now.
    pub(crate) fn rows(self, tree: &Tree) -> Vec<Row> {
        let mut rows = Vec::new();
        for path in self.nodes {
            let key = [NODE, path.as_bytes()].concat().into();
            rows.push((key, tree.nodes().get(&path).map(bytes)));
        }
        if !is_planted(Planted::T06) {
            rows.extend(self.events.iter().map(|event| (event_key(event.index()), Some(bytes(&**event)))));
        }
        rows.extend(self.forgotten.into_iter().map(|index| (event_key(index), None)));
        if self.head {
            let head = Head { format: FORMAT, index: tree.index(), clock_ms: tree.clock_ms() };
            rows.push((Bytes::from_static(HEAD), Some(bytes(&head))));
        }
        rows
    }
}

fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RowError> {
    let malformed = |why: String| RowError::Malformed { key: String::from_utf8_lossy(key).into_owned(), why };
    match postcard::take_from_bytes(value) {
        Ok((read, [])) => Ok(read),
        Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(malformed(error.to_string())),
    }
}

impl Tree {
    /// From the rows between [`ROWS`], in order of key.
    ///
    /// # Errors
    /// Damage found.
    pub fn load(rows: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<Self, RowError> {
        let mut tree = Self::default();
        let mut unwritten = Touched::default();
        let malformed = |key: &[u8], why: &str| RowError::Malformed {
            key: String::from_utf8_lossy(key).into_owned(),
            why: why.to_owned(),
        };
        for (key, value) in rows {
            if key == HEAD {
                if let Some(&found) = value.first().filter(|format| **format > FORMAT) {
                    return Err(RowError::Format { found });
                }
                let head: Head = read(&key, &value)?;
                tree.restore(head.index, head.clock_ms);
            } else if let Some(index) = key.strip_prefix(EVENT) {
                let event: V2Event = read(&key, &value)?;
                if index != event.index().to_be_bytes() {
                    return Err(malformed(&key, "its change is another one"));
                }
                tree.remember(event);
            } else if let Some(path) = key.strip_prefix(NODE) {
                let path = std::str::from_utf8(path).map_err(|_| malformed(&key, "its path is no text"))?;
                let node: Node = read(&key, &value)?;
                tree.put(path, node, &mut unwritten);
            } else {
                return Err(malformed(&key, "it is none of the kinds known"));
            }
        }
        Ok(tree)
    }
}
