//! Histories of an atomic store with delays: linearizable by construction, for tests to accept, and to break.

use crate::chance::Chance;
use seatrial_history::{
    Action, Answer, Blob, Change, Compare, Delete, Final, Found, Get, History, Input, Kv, Operation, Outcome,
    Put, Relation, Snapshot, Target, Txn,
};
use std::collections::BTreeMap;

/// What kind of history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) clients: u64,
    pub(crate) operations: u64,
    pub(crate) keys: u64,
    /// One in so many is of unknown outcome; 0 for none.
    pub(crate) unknown_one_in: u64,
    /// Serializable reads that lag.
    pub(crate) serializable: bool,
    /// An acknowledged write that is never carried out: the how-manieth.
    pub(crate) lose: Option<u64>,
}

/// A store written anew for the tests: it must not share mistakes with the code it judges.
#[derive(Clone, Default)]
struct Store {
    revision: i64,
    kvs: BTreeMap<String, Kv>,
}

impl Store {
    fn put(&mut self, key: &str, value: &str, revision: i64) {
        let old = self.kvs.get(key);
        let (created, version) = old.map_or((revision, 1), |old| (old.create_revision, old.version + 1));
        let kv = Kv {
            key: key.into(),
            value: value.into(),
            mod_revision: revision,
            create_revision: created,
            version,
        };
        self.kvs.insert(key.to_owned(), kv);
    }

    fn found(&self, from: &str, all: bool) -> Answer {
        let kvs: Vec<Kv> =
            self.kvs.iter().filter(|(key, _)| all || *key == from).map(|(_, kv)| kv.clone()).collect();
        let count = Some(kvs.len() as u64);
        Answer::Get(Found { kvs, count })
    }

    /// Carries the plan out and answers.
    fn apply(&mut self, plan: &Plan) -> Outcome {
        let (next, key) = (self.revision + 1, plan.key.as_str());
        let mut changed = true;
        let result = match &plan.what {
            What::Get => {
                changed = false;
                self.found(key, false)
            }
            What::List => {
                changed = false;
                self.found("", true)
            }
            What::Put => {
                self.put(key, &plan.value, next);
                Answer::Put
            }
            What::Delete => {
                changed = self.kvs.remove(key).is_some();
                Answer::Delete { deleted: u64::from(changed) }
            }
            What::DeleteAll => {
                let deleted = self.kvs.len() as u64;
                self.kvs.clear();
                changed = deleted > 0;
                Answer::Delete { deleted }
            }
            What::Cas(expected) => {
                let succeeded = self.kvs.get(key).map_or(0, |kv| kv.mod_revision) == *expected;
                changed = succeeded;
                let result = if succeeded {
                    self.put(key, &plan.value, next);
                    Answer::Put
                } else {
                    self.found(key, false)
                };
                Answer::Txn { succeeded, results: vec![result] }
            }
            What::Create(other) => {
                let succeeded = !self.kvs.contains_key(key);
                let results = if succeeded {
                    self.put(key, &plan.value, next);
                    let gone = self.kvs.remove(other).is_some();
                    vec![Answer::Put, Answer::Delete { deleted: u64::from(gone) }, self.found("", true)]
                } else {
                    changed = false;
                    vec![]
                };
                Answer::Txn { succeeded, results }
            }
        };
        self.revision += i64::from(changed);
        Outcome::Ok { revision: self.revision, result }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision, kvs: self.kvs.values().cloned().collect() }
    }
}

enum What {
    Get,
    List,
    Put,
    Delete,
    DeleteAll,
    Cas(i64),
    Create(String),
}

struct Plan {
    client: u32,
    call: u64,
    effect: u64,
    ret: u64,
    key: String,
    value: String,
    what: What,
    serializable: bool,
    unknown: bool,
    happens: bool,
}

impl Plan {
    fn input(&self) -> Input {
        let key = Blob::from(self.key.as_str());
        let all = Get { key: "\0".into(), end: Some("\0".into()), ..Get::default() };
        match &self.what {
            What::Get => Input::Get(Get { key, serializable: self.serializable, ..Get::default() }),
            What::List => Input::Get(Get { serializable: self.serializable, ..all }),
            What::Put => Input::put(key, self.value.as_str()),
            What::Delete => Input::delete(key),
            What::DeleteAll => Input::Delete(Delete { key: "\0".into(), end: Some("\0".into()) }),
            What::Cas(expected) => Input::cas_revision(key, *expected, self.value.as_str()),
            What::Create(other) => Input::Txn(Txn {
                compare: vec![Compare {
                    key: key.clone(),
                    target: Target::CreateRevision(0),
                    relation: Relation::Equal,
                }],
                then: vec![
                    Action::Put(Put { key, value: self.value.as_str().into() }),
                    Action::Delete(Delete { key: other.as_str().into(), end: None }),
                    Action::Get(all),
                ],
                otherwise: vec![],
            }),
        }
    }
}

/// A history, the state at its end, and everything the store changed.
pub(crate) struct Made {
    pub(crate) history: History,
    pub(crate) finale: Final,
    pub(crate) changes: Vec<Change>,
    pub(crate) states: Vec<Snapshot>,
}

pub(crate) fn make(seed: u64, shape: Shape) -> Made {
    let mut chance = Chance::new(seed);
    let mut plans = plan(&mut chance, shape);
    plans.sort_by_key(|plan| plan.effect);
    let mut store = Store { revision: 1, ..Store::default() };
    let mut states = vec![store.clone()];
    let (mut operations, mut changes, mut writes) = (Vec::new(), Vec::new(), 0);
    for mut plan in plans {
        if let What::Cas(expected) = &mut plan.what {
            // Mostly what the key has now, so that some succeed.
            *expected = match store.kvs.get(&plan.key) {
                Some(kv) if !chance.one_in(4) => kv.mod_revision,
                _ => (*expected).min(store.revision),
            };
        }
        let before = store.clone();
        let mut outcome = if plan.serializable {
            let old = &states[states.len() - 1 - chance.below(states.len().min(3) as u64) as usize];
            old.clone().apply(&plan)
        } else if plan.happens {
            store.apply(&plan)
        } else {
            Outcome::Failed { error: "refused".into() }
        };
        if store.revision > before.revision {
            writes += 1;
            if shape.lose == Some(writes) && !plan.unknown {
                store = before;
            } else {
                changes.push(change(&before, &store));
                states.push(store.clone());
            }
        }
        let mut ret = Some(plan.ret);
        if plan.unknown {
            outcome = Outcome::Unknown { error: "timeout".into() };
            // Giving up comes before the effect, or never.
            ret = chance.one_in(2).then(|| plan.call + chance.below(plan.ret - plan.call + 1));
        }
        let (input, client, call) = (plan.input(), plan.client, plan.call);
        operations.push(Operation { client, member: None, call, ret, input, outcome });
    }
    let finale = Final::read(store.snapshot());
    let states = states.iter().map(Store::snapshot).collect();
    Made { history: History { initial: Snapshot::default(), operations }, finale, changes, states }
}

fn plan(chance: &mut Chance, shape: Shape) -> Vec<Plan> {
    let mut free: Vec<u64> = (0..shape.clients).map(|_| chance.below(50)).collect();
    let mut plans = Vec::new();
    for number in 0..shape.operations {
        let client = chance.below(shape.clients) as usize;
        let call = free[client] + 1 + chance.below(30);
        let effect = call + chance.below(40);
        let ret = effect + chance.below(40);
        free[client] = ret + 1;
        let key = format!("k{}", chance.below(shape.keys));
        let what = match chance.below(16) {
            0..=4 => What::Get,
            5..=6 => What::List,
            7..=10 => What::Put,
            11 => What::Delete,
            12 => What::Cas(chance.below(4) as i64),
            13 if chance.one_in(2) => What::DeleteAll,
            13..=14 => What::Cas(0),
            _ => What::Create(format!("k{}", chance.below(shape.keys))),
        };
        let reads = matches!(what, What::Get | What::List);
        let unknown = shape.unknown_one_in > 0 && chance.one_in(shape.unknown_one_in);
        // A key is not put and deleted in one transaction: etcd refuses that.
        let what = match what {
            What::Create(other) if other == key => What::Put,
            what => what,
        };
        plans.push(Plan {
            client: client as u32,
            call,
            effect: if unknown && chance.one_in(2) { effect + chance.below(500) } else { effect },
            ret,
            key,
            value: format!("v{number}"),
            what,
            serializable: shape.serializable && reads && chance.one_in(2),
            unknown,
            happens: !chance.one_in(if unknown { 3 } else { 20 }),
        });
    }
    plans
}

fn change(before: &Store, after: &Store) -> Change {
    let mut keys = BTreeMap::new();
    for (key, kv) in &after.kvs {
        if before.kvs.get(key) != Some(kv) {
            keys.insert(Blob::from(key.as_str()), Some(kv.value.clone()));
        }
    }
    for key in before.kvs.keys().filter(|key| !after.kvs.contains_key(*key)) {
        keys.insert(Blob::from(key.as_str()), None);
    }
    Change { revision: after.revision, keys, by_store: false }
}
