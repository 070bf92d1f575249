//! Watch streams.

use super::kv::header;
use crate::etcdserverpb as pb;
use crate::malformed;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use seatrial_types::watch as t;
use seatrial_types::{Error, EventKind, KeyRange, Revision};

impl From<t::WatchRequest> for pb::WatchRequest {
    fn from(r: t::WatchRequest) -> Self {
        let union = match r {
            t::WatchRequest::Create(create) | t::WatchRequest::CreateAs(_, create) => {
                RequestUnion::CreateRequest(create.into())
            }
            t::WatchRequest::Cancel(id) => {
                RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id.0 })
            }
            t::WatchRequest::Progress => RequestUnion::ProgressRequest(pb::WatchProgressRequest {}),
        };
        Self { request_union: Some(union) }
    }
}

impl TryFrom<pb::WatchRequest> for t::WatchRequest {
    type Error = Error;

    fn try_from(r: pb::WatchRequest) -> Result<Self, Error> {
        match r.request_union {
            Some(RequestUnion::CreateRequest(create)) => Ok(Self::Create(create.try_into()?)),
            Some(RequestUnion::CancelRequest(cancel)) => Ok(Self::Cancel(t::WatchId(cancel.watch_id))),
            Some(RequestUnion::ProgressRequest(_)) => Ok(Self::Progress),
            None => Err(malformed("empty watch request")),
        }
    }
}

impl From<t::WatchCreate> for pb::WatchCreateRequest {
    fn from(r: t::WatchCreate) -> Self {
        let filter = |kind| match kind {
            EventKind::Put => FilterType::Noput.into(),
            EventKind::Delete => FilterType::Nodelete.into(),
        };
        Self {
            key: r.range.key,
            range_end: r.range.end,
            start_revision: r.start_revision.0,
            progress_notify: r.progress_notify,
            filters: r.filters.into_iter().map(filter).collect(),
            prev_kv: r.prev_kv,
            watch_id: r.watch_id,
            fragment: r.fragment,
        }
    }
}

impl TryFrom<pb::WatchCreateRequest> for t::WatchCreate {
    type Error = Error;

    fn try_from(r: pb::WatchCreateRequest) -> Result<Self, Error> {
        let filter = |kind| match FilterType::try_from(kind) {
            Ok(FilterType::Noput) => Ok(EventKind::Put),
            Ok(FilterType::Nodelete) => Ok(EventKind::Delete),
            Err(_) => Err(malformed("watch filter")),
        };
        Ok(Self {
            range: KeyRange { key: r.key, end: r.range_end },
            start_revision: Revision(r.start_revision),
            progress_notify: r.progress_notify,
            filters: r.filters.into_iter().map(filter).collect::<Result<_, _>>()?,
            prev_kv: r.prev_kv,
            watch_id: r.watch_id,
            fragment: r.fragment,
        })
    }
}

impl From<t::WatchResponse> for pb::WatchResponse {
    fn from(r: t::WatchResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            watch_id: r.watch_id.0,
            created: r.created,
            canceled: r.canceled,
            compact_revision: r.compact_revision.0,
            cancel_reason: r.cancel_reason,
            fragment: r.fragment,
            events: r.events.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::WatchResponse> for t::WatchResponse {
    type Error = Error;

    fn try_from(r: pb::WatchResponse) -> Result<Self, Error> {
        Ok(Self {
            header: header(r.header),
            watch_id: t::WatchId(r.watch_id),
            created: r.created,
            canceled: r.canceled,
            compact_revision: Revision(r.compact_revision),
            cancel_reason: r.cancel_reason,
            fragment: r.fragment,
            events: r.events.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}
