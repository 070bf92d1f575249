//! The v2 key space as a part of the state machine: its tree with the rows it is kept in, and who waits for changes.

use crate::backend::{Backend, BackendError, Table, View};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::Header;
use seatrial_types::v2::{
    V2Action, V2Answer, V2Change, V2Error, V2Event, V2Response, V2Stats, V2Verb, V2Watch, V2WatchId,
};
use seatrial_v2::{Hub, ROWS, Row, Tree, clean};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

/// What one who waits is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum V2Output {
    /// A change.
    Event(V2WatchId, Arc<V2Event>),
    /// That the waiting has an end: what happened is forgotten by now.
    Lost(V2WatchId),
}

/// What was counted. It is no part of what the state is.
#[derive(Clone, Copy, Debug, Default)]
struct Tally(V2Stats);

impl PartialEq for Tally {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Tally {}

impl Hash for Tally {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The v2 key space at one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct V2 {
    tree: Tree,
    hub: Hub,
    tally: Tally,
    outbox: Vec<V2Output>,
}

fn read_tree<V: View>(view: &V) -> Result<Tree, BackendError> {
    let rows = view.scan(Table::Meta, Bound::Included(ROWS.0), Bound::Excluded(ROWS.1), usize::MAX)?;
    Tree::load(rows).map_err(|error| BackendError::damaged(error.to_string()))
}

impl V2 {
    pub(crate) fn load<V: View>(view: &V) -> Result<Self, BackendError> {
        Ok(Self { tree: read_tree(view)?, ..Self::default() })
    }

    /// The rows were replaced by another member's.
    pub(crate) fn reload<V: View>(&mut self, view: &V) -> Result<(), BackendError> {
        let old = self.tree.index();
        self.tree = read_tree(view)?;
        if is_planted(Planted::T03) {
            return Ok(());
        }
        let (told, lost) = self.hub.replaced(old, &self.tree);
        self.outbox.extend(told.into_iter().map(|(id, event)| V2Output::Event(id, event)));
        self.outbox.extend(lost.into_iter().map(V2Output::Lost));
        Ok(())
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn change<B: Backend>(
        &mut self,
        change: &V2Change,
        header: Header,
        backend: &mut B,
    ) -> V2Response {
        let effect = self.tree.apply(change);
        self.tally.0.count(verb_of(&change.action), effect.result.is_ok());
        keep(effect.rows, backend);
        self.tell(effect.told.as_slice());
        self.response(header, effect.result.map(V2Answer::Event))
    }

    pub(crate) fn tick<B: Backend>(&mut self, clock_ms: u64, backend: &mut B) {
        let (happened, rows) = self.tree.tick(clock_ms);
        keep(rows, backend);
        happened.iter().for_each(|_| self.tally.0.count(V2Verb::Expire, true));
        self.tell(&happened);
    }

    fn tell(&mut self, happened: &[Arc<V2Event>]) {
        for one in happened {
            let told = self.hub.notify(one);
            self.outbox.extend(told.into_iter().map(|(id, event)| V2Output::Event(id, event)));
        }
    }

    fn response(&self, header: Header, result: Result<V2Answer, V2Error>) -> V2Response {
        V2Response { header, raft_index: 0, index: self.tree.index(), result }
    }

    /// Reads a file or lists a directory. Header and place in the log are the caller's to fill in.
    pub fn read(&mut self, path: &str, recursive: bool) -> V2Response {
        let result = self.tree.read(&clean(path), recursive);
        self.tally.0.count(V2Verb::Get, result.is_ok());
        self.response(Header::default(), result.map(|event| V2Answer::Event(Arc::new(event))))
    }

    /// What was counted. Header and place in the log are the caller's to fill in.
    #[must_use]
    pub fn stats(&self) -> V2Response {
        let stats = V2Stats { watchers: self.hub.len() as u64, ..self.tally.0 };
        self.response(Header::default(), Ok(V2Answer::Stats(stats)))
    }

    /// Begins to wait. What has happened already is among the outputs.
    ///
    /// # Errors
    /// Where what is asked for may have been forgotten.
    pub fn watch(&mut self, id: V2WatchId, watch: V2Watch) -> Result<u64, V2Error> {
        let watch = V2Watch { path: clean(&watch.path), ..watch };
        let past = self.hub.watch(&self.tree, id, watch)?;
        self.outbox.extend(past.into_iter().map(|event| V2Output::Event(id, event)));
        Ok(self.tree.index())
    }

    /// Waits no longer.
    pub fn close(&mut self, id: V2WatchId) {
        self.hub.close(id);
    }

    /// What is to be told since the last call.
    pub fn take_outputs(&mut self) -> Vec<V2Output> {
        std::mem::take(&mut self.outbox)
    }

    pub(crate) fn check(&self) {
        self.tree.check();
        self.hub.check();
    }
}

fn keep<B: Backend>(rows: Vec<Row>, backend: &mut B) {
    for (key, value) in rows {
        match value {
            Some(value) => backend.put(Table::Meta, key, value),
            None => backend.delete(Table::Meta, key),
        }
    }
}

fn verb_of(action: &V2Action) -> V2Verb {
    match action {
        V2Action::Set { .. } => V2Verb::Set,
        V2Action::Create { .. } | V2Action::CreateInOrder { .. } => V2Verb::Create,
        V2Action::Update { .. } => V2Verb::Update,
        V2Action::CompareAndSwap { .. } => V2Verb::CompareAndSwap,
        V2Action::Delete { .. } => V2Verb::Delete,
        V2Action::CompareAndDelete { .. } => V2Verb::CompareAndDelete,
    }
}
