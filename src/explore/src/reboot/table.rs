//! The two keys in the store, and how an operation comes to them.

use seatrial_reboot::{Found, Group, KeysError, Operation, Semaphore, Step, Wall};
use std::sync::Arc;

/// What becomes of an access to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is done and answered.
    Well,
    /// It is not done, and nobody knows.
    Lost,
    /// It is done, and nobody knows.
    Unanswered,
}

/// The keys. Each has an index of its own: an operation compares none but those of one key, and one counter for both would tell
/// states apart that are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    ledger: Option<(Arc<str>, u64)>,
    semaphore: Option<(Arc<str>, u64)>,
}

impl Table {
    /// A semaphore, and no ledger yet.
    pub(super) fn new(semaphore: &Semaphore) -> Self {
        Self { ledger: None, semaphore: Some((semaphore.to_json().into(), 1)) }
    }

    fn place(&mut self, key: &str) -> &mut Option<(Arc<str>, u64)> {
        if key == Group::default().semaphore_key() { &mut self.semaphore } else { &mut self.ledger }
    }

    pub(super) fn get(&self, key: &str) -> Result<Found, KeysError> {
        let place = if key == Group::default().semaphore_key() { &self.semaphore } else { &self.ledger };
        let (value, index) =
            place.as_ref().ok_or_else(|| KeysError::NotFound { key: key.to_owned(), index: 0 })?;
        Ok(Found { value: value.to_string(), index: *index })
    }
}

/// One access, and the rest that may follow it.
pub(super) fn advance(operation: &mut Operation, table: &mut Table, wall: Wall, fate: Fate) {
    match operation.step() {
        Step::Get(key) => operation.got(table.get(&key)),
        Step::List(directory) => unreachable!("nobody guards a quorum here, and {directory} was to be listed"),
        step @ (Step::Create(..) | Step::Swap(..)) => {
            let done = if fate == Fate::Lost { None } else { Some(write(table, &step)) };
            let unknown = KeysError::Unavailable { why: "no answer".to_owned(), ambiguous: true };
            operation.wrote(done.filter(|_| fate == Fate::Well).unwrap_or(Err(unknown)));
        }
        Step::Rest | Step::Done(_) => {}
    }
    if operation.step() == Step::Rest {
        operation.rested(wall);
    }
}

/// Carries out a write.
pub(super) fn write(table: &mut Table, step: &Step) -> Result<u64, KeysError> {
    let (key, value, wanted) = match step {
        Step::Create(key, value) => (key, value, None),
        Step::Swap(key, value, index) => (key, value, Some(*index)),
        other => unreachable!("no write: {other:?}"),
    };
    let place = table.place(key);
    let found = place.as_ref().map(|(_, index)| *index);
    if found != wanted {
        return Err(match (found, wanted) {
            (Some(found), Some(wanted)) => KeysError::CompareFailed { wanted, found, index: 0 },
            (Some(_), None) => KeysError::Exists { key: key.clone(), index: 0 },
            (None, _) => KeysError::NotFound { key: key.clone(), index: 0 },
        });
    }
    let index = found.unwrap_or(0) + 1;
    *place = Some((value.as_str().into(), index));
    Ok(index)
}
