//! The store as its users see it.

use crate::error::ClientError;
use seatrial_types::request::{
    CompactRequest, DeleteRangeRequest, DeleteRangeResponse, Header, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, StatusResponse, TxnRequest,
    TxnResponse,
};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{Code, Error, LeaseId, Request, Response};
use std::future::Future;

/// A watch that goes on until it is cancelled or dropped.
pub trait Watching: Send + 'static {
    /// The next answer; an error or `None` is the end. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<WatchResponse, ClientError>>> + Send;

    /// Asks the member to say how far it has come.
    fn request_progress(&mut self);
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident: $type:ty) = $ask:expr => $answer:ident($response:ty);)*) => {$(
        $(#[$doc])*
        fn $name(&self, $request: $type) -> impl Future<Output = Result<$response, ClientError>> + Send {
            async move {
                match self.call($ask).await? {
                    Response::$answer(response) => Ok(response),
                    other => Err(mismatch(&other)),
                }
            }
        }
    )*};
}

/// The store. Cheap to clone.
pub trait Store: Clone + Send + Sync + 'static {
    /// Its watches.
    type Watch: Watching;

    /// Asks the store.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, ClientError>> + Send;

    /// Starts a watch.
    fn watch(&self, create: WatchCreate) -> Self::Watch;

    calls! {
        /// Reads keys.
        range(request: RangeRequest) = Request::Range(request) => Range(RangeResponse);
        /// Writes a key.
        put(request: PutRequest) = Request::Put(request) => Put(PutResponse);
        /// Deletes keys.
        delete_range(request: DeleteRangeRequest) =
            Request::DeleteRange(request) => DeleteRange(DeleteRangeResponse);
        /// Compares, then does one of two lists of operations.
        txn(request: TxnRequest) = Request::Txn(request) => Txn(TxnResponse);
        /// Forgets old versions.
        compact(request: CompactRequest) = Request::Compact(request) => Compact(Header);
        /// Makes a lease.
        lease_grant(request: LeaseGrantRequest) = Request::LeaseGrant(request) => LeaseGrant(LeaseGrantResponse);
        /// Ends a lease.
        lease_revoke(lease: LeaseId) = Request::LeaseRevoke(lease) => LeaseRevoke(Header);
        /// Starts a lease's time anew, once; see also [`crate::keep_alive`].
        lease_keep_alive(lease: LeaseId) =
            Request::LeaseKeepAlive(lease) => LeaseKeepAlive(LeaseKeepAliveResponse);
    }

    /// What the member that happens to answer knows of itself.
    fn status(&self) -> impl Future<Output = Result<StatusResponse, ClientError>> + Send {
        async move {
            match self.call(Request::Status).await? {
                Response::Status(response) => Ok(response),
                other => Err(mismatch(&other)),
            }
        }
    }
}

/// An answer of the wrong kind: whatever was asked may well have happened.
fn mismatch(got: &Response) -> ClientError {
    let error = Error::Other(Code::Internal, format!("answer of the wrong kind: {got:?}"));
    ClientError { error, ambiguous: true }
}
