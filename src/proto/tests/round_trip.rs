//! Every value survives the way over the wire, and no bytes make the reader panic.
#![allow(clippy::disallowed_methods, reason = "a deep stack for one test")]

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use seatrial_proto::etcdserverpb as pb;
use seatrial_types::request::*;
use seatrial_types::watch::*;
use seatrial_types::{
    ClusterId, Code, Error, Event, EventKind, KeyRange, KeyValue, LeaseId, LogIndex, MemberId, Revision, Term,
};
use std::fmt::Debug;

fn round_trip<T, P>(value: T)
where
    T: Clone + Debug + PartialEq + TryFrom<P>,
    T::Error: Debug,
    P: From<T> + Message + Default,
{
    let bytes = P::from(value.clone()).encode_to_vec();
    let message = P::decode(bytes.as_slice()).unwrap();
    assert_eq!(T::try_from(message).unwrap(), value);
}

fn blob() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,8}"
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..3)
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<i64>().prop_map(Revision)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    any::<i64>().prop_map(LeaseId)
}

fn header() -> impl Strategy<Value = Header> {
    (any::<u64>(), any::<u64>(), revision(), any::<u64>()).prop_map(|(cluster, member, revision, term)| {
        Header {
            cluster_id: ClusterId(cluster),
            member_id: MemberId(member),
            revision,
            raft_term: Term(term),
        }
    })
}

fn range() -> impl Strategy<Value = KeyRange> {
    (blob(), blob()).prop_map(|(key, end)| KeyRange { key, end })
}

fn kv() -> impl Strategy<Value = KeyValue> {
    (blob(), blob(), revision(), revision(), any::<i64>(), lease()).prop_map(
        |(key, value, create_revision, mod_revision, version, lease)| KeyValue {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        },
    )
}

fn kvs() -> impl Strategy<Value = Vec<KeyValue>> {
    prop::collection::vec(kv(), 0..3)
}

fn kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![Just(EventKind::Put), Just(EventKind::Delete)]
}

fn range_request() -> impl Strategy<Value = RangeRequest> {
    let order = prop_oneof![Just(SortOrder::None), Just(SortOrder::Ascend), Just(SortOrder::Descend)];
    let target = prop_oneof![
        Just(SortTarget::Key),
        Just(SortTarget::Version),
        Just(SortTarget::Create),
        Just(SortTarget::Mod),
        Just(SortTarget::Value)
    ];
    let bounds = (revision(), revision(), revision(), revision());
    (range(), any::<i64>(), revision(), order, target, any::<[bool; 3]>(), bounds).prop_map(
        |(range, limit, revision, sort_order, sort_target, flags, bounds)| RangeRequest {
            range,
            limit,
            revision,
            sort_order,
            sort_target,
            serializable: flags[0],
            keys_only: flags[1],
            count_only: flags[2],
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
        },
    )
}

fn put_request() -> impl Strategy<Value = PutRequest> {
    (blob(), blob(), lease(), any::<[bool; 3]>()).prop_map(|(key, value, lease, flags)| PutRequest {
        key,
        value,
        lease,
        prev_kv: flags[0],
        ignore_value: flags[1],
        ignore_lease: flags[2],
    })
}

fn delete_request() -> impl Strategy<Value = DeleteRangeRequest> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let op = prop_oneof![
        Just(CompareOp::Equal),
        Just(CompareOp::Greater),
        Just(CompareOp::Less),
        Just(CompareOp::NotEqual)
    ];
    let target = prop_oneof![
        any::<i64>().prop_map(CompareTarget::Version),
        revision().prop_map(CompareTarget::Create),
        revision().prop_map(CompareTarget::Mod),
        blob().prop_map(CompareTarget::Value),
        lease().prop_map(CompareTarget::Lease),
    ];
    (range(), op, target).prop_map(|(range, op, target)| Compare { range, op, target })
}

fn txn_request() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        range_request().prop_map(TxnOp::Range),
        put_request().prop_map(TxnOp::Put),
        delete_request().prop_map(TxnOp::DeleteRange),
    ];
    let txn = |op: BoxedStrategy<TxnOp>| {
        let ops = prop::collection::vec(op, 0..3);
        (prop::collection::vec(compare(), 0..3), ops.clone(), ops)
            .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
    };
    let op = leaf.prop_recursive(3, 20, 3, move |op| txn(op.boxed()).prop_map(TxnOp::Txn));
    txn(op.boxed())
}

fn range_response() -> impl Strategy<Value = RangeResponse> {
    (header(), kvs(), any::<bool>(), any::<i64>()).prop_map(|(header, kvs, more, count)| RangeResponse {
        header,
        kvs,
        more,
        count,
    })
}

fn put_response() -> impl Strategy<Value = PutResponse> {
    (header(), prop::option::of(kv())).prop_map(|(header, prev_kv)| PutResponse { header, prev_kv })
}

fn delete_response() -> impl Strategy<Value = DeleteRangeResponse> {
    (header(), any::<i64>(), kvs()).prop_map(|(header, deleted, prev_kvs)| DeleteRangeResponse {
        header,
        deleted,
        prev_kvs,
    })
}

fn txn_response() -> impl Strategy<Value = TxnResponse> {
    let leaf = prop_oneof![
        range_response().prop_map(TxnOpResponse::Range),
        put_response().prop_map(TxnOpResponse::Put),
        delete_response().prop_map(TxnOpResponse::DeleteRange),
    ];
    let txn = |op: BoxedStrategy<TxnOpResponse>| {
        (header(), any::<bool>(), prop::collection::vec(op, 0..3))
            .prop_map(|(header, succeeded, responses)| TxnResponse { header, succeeded, responses })
    };
    let op = leaf.prop_recursive(3, 20, 3, move |op| txn(op.boxed()).prop_map(TxnOpResponse::Txn));
    txn(op.boxed())
}

fn watch_request() -> impl Strategy<Value = WatchRequest> {
    let filters = prop::collection::vec(kind(), 0..3);
    let create = (range(), revision(), any::<[bool; 3]>(), filters, any::<i64>()).prop_map(
        |(range, start_revision, flags, filters, watch_id)| {
            WatchRequest::Create(WatchCreate {
                range,
                start_revision,
                progress_notify: flags[0],
                filters,
                prev_kv: flags[1],
                watch_id,
                fragment: flags[2],
            })
        },
    );
    prop_oneof![
        create,
        any::<i64>().prop_map(|id| WatchRequest::Cancel(WatchId(id))),
        Just(WatchRequest::Progress)
    ]
}

fn watch_response() -> impl Strategy<Value = WatchResponse> {
    let event =
        (kind(), kv(), prop::option::of(kv())).prop_map(|(kind, kv, prev_kv)| Event { kind, kv, prev_kv });
    let events = prop::collection::vec(event, 0..4);
    (header(), any::<i64>(), any::<[bool; 3]>(), text(), revision(), events).prop_map(
        |(header, id, flags, cancel_reason, compact_revision, events)| WatchResponse {
            header,
            watch_id: WatchId(id),
            created: flags[0],
            canceled: flags[1],
            cancel_reason,
            compact_revision,
            fragment: flags[2],
            events,
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    (any::<u64>(), text(), texts(), texts(), any::<bool>()).prop_map(
        |(id, name, peer_urls, client_urls, is_learner)| Member {
            id: MemberId(id),
            name,
            peer_urls,
            client_urls,
            is_learner,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests_survive_the_wire(
        range in range_request(),
        put in put_request(),
        delete in delete_request(),
        txn in txn_request(),
        watch in watch_request(),
        (revision, physical) in (revision(), any::<bool>()),
    ) {
        round_trip::<_, pb::RangeRequest>(range);
        round_trip::<_, pb::PutRequest>(put);
        round_trip::<_, pb::DeleteRangeRequest>(delete);
        round_trip::<_, pb::TxnRequest>(txn);
        round_trip::<_, pb::WatchRequest>(watch);
        round_trip::<_, pb::CompactionRequest>(CompactRequest { revision, physical });
    }

    #[test]
    fn answers_survive_the_wire(
        range in range_response(),
        put in put_response(),
        delete in delete_response(),
        txn in txn_response(),
        watch in watch_response(),
        header in header(),
    ) {
        round_trip::<_, pb::RangeResponse>(range);
        round_trip::<_, pb::PutResponse>(put);
        round_trip::<_, pb::DeleteRangeResponse>(delete);
        round_trip::<_, pb::TxnResponse>(txn);
        round_trip::<_, pb::WatchResponse>(watch);
        round_trip::<_, pb::CompactionResponse>(header.clone());
        round_trip::<_, pb::LeaseRevokeResponse>(header);
    }

    #[test]
    fn leases_survive_the_wire(
        header in header(),
        id in lease(),
        (ttl_seconds, granted_ttl_seconds, flag) in any::<(i64, i64, bool)>(),
        keys in prop::collection::vec(blob(), 0..3),
        leases in prop::collection::vec(lease(), 0..3),
    ) {
        round_trip::<_, pb::LeaseGrantRequest>(LeaseGrantRequest { id, ttl_seconds });
        round_trip::<_, pb::LeaseGrantResponse>(LeaseGrantResponse { header: header.clone(), id, ttl_seconds });
        round_trip::<_, pb::LeaseKeepAliveResponse>(
            LeaseKeepAliveResponse { header: header.clone(), id, ttl_seconds },
        );
        round_trip::<_, pb::LeaseTimeToLiveRequest>(LeaseTimeToLiveRequest { id, keys: flag });
        round_trip::<_, pb::LeaseTimeToLiveResponse>(LeaseTimeToLiveResponse {
            header: header.clone(),
            id,
            ttl_seconds,
            granted_ttl_seconds,
            keys,
        });
        round_trip::<_, pb::LeaseLeasesResponse>(LeaseLeasesResponse { header, leases });
    }

    #[test]
    fn cluster_and_maintenance_survive_the_wire(
        header in header(),
        member in member(),
        members in prop::collection::vec(member(), 0..3),
        urls in texts(),
        (id, index, applied, flag) in any::<(u64, u64, u64, bool)>(),
        (size, hash) in any::<(i64, u32)>(),
        (compact_revision, hash_revision) in (revision(), revision()),
        (version, errors) in (text(), texts()),
        alarms in prop::collection::vec((any::<u64>(), any::<bool>()), 0..3),
    ) {
        let list = MemberListResponse { header: header.clone(), members: members.clone() };
        round_trip::<_, pb::MemberListResponse>(list.clone());
        round_trip::<_, pb::MemberRemoveResponse>(list.clone());
        round_trip::<_, pb::MemberUpdateResponse>(list.clone());
        round_trip::<_, pb::MemberPromoteResponse>(list);
        round_trip::<_, pb::MemberAddRequest>(MemberAddRequest { peer_urls: urls.clone(), is_learner: flag });
        round_trip::<_, pb::MemberAddResponse>(MemberAddResponse { header: header.clone(), member, members });
        round_trip::<_, pb::MemberUpdateRequest>(MemberUpdateRequest { id: MemberId(id), peer_urls: urls });
        round_trip::<_, pb::StatusResponse>(StatusResponse {
            header: header.clone(),
            version,
            db_size: size,
            db_size_in_use: size / 2,
            leader: MemberId(id),
            raft_index: LogIndex(index),
            raft_term: header.raft_term,
            raft_applied_index: LogIndex(applied),
            errors,
            is_learner: flag,
            db_size_quota: 5,
            storage_version: "3.5.0".to_owned(),
            downgrade_to: if flag { "3.4.0".to_owned() } else { String::new() },
        });
        round_trip::<_, pb::HashResponse>(HashResponse { header: header.clone(), hash });
        for action in [DowngradeAction::Validate, DowngradeAction::Enable, DowngradeAction::Cancel] {
            round_trip::<_, pb::DowngradeRequest>(DowngradeRequest { action, version: "3.4".to_owned() });
        }
        round_trip::<_, pb::DowngradeResponse>(
            DowngradeResponse { header: header.clone(), version: "3.5.0".to_owned() },
        );
        round_trip::<_, pb::HashKvResponse>(
            HashKvResponse { header: header.clone(), hash, compact_revision, hash_revision },
        );
        let kind = |corrupt| if corrupt { AlarmKind::Corrupt } else { AlarmKind::NoSpace };
        let alarms = alarms.into_iter().map(|(id, corrupt)| (MemberId(id), kind(corrupt))).collect();
        round_trip::<_, pb::AlarmResponse>(AlarmListResponse { header, alarms });
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        macro_rules! read {
            ($($message:ident => $value:ty;)*) => {
                $(if let Ok(message) = pb::$message::decode(bytes.as_slice()) {
                    let _ = <$value>::try_from(message);
                })*
            };
        }
        read! {
            RangeRequest => RangeRequest;
            TxnRequest => TxnRequest;
            WatchRequest => WatchRequest;
            PutRequest => PutRequest;
            TxnResponse => TxnResponse;
            WatchResponse => WatchResponse;
            MemberAddResponse => MemberAddResponse;
            AlarmResponse => AlarmListResponse;
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    let key = || Bytes::from_static(b"k");
    let order = pb::RangeRequest { key: key(), sort_order: 9, ..Default::default() };
    assert_eq!(RangeRequest::try_from(order), Err(Error::InvalidSortOption));
    let keyless = pb::RangeRequest { sort_target: -1, ..Default::default() };
    assert_eq!(RangeRequest::try_from(keyless), Err(Error::EmptyKey));
    let empty = pb::TxnRequest { success: vec![pb::RequestOp { request: None }], ..Default::default() };
    assert_eq!(TxnRequest::try_from(empty), Err(Error::KeyNotFound));
    let compare = pb::Compare { key: key(), result: 7, ..Default::default() };
    let error = Compare::try_from(compare).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("comparison")), (Code::InvalidArgument, true));
    let filter = pb::WatchCreateRequest { filters: vec![5], ..Default::default() };
    assert_eq!(WatchCreate::try_from(filter).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn a_comparison_without_a_value_compares_with_nothing() {
    let compare = pb::Compare {
        target: pb::compare::CompareTarget::Mod.into(),
        target_union: Some(pb::compare::TargetUnion::Version(7)),
        ..Default::default()
    };
    assert_eq!(Compare::try_from(compare).unwrap().target, CompareTarget::Mod(Revision(0)));
}

#[test]
fn transactions_nested_without_end_are_refused_not_followed() {
    let mut txn = pb::TxnRequest::default();
    for _ in 0..5_000 {
        let op = pb::RequestOp { request: Some(pb::request_op::Request::RequestTxn(txn)) };
        txn = pb::TxnRequest { success: vec![op], ..Default::default() };
    }
    let mut bytes = Vec::new();
    // Encoding nests as deep as the value; the decoder must not.
    std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(move || {
            txn.encode(&mut bytes).unwrap();
            assert!(pb::TxnRequest::decode(bytes.as_slice()).is_err());
        })
        .unwrap()
        .join()
        .unwrap();
}
