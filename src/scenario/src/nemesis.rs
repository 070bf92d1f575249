//! Carries out planned faults: resolves whom they hit, keeps track of what overlaps, and undoes it all.

use crate::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use crate::format::spec::{DamagePlace, Files, LinkDown, NemesisKind, Shape, Target};
use crate::plan::{Plan, PlannedFault};
use crate::record::{FaultRecord, LossRecord, Notebook};
use crate::theatre::{Theatre, TheatreError};
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
    /// Flapping: cut now. Rolling restart: how many are done.
    round: usize,
}

/// What happens to a fault at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    End,
    Turn,
    Begin,
}

/// The nemesis of one run.
pub(crate) struct Nemesis<'a, T: Theatre> {
    theatre: &'a T,
    plan: &'a Plan,
    notebook: &'a Notebook,
    members: Vec<MemberId>,
    active: BTreeMap<u32, Active>,
    links_now: BTreeMap<(Place, Place), LinkRule>,
    agenda: BTreeSet<(Duration, Moment, u32)>,
}

impl<'a, T: Theatre> Nemesis<'a, T> {
    pub(crate) fn new(theatre: &'a T, plan: &'a Plan, notebook: &'a Notebook) -> Self {
        let agenda = plan.faults.iter().map(|fault| (fault.at, Moment::Begin, fault.id)).collect();
        Self {
            theatre,
            plan,
            notebook,
            members: plan.machines().collect(),
            active: BTreeMap::new(),
            links_now: BTreeMap::new(),
            agenda,
        }
    }

    /// Plays the storm until `until`.
    pub(crate) async fn storm(&mut self, until: Duration) -> Result<(), TheatreError> {
        while let Some(&(at, moment, id)) = self.agenda.first() {
            if at >= until {
                break;
            }
            self.agenda.pop_first();
            self.theatre.sleep_until(at).await;
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
            }
        }
        self.theatre.sleep_until(until).await;
        Ok(())
    }

    /// Ends every fault and starts every member that does not run.
    pub(crate) async fn calm(&mut self) -> Result<(), TheatreError> {
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
                cut.text
            }
            NemesisKind::Flapping => {
                turns = true;
                // Down from the first turn on, which follows at once.
                active.links = self.links_of(&active.targets, LinkRule::default(), false);
                let what = match fault.how {
                    LinkDown::Cut => "links of",
                    LinkDown::Reset => "connections of",
                };
                format!("{what} {} go down and up every {:?}", names(&active.targets), fault.period)
            }
            NemesisKind::Kill => {
                active.down.extend(&active.targets);
                format!("{} killed", names(&active.targets))
            }
            NemesisKind::PowerLoss | NemesisKind::WalDamage | NemesisKind::ValueDamage => {
                active.down.extend(&active.targets);
                format!("{} lost power", names(&active.targets))
            }
            NemesisKind::LostMajority => self.lose(fault, &mut active),
            NemesisKind::RollingRestart => {
                turns = true;
                active.targets.sort_unstable();
                format!("{} restarted one after the other", names(&active.targets))
            }
            NemesisKind::Pause => {
                active.paused.extend(&active.targets);
                format!("{} stood still", names(&active.targets))
            }
            NemesisKind::Loss => {
                let rule = LinkRule { loss_ppm: fault.rate_ppm, ..LinkRule::default() };
                active.links = self.links_of(&active.targets, rule, true);
                format!("{} % of packets of {} lost", percent(fault.rate_ppm), names(&active.targets))
            }
            NemesisKind::Latency => {
                let rule = LinkRule {
                    extra_latency: fault.delay,
                    extra_jitter: fault.jitter,
                    ..LinkRule::default()
                };
                active.links = self.links_of(&active.targets, rule, true);
                format!(
                    "packets of {} take {:?} to {:?} longer",
                    names(&active.targets),
                    fault.delay,
                    fault.delay + fault.jitter
                )
            }
            NemesisKind::SlowDisk => {
                let slow = DiskFault {
                    sync_latency: fault.delay,
                    sync_jitter: fault.jitter,
                    ..DiskFault::default()
                };
                active.disks = active.targets.iter().map(|member| (*member, slow)).collect();
                format!(
                    "syncs of {} take {:?} to {:?}",
                    names(&active.targets),
                    fault.delay,
                    fault.delay + fault.jitter
                )
            }
            NemesisKind::SyncError => {
                let (fails, whose) = match fault.files {
                    Files::Any => (DiskFault { sync_fails: true, ..DiskFault::default() }, "a sync"),
                    Files::Log => {
                        (DiskFault { log_sync_fails: true, ..DiskFault::default() }, "a sync of the log")
                    }
                };
                active.disks = active.targets.iter().map(|member| (*member, fails)).collect();
                format!("{whose} of {} fails", names(&active.targets))
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
        if matches!(fault.kind, NemesisKind::WalDamage | NemesisKind::ValueDamage) {
            for member in &targets {
                let damage = match (fault.kind, fault.place) {
                    (NemesisKind::ValueDamage, _) => DiskDamage::Value,
                    (_, DamagePlace::Tail) => DiskDamage::WalTail,
                    (_, DamagePlace::Middle) => {
                        DiskDamage::WalMiddle { place_permille: fault.place_permille }
                    }
                };
                let loses = matches!(damage, DiskDamage::WalMiddle { .. });
                // Two logs with holes leave three members without a majority that may vote, which is no test of anything.
                if let Some(other) = self.notebook.harmed_beside(*member).filter(|_| loses) {
                    text += &format!("; its log is spared: that of {other} is not whole yet");
                    continue;
                }
                let done = self.theatre.damage(*member, damage)?;
                if loses && done.is_some() {
                    self.notebook.harm(*member);
                }
                text += &format!("; {}", done.unwrap_or_else(|| "nothing there to damage".to_owned()));
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
        // What has survived was only killed.
        if kind == NemesisKind::Kill || kind == NemesisKind::LostMajority && !self.notebook.is_lost(member) {
            self.notebook.down(member, "kill", self.theatre.now());
            self.theatre.kill(member).await
        } else {
            self.notebook.down(member, "power-loss", self.theatre.now());
            self.theatre.power_loss(member).await
        }
    }

    async fn turn(&mut self, fault: &PlannedFault) -> Result<(), TheatreError> {
        let now = self.theatre.now();
        if fault.kind == NemesisKind::LostMajority {
            return self.come_back(fault).await;
        }
        let Some(active) = self.active.get_mut(&fault.id) else { return Ok(()) };
        let round = active.round;
        active.round += 1;
        if fault.kind == NemesisKind::Flapping {
            let is_down = round % 2 == 0;
            for (_, _, rule) in &mut active.links {
                match fault.how {
                    LinkDown::Cut => rule.cut = is_down,
                    LinkDown::Reset => rule.reset = is_down,
                }
            }
            let down = match fault.how {
                LinkDown::Cut => fault.period / 2,
                LinkDown::Reset => RESET_LASTS.min(fault.period / 2),
            };
            let next = if is_down { down } else { fault.period.saturating_sub(down) };
            self.agenda.insert((now + next, Moment::Turn, fault.id));
            return self.apply_links();
        }
        // Rolling restart: even turns take the next member down, odd ones bring it back.
        let Some(member) = active.targets.get(round / 2).copied() else { return Ok(()) };
        if round % 2 == 0 {
            active.down.insert(member);
            let others_hold =
                self.active.iter().any(|(id, other)| *id != fault.id && other.down.contains(&member));
            if !others_hold {
                self.take_down(NemesisKind::Kill, member).await?;
            }
        } else {
            active.down.remove(&member);
            if !self.is_held_down(member) {
                self.start(member).await?;
            }
        }
        self.agenda.insert((self.theatre.now() + fault.period / 2, Moment::Turn, fault.id));
        Ok(())
    }

    async fn end(&mut self, fault: &PlannedFault) -> Result<(), TheatreError> {
        let Some(active) = self.active.remove(&fault.id) else { return Ok(()) };
        self.agenda.retain(|(_, _, id)| *id != fault.id);
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
        if matches!(fault.kind, NemesisKind::SyncError | NemesisKind::FullDisk) {
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
        for (from, to, rule) in self.active.values().flat_map(|active| &active.links) {
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

/// Who is who when a fault begins.
#[derive(Clone, Copy, Debug, Default)]
struct Who {
    leader: Option<MemberId>,
    /// In what the fault has waited for.
    involved: Option<MemberId>,
}

/// Whom a target means.
fn whom(target: Target, order: &[MemberId], Who { leader, involved }: Who) -> Vec<MemberId> {
    let mut chosen = match target {
        Target::Involved => vec![involved.unwrap_or(order[0])],
        Target::Leader => vec![leader.unwrap_or(order[0])],
        Target::Follower => order.iter().copied().filter(|member| Some(*member) != leader).take(1).collect(),
        Target::Random => vec![order[0]],
        Target::All => order.to_vec(),
        Target::Majority => order[..order.len() / 2 + 1].to_vec(),
        Target::Minority => order[..(order.len() - 1) / 2].to_vec(),
        Target::Member(number) => vec![MemberId(number)],
    };
    chosen.sort_unstable();
    chosen
}

struct Cut {
    links: Vec<(Place, Place)>,
    targets: Vec<MemberId>,
    text: String,
}

/// The links a partition cuts.
fn partition(fault: &PlannedFault, who: Who, clients: impl Iterator<Item = u32>) -> Cut {
    let order = &fault.order;
    let minority = ((order.len() - 1) / 2).max(1);
    let led_by = who.leader.unwrap_or(order[0]);
    let alone = |member: MemberId| vec![member];
    let side: Vec<MemberId> = match fault.shape {
        Shape::LeaderAlone => alone(led_by),
        Shape::FollowerAlone => {
            alone(*order.iter().find(|member| **member != led_by).expect("more than one member"))
        }
        Shape::LeaderMinority => {
            let others = order.iter().copied().filter(|member| *member != led_by);
            std::iter::once(led_by).chain(others).take(minority).collect()
        }
        Shape::MajorityMinority => order[..minority].to_vec(),
        Shape::OneWay => whom(fault.target, order, who),
        Shape::Bridge | Shape::Ring => Vec::new(),
    };
    let mut links = Vec::new();
    let mut both = |a: MemberId, b: MemberId| {
        links.push((Place::Member(a), Place::Member(b)));
        links.push((Place::Member(b), Place::Member(a)));
    };
    let rest: Vec<MemberId> = order.iter().copied().filter(|member| !side.contains(member)).collect();
    let mut text = format!("{} | {}", names(&side), names(&rest));
    let mut targets = side.clone();
    match fault.shape {
        Shape::LeaderAlone | Shape::FollowerAlone | Shape::LeaderMinority | Shape::MajorityMinority => {
            side.iter().for_each(|a| rest.iter().for_each(|b| both(*a, *b)));
        }
        Shape::OneWay => {
            for a in &side {
                for b in order.iter().filter(|b| *b != a) {
                    let (from, to) = if fault.coin { (a, b) } else { (b, a) };
                    links.push((Place::Member(*from), Place::Member(*to)));
                }
            }
            let verb =
                if fault.coin { "hears the others but is not heard" } else { "is heard but hears nobody" };
            text = format!("{} {verb}", names(&side));
        }
        Shape::Bridge => {
            let (middle, ends) = order.split_first().expect("members");
            let (a, b) = ends.split_at(ends.len() / 2);
            a.iter().for_each(|a| b.iter().for_each(|b| both(*a, *b)));
            text = format!("{} - {middle} - {}", names(a), names(b));
            targets = ends.to_vec();
        }
        Shape::Ring => {
            let n = order.len();
            for i in 0..n {
                for j in i + 1..n {
                    let neighbours = j - i == 1 || (n > 3 && i == 0 && j == n - 1);
                    if !neighbours {
                        both(order[i], order[j]);
                    }
                }
            }
            text = format!("a ring: {}", names(order));
            targets.clone_from(order);
        }
    }
    if fault.clients_split && !side.is_empty() {
        for machine in clients {
            let far = if machine % 2 == 0 { &side } else { &rest };
            for member in far {
                links.push((Place::Client(machine), Place::Member(*member)));
                links.push((Place::Member(*member), Place::Client(machine)));
            }
        }
        text += "; each client sees one side";
    }
    targets.sort_unstable();
    Cut { links, targets, text }
}

fn names(members: &[MemberId]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn percent(ppm: u32) -> f64 {
    f64::from(ppm) / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[u64]) -> Vec<MemberId> {
        list.iter().copied().map(MemberId).collect()
    }

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

    #[test]
    fn targets_are_taken_from_the_drawn_order() {
        let order = ids(&[3, 1, 2, 5, 4]);
        let leader = Who { leader: Some(MemberId(3)), involved: Some(MemberId(5)) };
        let nobody = Who::default();
        assert_eq!(whom(Target::Leader, &order, leader), ids(&[3]));
        assert_eq!(whom(Target::Leader, &order, nobody), ids(&[3]), "nobody leads: the first drawn");
        assert_eq!(whom(Target::Follower, &order, leader), ids(&[1]));
        assert_eq!(whom(Target::Majority, &order, leader), ids(&[1, 2, 3]));
        assert_eq!(whom(Target::Minority, &order, leader), ids(&[1, 3]));
        assert_eq!(whom(Target::Involved, &order, leader), ids(&[5]));
        assert_eq!(whom(Target::Member(4), &order, leader), ids(&[4]));
    }
}
