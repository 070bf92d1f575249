//! Everything one run left behind, for the oracles: what clients did and saw, what members told, what the
//! nemeses did, how the healing went.

pub mod v2;

use self::v2::{V2Record, V2View};
mod units;

pub use units::{
    AgentRecord, AgentWord, EngineRecord, EngineWord, MachineFaultRecord, OperatorRecord, ProcessEnd,
    ProcessRecord, UnitCheck, UnitsLog, UnitsLook,
};

use crate::format::spec::{During, Without};
use crate::losses::Losses;
use crate::machines::{MachineRecord, OrderRecord, SemaphoreChange};
use crate::observation::{Observation, Observed};
use crate::plan::Plan;
use crate::sites::SiteRecord;
use seatrial_history::{History, Input, Outcome, Recorder};
use seatrial_types::buggify::Site;
use seatrial_types::watch::WatchResponse;
use seatrial_types::{Event, MemberId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One stream of a watcher, from its opening to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRecord {
    /// The client.
    pub client: u32,
    /// The member that served it.
    pub member: MemberId,
    /// The first revision asked for; 0 is "from now on".
    pub start_revision: i64,
    /// Where this continues an earlier stream of the same client.
    pub resumes: bool,
    /// When it was asked for.
    pub opened: Duration,
    /// The revision in the answer to the creation, once there was one.
    pub created_revision: Option<i64>,
    /// When the creation was answered.
    pub created_at: Option<Duration>,
    /// The server ended it: the compacted revision (0 where it was for another reason).
    pub cancelled: Option<i64>,
    /// The version before each change was asked for.
    #[serde(default)]
    pub prev_kv: bool,
    /// What was to be left out.
    #[serde(default)]
    pub without: Without,
    /// What came, in order.
    pub batches: Vec<WatchBatch>,
}

/// One answer on a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchBatch {
    /// When.
    pub at: Duration,
    /// The revision the member says it has sent everything up to.
    pub header_revision: i64,
    /// None for a progress notification.
    pub events: Vec<Event>,
    /// The revision goes on in the next answer.
    pub fragment: bool,
}

/// The life of one lease as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The client.
    pub client: u32,
    /// Its id.
    pub id: i64,
    /// Granted time to live, in seconds.
    pub ttl_seconds: i64,
    /// The key attached to it; empty where the put was not acknowledged.
    pub key: String,
    /// Every answered grant or keepalive: when it was asked and when answered. In order.
    pub renewals: Vec<(Duration, Duration)>,
    /// The end of the last keepalive tried, answered or not: the lease may have been renewed up to here.
    pub last_tried: Duration,
    /// When somebody saw, by a linearizable read, that the key or the lease was gone.
    pub gone: Option<Sighting>,
    /// When somebody last saw the key alive.
    pub alive: Option<Sighting>,
    /// A keepalive was not answered: it may have come, or may still come, at any time.
    #[serde(default)]
    pub unanswered: bool,
}

/// One time that a client wanted a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// The client.
    pub client: u32,
    /// The lock.
    pub name: String,
    /// For which lease, of how many seconds.
    pub lease: i64,
    /// See `lease`.
    pub ttl_seconds: i64,
    /// Every answered grant or keepalive: when it was asked and when answered. In order.
    pub renewals: Vec<(Duration, Duration)>,
    /// It was told that it holds the lock: between which moments, …
    pub told: Option<Sighting>,
    /// … by which key, …
    pub key: String,
    /// … and at which revision of the store.
    pub revision: i64,
    /// When it began to give it back.
    pub released: Option<Duration>,
    /// What it wrote meanwhile.
    pub writes: Vec<FencedWrite>,
}

/// One time that a client stood for election.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// The client.
    pub client: u32,
    /// The election.
    pub name: String,
    /// For which lease, of how many seconds.
    pub lease: i64,
    /// See `lease`.
    pub ttl_seconds: i64,
    /// Every answered grant or keepalive: when it was asked and when answered. In order.
    pub renewals: Vec<(Duration, Duration)>,
    /// It was told that it leads: between which moments, …
    pub told: Option<Sighting>,
    /// … by which key, …
    pub key: String,
    /// … created at which revision.
    pub revision: i64,
    /// When it began to resign.
    pub released: Option<Duration>,
    /// What it proclaimed.
    pub proclaimed: Vec<Proclamation>,
    /// Whether its key was there after an older leadership of the same lease had been given up once more.
    pub looked: Option<(Sighting, bool)>,
}

/// What a leader said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proclamation {
    /// What.
    pub value: String,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// The store took it, at this revision.
    pub accepted: Option<i64>,
}

/// Somebody was told who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// Who was told.
    pub client: u32,
    /// The member that told it.
    pub member: MemberId,
    /// The election.
    pub name: String,
    /// On which stream of this client; `None` where it had asked.
    pub stream: Option<u32>,
    /// When.
    pub at: Duration,
    /// The revision of the answer.
    pub revision: i64,
    /// The leader's key.
    pub kv: seatrial_types::KeyValue,
}

/// A write that only the holder of a lock may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedWrite {
    /// Where.
    pub key: String,
    /// What: the fence and a number of its own.
    pub value: String,
    /// The revision that created the lock's key.
    pub fence: i64,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// The store took it, at this revision.
    pub accepted: Option<i64>,
    /// The store turned it away: the fence did not hold.
    pub refused: bool,
}

/// The alarms that a member told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmsRecord {
    /// When they were asked for and told.
    pub seen: Sighting,
    /// Whom they name, by their machines; [`MemberId::NONE`] where nobody.
    pub corrupt: Vec<MemberId>,
}

/// All machines but one were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRecord {
    /// When.
    pub at: Duration,
    /// Who was left.
    pub survivor: MemberId,
    /// Its id in the cluster.
    pub id: MemberId,
    /// Who was lost, by their ids in the cluster.
    pub lost: Vec<MemberId>,
    /// When the survivor was told to go on alone.
    pub alone: Option<Duration>,
    /// The machine that came back in the end, with its old disk, and when.
    pub back: Option<(MemberId, Duration)>,
    /// Who are members, as was told last, by their ids in the cluster.
    pub members: Vec<MemberId>,
}

/// What an operator does about the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceStep {
    /// It was told of an alarm.
    Alarmed,
    /// It has old versions forgotten.
    Compact,
    /// It has a member's file written anew.
    Defragment,
    /// It takes an alarm back.
    Disarm,
}

/// One step of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRecord {
    /// What.
    pub what: SpaceStep,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// Compaction: up to where.
    pub revision: i64,
    /// It was answered with success.
    pub done: bool,
}

/// One change of the cluster that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// What was asked, in words.
    pub what: String,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// The error, where it was refused or nothing was heard.
    pub error: Option<String>,
}

/// The administrator changed what a user may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitRecord {
    /// The user.
    pub user: u32,
    /// It may do everything with its keys from then on, or nothing.
    pub allowed: bool,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// It happened; `None`: nobody knows.
    pub done: Option<bool>,
}

/// A user tried its rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryRecord {
    /// The user.
    pub user: u32,
    /// At which member.
    pub member: MemberId,
    /// By a write, or by a read.
    pub write: bool,
    /// When it was asked and answered.
    pub seen: Sighting,
    /// Let in, or turned away for lack of permission.
    pub allowed: bool,
}

/// What a member knows of users and roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersView {
    /// The member.
    pub member: MemberId,
    /// All of it, in words.
    pub text: String,
}

/// Something seen by a read between its call and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The read was asked.
    pub call: Duration,
    /// The read was answered.
    pub ret: Duration,
}

/// A fault as it was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// As in the plan.
    pub id: u32,
    /// Its name.
    pub kind: String,
    /// Whom it hit.
    pub targets: Vec<MemberId>,
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub to: Option<Duration>,
    /// What was done, in words.
    pub text: String,
    /// The links between members that were cut, from and to.
    #[serde(default)]
    pub cut: Vec<(MemberId, MemberId)>,
}

/// Bytes that arrived at one member from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// When they arrived.
    pub at: Duration,
    /// When they left.
    #[serde(default)]
    pub sent: Duration,
    /// From whom.
    pub from: MemberId,
    /// To whom.
    pub to: MemberId,
    /// How many.
    pub bytes: usize,
    /// The first message that begins in them; empty where none does.
    #[serde(default)]
    pub kind: Cow<'static, str>,
    /// Its term, where it has one.
    #[serde(default)]
    pub term: Option<u64>,
    /// Further messages that begin in them.
    #[serde(default)]
    pub more: usize,
}

/// A stretch of time in which a member was down or stood still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutageRecord {
    /// Who.
    pub member: MemberId,
    /// `kill`, `power-loss`, `pause`, `stopped`.
    pub kind: String,
    /// From.
    pub from: Duration,
    /// To.
    pub to: Option<Duration>,
}

/// How the healing went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// The storm was over, or the members that were held back came.
    pub began: Duration,
    /// Members that ran: all, or the bare majority that must do without the others first.
    pub up: Vec<MemberId>,
    /// Everything asked for was seen.
    pub healed: Option<Duration>,
    /// What was still missing at the last look.
    pub missing: Vec<String>,
    /// Each member's hash of the keys and values at one revision.
    pub hashes: Vec<MemberHash>,
    /// Leases that were still there when all of them had to be gone.
    pub leases_left: Vec<i64>,
    /// When that was looked at.
    pub leases_looked: Option<Duration>,
    /// Locks that were asked for once all leases were over: until when in vain, or `None` where it was had.
    #[serde(default)]
    pub locks: Vec<(String, Option<Duration>)>,
    /// Elections that were stood for then: until when in vain, or `None` where it was won.
    #[serde(default)]
    pub elections: Vec<(String, Option<Duration>)>,
    /// What the members know of users and roles, asked when all else was well.
    #[serde(default)]
    pub users: Vec<UsersView>,
    /// What the members hold of the v2 keys, asked when all else was well.
    #[serde(default)]
    pub v2: Vec<V2View>,
}

/// A member's answer to HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHash {
    /// Who.
    pub member: MemberId,
    /// At which revision.
    pub revision: i64,
    /// What was compacted there; hashes compare only where this is equal.
    pub compacted: i64,
    /// The hash.
    pub hash: u32,
}

/// The store as it is at the very end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalState {
    /// Its revision.
    pub revision: i64,
    /// Every key.
    pub kvs: Vec<seatrial_types::KeyValue>,
    /// Every change from this revision on is in `ledger`.
    pub ledger_from: i64,
    /// All changes, as a watch from there on tells them after the storm.
    pub ledger: Vec<Event>,
}

impl FinalState {
    /// There were changes that the ledger should tell, but no member told them in time.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.ledger.is_empty() && self.revision >= self.ledger_from.max(2)
    }
}

/// What one run left behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunLog {
    /// What was to be done.
    pub plan: Plan,
    /// What clients did on the keys.
    pub history: History,
    /// What watchers saw.
    pub watches: Vec<WatchRecord>,
    /// What happened to leases.
    pub leases: Vec<LeaseRecord>,
    /// What clients did with locks.
    #[serde(default)]
    pub locks: Vec<LockRecord>,
    /// How clients stood for election.
    #[serde(default)]
    pub candidates: Vec<CandidateRecord>,
    /// Who was told who leads.
    #[serde(default)]
    pub leaders: Vec<LeaderRecord>,
    /// How the cluster was changed.
    #[serde(default)]
    pub changes: Vec<ChangeRecord>,
    /// When authentication was on for certain.
    #[serde(default)]
    pub users_since: Option<Duration>,
    /// How users' rights were changed, in order.
    #[serde(default)]
    pub permits: Vec<PermitRecord>,
    /// What users were let do.
    #[serde(default)]
    pub tries: Vec<TryRecord>,
    /// What clients of the v2 keys asked and heard.
    #[serde(default)]
    pub v2: Vec<V2Record>,
    /// Members' hashes during the storm, and when they were told.
    #[serde(default)]
    pub hashes: Vec<(Duration, MemberHash)>,
    /// Alarms, as they were once every member had run undisturbed for as long as a comparison may take.
    #[serde(default)]
    pub alarms: Option<AlarmsRecord>,
    /// All machines but one were lost.
    #[serde(default)]
    pub loss: Option<LossRecord>,
    /// What was done about the quota.
    #[serde(default)]
    pub space: Vec<SpaceRecord>,
    /// Machines that reboot.
    #[serde(default)]
    pub machines: Vec<MachineRecord>,
    /// What an operator did with their locks.
    #[serde(default)]
    pub orders: Vec<OrderRecord>,
    /// All changes of these locks, in their order.
    #[serde(default)]
    pub semaphores: Vec<SemaphoreChange>,
    /// What members told.
    pub observed: Vec<Observed>,
    /// What the nemeses did.
    pub faults: Vec<FaultRecord>,
    /// What members were told to do that is allowed and rare, in the order of the first times.
    #[serde(default)]
    pub sites: Vec<SiteRecord>,
    /// Who was down.
    pub outages: Vec<OutageRecord>,
    /// What arrived at members from members, where the world can tell; thinned out where it was very much.
    pub packets: Vec<Packet>,
    /// How many there were.
    pub packets_total: u64,
    /// How it healed; `None` where the run did not get there.
    pub healing: Option<Healing>,
    /// How it ended; `None` where the run did not get there.
    pub last: Option<FinalState>,
    /// Panics: message and, where known, the member.
    pub panics: Vec<(Option<MemberId>, String)>,
    /// The harness failed.
    pub harness_errors: Vec<String>,
    /// World time at the end.
    pub ended: Duration,
    /// The world's digest of all that happened; equal for equal runs.
    pub trace_hash: u64,
    /// CPU time of the thread that ran it.
    pub cpu: Duration,
    /// What a fleet did.
    #[serde(default)]
    pub units: UnitsLog,
}

impl RunLog {
    /// Empty, for a plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            history: History::default(),
            watches: Vec::new(),
            leases: Vec::new(),
            locks: Vec::new(),
            candidates: Vec::new(),
            leaders: Vec::new(),
            changes: Vec::new(),
            users_since: None,
            permits: Vec::new(),
            tries: Vec::new(),
            v2: Vec::new(),
            hashes: Vec::new(),
            alarms: None,
            loss: None,
            space: Vec::new(),
            machines: Vec::new(),
            orders: Vec::new(),
            semaphores: Vec::new(),
            observed: Vec::new(),
            faults: Vec::new(),
            sites: Vec::new(),
            outages: Vec::new(),
            packets: Vec::new(),
            packets_total: 0,
            healing: None,
            last: None,
            panics: Vec::new(),
            harness_errors: Vec::new(),
            ended: Duration::ZERO,
            trace_hash: 0,
            cpu: Duration::ZERO,
            units: UnitsLog::default(),
        }
    }
}

/// Takes down what happens while a run is under way. Cheap to clone; lives outside the world, so that a run
/// which ends in a panic leaves what it had until then.
#[derive(Clone, Debug)]
pub struct Notebook {
    inner: Arc<Mutex<Pages>>,
}

#[derive(Debug)]
struct Pages {
    log: RunLog,
    recorder: Recorder,
    incarnations: Vec<u32>,
    leader: Option<(u64, MemberId)>,
    /// Machines that nothing can be started on.
    lost: BTreeSet<MemberId>,
    losses: Losses,
    /// Members that are down since their machines reboot.
    rebooting: BTreeSet<MemberId>,
}

impl Notebook {
    /// Empty, for a plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let members = usize::try_from(plan.scenario.machines()).expect("at most 13");
        let pages = Pages {
            log: RunLog::new(plan),
            recorder: Recorder::new(),
            incarnations: vec![0; members + 1],
            leader: None,
            lost: BTreeSet::new(),
            losses: Losses::default(),
            rebooting: BTreeSet::new(),
        };
        Self { inner: Arc::new(Mutex::new(pages)) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // A panic elsewhere must not hide what was written: that is what the notebook is for.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A member is about to be started: what it tells from now on belongs to a new incarnation.
    pub fn starting(&self, member: MemberId) {
        let mut pages = self.pages();
        pages.incarnations[slot(member)] += 1;
    }

    /// A member told something, at world time `at`.
    pub fn observe(&self, at: Duration, member: MemberId, what: Observation) {
        let mut pages = self.pages();
        if let Observation::Role { term, role: crate::observation::Role::Leader, .. } = &what
            && pages.leader.is_none_or(|(known, _)| known <= term.0)
        {
            pages.leader = Some((term.0, member));
        }
        pages.losses.observe(member, &what);
        let incarnation = pages.incarnations[slot(member)].saturating_sub(1);
        pages.log.observed.push(Observed { at, member, incarnation, what });
    }

    /// What a fault waits for has come since `since`: the member it is about.
    pub(crate) fn since(&self, since: Duration, during: During) -> Option<MemberId> {
        let pages = self.pages();
        let told = pages.log.observed.iter().rev().take_while(|seen| seen.at >= since);
        // The first of them.
        told.filter_map(|seen| during.involves(seen)).last()
    }

    /// Who became leader last, as far as members told.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        self.pages().leader.map(|(_, member)| member)
    }

    /// Members whose copies are damaged and not whole yet.
    pub(crate) fn harmed(&self) -> BTreeSet<MemberId> {
        self.pages().losses.all()
    }

    /// The log of a member loses entries, which it will find out when it is started.
    pub(crate) fn harm(&self, member: MemberId) {
        self.pages().losses.harm(member);
    }

    /// The store of a member is not what it was.
    pub(crate) fn harm_store(&self, member: MemberId) {
        self.pages().losses.harm_store(member);
    }

    /// Whether a member whose store was damaged has stopped since, or did not start: it has seen that.
    pub(crate) fn refuses(&self, member: MemberId) -> bool {
        let pages = self.pages();
        let refused = || {
            let mut told = pages.log.observed.iter().rev().filter(|seen| seen.member == member);
            told.next().is_some_and(|seen| {
                matches!(seen.what, Observation::Failed { .. } | Observation::BootFailed { .. })
            })
        };
        pages.losses.has_harmed_store(member) && refused()
    }

    /// A member on this machine begins with an empty disk.
    pub(crate) fn emptied(&self, machine: MemberId) {
        self.pages().losses.emptied(machine);
    }

    /// A machine lost its power by itself.
    pub fn lost_power(&self, member: MemberId, at: Duration) {
        let is_down = || {
            let pages = self.pages();
            pages
                .log
                .outages
                .iter()
                .any(|outage| outage.member == member && outage.to.is_none() && outage.kind != "pause")
        };
        if !is_down() {
            self.down(member, "power-loss", at);
        }
    }

    pub(crate) fn begin(&self, client: u32, member: MemberId, at: Duration, input: Input) -> usize {
        self.pages().recorder.begin(client, Some(member.to_string()), nanos(at), input)
    }

    pub(crate) fn end(&self, place: usize, at: Duration, outcome: Outcome) {
        self.pages().recorder.end(place, nanos(at), outcome);
    }

    pub(crate) fn open_watch(&self, record: WatchRecord) -> usize {
        let mut pages = self.pages();
        pages.log.watches.push(record);
        pages.log.watches.len() - 1
    }

    pub(crate) fn watch_said(&self, place: usize, at: Duration, said: WatchResponse) {
        let record = &mut self.pages().log.watches[place];
        if said.created {
            record.created_revision = Some(said.header.revision.0);
            record.created_at = Some(at);
        }
        if said.canceled {
            record.cancelled = Some(said.compact_revision.0);
        }
        if !said.created && !said.canceled || !said.events.is_empty() {
            record.batches.push(WatchBatch {
                at,
                header_revision: said.header.revision.0,
                events: said.events,
                fragment: said.fragment,
            });
        }
    }

    pub(crate) fn open_lease(&self, record: LeaseRecord) -> usize {
        let mut pages = self.pages();
        pages.log.leases.push(record);
        pages.log.leases.len() - 1
    }

    pub(crate) fn lease(&self, place: usize, change: impl FnOnce(&mut LeaseRecord)) {
        change(&mut self.pages().log.leases[place]);
    }

    pub(crate) fn open_lock(&self, record: LockRecord) -> usize {
        let mut pages = self.pages();
        pages.log.locks.push(record);
        pages.log.locks.len() - 1
    }

    pub(crate) fn lock(&self, place: usize, change: impl FnOnce(&mut LockRecord)) {
        change(&mut self.pages().log.locks[place]);
    }

    pub(crate) fn open_candidate(&self, record: CandidateRecord) -> usize {
        let mut pages = self.pages();
        pages.log.candidates.push(record);
        pages.log.candidates.len() - 1
    }

    pub(crate) fn candidate<R>(&self, place: usize, change: impl FnOnce(&mut CandidateRecord) -> R) -> R {
        change(&mut self.pages().log.candidates[place])
    }

    pub(crate) fn told_leader(&self, record: LeaderRecord) {
        self.pages().log.leaders.push(record);
    }

    pub(crate) fn changed(&self, record: ChangeRecord) {
        self.pages().log.changes.push(record);
    }

    /// A change of rights begins; how it ends is told by [`Self::permitted`].
    pub(crate) fn open_permit(&self, record: PermitRecord) -> usize {
        let mut pages = self.pages();
        pages.log.permits.push(record);
        pages.log.permits.len() - 1
    }

    pub(crate) fn permitted(&self, place: usize, at: Duration, done: Option<bool>) {
        let permit = &mut self.pages().log.permits[place];
        permit.seen.ret = at;
        permit.done = done;
    }

    pub(crate) fn users_on(&self, at: Duration) {
        self.pages().log.users_since = Some(at);
    }

    pub(crate) fn tried(&self, record: TryRecord) {
        self.pages().log.tries.push(record);
    }

    pub(crate) fn hashed(&self, at: Duration, hash: MemberHash) {
        self.pages().log.hashes.push((at, hash));
    }

    pub(crate) fn lost(&self, machines: BTreeSet<MemberId>, record: LossRecord) {
        let mut pages = self.pages();
        pages.lost = machines;
        pages.log.loss = Some(record);
    }

    pub(crate) fn is_lost(&self, machine: MemberId) -> bool {
        self.pages().lost.contains(&machine)
    }

    /// A machine that was given up comes back after all.
    pub(crate) fn came_back(&self, machine: MemberId, at: Duration) {
        let mut pages = self.pages();
        if pages.lost.remove(&machine)
            && let Some(loss) = &mut pages.log.loss
        {
            loss.back = Some((machine, at));
        }
    }

    pub(crate) fn loss(&self, change: impl FnOnce(&mut LossRecord)) {
        if let Some(loss) = &mut self.pages().log.loss {
            change(loss);
        }
    }

    /// A step begins; how it ends is told by [`Self::space_done`].
    pub(crate) fn space(&self, record: SpaceRecord) -> usize {
        let mut pages = self.pages();
        pages.log.space.push(record);
        pages.log.space.len() - 1
    }

    pub(crate) fn space_done(&self, place: usize, at: Duration, done: bool) {
        let record = &mut self.pages().log.space[place];
        (record.seen.ret, record.done) = (at, done);
    }

    pub(crate) fn open_machine(&self, record: MachineRecord) -> usize {
        let mut pages = self.pages();
        pages.log.machines.push(record);
        pages.log.machines.len() - 1
    }

    pub(crate) fn machine<R>(&self, place: usize, change: impl FnOnce(&mut MachineRecord) -> R) -> R {
        change(&mut self.pages().log.machines[place])
    }

    pub(crate) fn ordered(&self, record: OrderRecord) -> usize {
        let mut pages = self.pages();
        pages.log.orders.push(record);
        pages.log.orders.len() - 1
    }

    pub(crate) fn order_done(&self, place: usize, at: Duration) {
        self.pages().log.orders[place].ret = Some(at);
    }

    /// A member has applied a change of a reboot lock. Members that tell the same tell nothing new.
    pub fn semaphore(&self, change: SemaphoreChange) {
        let known = &mut self.pages().log.semaphores;
        let place = known.partition_point(|other| other.index < change.index);
        let same = known[place..].iter().take_while(|other| other.index == change.index);
        if !same.into_iter().any(|other| (&other.value, other.before) == (&change.value, change.before)) {
            known.insert(place, change);
        }
    }

    /// The index of the newest change of this key that is known; 0 where none is.
    #[must_use]
    pub fn semaphore_known(&self, group: &str, ledger: bool) -> u64 {
        let pages = self.pages();
        let mut newest_first = pages.log.semaphores.iter().rev();
        let known = newest_first.find(|change| change.group == group && change.ledger == ledger);
        known.map_or(0, |change| change.index)
    }

    /// The machine of this member reboots, or is back.
    pub(crate) fn rebooting(&self, member: MemberId, away: bool) {
        let rebooting = &mut self.pages().rebooting;
        if away {
            rebooting.insert(member)
        } else {
            rebooting.remove(&member)
        };
    }

    /// Whether the member's machine is away by itself.
    pub(crate) fn is_rebooting(&self, member: MemberId) -> bool {
        self.pages().rebooting.contains(&member)
    }

    /// Whether a member whose machine is away is held down by somebody else as well.
    pub(crate) fn is_held_down(&self, member: MemberId) -> bool {
        let pages = self.pages();
        let open = pages
            .log
            .outages
            .iter()
            .filter(|outage| outage.member == member && outage.to.is_none() && outage.kind != "pause");
        open.count() > 1
    }

    pub(crate) fn alarms(&self, record: AlarmsRecord) {
        self.pages().log.alarms = Some(record);
    }

    /// Members whose store holds another value than it should.
    pub(crate) fn damaged(&self) -> Vec<MemberId> {
        crate::oracles::damages(&self.pages().log.observed)
            .iter()
            .filter(|damage| damage.to.is_none())
            .map(|damage| damage.member)
            .collect()
    }

    /// A member was told to do what is allowed and rare.
    pub fn told_to(&self, site: Site, at: Duration) {
        let sites = &mut self.pages().log.sites;
        match sites.iter_mut().find(|record| record.site == site) {
            Some(record) => record.times += 1,
            None => sites.push(SiteRecord { site, first: at, times: 1 }),
        }
    }

    pub(crate) fn fault_began(&self, record: FaultRecord) {
        self.pages().log.faults.push(record);
    }

    pub(crate) fn fault_ended(&self, id: u32, at: Duration) {
        let mut pages = self.pages();
        if let Some(fault) = pages.log.faults.iter_mut().find(|fault| fault.id == id) {
            fault.to = Some(at);
        }
    }

    pub(crate) fn down(&self, member: MemberId, kind: &str, at: Duration) {
        let mut pages = self.pages();
        // Who is down leads no more, and is no target for what wants a leader; who is paused believes to lead still.
        if kind != "pause" && pages.leader.is_some_and(|(_, leader)| leader == member) {
            pages.leader = None;
        }
        pages.log.outages.push(OutageRecord { member, kind: kind.to_owned(), from: at, to: None });
    }

    pub(crate) fn up(&self, member: MemberId, at: Duration) {
        let mut pages = self.pages();
        let open =
            pages.log.outages.iter_mut().filter(|outage| outage.member == member && outage.to.is_none());
        open.for_each(|outage| outage.to = Some(at));
    }

    /// Bytes arrived at a member from a member. Where a violation lies is known only afterwards, so all are kept; where
    /// they are more than memory should hold, every second one of the older half is given up.
    pub fn packet(&self, packet: Packet) {
        const KEPT_MAX: usize = 100_000;
        let log = &mut self.pages().log;
        log.packets_total += 1;
        if log.packets.len() == KEPT_MAX {
            let mut place = 0;
            log.packets.retain(|_| {
                place += 1;
                place > KEPT_MAX / 2 || place % 2 == 0
            });
        }
        log.packets.push(packet);
    }

    pub(crate) fn healing(&self, healing: Healing) {
        self.pages().log.healing = Some(healing);
    }

    pub(crate) fn last(&self, last: FinalState) {
        self.pages().log.last = Some(last);
    }

    /// The harness failed; the run says nothing about the cluster.
    pub fn harness_error(&self, text: impl Into<String>) {
        self.pages().log.harness_errors.push(text.into());
    }

    /// Something panicked.
    pub fn panicked(&self, member: Option<MemberId>, text: impl Into<String>) {
        self.pages().log.panics.push((member, text.into()));
    }

    pub(crate) fn lease_ids(&self) -> Vec<(i64, Duration, i64)> {
        self.pages().log.leases.iter().map(|l| (l.id, l.last_tried, l.ttl_seconds)).collect()
    }

    /// What was written so far.
    #[must_use]
    pub fn finish(&self, ended: Duration, trace_hash: u64, cpu: Duration) -> RunLog {
        let pages = self.pages();
        let mut log = pages.log.clone();
        log.history = pages.recorder.clone().finish();
        log.ended = ended;
        log.trace_hash = trace_hash;
        log.cpu = cpu;
        log
    }
}

fn slot(member: MemberId) -> usize {
    usize::try_from(member.0).expect("machines are numbered from 1 to 13")
}

pub(crate) fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).expect("a run shorter than 584 years")
}
