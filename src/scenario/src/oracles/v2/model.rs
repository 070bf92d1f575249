//! The v2 keys as a plain table, told from their history: what must be there at each index. Not the code that is judged.

use super::ledger::{Entry, could, is_aside};
use super::told;
use crate::record::v2::{V2Asked, V2Heard, V2Record};
use seatrial_types::v2::{
    KEYS, V2Action, V2Change, V2Code, V2Error, V2Event, V2Life, V2Node, V2Request, V2Verb,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// `None`: a directory.
    value: Option<Arc<str>>,
    created: u64,
    modified: u64,
    life: Option<Life>,
}

/// Until when something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    /// When this was asked for: its time cannot have begun before.
    asked: Duration,
    /// When the answer came, or nobody waited for it any more.
    written: Duration,
    ttl: Duration,
    /// It runs out; otherwise it may.
    certain: bool,
}

impl Life {
    fn of(life: V2Life, origin: &V2Record) -> Option<Self> {
        let ttl = Duration::from_secs(life.ttl_seconds?);
        Some(Self { asked: origin.seen.call, written: origin.seen.ret, ttl, certain: true })
    }
}

pub(super) struct Model {
    held: BTreeMap<String, Held>,
    /// Whose last index cannot be told: a change whose answer was lost may have moved it.
    unclear: BTreeSet<String>,
    drift_ppm: u32,
}

fn above(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())
}

fn life_of(change: &V2Change) -> V2Life {
    match &change.action {
        V2Action::Set { life, .. }
        | V2Action::Create { life, .. }
        | V2Action::CreateInOrder { life, .. }
        | V2Action::Update { life, .. }
        | V2Action::CompareAndSwap { life, .. } => *life,
        V2Action::Delete { .. } | V2Action::CompareAndDelete { .. } => V2Life::default(),
    }
}

impl Model {
    /// Empty; clocks may run fast by so much.
    pub(super) fn new(drift_ppm: u32) -> Self {
        Self { held: BTreeMap::new(), unclear: BTreeSet::new(), drift_ppm }
    }

    fn is_dir(&self, path: &str) -> Option<bool> {
        if path == KEYS { Some(true) } else { self.held.get(path).map(|held| held.value.is_none()) }
    }

    /// What lies below a directory, at any depth.
    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a String, &'a Held)> {
        let from = format!("{path}/");
        let end = from.clone();
        self.held.range(from..).take_while(move |(path, _)| path.starts_with(&end))
    }

    /// Whether the node is what is held there.
    fn is_held(&self, node: &V2Node) -> bool {
        self.held.get(&node.path).is_some_and(|held| {
            let same_index = held.modified == node.modified || self.unclear.contains(&node.path);
            held.value.is_none() == node.dir
                && held.value == node.value
                && held.created == node.created
                && same_index
        })
    }

    fn held_at(&self, path: &str) -> String {
        match self.held.get(path) {
            None => format!("nothing is at {path}"),
            Some(held) => told(&V2Node {
                path: path.to_owned(),
                value: held.value.clone(),
                dir: held.value.is_none(),
                created: held.created,
                modified: held.modified,
                ..V2Node::default()
            }),
        }
    }

    /// The next change.
    pub(super) fn apply(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let (event, path) = (entry.event, &entry.event.node.path);
        if entry.is_aside() {
            return Ok(());
        }
        let prev_fits = match &event.prev {
            None => !self.held.contains_key(path),
            Some(prev) => prev.path == *path && self.is_held(prev),
        };
        if !prev_fits {
            let was = event.prev.as_ref().map_or_else(|| "nothing".to_owned(), told);
            let verb = event.verb.name();
            return Err(format!(
                "the {verb} of {path} says that {was} was there before, but {}",
                self.held_at(path)
            ));
        }
        if let Some(origin) = entry.origin {
            if entry.seen().is_some_and(|seen| seen < origin.seen.call) {
                return Err(format!(
                    "{path} was changed before anybody asked for it, at {:?}",
                    origin.seen.call
                ));
            }
            self.could(origin, event)?;
        }
        match event.verb {
            V2Verb::Delete | V2Verb::CompareAndDelete => self.remove(path),
            V2Verb::Expire => self.expire(entry)?,
            V2Verb::Set | V2Verb::Create | V2Verb::Update | V2Verb::CompareAndSwap => self.write(entry)?,
            V2Verb::Get => return Err("a read has an index of its own".to_owned()),
        }
        Ok(())
    }

    /// Whether what was asked for could be carried out.
    fn could(&self, origin: &V2Record, event: &V2Event) -> Result<(), String> {
        let Some(change) = origin.change() else { return Ok(()) };
        if could(&change.action, event) {
            return Ok(());
        }
        Err(format!("{:?} was carried out, though {}", change.action, self.held_at(&event.node.path)))
    }

    fn write(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let (event, path) = (entry.event, &entry.event.node.path);
        let index = event.index();
        let life = entry.origin.and_then(|origin| Life::of(life_of(origin.change()?), origin));
        let mut way = above(path);
        let mut missing = Vec::new();
        while let Some(dir) = way.filter(|dir| *dir != KEYS) {
            match self.is_dir(dir) {
                Some(true) => break,
                Some(false) => return Err(format!("{path} was written below the file {dir}")),
                None => missing.push(dir.to_owned()),
            }
            way = above(dir);
        }
        let made = Held { value: None, created: index, modified: index, life: None };
        self.held.extend(missing.into_iter().map(|dir| (dir, made.clone())));
        let keeps = matches!(event.verb, V2Verb::Update | V2Verb::CompareAndSwap);
        let before = self.held.get(path).filter(|_| keeps).cloned();
        let created = before.as_ref().map_or(index, |held| held.created);
        if event.node.created != created {
            let said = event.node.created;
            return Err(format!("{path} was made at index {created}, and the change says at {said}"));
        }
        let value = match (&before, entry.is_refresh()) {
            (Some(held), true) => held.value.clone(),
            _ => event.node.value.clone(),
        };
        if event.node.value != value {
            return Err(format!("{path} is {:?} afterwards, but only its time began anew", event.node.value));
        }
        // A directory's own index stays.
        let modified = match &before {
            Some(held) if held.value.is_none() => held.modified,
            _ => {
                self.unclear.remove(path);
                index
            }
        };
        self.held.insert(path.clone(), Held { value, created, modified, life });
        Ok(())
    }

    fn remove(&mut self, path: &str) {
        let below: Vec<String> = self.below(path).map(|(path, _)| path.clone()).collect();
        for gone in below.iter().map(String::as_str).chain([path]) {
            self.held.remove(gone);
            self.unclear.remove(gone);
        }
    }

    fn expire(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let path = &entry.event.node.path;
        let Some(life) = self.held.get(path).and_then(|held| held.life) else {
            return Err(format!("{path} ran out, though it was to live for ever"));
        };
        // The fastest clock that the plan allows is through so much earlier.
        let shortest = life.ttl * 1_000_000 / (1_000_000 + self.drift_ppm);
        if let Some(seen) = entry.seen()
            && seen < life.asked + shortest
        {
            return Err(format!(
                "{path} was asked at {:?} to live for {:?}, but was known at {seen:?} to have run out, {:?} too early",
                life.asked,
                life.ttl,
                life.asked + shortest - seen
            ));
        }
        self.remove(path);
        Ok(())
    }

    /// At an index that nobody was told of one of these changes happened. Which paths may have a newer index now; their time
    /// may have begun anew, or not.
    pub(super) fn refreshed(&mut self, candidates: &[&V2Record]) {
        for record in candidates {
            let change = record.change().expect("a change");
            if let Some(held) = self.held.get_mut(&change.path) {
                self.unclear.insert(change.path.clone());
                let anew = Life::of(life_of(change), record);
                held.life = match (held.life, anew) {
                    (Some(old), Some(anew)) => Some(Life {
                        asked: old.asked.min(anew.asked),
                        written: old.written.max(anew.written),
                        ttl: anew.ttl.min(old.ttl),
                        certain: old.certain,
                    }),
                    (old, anew) => old.or(anew.map(|anew| Life { certain: false, ..anew })),
                };
            }
        }
    }

    /// An answer of this index.
    pub(super) fn judge(&self, record: &V2Record) -> Result<(), String> {
        if record.change().is_some_and(|change| is_aside(&change.path)) {
            return Ok(());
        }
        match (&record.asked, &record.heard) {
            (V2Asked::Request(V2Request::Read { .. }), V2Heard::Event { event, .. }) => {
                self.read(&event.node)
            }
            (V2Asked::Request(request), V2Heard::Refused(error)) => self.refused(request, error),
            _ => Ok(()),
        }
    }

    fn read(&self, node: &V2Node) -> Result<(), String> {
        if node.path != KEYS && !self.is_held(node) {
            return Err(format!("{}, but {}", told(node), self.held_at(&node.path)));
        }
        if !node.dir {
            return Ok(());
        }
        let listed: Vec<&str> = node.nodes.iter().map(|below| below.path.as_str()).collect();
        let held: Vec<&str> = self
            .below(&node.path)
            .map(|(path, _)| path.as_str())
            .filter(|path| above(path) == Some(&node.path))
            .collect();
        if listed != held {
            return Err(format!("that {} holds {listed:?}, but it holds {held:?}", node.path));
        }
        let wrong = node.nodes.iter().find(|below| !self.is_held(below));
        wrong.map_or(Ok(()), |below| Err(format!("{}, but {}", told(below), self.held_at(&below.path))))
    }

    fn refused(&self, request: &V2Request, error: &V2Error) -> Result<(), String> {
        let (path, action) = match request {
            V2Request::Change(change) => (&change.path, Some(&change.action)),
            V2Request::Read { path, .. } => (path, None),
            V2Request::Stats | V2Request::Standing => return Ok(()),
        };
        let in_the_way = || {
            let mut way = above(path);
            std::iter::from_fn(move || {
                let at = way?;
                way = above(at);
                Some(at)
            })
            .any(|at| self.is_dir(at) == Some(false))
        };
        let holds = match error.code {
            V2Code::KeyNotFound => self.is_dir(path).is_none(),
            V2Code::KeyExists => self.is_dir(path).is_some(),
            V2Code::NotAFile => self.is_dir(path) == Some(true),
            V2Code::NotADirectory => in_the_way() || self.is_dir(path) == Some(false),
            V2Code::DirectoryNotEmpty => self.below(path).next().is_some(),
            V2Code::CompareFailed => {
                let wanted = match action {
                    Some(V2Action::CompareAndSwap { prev, .. } | V2Action::CompareAndDelete { prev }) => prev,
                    _ => return Err(format!("{error}, though nothing was compared")),
                };
                let unclear = self.unclear.contains(path);
                self.held.get(path).is_some_and(|held| {
                    let value = wanted.value.is_empty() || held.value.as_deref() == Some(&wanted.value);
                    let index = wanted.index == 0 || held.modified == wanted.index;
                    !(value && index) || unclear
                })
            }
            // Nothing that the state decides.
            _ => true,
        };
        if holds { Ok(()) } else { Err(format!("{error}, but {}", self.held_at(path))) }
    }

    /// Everything that a member holds.
    pub(super) fn compare(&self, nodes: &[V2Node]) -> Result<(), String> {
        if let Some(node) = nodes.iter().find(|node| !is_aside(&node.path) && !self.is_held(node)) {
            return Err(format!("{}, but {}", told(node), self.held_at(&node.path)));
        }
        let told: BTreeSet<&str> = nodes.iter().map(|node| node.path.as_str()).collect();
        match self.held.keys().find(|path| !told.contains(path.as_str())) {
            Some(path) => Err(format!("nothing at {path}, but {}", self.held_at(path))),
            None => Ok(()),
        }
    }

    /// What runs out: its path, its time, and when it was written.
    pub(super) fn lives(&self) -> impl Iterator<Item = (&str, Duration, Duration)> {
        self.held.iter().filter_map(|(path, held)| {
            let life = held.life.filter(|life| life.certain)?;
            Some((path.as_str(), life.ttl, life.written))
        })
    }
}
