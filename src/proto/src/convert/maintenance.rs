//! Status, hashes, alarms, leadership.

use super::kv::header;
use crate::etcdserverpb as pb;
use crate::malformed;
use seatrial_types::request as t;
use seatrial_types::{Code, Error, LogIndex, MemberId, Revision, Term};

impl From<t::StatusResponse> for pb::StatusResponse {
    fn from(r: t::StatusResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            version: r.version,
            db_size: r.db_size,
            leader: r.leader.0,
            raft_index: r.raft_index.0,
            raft_term: r.raft_term.0,
            raft_applied_index: r.raft_applied_index.0,
            errors: r.errors,
            db_size_in_use: r.db_size_in_use,
            is_learner: r.is_learner,
            storage_version: r.storage_version,
            db_size_quota: r.db_size_quota,
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: !r.downgrade_to.is_empty(),
                target_version: r.downgrade_to,
            }),
        }
    }
}

impl From<pb::StatusResponse> for t::StatusResponse {
    fn from(r: pb::StatusResponse) -> Self {
        Self {
            header: header(r.header),
            version: r.version,
            db_size: r.db_size,
            db_size_in_use: r.db_size_in_use,
            leader: MemberId(r.leader),
            raft_index: LogIndex(r.raft_index),
            raft_term: Term(r.raft_term),
            raft_applied_index: LogIndex(r.raft_applied_index),
            errors: r.errors,
            is_learner: r.is_learner,
            db_size_quota: r.db_size_quota,
            storage_version: r.storage_version,
            downgrade_to: r.downgrade_info.map(|info| info.target_version).unwrap_or_default(),
        }
    }
}

impl From<t::HashKvResponse> for pb::HashKvResponse {
    fn from(r: t::HashKvResponse) -> Self {
        Self {
            header: Some(r.header.into()),
            hash: r.hash,
            compact_revision: r.compact_revision.0,
            hash_revision: r.hash_revision.0,
        }
    }
}

impl From<pb::HashKvResponse> for t::HashKvResponse {
    fn from(r: pb::HashKvResponse) -> Self {
        Self {
            header: header(r.header),
            hash: r.hash,
            compact_revision: Revision(r.compact_revision),
            hash_revision: Revision(r.hash_revision),
        }
    }
}

impl From<t::HashResponse> for pb::HashResponse {
    fn from(r: t::HashResponse) -> Self {
        Self { header: Some(r.header.into()), hash: r.hash }
    }
}

impl From<pb::HashResponse> for t::HashResponse {
    fn from(r: pb::HashResponse) -> Self {
        Self { header: header(r.header), hash: r.hash }
    }
}

impl From<t::Header> for pb::DefragmentResponse {
    /// Without a header, as etcd's: clients ask whether there is one.
    fn from(_: t::Header) -> Self {
        Self { header: None }
    }
}

impl From<pb::DefragmentResponse> for t::Header {
    fn from(r: pb::DefragmentResponse) -> Self {
        header(r.header)
    }
}

impl From<t::DowngradeRequest> for pb::DowngradeRequest {
    fn from(r: t::DowngradeRequest) -> Self {
        use pb::downgrade_request::DowngradeAction;
        let action = match r.action {
            t::DowngradeAction::Validate => DowngradeAction::Validate,
            t::DowngradeAction::Enable => DowngradeAction::Enable,
            t::DowngradeAction::Cancel => DowngradeAction::Cancel,
        };
        Self { action: action.into(), version: r.version }
    }
}

impl TryFrom<pb::DowngradeRequest> for t::DowngradeRequest {
    type Error = Error;

    fn try_from(r: pb::DowngradeRequest) -> Result<Self, Error> {
        use pb::downgrade_request::DowngradeAction;
        let action = match DowngradeAction::try_from(r.action) {
            Ok(DowngradeAction::Validate) => t::DowngradeAction::Validate,
            Ok(DowngradeAction::Enable) => t::DowngradeAction::Enable,
            Ok(DowngradeAction::Cancel) => t::DowngradeAction::Cancel,
            // As etcd says it.
            Err(_) => return Err(Error::Other(Code::Unknown, "etcdserver: unknown method".to_owned())),
        };
        Ok(Self { action, version: r.version })
    }
}

impl From<t::DowngradeResponse> for pb::DowngradeResponse {
    fn from(r: t::DowngradeResponse) -> Self {
        Self { header: Some(r.header.into()), version: r.version }
    }
}

impl From<pb::DowngradeResponse> for t::DowngradeResponse {
    fn from(r: pb::DowngradeResponse) -> Self {
        Self { header: header(r.header), version: r.version }
    }
}

impl From<t::AlarmChangeRequest> for pb::AlarmRequest {
    fn from(r: t::AlarmChangeRequest) -> Self {
        use pb::alarm_request::AlarmAction;
        let action = if r.raise { AlarmAction::Activate } else { AlarmAction::Deactivate };
        let alarm = match r.kind {
            t::AlarmKind::NoSpace => pb::AlarmType::Nospace,
            t::AlarmKind::Corrupt => pb::AlarmType::Corrupt,
        };
        Self { action: action.into(), member_id: r.member.0, alarm: alarm.into() }
    }
}

impl From<t::AlarmListResponse> for pb::AlarmResponse {
    fn from(r: t::AlarmListResponse) -> Self {
        let alarm = |(member, kind): (MemberId, t::AlarmKind)| {
            let alarm = match kind {
                t::AlarmKind::NoSpace => pb::AlarmType::Nospace,
                t::AlarmKind::Corrupt => pb::AlarmType::Corrupt,
            };
            pb::AlarmMember { member_id: member.0, alarm: alarm.into() }
        };
        Self { header: Some(r.header.into()), alarms: r.alarms.into_iter().map(alarm).collect() }
    }
}

impl TryFrom<pb::AlarmResponse> for t::AlarmListResponse {
    type Error = Error;

    fn try_from(r: pb::AlarmResponse) -> Result<Self, Error> {
        let alarm = |alarm: pb::AlarmMember| {
            let kind = match pb::AlarmType::try_from(alarm.alarm) {
                Ok(pb::AlarmType::Nospace) => t::AlarmKind::NoSpace,
                Ok(pb::AlarmType::Corrupt) => t::AlarmKind::Corrupt,
                Ok(pb::AlarmType::None) | Err(_) => return Err(malformed("alarm")),
            };
            Ok((MemberId(alarm.member_id), kind))
        };
        let alarms = r.alarms.into_iter().map(alarm).collect::<Result<_, _>>()?;
        Ok(Self { header: header(r.header), alarms })
    }
}

impl From<t::Header> for pb::MoveLeaderResponse {
    /// Without a header, as etcd's: clients ask whether there is one.
    fn from(_: t::Header) -> Self {
        Self { header: None }
    }
}

impl From<pb::MoveLeaderResponse> for t::Header {
    fn from(r: pb::MoveLeaderResponse) -> Self {
        header(r.header)
    }
}
