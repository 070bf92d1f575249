//! The store's errors as gRPC has them, and back. etcd's clients compare the text, so it passes unchanged.

use seatrial_types::{Code, Error};
use tonic::Status;

/// The gRPC status of an error.
#[must_use]
pub fn status_of_error(error: &Error) -> Status {
    Status::new(grpc_code(error.code()), error.to_string())
}

/// The error a status stands for.
#[must_use]
pub fn error_of_status(status: &Status) -> Error {
    Error::from_text(code_of_grpc(status.code()), status.message())
}

fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::Cancelled => tonic::Code::Cancelled,
        Code::Unknown => tonic::Code::Unknown,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Internal => tonic::Code::Internal,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
    }
}

fn code_of_grpc(code: tonic::Code) -> Code {
    match code {
        tonic::Code::Cancelled => Code::Cancelled,
        // A status of OK that arrives as an error contradicts itself.
        tonic::Code::Ok | tonic::Code::Unknown => Code::Unknown,
        tonic::Code::InvalidArgument => Code::InvalidArgument,
        tonic::Code::DeadlineExceeded => Code::DeadlineExceeded,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists => Code::AlreadyExists,
        tonic::Code::PermissionDenied => Code::PermissionDenied,
        tonic::Code::ResourceExhausted => Code::ResourceExhausted,
        tonic::Code::FailedPrecondition => Code::FailedPrecondition,
        tonic::Code::Aborted => Code::Aborted,
        tonic::Code::OutOfRange => Code::OutOfRange,
        tonic::Code::Unimplemented => Code::Unimplemented,
        tonic::Code::Internal => Code::Internal,
        tonic::Code::Unavailable => Code::Unavailable,
        tonic::Code::DataLoss => Code::DataLoss,
        tonic::Code::Unauthenticated => Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_passes_grpc_with_code_and_text() {
        for error in [Error::Compacted, Error::NoLeader, Error::LeaseNotFound, Error::DuplicateKey] {
            let status = status_of_error(&error);
            assert_eq!(status.message(), error.to_string());
            assert_eq!(error_of_status(&status), error);
        }
        let odd = Error::Other(Code::Aborted, "of a newer server".into());
        assert_eq!(error_of_status(&status_of_error(&odd)), odd);
    }

    #[test]
    fn every_grpc_code_survives_the_way_there_and_back() {
        for number in 1..=16 {
            let code = tonic::Code::from(number);
            assert_eq!(grpc_code(code_of_grpc(code)), code, "code {number}");
        }
    }
}
