//! What a caller learns of a request that failed.

use seatrial_types::auth::AuthRequest;
use seatrial_types::v2::V2Request;
use seatrial_types::{Code, Error, Request};

/// A request that failed, and whether it may have taken effect all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ClientError {
    /// What the member or the connection says.
    pub error: Error,
    /// The request changes something and may have done so: a recorder of histories must write down an
    /// unknown outcome. `false` is a promise that nothing has changed and nothing will.
    pub ambiguous: bool,
}

impl ClientError {
    /// Nothing has happened.
    #[must_use]
    pub fn certain(error: Error) -> Self {
        Self { error, ambiguous: false }
    }

    /// The outcome of `request` is unknown (for a mere question that is no ambiguity).
    #[must_use]
    pub fn unknown(error: Error, request: &Request) -> Self {
        Self { error, ambiguous: has_effect(request) }
    }

    /// A member answered `request` with this error: its kind says whether anything may have happened.
    #[must_use]
    pub fn answered(error: Error, request: &Request) -> Self {
        let ambiguous = error.is_ambiguous() && has_effect(request);
        Self { error, ambiguous }
    }

    /// The connection failed before the request was on its way.
    #[must_use]
    pub fn unreachable(why: impl Into<String>) -> Self {
        Self::certain(Error::Other(Code::Unavailable, why.into()))
    }

    /// The time for the request is over.
    #[must_use]
    pub fn deadline(ambiguous: bool) -> Self {
        Self { error: Error::Other(Code::DeadlineExceeded, "context deadline exceeded".into()), ambiguous }
    }

    /// Whether another attempt, perhaps elsewhere, may help and does no harm.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !self.ambiguous && self.is_unavailable()
    }

    /// Whether the endpoint, rather than the request, is at fault.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.error.code(), Code::Unavailable | Code::DeadlineExceeded)
    }
}

/// Whether a request changes anything that another attempt could change twice. Keeping a lease alive twice
/// is the same as once.
#[must_use]
pub fn has_effect(request: &Request) -> bool {
    match request {
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::MemberAdd(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate(_)
        | Request::MemberPromote(_)
        | Request::MoveLeader(_)
        | Request::AlarmChange(_)
        | Request::Defragment
        | Request::Downgrade(_) => true,
        Request::Txn(txn) => !txn.is_read_only(),
        Request::V2(request) => matches!(request, V2Request::Change(_)),
        // A second token does no harm.
        Request::Auth(AuthRequest::Authenticate { .. }) => false,
        Request::Auth(auth) => !auth.is_read(),
        Request::As(_, request) => has_effect(request),
        Request::Range(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases
        | Request::MemberList { .. }
        | Request::Status
        | Request::HashKv { .. }
        | Request::Hash
        | Request::AlarmList
        | Request::SnapshotRead(_) => false,
    }
}
