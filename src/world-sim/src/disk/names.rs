//! Folders: which names programs see, which the medium holds, and the changes in between.

use super::CrashReport;
use super::inode::Odds;
use crate::chance::Chance;
use std::collections::{BTreeMap, BTreeSet};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder,
    File(u64),
}

/// A change of names that is not durable.
#[derive(Clone, Debug)]
enum Change {
    Create { path: String, entry: Entry },
    Rename { from: String, to: String, entry: Entry },
    Remove { path: String, entry: Entry },
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Entry>) {
        match self {
            Self::Create { path, entry } => {
                names.insert(path.clone(), *entry);
            }
            // Atomic: both names change, or none.
            Self::Rename { from, to, entry } => {
                if names.get(from) == Some(entry) {
                    names.remove(from);
                }
                names.insert(to.clone(), *entry);
            }
            Self::Remove { path, entry } => {
                if names.get(path) == Some(entry) {
                    names.remove(path);
                }
            }
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        match self {
            Self::Create { path, .. } | Self::Remove { path, .. } => parent(path) == folder,
            Self::Rename { from, to, .. } => parent(from) == folder || parent(to) == folder,
        }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Create { entry, .. } | Self::Rename { entry, .. } | Self::Remove { entry, .. } => *entry,
        }
    }
}

pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    cached: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
    changes: Vec<Change>,
}

impl Names {
    pub(crate) fn get(&self, path: &str) -> Option<Entry> {
        if path.is_empty() { Some(Entry::Folder) } else { self.cached.get(path).copied() }
    }

    pub(crate) fn create(&mut self, path: &str, entry: Entry) {
        self.change(Change::Create { path: path.to_owned(), entry });
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str, entry: Entry) {
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), entry });
    }

    pub(crate) fn remove(&mut self, path: &str, entry: Entry) {
        self.change(Change::Remove { path: path.to_owned(), entry });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.changes.push(change);
    }

    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.cached
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(path, _)| {
                let name = &path[prefix.len()..];
                (!name.contains('/')).then(|| name.to_owned())
            })
            .collect()
    }

    /// The names in this folder become durable, with all earlier changes that touched them.
    pub(crate) fn sync(&mut self, folder: &str) {
        let (now, later) =
            std::mem::take(&mut self.changes).into_iter().partition(|c: &Change| c.is_in(folder));
        self.changes = later;
        for change in now {
            change.apply(&mut self.durable);
        }
    }

    pub(crate) fn sync_all(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change.apply(&mut self.durable);
        }
    }

    /// A failed sync of a folder: its changes count as written back and are not.
    pub(crate) fn forget(&mut self, folder: &str) {
        self.changes.retain(|change| !change.is_in(folder));
    }

    /// Power loss: some changes are kept. A journal keeps them in order, so that an earlier one is kept where a
    /// later one is; not every file system has one, so in half of all crashes each stands for itself.
    pub(crate) fn crash(&mut self, odds: Odds, chance: &mut Chance, report: &mut CrashReport) {
        let changes = std::mem::take(&mut self.changes);
        let journal = chance.bool(0.5);
        let mut going = true;
        for change in changes {
            let keep = chance.bool(odds.keep);
            going &= keep;
            if if journal { going } else { keep } {
                change.apply(&mut self.durable);
                report.names_kept += 1;
            } else {
                report.names_lost += 1;
            }
        }
        // What lies in a folder that is lost is lost with it.
        let mut folders = BTreeSet::from([String::new()]);
        self.durable.retain(|path, entry| {
            let reachable = folders.contains(parent(path));
            if reachable && *entry == Entry::Folder {
                folders.insert(path.clone());
            }
            reachable
        });
        self.cached = self.durable.clone();
    }

    /// All files that some name, seen or durable or in between, stands for.
    pub(crate) fn files(&self) -> BTreeSet<u64> {
        let named = self.cached.values().chain(self.durable.values()).copied();
        let changed = self.changes.iter().map(Change::entry);
        named
            .chain(changed)
            .filter_map(|entry| match entry {
                Entry::File(number) => Some(number),
                Entry::Folder => None,
            })
            .collect()
    }

    pub(crate) fn seen_files(&self) -> BTreeSet<u64> {
        let files = self.cached.values().filter_map(|entry| match entry {
            Entry::File(number) => Some(*number),
            Entry::Folder => None,
        });
        files.collect()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.cached.iter()
    }
}
