//! What can go wrong with a request, with etcd's code and text: clients compare the text
//! (etcd `api/v3rpc/rpctypes/error.go`).

use serde::{Deserialize, Serialize};

/// gRPC's status codes, as far as the store uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "gRPC's names")]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

macro_rules! errors {
    ($($name:ident: $code:ident, $text:literal;)*) => {
        /// A request that was refused or whose outcome is unknown.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
        pub enum Error {
            $(#[doc = $text] #[error($text)] $name,)*
            /// An error that only a newer or other server knows.
            #[error("{1}")]
            Other(Code, String),
        }

        impl Error {
            /// The gRPC code that goes with it.
            #[must_use]
            pub fn code(&self) -> Code {
                match self { $(Self::$name => Code::$code,)* Self::Other(code, _) => *code }
            }

            /// The error whose code and text these are.
            #[must_use]
            pub fn from_text(code: Code, text: &str) -> Self {
                match text { $($text => Self::$name,)* _ => Self::Other(code, text.to_owned()) }
            }
        }
    };
}

errors! {
    EmptyKey: InvalidArgument, "etcdserver: key is not provided";
    KeyNotFound: InvalidArgument, "etcdserver: key not found";
    ValueProvided: InvalidArgument, "etcdserver: value is provided";
    LeaseProvided: InvalidArgument, "etcdserver: lease is provided";
    TooManyOps: InvalidArgument, "etcdserver: too many operations in txn request";
    DuplicateKey: InvalidArgument, "etcdserver: duplicate key given in txn request";
    InvalidSortOption: InvalidArgument, "etcdserver: invalid sort option";
    Compacted: OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FutureRevision: OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    NoSpace: ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    LeaseNotFound: NotFound, "etcdserver: requested lease not found";
    LeaseExists: FailedPrecondition, "etcdserver: lease already exists";
    LeaseTtlTooLarge: OutOfRange, "etcdserver: too large lease TTL";
    MemberExists: FailedPrecondition, "etcdserver: member ID already exist";
    PeerUrlExists: FailedPrecondition, "etcdserver: Peer URLs already exists";
    MemberNotEnoughStarted: FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    MemberBadUrls: InvalidArgument, "etcdserver: given member URLs are invalid";
    MemberNotFound: NotFound, "etcdserver: member not found";
    MemberNotLearner: FailedPrecondition, "etcdserver: can only promote a learner member";
    LearnerNotReady: FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners: FailedPrecondition, "etcdserver: too many learner members in cluster";
    RequestTooLarge: InvalidArgument, "etcdserver: request is too large";
    TooManyRequests: ResourceExhausted, "etcdserver: too many requests";
    Unhealthy: Unavailable, "etcdserver: unhealthy cluster";
    NoLeader: Unavailable, "etcdserver: no leader";
    NotLeader: FailedPrecondition, "etcdserver: not leader";
    LeaderChanged: Unavailable, "etcdserver: leader changed";
    NotCapable: FailedPrecondition, "etcdserver: not capable";
    Stopped: Unavailable, "etcdserver: server stopped";
    Timeout: Unavailable, "etcdserver: request timed out";
    TimeoutLeaderFail: Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutConnectionLost: Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    WrongVersionFormat: InvalidArgument, "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTarget: InvalidArgument, "etcdserver: invalid downgrade target version";
    NoInflightDowngrade: FailedPrecondition, "etcdserver: no inflight downgrade job";
    Corrupt: DataLoss, "etcdserver: corrupt cluster";
    LearnerUnsupported: Unavailable, "etcdserver: rpc not supported for learner";
    BadLeaderTransferee: FailedPrecondition, "etcdserver: bad leader transferee";
    TimeoutLeaderTransfer: Unavailable, "etcdserver: request timed out, leader transfer took too long";
    RootUserNotExist: FailedPrecondition, "etcdserver: root user does not exist";
    RootRoleNotExist: FailedPrecondition, "etcdserver: root user does not have root role";
    UserExists: FailedPrecondition, "etcdserver: user name already exists";
    UserEmpty: InvalidArgument, "etcdserver: user name is empty";
    UserNotFound: FailedPrecondition, "etcdserver: user name not found";
    RoleExists: FailedPrecondition, "etcdserver: role name already exists";
    RoleNotFound: FailedPrecondition, "etcdserver: role name not found";
    RoleEmpty: InvalidArgument, "etcdserver: role name is empty";
    AuthFailed: InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    PermissionNotGiven: InvalidArgument, "etcdserver: permission not given";
    PermissionDenied: PermissionDenied, "etcdserver: permission denied";
    RoleNotGranted: FailedPrecondition, "etcdserver: role is not granted to the user";
    PermissionNotGranted: FailedPrecondition, "etcdserver: permission is not granted to the role";
    AuthNotEnabled: FailedPrecondition, "etcdserver: authentication is not enabled";
    InvalidAuthToken: Unauthenticated, "etcdserver: invalid auth token";
    InvalidAuthManagement: InvalidArgument, "etcdserver: invalid auth management";
    AuthOldRevision: InvalidArgument, "etcdserver: revision of auth store is old";
}

impl Error {
    /// Whether the request may have taken effect all the same: its outcome is unknown.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Timeout
            | Self::TimeoutLeaderFail
            | Self::TimeoutConnectionLost
            | Self::LeaderChanged
            | Self::Stopped => true,
            Self::Other(code, _) => matches!(
                code,
                Code::Cancelled
                    | Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unavailable
                    | Code::Internal
                    | Code::Aborted
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_again_by_its_text() {
        let error = Error::Compacted;
        assert_eq!(Error::from_text(error.code(), &error.to_string()), error);
        assert_eq!(Error::from_text(Code::Unknown, "odd"), Error::Other(Code::Unknown, "odd".into()));
    }
}
