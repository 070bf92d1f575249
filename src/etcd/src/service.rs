//! The service itself: check, then ask the member.

use crate::ask::{Ask, AskSend, AskWatch};
use crate::validate::{self, Limits};
use bytes::Bytes;
use seatrial_node::Handle;
use seatrial_types::request::{
    AlarmChangeRequest, AlarmListResponse, CompactRequest, DeleteRangeRequest, DeleteRangeResponse,
    HashKvResponse, Header, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, MemberAddRequest,
    MemberAddResponse, MemberListResponse, MemberUpdateRequest, PutRequest, PutResponse, RangeRequest,
    RangeResponse, SnapshotPiece, SnapshotReadRequest, StatusResponse, TxnRequest, TxnResponse,
};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, LeaseId, MemberId, Request, Response, Revision};

/// etcd's v3 API over a member. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EtcdService<A = Handle> {
    ask: A,
    limits: Limits,
}

/// One method per request: it takes the request's own type and gives the answer's own type.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) = $request:expr => $answer:ident($response:ty);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// What [`validate::check`] refuses, and whatever the member says.
        pub async fn $name(&self, $($argument: $type),*) -> Result<$response, Error> {
            match self.call($request).await? {
                Response::$answer(response) => Ok(response),
                other => Err(mismatch(stringify!($answer), &other)),
            }
        }
    )*};
}

impl<A: Ask> EtcdService<A> {
    /// A service with these limits.
    pub fn new(ask: A, limits: Limits) -> Self {
        Self { ask, limits }
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks any request and passes it to the member.
    ///
    /// # Errors
    /// What [`validate::check`] refuses, and whatever the member says.
    pub async fn call(&self, request: Request) -> Result<Response, Error> {
        validate::check(&request, &self.limits)?;
        self.ask.call(request).await
    }

    methods! {
        /// Reads keys.
        range(r: RangeRequest) = Request::Range(r) => Range(RangeResponse);
        /// Writes a key.
        put(r: PutRequest) = Request::Put(r) => Put(PutResponse);
        /// Deletes keys.
        delete_range(r: DeleteRangeRequest) = Request::DeleteRange(r) => DeleteRange(DeleteRangeResponse);
        /// Compares, then does one of two lists of operations.
        txn(r: TxnRequest) = Request::Txn(r) => Txn(TxnResponse);
        /// Forgets old versions.
        compact(r: CompactRequest) = Request::Compact(r) => Compact(Header);
        /// Makes a lease.
        lease_grant(r: LeaseGrantRequest) = Request::LeaseGrant(r) => LeaseGrant(LeaseGrantResponse);
        /// Ends a lease.
        lease_revoke(id: LeaseId) = Request::LeaseRevoke(id) => LeaseRevoke(Header);
        /// Starts a lease's time anew; an unknown lease is answered with a time to live of 0.
        lease_keep_alive(id: LeaseId) = Request::LeaseKeepAlive(id) => LeaseKeepAlive(LeaseKeepAliveResponse);
        /// How long a lease still lives; -1 for an unknown lease.
        lease_time_to_live(r: LeaseTimeToLiveRequest) =
            Request::LeaseTimeToLive(r) => LeaseTimeToLive(LeaseTimeToLiveResponse);
        /// All leases.
        lease_leases() = Request::LeaseLeases => LeaseLeases(LeaseLeasesResponse);
        /// The members.
        member_list(linearizable: bool) = Request::MemberList { linearizable } => MemberList(MemberListResponse);
        /// Adds a member.
        member_add(r: MemberAddRequest) = Request::MemberAdd(r) => MemberAdd(MemberAddResponse);
        /// Removes a member.
        member_remove(id: MemberId) = Request::MemberRemove(id) => MemberRemove(MemberListResponse);
        /// Changes a member's peer addresses.
        member_update(r: MemberUpdateRequest) = Request::MemberUpdate(r) => MemberUpdate(MemberListResponse);
        /// Makes a learner a voter.
        member_promote(id: MemberId) = Request::MemberPromote(id) => MemberPromote(MemberListResponse);
        /// What this member knows of itself.
        status() = Request::Status => Status(StatusResponse);
        /// Hash of keys and values.
        hash_kv(revision: Revision) = Request::HashKv { revision } => HashKv(HashKvResponse);
        /// Gives the leadership away.
        move_leader(target: MemberId) = Request::MoveLeader(target) => MoveLeader(Header);
        /// Alarms that are on.
        alarm_list() = Request::AlarmList => AlarmList(AlarmListResponse);
        /// A piece of the member's whole state.
        snapshot_read(r: SnapshotReadRequest) = Request::SnapshotRead(r) => SnapshotRead(SnapshotPiece);
        /// Raises or clears an alarm.
        alarm_change(r: AlarmChangeRequest) = Request::AlarmChange(r) => AlarmChange(AlarmListResponse);
    }

    /// Opens a watch stream.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn watch(&self) -> Result<(WatchAsks<A>, WatchAnswers<A>), Error> {
        let session = self.ask.watch().await?;
        let asks = WatchAsks { sender: session.sender() };
        Ok((asks, WatchAnswers { session, response_bytes: self.limits.watch_response_bytes }))
    }
}

fn mismatch(want: &str, got: &Response) -> Error {
    Error::Other(Code::Internal, format!("expected an answer of kind {want}, got {got:?}"))
}

/// The asking half of a watch stream.
#[derive(Clone)]
pub struct WatchAsks<A: Ask> {
    sender: <A::Watch as AskWatch>::Sender,
}

impl<A: Ask> WatchAsks<A> {
    /// Asks. An empty key stands for the lowest key there is, as in etcd.
    pub fn send(&self, mut request: WatchRequest) {
        if let WatchRequest::Create(create) = &mut request
            && create.range.key.is_empty()
        {
            create.range.key = Bytes::from_static(b"\0");
        }
        self.sender.send(request);
    }
}

/// The answering half of a watch stream. Dropping it cancels its watches.
pub struct WatchAnswers<A: Ask> {
    session: A::Watch,
    response_bytes: usize,
}

impl<A: Ask> WatchAnswers<A> {
    /// The next answer; `None` once the member has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<WatchResponse> {
        self.session.next().await
    }

    /// The size above which an answer is to be split, for the watches that asked for fragments.
    #[must_use]
    pub fn fragment_bytes(&self) -> usize {
        self.response_bytes
    }
}
