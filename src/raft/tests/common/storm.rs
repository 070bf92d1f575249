//! A cluster under random faults in virtual time, with the paper's safety properties checked at every
//! step: messages are lost, doubled and reordered, members crash and forget what was not durable, disks
//! are slow, configurations change, logs are compacted. Then all is healed and the cluster must converge.
//!
//! One seed is one run: the same seed gives the same run.

use super::{Disk, Node, Turn, show, voters};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use seatrial_raft::quorum::{VoteResult, joint_vote};
use seatrial_raft::{
    Body, Config, ConfigChange, ConfigStep, Entry, Message, Options, Payload, ReadId, Role, Timer,
    TimerRequest,
};
use seatrial_types::{LogIndex, MemberId, Term};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const MS: u64 = 1000;
const STORM_US: u64 = 6_000 * MS;
const HEAL_US: u64 = 6_000 * MS;
const MEMBERS_MAX: u64 = 7;

/// What a seed does to the cluster: each draws its own mix, some of them nothing of a kind.
#[derive(Clone, Debug)]
struct Weather {
    loss: f64,
    duplication: f64,
    latency_us: (u64, u64),
    write_us: (u64, u64),
    crashes: bool,
    power_loss: bool,
    partitions: bool,
    config_changes: bool,
    compaction: bool,
    transfers: bool,
    disk_losses: bool,
    resets: bool,
    /// Who has just been elected is struck down before it has done much (Raft figure 8).
    strikes: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Deliver(Message),
    Timer { id: MemberId, timer: Timer, generation: u64 },
    WriteDone { id: MemberId, epoch: u64, writes: usize },
    Restart { id: MemberId, lose: bool },
    Strike { id: MemberId },
    Client,
    Nemesis,
}

#[derive(Clone, Debug)]
struct Slot {
    node: Option<Node>,
    disk: Option<Disk>,
    /// Counts the starts.
    epoch: u64,
    timers: BTreeMap<Timer, u64>,
    writing: bool,
    /// The disk lost something, and it is not repaired.
    lost: Option<LogIndex>,
}

pub struct Storm {
    seed: u64,
    rng: ChaCha8Rng,
    weather: Weather,
    options: Options,
    now_us: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    slots: BTreeMap<MemberId, Slot>,
    /// One-way: nothing gets from the first to the second.
    cuts: BTreeSet<(MemberId, MemberId)>,
    healing: bool,
    generation: u64,
    /// Leaders by term (election safety).
    leaders: BTreeMap<Term, MemberId>,
    /// What was applied somewhere, with the term of who applied it first; from index 1 on.
    chain: Vec<(Entry, Term)>,
    reads: BTreeMap<(MemberId, ReadId), LogIndex>,
    next_value: u64,
    /// The last events, for the report of a failure.
    recent: VecDeque<String>,
    pub stats: Stats,
}

/// What a run saw: a storm in which nothing happens proves nothing.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub elections: u64,
    pub committed: u64,
    pub reads: u64,
    pub crashes: u64,
    pub snapshots: u64,
    pub config_changes: u64,
    pub truncations: u64,
    pub disk_losses: u64,
    pub events: u64,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
        self.elections += other.elections;
        self.committed += other.committed;
        self.reads += other.reads;
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.config_changes += other.config_changes;
        self.truncations += other.truncations;
        self.disk_losses += other.disk_losses;
        self.events += other.events;
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("SEATRIAL_QUIET").is_none() {
            eprintln!("seed {} failed at {} us; weather {:?}", self.seed, self.now_us, self.weather);
            for line in &self.recent {
                eprintln!("  {line}");
            }
        }
    }
}

/// One run of a seed; panics where a property is broken.
pub fn run(seed: u64) -> Stats {
    let mut storm = Storm::new(seed);
    storm.storm();
    storm.heal();
    storm.stats.clone()
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |below: u64| rng.next_u64() % below;
        let pick = |choices: &[f64], place: u64| choices[place as usize % choices.len()];
        let config_changes = draw(2) == 0;
        let weather = Weather {
            loss: pick(&[0.0, 0.0, 0.02, 0.1, 0.3], draw(5)),
            duplication: pick(&[0.0, 0.05, 0.2], draw(3)),
            latency_us: (200, [2 * MS, 10 * MS, 60 * MS][draw(3) as usize]),
            write_us: (100, [2 * MS, 20 * MS, 100 * MS][draw(3) as usize]),
            crashes: draw(4) != 0,
            power_loss: draw(3) == 0,
            partitions: draw(4) != 0,
            config_changes,
            compaction: draw(3) != 0,
            transfers: draw(2) == 0,
            // A repaired member needs a quorum without it; a shrinking configuration could take it away.
            disk_losses: !config_changes && draw(3) == 0,
            resets: draw(2) == 0,
            strikes: draw(4) == 0,
        };
        let options = Options {
            election_timeout: Duration::from_millis(150),
            heartbeat_interval: Duration::from_millis(15),
            append_bytes_max: [1, 40, 400, 1 << 20][draw(4) as usize],
            inflight_max: [1, 2, 8, 256][draw(4) as usize],
            uncommitted_bytes_max: [0, 200, 1 << 20][draw(3) as usize],
            chunk_bytes: [7, 64, 1 << 16][draw(3) as usize],
            joint_changes: false,
            ..Options::new(MemberId(1))
        };
        let size = 3 + draw(3);
        let mut config = voters(&(1..=size).collect::<Vec<_>>());
        for learner in 0..draw(3) {
            config.learners.insert(MemberId(size + 1 + learner));
        }
        let mut storm = Self {
            seed,
            rng,
            weather,
            options,
            now_us: 0,
            sequence: 0,
            events: BTreeMap::new(),
            slots: BTreeMap::new(),
            cuts: BTreeSet::new(),
            healing: false,
            generation: 0,
            leaders: BTreeMap::new(),
            chain: Vec::new(),
            reads: BTreeMap::new(),
            next_value: 0,
            recent: VecDeque::new(),
            stats: Stats::default(),
        };
        let members: Vec<MemberId> = config.members().collect();
        for id in members {
            storm.start(id, Disk::fresh(config.clone()), None);
        }
        storm.schedule(MS, Event::Client);
        storm.schedule(300 * MS, Event::Nemesis);
        storm
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below.max(1)
    }

    fn between(&mut self, range: (u64, u64)) -> u64 {
        range.0 + self.draw(range.1 - range.0 + 1)
    }

    fn chance(&mut self, probability: f64) -> bool {
        (self.rng.next_u64() >> 11) as f64 / ((1u64 << 53) as f64) < probability
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.draw(all.len() as u64) as usize]) }
    }

    fn schedule(&mut self, after_us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now_us + after_us, self.sequence), event);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.recent.len() == 60 {
            self.recent.pop_front();
        }
        let line = format!("{:>8} {}", self.now_us, line());
        self.recent.push_back(line);
    }

    fn running(&self) -> Vec<MemberId> {
        self.slots.iter().filter(|(_, slot)| slot.node.is_some()).map(|(id, _)| *id).collect()
    }

    fn node(&self, id: MemberId) -> &Node {
        self.slots[&id].node.as_ref().expect("a running member")
    }

    fn leader(&self) -> Option<MemberId> {
        let leaders = self.running().into_iter().filter(|id| self.node(*id).raft.role() == Role::Leader);
        leaders.max_by_key(|id| self.node(*id).raft.term())
    }

    fn start(&mut self, id: MemberId, disk: Disk, lost_up_to: Option<LogIndex>) {
        self.note(|| format!("{id} starts, lost {lost_up_to:?}"));
        let node = Node::start(Options { id, ..self.options.clone() }, disk, lost_up_to);
        let epoch = self.slots.get(&id).map_or(0, |slot| slot.epoch) + 1;
        self.slots.insert(
            id,
            Slot {
                node: Some(node),
                disk: None,
                epoch,
                timers: BTreeMap::new(),
                writing: false,
                lost: lost_up_to,
            },
        );
        self.turn(id);
    }

    fn crash(&mut self, id: MemberId, lose: bool) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(node) = slot.node.take() else { return };
        let writes = node.writes.len() as u64;
        slot.lost = slot.lost.filter(|_| node.raft.is_repairing());
        slot.timers.clear();
        slot.writing = false;
        let finished = self.draw(writes + 1) as usize;
        self.note(|| format!("{id} crashes, {finished} of {writes} writes done"));
        self.stats.crashes += 1;
        let slot = self.slots.get_mut(&id).expect("just seen");
        slot.disk = Some(node.crash(finished));
        self.reads.retain(|(member, _), _| *member != id);
        let after = self.between((20 * MS, 800 * MS));
        self.schedule(after, Event::Restart { id, lose });
        if self.weather.resets {
            for other in self.running() {
                if self.chance(0.7) {
                    self.act(other, |node| node.raft.peer_reset(id));
                }
            }
        }
    }

    fn restart(&mut self, id: MemberId, lose: bool) {
        let Some(mut disk) = self.slots.get_mut(&id).and_then(|slot| slot.disk.take()) else { return };
        let mut lost_up_to = self.slots[&id].lost;
        if lose && !disk.entries.is_empty() {
            self.stats.disk_losses += 1;
            lost_up_to = lost_up_to.max(Some(disk.last_index()));
            let keep = self.draw(disk.entries.len() as u64) as usize;
            disk.entries.truncate(keep);
        }
        self.start(id, disk, lost_up_to);
    }

    fn is_repairing(&self) -> bool {
        self.slots.values().any(|slot| slot.lost.is_some())
            || self.events.values().any(|event| matches!(event, Event::Restart { lose: true, .. }))
    }

    fn act(&mut self, id: MemberId, act: impl FnOnce(&mut Node)) {
        let Some(node) = self.slots.get_mut(&id).and_then(|slot| slot.node.as_mut()) else { return };
        act(node);
        self.turn(id);
    }

    fn turn(&mut self, id: MemberId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(node) = slot.node.as_mut() else { return };
        let turn = node.turn();
        slot.lost = slot.lost.filter(|_| node.raft.is_repairing());
        self.take(id, turn);
    }

    fn take(&mut self, id: MemberId, turn: Turn) {
        for line in show::turn(id, &turn) {
            self.note(|| line);
        }
        self.check_member(id, &turn);
        let rises = turn.soft.iter().any(|soft| soft.role == Role::Leader);
        if rises && self.weather.strikes && !self.healing && self.chance(0.7) {
            let after = self.between((0, self.weather.latency_us.1 * 3));
            self.schedule(after, Event::Strike { id });
        }
        for request in turn.timers {
            self.generation += 1;
            let generation = self.generation;
            let slot = self.slots.get_mut(&id).expect("a member");
            match request {
                TimerRequest::Cancel(timer) => {
                    slot.timers.remove(&timer);
                }
                TimerRequest::Set { timer, min, max } => {
                    slot.timers.insert(timer, generation);
                    let after = self.between((min.as_micros() as u64, max.as_micros() as u64));
                    self.schedule(after, Event::Timer { id, timer, generation });
                }
            }
        }
        for message in turn.messages {
            self.check_message(&message);
            self.send(message);
        }
        self.begin_write(id);
    }

    fn begin_write(&mut self, id: MemberId) {
        let slot = self.slots.get_mut(&id).expect("a member");
        if slot.writing || slot.node.as_ref().is_none_or(|node| node.writes.is_empty()) {
            return;
        }
        slot.writing = true;
        // One sync covers what queues now.
        let (epoch, writes) = (slot.epoch, slot.node.as_ref().map_or(0, |node| node.writes.len()));
        let after = self.between(self.weather.write_us);
        self.schedule(after, Event::WriteDone { id, epoch, writes });
    }

    fn send(&mut self, message: Message) {
        let lost = !self.healing && self.chance(self.weather.loss);
        let cut = self.cuts.contains(&(message.from, message.to));
        let fate = if lost || cut { "lost " } else { "" };
        self.note(|| format!("{fate}{}", show::message(&message)));
        if lost || cut {
            return;
        }
        if !self.healing && self.chance(self.weather.duplication) {
            let after = self.between((200, 200 * MS));
            self.schedule(after, Event::Deliver(message.clone()));
        }
        let after = self.between(self.weather.latency_us);
        self.schedule(after, Event::Deliver(message));
    }

    fn step(&mut self) {
        let ((at, _), event) = self.events.pop_first().expect("there is always a client");
        self.now_us = at;
        self.stats.events += 1;
        match event {
            Event::Deliver(message) => {
                let to = message.to;
                if self.cuts.contains(&(message.from, to)) {
                    return;
                }
                let Some(node) = self.slots.get_mut(&to).and_then(|slot| slot.node.as_mut()) else { return };
                let last = node.raft.last_index();
                let result = node.raft.step(message);
                let shorter = node.raft.last_index() < last;
                self.stats.truncations += u64::from(shorter);
                if let Err(error) = result {
                    let refused = matches!(error, seatrial_raft::StepError::Refused { .. });
                    assert!(refused, "member {to}: {error}");
                }
                self.turn(to);
            }
            Event::Timer { id, timer, generation } => {
                let Some(slot) = self.slots.get_mut(&id) else { return };
                if slot.timers.get(&timer) == Some(&generation) {
                    slot.timers.remove(&timer);
                    self.act(id, |node| node.raft.fire(timer));
                }
            }
            Event::WriteDone { id, epoch, writes } => {
                let slot = self.slots.get_mut(&id).expect("a member");
                if slot.epoch != epoch {
                    return;
                }
                let Some(node) = slot.node.as_mut() else { return };
                let mut turn = node.finish_write();
                for _ in 1..writes {
                    turn.add(node.finish_write());
                }
                slot.writing = false;
                self.take(id, turn);
            }
            Event::Restart { id, lose } => self.restart(id, lose),
            Event::Strike { id } => self.crash(id, false),
            Event::Client => self.client(),
            Event::Nemesis => self.nemesis(),
        }
        if self.stats.events.is_multiple_of(256) {
            self.check_logs();
        }
    }

    fn client(&mut self) {
        let after = self.between((2 * MS, 30 * MS));
        self.schedule(after, Event::Client);
        let running = self.running();
        // Some clients ask whoever says that it leads, be it true or not.
        let leaders: Vec<MemberId> =
            running.iter().copied().filter(|id| self.node(*id).raft.role() == Role::Leader).collect();
        let asked = if self.chance(0.5) && !leaders.is_empty() { leaders } else { running };
        let Some(id) = self.one_of(&asked) else { return };
        self.next_value += 1;
        let value = self.next_value;
        if self.draw(3) == 0 {
            // Whatever anybody has applied until now, a linearizable read must see.
            let floor = LogIndex(self.chain.len() as u64);
            let read = ReadId(value);
            let node = self.slots.get_mut(&id).and_then(|slot| slot.node.as_mut()).expect("running");
            if node.raft.read_index(read).is_ok() {
                self.reads.insert((id, read), floor);
            }
            self.turn(id);
        } else {
            let data: Vec<Bytes> =
                (0..=self.draw(3)).map(|part| Bytes::from(format!("v{value}.{part}"))).collect();
            self.act(id, |node| {
                let _ = node.raft.propose(data);
            });
        }
    }

    fn nemesis(&mut self) {
        if self.healing {
            return;
        }
        let after = self.between((10 * MS, 150 * MS));
        self.schedule(after, Event::Nemesis);
        let running = self.running();
        let Some(id) = self.one_of(&running) else { return };
        match self.draw(12) {
            0 | 1 if self.weather.crashes => {
                let id = if self.chance(0.5) { self.leader().unwrap_or(id) } else { id };
                let lose = self.weather.disk_losses && !self.is_repairing() && self.chance(0.5);
                self.crash(id, lose);
            }
            2 if self.weather.power_loss && self.chance(0.5) => {
                for id in running {
                    self.crash(id, false);
                }
            }
            3 | 4 if self.weather.partitions => self.cut(),
            5 => {
                self.note(|| "network heals".to_owned());
                self.cuts.clear();
            }
            6 | 7 | 10 if self.weather.config_changes => self.change_config(),
            8 if self.weather.transfers => {
                let Some(leader) = self.leader() else { return };
                self.act(leader, |node| {
                    let _ = node.raft.transfer_leadership(id);
                });
                if self.weather.partitions && id != leader && self.chance(0.4) {
                    // The successor hears the order; nobody hears the successor.
                    self.cuts.clear();
                    let others: Vec<MemberId> =
                        self.slots.keys().copied().filter(|other| *other != id).collect();
                    self.cuts.extend(others.into_iter().map(|other| (id, other)));
                    self.note(|| format!("nothing {id} says arrives"));
                }
            }
            9 | 11 if self.weather.compaction => {
                let node = self.slots.get_mut(&id).and_then(|slot| slot.node.as_mut()).expect("running");
                let applied = node.raft.applied_index();
                let base = node.compact(applied);
                self.note(|| format!("{id} compacts up to {base}"));
            }
            _ => {
                let other = self.one_of(&running).expect("somebody runs");
                self.act(id, |node| node.raft.peer_unreachable(other));
            }
        }
    }

    fn cut(&mut self) {
        let everybody: Vec<MemberId> = self.slots.keys().copied().collect();
        self.cuts.clear();
        let one_way = self.draw(3) == 0;
        let alone = if self.draw(2) == 0 { self.leader() } else { None };
        let side: BTreeSet<MemberId> = everybody
            .iter()
            .copied()
            .filter(|id| alone.map_or_else(|| self.rng.next_u64().is_multiple_of(2), |alone| *id == alone))
            .collect();
        self.note(|| format!("network splits: {side:?} from the rest, one way: {one_way}"));
        for from in &everybody {
            for to in &everybody {
                if side.contains(from) != side.contains(to) && (!one_way || side.contains(from)) {
                    self.cuts.insert((*from, *to));
                }
            }
        }
        if self.weather.resets {
            // Something in between ends the connections as the process itself would have: who believes it
            // is wrong, and nothing worse than an election may come of it.
            let (near, far): (Vec<MemberId>, Vec<MemberId>) =
                everybody.into_iter().partition(|id| side.contains(id));
            for (here, there) in [(&near, &far), (&far, &near)] {
                for id in here {
                    for other in there {
                        self.act(*id, |node| node.raft.peer_reset(*other));
                    }
                }
            }
        }
    }

    fn change_config(&mut self) {
        let Some(leader) = self.leader() else { return };
        let mut steps = Vec::new();
        for _ in 0..=self.draw(3) {
            let member = MemberId(1 + self.draw(MEMBERS_MAX));
            steps.push(match self.draw(5) {
                0..=2 => ConfigStep::AddVoter(member),
                3 => ConfigStep::AddLearner(member),
                _ => ConfigStep::Remove(member),
            });
            if !self.slots.contains_key(&member) {
                self.start(member, Disk::fresh(Config::default()), None);
            }
        }
        self.note(|| format!("{leader} is asked for {steps:?}"));
        let change = ConfigChange { steps, context: Bytes::new() };
        let mut accepted = false;
        self.act(leader, |node| accepted = node.raft.propose_config(change).is_ok());
        self.stats.config_changes += u64::from(accepted);
    }

    fn storm(&mut self) {
        while self.now_us < STORM_US {
            self.step();
        }
    }

    fn heal(&mut self) {
        self.note(|| "all is healed".to_owned());
        self.healing = true;
        self.events.retain(|_, event| !matches!(event, Event::Strike { .. }));
        self.cuts.clear();
        self.weather.latency_us = (200, 2 * MS);
        self.weather.write_us = (100, MS);
        let down: Vec<MemberId> =
            self.slots.keys().copied().filter(|id| self.slots[id].node.is_none()).collect();
        for id in down {
            self.restart(id, false);
        }
        let end = self.now_us + HEAL_US;
        let mut converged = None;
        while self.now_us < end {
            self.step();
            if self.now_us > end - HEAL_US / 2 && converged.is_none() {
                // Half the time to find a leader; the rest to show that it serves.
                converged = Some((self.leader(), self.chain.len()));
            }
        }
        let leader = self.leader().unwrap_or_else(|| panic!("no leader {HEAL_US} us after all was healed"));
        let (first, length) = converged.expect("half of the time is over");
        assert_eq!(first, Some(leader), "a healed cluster keeps its leader");
        assert!(self.chain.len() > length, "a healed cluster commits nothing: {length} entries and no more");
        // Let what is on its way arrive; no client asks meanwhile.
        self.events.retain(|_, event| !matches!(event, Event::Client));
        let rest = self.now_us + 500 * MS;
        self.schedule(500 * MS, Event::Nemesis);
        while self.now_us < rest {
            self.step();
        }
        self.check_logs();
        let node = self.node(leader);
        let (commit, state) = (node.raft.commit(), node.state.clone());
        assert!(!node.raft.config().is_joint(), "a joint configuration is never left");
        let members: Vec<MemberId> = node.raft.config().members().collect();
        for id in members {
            let node = self.node(id);
            assert_eq!(node.raft.commit(), commit, "member {id} does not catch up with leader {leader}");
            assert_eq!(node.state, state, "member {id} has another state than leader {leader}");
            assert!(!node.raft.is_repairing(), "member {id} is never repaired");
        }
        assert_eq!(state.applied.0 as usize, self.chain.len(), "the leader lacks what was committed");
    }

    // What follows are the oracles.

    fn check_member(&mut self, id: MemberId, turn: &Turn) {
        let node = self.slots[&id].node.as_ref().expect("a running member");
        node.raft.check();
        for soft in turn.soft.iter().filter(|soft| soft.role == Role::Leader) {
            self.stats.elections += 1;
            // Election safety (Raft §5.2): at most one leader per term.
            let known = *self.leaders.entry(soft.term).or_insert(id);
            assert_eq!(known, id, "members {known} and {id} both lead term {}", soft.term);
            // Leader completeness (Raft §5.4): what was committed in earlier terms is in its log.
            for (entry, applied_in) in &self.chain {
                if *applied_in >= soft.term || entry.index < node.raft.first_index() {
                    continue;
                }
                let here = node.raft.term_at(entry.index);
                assert_eq!(
                    here,
                    Some(entry.term),
                    "leader {id} of term {} lacks the committed entry {}",
                    soft.term,
                    show::entry(entry)
                );
            }
        }
        let leads = node.raft.role() == Role::Leader;
        let (term, config) = (node.raft.term(), node.raft.config().clone());
        for entry in &turn.committed {
            let place = entry.index.0 as usize - 1;
            if let Some((known, _)) = self.chain.get(place) {
                // State machine safety (Raft §5.4.3).
                assert_eq!(known, entry, "member {id} applies {}", show::entry(entry));
                continue;
            }
            assert_eq!(place, self.chain.len(), "entry {} is applied before its forerunner", entry.index);
            if leads && !self.weather.disk_losses {
                self.check_durable(id, &config, entry);
            }
            self.chain.push((entry.clone(), term));
            self.stats.committed += 1;
        }
        if let Some(meta) = &turn.installed {
            self.stats.snapshots += 1;
            let values: Vec<&Bytes> = self.chain[..meta.index.0 as usize]
                .iter()
                .filter_map(|(entry, _)| match &entry.payload {
                    Payload::Data(data) => Some(data),
                    _ => None,
                })
                .collect();
            let node = self.slots[&id].node.as_ref().expect("a running member");
            let held: Vec<&Bytes> = node.state.values.iter().take(values.len()).collect();
            assert_eq!(held, values, "member {id} installed a snapshot of another history");
        }
        for read in &turn.reads {
            let Some(floor) = self.reads.remove(&(id, read.id)) else {
                panic!("member {id} was answered a read nobody asked: {read:?}");
            };
            self.stats.reads += 1;
            assert!(
                read.index >= floor,
                "member {id} reads at {}, but {floor} was committed before it asked",
                read.index
            );
        }
        for read in &turn.reads_dropped {
            self.reads.remove(&(id, *read));
        }
    }

    /// What a leader takes for committed is on the disks of a quorum.
    fn check_durable(&self, id: MemberId, config: &Config, entry: &Entry) {
        let result = joint_vote(config, |voter| {
            let slot = self.slots.get(&voter)?;
            let disk = slot.node.as_ref().map(|node| &node.disk).or(slot.disk.as_ref())?;
            Some(disk.meta.index >= entry.index || disk.entries.contains(entry))
        });
        assert_eq!(
            result,
            VoteResult::Won,
            "leader {id} commits {}, which no quorum of {} has on its disks",
            show::entry(entry),
            show::config(config)
        );
    }

    /// What a member promises is on its disk when the promise leaves.
    fn check_message(&self, message: &Message) {
        let Some(node) = self.slots[&message.from].node.as_ref() else { return };
        let disk = &node.disk;
        match message.body {
            Body::VoteAnswer { granted: true } => {
                let kept = (disk.hard_state.term, disk.hard_state.vote);
                let newer = disk.hard_state.term > message.term;
                assert!(
                    newer || kept == (message.term, message.to),
                    "member {} votes for {} in term {} with {kept:?} on its disk",
                    message.from,
                    message.to,
                    message.term
                );
            }
            // Where the same sync brought a newer term, its leader may have cut off what was acknowledged:
            // then it was not committed.
            Body::AppendAccepted { matched } => assert!(
                disk.hard_state.term > message.term || disk.last_index() >= matched,
                "member {} acknowledges {matched} with {} on its disk",
                message.from,
                disk.last_index()
            ),
            _ => {}
        }
    }

    /// Log matching (Raft §5.3): where two logs have an entry of one term, all before it are equal.
    fn check_logs(&self) {
        let running = self.running();
        for (place, a) in running.iter().enumerate() {
            for b in &running[place + 1..] {
                let (first, second) = (&self.node(*a).raft, &self.node(*b).raft);
                let low = first.first_index().max(second.first_index());
                let mut index = first.last_index().min(second.last_index());
                let mut agreed = false;
                while index >= low {
                    let (here, there) = (first.entry(index), second.entry(index));
                    agreed |= here.map(|entry| entry.term) == there.map(|entry| entry.term);
                    assert!(
                        !agreed || here == there,
                        "members {a} and {b} agree behind {index}, but have {here:?} and {there:?}"
                    );
                    index = index.prev();
                }
            }
        }
    }
}
