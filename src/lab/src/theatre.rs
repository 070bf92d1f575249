//! The lab as the runner of scenarios sees it.

use crate::calls::{CallId, SleepId, WatchId};
use crate::client::LabClient;
use crate::lab::{Lab, LabOptions};
use crate::seats::{machine_at, peer_url};
use crate::tasks::Spawner;
use crate::told::Told;
use seatrial_scenario::Plan;
use seatrial_scenario::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use seatrial_scenario::record::Notebook;
use seatrial_scenario::theatre::{Theatre, TheatreError};
use seatrial_types::{MemberId, buggify};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The world of one run, and who waits for what in it.
pub(crate) struct Shared {
    pub(crate) lab: Lab,
    calls: BTreeMap<CallId, Waker>,
    streams: BTreeMap<WatchId, Waker>,
    sleepers: BTreeMap<SleepId, Option<Waker>>,
}

impl Shared {
    /// Wakes those whose time has come, and tells the notebook the rest.
    pub(crate) fn deliver(&mut self, notebook: &Notebook) {
        for told in self.lab.take_told() {
            match told {
                Told::Observed { at, machine, what } => notebook.observe(at, machine, what),
                Told::Panicked { machine, text } => notebook.panicked(Some(machine), text),
                Told::Packet(packet) => notebook.packet(packet),
                Told::Answered(call) => wake(self.calls.remove(&call)),
                Told::Said(watch) => wake(self.streams.remove(&watch)),
                Told::Woke(sleep) => wake(self.sleepers.remove(&sleep).flatten()),
            }
        }
    }

    /// Who waits for a call is woken once it has its answer.
    pub(crate) fn wait_for_call(&mut self, call: CallId, waker: &Waker) {
        self.calls.insert(call, waker.clone());
    }

    pub(crate) fn forget_call(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.lab.forget(call);
    }

    /// Who reads a stream is woken once something has come.
    pub(crate) fn wait_for_stream(&mut self, watch: WatchId, waker: &Waker) {
        self.streams.insert(watch, waker.clone());
    }

    pub(crate) fn close_stream(&mut self, watch: WatchId) {
        self.streams.remove(&watch);
        self.lab.watch_close(watch);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A cluster in the lab. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct LabTheatre {
    shared: Arc<Mutex<Shared>>,
    spawner: Spawner,
    notebook: Notebook,
}

impl LabTheatre {
    /// The machines of a plan. No member runs yet.
    pub(crate) fn new(plan: &Plan, notebook: Notebook, spawner: Spawner) -> Self {
        let options = LabOptions {
            seed: plan.seed,
            machines: plan.machines().count() as u64,
            members: plan.members().count() as u64,
            clients: plan.clients.iter().map(|client| client.machine).max().unwrap_or(0),
            knobs: plan.knobs.clone(),
            packets: true,
        };
        let shared = Shared {
            lab: Lab::new(options),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            sleepers: BTreeMap::new(),
        };
        Self { shared: Arc::new(Mutex::new(shared)), spawner, notebook }
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("a panic in the lab ends the run")
    }

    pub(crate) fn notebook(&self) -> &Notebook {
        &self.notebook
    }

    /// All machines that members may live on.
    pub(crate) fn machines(&self) -> impl Iterator<Item = MemberId> {
        (1..=self.shared().lab.options.machines).map(MemberId)
    }

    pub(crate) fn sleep_till(&self, at: Duration) -> Sleep {
        Sleep { theatre: self.clone(), at, id: None }
    }

    /// Something is done to the world, and onlookers hear of it at once.
    fn with<R>(&self, act: impl FnOnce(&mut Lab) -> R) -> R {
        let mut shared = self.shared();
        let result = act(&mut shared.lab);
        shared.deliver(&self.notebook);
        result
    }
}

/// Ready when the time has come.
pub struct Sleep {
    theatre: LabTheatre,
    at: Duration,
    id: Option<SleepId>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let theatre = self.theatre.clone();
        let mut shared = theatre.shared();
        if shared.lab.now() >= self.at {
            return Poll::Ready(());
        }
        let at = self.at;
        let id = *self.id.get_or_insert_with(|| shared.lab.sleep_until(at));
        shared.sleepers.insert(id, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.theatre.shared().sleepers.remove(&id);
        }
    }
}

fn cannot<T>(what: String, why: &str) -> Result<T, TheatreError> {
    Err(TheatreError { what, why: why.to_owned() })
}

impl Theatre for LabTheatre {
    type Client = LabClient;

    fn now(&self) -> Duration {
        self.shared().lab.now()
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        self.sleep_till(at)
    }

    fn spawn<F>(&self, _: u32, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawner.spawn(task);
    }

    fn client(&self, machine: u32) -> LabClient {
        LabClient::new(self.clone(), machine)
    }

    async fn start(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.start(member));
        Ok(())
    }

    async fn kill(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.kill(member));
        Ok(())
    }

    async fn power_loss(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.power_loss(member));
        Ok(())
    }

    async fn pause(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.pause(member, true));
        Ok(())
    }

    async fn resume(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.pause(member, false));
        Ok(())
    }

    fn storm_is_over(&self) {
        buggify::disarm();
    }

    fn link(&self, from: Place, to: Place, rule: LinkRule) -> Result<(), TheatreError> {
        self.with(|lab| lab.set_link(from, to, rule));
        Ok(())
    }

    fn disk(&self, member: MemberId, fault: DiskFault) -> Result<(), TheatreError> {
        self.with(|lab| lab.set_disk(member, fault));
        Ok(())
    }

    fn damage(&self, member: MemberId, damage: DiskDamage) -> Result<Option<String>, TheatreError> {
        cannot(format!("damage the disk of {member} ({damage:?})"), "disks of the lab hold no bytes")
    }

    fn clock(&self, member: MemberId, fault: ClockFault) -> Result<(), TheatreError> {
        self.with(|lab| lab.set_clock(member, fault));
        Ok(())
    }

    /// Clients of the lab go by true time: who stands still beyond its lease is a step of its plan.
    fn client_clock(&self, _: u32, _: ClockFault) -> Result<(), TheatreError> {
        Ok(())
    }

    fn peer_url(&self, machine: MemberId) -> String {
        peer_url(machine)
    }

    fn machine_at(&self, url: &str) -> Option<MemberId> {
        machine_at(url)
    }

    fn occupant(&self, machine: MemberId) -> Option<MemberId> {
        self.shared().lab.occupant(machine)
    }

    fn assign(&self, machine: MemberId, id: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.assign(machine, id));
        Ok(())
    }

    fn go_alone(&self, member: MemberId) -> Result<(), TheatreError> {
        self.with(|lab| lab.go_alone(member));
        Ok(())
    }

    fn is_running(&self, member: MemberId) -> bool {
        self.shared().lab.is_running(member)
    }
}
