//! What the rooms may ask of the outside: time, network, disk, chance and tasks.
//!
//! Knows nothing of tokio's runtime nor of the simulator: `world-real` and `world-sim` answer, and both must
//! pass the same contract tests. A seed can replay a run only because nothing below a composition root asks
//! the machine directly.
//!
//! Read first: [`World`], [`Disk`], [`Listener`].

mod backoff;
#[cfg(feature = "contract")]
pub mod contract;
mod disk;
pub mod hyper_glue;
mod secure;
mod timeout;

pub use backoff::Backoff;
pub use disk::{Disk, DiskFile, DiskWork, OpenMode};
pub use secure::{Duplex, Handshake, Layered, Secure, Secured, host_of};
pub use timeout::{Elapsed, timeout, timeout_at};

use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// One process's view of the outside. Cheap to clone; every clone is the same process.
///
/// Times are [`Duration`]s: [`World::now`] counts from an arbitrary start and never goes back,
/// [`World::wall`] counts from the Unix epoch and may jump.
pub trait World: Clone + Send + Sync + Unpin + 'static {
    /// An ordered stream of bytes, like a TCP connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// Accepts streams.
    type Listener: Listener<Stream = Self::Stream>;
    /// A timer that runs out.
    type Sleep: Future<Output = ()> + Send + Sync + 'static;
    /// Files below one folder.
    type Disk: Disk;
    /// A handle to stop a task.
    type Task: Task;

    /// Monotonic time of this process.
    fn now(&self) -> Duration;

    /// Wall-clock time of this process, since the Unix epoch.
    fn wall(&self) -> Duration;

    /// Ready once [`World::now`] has reached `deadline`.
    fn sleep_until(&self, deadline: Duration) -> Self::Sleep;

    /// Ready after `duration`.
    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Runs a task until it ends, the handle aborts it, or the process dies. Dropping the handle lets the
    /// task run on.
    fn spawn<F>(&self, task: F) -> Self::Task
    where
        F: Future<Output = ()> + Send + 'static;

    /// Eight random bytes; of good quality in the real world, of the seed in simulation.
    fn rand(&self) -> u64;

    /// Accepts connections on `host:port`; port 0 draws a free one.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens there already, and what the system has to say otherwise.
    fn listen(&self, address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Connects to `host:port`. `TCP_NODELAY` is set.
    ///
    /// # Errors
    /// `ConnectionRefused` where nobody listens, `TimedOut` where nothing answers, and others.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Opens (and makes, where it is missing) the folder `root` as a disk of its own.
    ///
    /// # Errors
    /// Whatever the system says; the message names the folder.
    fn disk(&self, root: &str) -> io::Result<Self::Disk>;

    /// Runs blocking disk work off the tasks' threads (in simulation: in place, after the latency of a
    /// simulated disk for this kind of work). Work begun is carried to its end even if the future is
    /// dropped in the real world; in simulation a crash before that moment leaves it undone.
    fn work<T, F>(&self, kind: DiskWork, work: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;
}

/// Accepts streams at one address.
pub trait Listener: Send + Sync + 'static {
    /// What it accepts.
    type Stream;

    /// The next connection, with the peer's address. Dropping the future loses no connection.
    ///
    /// # Errors
    /// Passing ones (too many open files) may come; callers wait a little and go on.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, String)>> + Send;

    /// The address it listens at, with the drawn port.
    fn local_address(&self) -> String;
}

/// A task that was spawned.
pub trait Task: Send + Sync + 'static {
    /// Stops it at its next suspension point; nothing happens where it has ended.
    fn abort(&self);
}
