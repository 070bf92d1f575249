//! The service itself: check, then ask the member.

use crate::ask::{Ask, AskSend, AskWatch};
use crate::auth::{AuthOptions, Desk, Outside};
use crate::validate::{self, Limits};
use bytes::Bytes;
use seatrial_node::Handle;
use seatrial_types::auth::{AuthRequest, AuthResponse, Caller};
use seatrial_types::request::{
    AlarmChangeRequest, AlarmListResponse, CompactRequest, DeleteRangeRequest, DeleteRangeResponse,
    DowngradeRequest, DowngradeResponse, HashKvResponse, HashResponse, Header, LeaseGrantRequest,
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, MemberAddRequest, MemberAddResponse, MemberListResponse, MemberUpdateRequest,
    PutRequest, PutResponse, RangeRequest, RangeResponse, SnapshotPiece, SnapshotReadRequest, StatusResponse,
    TxnRequest, TxnResponse,
};
use seatrial_types::v2::{V2Error, V2Request, V2Response, V2Watch};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, LeaseId, MemberId, Request, Response, Revision};
use std::sync::Arc;

/// etcd's v3 API over a member. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EtcdService<A = Handle> {
    ask: A,
    limits: Limits,
    /// `None`: users cannot be told apart, and passwords not be looked at.
    desk: Option<Desk>,
    caller: Option<Caller>,
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
        Self { ask, limits, desk: None, caller: None }
    }

    /// The same service with a way to look at passwords and tokens.
    #[must_use]
    pub fn with_auth(self, outside: Arc<dyn Outside>, options: &AuthOptions) -> Self {
        Self { desk: Some(Desk::new(outside, options)), ..self }
    }

    /// The same service for a caller who showed a token, or came over a connection with a certificate made out to
    /// somebody; the token counts where there are both.
    #[must_use]
    pub fn for_caller(&self, token: Option<&str>, certificate: Option<&str>) -> Self
    where
        A: Clone,
    {
        let caller = match (token, &self.desk) {
            (Some(token), Some(desk)) => Some(desk.caller(token)),
            (Some(_), None) => Some(Caller::Invalid),
            (None, _) => certificate.map(|name| Caller::Certificate(name.to_owned())),
        };
        Self { caller, ..self.clone() }
    }

    /// The same service for the server's own questions.
    #[must_use]
    pub fn for_server(self) -> Self {
        Self { caller: Some(Caller::Server), ..self }
    }

    /// Whoever looks at passwords.
    pub(crate) fn desk(&self) -> Option<&Desk> {
        self.desk.as_ref()
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
        let request = match request {
            Request::Auth(request) => match self.prepare(request).await? {
                Prepared::Ask(request) => Request::Auth(request),
                Prepared::Answer(response) => return Ok(response),
            },
            plain => plain,
        };
        self.ask
            .call(match &self.caller {
                Some(caller) => Request::As(caller.clone(), Box::new(request)),
                None => request,
            })
            .await
    }

    /// What is to be done about passwords before a member hears of the request.
    async fn prepare(&self, request: AuthRequest) -> Result<Prepared, Error> {
        let desk = || self.desk.as_ref().ok_or(Error::AuthNotEnabled);
        Ok(Prepared::Ask(match request {
            AuthRequest::Authenticate { name, password } => {
                return desk()?.authenticate(&self.ask, name, password).await.map(Prepared::Answer);
            }
            AuthRequest::UserAdd { name, password } => {
                AuthRequest::UserAdd { name, password: desk()?.hashed(password).await? }
            }
            AuthRequest::UserChangePassword { name, password } => {
                AuthRequest::UserChangePassword { name, password: desk()?.changed(password).await? }
            }
            other => other,
        }))
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
        /// Writes this member's file anew.
        defragment() = Request::Defragment => Defragment(Header);
        /// Hash of everything this member keeps.
        hash() = Request::Hash => Hash(HashResponse);
        /// Prepares the cluster for an older version.
        downgrade(r: DowngradeRequest) = Request::Downgrade(r) => Downgrade(DowngradeResponse);
        /// Gives the leadership away.
        move_leader(target: MemberId) = Request::MoveLeader(target) => MoveLeader(Header);
        /// Users and roles.
        auth(r: AuthRequest) = Request::Auth(r) => Auth(AuthResponse);
        /// Alarms that are on.
        alarm_list() = Request::AlarmList => AlarmList(AlarmListResponse);
        /// A piece of the member's whole state.
        snapshot_read(r: SnapshotReadRequest) = Request::SnapshotRead(r) => SnapshotRead(SnapshotPiece);
        /// Raises or clears an alarm.
        alarm_change(r: AlarmChangeRequest) = Request::AlarmChange(r) => AlarmChange(AlarmListResponse);
    }

    /// Asks the v2 key space.
    ///
    /// # Errors
    /// What [`validate::check`] refuses, and whatever the member says.
    pub async fn v2(&self, request: V2Request) -> Result<V2Response, Error> {
        match self.call(Request::V2(request)).await? {
            Response::V2(response) => Ok(response),
            other => Err(mismatch("V2", &other)),
        }
    }

    /// Begins to wait for changes of the v2 key space; within, that what is asked for may have been forgotten.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn v2_watch(&self, watch: V2Watch) -> Result<Result<A::V2, V2Error>, Error> {
        self.ask.v2_watch(watch).await
    }

    /// Opens a watch stream.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn watch(&self) -> Result<(WatchAsks<A>, WatchAnswers<A>), Error> {
        let session = self.ask.watch().await?;
        let asks = WatchAsks { sender: session.sender(), caller: self.caller.clone() };
        Ok((asks, WatchAnswers { session, response_bytes: self.limits.watch_response_bytes }))
    }
}

/// What is left of a request around users once its password was looked after.
enum Prepared {
    Ask(AuthRequest),
    Answer(Response),
}

fn mismatch(want: &str, got: &Response) -> Error {
    Error::Other(Code::Internal, format!("expected an answer of kind {want}, got {got:?}"))
}

/// The asking half of a watch stream.
#[derive(Clone)]
pub struct WatchAsks<A: Ask> {
    sender: <A::Watch as AskWatch>::Sender,
    caller: Option<Caller>,
}

impl<A: Ask> WatchAsks<A> {
    /// Asks. An empty key stands for the lowest key there is, as in etcd.
    pub fn send(&self, mut request: WatchRequest) {
        if let WatchRequest::Create(create) = &mut request
            && create.range.key.is_empty()
        {
            create.range.key = Bytes::from_static(b"\0");
        }
        if let (Some(caller), WatchRequest::Create(create)) = (&self.caller, &request) {
            request = WatchRequest::CreateAs(caller.clone(), create.clone());
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
