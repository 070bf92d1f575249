//! A way to wait, for code that is not generic over the world.

use seatrial_world::World;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A timer that runs out.
pub(crate) type Nap = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes [`Nap`]s.
#[derive(Clone)]
pub(crate) struct Clock {
    nap: Arc<dyn Fn(Duration) -> Nap + Send + Sync>,
}

impl Clock {
    pub(crate) fn new<W: World>(world: W) -> Self {
        Self { nap: Arc::new(move |duration| Box::pin(world.sleep(duration))) }
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Nap {
        (self.nap)(duration)
    }
}
