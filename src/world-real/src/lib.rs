//! The real world: tokio's sockets and timers, files with fdatasync, the system's clocks and entropy.
//!
//! Knows nothing of what runs on it. It starts no runtime: a composition root does, and makes a
//! [`RealWorld`] within.
//!
//! Read first: [`RealWorld`], [`RealDisk`], [`RealFile`].
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one place that asks the machine, so that nothing above has to"
)]

mod disk;
mod guard;
mod net;
mod pool;

pub use disk::{RealDisk, RealFile};
pub use guard::{Act, Guard};
pub use net::{RealListener, RealStream};

use pool::Pool;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use seatrial_world::{DiskWork, Task, World};
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// This process, as the machine sees it. Cheap to clone.
#[derive(Clone)]
pub struct RealWorld {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    started: Instant,
    /// A generator seeded by the system is as good as the system's own and spares a call each time.
    chance: Mutex<ChaCha12Rng>,
    pool: Pool,
    guard: Option<Arc<dyn Guard>>,
}

impl RealWorld {
    /// A world whose tasks run on the current tokio runtime, which needs its I/O and time drivers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Handle::current())
    }

    /// As [`RealWorld::new`], with disks that are guarded.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn guarded(guard: Arc<dyn Guard>) -> Self {
        Self::with(Handle::current(), Some(guard))
    }

    /// As [`RealWorld::new`], on this runtime.
    ///
    /// # Panics
    /// Where the system has no entropy.
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self::with(runtime, None)
    }

    fn with(runtime: Handle, guard: Option<Arc<dyn Guard>>) -> Self {
        let chance = Mutex::new(ChaCha12Rng::from_os_rng());
        let inner = Inner { runtime, started: Instant::now(), chance, pool: Pool::new(), guard };
        Self { inner: Arc::new(inner) }
    }
}

impl Default for RealWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RealWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealWorld").finish_non_exhaustive()
    }
}

impl World for RealWorld {
    type Stream = RealStream;
    type Listener = RealListener;
    type Sleep = tokio::time::Sleep;
    type Disk = RealDisk;
    type Task = RealTask;

    fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    fn wall(&self) -> Duration {
        // A clock before 1970 is as wrong as one at 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn sleep_until(&self, deadline: Duration) -> tokio::time::Sleep {
        let _driver = self.inner.runtime.enter();
        // A deadline beyond what the clock can count is for ever; tokio takes thirty years for that.
        let far = Duration::from_secs(86_400 * 365 * 30);
        tokio::time::sleep_until((self.inner.started + deadline.min(far)).into())
    }

    fn spawn<F>(&self, task: F) -> RealTask
    where
        F: Future<Output = ()> + Send + 'static,
    {
        RealTask(self.inner.runtime.spawn(task).abort_handle())
    }

    fn rand(&self) -> u64 {
        self.inner.chance.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    async fn listen(&self, address: &str) -> io::Result<RealListener> {
        RealListener::bind(address).await
    }

    async fn connect(&self, address: &str) -> io::Result<RealStream> {
        net::connect(address).await
    }

    fn disk(&self, root: &str) -> io::Result<RealDisk> {
        RealDisk::open_root(root, self.inner.guard.clone())
    }

    fn work<T, F>(&self, _kind: DiskWork, work: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.inner.pool.run(work)
    }
}

/// A task on the runtime.
#[derive(Debug)]
pub struct RealTask(AbortHandle);

impl Task for RealTask {
    fn abort(&self) {
        self.0.abort();
    }
}
