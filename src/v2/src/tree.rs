//! The tree and what changes it (etcd: `server/etcdserver/api/v2store`; messages, causes and indices are its).

use crate::history::History;
use crate::node::{Life, Node};
use crate::path::{clean, depth, parent, prefix, ways};
use crate::rows::{Row, Touched};
use crate::show::{Deep, seconds_left, shown_life};
use imbl::{OrdMap, OrdSet};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::v2::{
    DEPTH_MAX, V2Action, V2Change, V2Code, V2Compare, V2Error, V2Event, V2Life, V2Node, V2Verb,
};
use std::sync::Arc;

/// Directories that are always there, and that no client changes.
const FIXED: [&str; 3] = ["/", "/0", "/1"];

const NS_PER_SECOND: i64 = 1_000_000_000;

/// The key space. Equal on all members that have applied the same entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tree {
    nodes: OrdMap<String, Node>,
    /// Of the newest change. Each change is one more.
    index: u64,
    /// Moved by the leader through the log; stands still where nobody leads.
    clock_ms: u64,
    /// What runs out, by when, then by what the calendar said.
    due: OrdSet<(u64, i64, String)>,
    /// What runs out, but was written after the clock last moved.
    fresh: OrdSet<String>,
    history: History,
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Effect {
    /// For whoever asked.
    pub result: Result<Arc<V2Event>, V2Error>,
    /// For those who wait; `None` where it was refused.
    pub told: Option<Arc<V2Event>>,
    /// To be kept.
    pub rows: Vec<Row>,
}

/// What a change in progress has to say.
struct Done {
    verb: V2Verb,
    node: V2Node,
    prev: Option<V2Node>,
    refresh: bool,
}

type Outcome = Result<Done, V2Error>;

impl Tree {
    /// The index of the newest change.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The clock by which things run out, in milliseconds from an arbitrary start.
    #[must_use]
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Whether anything runs out, so that the clock must move.
    #[must_use]
    pub fn has_lives(&self) -> bool {
        !self.due.is_empty() || !self.fresh.is_empty()
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn nodes(&self) -> &OrdMap<String, Node> {
        &self.nodes
    }

    pub(crate) fn node(&self, path: &str) -> Option<Node> {
        let fixed =
            || FIXED.contains(&path).then_some(Node { value: None, created: 0, modified: 0, life: None });
        self.nodes.get(path).cloned().or_else(fixed)
    }

    fn refuse(&self, code: V2Code, cause: impl Into<String>) -> V2Error {
        V2Error { code, cause: cause.into(), index: self.index }
    }

    /// What lies at a path.
    ///
    /// # Errors
    /// [`V2Code::KeyNotFound`] with the first element that is missing, [`V2Code::NotADirectory`] with the file that is
    /// in the way.
    fn find(&self, path: &str) -> Result<Node, V2Error> {
        let mut found = self.node("/").expect("the root is always there");
        let mut at = "/";
        for way in ways(path).skip(1) {
            if !found.is_dir() {
                return Err(self.refuse(V2Code::NotADirectory, at));
            }
            found = self.node(way).ok_or_else(|| self.refuse(V2Code::KeyNotFound, way))?;
            at = way;
        }
        Ok(found)
    }

    /// A file, or what is in a directory. What is left of its time is for whoever shows it.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(&self, path: &str, recursive: bool) -> Result<V2Event, V2Error> {
        let node = self.find(path)?;
        let deep = if recursive { Deep::All } else { Deep::Children };
        let node = self.show(path, &node, deep, None);
        Ok(V2Event { verb: V2Verb::Get, node, prev: None, refresh: false })
    }

    /// Applies a change.
    #[must_use]
    pub fn apply(&mut self, change: &V2Change) -> Effect {
        let mut touched = Touched::default();
        let path = clean(&change.path);
        let outcome = if depth(&path) > DEPTH_MAX {
            Err(self.refuse(V2Code::InvalidForm, format!("a key has at most {DEPTH_MAX} elements")))
        } else {
            self.run(&path, &change.action, change.wall_ns, &mut touched)
        };
        match outcome {
            Err(error) => Effect { result: Err(error), told: None, rows: Vec::new() },
            Ok(done) => {
                let told = self.happened(done, &mut touched);
                Effect { result: Ok(told.clone()), told: Some(told), rows: touched.rows(self) }
            }
        }
    }

    /// Moves the clock to `clock_ms` (never back) and ends what has run out by it.
    ///
    /// What was written since the clock moved last lives its whole time from now on: whenever in between it was
    /// written, it is never ended early.
    #[must_use]
    pub fn tick(&mut self, clock_ms: u64) -> (Vec<Arc<V2Event>>, Vec<Row>) {
        let mut touched = Touched::default();
        let before = self.clock_ms;
        self.clock_ms = self.clock_ms.max(clock_ms);
        touched.head = true;
        for path in std::mem::take(&mut self.fresh) {
            let mut node = self.nodes.get(&path).expect("what is fresh is there").clone();
            let life = node.life.as_mut().expect("what is fresh runs out");
            let from = if is_planted(Planted::T01) { before } else { self.clock_ms };
            let deadline = from.saturating_add(life.ttl_ms);
            life.deadline_ms = Some(deadline);
            self.due.insert((deadline, life.expiration_ns, path.clone()));
            if !is_planted(Planted::T08) {
                touched.nodes.insert(path.clone());
            }
            self.nodes.insert(path, node);
        }
        let mut told = Vec::new();
        while let Some((deadline, _, path)) = self.due.get_min().cloned() {
            if deadline > self.clock_ms {
                break;
            }
            let node = self.nodes.get(&path).expect("what is due is there").clone();
            // Nothing is left of it, whatever a calendar says.
            let wall_ns = node.life.map_or(0, |life| life.expiration_ns);
            let done = self.end(V2Verb::Expire, &path, &node, wall_ns, &mut touched);
            told.push(self.happened(done, &mut touched));
        }
        (told, touched.rows(self))
    }

    /// Gives a change its place.
    fn happened(&mut self, done: Done, touched: &mut Touched) -> Arc<V2Event> {
        self.index += 1;
        let Done { verb, mut node, prev, refresh } = done;
        node.modified = self.index;
        let event = Arc::new(V2Event { verb, node, prev, refresh });
        touched.head = true;
        touched.events.push(event.clone());
        touched.forgotten.extend(self.history.push(event.clone()));
        event
    }

    fn run(&mut self, path: &str, action: &V2Action, wall_ns: i64, touched: &mut Touched) -> Outcome {
        match action {
            V2Action::Set { dir, value, life } => self.set(path, *dir, value, *life, wall_ns, touched),
            V2Action::Create { dir, value, life } => {
                self.write(V2Verb::Create, path, *dir, value, *life, wall_ns, touched)
            }
            V2Action::CreateInOrder { dir, value, life } => {
                let path = format!("{}{:020}", prefix(path), self.index + 1);
                self.write(V2Verb::Create, &path, *dir, value, *life, wall_ns, touched)
            }
            V2Action::Update { value, life } => self.update(path, value, *life, wall_ns, touched),
            V2Action::CompareAndSwap { prev, value, life } => {
                self.compare_and_swap(path, prev, value, *life, wall_ns, touched)
            }
            V2Action::Delete { dir, recursive } => self.delete(path, *dir, *recursive, wall_ns, touched),
            V2Action::CompareAndDelete { prev } => {
                let node = self.find_file(path)?;
                self.compare(&node, prev)?;
                Ok(self.end(V2Verb::CompareAndDelete, path, &node, wall_ns, touched))
            }
        }
    }

    fn guard(&self, path: &str) -> Result<(), V2Error> {
        if FIXED.contains(&path) { Err(self.refuse(V2Code::RootReadOnly, "/")) } else { Ok(()) }
    }

    fn find_file(&self, path: &str) -> Result<Node, V2Error> {
        self.guard(path)?;
        let node = self.find(path)?;
        if node.is_dir() { Err(self.refuse(V2Code::NotAFile, path)) } else { Ok(node) }
    }

    fn compare(&self, node: &Node, prev: &V2Compare) -> Result<(), V2Error> {
        let value = node.value.as_deref().unwrap_or_default();
        let is_value = prev.value.is_empty() || prev.value == value;
        let modified = if is_planted(Planted::T07) { node.created } else { node.modified };
        let is_index = prev.index == 0 || prev.index == modified;
        let cause = match (is_value, is_index) {
            (true, true) => return Ok(()),
            (true, false) => format!("[{} != {}]", prev.index, node.modified),
            (false, true) => format!("[{} != {value}]", prev.value),
            (false, false) => {
                format!("[{} != {value}] [{} != {}]", prev.value, prev.index, node.modified)
            }
        };
        Err(self.refuse(V2Code::CompareFailed, cause))
    }

    fn set(
        &mut self,
        path: &str,
        dir: bool,
        value: &str,
        life: V2Life,
        wall_ns: i64,
        touched: &mut Touched,
    ) -> Outcome {
        let before = match self.find(path) {
            Ok(node) => Some(node),
            Err(error) if error.code == V2Code::KeyNotFound && !life.refresh => None,
            Err(error) => return Err(error),
        };
        let kept = before.as_ref().filter(|_| life.refresh).and_then(|node| node.value.clone());
        let value = kept.as_deref().unwrap_or(value);
        self.write(V2Verb::Set, path, dir, value, life, wall_ns, touched)
    }

    /// Puts a new node at a path, and directories on the way to it.
    #[allow(clippy::too_many_arguments, reason = "they are one change's fields")]
    fn write(
        &mut self,
        verb: V2Verb,
        path: &str,
        dir: bool,
        value: &str,
        life: V2Life,
        wall_ns: i64,
        touched: &mut Touched,
    ) -> Outcome {
        self.guard(path)?;
        let next = self.index + 1;
        let mut missing = Vec::new();
        for way in ways(parent(path)) {
            match self.node(way) {
                Some(node) if !node.is_dir() => return Err(self.refuse(V2Code::NotADirectory, way)),
                Some(_) => {}
                None => missing.push(way.to_owned()),
            }
        }
        let prev = match self.node(path) {
            Some(_) if verb == V2Verb::Create => return Err(self.refuse(V2Code::KeyExists, path)),
            Some(node) if node.is_dir() => return Err(self.refuse(V2Code::NotAFile, path)),
            Some(node) => {
                let shown = self.show(path, &node, Deep::Itself, Some(wall_ns));
                self.forget_life(path, node.life);
                Some(shown)
            }
            None => None,
        };
        for way in missing {
            let made = Node { value: None, created: next, modified: next, life: None };
            self.put(&way, made, touched);
        }
        let value = (!dir).then(|| Arc::from(value));
        let node = Node { value, created: next, modified: next, life: life_of(life, wall_ns) };
        let mut shown = self.show(path, &node, Deep::Itself, None);
        shown.ttl_seconds = shown.expiration_ns.map(|at| seconds_left(at, wall_ns));
        self.put(path, node, touched);
        Ok(Done { verb, node: shown, prev, refresh: life.refresh })
    }

    fn update(
        &mut self,
        path: &str,
        value: &str,
        life: V2Life,
        wall_ns: i64,
        touched: &mut Touched,
    ) -> Outcome {
        self.guard(path)?;
        let node = self.find(path)?;
        if node.is_dir() && !value.is_empty() {
            return Err(self.refuse(V2Code::NotAFile, path));
        }
        self.overwrite(V2Verb::Update, path, node, value, life, wall_ns, touched)
    }

    fn compare_and_swap(
        &mut self,
        path: &str,
        prev: &V2Compare,
        value: &str,
        life: V2Life,
        wall_ns: i64,
        touched: &mut Touched,
    ) -> Outcome {
        let node = self.find_file(path)?;
        self.compare(&node, prev)?;
        self.overwrite(V2Verb::CompareAndSwap, path, node, value, life, wall_ns, touched)
    }

    /// Changes the node that is there: its value where it is a file, its time in any case.
    #[allow(clippy::too_many_arguments, reason = "they are one change's fields")]
    fn overwrite(
        &mut self,
        verb: V2Verb,
        path: &str,
        mut node: Node,
        value: &str,
        life: V2Life,
        wall_ns: i64,
        touched: &mut Touched,
    ) -> Outcome {
        let prev = self.show(path, &node, Deep::Itself, Some(wall_ns));
        self.forget_life(path, node.life);
        if !node.is_dir() {
            if !life.refresh {
                node.value = Some(Arc::from(value));
            }
            // A directory's own index stays, though the answer shows the new one.
            node.modified = self.index + 1;
        }
        node.life = life_of(life, wall_ns);
        let mut shown = self.show(path, &node, Deep::Itself, None);
        shown_life(&mut shown, node.life, Some(wall_ns));
        self.put(path, node, touched);
        Ok(Done { verb, node: shown, prev: Some(prev), refresh: life.refresh })
    }

    fn delete(
        &mut self,
        path: &str,
        dir: bool,
        recursive: bool,
        wall_ns: i64,
        touched: &mut Touched,
    ) -> Outcome {
        self.guard(path)?;
        let node = self.find(path)?;
        if node.is_dir() {
            if !dir && !recursive {
                return Err(self.refuse(V2Code::NotAFile, path));
            }
            if !recursive && self.children(path).next().is_some() {
                return Err(self.refuse(V2Code::DirectoryNotEmpty, path));
            }
        }
        Ok(self.end(V2Verb::Delete, path, &node, wall_ns, touched))
    }

    /// Takes a node away, with all that is below it.
    fn end(&mut self, verb: V2Verb, path: &str, node: &Node, wall_ns: i64, touched: &mut Touched) -> Done {
        let prev = self.show(path, node, Deep::Itself, Some(wall_ns));
        let prefix = prefix(path);
        let below = self.nodes.range::<_, String>(prefix.clone()..);
        let mut removed: Vec<String> =
            below.map(|(path, _)| path.clone()).take_while(|path| path.starts_with(&prefix)).collect();
        removed.push(path.to_owned());
        for path in &removed {
            if let Some(node) = self.nodes.remove(path) {
                self.forget_life(path, node.life);
            }
            touched.nodes.insert(path.clone());
        }
        let shown =
            V2Node { path: path.to_owned(), dir: node.is_dir(), created: node.created, ..V2Node::default() };
        Done { verb, node: shown, prev: Some(prev), refresh: false }
    }

    pub(crate) fn put(&mut self, path: &str, node: Node, touched: &mut Touched) {
        match node.life {
            Some(Life { deadline_ms: Some(deadline), expiration_ns, .. }) => {
                self.due.insert((deadline, expiration_ns, path.to_owned()));
            }
            Some(_) => drop(self.fresh.insert(path.to_owned())),
            None => {}
        }
        touched.nodes.insert(path.to_owned());
        self.nodes.insert(path.to_owned(), node);
    }

    fn forget_life(&mut self, path: &str, life: Option<Life>) {
        match life {
            Some(Life { deadline_ms: Some(deadline), expiration_ns, .. }) => {
                self.due.remove(&(deadline, expiration_ns, path.to_owned()));
            }
            Some(_) => drop(self.fresh.remove(path)),
            None => {}
        }
    }

    pub(crate) fn restore(&mut self, index: u64, clock_ms: u64) {
        self.index = index;
        self.clock_ms = clock_ms;
    }

    pub(crate) fn remember(&mut self, event: V2Event) {
        self.history.push(Arc::new(event));
    }

    /// Panics where an invariant does not hold.
    pub fn check(&self) {
        let mut lives = 0;
        for (path, node) in &self.nodes {
            let above = self.node(parent(path));
            assert!(above.is_some_and(|above| above.is_dir()), "{path} lies in no directory");
            assert!(node.created <= self.index && node.modified <= self.index, "{path} is of the future");
            if let Some(life) = node.life {
                lives += 1;
                match life.deadline_ms {
                    None => assert!(self.fresh.contains(path), "{path} is not listed as fresh"),
                    Some(at) => {
                        let due = (at, life.expiration_ns, path.clone());
                        assert!(self.due.contains(&due), "{path} is not listed as due");
                    }
                }
            }
        }
        let listed = self.due.len() + self.fresh.len();
        assert!(listed == lives, "{listed} listed to run out, {lives} do");
    }
}

fn life_of(life: V2Life, wall_ns: i64) -> Option<Life> {
    let seconds = life.ttl_seconds?;
    let ns = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(NS_PER_SECOND));
    Some(Life {
        expiration_ns: wall_ns.saturating_add(ns.unwrap_or(i64::MAX)),
        ttl_ms: seconds.saturating_mul(1000),
        deadline_ms: None,
    })
}
