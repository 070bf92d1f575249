//! The one value behind all worlds of a simulation, and the pump that moves it on.

use crate::chance::nanos;
use crate::disk::Crash;
use crate::machine::{Action, Outside};
use crate::net::Net;
use crate::observe::{Event, Observer};
use crate::queue::{Due, Key};
use crate::sim::Failure;
use madsim::runtime::Handle;
use madsim::task::NodeId as Executor;
use madsim::time::TimeHandle;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) struct State {
    pub(crate) net: Net,
    pub(crate) outside: Outside,
    pub(crate) failure: Option<Failure>,
    pub(crate) stop: bool,
    pump: Option<Waker>,
    pub(crate) root: Option<Waker>,
    turns: u64,
}

pub(crate) struct Core {
    time: TimeHandle,
    pub(crate) handle: Handle,
    /// The executor's node of each of ours, in our order.
    pub(crate) executors: Mutex<Vec<Executor>>,
    pub(crate) observers: Mutex<Vec<Observer>>,
    pub(crate) kill_on_panic: bool,
    state: Mutex<State>,
}

/// A panic under the lock ends the run, and then what lies behind the lock is only read.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(net: Net, outside: Outside, kill_on_panic: bool) -> Arc<Self> {
        let state = State { net, outside, failure: None, stop: false, pump: None, root: None, turns: 0 };
        Arc::new(Self {
            time: TimeHandle::current(),
            handle: Handle::current(),
            executors: Mutex::new(Vec::new()),
            observers: Mutex::new(Vec::new()),
            kill_on_panic,
            state: Mutex::new(state),
        })
    }

    /// The only way to the state. Never to be called from within itself.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let now = nanos(self.time.elapsed());
        assert!(now >= state.outside.now, "time went from {} back to {now}", state.outside.now);
        state.outside.now = now;
        let result = run(&mut state);
        if state.pump.is_some()
            && let Some(at) = state.outside.queue.arm(now)
        {
            self.arm(state.pump.as_ref().expect("there is one"), now, at);
        }
        if state.outside.events.is_empty() {
            return result;
        }
        let events = std::mem::take(&mut state.outside.events);
        drop(state);
        self.tell(&events);
        result
    }

    fn tell(&self, events: &[(u64, Event)]) {
        let mut observers = lock(&self.observers);
        for (at, event) in events {
            for observer in observers.iter_mut() {
                observer(Duration::from_nanos(*at), event);
            }
        }
    }

    /// Asks the executor to wake the pump. Its own `sleep` never ends before a millisecond has passed, but one
    /// that is reset does; polling it once leaves the timer behind, and nothing needs the future any more.
    fn arm(&self, pump: &Waker, now: u64, at: u64) {
        let deadline = self.time.now_instant() + Duration::from_nanos(at - now);
        let mut sleep = pin!(self.time.sleep_until(deadline));
        sleep.as_mut().reset(deadline);
        if sleep.poll(&mut Context::from_waker(pump)).is_ready() {
            pump.wake_by_ref();
        }
    }

    pub(crate) fn executor(&self, node: u32) -> Executor {
        lock(&self.executors)[node as usize]
    }

    // ---- What happens to processes and machines.

    /// Ends the process of a node.
    pub(crate) fn kill(&self, node: u32, how: Death) {
        let executor = self.executor(node);
        let was_up = self.with(|state| {
            let machine = &mut state.outside.machines[node as usize];
            let was_up = machine.alive;
            machine.alive = false;
            machine.paused = false;
            match how {
                Death::Power(_) => machine.powered = false,
                Death::Kill | Death::Exit => {}
            }
            machine.disk.process_died();
            let power = matches!(how, Death::Power(_));
            if was_up || power {
                state.net.node_died(&mut state.outside, node, power);
            }
            let name = state.outside.name(node);
            match how {
                Death::Power(crash) => {
                    let report = state.outside.machines[node as usize].disk.crash(crash);
                    state.outside.event(node, Event::PowerLost { node: name, report });
                }
                Death::Kill if was_up => state.outside.event(node, Event::Killed { node: name }),
                Death::Exit if was_up => state.outside.event(node, Event::Exited { node: name }),
                Death::Kill | Death::Exit => {}
            }
            for waker in state.outside.machines[node as usize].down.drain(..) {
                waker.wake();
            }
            was_up
        });
        if was_up {
            self.handle.kill(executor);
        }
    }

    /// A task of this process panicked.
    pub(crate) fn panicked(&self, node: u32, incarnation: u32, message: String) {
        let kill = self.with(|state| {
            // A process without power would not have come so far; one that is gone only runs destructors.
            if state.outside.is_doomed(node, incarnation) {
                return false;
            }
            let name = state.outside.name(node);
            let event = Event::Panicked { node: name.clone(), message: message.clone() };
            state.outside.event(node, event);
            if self.kill_on_panic {
                return true;
            }
            let at = Duration::from_nanos(state.outside.now);
            state.fail(Failure::Panic { node: Some(name.to_string()), message, at });
            false
        });
        if kill {
            self.kill(node, Death::Kill);
        }
    }

    pub(crate) fn pump(self: &Arc<Self>) -> Pump {
        Pump { core: self.clone() }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    Kill,
    Exit,
    Power(Crash),
}

impl State {
    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.failure = Some(failure);
        }
        if let Some(waker) = self.root.take() {
            waker.wake();
        }
    }

    fn run_due(&mut self) {
        while let Some(due) = self.outside.queue.pop_due(self.outside.now) {
            match due {
                Due::Wake { waker, .. } => waker.wake(),
                Due::Net(due) => self.net.run(&mut self.outside, due),
                Due::Act(action) => self.outside.act(action),
                Due::Nothing => {}
            }
        }
    }
}

/// The task that moves packets and wakes sleepers, one for the whole simulation. It belongs to no node, so
/// nothing kills it.
pub(crate) struct Pump {
    core: Arc<Core>,
}

impl Pump {
    fn act(&self, action: Action) {
        let core = &self.core;
        match action {
            Action::PowerCut(node) => core.kill(node, Death::Power(Crash::Random)),
            Action::Exit { node, incarnation } => {
                let current = core.with(|state| {
                    let current = state.outside.is_current(node, incarnation);
                    if current {
                        // Its other tasks are dropped first, and with them its streams close in good order.
                        let done = Action::Exited { node, incarnation };
                        state.outside.queue.push(state.outside.now + 1_000, Due::Act(done));
                    }
                    current
                });
                if current {
                    core.handle.kill(core.executor(node));
                }
            }
            Action::Exited { node, incarnation } => {
                if core.with(|state| state.outside.is_current(node, incarnation)) {
                    core.kill(node, Death::Exit);
                }
            }
        }
    }
}

/// The executor keeps a trace of each finished task until it is asked to count them.
const PRUNE_EVERY: u64 = 16_384;

impl Future for Pump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let (actions, stop, turns) = self.core.with(|state| {
                if state.pump.is_none() {
                    state.pump = Some(context.waker().clone());
                }
                state.run_due();
                state.turns += 1;
                (state.outside.take_actions(), state.stop, state.turns)
            });
            if stop {
                return Poll::Ready(());
            }
            if turns.is_multiple_of(PRUNE_EVERY) {
                let _tasks = self.core.handle.metrics().num_tasks();
            }
            if actions.is_empty() {
                return Poll::Pending;
            }
            for action in actions {
                self.act(action);
            }
        }
    }
}

/// Ready at a moment of true time. Cancelled by dropping.
pub(crate) struct Sleep {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u32,
    pub(crate) deadline: Deadline,
    pub(crate) key: Option<Key>,
}

/// On which scale a sleep counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// True time.
    True(u64),
    /// The machine's monotonic clock, whose rate may change under way.
    Local(u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let core = &this.core;
        core.with(|state| {
            let outside = &mut state.outside;
            let at = match this.deadline {
                Deadline::True(at) => at,
                Deadline::Local(local) => {
                    let clock = &outside.machines[this.node as usize].clock;
                    if clock.local(outside.now) >= local { outside.now } else { clock.true_time(local) }
                }
            };
            if at <= outside.now {
                if let Some(key) = this.key.take() {
                    outside.queue.cancel(key);
                }
                return Poll::Ready(());
            }
            let waker = context.waker();
            if let Some(key) = this.key {
                if key.0 == at
                    && let Some(Due::Wake { waker: waiting, .. }) = outside.queue.get_mut(key)
                {
                    waiting.clone_from(waker);
                    return Poll::Pending;
                }
                outside.queue.cancel(key);
            }
            this.key = Some(outside.queue.push(at, Due::Wake { node: this.node, waker: waker.clone() }));
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.with(|state| state.outside.queue.cancel(key));
        }
    }
}
