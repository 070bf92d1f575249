//! Plays a plan in a theatre: storm, then heal, then a last look.

use crate::clients::{
    BAIT, Curtain, ROOT, ROOT_PASSWORD, ask, election_names, free_space, lock_names, look_at_units, perform,
    time_to_live, v2_view_of, view_of,
};
use crate::fault::DiskDamage;
use crate::format::spec::WorkloadKind;
use crate::nemesis::Nemesis;
use crate::plan::Plan;
use crate::record::{AlarmsRecord, FinalState, Healing, MemberHash, Notebook, Sighting};
use crate::theatre::{Client, LockWish, Theatre, TheatreError, Watch};
use futures::future::{Either, select};
use seatrial_history::Input;
use seatrial_types::kv::KeyRange;
use seatrial_types::request::{
    AlarmChangeRequest, AlarmKind, LeaseGrantRequest, MemberAddRequest, PutRequest, RangeRequest, Request,
    Response,
};
use seatrial_types::watch::WatchCreate;
use seatrial_types::{LeaseId, MemberId, Revision};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The number of the runner's own client in the history, and of its machine.
const RUNNER: u32 = 0;

/// How many keys there are to be damaged.
const BAIT_KEYS: u32 = 3;

/// How long the runner waits for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks while it heals.
const LOOK: Duration = Duration::from_millis(200);

/// How long after the storm the last look may take, beyond the bound of healing.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Simulated time after which a run is stuck, whatever it does.
#[must_use]
pub fn time_limit(plan: &Plan) -> Duration {
    let reboots = plan.reboots_by().saturating_sub(plan.scenario.time);
    let leases = plan.clients.iter().map(|client| client.spec.ttl * 3).max().unwrap_or_default();
    plan.scenario.time
        + plan.scenario.expect.heals_within * 2
        + (plan.knobs.corrupt_check + plan.knobs.election_timeout) * 8
        + leases
        + reboots
        + LAST_LOOK * 6
        + Duration::from_secs(60)
}

/// Plays the plan. Everything worth knowing goes into the notebook, also where it ends early; the answer is
/// only whether the harness itself held.
pub async fn play<T: Theatre>(theatre: &T, plan: &Plan, notebook: &Notebook) {
    if let Err(error) = acts(theatre, plan, notebook).await {
        notebook.harness_error(error.to_string());
    }
}

async fn acts<T: Theatre>(theatre: &T, plan: &Plan, notebook: &Notebook) -> Result<(), TheatreError> {
    let mut nemesis = Nemesis::new(theatre, plan, notebook);
    nemesis.choose_builds()?;
    // A spare machine has nothing to run yet and is only made known.
    for member in plan.machines() {
        nemesis.start(member).await?;
    }
    if plan.may_damage_values() {
        let (stage, client) = (theatre.clone(), theatre.client(RUNNER));
        theatre.spawn(RUNNER, lay_bait(stage, client, plan.scenario.time, plan.scenario.members));
    }
    let curtain = Curtain::default();
    let until = plan.scenario.time;
    let run = Arc::new(plan.clone());
    for client in &plan.clients {
        curtain.enter(client);
        let (theatre, run, client) = (theatre.clone(), Arc::clone(&run), client.clone());
        let (notebook, curtain, machine) = (notebook.clone(), curtain.clone(), client.machine);
        let stage = theatre.clone();
        let task = async move { perform(theatre, &run, client, notebook, curtain).await };
        stage.spawn(machine, task);
    }
    nemesis.storm(until).await?;
    nemesis.calm().await?;

    let mut client = theatre.client(RUNNER);
    if plan.has_users() {
        client.identify(ROOT, ROOT_PASSWORD);
    }
    let mut runner = Runner { theatre, plan, notebook, client, probes: 0 };
    runner.wait_for_machines(&nemesis, &curtain).await?;
    if plan.has_checks() {
        runner.wait_for_alarms(&mut nemesis).await?;
    }
    let all: Vec<MemberId> = plan.members().collect();
    let mut is_alive = true;
    if !plan.core.is_empty() {
        nemesis.keep_only(&plan.core).await?;
        let healing = runner.heal(&mut nemesis, &plan.core).await?;
        is_alive = healing.healed.is_some();
        notebook.healing(healing);
    }
    let mut healing = Healing::default();
    if is_alive {
        healing = runner.heal(&mut nemesis, &all).await?;
        notebook.healing(healing.clone());
    }
    if healing.healed.is_some() {
        // The last look comes after every acknowledgement, or it would miss some.
        leave(theatre, || curtain.actors()).await?;
        if plan.has_units() {
            runner.wait_for_units(&healing).await;
        }
        let mut healing = runner.wait_for_leases(healing).await;
        runner.try_locks(&mut healing).await;
        runner.ask_users(&mut healing).await;
        runner.ask_v2(&mut healing).await;
        notebook.healing(healing);
        let last = runner.last_look().await;
        notebook.last(last);
    }
    curtain.fall();
    leave(theatre, || curtain.all()).await
}

/// Waits until nobody is left.
async fn leave<T: Theatre>(theatre: &T, left: impl Fn() -> usize) -> Result<(), TheatreError> {
    let leave_by = theatre.now() + LAST_LOOK;
    while left() > 0 {
        if theatre.now() > leave_by {
            return Err(TheatreError {
                what: "end the play".to_owned(),
                why: format!("{} clients still wait for an answer beyond their time limit", left()),
            });
        }
        theatre.sleep_until(theatre.now() + LOOK / 4).await;
    }
    Ok(())
}

/// Writes a few keys that no client reads: what is damaged may not be told apart from a lie of the store.
async fn lay_bait<T: Theatre>(theatre: T, mut client: T::Client, until: Duration, members: u64) {
    for number in 0..BAIT_KEYS {
        let mut member = 1;
        while theatre.now() < until {
            let key = format!("{BAIT}{number}").into();
            let put = PutRequest { key, value: "whole".into(), ..PutRequest::default() };
            if client.call(MemberId(member), Request::Put(put), PATIENCE).await.is_ok() {
                break;
            }
            member = member % members + 1;
            theatre.sleep_until(theatre.now() + LOOK).await;
        }
    }
}

struct Runner<'a, T: Theatre> {
    theatre: &'a T,
    plan: &'a Plan,
    notebook: &'a Notebook,
    client: T::Client,
    probes: u64,
}

impl<T: Theatre> Runner<'_, T> {
    async fn call(&mut self, member: MemberId, request: Request) -> Option<Response> {
        self.client.call(member, request, PATIENCE).await.ok()
    }

    async fn ask(&mut self, member: MemberId, input: Input) -> Option<i64> {
        let answer =
            ask(self.theatre, &mut self.client, RUNNER, member, input, PATIENCE, self.notebook).await;
        answer.map(|(revision, _)| revision)
    }

    /// A full cluster takes no write, fresh or not: so the operator goes on with its work. A member that was down when the
    /// others' files were written anew raises the alarm once more.
    async fn free_space(&mut self) {
        if self.plan.knobs.quota_bytes > 0 {
            let order: Vec<MemberId> = self.plan.members().collect();
            free_space(self.theatre, &mut self.client, self.notebook, &order, PATIENCE).await;
        }
    }

    /// Waits until all machines have rebooted that want to, or give up. Members that stopped by themselves are started.
    async fn wait_for_machines(
        &mut self,
        nemesis: &Nemesis<'_, T>,
        curtain: &Curtain,
    ) -> Result<(), TheatreError> {
        while curtain.machines() > 0 {
            for member in self.plan.members() {
                if !self.theatre.is_running(member) && !self.notebook.is_rebooting(member) {
                    nemesis.start(member).await?;
                }
            }
            self.theatre.sleep_until(self.theatre.now() + LOOK).await;
        }
        Ok(())
    }

    /// Gives the members the time that a comparison may take, looks whom they name, and then, as an operator does,
    /// puts right who is damaged and takes the alarms back.
    async fn wait_for_alarms(&mut self, nemesis: &mut Nemesis<'_, T>) -> Result<(), TheatreError> {
        let knobs = &self.plan.knobs;
        let all: Vec<MemberId> = self.plan.members().collect();
        if knobs.initial_check {
            // Its peers can all be asked now.
            for member in self.notebook.damaged() {
                self.theatre.kill(member).await?;
                nemesis.start(member).await?;
            }
        }
        // An election, a round that was under way, one from its beginning to its judgement at the next, and the alarm.
        let bound = knobs.election_timeout * 4 + knobs.corrupt_check * 4 + Duration::from_secs(3);
        self.theatre.sleep_until(self.theatre.now() + bound).await;
        if let Some((seen, alarms)) = self.ask_alarms().await {
            let corrupt = alarms.iter().map(|alarm| self.machine_of(*alarm)).collect();
            self.notebook.alarms(AlarmsRecord { seen, corrupt });
        }
        for member in self.notebook.damaged() {
            self.theatre.kill(member).await?;
            self.theatre.damage(member, DiskDamage::ValueRepaired)?;
            nemesis.start(member).await?;
        }
        // Rounds that began before end with an alarm too.
        self.theatre.sleep_until(self.theatre.now() + bound).await;
        nemesis.start_stopped(&all).await?;
        let deadline = self.theatre.now() + LAST_LOOK;
        while let Some((_, alarms)) = self.ask_alarms().await
            && !alarms.is_empty()
            && self.theatre.now() < deadline
        {
            for id in alarms {
                let change = AlarmChangeRequest { raise: false, member: id, kind: AlarmKind::Corrupt };
                for member in all.iter().copied() {
                    if self.call(member, Request::AlarmChange(change.clone())).await.is_some() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whom alarms of damaged data name, as any member tells.
    async fn ask_alarms(&mut self) -> Option<(Sighting, Vec<MemberId>)> {
        for member in self.plan.machines() {
            let call = self.theatre.now();
            if let Some(Response::AlarmList(list)) = self.call(member, Request::AlarmList).await {
                let corrupt = list.alarms.iter().filter(|(_, kind)| *kind == AlarmKind::Corrupt);
                let seen = Sighting { call, ret: self.theatre.now() };
                return Some((seen, corrupt.map(|(member, _)| *member).collect()));
            }
        }
        None
    }

    /// The machine of the member with this id of the cluster.
    fn machine_of(&self, id: MemberId) -> MemberId {
        let lives = |machine: &MemberId| self.theatre.occupant(*machine) == Some(id);
        self.plan.machines().find(lives).unwrap_or(MemberId::NONE)
    }

    /// Until the bound: one leader that all know, fresh writes and reads served through every member, equal
    /// hashes of the keys at one revision.
    async fn heal(&mut self, nemesis: &mut Nemesis<'_, T>, up: &[MemberId]) -> Result<Healing, TheatreError> {
        let began = self.theatre.now();
        let bound = began + self.plan.scenario.expect.heals_within;
        let mut served = BTreeMap::new();
        let mut up = up.to_vec();
        loop {
            let mut missing = Vec::new();
            if self.plan.has_changes() {
                self.find_members(nemesis, &mut up, &mut missing).await?;
            }
            for machine in up.clone() {
                if self.notebook.refuses(machine) {
                    served.remove(&machine);
                    missing.push(format!("another member on machine {machine}, whose store is damaged"));
                    self.replace(nemesis, machine).await?;
                }
            }
            let up = up.as_slice();
            nemesis.start_stopped(up).await?;
            self.free_space().await;
            self.probe(up, &mut served, &mut missing).await;
            let mut hashes = Vec::new();
            if missing.is_empty() {
                self.look_for_one_leader(up, &mut missing).await;
            }
            if missing.is_empty() {
                let newest = served.values().copied().max().unwrap_or(1);
                hashes = self.hashes(up, newest, &mut missing).await;
            }
            let now = self.theatre.now();
            let healed = (missing.is_empty() && now <= bound).then_some(now);
            if missing.is_empty() && now > bound {
                missing.push(format!("all of it until {:?} too late", now - bound));
            }
            if healed.is_some() || now >= bound {
                if hashes.is_empty() {
                    hashes = self.hashes_of_all(up).await;
                }
                return Ok(Healing { began, up: up.to_vec(), healed, missing, hashes, ..Healing::default() });
            }
            self.theatre.sleep_until((now + LOOK).min(bound)).await;
        }
    }

    /// One step of an operator who reads that a member's data are damaged: it is removed, and its machine joins again with
    /// nothing.
    async fn replace(&mut self, nemesis: &mut Nemesis<'_, T>, machine: MemberId) -> Result<(), TheatreError> {
        let url = self.theatre.peer_url(machine);
        let others: Vec<MemberId> = self.plan.machines().filter(|other| *other != machine).collect();
        for other in others {
            let request = Request::MemberList { linearizable: true };
            let Some(Response::MemberList(list)) = self.call(other, request).await else { continue };
            let there = list.members.into_iter().find(|member| member.peer_urls.contains(&url));
            let id = match there {
                Some(old) if self.theatre.occupant(machine) == Some(old.id) => {
                    self.call(other, Request::MemberRemove(old.id)).await;
                    return Ok(());
                }
                // Added, where the answer was lost.
                Some(new) => new.id,
                None => {
                    let add = MemberAddRequest { peer_urls: vec![url.clone()], is_learner: false };
                    let Some(Response::MemberAdd(added)) = self.call(other, Request::MemberAdd(add)).await
                    else {
                        continue;
                    };
                    added.member.id
                }
            };
            self.theatre.kill(machine).await?;
            self.theatre.assign(machine, id)?;
            self.notebook.emptied(machine);
            return nemesis.start(machine).await;
        }
        Ok(())
    }

    /// Who the members are by now, by their machines; they run afterwards. Who only listens serves nobody.
    async fn find_members(
        &mut self,
        nemesis: &mut Nemesis<'_, T>,
        up: &mut Vec<MemberId>,
        missing: &mut Vec<String>,
    ) -> Result<(), TheatreError> {
        let mut list = None;
        for member in self.plan.machines() {
            let request = Request::MemberList { linearizable: true };
            if let Some(Response::MemberList(answer)) = self.call(member, request).await {
                list = Some(answer.members);
                break;
            }
        }
        let Some(list) = list else {
            missing.push("a list of the members".to_owned());
            return Ok(());
        };
        self.notebook.loss(|loss| loss.members = list.iter().map(|member| member.id).collect());
        for machine in self.plan.machines() {
            let occupant = self.theatre.occupant(machine);
            let is_gone = occupant.is_some_and(|id| list.iter().all(|member| member.id != id));
            if is_gone && self.theatre.is_running(machine) {
                missing.push(format!("the end of the member on machine {machine}, which was removed"));
            }
        }
        let mut voters = Vec::new();
        for member in list {
            let machine = member.peer_urls.iter().find_map(|url| self.theatre.machine_at(url));
            let Some(machine) = machine else {
                // Added by a client that did not come to take it away again.
                missing.push(format!("the removal of {}, who never started", member.id));
                for other in self.plan.machines() {
                    if self.call(other, Request::MemberRemove(member.id)).await.is_some() {
                        break;
                    }
                }
                continue;
            };
            if self.theatre.occupant(machine) != Some(member.id) {
                self.theatre.kill(machine).await?;
                self.theatre.assign(machine, member.id)?;
                nemesis.start(machine).await?;
            }
            if member.name.is_empty() {
                missing.push(format!("the name of {} on machine {machine}", member.id));
            }
            if member.is_learner {
                nemesis.start_stopped(&[machine]).await?;
            } else {
                voters.push(machine);
            }
        }
        voters.sort_unstable();
        *up = voters;
        Ok(())
    }

    /// A fresh write and a fresh read through every member that has not served both yet.
    async fn probe(
        &mut self,
        up: &[MemberId],
        served: &mut BTreeMap<MemberId, i64>,
        missing: &mut Vec<String>,
    ) {
        for member in up.iter().copied() {
            if served.contains_key(&member) {
                continue;
            }
            self.probes += 1;
            let value = format!("probe-{}", self.probes);
            let Some(wrote) = self.ask(member, Input::put(format!("probe/{member}"), value)).await else {
                missing.push(format!("a write through member {member}"));
                continue;
            };
            match self.ask(member, Input::get(format!("probe/{member}"))).await {
                Some(read) => {
                    served.insert(member, wrote.max(read));
                }
                None => missing.push(format!("a read through member {member}")),
            }
        }
    }

    async fn look_for_one_leader(&mut self, up: &[MemberId], missing: &mut Vec<String>) {
        let mut leaders = BTreeMap::new();
        for member in up.iter().copied() {
            match self.call(member, Request::Status).await {
                Some(Response::Status(status)) if status.leader != MemberId::NONE => {
                    leaders.insert(member, (status.leader, status.raft_term));
                }
                Some(_) => missing.push(format!("a leader known to member {member}")),
                None => missing.push(format!("the status of member {member}")),
            }
        }
        let first = leaders.values().next();
        if leaders.values().any(|leader| Some(leader) != first) {
            let told: Vec<String> = leaders
                .iter()
                .map(|(member, (leader, term))| {
                    format!("{member} says {leader:x} in term {term}", leader = leader.0)
                })
                .collect();
            missing.push(format!("one leader ({})", told.join(", ")));
        }
    }

    async fn hashes(&mut self, up: &[MemberId], newest: i64, missing: &mut Vec<String>) -> Vec<MemberHash> {
        let mut hashes: Vec<MemberHash> = Vec::new();
        for member in up.iter().copied() {
            match self.call(member, Request::HashKv { revision: Revision(newest) }).await {
                Some(Response::HashKv(answer)) => hashes.push(MemberHash {
                    member,
                    revision: newest,
                    compacted: answer.compact_revision.0,
                    hash: answer.hash,
                }),
                _ => missing.push(format!("member {member}'s state at revision {newest}")),
            }
        }
        if let Some(first) = hashes.first()
            && hashes.iter().any(|hash| hash.compacted != first.compacted)
        {
            missing.push("one compacted revision on all members".to_owned());
        }
        hashes
    }

    /// What members hold at the newest revision that all of them have: where one of them lacks what the others have, this tells
    /// whether it is only behind. Members that do not answer are left out.
    async fn hashes_of_all(&mut self, up: &[MemberId]) -> Vec<MemberHash> {
        let mut newest = BTreeMap::new();
        for member in up.iter().copied() {
            if let Some(Response::Status(status)) = self.call(member, Request::Status).await {
                newest.insert(member, status.header.revision.0);
            }
        }
        let Some(common) = newest.values().copied().min() else { return Vec::new() };
        let members: Vec<MemberId> = newest.into_keys().collect();
        self.hashes(&members, common, &mut Vec::new()).await
    }

    /// Waits until every lease must have run out, then looks which are left.
    async fn wait_for_leases(&mut self, mut healing: Healing) -> Healing {
        let leases = self.notebook.lease_ids();
        let healed = healing.healed.expect("only asked after healing");
        let deadline = leases.iter().map(|(_, last_tried, ttl)| {
            let ttl = Duration::from_secs(u64::try_from(*ttl).unwrap_or(0));
            // A change of leader gives every lease its whole time anew, so it counts from the healing on.
            healed.max(*last_tried) + lease_bound(self.plan, ttl)
        });
        let Some(deadline) = deadline.max() else { return healing };
        self.theatre.sleep_until(deadline).await;
        for (id, ..) in &leases {
            for member in self.plan.machines() {
                let Some(Response::LeaseTimeToLive(left)) = self.call(member, time_to_live(*id)).await else {
                    continue;
                };
                if left.ttl_seconds != -1 {
                    healing.leases_left.push(*id);
                }
                break;
            }
        }
        healing.leases_looked = Some(self.theatre.now());
        healing
    }

    /// Gives the fleet the time it may take after the healing, and looks at it.
    async fn wait_for_units(&mut self, healing: &Healing) {
        let ttl = self.plan.clients.iter().map(|client| client.spec.ttl).max().unwrap_or_default();
        let healed = healing.healed.unwrap_or(healing.began);
        self.theatre.sleep_until(healed + crate::oracles::fleet_bound(ttl)).await;
        for member in self.plan.machines() {
            let range = KeyRange::single("fleet");
            let read = Request::Range(RangeRequest { range, ..RangeRequest::default() });
            if let Some(Response::Range(answer)) = self.call(member, read).await {
                let (at, revision) = (self.theatre.now(), answer.header.revision.0);
                let look = look_at_units(&mut self.client, at, revision, PATIENCE * 2).await;
                self.notebook.looked_at_units(look);
                return;
            }
        }
    }

    /// Once every lease is over, every lock can be had and every election won at once.
    async fn try_locks(&mut self, healing: &mut Healing) {
        // Ids of clients' leases begin with their machine's number.
        let mut lease = LeaseId(1);
        for name in lock_names(self.plan) {
            lease.0 += 1;
            let wish = LockWish { name: name.clone(), lease, by_member: false };
            let grant = Request::LeaseGrant(LeaseGrantRequest { id: lease, ttl_seconds: 60 });
            let mut had = false;
            for member in self.plan.machines() {
                if self.call(member, grant.clone()).await.is_some() {
                    let held = self.client.lock(member, wish, PATIENCE * 2).await;
                    had = held.is_ok();
                    // Nothing of it is left for the last look.
                    self.call(member, Request::LeaseRevoke(lease)).await;
                    break;
                }
            }
            healing.locks.push((name, (!had).then(|| self.theatre.now())));
        }
        for name in election_names(self.plan) {
            lease.0 += 1;
            let grant = Request::LeaseGrant(LeaseGrantRequest { id: lease, ttl_seconds: 60 });
            let mut won = false;
            for member in self.plan.machines() {
                if self.call(member, grant.clone()).await.is_some() {
                    let value = "the last".to_owned();
                    let led = self.client.campaign(member, name.clone(), lease, value, PATIENCE * 2).await;
                    won = led.is_ok();
                    self.call(member, Request::LeaseRevoke(lease)).await;
                    break;
                }
            }
            healing.elections.push((name, (!won).then(|| self.theatre.now())));
        }
    }

    /// What every member knows of users and roles.
    async fn ask_users(&mut self, healing: &mut Healing) {
        let workloads = self.plan.scenario.workloads.iter();
        let users = workloads.filter(|spec| spec.kind == WorkloadKind::Users).map(|spec| spec.clients - 1);
        let Some(users) = users.max() else { return };
        for member in healing.up.clone() {
            if let Some(view) = view_of(&mut self.client, member, users, PATIENCE).await {
                healing.users.push(view);
            }
        }
    }

    /// What every member holds of the v2 keys, once everything must have run out.
    async fn ask_v2(&mut self, healing: &mut Healing) {
        let Some(ttl) = self.plan.v2_ttl() else { return };
        // The clock by which things run out moves twice a second, and stands still where nobody leads.
        let bound = lease_bound(self.plan, ttl) + Duration::from_secs(1);
        let healed = healing.healed.expect("only asked after healing");
        self.theatre.sleep_until(healed.max(self.plan.scenario.time) + bound).await;
        for member in healing.up.clone() {
            healing.v2.push(v2_view_of(self.theatre, &mut self.client, member, PATIENCE).await);
        }
        // Who waits is told within this time, or not at all.
        self.theatre.sleep_until(self.theatre.now() + PATIENCE).await;
    }

    /// Everything there is, and everything that ever changed.
    async fn last_look(&mut self) -> FinalState {
        let mut last = FinalState::default();
        for member in self.plan.machines() {
            let all = RangeRequest { range: KeyRange::prefix(&b""[..]), ..RangeRequest::default() };
            if let Some(Response::Range(range)) = self.call(member, Request::Range(all)).await {
                last.revision = range.header.revision.0;
                last.kvs = range.kvs;
                break;
            }
        }
        if last.revision > 0 {
            for member in self.plan.machines() {
                if self.read_ledger(member, &mut last).await {
                    break;
                }
            }
        }
        last
    }

    /// Watches everything from the oldest revision kept up to the last one. Whether it got there. A long history takes its
    /// time; silence ends it.
    async fn read_ledger(&mut self, member: MemberId, last: &mut FinalState) -> bool {
        let mut from = 1;
        'open: loop {
            let create = WatchCreate {
                range: KeyRange::prefix(&b""[..]),
                start_revision: Revision(from),
                ..WatchCreate::default()
            };
            let Ok(mut stream) = self.client.watch(member, create, PATIENCE).await else { return false };
            let mut ledger = Vec::new();
            loop {
                if last.revision <= 1 {
                    last.ledger_from = from;
                    return true;
                }
                let nap = self.theatre.sleep_until(self.theatre.now() + LAST_LOOK);
                let said = match select(pin!(stream.next()), pin!(nap)).await {
                    Either::Left((Some(said), _)) => said,
                    _ => return false,
                };
                if said.canceled {
                    if said.compact_revision.0 < from {
                        return false;
                    }
                    from = said.compact_revision.0 + 1;
                    if from > last.revision {
                        last.ledger_from = from;
                        return true;
                    }
                    continue 'open;
                }
                ledger.extend(said.events);
                let reached =
                    ledger.last().map_or(0, |event: &seatrial_types::Event| event.kv.mod_revision.0);
                if reached >= last.revision && !said.fragment {
                    ledger.retain(|event| event.kv.mod_revision.0 <= last.revision);
                    last.ledger = ledger;
                    last.ledger_from = from;
                    return true;
                }
            }
        }
    }
}

/// How long after its last renewal (and after the healing) a lease may still be there: its time by the
/// slowest clock, an election, and the way of its end through the log.
#[must_use]
pub(crate) fn lease_bound(plan: &Plan, ttl: Duration) -> Duration {
    let ppm = u32::try_from(plan.drift_ppm_max()).expect("at most 50 %");
    let slowest = ttl * (1_000_000 + ppm * 2) / 1_000_000;
    slowest + plan.knobs.election_timeout * 3 + Duration::from_secs(2)
}
