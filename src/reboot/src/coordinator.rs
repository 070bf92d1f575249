//! Carries out operations on a group over the keys of a store.

use crate::error::RebootError;
use crate::group::{GROUPS, Group};
use crate::keys::{Keys, KeysError};
use crate::operation::{Done, Operation, Step, Verb};
use crate::plan::View;
use crate::wall::Wall;
use seatrial_world::{Backoff, World};
use std::collections::BTreeSet;
use std::time::Duration;

/// Pauses between the attempts of an operation that others got in the way of.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The reboot lock of one group. Cheap to clone; it keeps nothing, for everything is in the store.
#[derive(Clone, Debug)]
pub struct Coordinator<W, K> {
    world: W,
    keys: K,
    group: Group,
}

impl<W: World, K: Keys> Coordinator<W, K> {
    /// The lock of this group.
    #[must_use]
    pub fn new(world: W, keys: K, group: Group) -> Self {
        Self { world, keys, group }
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &K {
        &self.keys
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Does this. Dropping the future at any point is as safe as a crash: what it announced and did not do falls to the
    /// next one who comes along.
    ///
    /// # Errors
    /// [`RebootError`]. After an ambiguous [`KeysError::Unavailable`] the change may have been made; to ask again is
    /// safe.
    pub async fn run(&self, verb: Verb) -> Result<Done, RebootError> {
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut operation = Operation::new(self.group.clone(), verb, self.now());
        loop {
            match operation.step() {
                Step::Get(key) => operation.got(self.keys.get(&key).await),
                Step::Create(key, value) => operation.wrote(self.keys.create(&key, &value).await),
                Step::Swap(key, value, index) => {
                    operation.wrote(self.keys.compare_and_swap(&key, &value, index).await);
                }
                Step::List(directory) => operation.listed(self.keys.list(&directory).await),
                Step::Rest => {
                    tracing::debug!(group = %self.group, attempt = operation.attempt(), "lost a race for the lock");
                    backoff.wait(&self.world).await;
                    operation.rested(self.now());
                }
                Step::Done(result) => return result,
            }
        }
    }

    /// The group as it is.
    ///
    /// # Errors
    /// As [`Coordinator::run`].
    pub async fn look(&self) -> Result<View, RebootError> {
        match self.run(Verb::Look).await? {
            Done::Seen(view) => Ok(*view),
            other => unreachable!("a look ends with {other:?}"),
        }
    }

    /// Waits until the semaphore is not the one any more that it is now.
    ///
    /// # Errors
    /// As [`Coordinator::run`].
    pub async fn changed(&self) -> Result<(), RebootError> {
        let key = self.group.semaphore_key();
        let after = match self.keys.get(&key).await {
            Ok(found) => found.index,
            Err(KeysError::NotFound { .. }) => 0,
            Err(error) => return Err(error.into()),
        };
        match self.keys.changed(&key, after).await {
            Ok(_) | Err(KeysError::HistoryCleared { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// All groups that have a semaphore, the default one first. One whose name begins with `_` is not listed, for the
    /// store hides it.
    ///
    /// # Errors
    /// As [`Coordinator::run`].
    pub async fn groups(&self) -> Result<BTreeSet<Group>, RebootError> {
        let entries = match self.keys.list(GROUPS).await {
            Ok(entries) => entries,
            Err(KeysError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let named =
            entries.iter().filter(|entry| entry.dir).filter_map(|entry| Group::of_directory(&entry.key));
        Ok(named.chain([Group::default()]).collect())
    }

    fn now(&self) -> Wall {
        Wall::from_epoch(self.world.wall())
    }
}
