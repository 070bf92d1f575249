//! Locks and elections against a store that answers from a script: what is asked, in which order, and what comes of it.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]

use seatrial_client::{ClientError, Election, LockError, Mutex, Place, Store, Watching};
use seatrial_types::request::{
    CompareTarget, DeleteRangeRequest, DeleteRangeResponse, Header, PutResponse, RangeRequest, RangeResponse,
    SortOrder, SortTarget, TxnOp, TxnOpResponse, TxnRequest, TxnResponse,
};
use seatrial_types::watch::{WatchCreate, WatchId, WatchResponse};
use seatrial_types::{Error, Event, EventKind, KeyRange, KeyValue, LeaseId, Request, Response, Revision};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex as StdMutex};

/// Answers from its script; a call beyond its end fails the test.
#[derive(Clone, Default)]
struct Scripted {
    answers: Arc<StdMutex<VecDeque<Result<Response, Error>>>>,
    streams: Arc<StdMutex<VecDeque<Vec<WatchResponse>>>>,
    calls: Arc<StdMutex<Vec<Request>>>,
    watches: Arc<StdMutex<Vec<WatchCreate>>>,
}

impl Scripted {
    fn new(answers: Vec<Result<Response, Error>>, streams: Vec<Vec<WatchResponse>>) -> Self {
        Self {
            answers: Arc::new(StdMutex::new(answers.into())),
            streams: Arc::new(StdMutex::new(streams.into())),
            ..Self::default()
        }
    }

    /// What was asked, in short; everything of the script must have been used.
    fn asked(&self) -> Vec<String> {
        assert_eq!(self.answers.lock().unwrap().len(), 0, "answers nobody asked for");
        assert_eq!(self.streams.lock().unwrap().len(), 0, "watches nobody started");
        self.calls.lock().unwrap().iter().map(short).collect()
    }

    /// The watches started, as key and first revision.
    fn watched(&self) -> Vec<(String, i64)> {
        let watches = self.watches.lock().unwrap();
        watches.iter().map(|create| (text(&create.range), create.start_revision.0)).collect()
    }
}

impl Store for Scripted {
    type Watch = Stream;

    async fn call(&self, request: Request) -> Result<Response, ClientError> {
        self.calls.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or_else(|| panic!("nothing in the script for {request:?}"));
        answer.map_err(|error| ClientError::answered(error, &request))
    }

    fn watch(&self, create: WatchCreate) -> Stream {
        self.watches.lock().unwrap().push(create);
        Stream(self.streams.lock().unwrap().pop_front().expect("no such watch in the script").into())
    }
}

struct Stream(VecDeque<WatchResponse>);

impl Watching for Stream {
    async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        self.0.pop_front().map(Ok)
    }

    fn request_progress(&mut self) {}
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A wait that ends too early would look like one that ends in time.
        assert!(self.0.is_empty() || std::thread::panicking(), "left unheard: {:?}", self.0);
    }
}

fn text(range: &KeyRange) -> String {
    let end = String::from_utf8_lossy(&range.end);
    let key = String::from_utf8_lossy(&range.key);
    if end.is_empty() { key.into_owned() } else { format!("{key}..{end}") }
}

fn short_range(range: &RangeRequest) -> String {
    match (range.sort_target, range.sort_order, range.limit) {
        (SortTarget::Create, SortOrder::Ascend, 1) => format!("oldest {}", text(&range.range)),
        (SortTarget::Create, SortOrder::Descend, 1) => {
            format!("newest {} up to {}", text(&range.range), range.max_create_revision.0)
        }
        _ => format!("get {}", text(&range.range)),
    }
}

fn short_op(op: &TxnOp) -> String {
    match op {
        TxnOp::Range(range) => short_range(range),
        TxnOp::Put(put) => {
            let (key, value) = (String::from_utf8_lossy(&put.key), String::from_utf8_lossy(&put.value));
            format!("put {key}={value} lease {}", put.lease.0)
        }
        TxnOp::DeleteRange(DeleteRangeRequest { range, .. }) => format!("delete {}", text(range)),
        TxnOp::Txn(_) => panic!("no transactions in transactions"),
    }
}

fn short(request: &Request) -> String {
    match request {
        Request::Range(range) => short_range(range),
        Request::DeleteRange(delete) => format!("delete {}", text(&delete.range)),
        Request::Txn(TxnRequest { compare, success, failure }) => {
            let compare = compare.iter().map(|compare| match compare.target {
                CompareTarget::Create(revision) => format!("{}@{}", text(&compare.range), revision.0),
                _ => panic!("compares something else: {compare:?}"),
            });
            let ops = |ops: &[TxnOp]| ops.iter().map(short_op).collect::<Vec<_>>().join(", ");
            let compare = compare.collect::<Vec<_>>().join(", ");
            format!("if {compare} then {} else {}", ops(success), ops(failure))
        }
        other => panic!("asks for something else: {other:?}"),
    }
}

fn header(revision: i64) -> Header {
    Header { revision: Revision(revision), ..Header::default() }
}

fn kv(key: &'static str, value: &'static str, create: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: Revision(create),
        mod_revision: Revision(create),
        version: 1,
        lease: LeaseId::NONE,
    }
}

fn range(revision: i64, kvs: Vec<KeyValue>) -> RangeResponse {
    RangeResponse { header: header(revision), kvs, ..RangeResponse::default() }
}

fn found(revision: i64, kvs: Vec<KeyValue>) -> Result<Response, Error> {
    Ok(Response::Range(range(revision, kvs)))
}

fn txn(revision: i64, succeeded: bool, responses: Vec<TxnOpResponse>) -> Result<Response, Error> {
    Ok(Response::Txn(TxnResponse { header: header(revision), succeeded, responses }))
}

/// Our key was put at this revision; the oldest is this one.
fn joined(revision: i64, oldest: KeyValue) -> Result<Response, Error> {
    let put = TxnOpResponse::Put(PutResponse::default());
    txn(revision, true, vec![put, TxnOpResponse::Range(range(revision, vec![oldest]))])
}

/// Our key is there already.
fn there(own: KeyValue, oldest: KeyValue) -> Result<Response, Error> {
    let range = |kv| TxnOpResponse::Range(range(40, vec![kv]));
    txn(40, false, vec![range(own), range(oldest)])
}

fn gone(revision: i64) -> Result<Response, Error> {
    Ok(Response::DeleteRange(DeleteRangeResponse { header: header(revision), ..Default::default() }))
}

fn answer(revision: i64, events: &[(EventKind, &'static str, &'static str, i64)]) -> WatchResponse {
    let event = |(kind, key, value, revision): &(EventKind, &'static str, &'static str, i64)| Event {
        kind: *kind,
        kv: kv(key, value, *revision),
        prev_kv: None,
    };
    WatchResponse {
        header: header(revision),
        watch_id: WatchId(1),
        created: events.is_empty(),
        canceled: false,
        cancel_reason: String::new(),
        compact_revision: Revision(0),
        fragment: false,
        events: events.iter().map(event).collect(),
    }
}

fn compacted() -> WatchResponse {
    WatchResponse { created: false, canceled: true, compact_revision: Revision(60), ..answer(60, &[]) }
}

use EventKind::{Delete, Put};

/// The lock `l` for lease 0x1f.
fn mutex(store: &Scripted) -> Mutex<Scripted> {
    Mutex::new(store.clone(), b"l", LeaseId(0x1f))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn refused(error: Error, ambiguous: bool) -> LockError {
    LockError::Client(ClientError { error, ambiguous })
}

const JOIN: &str = "if l/1f@0 then put l/1f= lease 31, oldest l/..l0 else get l/1f, oldest l/..l0";

#[test]
fn a_free_lock_is_taken_with_one_request() {
    let store = Scripted::new(vec![joined(7, kv("l/1f", "", 7))], vec![]);
    let place = run(mutex(&store).lock()).unwrap();
    assert_eq!((place.key.as_ref(), place.revision), (&b"l/1f"[..], Revision(7)));
    assert_eq!((place.lease, place.header.revision), (LeaseId(0x1f), Revision(7)));
    assert_eq!(store.asked(), [JOIN]);
}

#[test]
fn whoever_holds_the_lock_already_keeps_its_fencing_revision() {
    let store = Scripted::new(vec![there(kv("l/1f", "", 5), kv("l/1f", "", 5))], vec![]);
    let place = run(mutex(&store).lock()).unwrap();
    assert_eq!((place.revision, place.header.revision), (Revision(5), Revision(40)));
    let compare = place.is_ours();
    assert_eq!((text(&compare.range), compare.target), ("l/1f".into(), CompareTarget::Create(Revision(5))));
}

#[test]
fn a_waiter_is_woken_by_the_key_before_it_and_looks_again_each_time() {
    let answers = vec![
        joined(9, kv("l/a", "", 3)),
        found(10, vec![kv("l/b", "", 8)]),
        found(14, vec![kv("l/a", "", 3)]),
        found(20, vec![]),
        found(21, vec![kv("l/1f", "", 9)]),
    ];
    let streams = vec![
        // A change of the key is no departure.
        vec![answer(10, &[]), answer(12, &[(Put, "l/b", "x", 12)]), answer(13, &[(Delete, "l/b", "", 13)])],
        vec![answer(14, &[]), answer(19, &[(Put, "l/a", "", 18), (Delete, "l/a", "", 19)])],
    ];
    let store = Scripted::new(answers, streams);
    let place = run(mutex(&store).lock()).unwrap();
    assert_eq!((place.revision, place.header.revision), (Revision(9), Revision(21)));
    let look = "newest l/..l0 up to 8";
    assert_eq!(store.asked(), [JOIN, look, look, look, "get l/1f"]);
    assert_eq!(store.watched(), [("l/b".to_owned(), 10), ("l/a".to_owned(), 14)]);
}

#[test]
fn a_waiter_whose_lease_has_ended_does_not_get_the_lock() {
    let answers = vec![joined(9, kv("l/a", "", 3)), found(20, vec![]), found(21, vec![])];
    let store = Scripted::new(answers, vec![]);
    assert_eq!(run(mutex(&store).lock()), Err(LockError::SessionExpired));
    assert_eq!(store.asked(), [JOIN, "newest l/..l0 up to 8", "get l/1f"]);
}

#[test]
fn a_wait_that_fails_leaves_the_queue() {
    let before = || found(10, vec![kv("l/a", "", 3)]);
    let cases = [
        (vec![Err(Error::NoLeader), gone(11)], vec![], refused(Error::NoLeader, false)),
        (vec![before(), gone(11)], vec![vec![compacted()]], refused(Error::Compacted, false)),
        (vec![before(), gone(11)], vec![vec![answer(10, &[])]], LockError::WatchLost),
        // Our own failure to look whether our key is there is no proof that it is.
        (vec![found(10, vec![]), Err(Error::Timeout), gone(11)], vec![], refused(Error::Timeout, false)),
        // Leaving may fail too; the reason of it all is told.
        (vec![Err(Error::NoLeader), Err(Error::Timeout)], vec![], refused(Error::NoLeader, false)),
    ];
    for (mut answers, streams, error) in cases {
        answers.insert(0, joined(9, kv("l/a", "", 3)));
        let store = Scripted::new(answers, streams);
        assert_eq!(run(mutex(&store).lock()), Err(error.clone()));
        assert_eq!(store.asked().last().map(String::as_str), Some("delete l/1f"), "{error}");
    }
}

#[test]
fn a_refusal_to_join_deletes_nothing() {
    let store = Scripted::new(vec![Err(Error::LeaseNotFound)], vec![]);
    assert_eq!(run(mutex(&store).lock()), Err(refused(Error::LeaseNotFound, false)));
    // Nobody knows whether our key is there now: the caller is told so.
    let store = Scripted::new(vec![Err(Error::Timeout)], vec![]);
    assert_eq!(run(mutex(&store).lock()), Err(refused(Error::Timeout, true)));
    assert_eq!(store.asked(), [JOIN]);
}

#[test]
fn an_attempt_at_a_lock_that_is_held_leaves_no_trace() {
    let store = Scripted::new(vec![joined(9, kv("l/a", "", 3)), gone(10)], vec![]);
    assert_eq!(run(mutex(&store).try_lock()), Err(LockError::Locked));
    assert_eq!(store.asked(), [JOIN, "delete l/1f"]);
    let store = Scripted::new(vec![joined(9, kv("l/1f", "", 9)), gone(10)], vec![]);
    let place = run(mutex(&store).try_lock()).unwrap();
    assert_eq!(run(mutex(&store).unlock(&place)).unwrap().revision, Revision(10));
    assert_eq!(store.asked(), [JOIN, "delete l/1f"]);
}

#[test]
fn an_answer_that_does_not_fit_is_an_error_whose_outcome_is_unknown() {
    let own = TxnOpResponse::Range(range(9, vec![]));
    for answer in [txn(9, true, vec![]), txn(9, false, vec![own.clone(), own])] {
        let store = Scripted::new(vec![answer], vec![]);
        let error = run(mutex(&store).lock()).unwrap_err();
        assert!(matches!(&error, LockError::Client(error) if error.ambiguous), "{error:?}");
    }
}

#[test]
fn the_key_of_a_lease_is_written_as_etcd_writes_it() {
    for (lease, key) in [(0x2a_bcde, "l/2abcde"), (-1, "l/-1"), (i64::MIN, "l/-8000000000000000")] {
        let store = Scripted::new(vec![joined(9, kv("l/a", "", 9))], vec![]);
        let place = run(Mutex::new(store, b"l", LeaseId(lease)).lock()).unwrap();
        assert_eq!(place.key, key);
    }
}

fn election(store: &Scripted) -> Election<Scripted> {
    Election::new(store.clone(), b"e")
}

const STAND: &str = "if e/1f@0 then put e/1f=me lease 31, oldest e/..e0 else get e/1f, oldest e/..e0";

#[test]
fn a_candidate_leads_once_those_before_it_are_gone() {
    let answers = vec![joined(9, kv("e/a", "", 3)), found(10, vec![kv("e/a", "", 3)]), found(12, vec![])];
    let store = Scripted::new(answers, vec![vec![answer(11, &[(Delete, "e/a", "", 11)])]]);
    let place = run(election(&store).campaign(LeaseId(0x1f), "me".into())).unwrap();
    assert_eq!((place.key.as_ref(), place.revision), (&b"e/1f"[..], Revision(9)));
    assert_eq!(store.asked(), [STAND, "newest e/..e0 up to 8", "newest e/..e0 up to 8"]);
}

#[test]
fn a_candidate_that_stands_already_proclaims_its_new_value() {
    let answers =
        vec![there(kv("e/1f", "old", 5), kv("e/1f", "old", 5)), txn(41, true, vec![]), found(42, vec![])];
    let store = Scripted::new(answers, vec![]);
    let place = run(election(&store).campaign(LeaseId(0x1f), "me".into())).unwrap();
    assert_eq!(place.revision, Revision(5));
    let proclaim = "if e/1f@5 then put e/1f=me lease 31 else ";
    assert_eq!(store.asked(), [STAND, proclaim, "newest e/..e0 up to 4"]);

    // The same value needs no word.
    let answers = vec![there(kv("e/1f", "me", 5), kv("e/1f", "me", 5)), found(42, vec![])];
    let store = Scripted::new(answers, vec![]);
    run(election(&store).campaign(LeaseId(0x1f), "me".into())).unwrap();
    assert_eq!(store.asked(), [STAND, "newest e/..e0 up to 4"]);

    // With the old value nobody may stand who wants another.
    let answers =
        vec![there(kv("e/1f", "old", 5), kv("e/1f", "old", 5)), Err(Error::NoLeader), txn(43, true, vec![])];
    let store = Scripted::new(answers, vec![]);
    let error = run(election(&store).campaign(LeaseId(0x1f), "me".into())).unwrap_err();
    assert_eq!(error, refused(Error::NoLeader, false));
    assert_eq!(store.asked(), [STAND, proclaim, "if e/1f@5 then delete e/1f else "]);
}

#[test]
fn only_a_leadership_that_lasts_can_proclaim() {
    let place =
        Place { key: "e/1f".into(), revision: Revision(5), lease: LeaseId(0x1f), header: Header::default() };
    let answers = vec![txn(41, true, vec![]), txn(42, false, vec![]), txn(43, false, vec![])];
    let store = Scripted::new(answers, vec![]);
    let election = election(&store);
    assert_eq!(run(election.proclaim(&place, "me".into())), Ok(header(41)));
    assert_eq!(run(election.proclaim(&place, "me".into())), Err(LockError::NotLeader));
    assert_eq!(run(election.resign(&place)), Ok(header(43)));
    let proclaim = "if e/1f@5 then put e/1f=me lease 31 else ";
    assert_eq!(store.asked(), [proclaim, proclaim, "if e/1f@5 then delete e/1f else "]);
}

#[test]
fn the_oldest_key_leads_if_there_is_one() {
    let store = Scripted::new(vec![found(9, vec![kv("e/a", "v", 3)]), found(9, vec![])], vec![]);
    assert_eq!(run(election(&store).leader()), Ok((header(9), kv("e/a", "v", 3))));
    assert_eq!(run(election(&store).leader()), Err(LockError::NoLeader));
    assert_eq!(store.asked(), ["oldest e/..e0", "oldest e/..e0"]);
}

#[test]
fn an_observer_follows_the_leaders_and_their_values() {
    let answers = vec![
        found(4, vec![]),
        found(20, vec![kv("e/b", "two", 8)]),
        Err(Error::NoLeader),
        found(30, vec![kv("e/b", "three", 8)]),
    ];
    let streams = vec![
        // Nobody leads: deletions say nothing, and of the puts the first counts.
        vec![
            answer(4, &[]),
            answer(5, &[(Delete, "e/z", "", 5)]),
            answer(8, &[(Put, "e/a", "one", 7), (Put, "e/b", "two", 8)]),
        ],
        vec![
            answer(8, &[]),
            answer(10, &[(Put, "e/a", "one and a half", 10)]),
            answer(15, &[(Put, "e/a", "almost two", 14), (Delete, "e/a", "", 15)]),
        ],
        vec![compacted()],
        vec![],
    ];
    let store = Scripted::new(answers, streams);
    let mut observer = election(&store).observe();
    let mut next = || {
        run(observer.next())
            .map(|(header, kv)| (header.revision.0, String::from_utf8(kv.value.to_vec()).unwrap()))
    };
    assert_eq!(next(), Ok((7, "one".to_owned())));
    assert_eq!(next(), Ok((10, "one and a half".to_owned())));
    assert_eq!(next(), Ok((15, "almost two".to_owned())));
    assert_eq!(next(), Ok((20, "two".to_owned())));
    // Where the watch ends it says why; then it begins anew.
    assert_eq!(next(), Err(refused(Error::Compacted, false)));
    assert_eq!(next(), Err(refused(Error::NoLeader, false)));
    assert_eq!(next(), Ok((30, "three".to_owned())));
    assert_eq!(next(), Err(LockError::WatchLost));
    assert_eq!(store.asked(), ["oldest e/..e0"; 4]);
    let watched = [("e/..e0", 4), ("e/a", 8), ("e/b", 21), ("e/b", 31)];
    assert_eq!(store.watched(), watched.map(|(key, revision)| (key.to_owned(), revision)));
}
