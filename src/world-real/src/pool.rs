//! A few threads for blocking disk work.
//!
//! Its own rather than tokio's: a sync on the way to an answer must not queue behind hundreds of other
//! blocking calls, and the number of threads stays bounded by what a disk can make use of.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Threads at most. One log and one database per member sync at a time; the rest reads.
const THREADS_MAX: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    closed: bool,
}

impl Pool {
    pub(crate) fn new() -> Self {
        let queue = Queue { jobs: VecDeque::new(), idle: 0, threads: 0, closed: false };
        Self { shared: Arc::new(Shared { queue: Mutex::new(queue), wake: Condvar::new() }) }
    }

    /// Begins the work now; it runs to its end even if the future is dropped. A panic of the work goes on in
    /// who awaits it.
    pub(crate) fn run<T, F>(&self, work: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, wait) = oneshot::channel::<Result<T, Box<dyn Any + Send>>>();
        self.push(Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        }));
        async move {
            match wait.await {
                Ok(Ok(value)) => value,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => unreachable!("a job answers before it ends, and threads end only without jobs"),
            }
        }
    }

    fn push(&self, job: Job) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.jobs.push_back(job);
        // Idle threads may already be promised to jobs before this one.
        if queue.jobs.len() > queue.idle && queue.threads < THREADS_MAX {
            queue.threads += 1;
            let shared = self.shared.clone();
            let name = format!("disk-{}", queue.threads);
            let started = std::thread::Builder::new().name(name).spawn(move || shared.serve());
            if let Err(error) = started {
                queue.threads -= 1;
                assert!(queue.threads > 0, "no thread for disk work could be started: {error}");
            }
        }
        drop(queue);
        self.shared.wake.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn serve(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            } else if queue.closed {
                return;
            } else {
                queue.idle += 1;
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}
