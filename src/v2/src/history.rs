//! The last changes, for those who ask what has happened since.

use crate::path::{is_hidden, prefix};
use imbl::Vector;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::v2::{V2Code, V2Error, V2Event, V2Verb, V2Watch};
use std::sync::Arc;

/// Changes that are remembered (etcd: the same).
pub const HISTORY_MAX: usize = 1000;

/// The last changes, oldest first. Invariant: their indices follow each other without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    events: Vector<Arc<V2Event>>,
}

impl History {
    /// Adds the next change; gives the index of the one that is forgotten for it.
    pub(crate) fn push(&mut self, event: Arc<V2Event>) -> Option<u64> {
        if let Some(last) = self.events.last() {
            assert!(event.index() == last.index() + 1, "change {} after {}", event.index(), last.index());
        }
        self.events.push_back(event);
        if self.events.len() > HISTORY_MAX {
            return self.events.pop_front().map(|event| event.index());
        }
        None
    }

    /// The changes from `watch.since` on that concern it.
    ///
    /// # Errors
    /// Where one of them may have been forgotten.
    pub(crate) fn since<'a>(
        &'a self,
        watch: &'a V2Watch,
        index: u64,
    ) -> Result<impl Iterator<Item = &'a Arc<V2Event>>, V2Error> {
        let first = self.events.front().map_or(0, |event| event.index());
        if watch.since < first {
            return Err(V2Error {
                code: V2Code::EventIndexCleared,
                cause: format!("the requested history has been cleared [{first}/{}]", watch.since),
                index,
            });
        }
        let since = if is_planted(Planted::T05) { watch.since + 1 } else { watch.since };
        let skip = usize::try_from(since - first).unwrap_or(usize::MAX);
        Ok(self.events.iter().skip(skip).filter(|event| concerns(event, watch)))
    }
}

/// Whether one who waits there is told of it.
pub(crate) fn concerns(event: &V2Event, watch: &V2Watch) -> bool {
    let key = &event.node.path;
    if event.refresh {
        return false;
    }
    let is_below =
        || watch.recursive && key.starts_with(&prefix(&watch.path)) && !is_hidden(&watch.path, key);
    *key == watch.path || is_below() || ends_directory(event) && watch.path.starts_with(&prefix(key))
}

/// Whether a directory has gone.
pub(crate) fn ends_directory(event: &V2Event) -> bool {
    matches!(event.verb, V2Verb::Delete | V2Verb::Expire) && event.prev.as_ref().is_some_and(|prev| prev.dir)
}
