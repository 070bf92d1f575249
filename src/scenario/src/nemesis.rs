//! Carries out planned faults: resolves whom they hit, keeps track of what overlaps, and undoes it all.

mod cuts;

use crate::atlas;
use crate::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place, Which};
use crate::format::spec::{DamagePlace, Files, LinkDown, NemesisKind, Shape, When};
use crate::plan::{Plan, PlannedFault};
use crate::record::{FaultRecord, LossRecord, Notebook};
use crate::theatre::{Build, Theatre, TheatreError};
use cuts::{Swizzle, Who, names, partition, whom};
use seatrial_types::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a link breaks connections: long enough for something to be sent over each of them.
const RESET_LASTS: Duration = Duration::from_millis(20);

/// How often is looked for what a fault waits for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long after a member went on alone one of the others comes back.
const BACK_AFTER: Duration = Duration::from_secs(4);

/// What an active fault holds on to.
#[derive(Clone, Debug, Default)]
struct Active {
    links: Vec<(Place, Place, LinkRule)>,
    disks: Vec<(MemberId, DiskFault)>,
    clocks: Vec<(MemberId, i64)>,
    down: BTreeSet<MemberId>,
    paused: BTreeSet<MemberId>,
    targets: Vec<MemberId>,
    /// Flapping: cut now. Rolling restart: how many are done. Swizzle: turns done.
    round: usize,
    /// Rolling upgrade: what members become.
    build: Build,
    /// Swizzle: between two turns.
    pace: Duration,
}

/// What happens to a fault at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    End,
    Turn,
    Begin,
    /// So many links have lost their priority by then.
    Fall,
}

/// The nemesis of one run.
pub(crate) struct Nemesis<'a, T: Theatre> {
    theatre: &'a T,
    plan: &'a Plan,
    notebook: &'a Notebook,
    members: Vec<MemberId>,
    active: BTreeMap<u32, Active>,
    links_now: BTreeMap<(Place, Place), LinkRule>,
    /// How many links have lost their priority; `None` where all are equal.
    fallen: Option<usize>,
    agenda: BTreeSet<(Duration, Moment, u32)>,
    /// Those that are of today's build. Where nothing is ever upgraded, all are.
    upgraded: BTreeSet<MemberId>,
}

impl<'a, T: Theatre> Nemesis<'a, T> {
    pub(crate) fn new(theatre: &'a T, plan: &'a Plan, notebook: &'a Notebook) -> Self {
        let faults = plan.faults.iter().map(|fault| (fault.at, Moment::Begin, fault.id));
        let falls = plan.priorities.iter().flat_map(|priorities| &priorities.falls);
        let agenda =
            faults.chain(falls.zip(1..).map(|(fall, times)| (fall.at, Moment::Fall, times))).collect();
        Self {
            theatre,
            plan,
            notebook,
            members: plan.machines().collect(),
            active: BTreeMap::new(),
            links_now: BTreeMap::new(),
            fallen: None,
            agenda,
            upgraded: BTreeSet::new(),
        }
    }

    /// Where members are upgraded in this plan, all begin as the build before.
    pub(crate) fn choose_builds(&self) -> Result<(), TheatreError> {
        if !self.plan.faults.iter().any(|fault| fault.kind == NemesisKind::RollingUpgrade) {
            return Ok(());
        }
        self.members.iter().try_for_each(|member| self.theatre.build(*member, Build::Before))
    }

    /// Plays the storm until `until`.
    pub(crate) async fn storm(&mut self, until: Duration) -> Result<(), TheatreError> {
        if self.plan.priorities.is_some() {
            self.fallen = Some(0);
            self.apply_links()?;
        }
        while let Some(&(at, moment, id)) = self.agenda.first() {
            if at >= until {
                break;
            }
            self.agenda.pop_first();
            self.theatre.sleep_until(at).await;
            if moment == Moment::Fall {
                self.fallen = Some(usize::try_from(id).expect("a few"));
                self.apply_links()?;
                continue;
            }
            let fault = self.fault(id);
            match moment {
                Moment::Begin => match fault.during {
                    None => self.begin(&fault, None, fault.ends).await?,
                    Some(during) => {
                        // Each look sees what has come since the one before.
                        let since = at.saturating_sub(LOOK_EVERY).max(fault.at);
                        match self.notebook.since(since, during) {
                            None => {
                                self.agenda.insert((at + LOOK_EVERY, Moment::Begin, id));
                            }
                            involved => {
                                let ends = self.theatre.now() + (fault.ends - fault.at);
                                self.begin(&fault, involved, ends).await?;
                            }
                        }
                    }
                },
                Moment::Turn => self.turn(&fault).await?,
                Moment::End => self.end(&fault).await?,
                Moment::Fall => unreachable!("a fall is no fault's"),
            }
        }
        self.theatre.sleep_until(until).await;
        Ok(())
    }

    /// Ends every fault and starts every member that does not run.
    pub(crate) async fn calm(&mut self) -> Result<(), TheatreError> {
        self.theatre.storm_is_over();
        self.fallen = None;
        self.apply_links()?;
        let open: Vec<u32> = self.active.keys().copied().collect();
        for id in open {
            let fault = self.fault(id);
            self.end(&fault).await?;
        }
        let members = self.members.clone();
        self.start_stopped(&members).await
    }

    /// Starts those of these which do not run: members may stop by themselves, and again while they heal.
    pub(crate) async fn start_stopped(&mut self, members: &[MemberId]) -> Result<(), TheatreError> {
        for member in members {
            if !self.theatre.is_running(*member) {
                self.start(*member).await?;
            }
        }
        Ok(())
    }

    /// Takes down all but these.
    pub(crate) async fn keep_only(&mut self, members: &[MemberId]) -> Result<(), TheatreError> {
        for member in self.members.clone() {
            if !members.contains(&member) {
                self.notebook.down(member, "kill", self.theatre.now());
                self.theatre.kill(member).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn start(&self, member: MemberId) -> Result<(), TheatreError> {
        start(self.theatre, self.notebook, member).await
    }

    fn fault(&self, id: u32) -> PlannedFault {
        self.plan.faults.iter().find(|fault| fault.id == id).expect("an id from the plan").clone()
    }

    async fn begin(
        &mut self,
        fault: &PlannedFault,
        involved: Option<MemberId>,
        ends: Duration,
    ) -> Result<(), TheatreError> {
        let (began, leader) = (self.theatre.now(), self.notebook.leader());
        let who = Who { leader, involved };
        let mut active = Active { targets: whom(fault.target, &fault.order, who), ..Active::default() };
        let mut turns = false;
        let mut text = match fault.kind {
            NemesisKind::Partition => {
                let clients = self.plan.clients.iter().map(|client| client.machine);
                let cut = partition(fault, who, clients);
                active.links = cut
                    .links
                    .iter()
                    .map(|(a, b)| (*a, *b, LinkRule { cut: true, ..LinkRule::default() }))
                    .collect();
                active.targets = cut.targets;
                if fault.options.shape == Shape::Swizzle {
                    turns = true;
                    let turns = u32::try_from(Swizzle::of(fault).turns()).expect("a few");
                    active.pace = ends.saturating_sub(began) / turns;
                }
                cut.text
            }
            NemesisKind::Flapping => {
                turns = true;
                // Down from the first turn on, which follows at once.
                active.links = self.links_of(&active.targets, LinkRule::default(), false);
                let what = match fault.options.how {
                    LinkDown::Cut => "links of",
                    LinkDown::Reset => "connections of",
                };
                format!("{what} {} go down and up every {:?}", names(&active.targets), fault.options.period)
            }
            NemesisKind::Kill => {
                active.down.extend(&active.targets);
                format!("{} killed", names(&active.targets))
            }
            NemesisKind::PowerLoss if let Some(count) = fault.options.after_ops => {
                format!("{} lose power after {count} operations of their disks", names(&active.targets))
            }
            NemesisKind::StoreRot if fault.options.when == When::Up => {
                format!("the store of {} rots", names(&active.targets))
            }
            NemesisKind::PowerLoss
            | NemesisKind::WalDamage
            | NemesisKind::ValueDamage
            | NemesisKind::StoreRot => {
                active.down.extend(&active.targets);
                format!("{} lost power", names(&active.targets))
            }
            NemesisKind::LostMajority => self.lose(fault, &mut active),
            NemesisKind::RollingRestart => {
                turns = true;
                active.targets.sort_unstable();
                format!("{} restarted one after the other", names(&active.targets))
            }
            NemesisKind::RollingUpgrade => {
                turns = true;
                active.targets.sort_unstable();
                let all_are = active.targets.iter().all(|member| self.upgraded.contains(member));
                let (build, verb) = match all_are {
                    true => (Build::Before, "taken back"),
                    false => (Build::Now, "upgraded"),
                };
                active.build = build;
                format!("{} {verb} to {build}, one after the other", names(&active.targets))
            }
            NemesisKind::Pause => {
                active.paused.extend(&active.targets);
                format!("{} stood still", names(&active.targets))
            }
            NemesisKind::Loss => {
                let rule = LinkRule { loss_ppm: fault.options.rate_ppm, ..LinkRule::default() };
                active.links = self.links_of(&active.targets, rule, true);
                format!("{} % of packets of {} lost", percent(fault.options.rate_ppm), names(&active.targets))
            }
            NemesisKind::Latency => {
                let rule = LinkRule {
                    extra_latency: fault.options.delay,
                    extra_jitter: fault.options.jitter,
                    ..LinkRule::default()
                };
                active.links = self.links_of(&active.targets, rule, true);
                format!(
                    "packets of {} take {:?} to {:?} longer",
                    names(&active.targets),
                    fault.options.delay,
                    fault.options.delay + fault.options.jitter
                )
            }
            NemesisKind::Bandwidth => {
                let rule = LinkRule { bandwidth: Some(fault.options.limit), ..LinkRule::default() };
                active.links = self.links_of(&active.targets, rule, true);
                format!("links of {} carry {} bytes per second", names(&active.targets), fault.options.limit)
            }
            NemesisKind::SlowDisk => {
                let slow = DiskFault {
                    sync_latency: fault.options.delay,
                    sync_jitter: fault.options.jitter,
                    ..DiskFault::default()
                };
                active.disks = active.targets.iter().map(|member| (*member, slow)).collect();
                format!(
                    "syncs of {} take {:?} to {:?}",
                    names(&active.targets),
                    fault.options.delay,
                    fault.options.delay + fault.options.jitter
                )
            }
            NemesisKind::SyncError => {
                let fails = DiskFault { sync_fails: Which::of(fault.options.files), ..DiskFault::default() };
                active.disks = active.targets.iter().map(|member| (*member, fails)).collect();
                let whose = match fault.options.files {
                    Files::Any => "a sync",
                    Files::Log => "a sync of the log",
                    Files::Store => "a sync of the store",
                };
                format!("{whose} of {} fails", names(&active.targets))
            }
            NemesisKind::ReadError => self.refuse_reads(fault, &mut active),
            NemesisKind::MisdirectedWrite => self.misdirect(fault, &mut active),
            NemesisKind::DiskStall => {
                let stands = DiskFault { stalled: true, ..DiskFault::default() };
                active.disks = active.targets.iter().map(|member| (*member, stands)).collect();
                format!("the disk of {} stands still", names(&active.targets))
            }
            NemesisKind::FullDisk => {
                let full = DiskFault { full: true, ..DiskFault::default() };
                active.disks = active.targets.iter().map(|member| (*member, full)).collect();
                format!("the disk of {} is full", names(&active.targets))
            }
            NemesisKind::LyingSync => {
                let lies = DiskFault { sync_lies: true, ..DiskFault::default() };
                active.disks = active.targets.iter().map(|member| (*member, lies)).collect();
                format!("syncs of {} make nothing durable", names(&active.targets))
            }
            NemesisKind::Clock => {
                let drift = |member: &MemberId| {
                    let place = fault.order.iter().position(|other| other == member).expect("a member");
                    (fault.drift_ppm[place], fault.wall_step_ms[place])
                };
                active.clocks = active.targets.iter().map(|member| (*member, drift(member).0)).collect();
                let parts: Vec<String> = active
                    .targets
                    .iter()
                    .map(|member| {
                        format!("{member}: {:+} ppm, wall {:+} ms", drift(member).0, drift(member).1)
                    })
                    .collect();
                format!("clocks: {}", parts.join("; "))
            }
        };
        // A leader is led away only once: two faults on one machine are kept apart by what they hold.
        let pressed: Vec<MemberId> =
            active.down.iter().copied().filter(|member| !self.is_held_down(*member)).collect();
        // A machine whose process is down already has a page cache to lose all the same.
        let unplugged: Vec<MemberId> = active
            .down
            .iter()
            .copied()
            .filter(|member| !pressed.contains(member) && self.takes_power(fault.kind, *member))
            .collect();
        let paused: Vec<MemberId> =
            active.paused.iter().copied().filter(|member| !self.is_paused(*member)).collect();
        let targets = active.targets.clone();
        let steps = active.clocks.clone();
        let cut: Vec<(MemberId, MemberId)> = active
            .links
            .iter()
            .filter(|(_, _, rule)| rule.cut)
            .filter_map(|(from, to, _)| match (from, to) {
                (Place::Member(from), Place::Member(to)) => Some((*from, *to)),
                _ => None,
            })
            .collect();
        self.active.insert(fault.id, active);
        self.agenda.insert((ends, Moment::End, fault.id));
        if turns {
            self.agenda.insert((self.theatre.now(), Moment::Turn, fault.id));
        }
        for member in pressed {
            self.take_down(fault.kind, member).await?;
        }
        for member in unplugged {
            self.theatre.power_loss(member).await?;
        }
        if fault.kind == NemesisKind::PowerLoss && fault.options.after_ops.is_some() {
            for member in &targets {
                self.theatre.power_loss_after(*member, fault.options.after_ops)?;
            }
        }
        for member in &targets {
            if let Some(damage) = damage_of(fault) {
                text += &format!("; {}", self.damage(*member, damage)?);
            }
        }
        for member in paused {
            if self.theatre.is_running(member) {
                self.notebook.down(member, "pause", self.theatre.now());
                self.theatre.pause(member).await?;
            }
        }
        self.apply_links()?;
        self.apply_disks()?;
        for (member, _) in steps {
            let place = fault.order.iter().position(|other| *other == member).expect("a member");
            let drift_ppm = self.drift_of(member);
            self.theatre.clock(member, ClockFault { drift_ppm, wall_step_ms: fault.wall_step_ms[place] })?;
        }
        self.notebook.fault_began(FaultRecord {
            id: fault.id,
            kind: fault.kind.name().to_owned(),
            targets,
            from: began,
            to: None,
            text,
            cut,
        });
        Ok(())
    }

    async fn take_down(&mut self, kind: NemesisKind, member: MemberId) -> Result<(), TheatreError> {
        if self.takes_power(kind, member) {
            self.notebook.down(member, "power-loss", self.theatre.now());
            self.theatre.power_loss(member).await
        } else {
            self.notebook.down(member, "kill", self.theatre.now());
            self.theatre.kill(member).await
        }
    }

    /// Whether a machine that such a fault takes down loses its power, and not its process alone.
    fn takes_power(&self, kind: NemesisKind, member: MemberId) -> bool {
        match kind {
            NemesisKind::Kill | NemesisKind::RollingRestart | NemesisKind::RollingUpgrade => false,
            // What has survived was only killed.
            NemesisKind::LostMajority => self.notebook.is_lost(member),
            _ => true,
        }
    }

    /// Damages a member's disk, as far as enough others stay whole. What was done, in words.
    fn damage(&self, member: MemberId, damage: DiskDamage) -> Result<String, TheatreError> {
        // A torn end was never durable: nothing that counts is lost with it.
        let harms = damage != DiskDamage::WalTail;
        if harms && let Some(spared) = self.spared(member, &BTreeSet::new()) {
            return Ok(spared);
        }
        let done = self.theatre.damage(member, damage)?;
        if done.is_some() {
            match damage {
                DiskDamage::WalMiddle { .. } => self.notebook.harm(member),
                DiskDamage::StoreRot { .. } | DiskDamage::Value => self.notebook.harm_store(member),
                DiskDamage::WalTail | DiskDamage::ValueRepaired => {}
            }
        }
        Ok(done.unwrap_or_else(|| "nothing there to damage".to_owned()))
    }

    /// Why a member's copies are not damaged just now.
    fn spared(&self, member: MemberId, besides: &BTreeSet<MemberId>) -> Option<String> {
        let mut harmed = self.notebook.harmed();
        let disks = self.active.values().flat_map(|active| &active.disks);
        harmed.extend(disks.filter(|(_, fault)| fault.harms_logs()).map(|(member, _)| *member));
        harmed.extend(besides);
        if self.plan.scenario.damage.beyond_quorum
            || atlas::may_be_damaged(self.plan.scenario.members, &harmed, member)
        {
            return None;
        }
        let others: Vec<MemberId> = harmed.into_iter().filter(|other| *other != member).collect();
        Some(format!("member {member} is spared: not whole yet are {}", names(&others)))
    }

    /// Reads of each target fail. A log that cannot be read at a start counts as lost, so of logs only as many as may be damaged.
    fn refuse_reads(&self, fault: &PlannedFault, active: &mut Active) -> String {
        let fails = DiskFault { reads_fail: Which::of(fault.options.files), ..DiskFault::default() };
        let what = match fault.options.files {
            Files::Any => "the disk",
            Files::Log => "the log",
            Files::Store => "the store",
        };
        let mut text = Vec::new();
        let mut hit: BTreeSet<MemberId> = BTreeSet::new();
        for member in &active.targets {
            let spared = if fails.harms_logs() { self.spared(*member, &hit) } else { None };
            match spared {
                Some(spared) => text.push(spared),
                None => {
                    hit.insert(*member);
                    active.disks.push((*member, fails));
                    text.push(format!("{what} of {member} cannot be read"));
                }
            }
        }
        text.join("; ")
    }

    /// The next write of each target lands elsewhere, as far as enough others stay whole.
    fn misdirect(&self, fault: &PlannedFault, active: &mut Active) -> String {
        let astray = DiskFault { misdirects: Which::of(fault.options.files), ..DiskFault::default() };
        let mut text = Vec::new();
        for member in &active.targets {
            match self.spared(*member, &BTreeSet::new()) {
                Some(spared) => text.push(spared),
                None => {
                    self.notebook.harm_store(*member);
                    active.disks.push((*member, astray));
                    text.push(format!("a write of {member} lands at the place of another"));
                }
            }
        }
        text.join("; ")
    }

    async fn turn(&mut self, fault: &PlannedFault) -> Result<(), TheatreError> {
        let now = self.theatre.now();
        if fault.kind == NemesisKind::LostMajority {
            return self.come_back(fault).await;
        }
        let Some(active) = self.active.get_mut(&fault.id) else { return Ok(()) };
        let round = active.round;
        active.round += 1;
        if fault.kind == NemesisKind::Partition {
            let swizzle = Swizzle::of(fault);
            let pace = active.pace;
            if round + 1 < swizzle.turns() {
                self.agenda.insert((now + pace, Moment::Turn, fault.id));
            }
            let cut = LinkRule { cut: true, ..LinkRule::default() };
            let links = self.links_of(&swizzle.away(round + 1), cut, false);
            self.active.entry(fault.id).or_default().links = links;
            return self.apply_links();
        }
        if fault.kind == NemesisKind::Flapping {
            let is_down = round % 2 == 0;
            for (_, _, rule) in &mut active.links {
                match fault.options.how {
                    LinkDown::Cut => rule.cut = is_down,
                    LinkDown::Reset => rule.reset = is_down,
                }
            }
            let down = match fault.options.how {
                LinkDown::Cut => fault.options.period / 2,
                LinkDown::Reset => RESET_LASTS.min(fault.options.period / 2),
            };
            let next = if is_down { down } else { fault.options.period.saturating_sub(down) };
            self.agenda.insert((now + next, Moment::Turn, fault.id));
            return self.apply_links();
        }
        // Rolling restart and upgrade: even turns take the next member down, odd ones bring it back.
        let Some(member) = active.targets.get(round / 2).copied() else { return Ok(()) };
        if round % 2 == 0 {
            active.down.insert(member);
            let build = active.build;
            let others_hold =
                self.active.iter().any(|(id, other)| *id != fault.id && other.down.contains(&member));
            if fault.kind == NemesisKind::RollingUpgrade {
                self.theatre.build(member, build)?;
                match build {
                    Build::Now => self.upgraded.insert(member),
                    Build::Before => self.upgraded.remove(&member),
                };
            }
            if !others_hold {
                self.take_down(NemesisKind::Kill, member).await?;
            }
        } else {
            active.down.remove(&member);
            if !self.is_held_down(member) {
                self.start(member).await?;
            }
        }
        self.agenda.insert((self.theatre.now() + fault.options.period / 2, Moment::Turn, fault.id));
        Ok(())
    }

    async fn end(&mut self, fault: &PlannedFault) -> Result<(), TheatreError> {
        let Some(active) = self.active.remove(&fault.id) else { return Ok(()) };
        self.agenda.retain(|(_, moment, id)| *moment == Moment::Fall || *id != fault.id);
        self.apply_links()?;
        self.apply_disks()?;
        for (member, _) in &active.clocks {
            self.theatre.clock(*member, ClockFault { drift_ppm: self.drift_of(*member), wall_step_ms: 0 })?;
        }
        for member in &active.paused {
            if !self.is_paused(*member) {
                self.theatre.resume(*member).await?;
                if !self.is_held_down(*member) {
                    self.notebook.up(*member, self.theatre.now());
                }
            }
        }
        if fault.kind == NemesisKind::LostMajority {
            for member in active.down.iter().filter(|member| !self.notebook.is_lost(**member)) {
                // It may have been started meanwhile by who knows nothing of this.
                self.theatre.kill(*member).await?;
                self.theatre.go_alone(*member)?;
            }
            let now = self.theatre.now();
            self.notebook.loss(|loss| loss.alone = Some(now));
            self.agenda.insert((now + BACK_AFTER, Moment::Turn, fault.id));
        }
        for member in &active.down {
            if !self.is_held_down(*member) {
                self.start(*member).await?;
            }
        }
        if fault.kind == NemesisKind::PowerLoss && fault.options.after_ops.is_some() {
            for member in &active.targets {
                self.theatre.power_loss_after(*member, None)?;
            }
        }
        if may_stop(fault) {
            for member in &active.targets {
                if !self.is_held_down(*member) && !self.theatre.is_running(*member) {
                    self.start(*member).await?;
                }
            }
        }
        self.notebook.fault_ended(fault.id, self.theatre.now());
        Ok(())
    }

    /// Everything but one of the first members is lost.
    fn lose(&self, fault: &PlannedFault, active: &mut Active) -> String {
        let first = |member: &&MemberId| member.0 <= self.plan.scenario.members;
        let survivor = *fault.order.iter().find(first).expect("a cluster has a member");
        let lives = |machine: &&MemberId| self.theatre.occupant(**machine).is_some();
        let machines: BTreeSet<MemberId> =
            self.members.iter().filter(lives).copied().filter(|machine| *machine != survivor).collect();
        let ids = machines.iter().filter_map(|machine| self.theatre.occupant(*machine));
        let record = LossRecord {
            at: self.theatre.now(),
            survivor,
            id: self.theatre.occupant(survivor).unwrap_or(survivor),
            lost: ids.collect(),
            alone: None,
            back: None,
            members: Vec::new(),
        };
        active.targets = machines.iter().copied().chain([survivor]).collect();
        active.down.extend(&active.targets);
        let text = format!(
            "{} lost for good; {survivor} is to go on alone",
            names(&machines.iter().copied().collect::<Vec<_>>())
        );
        self.notebook.lost(machines, record);
        text
    }

    /// One of those that were lost starts again, with the disk it had.
    async fn come_back(&self, fault: &PlannedFault) -> Result<(), TheatreError> {
        let Some(machine) = fault.order.iter().copied().find(|machine| self.notebook.is_lost(*machine))
        else {
            return Ok(());
        };
        self.notebook.came_back(machine, self.theatre.now());
        self.start(machine).await
    }

    fn is_held_down(&self, member: MemberId) -> bool {
        self.active.values().any(|active| active.down.contains(&member))
    }

    fn is_paused(&self, member: MemberId) -> bool {
        self.active.values().any(|active| active.paused.contains(&member))
    }

    fn drift_of(&self, member: MemberId) -> i64 {
        let drifts = self.active.values().flat_map(|active| &active.clocks);
        together(drifts, member, self.plan.drift_ppm_max())
    }

    /// All links from and to these members: to the other members, and to clients where asked.
    fn links_of(&self, targets: &[MemberId], rule: LinkRule, clients: bool) -> Vec<(Place, Place, LinkRule)> {
        let mut links = Vec::new();
        for a in &self.members {
            for b in &self.members {
                if a != b && (targets.contains(a) || targets.contains(b)) {
                    links.push((Place::Member(*a), Place::Member(*b), rule));
                }
            }
            if clients && targets.contains(a) {
                for client in &self.plan.clients {
                    links.push((Place::Member(*a), Place::Client(client.machine), rule));
                    links.push((Place::Client(client.machine), Place::Member(*a), rule));
                }
            }
        }
        links
    }

    /// Tells the theatre about links whose rule has changed.
    fn apply_links(&mut self) -> Result<(), TheatreError> {
        let mut wanted: BTreeMap<(Place, Place), LinkRule> = BTreeMap::new();
        let slower = match (&self.plan.priorities, self.fallen) {
            (Some(priorities), Some(falls)) => priorities.links(falls),
            _ => Vec::new(),
        };
        for (from, to, rule) in self.active.values().flat_map(|active| &active.links).chain(&slower) {
            let entry = wanted.entry((*from, *to)).or_default();
            *entry = entry.and(*rule);
        }
        wanted.retain(|_, rule| !rule.is_healthy());
        for (link, rule) in &wanted {
            if self.links_now.get(link) != Some(rule) {
                self.theatre.link(link.0, link.1, *rule)?;
            }
        }
        for link in self.links_now.keys().filter(|link| !wanted.contains_key(link)) {
            self.theatre.link(link.0, link.1, LinkRule::default())?;
        }
        self.links_now = wanted;
        Ok(())
    }

    fn apply_disks(&self) -> Result<(), TheatreError> {
        for member in &self.members {
            let mut fault = DiskFault::default();
            for (_, other) in
                self.active.values().flat_map(|active| &active.disks).filter(|(other, _)| other == member)
            {
                fault = fault.and(*other);
            }
            self.theatre.disk(*member, fault)?;
        }
        Ok(())
    }
}

/// Whether a fault may end a member's process at any time while it lasts, or just after.
fn may_stop(fault: &PlannedFault) -> bool {
    match fault.kind {
        NemesisKind::SyncError
        | NemesisKind::FullDisk
        | NemesisKind::ReadError
        | NemesisKind::StoreRot
        | NemesisKind::MisdirectedWrite => true,
        NemesisKind::PowerLoss => fault.options.after_ops.is_some(),
        _ => false,
    }
}

/// What a fault damages on the disks of its targets.
fn damage_of(fault: &PlannedFault) -> Option<DiskDamage> {
    let PlannedFault { place_permille, .. } = *fault;
    match (fault.kind, fault.options.place) {
        (NemesisKind::ValueDamage, _) => Some(DiskDamage::Value),
        (NemesisKind::StoreRot, _) => Some(DiskDamage::StoreRot { place_permille, bits: fault.options.bits }),
        (NemesisKind::WalDamage, DamagePlace::Tail) => Some(DiskDamage::WalTail),
        (NemesisKind::WalDamage, DamagePlace::Middle) => Some(DiskDamage::WalMiddle { place_permille }),
        _ => None,
    }
}

/// Starts a member, or the next incarnation of one.
pub(crate) async fn start<T: Theatre>(
    theatre: &T,
    notebook: &Notebook,
    member: MemberId,
) -> Result<(), TheatreError> {
    if notebook.is_lost(member) {
        return Ok(());
    }
    // Whatever is left of the last incarnation (it may have stopped by itself) goes first.
    theatre.kill(member).await?;
    notebook.starting(member);
    notebook.up(member, theatre.now());
    theatre.start(member).await
}

/// All drifts of one member's clock at one time. Oracles reckon with the largest of a single fault, and no clock runs backwards.
fn together<'a>(drifts: impl Iterator<Item = &'a (MemberId, i64)>, member: MemberId, ppm_max: u64) -> i64 {
    let most = i64::try_from(ppm_max).expect("a drift that came from a signed number");
    let its_own = drifts.filter(|(other, _)| *other == member).map(|(_, ppm)| *ppm);
    its_own.sum::<i64>().clamp(-most, most)
}

fn percent(ppm: u32) -> f64 {
    f64::from(ppm) / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drifts_at_one_time_are_no_larger_than_the_largest() {
        let of_two = |drifts: &[i64], ppm_max: u64| {
            let mut all = vec![(MemberId(1), 450)];
            all.extend(drifts.iter().map(|ppm| (MemberId(2), *ppm)));
            together(all.iter(), MemberId(2), ppm_max)
        };
        assert_eq!(of_two(&[], 500), 0, "another member's clock is not its own");
        assert_eq!(of_two(&[300, -100], 500), 200);
        assert_eq!(of_two(&[400, 300], 500), 500);
        assert_eq!(of_two(&[-600_000, -600_000], 600_000), -600_000);
    }
}
