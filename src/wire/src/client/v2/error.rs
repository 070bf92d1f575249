//! Why a request of the v2 API came to nothing.

use seatrial_types::v2::V2Error;

/// Why one endpoint gave no answer that counts. The texts are those of etcd's client for Go, which scripts compare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum V2Failure {
    /// No connection: the request was not sent.
    #[error("dial tcp {address}: {why}")]
    NotConnected {
        /// Where to.
        address: String,
        /// What the system says.
        why: String,
    },
    /// The endpoint can be none: the request was not sent.
    #[error("{0}")]
    NoEndpoint(String),
    /// The connection broke while the answer was awaited.
    #[error("{0}")]
    Lost(String),
    /// No answer began in time.
    #[error("client: endpoint {endpoint} exceeded header timeout")]
    HeaderTimeout {
        /// Whose.
        endpoint: String,
    },
    /// The member says that it cannot serve now.
    #[error("client: etcd member {endpoint} has no leader")]
    NoLeader {
        /// Which.
        endpoint: String,
        /// Whether it is certain that the request was not carried out.
        is_certain: bool,
    },
    /// The member, or what stands before it, failed in another way.
    #[error("client: etcd member {endpoint} returns server error [{reason}]")]
    ServerError {
        /// Which.
        endpoint: String,
        /// HTTP's name for it.
        reason: String,
    },
}

impl V2Failure {
    /// Whether the request was certainly not carried out there.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self {
            Self::NotConnected { .. } | Self::NoEndpoint(_) => true,
            Self::Lost(_) | Self::HeaderTimeout { .. } | Self::ServerError { .. } => false,
            Self::NoLeader { is_certain, .. } => *is_certain,
        }
    }

    /// Whether it is a matter of the connection alone.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::NotConnected { .. })
    }
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum V2ClientError {
    /// The key space refused it; nothing has changed.
    #[error("{}: {} ({}) [{}]", .0.code.number(), .0.code.message(), .0.cause, .0.index)]
    Refused(V2Error),
    /// It was refused outside of the key space (members, users, roles).
    #[error("{message}")]
    Status {
        /// HTTP's number.
        status: u16,
        /// What the member said.
        message: String,
    },
    /// None of the endpoints that were tried answered.
    #[error("client: etcd cluster is unavailable or misconfigured; {}", listed(failures))]
    Unreachable {
        /// Why, in the order in which they were tried.
        failures: Vec<V2Failure>,
        /// Whether a change may have happened all the same.
        ambiguous: bool,
    },
    /// The time for the whole request ran out.
    #[error("context deadline exceeded")]
    TimedOut {
        /// Whether a change may have happened all the same.
        ambiguous: bool,
    },
    /// The members publish no addresses for clients.
    #[error("client: no endpoints available")]
    NoEndpoints,
    /// The answer is none of this API.
    #[error("client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint")]
    Odd {
        /// What could not be understood.
        why: String,
    },
}

fn listed(failures: &[V2Failure]) -> String {
    let each = failures.iter().enumerate().map(|(at, failure)| format!("error #{at}: {failure}\n"));
    each.collect::<Vec<_>>().join("; ")
}

impl V2ClientError {
    /// Whether a change may have happened all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Status { .. } | Self::NoEndpoints => false,
            Self::Unreachable { ambiguous, .. } | Self::TimedOut { ambiguous } => *ambiguous,
            // Something answered; what it did is not known.
            Self::Odd { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_endpoints_are_listed_with_what_was_wrong_with_them() {
        let failures = vec![
            V2Failure::NotConnected {
                address: "h:1".to_owned(),
                why: "connect: connection refused".to_owned(),
            },
            V2Failure::HeaderTimeout { endpoint: "http://h:2".to_owned() },
        ];
        let error = V2ClientError::Unreachable { failures, ambiguous: true };
        assert_eq!(
            error.to_string(),
            "client: etcd cluster is unavailable or misconfigured; error #0: dial tcp h:1: connect: connection \
             refused\n; error #1: client: endpoint http://h:2 exceeded header timeout\n"
        );
        assert!(error.is_ambiguous());
    }
}
