//! The store as one would write it without caring for speed: the whole history in a list.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several test files, each of which uses a part"
)]

use bytes::Bytes;
use seatrial_store::Command;
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, DeleteRangeResponse, Header, LeaseGrantResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Response, SortOrder, SortTarget, TxnOp,
    TxnOpResponse, TxnRequest, TxnResponse,
};
use seatrial_types::{Error, Event, EventKind, KeyRange, KeyValue, LeaseId, Revision};
use std::collections::BTreeMap;

type State = BTreeMap<Bytes, KeyValue>;

/// Every state there ever was, by revision.
#[derive(Clone, Debug)]
pub struct Reference {
    pub states: Vec<(i64, State)>,
    pub events: Vec<Event>,
    pub compacted: i64,
    pub leases: BTreeMap<LeaseId, i64>,
}

fn header(revision: i64) -> Header {
    Header { revision: Revision(revision), ..Header::default() }
}

impl Default for Reference {
    fn default() -> Self {
        let states = vec![(1, State::new())];
        Self { states, events: Vec::new(), compacted: -1, leases: BTreeMap::new() }
    }
}

/// A transaction under way.
struct Work {
    revision: i64,
    state: State,
    events: Vec<Event>,
}

impl Work {
    fn visible(&self) -> i64 {
        if self.events.is_empty() { self.revision - 1 } else { self.revision }
    }
}

impl Reference {
    pub fn revision(&self) -> i64 {
        self.states.last().unwrap().0
    }

    fn newest(&self) -> &State {
        &self.states.last().unwrap().1
    }

    pub fn state_at(&self, revision: i64) -> &State {
        &self.states.iter().rev().find(|(at, _)| *at <= revision).unwrap().1
    }

    fn work(&self) -> Work {
        Work { revision: self.revision() + 1, state: self.newest().clone(), events: Vec::new() }
    }

    fn end(&mut self, work: Work) -> Vec<Event> {
        if !work.events.is_empty() {
            self.states.push((work.revision, work.state));
            self.events.extend(work.events.clone());
        }
        work.events
    }

    pub fn apply(&mut self, command: &Command) -> (Result<Option<Response>, Error>, Vec<Event>) {
        match self.run(command) {
            Ok((response, events)) => (Ok(response), events),
            Err(error) => (Err(error), Vec::new()),
        }
    }

    fn run(&mut self, command: &Command) -> Result<(Option<Response>, Vec<Event>), Error> {
        let mut work = self.work();
        let response = match command.inner() {
            Command::Put(request) => {
                self.check_lease(request)?;
                self.check_put(request)?;
                Response::Put(put(&mut work, request))
            }
            Command::DeleteRange(request) => Response::DeleteRange(delete(&mut work, request)),
            Command::Txn(request) => {
                self.check_txn(request)?;
                let mut response = self.txn(&mut work, request)?;
                response.header = header(work.visible());
                Response::Txn(response)
            }
            Command::Compact(request) => {
                if request.revision.0 <= self.compacted {
                    return Err(Error::Compacted);
                }
                if request.revision.0 > self.revision() {
                    return Err(Error::FutureRevision);
                }
                self.compacted = request.revision.0;
                Response::Compact(header(self.revision()))
            }
            Command::LeaseGrant(request) => {
                if self.leases.contains_key(&request.id) {
                    return Err(Error::LeaseExists);
                }
                self.leases.insert(request.id, request.ttl_seconds);
                let (id, ttl_seconds) = (request.id, request.ttl_seconds);
                Response::LeaseGrant(LeaseGrantResponse { header: header(self.revision()), id, ttl_seconds })
            }
            Command::LeaseRevoke(id) => {
                self.leases.remove(id).ok_or(Error::LeaseNotFound)?;
                let keys: Vec<Bytes> =
                    work.state.values().filter(|kv| kv.lease == *id).map(|kv| kv.key.clone()).collect();
                for key in keys {
                    delete(&mut work, &DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false });
                }
                Response::LeaseRevoke(header(work.visible()))
            }
            Command::Auth(_) | Command::As(..) => unreachable!("the reference has no users"),
            Command::Meta(_) | Command::LeaseCheckpoint(_) | Command::V2(_) | Command::V2Tick(_) => {
                return Ok((None, Vec::new()));
            }
        };
        Ok((Some(response), self.end(work)))
    }

    fn check_put(&self, request: &PutRequest) -> Result<(), Error> {
        if (request.ignore_value || request.ignore_lease) && !self.newest().contains_key(&request.key) {
            return Err(Error::KeyNotFound);
        }
        self.check_lease(request)
    }

    fn check_lease(&self, request: &PutRequest) -> Result<(), Error> {
        if request.lease != LeaseId::NONE && !self.leases.contains_key(&request.lease) {
            return Err(Error::LeaseNotFound);
        }
        Ok(())
    }

    fn branch<'a>(&self, request: &'a TxnRequest) -> (bool, &'a [TxnOp]) {
        let succeeded = request.compare.iter().all(|compare| holds(self.newest(), compare));
        (succeeded, if succeeded { &request.success } else { &request.failure })
    }

    /// All puts, then all ranges.
    fn check_txn(&self, request: &TxnRequest) -> Result<(), Error> {
        self.check_puts(request)?;
        self.check_ranges(request)
    }

    fn check_puts(&self, request: &TxnRequest) -> Result<(), Error> {
        for op in self.branch(request).1 {
            match op {
                TxnOp::Put(put) => self.check_put(put)?,
                TxnOp::Txn(inner) => self.check_puts(inner)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn check_ranges(&self, request: &TxnRequest) -> Result<(), Error> {
        for op in self.branch(request).1 {
            match op {
                TxnOp::Range(range) if range.revision.0 > self.revision() => {
                    return Err(Error::FutureRevision);
                }
                TxnOp::Range(range) if range.revision.0 != 0 && range.revision.0 < self.compacted => {
                    return Err(Error::Compacted);
                }
                TxnOp::Txn(inner) => self.check_ranges(inner)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn txn(&self, work: &mut Work, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let (succeeded, ops) = self.branch(request);
        let mut responses = Vec::new();
        for op in ops {
            responses.push(match op {
                TxnOp::Range(range) => {
                    let state =
                        if range.revision.0 <= 0 { &work.state } else { self.state_at(range.revision.0) };
                    TxnOpResponse::Range(self.answer(state, range, work.visible())?)
                }
                TxnOp::Put(request) => TxnOpResponse::Put(put(work, request)),
                TxnOp::DeleteRange(request) => TxnOpResponse::DeleteRange(delete(work, request)),
                TxnOp::Txn(inner) => TxnOpResponse::Txn(self.txn(work, inner)?),
            });
        }
        Ok(TxnResponse { header: Header::default(), succeeded, responses })
    }

    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        if request.revision.0 > self.revision() {
            return Err(Error::FutureRevision);
        }
        let revision = if request.revision.0 <= 0 { self.revision() } else { request.revision.0 };
        if revision < self.compacted {
            return Err(Error::Compacted);
        }
        self.answer(self.state_at(revision), request, self.revision())
    }

    fn answer(&self, state: &State, request: &RangeRequest, newest: i64) -> Result<RangeResponse, Error> {
        let mut kvs: Vec<KeyValue> =
            state.values().filter(|kv| request.range.contains(&kv.key)).cloned().collect();
        let count = kvs.len() as i64;
        let mut more = false;
        if request.count_only {
            kvs.clear();
        }
        let limit = request.limit.max(0) as usize;
        let has_filter = request.min_mod_revision.0 != 0
            || request.max_mod_revision.0 != 0
            || request.min_create_revision.0 != 0
            || request.max_create_revision.0 != 0;
        if request.sort_order == SortOrder::None && !has_filter && limit > 0 {
            kvs.truncate(limit + 1);
        }
        kvs.retain(|kv| {
            let ok =
                |value: i64, min: i64, max: i64| (min == 0 || min <= value) && (max == 0 || value <= max);
            ok(kv.mod_revision.0, request.min_mod_revision.0, request.max_mod_revision.0)
                && ok(kv.create_revision.0, request.min_create_revision.0, request.max_create_revision.0)
        });
        kvs.sort_by(|a, b| {
            let order = match request.sort_target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if request.sort_order == SortOrder::Descend { order.reverse() } else { order }
        });
        if limit > 0 && kvs.len() > limit {
            kvs.truncate(limit);
            more = true;
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse { header: header(newest), kvs, more, count })
    }

    /// Events from a revision on, with the versions before where they are not compacted.
    pub fn history(&self, from: i64) -> Vec<Event> {
        let events = self.events.iter().filter(|event| event.kv.mod_revision.0 >= from);
        events
            .map(|event| {
                let before = event.kv.mod_revision.0 - 1;
                let prev_kv = if before < self.compacted {
                    None
                } else {
                    self.state_at(before).get(&event.kv.key).cloned()
                };
                Event { prev_kv, ..event.clone() }
            })
            .collect()
    }
}

fn holds(state: &State, compare: &Compare) -> bool {
    let matches = |kv: &KeyValue| {
        let order = match &compare.target {
            CompareTarget::Version(version) => kv.version.cmp(version),
            CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
            CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
            CompareTarget::Value(value) => kv.value.cmp(value),
            CompareTarget::Lease(lease) => kv.lease.cmp(lease),
        };
        match compare.op {
            CompareOp::Equal => order.is_eq(),
            CompareOp::NotEqual => order.is_ne(),
            CompareOp::Greater => order.is_gt(),
            CompareOp::Less => order.is_lt(),
        }
    };
    let mut found = state.values().filter(|kv| compare.range.contains(&kv.key)).peekable();
    if found.peek().is_none() {
        return !matches!(compare.target, CompareTarget::Value(_)) && matches(&KeyValue::default());
    }
    found.all(matches)
}

fn put(work: &mut Work, request: &PutRequest) -> PutResponse {
    let before = work.state.get(&request.key).cloned();
    let mut kv = KeyValue {
        key: request.key.clone(),
        value: request.value.clone(),
        create_revision: Revision(work.revision),
        mod_revision: Revision(work.revision),
        version: 1,
        lease: request.lease,
    };
    if let Some(before) = &before {
        kv.create_revision = before.create_revision;
        kv.version = before.version + 1;
        if request.ignore_value {
            kv.value = before.value.clone();
        }
        if request.ignore_lease {
            kv.lease = before.lease;
        }
    }
    work.state.insert(request.key.clone(), kv.clone());
    work.events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
    PutResponse { header: header(work.revision), prev_kv: before.filter(|_| request.prev_kv) }
}

fn delete(work: &mut Work, request: &DeleteRangeRequest) -> DeleteRangeResponse {
    let keys: Vec<Bytes> = work.state.keys().filter(|key| request.range.contains(key)).cloned().collect();
    let mut prev_kvs = Vec::new();
    for key in &keys {
        prev_kvs.push(work.state.remove(key).unwrap());
        let kv = KeyValue { key: key.clone(), mod_revision: Revision(work.revision), ..KeyValue::default() };
        work.events.push(Event { kind: EventKind::Delete, kv, prev_kv: None });
    }
    if !request.prev_kv {
        prev_kvs.clear();
    }
    DeleteRangeResponse { header: header(work.visible()), deleted: keys.len() as i64, prev_kvs }
}
