//! The first inputs: well-formed ones, made by the code that writes them, so that mutation begins beyond the first gates.

use bytes::Bytes;
use prost::Message;
use seatrial_node::{Action, Proposal, RequestId};
use seatrial_proto::etcdserverpb as pb;
use seatrial_store::{Batch, Command, MemBackend, Store};
use seatrial_types::request::{DeleteRangeRequest, LeaseGrantRequest, PutRequest, TxnOp, TxnRequest};
use seatrial_types::{KeyRange, LeaseId, LogIndex, MemberId, Term};
use std::time::Duration;

/// Target, name and bytes of each.
#[must_use]
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut all: Vec<(&'static str, String, Vec<u8>)> = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| all.push((target, format!("{name}.bin"), bytes));
    for (kind, name, message) in messages() {
        add("client_requests", name, [&[kind], &message[..]].concat());
    }
    for (name, text) in JSON {
        add("gateway_json", name, text.as_bytes().to_vec());
    }
    for (name, command) in commands() {
        add("commands", name, command.encode().to_vec());
        let proposal =
            Proposal { origin: MemberId(7), request: RequestId(9), action: Action::Store(command) };
        let encoded = proposal.encode().to_vec();
        // A log's entry, as a peer sends it and as it lies on disk, holds one of these.
        add("log_records", name, record(&encoded));
        add("peer_frames", name, encoded.clone());
        add("proposals", name, encoded);
    }
    let stream = snapshot();
    add("snapshot_stream", "small", stream.clone());
    add("database", "small", database(&stream));
    add("backend_rows", "small", stream);
    for (name, text) in TOKENS {
        add("tokens", name, text.as_bytes().to_vec());
    }
    for (name, text) in TOKEN_OPTIONS {
        add("token_options", name, text.as_bytes().to_vec());
    }
    for (name, text) in SCENARIOS {
        add("scenarios", name, text.as_bytes().to_vec());
    }
    for (name, text) in HISTORIES {
        add("histories", name, text.as_bytes().to_vec());
    }
    all
}

/// The file of a stream, without its sum.
fn database(stream: &[u8]) -> Vec<u8> {
    let mut measure = seatrial_backup::Measure::default();
    measure.push(stream).expect("a sample is whole");
    let mut export = measure.finish().expect("a sample is whole");
    let mut file = export.push(stream).expect("a sample is whole").to_vec();
    file.extend(export.finish().expect("a sample is whole").0);
    file
}

fn messages() -> Vec<(u8, &'static str, Vec<u8>)> {
    let key = || Bytes::from_static(b"key");
    let put =
        pb::PutRequest { key: key(), value: "value".into(), lease: 7, prev_kv: true, ..Default::default() };
    let range = pb::RangeRequest { key: key(), range_end: "kez".into(), limit: 3, ..Default::default() };
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Greater.into(),
        target: pb::compare::CompareTarget::Version.into(),
        key: key(),
        target_union: Some(pb::compare::TargetUnion::Version(1)),
        ..Default::default()
    };
    let op = |request| pb::RequestOp { request: Some(request) };
    let inner = pb::TxnRequest { compare: vec![compare.clone()], ..Default::default() };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![op(pb::request_op::Request::RequestPut(put.clone()))],
        failure: vec![
            op(pb::request_op::Request::RequestRange(range.clone())),
            op(pb::request_op::Request::RequestTxn(inner)),
        ],
    };
    let create =
        pb::WatchCreateRequest { key: key(), start_revision: 5, fragment: true, ..Default::default() };
    let watch =
        pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) };
    let cancel = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CancelRequest(pb::WatchCancelRequest {
            watch_id: 4,
        })),
    };
    let user = pb::AuthUserAddRequest { name: "u".into(), password: "p".into(), ..Default::default() };
    vec![
        (0, "range", range.encode_to_vec()),
        (1, "put", put.encode_to_vec()),
        (3, "txn", txn.encode_to_vec()),
        (5, "watch", watch.encode_to_vec()),
        (5, "cancel", cancel.encode_to_vec()),
        (9, "user", user.encode_to_vec()),
    ]
}

fn commands() -> Vec<(&'static str, Command)> {
    let put =
        PutRequest { key: "key".into(), value: "value".into(), lease: LeaseId(7), ..PutRequest::default() };
    let txn = TxnRequest {
        success: vec![TxnOp::Put(put.clone())],
        failure: vec![TxnOp::Txn(TxnRequest::default())],
        ..TxnRequest::default()
    };
    vec![
        ("put", Command::Put(put)),
        ("txn", Command::Txn(txn)),
        ("delete", Command::DeleteRange(DeleteRangeRequest { range: KeyRange::prefix("k"), prev_kv: true })),
        ("grant", Command::LeaseGrant(LeaseGrantRequest { id: LeaseId(7), ttl_seconds: 60 })),
    ]
}

/// A record of the log: sum, length, chain, synced, kind, padding; index and term; what the entry holds.
fn record(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).expect("samples are small");
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&5u64.to_le_bytes());
    bytes.extend_from_slice(&2u64.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn snapshot() -> Vec<u8> {
    let mut store = Store::open(MemBackend::default(), Default::default()).expect("an empty store opens");
    let mut durable = MemBackend::default();
    for (at, (_, command)) in commands().into_iter().enumerate() {
        let index = LogIndex(at as u64 + 1);
        store.apply(index, Term(1), &command, Duration::ZERO).expect("memory has room");
    }
    if let Some(batch) = store.seal() {
        let id = committed(&mut durable, &batch);
        store.committed(id).expect("the batch was sealed here");
    }
    let mut reader = store.export();
    let (mut bytes, mut offset) = (Vec::new(), 0);
    loop {
        let (piece, last) = reader.read(offset, 1 << 16).expect("memory can be read");
        offset += piece.len() as u64;
        bytes.extend_from_slice(&piece);
        if last {
            return bytes;
        }
    }
}

fn committed(durable: &mut MemBackend, batch: &Batch) -> seatrial_store::BatchId {
    use seatrial_store::Commit;
    durable.commit(batch).expect("memory has room")
}

const JSON: &[(&str, &str)] = &[
    ("range", r#"{"key":"Zm9v","range_end":"AA==","limit":"5","sort_order":"DESCEND","sortTarget":2}"#),
    (
        "txn",
        r#"{"compare":[{"target":"VALUE","key":"YQ==","value":""}],"success":[{"requestPut":{"key":"YQ=="}},{"request_txn":{"failure":[null]}}]}"#,
    ),
    (
        "watch",
        r#"{"create_request":{"key":"Zm9v","filters":["NOPUT"],"start_revision":"-1"}} {"cancel_request":{}}"#,
    ),
    (
        "numbers",
        r#"{"key":[1,2,255],"limit":" 5","revision":-0,"nope":{"a":[1e9,0.5,true,null,"\ud83d\ude00"]}}"#,
    ),
];

const TOKENS: &[(&str, &str)] = &[
    ("simple", "abcdefghijklmnop.17"),
    (
        "signed",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6MSwiZXhwIjo5OTk5OTk5OTk5fQ.AAAA",
    ),
    ("none", "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6MSwiZXhwIjo5OTk5OTk5OTk5fQ."),
];

const TOKEN_OPTIONS: &[(&str, &str)] = &[
    ("simple", "simple"),
    ("hmac", "jwt,priv-key=secret,sign-method=HS256,ttl=5s"),
    ("rsa", "jwt,pub-key=a.pem,priv-key=b.pem,sign-method=RS256"),
];

const SCENARIOS: &[(&str, &str)] = &[(
    "partition",
    r#"title = "leader cut off"
why = "a change of leader loses nothing"
members = 3
time = "20s"

[[workload]]
name = "register"
clients = 3

[[nemesis]]
name = "partition"
shape = "leader-alone"
every = "5s"
lasts = "2s"

[expect]
oracles = ["linearizable"]
heals_within = "10s"
"#,
)];

const HISTORIES: &[(&str, &str)] = &[
    (
        "edn",
        "{:process 0, :type :invoke, :f :write, :value [1 nil \"a\\n\" 2.5]}\n{:process 0, :type :ok, :f :write, :value 1}\n",
    ),
    (
        "jepsen",
        "INFO  jepsen.util - 0\t:invoke\t:write\t3\nINFO  jepsen.util - 0\t:ok\t:write\t3\nINFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]\nINFO  jepsen.util - 1\t:fail\t:cas\t[3 4]\n",
    ),
    ("json", "{\"format\":1}\n"),
];
