//! Members.

use super::kv::header;
use crate::etcdserverpb as pb;
use crate::malformed;
use seatrial_types::request as t;
use seatrial_types::{Error, MemberId};

impl From<t::Member> for pb::Member {
    fn from(m: t::Member) -> Self {
        Self {
            id: m.id.0,
            name: m.name,
            peer_ur_ls: m.peer_urls,
            client_ur_ls: m.client_urls,
            is_learner: m.is_learner,
        }
    }
}

impl From<pb::Member> for t::Member {
    fn from(m: pb::Member) -> Self {
        Self {
            id: MemberId(m.id),
            name: m.name,
            peer_urls: m.peer_ur_ls,
            client_urls: m.client_ur_ls,
            is_learner: m.is_learner,
        }
    }
}

fn to_pb(members: Vec<t::Member>) -> Vec<pb::Member> {
    members.into_iter().map(Into::into).collect()
}

fn from_pb(members: Vec<pb::Member>) -> Vec<t::Member> {
    members.into_iter().map(Into::into).collect()
}

/// List, removal, update and promotion all answer with the members.
macro_rules! member_list {
    ($($message:ident),*) => {$(
        impl From<t::MemberListResponse> for pb::$message {
            fn from(r: t::MemberListResponse) -> Self {
                Self { header: Some(r.header.into()), members: to_pb(r.members) }
            }
        }

        impl From<pb::$message> for t::MemberListResponse {
            fn from(r: pb::$message) -> Self {
                Self { header: header(r.header), members: from_pb(r.members) }
            }
        }
    )*};
}

member_list!(MemberListResponse, MemberRemoveResponse, MemberUpdateResponse, MemberPromoteResponse);

impl From<t::MemberAddRequest> for pb::MemberAddRequest {
    fn from(r: t::MemberAddRequest) -> Self {
        Self { peer_ur_ls: r.peer_urls, is_learner: r.is_learner }
    }
}

impl From<pb::MemberAddRequest> for t::MemberAddRequest {
    fn from(r: pb::MemberAddRequest) -> Self {
        Self { peer_urls: r.peer_ur_ls, is_learner: r.is_learner }
    }
}

impl From<t::MemberAddResponse> for pb::MemberAddResponse {
    fn from(r: t::MemberAddResponse) -> Self {
        Self { header: Some(r.header.into()), member: Some(r.member.into()), members: to_pb(r.members) }
    }
}

impl TryFrom<pb::MemberAddResponse> for t::MemberAddResponse {
    type Error = Error;

    fn try_from(r: pb::MemberAddResponse) -> Result<Self, Error> {
        let member = r.member.ok_or_else(|| malformed("added member missing"))?.into();
        Ok(Self { header: header(r.header), member, members: from_pb(r.members) })
    }
}

impl From<t::MemberUpdateRequest> for pb::MemberUpdateRequest {
    fn from(r: t::MemberUpdateRequest) -> Self {
        Self { id: r.id.0, peer_ur_ls: r.peer_urls }
    }
}

impl From<pb::MemberUpdateRequest> for t::MemberUpdateRequest {
    fn from(r: pb::MemberUpdateRequest) -> Self {
        Self { id: MemberId(r.id), peer_urls: r.peer_ur_ls }
    }
}
