//! Operations, interleaved at every access to a key.

use crate::walk::{Model, Table, carry_out, check_change, semaphore, walk};
use seatrial_reboot::{
    Done, Freed, Group, Guards, Hosted, KeysError, Operation, Phase, Quorum, RebootError, Refusal, Semaphore,
    Step, Verb, Wall,
};
use seatrial_types::MemberId;
use std::collections::BTreeSet;

/// What a client is doing.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Doing {
    /// It has asked in vain, or not at all.
    Nothing,
    Locking(Operation),
    /// It has the slot, as far as it knows.
    Holding(u64),
    Confirming(u64, Operation),
    /// It has rebooted, or has come back without having done so.
    Back,
    Releasing(Operation),
    /// An old client between reading and writing.
    Read(Semaphore, u64),
    Finished,
}

#[derive(Clone, Debug, Hash)]
struct Client {
    id: &'static str,
    group: Group,
    /// A locksmith of old, that knows the semaphore alone.
    old: bool,
    doing: Doing,
    rebooted: bool,
    /// How often it was refused because of the quorum; each time the keys are written, so that it must have an end.
    refused: u8,
}

#[derive(Clone, Debug, Hash)]
struct World {
    table: Table,
    clients: Vec<Client>,
    quorum: Option<Quorum>,
    /// Ledger and semaphore are read one after the other.
    fine: bool,
    now: Wall,
    /// How often somebody may still crash, and the clock jump.
    crashes: u8,
    jumps: u8,
    /// What an operator will yet do, in this order, and what it is doing.
    operator: Vec<Verb>,
    operating: Option<Operation>,
}

fn client(id: &'static str, group: &str, old: bool) -> Client {
    Client { id, group: Group::new(group), old, doing: Doing::Nothing, rebooted: false, refused: 0 }
}

/// See [`Client::refused`].
const REFUSED_MAX: u8 = 2;

impl Client {
    /// Its next step is to read this key for the first time.
    fn reads(&self, key: fn(&Group) -> String) -> bool {
        match &self.doing {
            Doing::Locking(operation) | Doing::Confirming(_, operation) | Doing::Releasing(operation) => {
                operation.step() == Step::Get(key(&self.group))
            }
            _ => false,
        }
    }
}

impl World {
    fn new(clients: Vec<Client>) -> Self {
        Self {
            table: Table::default(),
            clients,
            quorum: None,
            fine: false,
            now: Wall(1000),
            crashes: 0,
            jumps: 0,
            operator: Vec::new(),
            operating: None,
        }
    }

    fn semaphores(&self) -> Vec<(String, (i64, Vec<String>))> {
        let groups: BTreeSet<_> = self.clients.iter().map(|client| client.group.semaphore_key()).collect();
        groups.into_iter().map(|key| (key.clone(), semaphore(&self.table, &key))).collect()
    }

    /// What must hold between two states.
    fn check(&self, after: &Self, actor: Option<&str>) {
        for ((_, before), (_, now)) in self.semaphores().iter().zip(after.semaphores()) {
            check_change(before, &now, actor);
        }
        if let Some(quorum) = &self.quorum {
            let away: BTreeSet<_> =
                after.semaphores().into_iter().flat_map(|(_, (_, holders))| holders).collect();
            let voters = quorum.members.values().filter(|member| member.voter);
            let left = voters
                .clone()
                .filter(|voter| voter.healthy && !away.contains(voter.machine.as_ref().unwrap()));
            assert!(left.count() > voters.count() / 2, "K5: {away:?} are away");
        }
    }

    /// One step of a client; `false` where it has none.
    fn advance(&mut self, at: usize) -> bool {
        let client = &self.clients[at];
        let others = self.clients.iter().filter(|other| other.id != client.id);
        let busy = |other: &Client| !matches!(other.doing, Doing::Nothing | Doing::Finished);
        if client.refused >= REFUSED_MAX && client.doing == Doing::Nothing && others.clone().any(busy) {
            return false;
        }
        if !self.step(at) {
            return false;
        }
        // To begin is no access to a key: what is begun has its first step at once. And unless the world is a fine one, the
        // two keys are read at once; what matters most is what happens between reading and writing.
        if self.clients[at].reads(Group::ledger_key) {
            self.step(at);
        }
        if !self.fine && self.clients[at].reads(Group::semaphore_key) {
            self.step(at);
        }
        true
    }

    fn step(&mut self, at: usize) -> bool {
        let (now, quorum) = (self.now, self.quorum.clone());
        let table = &mut self.table;
        let Client { id, group, old, doing, rebooted, refused } = &mut self.clients[at];
        let begin = |verb| Operation::new(group.clone(), verb, now);
        let key = group.semaphore_key();
        *doing = match doing.clone() {
            Doing::Finished => return false,
            Doing::Nothing | Doing::Back if *old => match table.get(&key) {
                Ok(found) => Doing::Read(Semaphore::parse(&found.value).unwrap(), found.index),
                Err(_) => {
                    table.create(&key, &Semaphore::default().to_json()).unwrap();
                    doing.clone()
                }
            },
            Doing::Read(mut semaphore, index) => {
                let holds = semaphore.is_held_by(id);
                let changed = if holds { semaphore.unlock(id) } else { semaphore.lock(id) };
                match changed.map(|()| table.compare_and_swap(&key, &semaphore.to_json(), index)) {
                    Ok(Ok(_)) if holds => Doing::Finished,
                    Ok(Ok(_)) => Doing::Back,
                    // It tries again, which the program leaves to its user.
                    Ok(Err(_)) | Err(_) => {
                        if holds {
                            Doing::Back
                        } else {
                            Doing::Nothing
                        }
                    }
                }
            }
            Doing::Nothing => {
                let guards = Guards { quorum, ..Guards::default() };
                Doing::Locking(begin(Verb::Lock {
                    id: (*id).to_owned(),
                    boot: None,
                    phase: Phase::Draining,
                    guards,
                }))
            }
            Doing::Locking(mut operation) => match carry_out(&mut operation, table, now) {
                None => Doing::Locking(operation),
                Some(Ok(Done::Granted { generation, .. })) => Doing::Holding(generation),
                Some(Ok(Done::Refused(Refusal::Full { .. } | Refusal::Queued { .. }))) => Doing::Nothing,
                Some(Ok(Done::Refused(Refusal::Quorum(_)))) => {
                    *refused += 1;
                    Doing::Nothing
                }
                Some(other) => panic!("{other:?}"),
            },
            Doing::Holding(generation) => {
                let mark = Verb::Mark { id: (*id).to_owned(), generation, phase: Phase::Rebooting };
                Doing::Confirming(generation, begin(mark))
            }
            Doing::Confirming(generation, mut operation) => match carry_out(&mut operation, table, now) {
                None => Doing::Confirming(generation, operation),
                Some(Ok(Done::Marked { held: true })) => {
                    assert!(
                        semaphore(table, &key).1.iter().any(|holder| holder == id),
                        "K4: reboots without its slot"
                    );
                    *rebooted = true;
                    Doing::Back
                }
                Some(Ok(Done::Marked { held: false })) => Doing::Back,
                Some(other) => panic!("{other:?}"),
            },
            Doing::Back => Doing::Releasing(begin(Verb::Unlock {
                id: (*id).to_owned(),
                generation: None,
                by: Freed::Holder,
            })),
            Doing::Releasing(mut operation) => match carry_out(&mut operation, table, now) {
                None => Doing::Releasing(operation),
                Some(Ok(Done::Freed { .. })) if *rebooted => Doing::Finished,
                Some(Ok(Done::Freed { .. })) => Doing::Nothing,
                Some(other) => panic!("{other:?}"),
            },
        };
        true
    }
}

impl Model for World {
    fn next(&self) -> Vec<(String, bool, Self)> {
        let mut next = Vec::new();
        for (at, client) in self.clients.iter().enumerate() {
            let mut after = self.clone();
            if after.advance(at) {
                self.check(&after, Some(client.id));
                next.push((
                    format!("{}: {:.60}", client.id, format!("{:?}", after.clients[at].doing)),
                    false,
                    after,
                ));
            }
            let crashes =
                !client.old && !matches!(client.doing, Doing::Nothing | Doing::Back | Doing::Finished);
            if self.crashes > 0 && crashes {
                let mut after = self.clone();
                after.crashes -= 1;
                after.clients[at].doing = Doing::Back;
                next.push((format!("{} crashes", client.id), true, after));
                if matches!(client.doing, Doing::Locking(_)) {
                    // And never comes back: what it has announced stays as it is.
                    let mut after = self.clone();
                    after.crashes -= 1;
                    after.clients[at].doing = Doing::Finished;
                    next.push((format!("{} is gone for good", client.id), true, after));
                }
            }
        }
        if self.jumps > 0 && self.crashes == 0 {
            let mut after = self.clone();
            after.jumps -= 1;
            after.now = Wall(self.now.0 + 1000);
            // No fault: time passes also where all is well.
            next.push(("a quarter of an hour passes".to_owned(), false, after));
        }
        if let Some(operation) = &self.operating {
            let mut after = self.clone();
            let mut operation = operation.clone();
            // It reads both keys at once, and writes at any time after.
            let mut end = carry_out(&mut operation, &mut after.table, self.now);
            while end.is_none() && matches!(operation.step(), Step::Get(_) | Step::Rest) {
                end = carry_out(&mut operation, &mut after.table, self.now);
            }
            // An operator that lost against old clients says so, and that is that.
            let lost = |end: &RebootError| matches!(end, RebootError::Keys(KeysError::CompareFailed { .. }));
            assert!(end.as_ref().is_none_or(|end| end.as_ref().err().is_none_or(lost)), "{end:?}");
            after.operating = end.is_none().then_some(operation);
            self.check(&after, None);
            next.push(("the operator goes on".to_owned(), false, after));
        } else if let Some((verb, rest)) = self.operator.split_first() {
            let mut after = self.clone();
            after.operator = rest.to_vec();
            after.operating = Some(Operation::new(Group::default(), verb.clone(), self.now));
            next.push((format!("the operator begins {verb:?}"), false, after));
        }
        next
    }

    fn is_done(&self) -> bool {
        let free = self.semaphores().iter().all(|(_, (_, holders))| holders.is_empty());
        free && self.clients.iter().all(|client| client.doing == Doing::Finished)
    }
}

#[test]
fn two_of_ours_and_an_old_one_share_a_slot() {
    let clients = vec![client("a", "", false), client("b", "", false), client("old", "", true)];
    let world = World { fine: true, ..World::new(clients) };
    let states = walk(world);
    assert!(states > 1000, "{states} states: the model has shrunk");
    println!("{states} states");
}

#[test]
fn one_that_stops_anywhere_is_got_over() {
    let clients = vec![client("a", "", false), client("b", "", false)];
    let states = walk(World { crashes: 1, jumps: 1, ..World::new(clients) });
    println!("{states} states");
}

#[test]
fn the_number_of_slots_is_changed_at_any_moment() {
    for (before, after) in [(1, 2), (1, 0)] {
        let clients = vec![client("a", "", false), client("b", "", false)];
        // From none at all, there must be one again at the end.
        let operator =
            [Some(after), (after == 0).then_some(1)].into_iter().flatten().map(Verb::SetMax).collect();
        let mut world = World { operator, ..World::new(clients) };
        let mut semaphore = Semaphore::default();
        semaphore.set_max(before);
        world.table.create(&Group::default().semaphore_key(), &semaphore.to_json()).unwrap();
        println!("{before} to {after}: {} states", walk(world));
    }
}

#[test]
fn an_operator_frees_a_slot_at_any_moment() {
    let clients = vec![client("a", "", false), client("b", "", false)];
    let operator = vec![Verb::Unlock { id: "a".into(), generation: None, by: Freed::Operator }];
    let states = walk(World { operator, ..World::new(clients) });
    println!("{states} states");
}

#[test]
fn two_groups_never_give_the_quorum_away_between_them() {
    let member = |machine: &str| Hosted { voter: true, healthy: true, machine: Some(machine.to_owned()) };
    let members = [(MemberId(1), member("a")), (MemberId(2), member("b")), (MemberId(3), member("c"))];
    let quorum = Some(Quorum { members: members.into() });
    let clients = vec![client("a", "", false), client("b", "other", false)];
    let states = walk(World { quorum, fine: true, ..World::new(clients) });
    println!("{states} states");
}
