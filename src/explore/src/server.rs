//! The store as a value that answers one request at a time: the state machine of every member, on a backend in memory, with nothing
//! between it and who asks.

use crate::script::{Ask, Reply};
use seatrial_store::{Command, HubOptions, MemBackend, Store};
use seatrial_types::request::{LeaseGrantRequest, RangeRequest, Response};
use seatrial_types::watch::{WatchCreate, WatchId, WatchResponse};
use seatrial_types::{
    Error, Event, EventKind, KeyRange, KeyValue, LeaseId, LogIndex, Request, Revision, Term,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// All that can be seen of it from now on: nobody reads what was before, so two stores that differ in nothing else are one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Seen {
    revision: Revision,
    kvs: Vec<KeyValue>,
    leases: Vec<LeaseId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    store: Arc<Store<MemBackend>>,
    seen: Arc<Seen>,
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.seen == other.seen
    }
}

impl Eq for Server {}

impl Hash for Server {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seen.hash(state);
    }
}

/// Long enough that no model has to ask how long.
const TTL_SECONDS: i64 = 60;

impl Server {
    pub(crate) fn new() -> Self {
        let store = Store::open(MemBackend::new(), HubOptions::default());
        let store = Arc::new(store.expect("an empty backend can be opened"));
        let seen = Arc::new(Seen { revision: store.revision(), kvs: Vec::new(), leases: Vec::new() });
        Self { store, seen }
    }

    /// The keys, in their order.
    pub(crate) fn kvs(&self) -> &[KeyValue] {
        &self.seen.kvs
    }

    pub(crate) fn revision(&self) -> Revision {
        self.seen.revision
    }

    /// The key below a prefix that was created first.
    pub(crate) fn oldest(&self, prefix: &[u8]) -> Option<&KeyValue> {
        let below = self.seen.kvs.iter().filter(|kv| kv.key.starts_with(prefix));
        below.min_by_key(|kv| kv.create_revision)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.seen.kvs.iter().find(|kv| kv.key == key)
    }

    pub(crate) fn has_lease(&self, lease: LeaseId) -> bool {
        self.seen.leases.contains(&lease)
    }

    pub(crate) fn grant(&mut self, lease: LeaseId) {
        let grant = LeaseGrantRequest { id: lease, ttl_seconds: TTL_SECONDS };
        self.apply(&Command::LeaseGrant(grant)).expect("a lease of a new id is granted");
    }

    /// A lease has run out, or was given back; its keys go with it.
    pub(crate) fn end(&mut self, lease: LeaseId) {
        let _ = self.apply(&Command::LeaseRevoke(lease));
    }

    /// What comes of a question; `None` where a watch has nothing to say yet.
    pub(crate) fn serve(&mut self, ask: &Ask) -> Option<Reply> {
        let answer = match ask {
            Ask::Watch(create) => return self.deleted(create).map(Reply::Watched),
            Ask::Call(Request::Range(request)) => self.range(request),
            Ask::Call(Request::Put(request)) => self.apply(&Command::Put(request.clone())),
            Ask::Call(Request::DeleteRange(request)) => self.apply(&Command::DeleteRange(request.clone())),
            Ask::Call(Request::Txn(request)) => self.apply(&Command::Txn(request.clone())),
            Ask::Call(other) => unreachable!("nobody asks for {other:?} here"),
        };
        Some(Reply::Answered(answer))
    }

    fn range(&self, request: &RangeRequest) -> Result<Response, Error> {
        self.store.range(request).map(Response::Range).map_err(|failure| match failure {
            seatrial_store::Failure::Refused(error) => error,
            seatrial_store::Failure::Broken(error) => panic!("a backend in memory: {error}"),
        })
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        let store = Arc::make_mut(&mut self.store);
        let index = LogIndex(store.applied().0 + 1);
        let applied = store.apply(index, Term(1), command, Duration::ZERO);
        let answer = applied.expect("a backend in memory does not break").answer;
        let everything = RangeRequest { range: KeyRange::prefix(""), ..RangeRequest::default() };
        let kvs = match store.range(&everything) {
            Ok(answer) => answer.kvs,
            Err(failure) => panic!("all keys can be read: {failure:?}"),
        };
        let leases = store.leases().ids().collect();
        self.seen = Arc::new(Seen { revision: store.revision(), kvs, leases });
        answer.map(|answer| answer.expect("every request has an answer"))
    }

    /// Of a watch for the end of one key: that is all that is watched for here.
    fn deleted(&self, create: &WatchCreate) -> Option<WatchResponse> {
        assert!(create.range.is_single(), "a watch of more than one key: {create:?}");
        let key = create.range.key.clone();
        // Who begins in the past is told what has happened since, also where the key is there again.
        let is_there = self.get(&key).is_some_and(|kv| kv.create_revision <= create.start_revision);
        if is_there {
            return None;
        }
        let kv = KeyValue { key, mod_revision: self.revision(), ..KeyValue::default() };
        Some(WatchResponse {
            header: self.store.header(),
            watch_id: WatchId(0),
            created: false,
            canceled: false,
            cancel_reason: String::new(),
            compact_revision: Revision(0),
            fragment: false,
            events: vec![Event { kind: EventKind::Delete, kv, prev_kv: None }],
        })
    }
}
