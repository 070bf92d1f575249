//! What hyper asks of a runtime, answered by a world.
//!
//! A world's stream is given to hyper through `hyper_util::rt::TokioIo`; that needs nothing from here.

use crate::World;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Runs hyper's background tasks as tasks of the world.
#[derive(Clone, Debug)]
pub struct Executor<W>(W);

impl<W: World> Executor<W> {
    /// An executor of this world.
    pub fn new(world: W) -> Self {
        Self(world)
    }
}

impl<W, F> hyper::rt::Executor<F> for Executor<W>
where
    W: World,
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(async move {
            future.await;
        });
    }
}

/// Counts hyper's timeouts on the world's clock.
#[derive(Clone, Debug)]
pub struct Timer<W> {
    world: W,
    /// The same moment on both scales: hyper speaks in `Instant`s, the world in durations.
    origin: (Instant, Duration),
}

impl<W: World> Timer<W> {
    /// A timer of this world.
    #[allow(
        clippy::disallowed_methods,
        reason = "hyper's currency is the std Instant; it serves as an origin and is never read as a clock again"
    )]
    pub fn new(world: W) -> Self {
        let origin = (Instant::now(), world.now());
        Self { world, origin }
    }

    fn boxed(&self, deadline: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep { inner: self.world.sleep_until(deadline) })
    }
}

impl<W: World> hyper::rt::Timer for Timer<W> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.boxed(self.world.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.boxed(self.origin.1 + deadline.saturating_duration_since(self.origin.0))
    }

    fn now(&self) -> Instant {
        self.origin.0 + self.world.now().saturating_sub(self.origin.1)
    }
}

pin_project! {
    /// A world's sleep under hyper's name.
    struct Sleep<S> {
        #[pin]
        inner: S,
    }
}

impl<S: Future<Output = ()> + Send + Sync + 'static> hyper::rt::Sleep for Sleep<S> {}

impl<S: Future<Output = ()>> Future for Sleep<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().inner.poll(context)
    }
}
