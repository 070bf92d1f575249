//! Clients that stand for election, lead for a while, proclaim what they do, and resign; and clients that look who leads.
//!
//! Half the time a client stands a second time under the lease it has, and then gives up its first leadership once more, as
//! a program does that does not know what came of its first try: that must not cost it the second one.

use super::Actor;
use super::locks::{Keeper, beside};
use crate::format::spec::WorkloadKind;
use crate::plan::{Plan, StandStep, StepKind};
use crate::record::{CandidateRecord, LeaderRecord, Proclamation, Sighting};
use crate::theatre::{Client, LeaderKey, Theatre};
use futures::StreamExt;
use futures::future::{Either, select};
use seatrial_types::request::{RangeRequest, Request, Response};
use seatrial_types::{KeyRange, MemberId};
use std::pin::pin;
use std::time::Duration;

/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(250);

/// The name of an election.
fn election_name(election: u32) -> String {
    format!("elect/{election}")
}

/// The names of all elections that a plan's clients may stand for.
pub(crate) fn election_names(plan: &Plan) -> Vec<String> {
    let specs = plan.scenario.workloads.iter().filter(|spec| spec.kind == WorkloadKind::Elections);
    (0..specs.map(|spec| spec.locks.locks).max().unwrap_or(0)).map(election_name).collect()
}

impl<T: Theatre> Actor<T> {
    pub(super) async fn elections(&mut self) {
        let (mut at, mut streams) = (0, 0);
        while let Some(step) = self.next_step(at).await {
            at += 1;
            match step.what {
                StepKind::Stand(stand) => self.stand(step.member, stand).await,
                StepKind::Observe { election, hold } => {
                    streams += 1;
                    self.observe(step.member, election, hold, streams).await;
                }
                _ => {}
            }
        }
    }

    async fn stand(&mut self, member: MemberId, step: StandStep) {
        let Some((lease, ttl_seconds, asked, granted)) = self.fresh_lease(member).await else { return };
        let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(1));
        let record = CandidateRecord {
            client: self.plan.machine,
            name: election_name(step.election),
            lease: lease.0,
            ttl_seconds,
            renewals: vec![(asked, granted)],
            told: None,
            key: String::new(),
            revision: 0,
            released: None,
            proclaimed: Vec::new(),
            looked: None,
        };
        let mut keeper = Keeper {
            theatre: self.theatre.clone(),
            client: self.theatre.client(self.plan.machine),
            members: self.members,
            member,
            lease,
            ttl,
            next: granted + ttl / 3,
        };
        let first = self.notebook.open_candidate(record);
        let Some(leads) = self.campaign(&mut keeper, first, member).await else { return };
        self.lead(&mut keeper, first, member, &leads, step.hold, step.pause).await;
        let resigned = self.resign(first, member, &leads).await;
        if !step.again || !resigned || self.theatre.now() >= self.until {
            return;
        }
        let record = self.notebook.candidate(first, |first| CandidateRecord {
            told: None,
            key: String::new(),
            revision: 0,
            released: None,
            proclaimed: Vec::new(),
            looked: None,
            ..first.clone()
        });
        let second = self.notebook.open_candidate(record);
        let Some(again) = self.campaign(&mut keeper, second, member).await else { return };
        if again.revision != leads.revision {
            let _ = self.client.resign(member, leads, self.plan.spec.timeout).await;
            self.look(second, member, &again).await;
        }
        self.lead(&mut keeper, second, member, &again, step.hold, Duration::ZERO).await;
        self.resign(second, member, &again).await;
    }

    fn renewed_candidate(&self, place: usize) -> impl FnMut(Duration, Duration) + Send + use<T> {
        let notebook = self.notebook.clone();
        move |asked, answered| {
            notebook.candidate(place, |candidate| candidate.renewals.push((asked, answered)));
        }
    }

    async fn campaign(
        &mut self,
        keeper: &mut Keeper<T>,
        place: usize,
        member: MemberId,
    ) -> Option<LeaderKey> {
        let name = self.notebook.candidate(place, |candidate| candidate.name.clone());
        let value = self.value();
        let called = self.theatre.now();
        let renewed = self.renewed_candidate(place);
        // Longer than a lease lives, or nobody would ever wait for one that runs out.
        let patience = self.plan.spec.timeout.max(self.plan.spec.ttl * 2);
        let waiting = self.client.campaign(member, name, keeper.lease, value, patience);
        let leads = beside(waiting, keeper, renewed).await.ok()?;
        let now = self.theatre.now();
        self.notebook.candidate(place, |candidate| {
            candidate.told = Some(Sighting { call: called, ret: now });
            candidate.key.clone_from(&leads.key);
            candidate.revision = leads.revision;
        });
        Some(leads)
    }

    /// Proclaims, leads for a while, and proclaims again.
    async fn lead(
        &mut self,
        keeper: &mut Keeper<T>,
        place: usize,
        member: MemberId,
        leads: &LeaderKey,
        hold: Duration,
        pause: Duration,
    ) {
        if !pause.is_zero() {
            keeper.rest(pause);
        }
        self.proclaim(place, member, leads).await;
        let until = (self.theatre.now() + hold + pause).min(self.until);
        let renewed = self.renewed_candidate(place);
        let nap = self.theatre.sleep_until(until);
        beside(nap, keeper, renewed).await;
        self.proclaim(place, member, leads).await;
    }

    async fn proclaim(&mut self, place: usize, member: MemberId, leads: &LeaderKey) {
        let value = self.value();
        let call = self.theatre.now();
        let answer = self.client.proclaim(member, leads.clone(), value.clone(), self.plan.spec.timeout).await;
        let seen = Sighting { call, ret: self.theatre.now() };
        let proclaimed = Proclamation { value, seen, accepted: answer.ok() };
        self.notebook.candidate(place, |candidate| candidate.proclaimed.push(proclaimed));
    }

    /// Whether it was answered.
    async fn resign(&mut self, place: usize, member: MemberId, leads: &LeaderKey) -> bool {
        let now = self.theatre.now();
        self.notebook.candidate(place, |candidate| candidate.released = Some(now));
        self.client.resign(member, leads.clone(), self.plan.spec.timeout).await.is_ok()
    }

    /// Whether the key is there.
    async fn look(&mut self, place: usize, member: MemberId, leads: &LeaderKey) {
        let range = KeyRange::single(leads.key.clone());
        let read = Request::Range(RangeRequest { range, ..RangeRequest::default() });
        let call = self.theatre.now();
        if let Ok(Response::Range(found)) = self.client.call(member, read, self.plan.spec.timeout).await {
            let seen = Sighting { call, ret: self.theatre.now() };
            let is_there = found.kvs.first().is_some_and(|kv| kv.create_revision.0 == leads.revision);
            self.notebook.candidate(place, |candidate| candidate.looked = Some((seen, is_there)));
        }
    }

    /// Asks who leads, and then hears of it for a while.
    async fn observe(&mut self, member: MemberId, election: u32, hold: Duration, stream: u32) {
        let (name, timeout) = (election_name(election), self.plan.spec.timeout);
        let (client, notebook, theatre) = (self.plan.machine, self.notebook.clone(), self.theatre.clone());
        let told = |stream, (revision, kv)| {
            let (name, at) = (election_name(election), theatre.now());
            notebook.told_leader(LeaderRecord { client, member, name, stream, at, revision, kv });
        };
        if let Ok(leader) = self.client.leader(member, name.clone(), timeout).await {
            told(None, leader);
        }
        let Ok(mut leaders) = self.client.observe(member, name, timeout).await else { return };
        let until = (self.theatre.now() + hold).min(self.until);
        while self.theatre.now() < until {
            let nap = self.theatre.sleep_until((self.theatre.now() + LOOK).min(until));
            match select(pin!(leaders.next()), pin!(nap)).await {
                Either::Left((Some(leader), _)) => told(Some(stream), leader),
                Either::Left((None, _)) => return,
                Either::Right(_) => {}
            }
        }
    }
}
