//! Who waits for changes at one member.

use crate::history::{concerns, ends_directory};
use crate::path::{prefix, ways};
use crate::tree::Tree;
use imbl::{OrdMap, OrdSet};
use seatrial_types::v2::{V2Error, V2Event, V2Watch, V2WatchId};
use std::sync::Arc;

/// One is to be told of a change.
pub type Told = (V2WatchId, Arc<V2Event>);

/// Who waits. A value: each member has its own, and none of it is in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hub {
    watches: OrdMap<V2WatchId, V2Watch>,
    by_path: OrdMap<String, OrdSet<V2WatchId>>,
}

impl Hub {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Begins to wait; gives what has happened already. One who wants a single change and gets it waits no longer.
    ///
    /// # Errors
    /// Where what is asked for may have been forgotten; then nobody waits.
    ///
    /// # Panics
    /// Where the id is taken.
    pub fn watch(
        &mut self,
        tree: &Tree,
        id: V2WatchId,
        mut watch: V2Watch,
    ) -> Result<Vec<Arc<V2Event>>, V2Error> {
        assert!(!self.watches.contains_key(&id), "{id:?} waits already");
        let mut past = Vec::new();
        if watch.since == 0 {
            watch.since = tree.index() + 1;
        } else if watch.since <= tree.index() {
            let wanted = if watch.stream { usize::MAX } else { 1 };
            past.extend(tree.history().since(&watch, tree.index())?.take(wanted).cloned());
            if !watch.stream && !past.is_empty() {
                return Ok(past);
            }
            // Told of everything up to here.
            watch.since = tree.index() + 1;
        }
        self.by_path.entry(watch.path.clone()).or_default().insert(id);
        self.watches.insert(id, watch);
        Ok(past)
    }

    /// Waits no longer.
    pub fn close(&mut self, id: V2WatchId) {
        let Some(watch) = self.watches.remove(&id) else { return };
        if let Some(ids) = self.by_path.get_mut(&watch.path) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_path.remove(&watch.path);
            }
        }
    }

    /// Whom to tell of a change; those who wanted a single one wait no longer.
    pub fn notify(&mut self, event: &Arc<V2Event>) -> Vec<Told> {
        if self.watches.is_empty() || event.refresh {
            return Vec::new();
        }
        let here = ways(&event.node.path).filter_map(|path| self.by_path.get(path));
        // Where a directory goes, so does whatever may come to be in it: who waits there is told what it would be told
        // if it asked again from where it is.
        let below = prefix(&event.node.path);
        let goes = ends_directory(event).then(|| self.by_path.range::<_, String>(below.clone()..));
        let gone = goes.into_iter().flatten().take_while(|(path, _)| path.starts_with(&below));
        let ids = here.chain(gone.map(|(_, ids)| ids));
        // Each is told once.
        let ids: OrdSet<V2WatchId> = ids.flat_map(|ids| ids.iter().copied()).collect();
        let mut told = Vec::new();
        for id in ids {
            let Some(watch) = self.watches.get(&id) else { continue };
            if event.index() < watch.since || !concerns(event, watch) {
                continue;
            }
            let is_over = !watch.stream;
            told.push((id, event.clone()));
            if is_over {
                self.close(id);
            }
        }
        told
    }

    /// The tree was replaced by a newer one, and the changes between were not told of. Gives what can be told now, and
    /// who can be told nothing any more since it was forgotten.
    pub fn replaced(&mut self, old_index: u64, tree: &Tree) -> (Vec<Told>, Vec<V2WatchId>) {
        let (mut told, mut lost) = (Vec::new(), Vec::new());
        for (id, watch) in self.watches.clone() {
            if watch.since > tree.index() {
                continue;
            }
            let since = watch.since.max(old_index + 1);
            if since > tree.index() {
                continue;
            }
            let missed = V2Watch { since, ..watch.clone() };
            match tree.history().since(&missed, tree.index()) {
                Err(_) => {
                    lost.push(id);
                    self.close(id);
                }
                Ok(events) => {
                    let wanted = if watch.stream { usize::MAX } else { 1 };
                    let before = told.len();
                    told.extend(events.take(wanted).map(|event| (id, event.clone())));
                    if !watch.stream && told.len() > before {
                        self.close(id);
                    }
                }
            }
        }
        (told, lost)
    }

    /// Panics where an invariant does not hold.
    pub fn check(&self) {
        let listed: usize = self.by_path.values().map(OrdSet::len).sum();
        assert!(listed == self.watches.len(), "{listed} listed by path, {} wait", self.watches.len());
    }
}
