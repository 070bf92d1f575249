//! A machine as its agent sees it. What its fate is, the plan says; what it does is written down here.

use crate::format::spec::Fate;
use crate::machines::{AgentHost, AgentNote, MachineDoes, MachineEvent, RebootStep};
use crate::record::Notebook;
use crate::theatre::Theatre;
use futures::channel::mpsc;
use futures::future::{pending, poll_fn};
use futures::task::AtomicWaker;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

/// What ends an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its machine reboots, or loses its power, and is away for so long.
    Away { crash: bool, boot: Duration },
    /// It alone was killed, and is started again after so long.
    Agent { rest: Duration },
    /// There is nothing left to do.
    Over,
}

/// See the module. Clones are the same machine.
pub(super) struct Machine<T: Theatre> {
    shared: Arc<Shared<T>>,
}

impl<T: Theatre> Clone for Machine<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<T: Theatre> {
    theatre: T,
    notebook: Notebook,
    /// Its record.
    place: usize,
    /// From then on nothing goes wrong any more.
    until: Duration,
    waker: AtomicWaker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The reboot that is needed.
    wanted: Option<Wanted>,
    /// The agent has not been told so yet.
    news: bool,
    /// It is idle: what it held before was given back.
    is_clean: bool,
    /// A reboot that goes wrong once it is done.
    dies_back: Option<Duration>,
    endings: Option<mpsc::UnboundedSender<Ending>>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    boot: Duration,
    drain: Duration,
    fate: Fate,
    rest: Duration,
}

impl<T: Theatre> Machine<T> {
    pub(super) fn new(theatre: T, notebook: Notebook, place: usize, until: Duration) -> Self {
        let (waker, state) = (AtomicWaker::new(), Mutex::default());
        Self { shared: Arc::new(Shared { theatre, notebook, place, until, waker, state }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while held")
    }

    pub(super) fn tell(&self, what: MachineDoes) {
        let at = self.shared.theatre.now();
        let event = MachineEvent { at, what };
        self.shared.notebook.machine(self.shared.place, |machine| machine.events.push(event));
    }

    /// A new agent starts: where it is told how it ends.
    pub(super) fn start(&self) -> mpsc::UnboundedReceiver<Ending> {
        let (sender, receiver) = mpsc::unbounded();
        let mut state = self.state();
        state.endings = Some(sender);
        state.is_clean = false;
        drop(state);
        self.tell(MachineDoes::Starts);
        receiver
    }

    /// A reboot is needed. One that is needed already is not needed twice.
    pub(super) fn want(&self, step: RebootStep) {
        let RebootStep::Want { boot, drain, fate, rest } = step else { return };
        let mut state = self.state();
        let is_new = state.wanted.is_none();
        if is_new {
            state.wanted = Some(Wanted { boot, drain, fate, rest });
            state.news = true;
        }
        drop(state);
        if is_new {
            self.tell(MachineDoes::Wants);
            self.shared.waker.wake();
        }
    }

    /// It has booted, whatever for: what was needed is done.
    pub(super) fn booted(&self) {
        let mut state = self.state();
        (state.wanted, state.news) = (None, false);
        drop(state);
        self.tell(MachineDoes::Up);
    }

    /// Nothing is wanted, and nothing is held.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        state.wanted.is_none() && state.is_clean
    }

    fn end(&self, ending: Ending) {
        if let Some(endings) = &self.state().endings {
            // Nobody listens any more where another ending came first.
            let _ = endings.unbounded_send(ending);
        }
    }

    /// The fate of the reboot that is needed, once and while the storm lasts.
    fn meets(&self, wanted: Fate) -> Option<Wanted> {
        if self.shared.theatre.now() >= self.shared.until {
            return None;
        }
        let mut state = self.state();
        let met = state.wanted.filter(|one| one.fate == wanted)?;
        if let Some(one) = &mut state.wanted {
            one.fate = Fate::Well;
        }
        Some(met)
    }

    async fn stand(&self, rest: Duration) {
        let until = self.shared.theatre.now() + rest;
        self.tell(MachineDoes::Stands(until));
        self.shared.theatre.sleep_until(until).await;
    }
}

impl<T: Theatre> AgentHost for Machine<T> {
    fn needs_reboot(&self) -> bool {
        let mut state = self.state();
        state.news = false;
        state.wanted.is_some()
    }

    async fn told(&self) {
        poll_fn(|context| {
            self.shared.waker.register(context.waker());
            if std::mem::take(&mut self.state().news) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn healthy(&self) {
        let dies = self.state().dies_back.take();
        if let Some(boot) = dies {
            self.end(Ending::Away { crash: true, boot });
            pending::<()>().await;
        }
    }

    async fn drain(&self) {
        self.tell(MachineDoes::Drains);
        if let Some(one) = self.meets(Fate::DiesGranted) {
            self.end(Ending::Away { crash: true, boot: one.boot });
            return pending().await;
        }
        if let Some(one) = self.meets(Fate::AgentDies) {
            self.end(Ending::Agent { rest: one.rest / 8 });
            return pending().await;
        }
        if let Some(one) = self.meets(Fate::StillGranted) {
            self.stand(one.rest).await;
        }
        let drain = self.state().wanted.map_or(Duration::ZERO, |one| one.drain);
        self.shared.theatre.sleep_until(self.shared.theatre.now() + drain).await;
    }

    async fn reboot(&self, calendar: Duration) {
        self.tell(MachineDoes::Reboots(calendar));
        let dies = self.meets(Fate::DiesBack);
        let boot = {
            let mut state = self.state();
            state.dies_back = dies.map(|one| one.boot);
            state.wanted.map_or(Duration::ZERO, |one| one.boot)
        };
        self.end(Ending::Away { crash: false, boot });
        // The machine is gone before anything else happens on it.
        pending().await
    }

    async fn before_taking(&self) {
        if let Some(one) = self.meets(Fate::StillTaking) {
            self.stand(one.rest).await;
        }
    }

    fn note(&self, note: AgentNote) {
        let what = match note {
            AgentNote::Asks => MachineDoes::Asks,
            AgentNote::Told(Ok(grant)) => MachineDoes::Granted(grant),
            AgentNote::Told(Err(why)) => MachineDoes::Refused(why),
            AgentNote::Releases => MachineDoes::Releases,
            AgentNote::Released(done) => {
                self.state().is_clean |= done;
                MachineDoes::Released(done)
            }
            AgentNote::Confirms => MachineDoes::Confirms,
            AgentNote::Confirmed(held) => MachineDoes::Confirmed(held),
        };
        self.tell(what);
    }
}
