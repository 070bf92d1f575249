//! Members look for their cluster in a store that is a map: what each finds, in whatever order they come.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]

use seatrial_client::discovery::{JoinError, Registry, join_cluster};
use seatrial_client::{ClientError, Roster, Store, Watching};
use seatrial_types::request::{
    Compare, CompareTarget, Header, PutResponse, RangeResponse, TxnOp, TxnOpResponse, TxnResponse,
};
use seatrial_types::watch::{WatchCreate, WatchId, WatchResponse};
use seatrial_types::{Code, Error, Event, EventKind, KeyValue, LeaseId, Request, Response, Revision};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Keys with a revision. Clones are the same store, and each has its own failures.
#[derive(Clone)]
struct Map {
    keys: Arc<Mutex<BTreeMap<Vec<u8>, KeyValue>>>,
    revision: Arc<watch::Sender<i64>>,
    /// The next calls fail like this; a failure that is ambiguous has happened all the same.
    failures: Arc<Mutex<VecDeque<ClientError>>>,
}

impl Map {
    fn new() -> Self {
        let revision = Arc::new(watch::Sender::new(1));
        Self { keys: Arc::default(), revision, failures: Arc::default() }
    }

    fn failing(&self, failures: impl IntoIterator<Item = ClientError>) -> Self {
        Self { failures: Arc::new(Mutex::new(failures.into_iter().collect())), ..self.clone() }
    }

    fn put(&self, key: &str, value: &str) {
        let mut revision = 0;
        self.revision.send_modify(|known| {
            *known += 1;
            revision = *known;
        });
        let key = key.as_bytes().to_vec();
        let mut keys = self.keys.lock().unwrap();
        let create_revision = keys.get(&key).map_or(Revision(revision), |kv| kv.create_revision);
        let kv = KeyValue {
            key: key.clone().into(),
            value: value.to_owned().into(),
            create_revision,
            mod_revision: Revision(revision),
            version: 1,
            lease: LeaseId::NONE,
        };
        keys.insert(key, kv);
    }

    fn holds(&self, compare: &Compare) -> bool {
        let known = self.keys.lock().unwrap().get(&compare.range.key[..]).map(|kv| kv.create_revision);
        compare.target == CompareTarget::Create(known.unwrap_or_default())
    }

    fn carry_out(&self, op: TxnOp) -> TxnOpResponse {
        match op {
            TxnOp::Range(ask) => {
                let keys = self.keys.lock().unwrap();
                let kvs: Vec<KeyValue> =
                    keys.values().filter(|kv| ask.range.contains(&kv.key)).cloned().collect();
                TxnOpResponse::Range(RangeResponse { header: self.header(), kvs, ..RangeResponse::default() })
            }
            TxnOp::Put(put) => {
                self.put(std::str::from_utf8(&put.key).unwrap(), std::str::from_utf8(&put.value).unwrap());
                TxnOpResponse::Put(PutResponse { header: self.header(), ..PutResponse::default() })
            }
            other => panic!("asks for something else: {other:?}"),
        }
    }

    fn header(&self) -> Header {
        Header { revision: Revision(*self.revision.borrow()), ..Header::default() }
    }
}

impl Store for Map {
    type Watch = Stream;

    async fn call(&self, request: Request) -> Result<Response, ClientError> {
        // Others come in between.
        tokio::task::yield_now().await;
        let failure = self.failures.lock().unwrap().pop_front();
        if let Some(failure) = failure.clone().filter(|failure| !failure.ambiguous) {
            return Err(failure);
        }
        let Request::Txn(txn) = request else { panic!("asks for something else: {request:?}") };
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let operations = if succeeded { txn.success } else { txn.failure };
        let responses = operations.into_iter().map(|op| self.carry_out(op)).collect();
        let response = TxnResponse { header: self.header(), succeeded, responses };
        failure.map_or(Ok(Response::Txn(response)), Err)
    }

    fn watch(&self, create: WatchCreate) -> Stream {
        Stream { revision: self.revision.subscribe(), from: create.start_revision, created: true }
    }
}

/// Says of every change that something has changed.
struct Stream {
    revision: watch::Receiver<i64>,
    from: Revision,
    created: bool,
}

fn answer(created: bool, events: Vec<Event>) -> WatchResponse {
    WatchResponse {
        header: Header::default(),
        watch_id: WatchId(0),
        created,
        canceled: false,
        cancel_reason: String::new(),
        compact_revision: Revision(0),
        fragment: false,
        events,
    }
}

impl Watching for Stream {
    async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        if std::mem::take(&mut self.created) {
            return Some(Ok(answer(true, Vec::new())));
        }
        let from = self.from.0;
        self.revision.wait_for(|revision| *revision >= from).await.ok()?;
        let event = Event { kind: EventKind::Put, kv: KeyValue::default(), prev_kv: None };
        self.from = Revision(i64::MAX);
        Some(Ok(answer(false, vec![event])))
    }

    fn request_progress(&mut self) {}
}

fn with_size(size: &str) -> (Map, Registry) {
    let (map, registry) = (Map::new(), Registry::new("t").unwrap());
    map.put(&registry.size_key(), size);
    (map, registry)
}

async fn join(world: &RealWorld, map: &Map, registry: &Registry, id: &str) -> Result<Roster, JoinError> {
    join_cluster(world, map, registry, id, &format!("m{id}=http://h:{id}")).await
}

fn run<T>(test: impl AsyncFnOnce(RealWorld) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    let limited = async { tokio::time::timeout(Duration::from_secs(20), test(world)).await };
    runtime.block_on(limited).expect("in time")
}

#[test]
fn all_that_come_first_find_the_same_cluster_and_who_comes_later_is_told_that_it_is_full() {
    run(async |world| {
        let (map, registry) = with_size(" 3\n");
        let (one, two, three) =
            tokio::join!(join(&world, &map, &registry, "1"), join(&world, &map, &registry, "2"), async {
                world.sleep(Duration::from_millis(50)).await;
                join(&world, &map, &registry, "0").await
            });
        let found = one.unwrap();
        assert_eq!(found.entries.len(), 3);
        assert_eq!(found.entries[2].0, "0", "in the order in which they came");
        assert!(two.as_ref() == Ok(&found) && three.as_ref() == Ok(&found), "{two:?} {three:?}");
        let late = join(&world, &map, &registry, "4").await.unwrap_err();
        assert!(matches!(&late, JoinError::Full { roster } if *roster == found), "{late}");
        assert!(late.to_string().starts_with("discovery: cluster is full: "), "etcd's words: {late}");
        // Who was in it and comes again has its place still.
        assert_eq!(join(&world, &map, &registry, "1").await.as_ref(), Ok(&found));
    });
}

#[test]
fn of_more_that_register_at_once_the_first_are_the_cluster_and_the_others_fall_out() {
    run(async |world| {
        let (map, registry) = with_size("2");
        let ids: Vec<String> = (0..5).map(|id| id.to_string()).collect();
        let outcomes =
            futures::future::join_all(ids.iter().map(|id| join(&world, &map, &registry, id))).await;
        let found: Vec<&Roster> = outcomes.iter().flatten().collect();
        assert_eq!(found.len(), 2, "{outcomes:?}");
        assert_eq!(found[0], found[1]);
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(error, JoinError::Full { roster } if roster == found[0]), "{error}");
        }
    });
}

#[test]
fn sizes_that_are_none_and_numbers_that_are_taken_end_it_and_nothing_is_registered() {
    run(async |world| {
        let (map, registry) = (Map::new(), Registry::new("t").unwrap());
        let none = join(&world, &map, &registry, "1").await.unwrap_err().to_string();
        assert!(none.contains("size key not found: /_etcd/registry/t/_config/size\nhint: "), "{none}");
        for wrong in ["x", "", "0", "-1", "65", "3.0", "99999999999999999999"] {
            map.put(&registry.size_key(), wrong);
            let bad = join(&world, &map, &registry, "1").await.unwrap_err().to_string();
            assert!(bad.contains("size key is bad") && bad.contains(&format!("{wrong:?}")), "{bad}");
        }
        assert_eq!(map.keys.lock().unwrap().len(), 1);
        map.put(&registry.size_key(), "2");
        map.put(&registry.member_key("1"), "other=http://h:1");
        let taken = join(&world, &map, &registry, "1").await.unwrap_err().to_string();
        assert!(taken.contains("found duplicate id 1") && taken.contains("other=http://h:1"), "{taken}");
    });
}

#[test]
fn what_is_no_member_takes_no_place() {
    run(async |world| {
        let (map, registry) = with_size("1");
        map.put(&registry.member_key("0"), "garbage");
        map.put("/_etcd/registry/t/members", "x=http://h:9");
        map.put("/_etcd/registry/t2/members/7", "y=http://h:9");
        let found = join(&world, &map, &registry, "1").await.unwrap();
        assert_eq!(found.members(), ["m1=http://h:1"]);
    });
}

#[test]
fn a_store_that_is_away_or_loses_an_answer_is_asked_again_and_one_that_refuses_is_not() {
    run(async |world| {
        let (map, registry) = with_size("1");
        let unavailable = || ClientError::unreachable("away");
        let lost = ClientError { error: Error::Other(Code::Unavailable, "lost".into()), ambiguous: true };
        // Away for the first look; the second is answered; the answer to the registration is lost.
        let looked = ClientError { error: Error::Other(Code::Internal, "lost".into()), ambiguous: true };
        let flaky = map.failing([unavailable(), unavailable(), looked, lost]);
        let found = join(&world, &flaky, &registry, "1").await.unwrap();
        assert_eq!(found.members(), ["m1=http://h:1"]);
        for error in [Error::PermissionDenied, Error::InvalidAuthToken] {
            let refused = map.failing([ClientError::certain(error.clone())]);
            let refused = join(&world, &refused, &registry, "1").await.unwrap_err();
            assert_eq!(refused, JoinError::Refused(ClientError::certain(error)));
        }
    });
}
