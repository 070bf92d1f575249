//! The store's requests as gRPC calls on a [`Channel`].

use super::channel::{Channel, ChannelError, ChannelOptions, Sent};
use super::{host_port, is_https};
use crate::status::error_of_status;
use futures::channel::mpsc;
use seatrial_client::{ClientError, Endpoint, WatchChannel, has_effect};
use seatrial_proto::authpb;
use seatrial_proto::etcdserverpb as pb;
use seatrial_types::auth::{AuthRequest, AuthResponse, Secret};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, Request, Response};
use seatrial_world::World;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Status, Streaming};

use pb::auth_client::AuthClient;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;

/// Largest answer taken, as in etcd's client: what a range may bring is bounded by its limit alone.
const RESPONSE_BYTES_MAX: usize = i32::MAX as usize;

/// One member, reached by gRPC.
#[derive(Clone)]
pub struct GrpcEndpoint<W: World> {
    world: W,
    name: String,
    channel: Channel<W>,
    /// Shown with every request.
    token: Option<AsciiMetadataValue>,
}

impl<W: World> GrpcEndpoint<W> {
    /// An endpoint at `http://host:port`, `https://host:port` or `host:port`, which is https where `options` have
    /// a layer. Nothing is dialed yet.
    ///
    /// # Errors
    /// A sentence that names the endpoint.
    pub fn new(world: W, endpoint: &str, mut options: ChannelOptions) -> Result<Self, String> {
        if endpoint.starts_with("http://") {
            options.layer = None;
        } else if is_https(endpoint) && options.layer.is_none() {
            return Err(format!("endpoint {endpoint:?}: https, but there are no settings for TLS"));
        }
        let address = host_port(endpoint)?;
        let token = options.token.as_ref().map(|token| token.parse());
        let token = token.transpose().map_err(|_| "the token is not printable ASCII".to_owned())?;
        let channel = Channel::new(world.clone(), address, options);
        Ok(Self { world, name: endpoint.to_owned(), channel, token })
    }

    /// The channel below, for services of which this type knows nothing.
    #[must_use]
    pub fn channel(&self) -> &Channel<W> {
        &self.channel
    }

    /// The member's whole state, as the file that `etcdctl snapshot save` writes.
    ///
    /// # Errors
    /// As text.
    pub async fn snapshot(&self) -> Result<Streaming<pb::SnapshotResponse>, Error> {
        let mut client =
            MaintenanceClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let answer = client.snapshot(self.signed(pb::SnapshotRequest {})).await;
        answer.map(tonic::Response::into_inner).map_err(|status| error_of_status(&status))
    }

    /// The message to send, with the deadline for the server and the mark for ourselves.
    fn message<T>(&self, message: T, timeout: Duration, sent: &Sent) -> tonic::Request<T> {
        let mut request = self.signed(message);
        request.set_timeout(timeout);
        request.extensions_mut().insert(sent.clone());
        request
    }

    pub(super) fn signed<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    async fn dispatch(&self, request: Request, timeout: Duration, sent: &Sent) -> Result<Response, Failure> {
        macro_rules! ask {
            ($client:ident, $method:ident, $message:expr) => {{
                let mut client =
                    $client::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
                client.$method(self.message($message, timeout, sent)).await?.into_inner()
            }};
        }
        Ok(match request {
            Request::Range(r) => Response::Range(ask!(KvClient, range, pb::RangeRequest::from(r)).into()),
            Request::Put(r) => Response::Put(ask!(KvClient, put, pb::PutRequest::from(r)).into()),
            Request::DeleteRange(r) => {
                Response::DeleteRange(ask!(KvClient, delete_range, pb::DeleteRangeRequest::from(r)).into())
            }
            Request::Txn(r) => Response::Txn(ask!(KvClient, txn, pb::TxnRequest::from(r)).try_into()?),
            Request::Compact(r) => {
                Response::Compact(ask!(KvClient, compact, pb::CompactionRequest::from(r)).into())
            }
            Request::LeaseGrant(r) => {
                Response::LeaseGrant(ask!(LeaseClient, lease_grant, pb::LeaseGrantRequest::from(r)).into())
            }
            Request::LeaseRevoke(id) => Response::LeaseRevoke(
                ask!(LeaseClient, lease_revoke, pb::LeaseRevokeRequest { id: id.0 }).into(),
            ),
            Request::LeaseKeepAlive(id) => {
                let once = futures::stream::iter([pb::LeaseKeepAliveRequest { id: id.0 }]);
                let mut answers = ask!(LeaseClient, lease_keep_alive, once);
                let answer = answers.message().await?;
                let answer = answer.ok_or_else(|| Status::unavailable("stream closed without an answer"))?;
                Response::LeaseKeepAlive(answer.into())
            }
            Request::LeaseTimeToLive(r) => Response::LeaseTimeToLive(
                ask!(LeaseClient, lease_time_to_live, pb::LeaseTimeToLiveRequest::from(r)).into(),
            ),
            Request::LeaseLeases => {
                Response::LeaseLeases(ask!(LeaseClient, lease_leases, pb::LeaseLeasesRequest {}).into())
            }
            Request::MemberList { linearizable } => Response::MemberList(
                ask!(ClusterClient, member_list, pb::MemberListRequest { linearizable }).into(),
            ),
            Request::MemberAdd(r) => Response::MemberAdd(
                ask!(ClusterClient, member_add, pb::MemberAddRequest::from(r)).try_into()?,
            ),
            Request::MemberRemove(id) => Response::MemberRemove(
                ask!(ClusterClient, member_remove, pb::MemberRemoveRequest { id: id.0 }).into(),
            ),
            Request::MemberUpdate(r) => Response::MemberUpdate(
                ask!(ClusterClient, member_update, pb::MemberUpdateRequest::from(r)).into(),
            ),
            Request::MemberPromote(id) => Response::MemberPromote(
                ask!(ClusterClient, member_promote, pb::MemberPromoteRequest { id: id.0 }).into(),
            ),
            Request::Status => Response::Status(ask!(MaintenanceClient, status, pb::StatusRequest {}).into()),
            Request::HashKv { revision } => Response::HashKv(
                ask!(MaintenanceClient, hash_kv, pb::HashKvRequest { revision: revision.0 }).into(),
            ),
            Request::MoveLeader(target) => Response::MoveLeader(
                ask!(MaintenanceClient, move_leader, pb::MoveLeaderRequest { target_id: target.0 }).into(),
            ),
            Request::Defragment => {
                Response::Defragment(ask!(MaintenanceClient, defragment, pb::DefragmentRequest {}).into())
            }
            Request::Hash => Response::Hash(ask!(MaintenanceClient, hash, pb::HashRequest {}).into()),
            Request::Downgrade(r) => {
                Response::Downgrade(ask!(MaintenanceClient, downgrade, pb::DowngradeRequest::from(r)).into())
            }
            Request::AlarmChange(r) => {
                Response::AlarmChange(ask!(MaintenanceClient, alarm, pb::AlarmRequest::from(r)).try_into()?)
            }
            // A stream, not a call: see `GrpcEndpoint::snapshot`.
            Request::SnapshotRead(_) => {
                let why = "a snapshot is read as a stream".to_owned();
                return Err(Failure::Answer(Error::Other(Code::Unimplemented, why)));
            }
            Request::V2(_) => {
                let why = "the v2 key space is asked over HTTP".to_owned();
                return Err(Failure::Answer(Error::Other(Code::Unimplemented, why)));
            }
            Request::AlarmList => {
                Response::AlarmList(ask!(MaintenanceClient, alarm, pb::AlarmRequest::default()).try_into()?)
            }
            Request::Auth(request) => Response::Auth(self.dispatch_auth(request, timeout, sent).await?),
            // Who asks is known by the token alone.
            Request::As(_, request) => {
                return Box::pin(self.dispatch(*request, timeout, sent)).await;
            }
        })
    }
}

impl<W: World> GrpcEndpoint<W> {
    async fn dispatch_auth(
        &self,
        request: AuthRequest,
        timeout: Duration,
        sent: &Sent,
    ) -> Result<AuthResponse, Failure> {
        macro_rules! ask {
            ($method:ident, $message:expr) => {{
                let mut client =
                    AuthClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
                client.$method(self.message($message, timeout, sent)).await?.into_inner()
            }};
        }
        let plain = |secret: &Secret| match secret {
            Secret::Plain(password) => password.clone(),
            Secret::Hash(_) | Secret::Nothing => String::new(),
        };
        Ok(match request {
            AuthRequest::Enable => ask!(auth_enable, pb::AuthEnableRequest {}).into(),
            AuthRequest::Disable => ask!(auth_disable, pb::AuthDisableRequest {}).into(),
            AuthRequest::Status => ask!(auth_status, pb::AuthStatusRequest {}).into(),
            AuthRequest::Authenticate { name, password } => {
                ask!(authenticate, pb::AuthenticateRequest { name, password: plain(&password) }).into()
            }
            AuthRequest::UserAdd { name, password } => {
                let no_password = password == Secret::Nothing;
                let options = Some(authpb::UserAddOptions { no_password });
                let hashed_password = String::new();
                let password = plain(&password);
                ask!(user_add, pb::AuthUserAddRequest { name, password, options, hashed_password }).into()
            }
            AuthRequest::UserGet { name } => ask!(user_get, pb::AuthUserGetRequest { name }).into(),
            AuthRequest::UserList => ask!(user_list, pb::AuthUserListRequest {}).into(),
            AuthRequest::UserDelete { name } => ask!(user_delete, pb::AuthUserDeleteRequest { name }).into(),
            AuthRequest::UserChangePassword { name, password } => {
                let password = plain(&password);
                let hashed_password = String::new();
                let message = pb::AuthUserChangePasswordRequest { name, password, hashed_password };
                ask!(user_change_password, message).into()
            }
            AuthRequest::UserGrantRole { user, role } => {
                ask!(user_grant_role, pb::AuthUserGrantRoleRequest { user, role }).into()
            }
            AuthRequest::UserRevokeRole { user, role } => {
                ask!(user_revoke_role, pb::AuthUserRevokeRoleRequest { name: user, role }).into()
            }
            AuthRequest::RoleAdd { role } => ask!(role_add, pb::AuthRoleAddRequest { name: role }).into(),
            AuthRequest::RoleGet { role } => ask!(role_get, pb::AuthRoleGetRequest { role }).try_into()?,
            AuthRequest::RoleList => ask!(role_list, pb::AuthRoleListRequest {}).into(),
            AuthRequest::RoleDelete { role } => ask!(role_delete, pb::AuthRoleDeleteRequest { role }).into(),
            AuthRequest::RoleGrantPermission { role, permission } => {
                let perm = permission.map(Into::into);
                ask!(role_grant_permission, pb::AuthRoleGrantPermissionRequest { name: role, perm }).into()
            }
            AuthRequest::RoleRevokePermission { role, range } => {
                let (key, range_end) = (range.key, range.end);
                let message = pb::AuthRoleRevokePermissionRequest { role, key, range_end };
                ask!(role_revoke_permission, message).into()
            }
            // A member's own; there is no message for them.
            AuthRequest::Password { .. } | AuthRequest::Admit { .. } => {
                return Err(Failure::Status(Box::new(Status::permission_denied(
                    Error::PermissionDenied.to_string(),
                ))));
            }
        })
    }
}

/// Why a call gave no answer.
enum Failure {
    /// gRPC says so.
    Status(Box<Status>),
    /// There was an answer, and it made no sense: the request has been carried out.
    Answer(Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

/// What a failed call tells about the request's effect.
fn client_error(status: &Status, request: &Request) -> ClientError {
    match ChannelError::of(status) {
        Some(ChannelError::NotSent(why)) => ClientError::unreachable(why.clone()),
        Some(ChannelError::Lost(why)) => {
            ClientError::unknown(Error::Other(Code::Unavailable, why.clone()), request)
        }
        None => ClientError::answered(error_of_status(status), request),
    }
}

impl<W: World> GrpcEndpoint<W> {
    /// A call of a service that is none of the store's requests, given up after `timeout`. What an error says of its
    /// effect is what it would say of the request `like`.
    pub(super) async fn within<M, A, F>(
        &self,
        message: M,
        timeout: Duration,
        like: &Request,
        call: impl FnOnce(tonic::Request<M>) -> F,
    ) -> Result<A, ClientError>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let sent = Sent::new(self.world.now());
        let message = self.message(message, timeout, &sent);
        let limit = self.world.sleep(timeout);
        tokio::select! {
            biased;
            answer = call(message) => answer.map_err(|status| client_error(&status, like)),
            () = limit => {
                sent.give_up();
                Err(ClientError::deadline(sent.get() && has_effect(like)))
            }
        }
    }
}

impl<W: World> Endpoint for GrpcEndpoint<W> {
    type Watch = GrpcWatch;

    fn address(&self) -> &str {
        &self.name
    }

    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, ClientError> {
        let sent = Sent::new(self.world.now());
        let limit = self.world.sleep(timeout);
        let answer = tokio::select! {
            biased;
            answer = self.dispatch(request.clone(), timeout, &sent) => answer,
            () = limit => {
                sent.give_up();
                return Err(ClientError::deadline(sent.get() && has_effect(&request)));
            }
        };
        answer.map_err(|failure| match failure {
            Failure::Status(status) => client_error(&status, &request),
            Failure::Answer(error) => ClientError::unknown(error, &request),
        })
    }

    fn watch(&self) -> GrpcWatch {
        let (asks, requests) = mpsc::unbounded();
        let mut client = WatchClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let requests = self.signed(requests);
        let opening = async move { Ok(client.watch(requests).await?.into_inner()) };
        GrpcWatch { asks, state: WatchState::Opening(Box::pin(opening)) }
    }
}

/// A watch stream over gRPC.
pub struct GrpcWatch {
    asks: mpsc::UnboundedSender<pb::WatchRequest>,
    state: WatchState,
}

enum WatchState {
    /// Some servers answer the call only with their first message; asking must be possible before.
    Opening(Pin<Box<dyn Future<Output = Result<Streaming<pb::WatchResponse>, Status>> + Send>>),
    Open(Box<Streaming<pb::WatchResponse>>),
    Closed,
}

impl GrpcWatch {
    async fn receive(&mut self) -> Result<WatchResponse, ClientError> {
        if let WatchState::Opening(opening) = &mut self.state {
            let answers = opening.as_mut().await.map_err(|status| stream_error(&status))?;
            self.state = WatchState::Open(Box::new(answers));
        }
        let WatchState::Open(answers) = &mut self.state else {
            return Err(ClientError::unreachable("the watch stream has ended"));
        };
        match answers.message().await {
            Ok(Some(message)) => message.try_into().map_err(ClientError::certain),
            Ok(None) => Err(ClientError::unreachable("the server closed the watch stream")),
            Err(status) => Err(stream_error(&status)),
        }
    }
}

/// A watch changes nothing, so a broken one is never ambiguous.
fn stream_error(status: &Status) -> ClientError {
    ClientError::certain(error_of_status(status))
}

impl WatchChannel for GrpcWatch {
    fn send(&mut self, request: WatchRequest) {
        // A closed stream reports itself in `next`.
        let _ = self.asks.unbounded_send(request.into());
    }

    async fn next(&mut self) -> Result<WatchResponse, ClientError> {
        let received = self.receive().await;
        if received.is_err() {
            self.state = WatchState::Closed;
        }
        received
    }
}
