//! Work that outlives the call which caused it, for code that is not generic over the world.

use seatrial_world::World;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts tasks of a world.
#[derive(Clone)]
pub(super) struct Background {
    spawn: Arc<dyn Fn(Work) + Send + Sync>,
}

impl Background {
    pub(super) fn new<W: World>(world: W) -> Self {
        // Nobody waits for such a task, nor ends it.
        Self { spawn: Arc::new(move |work| drop(world.spawn(work))) }
    }

    /// Does this, beside everything else.
    pub(super) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        (self.spawn)(Box::pin(work));
    }

    /// Does this when the value is dropped, unless it was told to forget.
    pub(super) fn on_drop(&self, work: impl Future<Output = ()> + Send + 'static) -> OnDrop {
        OnDrop { background: self.clone(), work: Some(Box::pin(work)) }
    }
}

/// Something still to be done.
pub(super) struct OnDrop {
    background: Background,
    work: Option<Work>,
}

impl OnDrop {
    pub(super) fn forget(&mut self) {
        self.work = None;
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            (self.background.spawn)(work);
        }
    }
}
