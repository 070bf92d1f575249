//! One simulated process's view of the outside.

use crate::core::{Core, Deadline, Sleep, lock};
use crate::disk::SimDisk;
use crate::disk::handle::Owner;
use crate::net::{Connect, SimListener, SimStream};
use crate::observe::Event;
use crate::panics;
use crate::sim::NodeId;
use crate::trace::What;
use futures::FutureExt;
use madsim::runtime::NodeHandle;
use madsim::task::AbortHandle;
use seatrial_world::{DiskWork, Task, World};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A process of a simulated node. Cheap to clone. A killed process's world answers every call that can fail
/// with an error, and what is spawned on it never runs.
#[derive(Clone)]
pub struct SimWorld {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    node: u32,
    incarnation: u32,
    /// The machine's time at which the process started.
    started: u64,
    executor: NodeHandle,
}

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { node, incarnation, .. } = &*self.inner;
        f.debug_struct("SimWorld")
            .field("node", node)
            .field("incarnation", incarnation)
            .finish_non_exhaustive()
    }
}

impl SimWorld {
    pub(crate) fn new(
        core: Arc<Core>,
        node: u32,
        incarnation: u32,
        started: u64,
        executor: NodeHandle,
    ) -> Self {
        Self { inner: Arc::new(Inner { core, node, incarnation, started, executor }) }
    }

    /// The node on which the process runs.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.inner.node)
    }

    /// Its IP address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        let node = self.inner.node as usize;
        self.inner.core.with(|state| state.outside.machines[node].ip)
    }

    /// How often the node's process was started before.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.inner.incarnation
    }

    /// Adds a mark to the trace: two runs of a seed must leave the same marks at the same times.
    pub fn mark(&self, text: &str) {
        self.inner.core.with(|state| state.mark(self.inner.node, text));
    }

    fn owner(&self) -> Owner {
        let Inner { core, node, incarnation, .. } = &*self.inner;
        Owner { core: core.clone(), node: *node, incarnation: *incarnation }
    }

    fn gone() -> io::Error {
        io::Error::new(ErrorKind::NotConnected, "this process is gone")
    }

    /// The node and port that an address names.
    fn resolve(&self, address: &str) -> io::Result<(u32, u16)> {
        let bad = |why: &str| io::Error::new(ErrorKind::InvalidInput, format!("{address}: {why}"));
        let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        let port: u16 = port.parse().map_err(|_| bad("has no valid port"))?;
        let own = self.inner.node;
        if matches!(host, "" | "localhost" | "0.0.0.0" | "[::]" | "[::1]" | "*") {
            return Ok((own, port));
        }
        let ip: Option<Ipv4Addr> = host.parse().ok();
        if ip.is_some_and(|ip| ip.is_loopback()) {
            return Ok((own, port));
        }
        let node = self.inner.core.with(|state| {
            let machines = &state.outside.machines;
            machines.iter().position(|machine| match ip {
                Some(ip) => machine.ip == ip,
                None => &*machine.name == host,
            })
        });
        match node {
            Some(node) => Ok((node as u32, port)),
            None => Err(io::Error::new(ErrorKind::NotFound, format!("{address}: no such host"))),
        }
    }
}

impl World for SimWorld {
    type Stream = SimStream;
    type Listener = SimListener;
    type Sleep = SimSleep;
    type Disk = SimDisk;
    type Task = SimTask;

    fn now(&self) -> Duration {
        let Inner { core, node, started, .. } = &*self.inner;
        let local = core.with(|state| state.outside.machines[*node as usize].clock.local(state.outside.now));
        Duration::from_nanos(local - started)
    }

    fn wall(&self) -> Duration {
        let node = self.inner.node as usize;
        let wall = self.inner.core.with(|state| state.outside.machines[node].clock.wall(state.outside.now));
        Duration::from_nanos(wall)
    }

    fn sleep_until(&self, deadline: Duration) -> SimSleep {
        let Inner { core, node, started, .. } = &*self.inner;
        let deadline = Deadline::Local(started.saturating_add(crate::chance::nanos(deadline)));
        SimSleep(Sleep { core: core.clone(), node: *node, deadline, key: None })
    }

    fn spawn<F>(&self, task: F) -> SimTask
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Inner { core, node, incarnation, executor, .. } = &*self.inner;
        let (core, node, incarnation) = (core.clone(), *node, *incarnation);
        let handle = executor.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                core.panicked(node, incarnation, panics::message(&*panic));
            }
        });
        SimTask(handle.abort_handle())
    }

    fn rand(&self) -> u64 {
        let node = self.inner.node as usize;
        self.inner.core.with(|state| state.outside.machines[node].chance.draw())
    }

    async fn listen(&self, address: &str) -> io::Result<SimListener> {
        let (node, port) = self.resolve(address)?;
        let Inner { core, node: own, incarnation, .. } = &*self.inner;
        if node != *own {
            let why = format!("{address}: is not an address of this node");
            return Err(io::Error::new(ErrorKind::AddrNotAvailable, why));
        }
        let port = core.with(|state| {
            if !state.outside.is_current(*own, *incarnation) {
                return Err(Self::gone());
            }
            state.net.listen(*own, port)
        })?;
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = match host {
            "0.0.0.0" | "localhost" | "127.0.0.1" => host.replace("localhost", "127.0.0.1"),
            _ => self.ip().to_string(),
        };
        let address = format!("{host}:{port}");
        Ok(SimListener { core: core.clone(), node, incarnation: *incarnation, port, address })
    }

    async fn connect(&self, address: &str) -> io::Result<SimStream> {
        let (to, port) = self.resolve(address)?;
        let Inner { core, node, incarnation, .. } = &*self.inner;
        let id = core.with(|state| {
            if !state.outside.is_current(*node, *incarnation) {
                return Err(Self::gone());
            }
            Ok(state.net.dial(&mut state.outside, *node, to, port))
        })?;
        let (node, incarnation) = (*node, *incarnation);
        Connect { core: core.clone(), id, node, incarnation, address: address.to_owned() }.await
    }

    fn disk(&self, root: &str) -> io::Result<SimDisk> {
        SimDisk::open_root(self.owner(), root)
    }

    async fn work<T, F>(&self, kind: DiskWork, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let Inner { core, node, incarnation, .. } = &*self.inner;
        // The latency comes before the work: a crash in the meantime leaves it undone.
        let ready_at = core.with(|state| {
            let latency = state.outside.machines[*node as usize].disk.draw_latency(kind);
            state.outside.now + crate::chance::nanos(latency)
        });
        let mut sleep: Option<Sleep> = None;
        poll_fn(|context| {
            // Looked at anew with every poll: a stall may be set up or end while one waits.
            let at = core.with(|state| {
                let stalled_until = state.outside.machines[*node as usize].disk.faults.stalled_until;
                let at = ready_at.max(stalled_until);
                (at > state.outside.now).then_some(at)
            });
            let Some(at) = at else { return Poll::Ready(()) };
            let sleep = sleep.get_or_insert_with(|| Sleep {
                core: core.clone(),
                node: *node,
                deadline: Deadline::True(at),
                key: None,
            });
            sleep.deadline = Deadline::True(at);
            Pin::new(sleep).poll(context)
        })
        .await;
        drop(sleep);
        let is_doomed = || core.with(|state| state.outside.is_doomed(*node, *incarnation));
        if !is_doomed() {
            let result = work();
            if !is_doomed() {
                return result;
            }
        }
        // The power went away meanwhile: nobody is there any more to see the result.
        std::future::pending().await
    }
}

impl crate::core::State {
    pub(crate) fn mark(&mut self, node: u32, text: &str) {
        let outside = &mut self.outside;
        outside.trace.text(outside.now, What::Mark, node, text);
        if outside.observed {
            let node = outside.name(node);
            outside.events.push((outside.now, Event::Mark { node, text: text.to_owned() }));
        }
    }
}

/// A sleep on a node's clock.
pub struct SimSleep(pub(crate) Sleep);

impl fmt::Debug for SimSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSleep").field("deadline", &self.0.deadline).finish_non_exhaustive()
    }
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

/// A task of a simulated process.
#[derive(Clone)]
pub struct SimTask(AbortHandle);

impl fmt::Debug for SimTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTask").finish_non_exhaustive()
    }
}

impl Task for SimTask {
    fn abort(&self) {
        self.0.abort();
    }
}

/// The executor's nodes keep nothing alive: who holds a world of a killed process holds only a number.
pub(crate) fn executor_of(core: &Core, node: u32) -> NodeHandle {
    let executor = lock(&core.executors)[node as usize];
    core.handle.get_node(executor).expect("the executor knows every node")
}
