//! What clients do during the storm: each step of a client's plan asks one member, once, and writes down
//! what came back and when.

mod elections;
mod locks;
mod membership;
mod reboot_host;
mod reboots;
mod space;
mod units;
mod users;
mod v2;

pub(crate) use elections::election_names;
pub(crate) use locks::lock_names;
pub(crate) use space::free_space;
pub(crate) use units::{POISONS, look_at_units};
pub(crate) use users::{ROOT, ROOT_PASSWORD, view_of};
pub(crate) use v2::{JOIN_SIZE, REGISTRY, v2_view_of};

use crate::format::spec::{OpKind, Without, WorkloadKind};
use crate::plan::{ClientPlan, Plan, Step, StepKind, waits_for_v2};
use crate::record::{LeaseRecord, MemberHash, Notebook, Sighting, WatchRecord};
use crate::theatre::{CallError, Client, Theatre, Watch};
use futures::future::{Either, select};
use seatrial_history::{Action, Answer, Blob, Get, Input, Outcome, Put, Txn};
use seatrial_types::kv::KeyRange;
use seatrial_types::request::{
    CompactRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest, Request, Response,
};
use seatrial_types::watch::WatchCreate;
use seatrial_types::{EventKind, LeaseId, MemberId, Revision};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Keys of the workload `kv`, which watchers watch too.
pub(crate) const KV_PREFIX: &str = "k";

/// Keys that are there to be damaged.
pub(crate) const BAIT: &str = "bait/";

/// Every client of the history beyond this number stands for the cluster's own deletes of leased keys.
pub(crate) const EXPIRY_CLIENTS: u32 = 1_000_000;

/// How the clients know when to leave, and the runner when they have left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curtain(Arc<CurtainState>);

#[derive(Debug, Default)]
struct CurtainState {
    /// 0: the play goes on; 1: watchers leave too.
    fallen: AtomicUsize,
    /// Those who leave when the storm is over.
    actors: AtomicUsize,
    /// Those who stay until the curtain falls.
    watchers: AtomicUsize,
    /// Machines, which leave once they have rebooted; all is healed only then.
    machines: AtomicUsize,
}

impl Curtain {
    pub(crate) fn fall(&self) {
        self.0.fallen.store(1, Ordering::SeqCst);
    }

    fn has_fallen(&self) -> bool {
        self.0.fallen.load(Ordering::SeqCst) == 1
    }

    fn count(&self, plan: &ClientPlan) -> &AtomicUsize {
        match plan.spec.kind {
            WorkloadKind::Watch => &self.0.watchers,
            WorkloadKind::V2 if waits_for_v2(plan.number) => &self.0.watchers,
            WorkloadKind::Reboots => &self.0.machines,
            _ => &self.0.actors,
        }
    }

    pub(crate) fn enter(&self, plan: &ClientPlan) {
        self.count(plan).fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self, plan: &ClientPlan) {
        self.count(plan).fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn actors(&self) -> usize {
        self.0.actors.load(Ordering::SeqCst)
    }

    pub(crate) fn machines(&self) -> usize {
        self.0.machines.load(Ordering::SeqCst)
    }

    pub(crate) fn all(&self) -> usize {
        self.actors() + self.machines() + self.0.watchers.load(Ordering::SeqCst)
    }
}

/// One client's whole evening.
pub(crate) async fn perform<T: Theatre>(
    theatre: T,
    run: &Plan,
    plan: ClientPlan,
    notebook: Notebook,
    curtain: Curtain,
) {
    let mut client = theatre.client(plan.machine);
    if run.has_users() && plan.spec.kind != WorkloadKind::Users {
        client.identify(ROOT, ROOT_PASSWORD);
    }
    let (members, until) = (run.scenario.machines(), run.scenario.time);
    let mut actor =
        Actor { theatre, client, plan, members, until, notebook, counter: 0, seen: BTreeMap::new() };
    match actor.plan.spec.kind {
        WorkloadKind::Kv => actor.kv().await,
        WorkloadKind::Watch => actor.watch(&curtain).await,
        WorkloadKind::Lease => actor.lease().await,
        WorkloadKind::Hash => actor.hash().await,
        WorkloadKind::Locks => actor.locks().await,
        WorkloadKind::Elections => actor.elections().await,
        WorkloadKind::Space => actor.space().await,
        WorkloadKind::Membership => actor.membership(run).await,
        WorkloadKind::Users if actor.plan.number == 0 => actor.administer().await,
        WorkloadKind::Users => actor.try_rights().await,
        WorkloadKind::V2 if waits_for_v2(actor.plan.number) => actor.wait_for_v2(&curtain).await,
        WorkloadKind::V2 => actor.v2().await,
        WorkloadKind::Reboots => actor.reboots(run).await,
        WorkloadKind::Units if actor.plan.spec.is_machine(actor.plan.number) => actor.host().await,
        WorkloadKind::Units => actor.operate().await,
    }
    curtain.leave(&actor.plan);
}

/// Asks one member one thing and writes it down. `None` where the history has no word for the answer.
pub(crate) async fn ask<T: Theatre>(
    theatre: &T,
    client: &mut T::Client,
    number: u32,
    member: MemberId,
    input: Input,
    timeout: Duration,
    notebook: &Notebook,
) -> Option<(i64, Answer)> {
    let request = input.to_request();
    let place = notebook.begin(number, member, theatre.now(), input);
    let answer = client.call(member, request, timeout).await;
    let outcome = match answer {
        Ok(response) => Outcome::from_response(&response).unwrap_or_else(|| {
            notebook.harness_error(format!("an answer of another kind than asked for: {response:?}"));
            Outcome::Unknown { error: "an answer of another kind".to_owned() }
        }),
        Err(CallError { error, ambiguous: true }) => Outcome::Unknown { error: error.to_string() },
        Err(CallError { error, ambiguous: false }) => Outcome::Failed { error: error.to_string() },
    };
    let answered = outcome.answered().map(|(revision, answer)| (revision, answer.clone()));
    notebook.end(place, theatre.now(), outcome);
    answered
}

struct Actor<T: Theatre> {
    theatre: T,
    client: T::Client,
    plan: ClientPlan,
    members: u64,
    until: Duration,
    notebook: Notebook,
    /// Makes every value this client writes unique.
    counter: u64,
    /// The modification revision of each key as this client saw it last; 0 is "missing".
    seen: BTreeMap<String, i64>,
}

impl<T: Theatre> Actor<T> {
    /// Waits for the next step; `None` once the storm is over.
    async fn next_step(&self, at: usize) -> Option<Step> {
        let step = self.plan.steps.get(at).copied()?;
        self.theatre.sleep_until(step.at).await;
        (self.theatre.now() < self.until).then_some(step)
    }

    fn value(&mut self) -> String {
        self.counter += 1;
        let mut value = format!("c{}-{}", self.plan.machine, self.counter);
        let wanted = usize::try_from(self.plan.spec.value_bytes).expect("at most 1 MiB");
        while value.len() < wanted {
            value.push('.');
        }
        value
    }

    /// Calls a member that need not be the one asked last; another one is asked next time where it fails.
    async fn call_round(
        &mut self,
        member: &mut MemberId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let answer = self.client.call(*member, request, timeout).await;
        if answer.is_err() {
            *member = MemberId(member.0 % self.members + 1);
        }
        answer
    }

    async fn ask(&mut self, member: MemberId, input: Input) -> Option<(i64, Answer)> {
        let timeout = self.plan.spec.timeout;
        let number = self.plan.machine;
        let Self { theatre, client, notebook, .. } = self;
        ask(theatre, client, number, member, input, timeout, notebook).await
    }

    async fn kv(&mut self) {
        let mut at = 0;
        let mut newest = 0_i64;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::Kv { op, key, serializable } = step.what else { continue };
            let number = key;
            let key = format!("{KV_PREFIX}{number:02}");
            if op == OpKind::Compact {
                // Behind what this client saw, usually so far that watchers lose their place only now and then.
                let revision = Revision(newest - i64::from(self.plan.spec.compact_behind));
                if revision.0 > 1 {
                    let request = Request::Compact(CompactRequest { revision, physical: false });
                    let _ = self.client.call(step.member, request, self.plan.spec.timeout).await;
                }
                continue;
            }
            let input = match op {
                OpKind::Put => Input::put(key.clone(), self.value()),
                OpKind::Get => Input::Get(Get { key: key.clone().into(), serializable, ..Get::default() }),
                OpKind::Range => {
                    let prefix = Blob::from(KV_PREFIX);
                    let end = Some(prefix.prefix_end());
                    Input::Get(Get { key: prefix, end, serializable, ..Get::default() })
                }
                OpKind::Delete => Input::delete(key.clone()),
                OpKind::Cas => {
                    let expected = self.seen.get(&key).copied().unwrap_or(0);
                    let value = self.value();
                    Input::cas_revision(key.clone(), expected, value)
                }
                OpKind::Pair => {
                    let other = format!("{KV_PREFIX}{:02}", (number + 1) % self.plan.spec.keys);
                    let mut then =
                        vec![Action::Put(Put { key: key.clone().into(), value: self.value().into() })];
                    if other != key {
                        then.push(Action::Put(Put { key: other.into(), value: self.value().into() }));
                    }
                    Input::Txn(Txn { compare: Vec::new(), then, otherwise: Vec::new() })
                }
                OpKind::Past => {
                    // Just where compactions happen: some of these are refused, and then on every member.
                    let revision = (newest - i64::from(self.plan.spec.compact_behind)).max(0);
                    let before = Get { key: key.clone().into(), revision, ..Get::default() };
                    let put = Put { key: key.clone().into(), value: self.value().into() };
                    let then = vec![Action::Get(before), Action::Put(put)];
                    Input::Txn(Txn { compare: Vec::new(), then, otherwise: Vec::new() })
                }
                OpKind::Compact => unreachable!("done above"),
            };
            let Some((revision, answer)) = self.ask(step.member, input).await else { continue };
            newest = newest.max(revision);
            self.learn(&key, revision, &answer);
        }
    }

    fn learn(&mut self, key: &str, revision: i64, answer: &Answer) {
        for kv in answer.kvs() {
            let name = String::from_utf8_lossy(kv.key.as_slice()).into_owned();
            self.seen.insert(name, kv.mod_revision);
        }
        match answer {
            Answer::Put | Answer::Txn { succeeded: true, .. } => {
                self.seen.insert(key.to_owned(), revision);
            }
            Answer::Delete { .. } => {
                self.seen.insert(key.to_owned(), 0);
            }
            Answer::Get(found) if found.kvs.is_empty() => {
                self.seen.insert(key.to_owned(), 0);
            }
            Answer::Txn { succeeded: false, results } => {
                if results.iter().all(|result| result.kvs().next().is_none()) {
                    self.seen.insert(key.to_owned(), 0);
                }
            }
            Answer::Get(_) => {}
        }
    }

    /// Watches until the curtain falls: the streams must deliver what the storm held back.
    async fn watch(&mut self, curtain: &Curtain) {
        const LOOK: Duration = Duration::from_millis(250);
        // Of so many answers and pauses, after one progress is asked for.
        const ASK: u32 = 3;
        let spec = self.plan.spec.watch.clone();
        let mut since_asked = 0;
        let mut steps = self.plan.steps.clone().into_iter().peekable();
        let Some(first) = steps.next() else { return };
        self.theatre.sleep_until(first.at).await;
        let mut member = first.member;
        // Half of the watchers want all there ever was, half what comes from now on.
        let mut next_revision = i64::from(self.plan.machine % 2);
        let mut resumes = false;
        while !curtain.has_fallen() {
            let create = WatchCreate {
                range: KeyRange::prefix(KV_PREFIX),
                start_revision: Revision(next_revision),
                progress_notify: spec.progress,
                prev_kv: spec.prev_kv,
                filters: match spec.without {
                    Without::Nothing => Vec::new(),
                    Without::Puts => vec![EventKind::Put],
                    Without::Deletes => vec![EventKind::Delete],
                },
                ..WatchCreate::default()
            };
            let opened = self.theatre.now();
            let Ok(mut stream) = self.client.watch(member, create, self.plan.spec.timeout).await else {
                self.theatre.sleep_until(self.theatre.now() + LOOK).await;
                member = MemberId(member.0 % self.members + 1);
                continue;
            };
            let place = self.notebook.open_watch(WatchRecord {
                client: self.plan.machine,
                member,
                start_revision: next_revision,
                resumes,
                opened,
                created_revision: None,
                created_at: None,
                cancelled: None,
                prev_kv: spec.prev_kv,
                without: spec.without,
                batches: Vec::new(),
            });
            resumes = true;
            loop {
                if steps.peek().is_some_and(|step| step.at <= self.theatre.now()) {
                    member = steps.next().expect("just seen").member;
                    break;
                }
                if curtain.has_fallen() {
                    return;
                }
                since_asked += 1;
                if spec.progress && since_asked >= ASK {
                    since_asked = 0;
                    stream.ask_progress();
                }
                let nap = self.theatre.sleep_until(self.theatre.now() + LOOK);
                let said = match select(pin!(stream.next()), pin!(nap)).await {
                    Either::Left((Some(said), _)) => said,
                    Either::Left((None, _)) => {
                        self.theatre.sleep_until(self.theatre.now() + LOOK).await;
                        member = MemberId(member.0 % self.members + 1);
                        break;
                    }
                    Either::Right(_) => continue,
                };
                if said.created && next_revision == 0 {
                    next_revision = said.header.revision.0 + 1;
                }
                if let Some(last) = said.events.last()
                    && !said.fragment
                {
                    next_revision = last.kv.mod_revision.0 + 1;
                }
                let over = said.canceled.then_some(said.compact_revision.0);
                let now = self.theatre.now();
                self.notebook.watch_said(place, now, said);
                if !spec.read_every.is_zero() && now < self.until {
                    self.theatre.sleep_until(now + spec.read_every).await;
                }
                if let Some(compacted) = over {
                    next_revision = next_revision.max(compacted + 1);
                    self.theatre.sleep_until(self.theatre.now() + LOOK).await;
                    break;
                }
            }
        }
    }

    /// Asks one member for the hash at its newest revision, and the others for theirs at the same.
    async fn hash(&mut self) {
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let Some(revision) = self.hash_of(step.member, Revision(0)).await else { continue };
            for other in (1..=self.members).map(MemberId).filter(|other| *other != step.member) {
                self.hash_of(other, revision).await;
            }
        }
    }

    async fn hash_of(&mut self, member: MemberId, revision: Revision) -> Option<Revision> {
        let timeout = self.plan.spec.timeout;
        match self.client.call(member, Request::HashKv { revision }, timeout).await {
            Ok(Response::HashKv(answer)) => {
                // Before version 3.6 etcd did not say which revision that is: the one asked for, or its newest.
                let told = [answer.hash_revision, revision, answer.header.revision];
                let hashed = told.into_iter().find(|revision| revision.0 > 0)?;
                let hash = MemberHash {
                    member,
                    revision: hashed.0,
                    compacted: answer.compact_revision.0,
                    hash: answer.hash,
                };
                self.notebook.hashed(self.theatre.now(), hash);
                Some(hashed)
            }
            // It may be down, lag behind that revision, or have compacted it.
            _ => None,
        }
    }

    async fn lease(&mut self) {
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            if let StepKind::Lease { keepalives } = step.what {
                self.one_lease(step.member, keepalives).await;
            }
        }
    }

    async fn one_lease(&mut self, member: MemberId, keepalives: u32) {
        self.counter += 1;
        let timeout = self.plan.spec.timeout;
        let id =
            LeaseId(i64::from(self.plan.machine) * 1_000_000 + i64::try_from(self.counter).expect("few"));
        let ttl = i64::try_from(self.plan.spec.ttl.as_secs()).expect("at most 10 minutes");
        let called = self.theatre.now();
        let grant = Request::LeaseGrant(LeaseGrantRequest { id, ttl_seconds: ttl });
        let granted = self.client.call(member, grant, timeout).await;
        let now = self.theatre.now();
        let (ttl_seconds, renewals) = match granted {
            Ok(Response::LeaseGrant(grant)) => (grant.ttl_seconds, vec![(called, now)]),
            Ok(_) | Err(CallError { ambiguous: true, .. }) => (ttl, Vec::new()),
            Err(_) => return,
        };
        let is_granted = !renewals.is_empty();
        let place = self.notebook.open_lease(LeaseRecord {
            client: self.plan.machine,
            id: id.0,
            ttl_seconds,
            key: String::new(),
            renewals,
            last_tried: now,
            gone: None,
            alive: None,
            unanswered: false,
        });
        if !is_granted {
            return;
        }
        if !self.attach(place, id, member).await {
            return;
        }
        let third = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(1)) / 3;
        for _ in 0..keepalives {
            self.theatre.sleep_until(self.theatre.now() + third).await;
            if self.theatre.now() >= self.until {
                return;
            }
            let called = self.theatre.now();
            let answer = self.client.call(member, Request::LeaseKeepAlive(id), timeout).await;
            let now = self.theatre.now();
            let renewed = matches!(&answer, Ok(Response::LeaseKeepAlive(kept)) if kept.ttl_seconds > 0);
            let gone = matches!(&answer, Ok(Response::LeaseKeepAlive(kept)) if kept.ttl_seconds <= 0);
            self.notebook.lease(place, |lease| {
                lease.unanswered |= answer.is_err();
                if renewed {
                    lease.renewals.push((called, now));
                }
                lease.last_tried = lease.last_tried.max(now);
                if gone && lease.gone.is_none() {
                    lease.gone = Some(Sighting { call: called, ret: now });
                }
            });
            if gone {
                return;
            }
        }
        self.look_until_gone(place, id, member).await;
    }

    /// Puts a key on the lease. The put is part of the history, and so is, as a delete that nobody answers,
    /// the end which the lease will put to it.
    async fn attach(&mut self, place: usize, id: LeaseId, member: MemberId) -> bool {
        let key = format!("lease/{}", id.0);
        let value = self.value();
        let number = self.plan.machine;
        let called = self.theatre.now();
        let put = self.notebook.begin(number, member, called, Input::put(key.clone(), value.clone()));
        let ending = EXPIRY_CLIENTS + u32::try_from(id.0 % 1_000_000_000).expect("below 4 billion");
        self.notebook.begin(ending, member, called, Input::delete(key.clone()));
        let request = Request::Put(PutRequest {
            key: key.clone().into(),
            value: value.into(),
            lease: id,
            ..PutRequest::default()
        });
        let answer = self.client.call(member, request, self.plan.spec.timeout).await;
        let now = self.theatre.now();
        let outcome = match &answer {
            Ok(response) => Outcome::from_response(response)
                .unwrap_or_else(|| Outcome::Unknown { error: "an answer of another kind".to_owned() }),
            Err(CallError { error, ambiguous: true }) => Outcome::Unknown { error: error.to_string() },
            Err(CallError { error, .. }) => Outcome::Failed { error: error.to_string() },
        };
        self.notebook.end(put, now, outcome);
        if answer.is_ok() {
            self.notebook.lease(place, |lease| {
                lease.key = key;
                lease.alive = Some(Sighting { call: called, ret: now });
            });
        }
        answer.is_ok()
    }

    async fn look_until_gone(&mut self, place: usize, id: LeaseId, member: MemberId) {
        let mut member = member;
        let patience = self.theatre.now() + self.plan.spec.ttl * 4;
        while self.theatre.now() < self.until.min(patience) {
            self.theatre.sleep_until(self.theatre.now() + Duration::from_millis(500)).await;
            let called = self.theatre.now();
            let key = format!("lease/{}", id.0);
            let answer = self.ask(member, Input::get(key)).await;
            let now = self.theatre.now();
            let sighting = Sighting { call: called, ret: now };
            match answer {
                Some((_, Answer::Get(found))) if found.kvs.is_empty() => {
                    self.notebook.lease(place, |lease| lease.gone = lease.gone.or(Some(sighting)));
                    return;
                }
                Some(_) => self.notebook.lease(place, |lease| lease.alive = Some(sighting)),
                None => member = MemberId(member.0 % self.members + 1),
            }
        }
    }
}

/// What the runner asks about leases at the end.
pub(crate) fn time_to_live(id: i64) -> Request {
    Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id: LeaseId(id), keys: false })
}
