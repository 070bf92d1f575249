//! The one client that changes the cluster: members come on spare machines, go, are promoted, and come back with an empty
//! disk. What it does next depends on who is there; the plan says what is tried and who is drawn.

use super::Actor;
use crate::format::spec::ChangeKind;
use crate::nemesis;
use crate::plan::{Plan, StepKind};
use crate::record::{ChangeRecord, Sighting};
use crate::theatre::Theatre;
use seatrial_types::request::{Member, MemberAddRequest, Request, Response};
use seatrial_types::{Error, MemberId};
use std::time::Duration;

/// How long one thing is tried before the next step.
const PATIENCE: Duration = Duration::from_secs(8);

/// Between two tries.
const LOOK: Duration = Duration::from_millis(250);

impl<T: Theatre> Actor<T> {
    pub(super) async fn membership(&mut self, run: &Plan) {
        let machines: Vec<MemberId> = run.machines().collect();
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            let StepKind::Change { kind, pick } = step.what else { continue };
            let pick = usize::try_from(pick).expect("small");
            self.settle(step.member).await;
            let Some(list) = self.members_now(step.member).await else { continue };
            let spare = self.spare(&machines, &list);
            match (kind, spare) {
                (ChangeKind::Replace, Some(spare)) => {
                    self.replace(step.member, spare, pick, false).await;
                }
                (ChangeKind::Promote, Some(spare)) => {
                    self.replace(step.member, spare, pick, true).await;
                }
                (ChangeKind::Grow, Some(spare)) => {
                    self.bring(step.member, spare, false).await;
                }
                (ChangeKind::Shrink, _) if list.len() > 3 => {
                    let victim = list[pick % list.len()].clone();
                    self.remove(step.member, &victim).await;
                }
                (ChangeKind::Return, _) if list.len() > 2 => {
                    let victim = list[pick % list.len()].clone();
                    if self.remove(step.member, &victim).await
                        && let Some(machine) = self.machine_of(&victim)
                    {
                        self.bring(step.member, machine, false).await;
                    }
                }
                (ChangeKind::Phantom, _) => self.phantoms(step.member).await,
                _ => {}
            }
        }
    }

    fn machine_of(&self, member: &Member) -> Option<MemberId> {
        member.peer_urls.iter().find_map(|url| self.theatre.machine_at(url))
    }

    /// A machine that is no member's.
    fn spare(&self, machines: &[MemberId], list: &[Member]) -> Option<MemberId> {
        let taken: Vec<MemberId> = list.iter().filter_map(|member| self.machine_of(member)).collect();
        let usable = |machine: &MemberId| !taken.contains(machine) && !self.notebook.is_lost(*machine);
        machines.iter().copied().find(usable)
    }

    /// Whether there is time left to try once more.
    async fn again(&self, deadline: Duration) -> bool {
        let now = self.theatre.now();
        if now + LOOK >= deadline.min(self.until) {
            return false;
        }
        self.theatre.sleep_until(now + LOOK).await;
        true
    }

    /// Asks one member after the other, and writes down what was said to a change.
    async fn change(
        &mut self,
        member: &mut MemberId,
        what: String,
        request: Request,
    ) -> Result<Response, Error> {
        let call = self.theatre.now();
        let answer = self.call_round(member, request, self.plan.spec.timeout).await;
        let seen = Sighting { call, ret: self.theatre.now() };
        let error = answer.as_ref().err().map(|error| error.to_string());
        self.notebook.changed(ChangeRecord { what, seen, error });
        answer.map_err(|error| error.error)
    }

    async fn members_now(&mut self, from: MemberId) -> Option<Vec<Member>> {
        let mut member = from;
        let deadline = self.theatre.now() + PATIENCE;
        loop {
            let request = Request::MemberList { linearizable: true };
            if let Ok(Response::MemberList(list)) =
                self.call_round(&mut member, request, self.plan.spec.timeout).await
            {
                return Some(list.members);
            }
            if !self.again(deadline).await {
                return None;
            }
        }
    }

    /// Ends what an earlier step could not: starts who was added and does not run, removes who never will.
    async fn settle(&mut self, from: MemberId) {
        let Some(list) = self.members_now(from).await else { return };
        for member in &list {
            match self.machine_of(member) {
                Some(machine) if self.theatre.occupant(machine) != Some(member.id) => {
                    self.start_as(machine, member.id).await;
                }
                Some(_) => {}
                None => {
                    self.remove(from, member).await;
                }
            }
        }
    }

    async fn start_as(&mut self, machine: MemberId, id: MemberId) {
        let started = async {
            self.theatre.kill(machine).await?;
            self.theatre.assign(machine, id)?;
            nemesis::start(&self.theatre, &self.notebook, machine).await
        };
        if let Err(error) = started.await {
            self.notebook.harness_error(error.to_string());
        }
    }

    /// Adds a member at this address; its id, once it is there.
    async fn add(&mut self, from: MemberId, url: &str, is_learner: bool) -> Option<MemberId> {
        let mut member = from;
        let deadline = self.theatre.now() + PATIENCE;
        loop {
            let request =
                Request::MemberAdd(MemberAddRequest { peer_urls: vec![url.to_owned()], is_learner });
            let what = format!("add {}{url}", if is_learner { "the learner " } else { "" });
            if let Ok(Response::MemberAdd(added)) = self.change(&mut member, what, request).await {
                return Some(added.member.id);
            }
            // The answer may be lost where the change was made.
            let list = self.members_now(member).await?;
            let there = list.iter().find(|other| other.peer_urls.iter().any(|other| other == url));
            if let Some(there) = there {
                return Some(there.id);
            }
            if !self.again(deadline).await {
                return None;
            }
        }
    }

    /// Whether the member is gone.
    async fn remove(&mut self, from: MemberId, victim: &Member) -> bool {
        let mut member = from;
        let deadline = self.theatre.now() + PATIENCE;
        loop {
            let what = format!("remove {} at {}", victim.id, victim.peer_urls.join(" "));
            match self.change(&mut member, what, Request::MemberRemove(victim.id)).await {
                Ok(_) | Err(Error::MemberNotFound) => return true,
                Err(_) if self.again(deadline).await => {}
                Err(_) => return false,
            }
        }
    }

    /// Adds a member on this machine, starts it, and waits until the others know its name.
    async fn bring(&mut self, from: MemberId, machine: MemberId, is_learner: bool) -> Option<MemberId> {
        let url = self.theatre.peer_url(machine);
        let id = self.add(from, &url, is_learner).await?;
        self.start_as(machine, id).await;
        let deadline = self.theatre.now() + PATIENCE;
        loop {
            let list = self.members_now(from).await?;
            if list.iter().any(|member| member.id == id && !member.name.is_empty()) {
                return Some(id);
            }
            if !self.again(deadline).await {
                return None;
            }
        }
    }

    async fn replace(&mut self, from: MemberId, spare: MemberId, pick: usize, is_learner: bool) {
        let Some(id) = self.bring(from, spare, is_learner).await else { return };
        if is_learner && !self.promote(from, id).await {
            return;
        }
        let Some(list) = self.members_now(from).await else { return };
        let others: Vec<&Member> =
            list.iter().filter(|member| member.id != id && !member.is_learner).collect();
        if others.len() > 1 {
            let victim = others[pick % others.len()].clone();
            self.remove(from, &victim).await;
        }
    }

    async fn promote(&mut self, from: MemberId, id: MemberId) -> bool {
        let mut member = from;
        let deadline = self.theatre.now() + PATIENCE;
        loop {
            match self.change(&mut member, format!("promote {id}"), Request::MemberPromote(id)).await {
                Ok(_) | Err(Error::MemberNotLearner) => return true,
                Err(Error::MemberNotFound) => return false,
                Err(_) if self.again(deadline).await => {}
                Err(_) => return false,
            }
        }
    }

    /// Voters that nobody will ever start: were they counted on, the next failure would be one too many.
    async fn phantoms(&mut self, from: MemberId) {
        let mut member = from;
        for number in 1..=2 {
            let url = format!("http://nowhere-{number}:2380");
            let request =
                Request::MemberAdd(MemberAddRequest { peer_urls: vec![url.clone()], is_learner: false });
            // Refused or not: that nobody counts on them is judged by what the members tell.
            let _ = self.change(&mut member, format!("add {url}"), request).await;
        }
        self.theatre.sleep_until((self.theatre.now() + LOOK * 4).min(self.until)).await;
        self.settle(from).await;
    }
}
