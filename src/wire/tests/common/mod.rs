//! A member that does what a test says, and keeps a little store of its own.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use seatrial_etcd::{Ask, AskSend, AskV2, AskWatch};
use seatrial_store::{Row, SnapshotHeader, SnapshotWriter};
use seatrial_types::auth::{AuthAnswer, AuthRequest, AuthResponse, AuthRevision, Caller};
use seatrial_types::request::*;
use seatrial_types::v2::{
    V2Answer, V2Error, V2Event, V2Request, V2Response, V2Stats, V2Watch, V2WatchId, V2Watching,
};
use seatrial_types::watch::{WatchCreate, WatchId, WatchRequest, WatchResponse};
use seatrial_types::{
    Code, Error, Event, EventKind, KeyRange, KeyValue, LeaseId, LogIndex, MemberId, Request, Response,
    Revision, Term,
};
use seatrial_v2::{Hub, Tree};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Keys that make the member behave.
pub(crate) const NEVER: &str = "never-answer";
pub(crate) const NO_LEADER: &str = "no-leader";
pub(crate) const TIMEOUT: &str = "timeout";
/// Once it is put, the member knows no leader.
pub(crate) const LEADERLESS: &str = "leaderless";

/// A store on one machine: puts, single-key ranges, watches. Everything else is answered with a fixed value.
#[derive(Clone, Default)]
pub(crate) struct Toy {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<Request>,
    events: Vec<Event>,
    values: BTreeMap<Bytes, KeyValue>,
    streams: Vec<Stream>,
    /// Who asked for each watch.
    watchers: Vec<Option<Caller>>,
    opened: usize,
    closed: usize,
    tree: Tree,
    hub: Hub,
    waiting: BTreeMap<V2WatchId, mpsc::UnboundedSender<Arc<V2Event>>>,
}

struct Stream {
    answers: mpsc::UnboundedSender<WatchResponse>,
    watches: Vec<(i64, KeyRange)>,
}

impl Toy {
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Who asked for each watch so far.
    pub(crate) fn watchers(&self) -> Vec<Option<Caller>> {
        self.state.lock().unwrap().watchers.clone()
    }

    /// Watch streams opened and closed so far.
    pub(crate) fn streams(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.opened, state.closed)
    }

    /// Sends any answer on every stream, as a member might.
    pub(crate) fn push(&self, answer: &WatchResponse) {
        let state = self.state.lock().unwrap();
        for stream in &state.streams {
            let _ = stream.answers.unbounded_send(answer.clone());
        }
    }

    fn answer(&self, request: Request) -> Result<Response, Error> {
        // Whoever asks is answered alike.
        let mut state = self.state.lock().unwrap();
        state.seen.push(request.clone());
        state.answer(request)
    }
}

pub(crate) fn header(revision: usize) -> Header {
    Header {
        cluster_id: 7.into(),
        member_id: 8.into(),
        revision: Revision(revision as i64),
        raft_term: 3.into(),
    }
}

impl State {
    fn answer_v2(&mut self, ask: &V2Request) -> V2Response {
        let event = |result: Result<V2Event, V2Error>| result.map(|event| V2Answer::Event(Arc::new(event)));
        let result = match ask {
            V2Request::Read { path, recursive, .. } => event(self.tree.read(path, *recursive)),
            V2Request::Change(change) => {
                let effect = self.tree.apply(change);
                if let Some(told) = effect.told {
                    for (id, event) in self.hub.notify(&told) {
                        let _ = self.waiting[&id].unbounded_send(event);
                    }
                }
                effect.result.map(V2Answer::Event)
            }
            V2Request::Stats | V2Request::Standing => Ok(V2Answer::Stats(V2Stats::default())),
        };
        V2Response { header: self.header(), raft_index: 5, index: self.tree.index(), result }
    }

    fn header(&self) -> Header {
        header(self.events.len() + 1)
    }

    fn answer(&mut self, request: Request) -> Result<Response, Error> {
        let member = Member {
            id: MemberId(8),
            name: "toy".into(),
            peer_urls: vec!["http://p:1".into()],
            client_urls: vec!["http://c:1".into()],
            is_learner: false,
        };
        let list = |header| MemberListResponse { header, members: vec![member.clone()] };
        Ok(match request {
            Request::Put(put) if put.key == NO_LEADER => return Err(Error::NoLeader),
            Request::Put(put) if put.key == TIMEOUT => return Err(Error::Timeout),
            Request::Put(put) => {
                let revision = Revision(self.events.len() as i64 + 2);
                let before = self.values.get(&put.key).cloned();
                let kv = KeyValue {
                    key: put.key.clone(),
                    value: put.value,
                    create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: before.as_ref().map_or(1, |kv| kv.version + 1),
                    lease: put.lease,
                };
                self.values.insert(put.key.clone(), kv.clone());
                let event = Event { kind: EventKind::Put, kv, prev_kv: None };
                self.events.push(event.clone());
                let header = self.header();
                for stream in &self.streams {
                    for (id, range) in &stream.watches {
                        if range.contains(&put.key) {
                            let answer = watch_answer(*id, header.clone(), vec![event.clone()]);
                            let _ = stream.answers.unbounded_send(answer);
                        }
                    }
                }
                Response::Put(PutResponse { header, prev_kv: before.filter(|_| put.prev_kv) })
            }
            Request::Range(range) => {
                if range.revision.0 > self.events.len() as i64 + 1 {
                    return Err(Error::FutureRevision);
                }
                let kvs: Vec<_> =
                    self.values.values().filter(|kv| range.range.contains(&kv.key)).cloned().collect();
                let count = kvs.len() as i64;
                Response::Range(RangeResponse { header: self.header(), kvs, more: false, count })
            }
            Request::DeleteRange(_) => Response::DeleteRange(DeleteRangeResponse {
                header: self.header(),
                deleted: 2,
                prev_kvs: vec![KeyValue { key: "d".into(), ..KeyValue::default() }],
            }),
            Request::Txn(_) => Response::Txn(TxnResponse {
                header: self.header(),
                succeeded: true,
                responses: vec![TxnOpResponse::Put(PutResponse::default())],
            }),
            Request::Compact(_) => Response::Compact(self.header()),
            Request::LeaseGrant(r) => Response::LeaseGrant(LeaseGrantResponse {
                header: self.header(),
                id: LeaseId(77),
                ttl_seconds: r.ttl_seconds,
            }),
            Request::LeaseRevoke(_) => Response::LeaseRevoke(self.header()),
            Request::LeaseKeepAlive(id) => {
                Response::LeaseKeepAlive(LeaseKeepAliveResponse { header: self.header(), id, ttl_seconds: 5 })
            }
            Request::LeaseTimeToLive(r) => Response::LeaseTimeToLive(LeaseTimeToLiveResponse {
                header: self.header(),
                id: r.id,
                ttl_seconds: 3,
                granted_ttl_seconds: 5,
                keys: vec!["k".into()],
            }),
            Request::LeaseLeases => Response::LeaseLeases(LeaseLeasesResponse {
                header: self.header(),
                leases: vec![LeaseId(1), LeaseId(i64::MAX)],
            }),
            Request::MemberList { .. } => Response::MemberList(list(self.header())),
            Request::MemberAdd(_) => Response::MemberAdd(MemberAddResponse {
                header: self.header(),
                member: member.clone(),
                members: vec![member],
            }),
            Request::MemberRemove(_) => Response::MemberRemove(list(self.header())),
            Request::MemberUpdate(_) => Response::MemberUpdate(list(self.header())),
            Request::MemberPromote(_) => Response::MemberPromote(list(self.header())),
            Request::Status => Response::Status(StatusResponse {
                header: self.header(),
                version: "3.6.0".into(),
                db_size: 100,
                db_size_in_use: 50,
                leader: if self.values.contains_key(LEADERLESS.as_bytes()) {
                    MemberId::NONE
                } else {
                    MemberId(8)
                },
                raft_index: LogIndex(11),
                raft_term: 3.into(),
                raft_applied_index: LogIndex(10),
                errors: vec!["odd".into()],
                is_learner: false,
                db_size_quota: 1 << 31,
                storage_version: "3.6.0".into(),
                downgrade_to: "3.5.0".into(),
            }),
            Request::HashKv { revision } => Response::HashKv(HashKvResponse {
                header: self.header(),
                hash: 42,
                compact_revision: Revision(1),
                hash_revision: revision,
            }),
            // Its header does not go over the wire, as etcd's does not.
            Request::MoveLeader(_) => Response::MoveLeader(Header::default()),
            Request::Defragment => Response::Defragment(Header::default()),
            Request::Hash => Response::Hash(HashResponse { header: self.header(), hash: 43 }),
            Request::Downgrade(ask) => {
                Response::Downgrade(DowngradeResponse { header: self.header(), version: ask.version })
            }
            Request::V2(ask) => Response::V2(self.answer_v2(&ask)),
            Request::SnapshotRead(ask) => {
                let stream = snapshot();
                let from = usize::try_from(ask.offset).unwrap();
                let to = stream.len().min(from + 40);
                let (data, done) = (stream.slice(from..to), to == stream.len());
                Response::SnapshotRead(SnapshotPiece { header: self.header(), id: 3, data, done })
            }
            Request::AlarmChange(change) => Response::AlarmChange(AlarmListResponse {
                header: self.header(),
                alarms: vec![(change.member, change.kind)],
            }),
            Request::Auth(AuthRequest::Status) => {
                let body = AuthAnswer::Status { enabled: false, revision: AuthRevision(1) };
                Response::Auth(AuthResponse { header: self.header(), body })
            }
            Request::Auth(_) => return Err(Error::AuthNotEnabled),
            Request::As(_, request) => return self.answer(*request),
            Request::AlarmList => {
                let on = self.values.contains_key(&b"alarm"[..]);
                let alarms = if on { vec![(MemberId(8), AlarmKind::NoSpace)] } else { Vec::new() };
                Response::AlarmList(AlarmListResponse { header: self.header(), alarms })
            }
        })
    }

    fn watch(&mut self, stream: usize, request: WatchRequest) {
        let header = self.header();
        match &request {
            WatchRequest::Create(_) => self.watchers.push(None),
            WatchRequest::CreateAs(caller, _) => self.watchers.push(Some(caller.clone())),
            _ => {}
        }
        let stream = &mut self.streams[stream];
        match request {
            WatchRequest::Create(WatchCreate { range, start_revision, .. })
            | WatchRequest::CreateAs(_, WatchCreate { range, start_revision, .. }) => {
                let id = stream.watches.len() as i64;
                let created = WatchResponse { created: true, ..watch_answer(id, header.clone(), Vec::new()) };
                let _ = stream.answers.unbounded_send(created);
                let past: Vec<_> = self
                    .events
                    .iter()
                    .filter(|e| start_revision.0 > 0 && e.kv.mod_revision >= start_revision)
                    .filter(|e| range.contains(&e.kv.key))
                    .cloned()
                    .collect();
                if !past.is_empty() {
                    let _ = stream.answers.unbounded_send(watch_answer(id, header, past));
                }
                stream.watches.push((id, range));
            }
            WatchRequest::Cancel(id) => {
                stream.watches.retain(|(watch, _)| *watch != id.0);
                let answer = WatchResponse { canceled: true, ..watch_answer(id.0, header, Vec::new()) };
                let _ = stream.answers.unbounded_send(answer);
            }
            WatchRequest::Progress => {
                let _ = stream.answers.unbounded_send(watch_answer(-1, header, Vec::new()));
            }
        }
    }
}

pub(crate) fn watch_answer(id: i64, header: Header, events: Vec<Event>) -> WatchResponse {
    WatchResponse {
        header,
        watch_id: WatchId(id),
        created: false,
        canceled: false,
        cancel_reason: String::new(),
        compact_revision: Revision(0),
        fragment: false,
        events,
    }
}

impl Ask for Toy {
    type Watch = ToyWatch;

    async fn call(&self, request: Request) -> Result<Response, Error> {
        if let Request::Put(put) = &request
            && put.key == NEVER
        {
            self.state.lock().unwrap().seen.push(request);
            return futures::future::pending().await;
        }
        self.answer(request)
    }

    type V2 = ToyV2;

    async fn v2_watch(&self, watch: V2Watch) -> Result<Result<ToyV2, V2Error>, Error> {
        let (events, receive) = mpsc::unbounded();
        let mut state = self.state.lock().unwrap();
        let State { tree, hub, waiting, .. } = &mut *state;
        let id = V2WatchId(waiting.len() as u64);
        let past = match hub.watch(tree, id, watch) {
            Ok(past) => past,
            Err(error) => return Ok(Err(error)),
        };
        past.into_iter().for_each(|event| drop(events.unbounded_send(event)));
        waiting.insert(id, events);
        let began = V2Watching { header: header(1), raft_index: 5, index: tree.index() };
        Ok(Ok(ToyV2 { began, receive }))
    }

    async fn watch(&self) -> Result<ToyWatch, Error> {
        let (answers, receive) = mpsc::unbounded();
        let mut state = self.state.lock().unwrap();
        state.streams.push(Stream { answers, watches: Vec::new() });
        state.opened += 1;
        Ok(ToyWatch { toy: self.clone(), stream: state.streams.len() - 1, receive })
    }
}

pub(crate) struct ToyV2 {
    began: V2Watching,
    receive: mpsc::UnboundedReceiver<Arc<V2Event>>,
}

impl AskV2 for ToyV2 {
    fn began(&self) -> &V2Watching {
        &self.began
    }

    async fn next(&mut self) -> Option<Arc<V2Event>> {
        self.receive.next().await
    }
}

pub(crate) struct ToyWatch {
    toy: Toy,
    stream: usize,
    receive: mpsc::UnboundedReceiver<WatchResponse>,
}

#[derive(Clone)]
pub(crate) struct ToySend {
    toy: Toy,
    stream: usize,
}

impl AskSend for ToySend {
    fn send(&self, request: WatchRequest) {
        self.toy.state.lock().unwrap().watch(self.stream, request);
    }
}

impl AskWatch for ToyWatch {
    type Sender = ToySend;

    fn sender(&self) -> ToySend {
        ToySend { toy: self.toy.clone(), stream: self.stream }
    }

    async fn next(&mut self) -> Option<WatchResponse> {
        self.receive.next().await
    }
}

impl Drop for ToyWatch {
    fn drop(&mut self) {
        let mut state = self.toy.state.lock().unwrap();
        state.closed += 1;
        state.streams[self.stream].watches.clear();
    }
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    Request::Put(PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    })
}

pub(crate) fn get(key: &str) -> Request {
    Request::Range(RangeRequest { range: KeyRange::single(key.to_owned()), ..RangeRequest::default() })
}

/// One request of every kind.
pub(crate) fn every_request() -> Vec<Request> {
    let op = TxnOp::Put(PutRequest { key: "t".into(), ..PutRequest::default() });
    let compare = Compare {
        range: KeyRange::single("t"),
        op: CompareOp::NotEqual,
        target: CompareTarget::Value("x".into()),
    };
    vec![
        put("a", "1"),
        get("a"),
        Request::DeleteRange(DeleteRangeRequest { range: KeyRange::prefix("d"), prev_kv: true }),
        Request::Txn(TxnRequest { compare: vec![compare], success: vec![op], failure: Vec::new() }),
        Request::Compact(CompactRequest { revision: Revision(1), physical: true }),
        Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(5), ttl_seconds: 9 }),
        Request::LeaseRevoke(LeaseId(5)),
        Request::LeaseKeepAlive(LeaseId(5)),
        Request::LeaseTimeToLive(LeaseTimeToLiveRequest { id: LeaseId(5), keys: true }),
        Request::LeaseLeases,
        Request::MemberList { linearizable: true },
        Request::MemberAdd(MemberAddRequest { peer_urls: vec!["http://n:1".into()], is_learner: true }),
        Request::MemberRemove(MemberId(8)),
        Request::MemberUpdate(MemberUpdateRequest { id: MemberId(8), peer_urls: vec!["http://n:2".into()] }),
        Request::MemberPromote(MemberId(8)),
        Request::Status,
        Request::HashKv { revision: Revision(3) },
        Request::MoveLeader(MemberId(9)),
        Request::Defragment,
        Request::Hash,
        Request::Downgrade(DowngradeRequest { action: DowngradeAction::Enable, version: "3.5.0".into() }),
        Request::AlarmList,
        Request::AlarmChange(AlarmChangeRequest {
            raise: true,
            member: MemberId(8),
            kind: AlarmKind::NoSpace,
        }),
        Request::AlarmChange(AlarmChangeRequest {
            raise: false,
            member: MemberId(9),
            kind: AlarmKind::Corrupt,
        }),
        Request::Auth(AuthRequest::Status),
    ]
}

/// An error that a client must not take for anything else.
pub(crate) fn other(code: Code, text: &str) -> Error {
    Error::Other(code, text.to_owned())
}

/// A member's whole state as it sends it, with one key.
pub(crate) fn snapshot() -> Bytes {
    let header = SnapshotHeader {
        applied: LogIndex(7),
        applied_term: Term(2),
        revision: Revision(5),
        compacted: Revision(-1),
    };
    let kv = KeyValue {
        key: "k".into(),
        value: "v".into(),
        create_revision: Revision(5),
        mod_revision: Revision(5),
        version: 1,
        ..KeyValue::default()
    };
    let mut stream = SnapshotWriter::new(&header);
    stream.row(&Row::Version { sub: 0, event: Event { kind: EventKind::Put, kv, prev_kv: None } });
    stream.finish()
}
