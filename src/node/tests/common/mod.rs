//! The plain loop: whole members driven without async, clock, socket or file.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several test files, each of which uses a part"
)]

use bytes::Bytes;
use seatrial_node::{
    Cluster, Input, LogImage, LogWrite, Member, MemberOptions, Observation, Output, PeerMessage, RequestId,
    Rescue, Timer,
};
use seatrial_store::{Batch, Commit, MemBackend, MemSnapshot, Reading, V2Output};
use seatrial_types::request::{MemberAddRequest, PutRequest, RangeRequest};
use seatrial_types::v2::V2WatchId;
use seatrial_types::{Error, KeyRange, MemberId, Request, Response};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A splitmix64: the loop's only chance, so that a seed says everything.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

/// One machine: what runs, and what survives a crash.
pub struct Machine {
    pub options: MemberOptions,
    pub running: Option<Member<MemBackend>>,
    pub timers: BTreeMap<Timer, Duration>,
    /// Written but not synced.
    pub log_pending: VecDeque<LogWrite>,
    pub batches_pending: VecDeque<Batch>,
    /// The backend is to be written anew behind the batches.
    pub rewrite_pending: bool,
    /// What a crash leaves.
    pub log: LogImage,
    pub backend: MemBackend,
}

pub struct Loop {
    pub now: Duration,
    pub cluster: Cluster,
    pub machines: BTreeMap<MemberId, Machine>,
    pub flying: Vec<PeerMessage>,
    pub answers: BTreeMap<RequestId, Result<Response, Error>>,
    /// Long ranges that were given away and are not read yet.
    pub readings: Vec<(RequestId, Box<Reading<MemSnapshot>>)>,
    pub seen: Vec<(MemberId, Observation)>,
    /// Who waits for changes of the v2 key space, and whether they may.
    pub v2_begun: BTreeMap<(MemberId, V2WatchId), bool>,
    /// What they were told.
    pub v2_told: Vec<(MemberId, V2Output)>,
    pub dice: Dice,
    pub next_request: u64,
    /// Machines whose disk does not sync for now.
    pub stuck: Vec<MemberId>,
    /// Machines whose backend is not written for now.
    pub slow: Vec<MemberId>,
    /// Members that ended because they were removed.
    pub removed: Vec<MemberId>,
    /// Whether a member is checked after every step: that looks through its whole log.
    pub checks: bool,
    /// For the next starts.
    pub rescue: Rescue,
}

impl Loop {
    pub fn new(members: usize, seed: u64) -> Self {
        Self::with(members, seed, |_| {})
    }

    pub fn with(members: usize, seed: u64, adjust: impl Fn(&mut MemberOptions)) -> Self {
        let names: Vec<String> = (1..=members).map(|i| format!("m{i}")).collect();
        let initial = names.iter().map(|name| (name.as_str(), vec![format!("http://{name}:2380")]));
        let cluster = Cluster::bootstrap(initial, "plain").unwrap();
        let machines = names
            .iter()
            .map(|name| {
                let id = cluster.id_of(name).unwrap();
                let mut options = MemberOptions::new(id, name.clone());
                adjust(&mut options);
                let machine = Machine {
                    options,
                    running: None,
                    timers: BTreeMap::new(),
                    log_pending: VecDeque::new(),
                    batches_pending: VecDeque::new(),
                    rewrite_pending: false,
                    log: LogImage::default(),
                    backend: MemBackend::new(),
                };
                (id, machine)
            })
            .collect();
        let mut this = Self {
            now: Duration::ZERO,
            cluster,
            machines,
            flying: Vec::new(),
            answers: BTreeMap::new(),
            readings: Vec::new(),
            seen: Vec::new(),
            v2_begun: BTreeMap::new(),
            v2_told: Vec::new(),
            dice: Dice(seed),
            next_request: 1 << 32,
            stuck: Vec::new(),
            slow: Vec::new(),
            removed: Vec::new(),
            rescue: Rescue::default(),
            checks: true,
        };
        for id in this.ids() {
            this.start(id);
        }
        this
    }

    /// A machine for a member that was added, with an empty disk.
    pub fn join(&mut self, id: MemberId, adjust: impl Fn(&mut MemberOptions)) {
        let mut options = MemberOptions::new(id, format!("joined-{id}"));
        adjust(&mut options);
        let machine = Machine {
            options,
            running: None,
            timers: BTreeMap::new(),
            log_pending: VecDeque::new(),
            batches_pending: VecDeque::new(),
            rewrite_pending: false,
            log: LogImage::default(),
            backend: MemBackend::new(),
        };
        self.machines.insert(id, machine);
        self.start(id);
    }

    pub fn add(&mut self, through: MemberId, url: &str, is_learner: bool) -> Result<MemberId, Error> {
        let add = MemberAddRequest { peer_urls: vec![url.to_owned()], is_learner };
        match self.call(through, Request::MemberAdd(add))? {
            Response::MemberAdd(added) => Ok(added.member.id),
            other => panic!("{other:?}"),
        }
    }

    pub fn member(&self, id: MemberId) -> &Member<MemBackend> {
        self.machines[&id].running.as_ref().unwrap()
    }

    pub fn voters(&self, of: MemberId) -> Vec<MemberId> {
        self.member(of).raft().config().voters.iter().copied().collect()
    }

    pub fn ids(&self) -> Vec<MemberId> {
        self.machines.keys().copied().collect()
    }

    pub fn start(&mut self, id: MemberId) {
        let machine = self.machines.get_mut(&id).unwrap();
        machine.options.boot += 1;
        let member = Member::boot(
            machine.options.clone(),
            self.cluster.clone(),
            machine.backend.reopened(),
            machine.log.durable(),
            self.rescue,
        )
        .unwrap();
        machine.backend = machine.backend.reopened();
        machine.running = Some(member);
        self.flush(id);
    }

    /// The power goes: what was not durable is gone, and so is what was on its way to this machine.
    pub fn crash(&mut self, id: MemberId) {
        let machine = self.machines.get_mut(&id).unwrap();
        machine.running = None;
        machine.timers.clear();
        machine.log_pending.clear();
        machine.batches_pending.clear();
        machine.rewrite_pending = false;
        self.flying.retain(|message| message.to != id);
    }

    pub fn input(&mut self, id: MemberId, input: Input) {
        let now = self.now;
        if let Some(member) = self.machines.get_mut(&id).and_then(|machine| machine.running.as_mut()) {
            member.step(now, input);
            self.flush(id);
        }
    }

    pub fn flush(&mut self, id: MemberId) {
        let machine = self.machines.get_mut(&id).unwrap();
        let Some(member) = machine.running.as_mut() else { return };
        let outputs = member.flush();
        if self.checks {
            member.check();
        }
        for output in outputs {
            match output {
                Output::Send(message) => self.flying.push(message),
                Output::Log(write) => machine.log_pending.push_back(write),
                Output::Commit(batch) => machine.batches_pending.push_back(batch),
                Output::Defragment => {
                    assert!(!machine.rewrite_pending, "two rewritings at once");
                    machine.rewrite_pending = true;
                }
                Output::Answer { id, result } => {
                    self.answers.insert(id, result);
                }
                Output::Read { id, reading } => self.readings.push((id, reading)),
                Output::Watch { .. } | Output::Peers { .. } => {}
                Output::V2Watching { id: watch, result } => {
                    self.v2_begun.insert((id, watch), result.is_ok());
                }
                Output::V2(told) => self.v2_told.push((id, told)),
                Output::Removed => {
                    self.removed.push(id);
                    machine.timers.clear();
                }
                Output::SetTimer { timer, min, max } => {
                    let spread = (max - min).as_nanos() as u64;
                    let extra = if spread == 0 { 0 } else { self.dice.roll(spread + 1) };
                    machine.timers.insert(timer, self.now + min + Duration::from_nanos(extra));
                }
                Output::CancelTimer(timer) => {
                    machine.timers.remove(&timer);
                }
                Output::Observe(observation) => self.seen.push((id, observation)),
                Output::Fatal(why) => panic!("member {id} stopped: {why}"),
            }
        }
    }

    /// Makes the oldest write of a machine durable; `false` where there is none.
    pub fn sync(&mut self, id: MemberId) -> bool {
        if self.stuck.contains(&id) {
            return false;
        }
        let machine = self.machines.get_mut(&id).unwrap();
        if let Some(write) = machine.log_pending.pop_front() {
            if let Some(persisted) = machine.log.write(&write) {
                self.input(id, Input::Persisted(persisted));
            }
            return true;
        }
        if self.slow.contains(&id) {
            return false;
        }
        if let Some(batch) = machine.batches_pending.pop_front() {
            let batch = machine.backend.commit(&batch).unwrap();
            self.input(id, Input::Committed(batch));
            return true;
        }
        if std::mem::take(&mut machine.rewrite_pending) {
            machine.backend.rewrite().unwrap();
            self.input(id, Input::Defragmented(Ok(())));
            return true;
        }
        false
    }

    /// One event: a message, a sync, or else the next timer.
    pub fn turn(&mut self) {
        let ids = self.ids();
        let messages = self.flying.len() as u64;
        let pick = self.dice.roll(messages + ids.len() as u64);
        if pick < messages {
            let message = self.flying.swap_remove(pick as usize);
            return self.input(message.to, Input::Peer(message));
        }
        let start = (pick - messages) as usize;
        for offset in 0..ids.len() {
            if self.sync(ids[(start + offset) % ids.len()]) {
                return;
            }
        }
        if messages > 0 {
            let message = self.flying.swap_remove(self.dice.roll(messages) as usize);
            return self.input(message.to, Input::Peer(message));
        }
        let next = self
            .machines
            .iter()
            .flat_map(|(id, machine)| machine.timers.iter().map(|(timer, at)| (*at, *id, *timer)))
            .min();
        if let Some((at, id, timer)) = next {
            self.now = self.now.max(at);
            self.machines.get_mut(&id).unwrap().timers.remove(&timer);
            self.input(id, Input::Timer(timer));
        }
    }

    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..200_000 {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("never: {what}");
    }

    pub fn leader(&self) -> Option<MemberId> {
        let leads = |machine: &Machine| machine.running.as_ref().is_some_and(Member::is_leader);
        let newest = self
            .machines
            .values()
            .filter(|machine| leads(machine))
            .max_by_key(|machine| machine.running.as_ref().map(|member| member.raft().term()))?;
        Some(newest.options.raft.id)
    }

    pub fn await_leader(&mut self) -> MemberId {
        self.run_until("a leader", |this| this.leader().is_some());
        self.leader().unwrap()
    }

    pub fn ask(&mut self, id: MemberId, request: Request) -> RequestId {
        self.next_request += 1;
        let request_id = RequestId(self.next_request);
        self.input(id, Input::Request { id: request_id, request });
        request_id
    }

    pub fn call(&mut self, id: MemberId, request: Request) -> Result<Response, Error> {
        let request = self.ask(id, request);
        self.run_until("an answer", |this| this.answers.contains_key(&request));
        self.answers.remove(&request).unwrap()
    }

    /// What a member knows of itself, asked without a turn of the loop.
    pub fn status(&self, id: MemberId) -> Result<Response, Error> {
        let mut member = self.member(id).clone();
        let request = RequestId(u64::MAX);
        member.step(self.now, Input::Request { id: request, request: Request::Status });
        member
            .flush()
            .into_iter()
            .find_map(|output| match output {
                Output::Answer { id, result } if id == request => Some(result),
                _ => None,
            })
            .expect("a status is answered at once")
    }

    pub fn value(&mut self, id: MemberId, key: &'static str) -> Option<Bytes> {
        let get = RangeRequest { range: KeyRange::single(key), ..Default::default() };
        match self.call(id, Request::Range(get)).unwrap() {
            Response::Range(range) => range.kvs.first().map(|kv| kv.value.clone()),
            other => panic!("{other:?}"),
        }
    }
}

pub fn put_request(key: impl Into<Bytes>, value: impl Into<Bytes>) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

pub fn put(key: &'static str, value: impl Into<Bytes>) -> Request {
    Request::Put(PutRequest { key: key.into(), value: value.into(), ..Default::default() })
}

/// Everybody has applied the same, and holds the same.
pub fn level(world: &mut Loop) {
    world.run_until("all members level", |world| {
        let applied = |machine: &Machine| machine.running.as_ref().map(|member| member.store().applied());
        let all: Vec<_> = world.machines.values().filter_map(applied).collect();
        all.iter().all(|applied| *applied == all[0])
    });
    let digests: Vec<(MemberId, u32)> = world
        .machines
        .iter()
        .filter_map(|(id, machine)| Some((*id, machine.running.as_ref()?.store().digest().unwrap())))
        .collect();
    assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "members differ: {digests:x?}");
}
