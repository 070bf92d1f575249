//! Clients that take locks, hold them for a while, and write what they guard. Now and then one stands still, as a process
//! does that the system has no time for: its lease may run out meanwhile, and it does not know.

use super::Actor;
use crate::format::spec::WorkloadKind;
use crate::plan::{LockStep, Plan, StepKind};
use crate::record::{FencedWrite, LeaseRecord, LockRecord, Sighting};
use crate::theatre::{CallError, Client, LockHeld, LockWish, Theatre};
use futures::future::{Either, select};
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, LeaseGrantRequest, PutRequest, RangeRequest, Request, Response, TxnOp,
    TxnRequest,
};
use seatrial_types::{KeyRange, LeaseId, MemberId, Revision};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// The name of a lock.
fn lock_name(lock: u32) -> String {
    format!("lock/{lock}")
}

/// The names of all locks that a plan's clients may want.
pub(crate) fn lock_names(plan: &Plan) -> Vec<String> {
    let specs = plan.scenario.workloads.iter().filter(|spec| spec.kind == WorkloadKind::Locks);
    (0..specs.map(|spec| spec.locks.locks).max().unwrap_or(0)).map(lock_name).collect()
}

/// What a lock guards.
fn guarded(lock: u32, by_key: bool) -> String {
    format!("guard/{lock}/{}", if by_key { "key" } else { "number" })
}

/// A number as a value that sorts as the number does.
fn sortable(number: i64) -> String {
    format!("{number:012}")
}

/// Keeps a lease alive, at whichever member answers.
pub(super) struct Keeper<T: Theatre> {
    pub(super) theatre: T,
    pub(super) client: T::Client,
    pub(super) members: u64,
    pub(super) member: MemberId,
    pub(super) lease: LeaseId,
    pub(super) ttl: Duration,
    pub(super) next: Duration,
}

impl<T: Theatre> Keeper<T> {
    /// Until the lease is gone. `told` hears of every answer.
    async fn keep(&mut self, mut told: impl FnMut(Duration, Duration) + Send) {
        loop {
            self.theatre.sleep_until(self.next).await;
            let asked = self.theatre.now();
            let answer =
                self.client.call(self.member, Request::LeaseKeepAlive(self.lease), self.ttl / 3).await;
            let now = self.theatre.now();
            match answer {
                Ok(Response::LeaseKeepAlive(kept)) if kept.ttl_seconds > 0 => {
                    told(asked, now);
                    self.next = asked + self.ttl / 3;
                }
                Ok(_) => return,
                Err(_) => {
                    self.member = MemberId(self.member.0 % self.members + 1);
                    self.next = now + self.ttl / 10;
                }
            }
        }
    }

    /// Stands still for so long.
    pub(super) fn rest(&mut self, pause: Duration) {
        self.next = self.next.max(self.theatre.now() + pause);
    }
}

impl<T: Theatre> Actor<T> {
    pub(super) async fn locks(&mut self) {
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            if let StepKind::Lock(lock) = step.what {
                self.one_lock(step.member, lock).await;
            }
        }
    }

    async fn one_lock(&mut self, member: MemberId, step: LockStep) {
        let Some((place, lease, ttl, granted)) = self.lock_lease(member, step.lock).await else { return };
        let mut keeper = Keeper {
            theatre: self.theatre.clone(),
            client: self.theatre.client(self.plan.machine),
            members: self.members,
            member,
            lease,
            ttl,
            next: granted + ttl / 3,
        };
        if step.pause_waiting {
            keeper.rest(step.pause);
        }
        let held = self.wait_for_lock(&mut keeper, place, member, step, lease).await;
        let Some(held) = held else { return };
        if !step.pause_waiting && !step.pause.is_zero() {
            keeper.rest(step.pause);
        }
        let fence = self.fence(member, &held).await;
        if let Some(fence) = fence {
            self.write_fenced(member, place, &held, step, fence).await;
        }
        let rest = if step.pause_waiting { step.hold } else { step.hold + step.pause };
        let until = (self.theatre.now() + rest).min(self.until);
        let nap = self.theatre.sleep_until(until);
        beside(nap, &mut keeper, self.renewed(place)).await;
        if let Some(fence) = fence {
            self.write_fenced(member, place, &held, step, fence).await;
        }
        let now = self.theatre.now();
        self.notebook.lock(place, |lock| lock.released = Some(now));
        let timeout = self.plan.spec.timeout;
        let _ = self.client.unlock(member, held.key, timeout).await;
    }

    /// A lease of its own for each time: its record, its id, its time to live, and when it was granted.
    async fn lock_lease(
        &mut self,
        member: MemberId,
        lock: u32,
    ) -> Option<(usize, LeaseId, Duration, Duration)> {
        let (id, ttl_seconds, asked, now) = self.fresh_lease(member).await?;
        let place = self.notebook.open_lock(LockRecord {
            client: self.plan.machine,
            name: lock_name(lock),
            lease: id.0,
            ttl_seconds,
            renewals: vec![(asked, now)],
            told: None,
            key: String::new(),
            revision: 0,
            released: None,
            writes: Vec::new(),
        });
        Some((place, id, Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(1)), now))
    }

    /// Grants a lease whose end the lease's own oracle looks for: its id, its time to live in seconds, and when it was
    /// asked and granted.
    pub(super) async fn fresh_lease(
        &mut self,
        member: MemberId,
    ) -> Option<(LeaseId, i64, Duration, Duration)> {
        self.counter += 1;
        let id =
            LeaseId(i64::from(self.plan.machine) * 1_000_000 + i64::try_from(self.counter).expect("few"));
        let ttl_seconds = i64::try_from(self.plan.spec.ttl.as_secs()).expect("at most 10 minutes");
        let asked = self.theatre.now();
        let grant = Request::LeaseGrant(LeaseGrantRequest { id, ttl_seconds });
        let answer = self.client.call(member, grant, self.plan.spec.timeout).await;
        let now = self.theatre.now();
        let (ttl_seconds, is_granted) = match answer {
            Ok(Response::LeaseGrant(granted)) => (granted.ttl_seconds, true),
            Ok(_) | Err(CallError { ambiguous: true, .. }) => (ttl_seconds, false),
            Err(_) => return None,
        };
        self.notebook.open_lease(LeaseRecord {
            client: self.plan.machine,
            id: id.0,
            ttl_seconds,
            key: String::new(),
            renewals: Vec::new(),
            last_tried: now,
            gone: None,
            alive: None,
            unanswered: false,
        });
        is_granted.then_some((id, ttl_seconds, asked, now))
    }

    fn renewed(&self, place: usize) -> impl FnMut(Duration, Duration) + Send + use<T> {
        let notebook = self.notebook.clone();
        move |asked, answered| notebook.lock(place, |lock| lock.renewals.push((asked, answered)))
    }

    async fn wait_for_lock(
        &mut self,
        keeper: &mut Keeper<T>,
        place: usize,
        member: MemberId,
        step: LockStep,
        lease: LeaseId,
    ) -> Option<LockHeld> {
        let wish = LockWish { name: lock_name(step.lock), lease, by_member: step.by_member };
        let called = self.theatre.now();
        let renewed = self.renewed(place);
        // Longer than a lease lives, or nobody would ever wait for one that runs out.
        let patience = self.plan.spec.timeout.max(self.plan.spec.ttl * 2);
        let waiting = self.client.lock(member, wish, patience);
        let held = beside(waiting, keeper, renewed).await.ok()?;
        let now = self.theatre.now();
        self.notebook.lock(place, |lock| {
            lock.told = Some(Sighting { call: called, ret: now });
            lock.key.clone_from(&held.key);
            lock.revision = held.revision;
        });
        Some(held)
    }

    /// The revision that created the lock's key: it only grows from holder to holder.
    async fn fence(&mut self, member: MemberId, held: &LockHeld) -> Option<i64> {
        let range = KeyRange::single(held.key.clone());
        let read = Request::Range(RangeRequest { range, ..RangeRequest::default() });
        match self.client.call(member, read, self.plan.spec.timeout).await {
            Ok(Response::Range(found)) => found.kvs.first().map(|kv| kv.create_revision.0),
            _ => None,
        }
    }

    async fn write_fenced(
        &mut self,
        member: MemberId,
        place: usize,
        held: &LockHeld,
        step: LockStep,
        fence: i64,
    ) {
        self.counter += 1;
        let key = guarded(step.lock, step.fence_by_key);
        let value = format!("{}|{}-{}", sortable(fence), self.plan.machine, self.counter);
        let put = TxnOp::Put(PutRequest {
            key: key.clone().into(),
            value: value.clone().into(),
            ..Default::default()
        });
        let request = if step.fence_by_key {
            let compare = Compare {
                range: KeyRange::single(held.key.clone()),
                op: CompareOp::Equal,
                target: CompareTarget::Create(Revision(fence)),
            };
            TxnRequest { compare: vec![compare], success: vec![put], failure: Vec::new() }
        } else {
            // Whoever came later has left a greater number. Where nothing stands yet, nothing is greater.
            let compare = Compare {
                range: KeyRange::single(key.clone()),
                op: CompareOp::Greater,
                target: CompareTarget::Value(format!("{}|~", sortable(fence)).into()),
            };
            TxnRequest { compare: vec![compare], success: Vec::new(), failure: vec![put] }
        };
        let call = self.theatre.now();
        let answer = self.client.call(member, Request::Txn(request), self.plan.spec.timeout).await;
        let ret = self.theatre.now();
        let (accepted, refused) = match answer {
            Ok(Response::Txn(answer)) if answer.succeeded == step.fence_by_key => {
                (Some(answer.header.revision.0), false)
            }
            Ok(Response::Txn(_)) => (None, true),
            _ => (None, false),
        };
        let seen = Sighting { call, ret };
        let write = FencedWrite { key, value, fence, seen, accepted, refused };
        self.notebook.lock(place, |lock| lock.writes.push(write));
    }
}

/// Does the work while the lease is kept alive, and goes on with it where the lease is gone.
pub(super) async fn beside<T: Theatre, F: Future>(
    work: F,
    keeper: &mut Keeper<T>,
    renewed: impl FnMut(Duration, Duration) + Send,
) -> F::Output {
    match select(pin!(work), pin!(keeper.keep(renewed))).await {
        Either::Left((done, _)) => done,
        Either::Right(((), work)) => work.await,
    }
}
