//! Leases.

use super::kv::header;
use crate::etcdserverpb as pb;
use seatrial_types::LeaseId;
use seatrial_types::request as t;

impl From<t::LeaseGrantRequest> for pb::LeaseGrantRequest {
    fn from(r: t::LeaseGrantRequest) -> Self {
        Self { id: r.id.0, ttl: r.ttl_seconds }
    }
}

impl From<pb::LeaseGrantRequest> for t::LeaseGrantRequest {
    fn from(r: pb::LeaseGrantRequest) -> Self {
        Self { id: LeaseId(r.id), ttl_seconds: r.ttl }
    }
}

impl From<t::LeaseGrantResponse> for pb::LeaseGrantResponse {
    fn from(r: t::LeaseGrantResponse) -> Self {
        Self { header: Some(r.header.into()), id: r.id.0, ttl: r.ttl_seconds, error: String::new() }
    }
}

impl From<pb::LeaseGrantResponse> for t::LeaseGrantResponse {
    fn from(r: pb::LeaseGrantResponse) -> Self {
        Self { header: header(r.header), id: LeaseId(r.id), ttl_seconds: r.ttl }
    }
}

impl From<t::Header> for pb::LeaseRevokeResponse {
    fn from(h: t::Header) -> Self {
        Self { header: Some(h.into()) }
    }
}

impl From<pb::LeaseRevokeResponse> for t::Header {
    fn from(r: pb::LeaseRevokeResponse) -> Self {
        header(r.header)
    }
}

impl From<t::LeaseKeepAliveResponse> for pb::LeaseKeepAliveResponse {
    fn from(r: t::LeaseKeepAliveResponse) -> Self {
        Self { header: Some(r.header.into()), id: r.id.0, ttl: r.ttl_seconds }
    }
}

impl From<pb::LeaseKeepAliveResponse> for t::LeaseKeepAliveResponse {
    fn from(r: pb::LeaseKeepAliveResponse) -> Self {
        Self { header: header(r.header), id: LeaseId(r.id), ttl_seconds: r.ttl }
    }
}

impl From<t::LeaseTimeToLiveRequest> for pb::LeaseTimeToLiveRequest {
    fn from(r: t::LeaseTimeToLiveRequest) -> Self {
        Self { id: r.id.0, keys: r.keys }
    }
}

impl From<pb::LeaseTimeToLiveRequest> for t::LeaseTimeToLiveRequest {
    fn from(r: pb::LeaseTimeToLiveRequest) -> Self {
        Self { id: LeaseId(r.id), keys: r.keys }
    }
}

impl From<t::LeaseTimeToLiveResponse> for pb::LeaseTimeToLiveResponse {
    fn from(r: t::LeaseTimeToLiveResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            id: r.id.0,
            ttl: r.ttl_seconds,
            granted_ttl: r.granted_ttl_seconds,
            keys: r.keys,
        }
    }
}

impl From<pb::LeaseTimeToLiveResponse> for t::LeaseTimeToLiveResponse {
    fn from(r: pb::LeaseTimeToLiveResponse) -> Self {
        Self {
            header: header(r.header),
            id: LeaseId(r.id),
            ttl_seconds: r.ttl,
            granted_ttl_seconds: r.granted_ttl,
            keys: r.keys,
        }
    }
}

impl From<t::LeaseLeasesResponse> for pb::LeaseLeasesResponse {
    fn from(r: t::LeaseLeasesResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            leases: r.leases.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect(),
        }
    }
}

impl From<pb::LeaseLeasesResponse> for t::LeaseLeasesResponse {
    fn from(r: pb::LeaseLeasesResponse) -> Self {
        Self { header: header(r.header), leases: r.leases.into_iter().map(|l| LeaseId(l.id)).collect() }
    }
}
