//! A theatre for tests: one store in memory that all members share, on virtual time, with bugs to switch on.
#![allow(dead_code, unreachable_pub, reason = "a support module, used in parts by each test file")]

use futures::task::{ArcWake, waker_ref};
use seatrial_scenario::Plan;
use seatrial_scenario::batch::Stage;
use seatrial_scenario::fault::{ClockFault, DiskDamage, DiskFault, LinkRule, Place};
use seatrial_scenario::observation::{Observation, Role};
use seatrial_scenario::record::{Notebook, RunLog};
use seatrial_scenario::runner::play;
use seatrial_scenario::theatre::{CallError, Client, Theatre, TheatreError, Watch};
use seatrial_types::kv::{Event, EventKind, KeyRange, KeyValue};
use seatrial_types::request::*;
use seatrial_types::watch::{WatchCreate, WatchId, WatchResponse};
use seatrial_types::{Error, LeaseId, LogIndex, MemberId, Revision, Term};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What the fake cluster does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A power loss takes the last acknowledged write.
    LosesWrites,
    /// Now and then a linearizable read shows the state before the last write.
    StaleReads,
    /// Now and then a serializable read mixes two states.
    MixedReads,
    /// Watchers miss every seventh change.
    DropsEvents,
    /// Leases end at half their time.
    ShortLeases,
    /// Leases never end.
    ImmortalLeases,
    /// Member 2 hashes differently.
    WrongHash,
    /// A restarted member leads again in the old term.
    TwoLeaders,
    /// No member serves writes again after a power loss.
    NeverHeals,
    /// Two members apply different entries at one index.
    Diverges,
    /// A member panics at a power loss.
    Panics,
    /// A member does not start after a power loss.
    RefusesBoot,
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    job: Mutex<Option<Job>>,
    queue: Arc<Mutex<VecDeque<Arc<Task>>>>,
}

impl ArcWake for Task {
    fn wake_by_ref(task: &Arc<Self>) {
        task.queue.lock().unwrap().push_back(Arc::clone(task));
    }
}

struct Inner {
    now: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    timer_count: u64,
    running: BTreeSet<MemberId>,
    starts: u64,
    term: u64,
    index: u64,
    revision: i64,
    kvs: BTreeMap<Vec<u8>, KeyValue>,
    before: BTreeMap<Vec<u8>, KeyValue>,
    events: Vec<Event>,
    leases: BTreeMap<i64, (Duration, Duration)>,
    calls: u64,
    lost_power: bool,
    panicked: bool,
    bug: Bug,
}

#[derive(Clone)]
pub struct Fake {
    inner: Arc<Mutex<Inner>>,
    queue: Arc<Mutex<VecDeque<Arc<Task>>>>,
    notebook: Notebook,
}

struct Sleep {
    fake: Fake,
    at: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let fake = self.fake.clone();
        let mut inner = fake.inner.lock().unwrap();
        if inner.now >= self.at {
            return Poll::Ready(());
        }
        // One timer for each sleep: a timer for each poll would multiply, since each one polls again.
        let key = self.key.unwrap_or_else(|| {
            inner.timer_count += 1;
            (self.at, inner.timer_count)
        });
        self.key = Some(key);
        inner.timers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.fake.inner.lock().unwrap().timers.remove(&key);
        }
    }
}

impl Fake {
    pub fn new(bug: Bug, notebook: Notebook) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                now: Duration::ZERO,
                timers: BTreeMap::new(),
                timer_count: 0,
                running: BTreeSet::new(),
                starts: 0,
                term: 1,
                index: 0,
                revision: 1,
                kvs: BTreeMap::new(),
                before: BTreeMap::new(),
                events: Vec::new(),
                leases: BTreeMap::new(),
                calls: 0,
                lost_power: false,
                panicked: false,
                bug,
            })),
            queue: Arc::default(),
            notebook,
        }
    }

    fn sleep(&self, at: Duration) -> Sleep {
        Sleep { fake: self.clone(), at, key: None }
    }

    /// Runs a task and all it spawns until the task ends or panics "in a member".
    pub fn run(&self, main: impl Future<Output = ()> + Send + 'static) {
        let over = Arc::new(Mutex::new(false));
        let flag = Arc::clone(&over);
        self.enqueue(Box::pin(async move {
            main.await;
            *flag.lock().unwrap() = true;
        }));
        while !*over.lock().unwrap() && !self.inner.lock().unwrap().panicked {
            let next = self.queue.lock().unwrap().pop_front();
            if let Some(task) = next {
                let mut slot = task.job.lock().unwrap();
                if let Some(mut job) = slot.take() {
                    let waker = waker_ref(&task);
                    if job.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                        *slot = Some(job);
                    }
                }
                continue;
            }
            let woken = {
                let mut inner = self.inner.lock().unwrap();
                let ((at, _), waker) = inner.timers.pop_first().expect("a timer, or all tasks wait for ever");
                inner.now = inner.now.max(at);
                inner.expire();
                waker
            };
            woken.wake();
        }
    }

    fn enqueue(&self, job: Job) {
        let task = Task { job: Mutex::new(Some(job)), queue: Arc::clone(&self.queue) };
        self.queue.lock().unwrap().push_back(Arc::new(task));
    }
}

impl Inner {
    fn header(&self, member: MemberId) -> Header {
        Header { member_id: member, revision: Revision(self.revision), ..Header::default() }
    }

    fn expire(&mut self) {
        if self.bug == Bug::ImmortalLeases {
            return;
        }
        let gone: Vec<i64> =
            self.leases.iter().filter(|(_, (_, end))| *end <= self.now).map(|(id, _)| *id).collect();
        for id in gone {
            self.leases.remove(&id);
            let keys: Vec<Vec<u8>> =
                self.kvs.values().filter(|kv| kv.lease.0 == id).map(|kv| kv.key.to_vec()).collect();
            for key in keys {
                self.revision += 1;
                self.delete(&key);
            }
        }
    }

    fn put(&mut self, put: &PutRequest) {
        let old = self.kvs.get(put.key.as_ref());
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: old.map_or(Revision(self.revision), |kv| kv.create_revision),
            mod_revision: Revision(self.revision),
            version: old.map_or(1, |kv| kv.version + 1),
            lease: put.lease,
        };
        self.kvs.insert(put.key.to_vec(), kv.clone());
        self.events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
    }

    fn delete(&mut self, key: &[u8]) {
        self.kvs.remove(key);
        let kv = KeyValue {
            key: key.to_vec().into(),
            mod_revision: Revision(self.revision),
            ..KeyValue::default()
        };
        self.events.push(Event { kind: EventKind::Delete, kv, prev_kv: None });
    }

    fn range(&mut self, request: &RangeRequest, member: MemberId) -> RangeResponse {
        self.calls += 1;
        let stale = self.bug == Bug::StaleReads && !request.serializable && self.calls.is_multiple_of(40);
        let mixed = self.bug == Bug::MixedReads && request.serializable && self.calls.is_multiple_of(10);
        let state = if stale || mixed { &self.before } else { &self.kvs };
        let kvs: Vec<KeyValue> =
            state.values().filter(|kv| request.range.contains(&kv.key)).cloned().collect();
        let mut header = self.header(member);
        if stale {
            header.revision.0 -= 1;
        }
        RangeResponse { header, count: kvs.len() as i64, kvs, more: false }
    }

    fn answer(
        &mut self,
        member: MemberId,
        request: &Request,
        notebook: &Notebook,
    ) -> Result<Response, Error> {
        let writes = matches!(request, Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_));
        if writes && self.bug == Bug::NeverHeals && self.lost_power {
            return Err(Error::NoLeader);
        }
        if writes {
            self.before = self.kvs.clone();
        }
        let had = self.revision;
        let response = match request {
            Request::Range(range) => Response::Range(self.range(range, member)),
            Request::Put(put) => {
                if put.lease != LeaseId::NONE && !self.leases.contains_key(&put.lease.0) {
                    return Err(Error::LeaseNotFound);
                }
                self.revision += 1;
                self.put(put);
                Response::Put(PutResponse { header: self.header(member), prev_kv: None })
            }
            Request::DeleteRange(delete) => {
                let there = self.kvs.contains_key(delete.range.key.as_ref());
                if there {
                    self.revision += 1;
                    self.delete(&delete.range.key);
                }
                let deleted = i64::from(there);
                Response::DeleteRange(DeleteRangeResponse {
                    header: self.header(member),
                    deleted,
                    prev_kvs: Vec::new(),
                })
            }
            Request::Txn(txn) => {
                let compare = &txn.compare[0];
                let now = self.kvs.get(compare.range.key.as_ref()).map_or(Revision(0), |kv| kv.mod_revision);
                let succeeded = compare.target == CompareTarget::Mod(now);
                let branch = if succeeded { &txn.success } else { &txn.failure };
                if succeeded {
                    self.revision += 1;
                }
                let responses = branch
                    .iter()
                    .map(|op| match op {
                        TxnOp::Put(put) => {
                            self.put(put);
                            TxnOpResponse::Put(PutResponse::default())
                        }
                        TxnOp::Range(range) => TxnOpResponse::Range(self.range(range, member)),
                        other => panic!("the workload has no {other:?}"),
                    })
                    .collect();
                Response::Txn(TxnResponse { header: self.header(member), succeeded, responses })
            }
            Request::Compact(_) => Response::Compact(self.header(member)),
            Request::LeaseGrant(grant) => {
                let mut ttl = Duration::from_secs(grant.ttl_seconds as u64);
                if self.bug == Bug::ShortLeases {
                    ttl /= 2;
                }
                self.leases.insert(grant.id.0, (ttl, self.now + ttl));
                Response::LeaseGrant(LeaseGrantResponse {
                    header: self.header(member),
                    id: grant.id,
                    ttl_seconds: grant.ttl_seconds,
                })
            }
            Request::LeaseKeepAlive(id) => {
                let now = self.now;
                let lease = self.leases.get_mut(&id.0);
                let ttl_seconds = lease.map_or(0, |lease| {
                    lease.1 = now + lease.0;
                    lease.0.as_secs() as i64
                });
                Response::LeaseKeepAlive(LeaseKeepAliveResponse {
                    header: self.header(member),
                    id: *id,
                    ttl_seconds,
                })
            }
            Request::LeaseTimeToLive(request) => Response::LeaseTimeToLive(LeaseTimeToLiveResponse {
                header: self.header(member),
                id: request.id,
                ttl_seconds: if self.leases.contains_key(&request.id.0) { 1 } else { -1 },
                ..LeaseTimeToLiveResponse::default()
            }),
            Request::Status => Response::Status(StatusResponse {
                header: self.header(member),
                leader: MemberId(1),
                raft_term: Term(self.term),
                ..StatusResponse::default()
            }),
            Request::HashKv { revision } => Response::HashKv(HashKvResponse {
                header: self.header(member),
                hash: 7 + u32::from(self.bug == Bug::WrongHash && member == MemberId(2)),
                compact_revision: Revision(0),
                hash_revision: *revision,
            }),
            other => panic!("the runner has no {other:?}"),
        };
        if self.revision > had {
            self.index += 1;
            for member in [1, 2, 3] {
                let checksum = 5 + u32::from(self.bug == Bug::Diverges && self.index == 9 && member == 3);
                notebook.observe(
                    self.now,
                    MemberId(member),
                    Observation::Applied {
                        index: LogIndex(self.index),
                        term: Term(1),
                        checksum,
                        revision: Revision(self.revision),
                    },
                );
            }
        }
        Ok(response)
    }
}

pub struct FakeClient(Fake);

impl Client for FakeClient {
    type Watch = FakeWatch;

    async fn call(&mut self, member: MemberId, request: Request, _: Duration) -> Result<Response, CallError> {
        let now = self.0.now();
        self.0.sleep(now + Duration::from_millis(2)).await;
        let answer = {
            let mut inner = self.0.inner.lock().unwrap();
            if inner.running.contains(&member) {
                inner.answer(member, &request, &self.0.notebook)
            } else {
                Err(Error::Stopped)
            }
        };
        self.0.sleep(now + Duration::from_millis(5)).await;
        answer.map_err(|error| CallError { error, ambiguous: false })
    }

    async fn watch(
        &mut self,
        member: MemberId,
        create: WatchCreate,
        _: Duration,
    ) -> Result<FakeWatch, CallError> {
        let now = self.0.now();
        self.0.sleep(now + Duration::from_millis(5)).await;
        let next = if create.start_revision.0 == 0 {
            self.0.inner.lock().unwrap().revision + 1
        } else {
            create.start_revision.0
        };
        Ok(FakeWatch { fake: self.0.clone(), member, range: create.range, next, created: false })
    }
}

pub struct FakeWatch {
    fake: Fake,
    member: MemberId,
    range: KeyRange,
    next: i64,
    created: bool,
}

impl Watch for FakeWatch {
    async fn next(&mut self) -> Option<WatchResponse> {
        loop {
            {
                let inner = self.fake.inner.lock().unwrap();
                if !inner.running.contains(&self.member) {
                    return None;
                }
                let mut said = WatchResponse {
                    header: inner.header(self.member),
                    watch_id: WatchId(0),
                    created: false,
                    canceled: false,
                    cancel_reason: String::new(),
                    compact_revision: Revision(0),
                    fragment: false,
                    events: Vec::new(),
                };
                if !self.created {
                    self.created = true;
                    said.created = true;
                    return Some(said);
                }
                let is_ledger = self.range.key.as_ref() == b"\0";
                said.events = inner
                    .events
                    .iter()
                    .filter(|event| {
                        event.kv.mod_revision.0 >= self.next && self.range.contains(&event.kv.key)
                    })
                    .filter(|event| {
                        is_ledger || inner.bug != Bug::DropsEvents || event.kv.mod_revision.0 % 7 != 0
                    })
                    .cloned()
                    .collect();
                if let Some(last) = said.events.last() {
                    self.next = last.kv.mod_revision.0 + 1;
                    return Some(said);
                }
            }
            let now = self.fake.now();
            self.fake.sleep(now + Duration::from_millis(50)).await;
        }
    }

    // It tells everything at once, so there is no progress to speak of.
    fn ask_progress(&mut self) {}
}

impl Theatre for Fake {
    type Client = FakeClient;

    fn now(&self) -> Duration {
        self.inner.lock().unwrap().now
    }

    fn sleep_until(&self, at: Duration) -> impl Future<Output = ()> + Send {
        self.sleep(at)
    }

    fn spawn<F>(&self, _: u32, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.enqueue(Box::pin(task));
    }

    fn client(&self, _: u32) -> FakeClient {
        FakeClient(self.clone())
    }

    async fn start(&self, member: MemberId) -> Result<(), TheatreError> {
        let mut inner = self.inner.lock().unwrap();
        let (now, applied) = (inner.now, LogIndex(inner.index));
        if inner.bug == Bug::RefusesBoot && inner.lost_power {
            let error = "a torn record".to_owned();
            self.notebook.observe(now, member, Observation::BootFailed { error });
            return Ok(());
        }
        inner.running.insert(member);
        inner.starts += 1;
        if inner.bug != Bug::TwoLeaders && inner.starts > 3 {
            inner.term += 1;
        }
        self.notebook.observe(now, member, Observation::Started { term: Term(inner.term), applied });
        if member == MemberId(1) {
            let role = Observation::Role { term: Term(inner.term), role: Role::Leader, leader: member };
            self.notebook.observe(now, member, role);
        }
        Ok(())
    }

    async fn kill(&self, member: MemberId) -> Result<(), TheatreError> {
        self.inner.lock().unwrap().running.remove(&member);
        Ok(())
    }

    async fn power_loss(&self, member: MemberId) -> Result<(), TheatreError> {
        let mut inner = self.inner.lock().unwrap();
        inner.running.remove(&member);
        if inner.bug == Bug::Panics {
            inner.panicked = true;
            self.notebook.panicked(Some(member), "applied 7 beyond commit 6");
        }
        if inner.bug == Bug::LosesWrites && !inner.lost_power && inner.events.len() > 3 {
            let is_write = |event: &Event| event.kind == EventKind::Put && event.kv.key.starts_with(b"k");
            let last = inner.events.iter().rposition(is_write).unwrap();
            inner.revision = inner.events[last].kv.mod_revision.0 - 1;
            inner.events.truncate(last);
            let mut kvs: BTreeMap<Vec<u8>, KeyValue> = BTreeMap::new();
            for event in &inner.events {
                match event.kind {
                    EventKind::Put => kvs.insert(event.kv.key.to_vec(), event.kv.clone()),
                    EventKind::Delete => kvs.remove(event.kv.key.as_ref()),
                };
            }
            inner.kvs = kvs;
        }
        inner.lost_power = true;
        Ok(())
    }

    async fn pause(&self, _: MemberId) -> Result<(), TheatreError> {
        Ok(())
    }

    async fn resume(&self, _: MemberId) -> Result<(), TheatreError> {
        Ok(())
    }

    fn link(&self, _: Place, _: Place, _: LinkRule) -> Result<(), TheatreError> {
        Ok(())
    }

    fn disk(&self, _: MemberId, _: DiskFault) -> Result<(), TheatreError> {
        Ok(())
    }

    fn damage(&self, _: MemberId, _: DiskDamage) -> Result<Option<String>, TheatreError> {
        Ok(None)
    }

    fn clock(&self, _: MemberId, _: ClockFault) -> Result<(), TheatreError> {
        Ok(())
    }

    fn is_running(&self, member: MemberId) -> bool {
        self.inner.lock().unwrap().running.contains(&member)
    }
}

/// Plays plans in a fake theatre.
pub struct FakeStage(pub Bug);

impl Stage for FakeStage {
    fn world(&self) -> &str {
        "fake"
    }

    fn run(&self, plan: &Plan) -> RunLog {
        let notebook = Notebook::new(plan.clone());
        let fake = Fake::new(self.0, notebook.clone());
        let (plan, stage, book) = (plan.clone(), fake.clone(), notebook.clone());
        fake.run(async move { play(&stage, &plan, &book).await });
        let digest = {
            let inner = fake.inner.lock().unwrap();
            inner.events.len() as u64 * 1000 + inner.timer_count
        };
        notebook.finish(fake.now(), digest, Duration::ZERO)
    }
}
