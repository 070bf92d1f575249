//! Several members in one thread: messages wait until they are delivered, writes until they are synced,
//! timers until they are fired. Everything happens when the test says so.

use super::{Disk, Node, Turn, show, voters};
use bytes::Bytes;
use seatrial_raft::{
    Config, ConfigChange, ConfigStep, Message, Options, ReadId, ReadReady, Role, Timer, TimerRequest,
};
use seatrial_types::{LogIndex, MemberId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug)]
pub struct Lab {
    pub nodes: BTreeMap<MemberId, Node>,
    /// Members that crashed, with what their disk holds.
    pub down: BTreeMap<MemberId, Disk>,
    pub queue: VecDeque<Message>,
    /// Writes are finished at once.
    pub auto_persist: bool,
    pub armed: BTreeMap<MemberId, BTreeSet<Timer>>,
    pub reads: BTreeMap<MemberId, Vec<ReadReady>>,
    pub reads_dropped: BTreeMap<MemberId, Vec<ReadId>>,
    /// Messages between these, in either direction, are lost.
    pub cut: BTreeSet<(MemberId, MemberId)>,
    pub options: Options,
    /// What happened since it was taken last.
    pub trace: Vec<String>,
}

impl Lab {
    pub fn empty() -> Self {
        Self {
            nodes: BTreeMap::new(),
            down: BTreeMap::new(),
            queue: VecDeque::new(),
            auto_persist: true,
            armed: BTreeMap::new(),
            reads: BTreeMap::new(),
            reads_dropped: BTreeMap::new(),
            cut: BTreeSet::new(),
            options: Options::new(MemberId(1)),
            trace: Vec::new(),
        }
    }

    /// A new cluster of these voters.
    pub fn of(numbers: &[u64]) -> Self {
        let mut lab = Self::empty();
        for number in numbers {
            lab.start(MemberId(*number), Disk::fresh(voters(numbers)), None);
        }
        lab
    }

    /// As [`Self::of`], and the first of them leads.
    pub fn led(numbers: &[u64]) -> Self {
        let mut lab = Self::of(numbers);
        lab.elect(numbers[0]);
        lab.trace.clear();
        lab
    }

    pub fn start(&mut self, id: MemberId, disk: Disk, lost_up_to: Option<LogIndex>) {
        let options = Options { id, ..self.options.clone() };
        self.down.remove(&id);
        self.armed.insert(id, BTreeSet::new());
        let previous = self.nodes.insert(id, Node::start(options, disk, lost_up_to));
        assert!(previous.is_none(), "member {id} runs already");
        self.settle(id);
    }

    /// A member that knows nothing, to be added by the others.
    pub fn join(&mut self, number: u64) {
        self.start(MemberId(number), Disk::fresh(Config::default()), None);
    }

    pub fn node(&self, number: u64) -> &Node {
        self.nodes.get(&MemberId(number)).unwrap_or_else(|| panic!("member {number} does not run"))
    }

    pub fn raft(&self, number: u64) -> &seatrial_raft::Raft {
        &self.node(number).raft
    }

    /// Does something with a member's Raft and everything that follows from it.
    pub fn with<T>(&mut self, number: u64, act: impl FnOnce(&mut seatrial_raft::Raft) -> T) -> T {
        let id = MemberId(number);
        let node = self.nodes.get_mut(&id).unwrap_or_else(|| panic!("member {number} does not run"));
        let result = act(&mut node.raft);
        self.settle(id);
        result
    }

    /// Does what is to be done at a member, with its writes where they are automatic.
    pub fn settle(&mut self, id: MemberId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut turn = node.turn();
        if self.auto_persist {
            turn.add(node.sync());
        }
        node.raft.check();
        self.take(id, turn);
    }

    fn take(&mut self, id: MemberId, turn: Turn) {
        self.trace.extend(show::turn(id, &turn));
        let armed = self.armed.entry(id).or_default();
        for request in &turn.timers {
            match request {
                TimerRequest::Set { timer, .. } => armed.insert(*timer),
                TimerRequest::Cancel(timer) => armed.remove(timer),
            };
        }
        for message in turn.messages {
            self.trace.push(show::message(&message));
            self.queue.push_back(message);
        }
        self.reads.entry(id).or_default().extend(turn.reads);
        self.reads_dropped.entry(id).or_default().extend(turn.reads_dropped);
    }

    /// One write, or all, of a member reach its disk.
    pub fn persist(&mut self, number: u64, all: bool) {
        let id = MemberId(number);
        let node = self.nodes.get_mut(&id).unwrap_or_else(|| panic!("member {number} does not run"));
        let turn = if all { node.sync() } else { node.finish_write() };
        node.raft.check();
        self.take(id, turn);
    }

    pub fn fire(&mut self, number: u64, timer: Timer) {
        self.armed.entry(MemberId(number)).or_default().remove(&timer);
        self.with(number, |raft| raft.fire(timer));
    }

    /// The leader has been silent, and the random rest of the election timeout is over.
    pub fn time_out(&mut self, number: u64) {
        if self.raft(number).role() == Role::Follower && self.is_armed(number, Timer::LeaderSilent) {
            self.fire(number, Timer::LeaderSilent);
        }
        self.fire(number, Timer::Campaign);
    }

    pub fn is_armed(&self, number: u64, timer: Timer) -> bool {
        self.armed.get(&MemberId(number)).is_some_and(|armed| armed.contains(&timer))
    }

    /// Delivers one message: an error is printed into the trace.
    pub fn deliver(&mut self, message: Message) {
        let Message { from, to, .. } = message;
        if self.cut.contains(&(from, to)) || self.cut.contains(&(to, from)) {
            self.trace.push(format!("lost {}", show::message(&message)));
            return;
        }
        let Some(node) = self.nodes.get_mut(&to) else {
            self.trace.push(format!("lost {}", show::message(&message)));
            return;
        };
        if let Err(error) = node.raft.step(message) {
            self.trace.push(format!("{to} error: {error}"));
        }
        self.settle(to);
    }

    /// Takes the waiting messages that match out of the queue.
    pub fn take_messages(&mut self, mut matching: impl FnMut(&Message) -> bool) -> Vec<Message> {
        let (taken, left) = self.queue.drain(..).partition(|message| matching(message));
        self.queue = left;
        let taken: VecDeque<Message> = taken;
        taken.into()
    }

    /// Delivers the matching messages that wait now; what follows from them waits.
    pub fn deliver_now(&mut self, matching: impl FnMut(&Message) -> bool) {
        for message in self.take_messages(matching) {
            self.trace.push(format!("deliver {}", show::message(&message)));
            self.deliver(message);
        }
    }

    /// Delivers, and syncs, until nothing is left to do.
    pub fn stabilize(&mut self) {
        for _ in 0..10_000 {
            let busy: Vec<MemberId> =
                self.nodes.iter().filter(|(_, node)| !node.writes.is_empty()).map(|(id, _)| *id).collect();
            if self.queue.is_empty() && busy.is_empty() {
                return;
            }
            for id in busy {
                self.persist(id.0, true);
            }
            if let Some(message) = self.queue.pop_front() {
                self.deliver(message);
            }
        }
        panic!("10,000 messages and no end: {:?}", self.queue.front());
    }

    /// Makes this member the leader, everybody else willing.
    pub fn elect(&mut self, number: u64) {
        let others: Vec<u64> = self.nodes.keys().map(|id| id.0).filter(|id| *id != number).collect();
        for other in others {
            if self.raft(other).role() == Role::Follower && self.is_armed(other, Timer::LeaderSilent) {
                self.fire(other, Timer::LeaderSilent);
            }
        }
        self.with(number, |raft| raft.campaign());
        self.stabilize();
        assert_eq!(self.raft(number).role(), Role::Leader, "member {number} was to lead");
    }

    /// A heartbeat of the leader, and all that follows.
    pub fn beat(&mut self, number: u64) {
        self.fire(number, Timer::Heartbeat);
        self.stabilize();
    }

    pub fn propose(&mut self, number: u64, data: &str) {
        self.with(number, |raft| raft.propose(vec![Bytes::copy_from_slice(data.as_bytes())]))
            .unwrap_or_else(|error| panic!("member {number} refused {data:?}: {error}"));
    }

    pub fn change(&mut self, number: u64, steps: &[ConfigStep]) -> Result<(), seatrial_raft::ProposeError> {
        let change = ConfigChange { steps: steps.to_vec(), context: Bytes::new() };
        self.with(number, |raft| raft.propose_config(change))
    }

    pub fn isolate(&mut self, number: u64) {
        for other in self.everybody() {
            if other.0 != number {
                self.cut.insert((MemberId(number), other));
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    fn everybody(&self) -> Vec<MemberId> {
        self.nodes.keys().chain(self.down.keys()).copied().collect()
    }

    /// The member's process ends; writes under way are lost, but for the first `finished`.
    pub fn crash(&mut self, number: u64, finished: usize) {
        let id = MemberId(number);
        let node = self.nodes.remove(&id).unwrap_or_else(|| panic!("member {number} does not run"));
        self.armed.remove(&id);
        self.down.insert(id, node.crash(finished));
    }

    pub fn restart(&mut self, number: u64) {
        let id = MemberId(number);
        let disk = self.down.remove(&id).unwrap_or_else(|| panic!("member {number} is not down"));
        self.start(id, disk, None);
    }

    pub fn leader(&self) -> Option<u64> {
        let leaders = self.nodes.iter().filter(|(_, node)| node.raft.role() == Role::Leader);
        leaders.max_by_key(|(_, node)| node.raft.term()).map(|(id, _)| id.0)
    }

    pub fn values(&self, number: u64) -> Vec<String> {
        let values = self.node(number).state.values.iter();
        values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// A member with a disk made by hand: entries as (term, data), from index 1 on.
    pub fn start_with_log(&mut self, number: u64, config: &Config, term: u64, log: &[(u64, &str)]) {
        use seatrial_raft::{Entry, HardState, Payload};
        let entries = log.iter().enumerate().map(|(place, (term, data))| Entry {
            term: seatrial_types::Term(*term),
            index: LogIndex(place as u64 + 1),
            payload: Payload::Data(Bytes::copy_from_slice(data.as_bytes())),
        });
        let disk = Disk {
            hard_state: HardState { term: seatrial_types::Term(term), ..HardState::default() },
            entries: entries.collect(),
            ..Disk::fresh(config.clone())
        };
        self.start(MemberId(number), disk, None);
    }
}
