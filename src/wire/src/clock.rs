//! A way to wait, for code that is not generic over the world.

use seatrial_world::World;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A timer that runs out.
pub(crate) type Nap = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes [`Nap`]s, and tells the time since an arbitrary start.
#[derive(Clone)]
pub(crate) struct Clock {
    nap: Arc<dyn Fn(Duration) -> Nap + Send + Sync>,
    now: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    pub(crate) fn new<W: World>(world: W) -> Self {
        let ticking = world.clone();
        Self {
            nap: Arc::new(move |duration| Box::pin(world.sleep(duration))),
            now: Arc::new(move || ticking.now()),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Nap {
        (self.nap)(duration)
    }
}
