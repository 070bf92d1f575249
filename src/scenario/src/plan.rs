//! From a scenario and a seed to a plan: every choice made, as a value that can be stored and replayed.

mod fleet;

use crate::branch::Fork;
use crate::chance::Chance;
use crate::format::options::FaultOptions;
use crate::format::spec::{
    ChangeKind, During, Files, MachineFault, NemesisKind, NemesisSpec, OpKind, Scenario, Target, UnitAct,
    V2Op, WorkloadKind, WorkloadSpec,
};
use crate::machines::{self, OrderStep, RebootStep};
use crate::priorities::Priorities;
use crate::sites::{self, ActiveSite};
use seatrial_types::MemberId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of stored plans.
pub const PLAN_FORMAT: u32 = 2;

/// What one run does. Stored as `plan.json`; a stored plan replays even after the drawing has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub scenario: Scenario,
    /// What was drawn with; the world's own chance comes from it too.
    pub seed: u64,
    /// The members' settings.
    pub knobs: Knobs,
    /// One for each client.
    pub clients: Vec<ClientPlan>,
    /// In order of their beginning.
    pub faults: Vec<PlannedFault>,
    /// After the storm only these run at first, a bare majority, and must serve; empty: all run at once.
    pub core: Vec<MemberId>,
    /// In the storm messages take longer over some links than over others, where there are any.
    #[serde(default)]
    pub priorities: Option<Priorities>,
    /// What members are told to do, in the storm, that is allowed and rare.
    #[serde(default)]
    pub sites: Vec<ActiveSite>,
    /// The moments from which on all is drawn anew: where this run parts from the one it was branched off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Fork>,
}

/// Settings of the members, drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in `KnobChoices`")]
pub struct Knobs {
    pub election_timeout: Duration,
    pub heartbeat: Duration,
    pub segment_bytes: u64,
    pub snapshot_entries: u64,
    pub keep_entries: u64,
    pub append_bytes: u64,
    pub inflight: u64,
    pub chunk_bytes: u64,
    pub net_latency: Duration,
    pub sync_latency: Duration,
    #[serde(default = "usual_watch_window")]
    pub watch_window: u64,
    #[serde(default = "usual_watch_progress")]
    pub watch_progress: Duration,
    #[serde(default = "usual_uncommitted_bytes")]
    pub uncommitted_bytes: u64,
    #[serde(default)]
    pub joint: bool,
    #[serde(default)]
    pub still: bool,
    #[serde(default)]
    pub lease_checkpoint: Duration,
    #[serde(default)]
    pub corrupt_check: Duration,
    #[serde(default)]
    pub initial_check: bool,
    #[serde(default)]
    pub quota_bytes: u64,
    #[serde(default = "usual_request_timeout")]
    pub request_timeout: Duration,
}

fn usual_uncommitted_bytes() -> u64 {
    1 << 30
}

fn usual_request_timeout() -> Duration {
    Duration::from_secs(7)
}

fn usual_watch_window() -> u64 {
    64
}

fn usual_watch_progress() -> Duration {
    Duration::from_secs(600)
}

/// What one client does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientPlan {
    /// Its machine, from 1 (machine 0 belongs to the runner), and its number in the history.
    pub machine: u32,
    /// Its number within its workload, from 0.
    #[serde(default)]
    pub number: u32,
    /// The workload it is part of.
    pub spec: WorkloadSpec,
    /// In order of time. A client that is still busy does the next step as soon as it can.
    pub steps: Vec<Step>,
}

/// One step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// World time, not before.
    pub at: Duration,
    /// The member asked.
    pub member: MemberId,
    /// What.
    pub what: StepKind,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// One operation on the keys.
    Kv {
        /// Which.
        op: OpKind,
        /// On which key.
        key: u32,
        /// A read of the member's own state.
        serializable: bool,
    },
    /// (Re)open the watch, at the revision after the last one seen.
    Watch,
    /// Grant a lease, attach a key, keep it alive so many times, then leave it.
    Lease {
        /// How many times.
        keepalives: u32,
    },
    /// Compare this member's hash with those of the others.
    Hash,
    /// Take a lock, hold it, give it back.
    Lock(LockStep),
    /// Stand for election, lead, resign.
    Stand(StandStep),
    /// Look who leads.
    Observe {
        /// Which election.
        election: u32,
        /// For how long.
        hold: Duration,
    },
    /// Look for an alarm of the quota, and free space where there is one.
    FreeSpace,
    /// Change the cluster.
    Change {
        /// How.
        kind: ChangeKind,
        /// Whom it hits: the so many-th of those it can hit, counted round.
        pick: u32,
    },
    /// The administrator allows a user everything with its keys, or takes that away.
    Permit {
        /// The user's number.
        user: u32,
    },
    /// A user tries its rights.
    Try {
        /// By a write, or by a read.
        write: bool,
    },
    /// One request for the v2 keys.
    V2 {
        /// Which.
        op: V2Op,
        /// The number of the key; it lies in one of a few directories.
        key: u32,
        /// What is written lives for the workload's time.
        lives: bool,
    },
    /// Wait for changes of the v2 keys, from where this client is.
    V2Wait {
        /// Of one; `None`: of all.
        key: Option<u32>,
    },
    /// What befalls a machine that reboots now and then.
    Reboot(RebootStep),
    /// What an operator does with its lock.
    RebootOrder(OrderStep),
    /// Something happens to a machine of the fleet.
    Machine(MachineStep),
    /// An operator of the fleet asks for something.
    Unit {
        /// For what.
        act: UnitAct,
        /// About which unit; about which machine, where it is about one.
        number: u32,
    },
}

/// What happens to a machine of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStep {
    /// What.
    pub fault: MachineFault,
    /// For how long.
    pub lasts: Duration,
    /// How wrong its clock goes, in parts per million.
    pub drift_ppm: i64,
}

/// How a lock is taken and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStep {
    /// Which.
    pub lock: u32,
    /// How long it is held.
    pub hold: Duration,
    /// The client stands still for so long and keeps no lease alive meanwhile …
    pub pause: Duration,
    /// … while it waits for the lock; otherwise while it holds it.
    pub pause_waiting: bool,
    /// A member waits on its behalf.
    pub by_member: bool,
    /// What it writes is fenced by its own key; otherwise by a number that only grows.
    pub fence_by_key: bool,
}

/// How somebody stands for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandStep {
    /// Which.
    pub election: u32,
    /// How long it leads.
    pub hold: Duration,
    /// It stands still for so long while it leads, and keeps no lease alive meanwhile.
    pub pause: Duration,
    /// It stands once more under the same lease, and then gives up the first leadership a second time.
    pub again: bool,
}

/// One fault, with everything drawn but who leads at the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Numbered in the order of their beginning.
    pub id: u32,
    /// Which.
    pub kind: NemesisKind,
    /// World time of its beginning.
    pub at: Duration,
    /// And of its end.
    pub ends: Duration,
    /// It waits for this from its beginning on, and then lasts as long as it would have lasted.
    #[serde(default)]
    pub during: Option<During>,
    /// Whom.
    pub target: Target,
    /// The members, shuffled: where somebody is to be drawn, the first who fits is taken.
    pub order: Vec<MemberId>,
    /// A coin: which way a one-way cut goes, which sign a drift has.
    pub coin: bool,
    /// What else it is told.
    #[serde(flatten)]
    pub options: FaultOptions,
    /// Clock, one for each of `order`.
    pub drift_ppm: Vec<i64>,
    /// Clock, one for each of `order`.
    pub wall_step_ms: Vec<i64>,
    /// Which place of all is damaged, in thousandths; in a partition, which members swizzle.
    pub place_permille: u32,
}

/// Clients begin once a cluster can have a leader.
const CLIENTS_START: Duration = Duration::from_secs(1);

impl Plan {
    /// Draws everything; of a script, the world alone is the seed's.
    #[must_use]
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        if let Some(script) = &scenario.script {
            return Self {
                format: PLAN_FORMAT,
                scenario: scenario.clone(),
                seed,
                knobs: draw_knobs(scenario, &mut Chance::stream(seed, "knobs")),
                clients: script.clients.clone(),
                faults: script.faults.clone(),
                core: script.core.clone(),
                priorities: script.priorities.clone(),
                sites: script.sites.clone(),
                forks: Vec::new(),
            };
        }
        // Whoever may join is hit by faults, and asked, like the others.
        let members: Vec<MemberId> = (1..=scenario.machines()).map(MemberId).collect();
        let mut swarm = Chance::stream(seed, "swarm");
        let kept = draw_swarm(scenario, &mut swarm);
        let mut faults: Vec<PlannedFault> = Vec::new();
        for (number, nemesis) in scenario.nemeses.iter().enumerate() {
            // Each nemesis has a stream of its own: dropping one leaves the others' faults as they were.
            let mut chance = Chance::stream(seed, &format!("nemesis {number}"));
            let drawn = draw_faults(nemesis, &members, scenario.time, &mut chance);
            if kept[number] {
                faults.extend(drawn);
            }
        }
        faults.sort_by_key(|fault| (fault.at, fault.ends));
        for (id, fault) in faults.iter_mut().enumerate() {
            fault.id = u32::try_from(id).expect("fewer faults than 4 billion");
        }
        let knobs = draw_knobs(scenario, &mut Chance::stream(seed, "knobs"));
        let mut chance = Chance::stream(seed, "priorities");
        let priorities = Priorities::draw(&members, scenario.time, knobs.election_timeout, &mut chance);
        Self {
            format: PLAN_FORMAT,
            scenario: scenario.clone(),
            seed,
            priorities: priorities.filter(|_| scenario.priorities),
            sites: if scenario.buggify {
                sites::draw(&mut Chance::stream(seed, "sites"))
            } else {
                Vec::new()
            },
            knobs,
            clients: draw_clients(scenario, &members, seed, &mut swarm),
            faults,
            core: draw_core(scenario, &members, &mut Chance::stream(seed, "core")),
            forks: Vec::new(),
        }
    }

    /// The members with which the cluster begins; each on the machine of its number.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + use<> {
        (1..=self.scenario.members).map(MemberId)
    }

    /// Every machine that may have a member on it.
    pub fn machines(&self) -> impl Iterator<Item = MemberId> + use<> {
        (1..=self.scenario.machines()).map(MemberId)
    }

    /// Whether the members may change.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.scenario.workloads.iter().any(|workload| workload.kind == WorkloadKind::Membership)
    }

    /// Whether members compare what they hold.
    #[must_use]
    pub fn has_checks(&self) -> bool {
        !self.knobs.corrupt_check.is_zero() || self.knobs.initial_check
    }

    /// Whether stored values may be changed behind a member's back: some are laid out for it.
    #[must_use]
    pub fn may_damage_values(&self) -> bool {
        let asked = self.scenario.nemeses.iter().any(|nemesis| nemesis.kind == NemesisKind::ValueDamage);
        asked || self.faults.iter().any(|fault| fault.kind == NemesisKind::ValueDamage)
    }

    /// Whether there is a fleet: machines and units.
    #[must_use]
    pub fn has_units(&self) -> bool {
        self.scenario.workloads.iter().any(|workload| workload.kind == WorkloadKind::Units)
    }

    /// Whether clients may have to say who they are.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.scenario.workloads.iter().any(|workload| workload.kind == WorkloadKind::Users)
    }

    /// The time that written v2 keys live, the longest of all workloads; `None` where nobody asks for v2 keys.
    #[must_use]
    pub fn v2_ttl(&self) -> Option<Duration> {
        let workloads = self.scenario.workloads.iter();
        workloads.filter(|workload| workload.kind == WorkloadKind::V2).map(|workload| workload.ttl).max()
    }

    /// The largest drift of a clock in the plan, in parts per million: time limits are judged with it.
    #[must_use]
    pub fn drift_ppm_max(&self) -> u64 {
        let drifts = self.faults.iter().filter(|fault| fault.kind == NemesisKind::Clock);
        drifts.flat_map(|fault| fault.drift_ppm.iter().map(|ppm| ppm.unsigned_abs())).max().unwrap_or(0)
    }
}

/// Which nemeses this seed keeps: one seed in ten has none, some only one kind, the others a random part.
fn draw_swarm(scenario: &Scenario, chance: &mut Chance) -> Vec<bool> {
    let nemeses = &scenario.nemeses;
    let optional: Vec<usize> = (0..nemeses.len()).filter(|at| !nemeses[*at].always).collect();
    let mut kept = vec![true; nemeses.len()];
    if !scenario.swarm || optional.is_empty() {
        return kept;
    }
    match chance.below(10) {
        0 => optional.iter().for_each(|at| kept[*at] = false),
        1..=3 if optional.len() > 1 => {
            let only = chance.pick(&optional);
            optional.iter().for_each(|at| kept[*at] = *at == only);
        }
        _ if optional.len() > 1 => {
            optional.iter().for_each(|at| kept[*at] = !chance.one_in(4));
        }
        _ => {}
    }
    kept
}

/// Every second seed heals a bare majority first: all members together hide who cannot do without whom.
fn draw_core(scenario: &Scenario, members: &[MemberId], chance: &mut Chance) -> Vec<MemberId> {
    let (is_wanted, order) = (chance.one_in(2), chance.shuffled(members));
    // A member whose disk lost what it had acknowledged does not vote until the others made it whole; with it,
    // a bare majority is none.
    let loses = |nemesis: &NemesisSpec| match nemesis.kind {
        NemesisKind::ReadError => nemesis.options.files != Files::Store,
        _ => matches!(
            nemesis.kind,
            NemesisKind::WalDamage
                | NemesisKind::LyingSync
                | NemesisKind::SyncError
                // Who finds its store damaged is replaced, for which a majority of the others is needed.
                | NemesisKind::StoreRot
                | NemesisKind::MisdirectedWrite
        ),
    };
    // Who is a majority in the end is known only then.
    let changes = scenario.workloads.iter().any(|workload| workload.kind == WorkloadKind::Membership);
    if changes || !is_wanted || members.len() < 3 || scenario.nemeses.iter().any(loses) {
        return Vec::new();
    }
    let mut core = order[..members.len() / 2 + 1].to_vec();
    core.sort_unstable();
    core
}

pub(crate) fn draw_knobs(scenario: &Scenario, chance: &mut Chance) -> Knobs {
    let choices = &scenario.knobs;
    Knobs {
        election_timeout: chance.pick(&choices.election_timeout),
        heartbeat: chance.pick(&choices.heartbeat),
        segment_bytes: chance.pick(&choices.segment_bytes),
        snapshot_entries: chance.pick(&choices.snapshot_entries),
        keep_entries: chance.pick(&choices.keep_entries),
        append_bytes: chance.pick(&choices.append_bytes),
        inflight: chance.pick(&choices.inflight),
        chunk_bytes: chance.pick(&choices.chunk_bytes),
        net_latency: chance.pick(&choices.net_latency),
        sync_latency: chance.pick(&choices.sync_latency),
        watch_window: chance.pick(&choices.watch_window),
        watch_progress: chance.pick(&choices.watch_progress),
        uncommitted_bytes: chance.pick(&choices.uncommitted_bytes),
        joint: chance.pick(&choices.joint),
        still: chance.pick(&choices.still),
        lease_checkpoint: chance.pick(&choices.lease_checkpoint),
        corrupt_check: chance.pick(&choices.corrupt_check),
        initial_check: chance.pick(&choices.initial_check),
        quota_bytes: chance.pick(&choices.quota_bytes),
        request_timeout: chance.pick(&choices.request_timeout),
    }
}

fn draw_clients(scenario: &Scenario, members: &[MemberId], seed: u64, swarm: &mut Chance) -> Vec<ClientPlan> {
    let mut clients = Vec::new();
    for spec in &scenario.workloads {
        let mut spec = spec.clone();
        if scenario.swarm {
            spec.mix = swarm_mix(&spec.mix, swarm);
        }
        for number in 0..spec.clients {
            let machine = u32::try_from(clients.len() + 1).expect("fewer clients than 4 billion");
            let mut chance = Chance::stream(seed, &format!("client {machine}"));
            let steps = draw_steps(&spec, number, members, scenario.time, &mut chance);
            clients.push(ClientPlan { machine, number, spec: spec.clone(), steps });
        }
    }
    clients
}

/// Drops a part of the operations, but never the last that writes: a run without writes shows nothing.
fn swarm_mix(mix: &[(OpKind, u32)], chance: &mut Chance) -> Vec<(OpKind, u32)> {
    let mut mix = mix.to_vec();
    for at in 0..mix.len() {
        let writes = |list: &[(OpKind, u32)]| {
            list.iter().any(|(op, weight)| {
                matches!(op, OpKind::Put | OpKind::Cas | OpKind::Pair | OpKind::Past) && *weight > 0
            })
        };
        let dropped = chance.one_in(5);
        let weight = std::mem::take(&mut mix[at].1);
        if !dropped || !writes(&mix) {
            mix[at].1 = weight;
        }
    }
    mix
}

fn draw_steps(
    spec: &WorkloadSpec,
    number: u32,
    members: &[MemberId],
    time: Duration,
    chance: &mut Chance,
) -> Vec<Step> {
    if spec.kind == WorkloadKind::Units {
        return fleet::draw_steps(spec, number, members, time, chance);
    }
    let mut steps = Vec::new();
    // Clients have a member they like, as a client with one open connection has; now and then another.
    let usual = chance.pick(members);
    let mut at = CLIENTS_START + chance.between(Duration::ZERO, spec.think);
    while at < time {
        let member = if chance.one_in(4) { chance.pick(members) } else { usual };
        let (what, next) = match spec.kind {
            WorkloadKind::Kv => {
                let op = chance.weighted(&spec.mix).expect("a mix with weights, checked when it was read");
                let key = u32::try_from(chance.below(u64::from(spec.keys))).expect("a key");
                let serializable = chance.ppm(spec.serializable_ppm);
                (StepKind::Kv { op, key, serializable }, chance.around(spec.think))
            }
            WorkloadKind::Watch => (StepKind::Watch, chance.around(spec.reopen)),
            WorkloadKind::Hash => (StepKind::Hash, chance.around(spec.think)),
            WorkloadKind::Locks => (StepKind::Lock(draw_lock(spec, chance)), chance.around(spec.think)),
            WorkloadKind::Elections => (draw_election(spec, number, chance), chance.around(spec.think)),
            WorkloadKind::Space => (StepKind::FreeSpace, chance.around(spec.think)),
            WorkloadKind::Membership => {
                let changes = &spec.fleet.changes;
                let next = changes[steps.len() % changes.len()];
                let drawn = chance.pick(changes);
                let kind = if spec.fleet.in_order { next } else { drawn };
                let pick = u32::try_from(chance.below(1000)).expect("small");
                (StepKind::Change { kind, pick }, chance.around(spec.think))
            }
            WorkloadKind::Users if number == 0 => {
                // Users are numbered from 1; the administrator is the first client.
                let user = 1 + u32::try_from(chance.below(u64::from(spec.clients - 1))).expect("small");
                (StepKind::Permit { user }, chance.around(spec.think))
            }
            WorkloadKind::Users => (StepKind::Try { write: chance.one_in(2) }, chance.around(spec.think)),
            WorkloadKind::V2 => draw_v2(spec, number, chance),
            WorkloadKind::Reboots => (machines::draw(spec, number, chance), chance.around(spec.think)),
            WorkloadKind::Units => unreachable!("drawn above"),
            WorkloadKind::Lease => {
                let keepalives = u32::try_from(chance.below(u64::from(spec.keepalives) + 1)).expect("small");
                (StepKind::Lease { keepalives }, chance.around(spec.think))
            }
        };
        steps.push(Step { at, member, what });
        at += next;
    }
    steps
}

fn draw_lock(spec: &WorkloadSpec, chance: &mut Chance) -> LockStep {
    let pauses = chance.one_in(u64::from(spec.locks.pause_one_in));
    let pause = chance.between(spec.ttl / 2, spec.ttl * 2);
    LockStep {
        lock: u32::try_from(chance.below(u64::from(spec.locks.locks))).expect("small"),
        hold: chance.around(spec.locks.hold),
        pause: if pauses { pause } else { Duration::ZERO },
        pause_waiting: chance.one_in(2),
        by_member: chance.one_in(3),
        fence_by_key: chance.one_in(2),
    }
}

/// One client in three only looks who leads.
fn draw_election(spec: &WorkloadSpec, number: u32, chance: &mut Chance) -> StepKind {
    let election = u32::try_from(chance.below(u64::from(spec.locks.locks))).expect("small");
    let hold = chance.around(spec.locks.hold);
    if number % 3 == 2 {
        return StepKind::Observe { election, hold: hold * 6 };
    }
    let pauses = chance.one_in(u64::from(spec.locks.pause_one_in));
    let pause = chance.between(spec.ttl / 2, spec.ttl * 2);
    let pause = if pauses { pause } else { Duration::ZERO };
    StepKind::Stand(StandStep { election, hold, pause, again: chance.one_in(2) })
}

/// Who waits for changes of the v2 keys, by its number in the workload: one client in three.
pub(crate) fn waits_for_v2(number: u32) -> bool {
    number % 3 == 2
}

/// What is asked of the v2 keys, and how long until the next. Those who wait: one of all, the next of a key that it keeps.
fn draw_v2(spec: &WorkloadSpec, number: u32, chance: &mut Chance) -> (StepKind, Duration) {
    let key = u32::try_from(chance.below(u64::from(spec.keys))).expect("a key");
    if waits_for_v2(number) {
        let of_one = number % 2 == 1;
        return (StepKind::V2Wait { key: of_one.then_some(number % spec.keys) }, chance.around(spec.reopen));
    }
    let op = chance.weighted(V2_MIX).expect("weights above 0");
    (StepKind::V2 { op, key, lives: chance.one_in(3) }, chance.around(spec.think))
}

/// How often what is asked of the v2 keys.
const V2_MIX: &[(V2Op, u32)] = &[
    (V2Op::Set, 20),
    (V2Op::Create, 8),
    (V2Op::Update, 6),
    (V2Op::Swap, 10),
    (V2Op::SwapIndex, 8),
    (V2Op::Delete, 6),
    (V2Op::DeleteIf, 6),
    (V2Op::InOrder, 6),
    (V2Op::Refresh, 5),
    (V2Op::MakeDir, 3),
    (V2Op::DropDir, 2),
    (V2Op::Get, 10),
    (V2Op::Own, 6),
    (V2Op::List, 4),
    (V2Op::Join, 2),
];

pub(crate) fn draw_faults(
    nemesis: &NemesisSpec,
    members: &[MemberId],
    time: Duration,
    chance: &mut Chance,
) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    let mut at = nemesis.start + chance.between(Duration::ZERO, nemesis.every / 2);
    while at < time && faults.len() < nemesis.times as usize {
        let ends = at + chance.around(nemesis.lasts);
        let mut signed = |max: u64| {
            let size = i64::try_from(chance.below(max + 1)).expect("a size that came from a signed number");
            if chance.one_in(2) { size } else { -size }
        };
        let drift_ppm = members.iter().map(|_| signed(nemesis.drift_ppm.unsigned_abs())).collect();
        let step_ms = u64::try_from(nemesis.step.as_millis()).expect("at most a day");
        let wall_step_ms = members.iter().map(|_| signed(step_ms)).collect();
        faults.push(PlannedFault {
            id: 0,
            kind: nemesis.kind,
            at,
            ends,
            during: nemesis.during,
            target: nemesis.target,
            order: chance.shuffled(members),
            coin: chance.one_in(2),
            options: nemesis.options.clone(),
            drift_ppm,
            wall_step_ms,
            place_permille: u32::try_from(chance.below(1000)).expect("below 1000"),
        });
        if let Some(fault) = faults.last_mut() {
            // No draw of its own: what is drawn behind it stays as it was.
            let permille = u64::from(fault.place_permille);
            let count = &mut fault.options.after_ops;
            *count = count.map(|most| (most + 1) * permille / 1000);
        }
        at = ends + chance.around(nemesis.every.saturating_sub(nemesis.lasts));
    }
    faults
}
