//! Keeping a mirror in step with the store.

use crate::registry::restore;
use crate::registry::{Mirror, Touched};
use seatrial_client::{Store, Watching};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::watch::WatchCreate;
use seatrial_types::{Event, KeyRange, Revision};
use seatrial_world::{Backoff, Task, World};
use std::time::Duration;
use tokio::sync::mpsc;

/// What is new in the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// Everything was read anew.
    Whole(Box<Mirror>),
    /// Changes in order, up to a revision.
    Events(Vec<Event>, Revision),
}

impl Change {
    /// Takes the change into a mirror; says whom it may concern.
    pub fn apply_to(self, mirror: &mut Option<Mirror>) -> Vec<Touched> {
        match (self, mirror) {
            (Self::Whole(whole), mirror) => {
                // Everybody looks at everything.
                let touched = whole.cluster().units.keys().cloned().map(Touched::Unit).collect::<Vec<_>>();
                *mirror = Some(*whole);
                if touched.is_empty() { vec![Touched::State] } else { touched }
            }
            (Self::Events(events, revision), Some(mirror)) => {
                let touched = events.iter().map(|event| mirror.apply(event)).collect();
                mirror.advance(revision);
                touched
            }
            // Without the whole, a part says nothing.
            (Self::Events(..), None) => Vec::new(),
        }
    }
}

/// A task that reads everything below a prefix, watches it, and reads it anew when the watch is lost. Dropped, it stops.
///
/// It is a task of its own, so that whoever waits for it and for something else never interrupts its reading.
#[derive(Debug)]
pub struct Following<T: Task> {
    changes: mpsc::UnboundedReceiver<Change>,
    task: T,
}

impl<T: Task> Drop for Following<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Task> Following<T> {
    /// Begins.
    pub fn start<W: World<Task = T>, S: Store>(world: &W, store: &S, prefix: &'static str) -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let task = world.spawn(follow(world.clone(), store.clone(), prefix, sender));
        Self { changes, task }
    }

    /// The next change. Cancel-safe; never ends.
    pub async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            // Only an abort ends the task, and that is ours.
            None => std::future::pending().await,
        }
    }

    /// A change that is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.changes.try_recv().ok()
    }
}

async fn follow<W: World, S: Store>(
    world: W,
    store: S,
    prefix: &'static str,
    sender: mpsc::UnboundedSender<Change>,
) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        match restore(&store, prefix).await {
            Err(error) => tracing::debug!(%error, "could not read the registry"),
            Ok(mirror) => {
                backoff.reset();
                let next = mirror.revision().next();
                let start_revision = if is_planted(Planted::F24) { next.next() } else { next };
                if sender.send(Change::Whole(Box::new(mirror))).is_err() {
                    return;
                }
                let range = KeyRange::prefix(prefix);
                let mut watch = store.watch(WatchCreate { range, start_revision, ..WatchCreate::default() });
                while let Some(Ok(answer)) = watch.next().await {
                    if answer.canceled {
                        break;
                    }
                    let change = Change::Events(answer.events, answer.header.revision);
                    if !answer.created && sender.send(change).is_err() {
                        return;
                    }
                }
                tracing::debug!("lost the watch of the registry");
            }
        }
        backoff.wait(&world).await;
    }
}
