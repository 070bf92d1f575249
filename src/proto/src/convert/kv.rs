//! Ranges, puts, deletes, transactions, compaction.

use crate::etcdserverpb as pb;
use crate::{malformed, mvccpb};
use seatrial_types::request as t;
use seatrial_types::{
    ClusterId, Error, Event, EventKind, KeyRange, KeyValue, LeaseId, MemberId, Revision, Term,
};

impl From<t::Header> for pb::ResponseHeader {
    fn from(h: t::Header) -> Self {
        Self {
            cluster_id: h.cluster_id.0,
            member_id: h.member_id.0,
            revision: h.revision.0,
            raft_term: h.raft_term.0,
        }
    }
}

impl From<pb::ResponseHeader> for t::Header {
    fn from(h: pb::ResponseHeader) -> Self {
        Self {
            cluster_id: ClusterId(h.cluster_id),
            member_id: MemberId(h.member_id),
            revision: Revision(h.revision),
            raft_term: Term(h.raft_term),
        }
    }
}

/// A header that a server left out is all zeros, as protobuf has it for every scalar.
pub(super) fn header(h: Option<pb::ResponseHeader>) -> t::Header {
    h.map(Into::into).unwrap_or_default()
}

impl From<KeyValue> for mvccpb::KeyValue {
    fn from(kv: KeyValue) -> Self {
        Self {
            key: kv.key,
            value: kv.value,
            create_revision: kv.create_revision.0,
            mod_revision: kv.mod_revision.0,
            version: kv.version,
            lease: kv.lease.0,
        }
    }
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(kv: mvccpb::KeyValue) -> Self {
        Self {
            key: kv.key,
            value: kv.value,
            create_revision: Revision(kv.create_revision),
            mod_revision: Revision(kv.mod_revision),
            version: kv.version,
            lease: LeaseId(kv.lease),
        }
    }
}

impl From<Event> for mvccpb::Event {
    fn from(event: Event) -> Self {
        let kind = match event.kind {
            EventKind::Put => mvccpb::event::EventType::Put,
            EventKind::Delete => mvccpb::event::EventType::Delete,
        };
        Self { r#type: kind.into(), kv: Some(event.kv.into()), prev_kv: event.prev_kv.map(Into::into) }
    }
}

impl TryFrom<mvccpb::Event> for Event {
    type Error = Error;

    fn try_from(event: mvccpb::Event) -> Result<Self, Error> {
        let kind = match mvccpb::event::EventType::try_from(event.r#type) {
            Ok(mvccpb::event::EventType::Put) => EventKind::Put,
            Ok(mvccpb::event::EventType::Delete) => EventKind::Delete,
            Err(_) => return Err(malformed("event type")),
        };
        let kv = event.kv.ok_or_else(|| malformed("event without a key"))?.into();
        Ok(Self { kind, kv, prev_kv: event.prev_kv.map(Into::into) })
    }
}

impl From<t::RangeRequest> for pb::RangeRequest {
    fn from(r: t::RangeRequest) -> Self {
        use pb::range_request::{SortOrder, SortTarget};
        let order = match r.sort_order {
            t::SortOrder::None => SortOrder::None,
            t::SortOrder::Ascend => SortOrder::Ascend,
            t::SortOrder::Descend => SortOrder::Descend,
        };
        let target = match r.sort_target {
            t::SortTarget::Key => SortTarget::Key,
            t::SortTarget::Version => SortTarget::Version,
            t::SortTarget::Create => SortTarget::Create,
            t::SortTarget::Mod => SortTarget::Mod,
            t::SortTarget::Value => SortTarget::Value,
        };
        Self {
            key: r.range.key,
            range_end: r.range.end,
            limit: r.limit,
            revision: r.revision.0,
            sort_order: order.into(),
            sort_target: target.into(),
            serializable: r.serializable,
            keys_only: r.keys_only,
            count_only: r.count_only,
            min_mod_revision: r.min_mod_revision.0,
            max_mod_revision: r.max_mod_revision.0,
            min_create_revision: r.min_create_revision.0,
            max_create_revision: r.max_create_revision.0,
        }
    }
}

impl TryFrom<pb::RangeRequest> for t::RangeRequest {
    type Error = Error;

    fn try_from(r: pb::RangeRequest) -> Result<Self, Error> {
        use pb::range_request::{SortOrder, SortTarget};
        // The missing key is reported before the bad order, as etcd does.
        let refuse = |_| if r.key.is_empty() { Error::EmptyKey } else { Error::InvalidSortOption };
        let sort_order = match SortOrder::try_from(r.sort_order).map_err(refuse)? {
            SortOrder::None => t::SortOrder::None,
            SortOrder::Ascend => t::SortOrder::Ascend,
            SortOrder::Descend => t::SortOrder::Descend,
        };
        let sort_target = match SortTarget::try_from(r.sort_target).map_err(refuse)? {
            SortTarget::Key => t::SortTarget::Key,
            SortTarget::Version => t::SortTarget::Version,
            SortTarget::Create => t::SortTarget::Create,
            SortTarget::Mod => t::SortTarget::Mod,
            SortTarget::Value => t::SortTarget::Value,
        };
        Ok(Self {
            range: KeyRange { key: r.key, end: r.range_end },
            limit: r.limit,
            revision: Revision(r.revision),
            sort_order,
            sort_target,
            serializable: r.serializable,
            keys_only: r.keys_only,
            count_only: r.count_only,
            min_mod_revision: Revision(r.min_mod_revision),
            max_mod_revision: Revision(r.max_mod_revision),
            min_create_revision: Revision(r.min_create_revision),
            max_create_revision: Revision(r.max_create_revision),
        })
    }
}

impl From<t::RangeResponse> for pb::RangeResponse {
    fn from(r: t::RangeResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            kvs: r.kvs.into_iter().map(Into::into).collect(),
            more: r.more,
            count: r.count,
        }
    }
}

impl From<pb::RangeResponse> for t::RangeResponse {
    fn from(r: pb::RangeResponse) -> Self {
        Self {
            header: header(r.header),
            kvs: r.kvs.into_iter().map(Into::into).collect(),
            more: r.more,
            count: r.count,
        }
    }
}

impl From<t::PutRequest> for pb::PutRequest {
    fn from(r: t::PutRequest) -> Self {
        Self {
            key: r.key,
            value: r.value,
            lease: r.lease.0,
            prev_kv: r.prev_kv,
            ignore_value: r.ignore_value,
            ignore_lease: r.ignore_lease,
        }
    }
}

impl From<pb::PutRequest> for t::PutRequest {
    fn from(r: pb::PutRequest) -> Self {
        Self {
            key: r.key,
            value: r.value,
            lease: LeaseId(r.lease),
            prev_kv: r.prev_kv,
            ignore_value: r.ignore_value,
            ignore_lease: r.ignore_lease,
        }
    }
}

impl From<t::PutResponse> for pb::PutResponse {
    fn from(r: t::PutResponse) -> Self {
        Self { header: Some(r.header.into()), prev_kv: r.prev_kv.map(Into::into) }
    }
}

impl From<pb::PutResponse> for t::PutResponse {
    fn from(r: pb::PutResponse) -> Self {
        Self { header: header(r.header), prev_kv: r.prev_kv.map(Into::into) }
    }
}

impl From<t::DeleteRangeRequest> for pb::DeleteRangeRequest {
    fn from(r: t::DeleteRangeRequest) -> Self {
        Self { key: r.range.key, range_end: r.range.end, prev_kv: r.prev_kv }
    }
}

impl From<pb::DeleteRangeRequest> for t::DeleteRangeRequest {
    fn from(r: pb::DeleteRangeRequest) -> Self {
        Self { range: KeyRange { key: r.key, end: r.range_end }, prev_kv: r.prev_kv }
    }
}

impl From<t::DeleteRangeResponse> for pb::DeleteRangeResponse {
    fn from(r: t::DeleteRangeResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            deleted: r.deleted,
            prev_kvs: r.prev_kvs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::DeleteRangeResponse> for t::DeleteRangeResponse {
    fn from(r: pb::DeleteRangeResponse) -> Self {
        Self {
            header: header(r.header),
            deleted: r.deleted,
            prev_kvs: r.prev_kvs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<t::Compare> for pb::Compare {
    fn from(c: t::Compare) -> Self {
        use pb::compare::{CompareResult, CompareTarget, TargetUnion};
        let result = match c.op {
            t::CompareOp::Equal => CompareResult::Equal,
            t::CompareOp::Greater => CompareResult::Greater,
            t::CompareOp::Less => CompareResult::Less,
            t::CompareOp::NotEqual => CompareResult::NotEqual,
        };
        let (target, value) = match c.target {
            t::CompareTarget::Version(v) => (CompareTarget::Version, TargetUnion::Version(v)),
            t::CompareTarget::Create(r) => (CompareTarget::Create, TargetUnion::CreateRevision(r.0)),
            t::CompareTarget::Mod(r) => (CompareTarget::Mod, TargetUnion::ModRevision(r.0)),
            t::CompareTarget::Value(v) => (CompareTarget::Value, TargetUnion::Value(v)),
            t::CompareTarget::Lease(l) => (CompareTarget::Lease, TargetUnion::Lease(l.0)),
        };
        Self {
            result: result.into(),
            target: target.into(),
            key: c.range.key,
            range_end: c.range.end,
            target_union: Some(value),
        }
    }
}

impl TryFrom<pb::Compare> for t::Compare {
    type Error = Error;

    /// A value that is missing, or of another kind than the target, counts as zero or empty, as in etcd.
    fn try_from(c: pb::Compare) -> Result<Self, Error> {
        use pb::compare::{CompareResult, CompareTarget, TargetUnion};
        let op = match CompareResult::try_from(c.result).map_err(|_| malformed("comparison"))? {
            CompareResult::Equal => t::CompareOp::Equal,
            CompareResult::Greater => t::CompareOp::Greater,
            CompareResult::Less => t::CompareOp::Less,
            CompareResult::NotEqual => t::CompareOp::NotEqual,
        };
        let target = CompareTarget::try_from(c.target).map_err(|_| malformed("comparison target"))?;
        let target = match (target, c.target_union) {
            (CompareTarget::Version, Some(TargetUnion::Version(v))) => t::CompareTarget::Version(v),
            (CompareTarget::Version, _) => t::CompareTarget::Version(0),
            (CompareTarget::Create, Some(TargetUnion::CreateRevision(r))) => {
                t::CompareTarget::Create(Revision(r))
            }
            (CompareTarget::Create, _) => t::CompareTarget::Create(Revision(0)),
            (CompareTarget::Mod, Some(TargetUnion::ModRevision(r))) => t::CompareTarget::Mod(Revision(r)),
            (CompareTarget::Mod, _) => t::CompareTarget::Mod(Revision(0)),
            (CompareTarget::Value, Some(TargetUnion::Value(v))) => t::CompareTarget::Value(v),
            (CompareTarget::Value, _) => t::CompareTarget::Value(bytes::Bytes::new()),
            (CompareTarget::Lease, Some(TargetUnion::Lease(l))) => t::CompareTarget::Lease(LeaseId(l)),
            (CompareTarget::Lease, _) => t::CompareTarget::Lease(LeaseId::NONE),
        };
        Ok(Self { range: KeyRange { key: c.key, end: c.range_end }, op, target })
    }
}

impl From<t::TxnOp> for pb::RequestOp {
    fn from(op: t::TxnOp) -> Self {
        use pb::request_op::Request;
        let request = match op {
            t::TxnOp::Range(r) => Request::RequestRange(r.into()),
            t::TxnOp::Put(r) => Request::RequestPut(r.into()),
            t::TxnOp::DeleteRange(r) => Request::RequestDeleteRange(r.into()),
            t::TxnOp::Txn(r) => Request::RequestTxn(r.into()),
        };
        Self { request: Some(request) }
    }
}

impl TryFrom<pb::RequestOp> for t::TxnOp {
    type Error = Error;

    fn try_from(op: pb::RequestOp) -> Result<Self, Error> {
        use pb::request_op::Request;
        Ok(match op.request {
            Some(Request::RequestRange(r)) => Self::Range(r.try_into()?),
            Some(Request::RequestPut(r)) => Self::Put(r.into()),
            Some(Request::RequestDeleteRange(r)) => Self::DeleteRange(r.into()),
            Some(Request::RequestTxn(r)) => Self::Txn(r.try_into()?),
            // etcd's choice of words for an operation that is none.
            None => return Err(Error::KeyNotFound),
        })
    }
}

impl From<t::TxnRequest> for pb::TxnRequest {
    fn from(r: t::TxnRequest) -> Self {
        Self {
            compare: r.compare.into_iter().map(Into::into).collect(),
            success: r.success.into_iter().map(Into::into).collect(),
            failure: r.failure.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::TxnRequest> for t::TxnRequest {
    type Error = Error;

    fn try_from(r: pb::TxnRequest) -> Result<Self, Error> {
        Ok(Self {
            compare: r.compare.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            success: r.success.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            failure: r.failure.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<t::TxnOpResponse> for pb::ResponseOp {
    fn from(op: t::TxnOpResponse) -> Self {
        use pb::response_op::Response;
        let response = match op {
            t::TxnOpResponse::Range(r) => Response::ResponseRange(r.into()),
            t::TxnOpResponse::Put(r) => Response::ResponsePut(r.into()),
            t::TxnOpResponse::DeleteRange(r) => Response::ResponseDeleteRange(r.into()),
            t::TxnOpResponse::Txn(r) => Response::ResponseTxn(r.into()),
        };
        Self { response: Some(response) }
    }
}

impl TryFrom<pb::ResponseOp> for t::TxnOpResponse {
    type Error = Error;

    fn try_from(op: pb::ResponseOp) -> Result<Self, Error> {
        use pb::response_op::Response;
        Ok(match op.response {
            Some(Response::ResponseRange(r)) => Self::Range(r.into()),
            Some(Response::ResponsePut(r)) => Self::Put(r.into()),
            Some(Response::ResponseDeleteRange(r)) => Self::DeleteRange(r.into()),
            Some(Response::ResponseTxn(r)) => Self::Txn(r.try_into()?),
            None => return Err(malformed("empty answer in a transaction")),
        })
    }
}

impl From<t::TxnResponse> for pb::TxnResponse {
    fn from(r: t::TxnResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            succeeded: r.succeeded,
            responses: r.responses.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::TxnResponse> for t::TxnResponse {
    type Error = Error;

    fn try_from(r: pb::TxnResponse) -> Result<Self, Error> {
        Ok(Self {
            header: header(r.header),
            succeeded: r.succeeded,
            responses: r.responses.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<t::CompactRequest> for pb::CompactionRequest {
    fn from(r: t::CompactRequest) -> Self {
        Self { revision: r.revision.0, physical: r.physical }
    }
}

impl From<pb::CompactionRequest> for t::CompactRequest {
    fn from(r: pb::CompactionRequest) -> Self {
        Self { revision: Revision(r.revision), physical: r.physical }
    }
}

impl From<t::Header> for pb::CompactionResponse {
    fn from(h: t::Header) -> Self {
        Self { header: Some(h.into()) }
    }
}

impl From<pb::CompactionResponse> for t::Header {
    fn from(r: pb::CompactionResponse) -> Self {
        header(r.header)
    }
}
