//! The service of users and roles, and who it is that makes a call.

use super::ClientCommonName;
use super::grpc::{Grpc, refused};
use seatrial_etcd::{Ask, EtcdService};
use seatrial_proto::etcdserverpb as pb;
use seatrial_types::auth::AuthRequest;
use std::pin::Pin;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// The keys under which clients show their token: gRPC's, and the gateway's.
const TOKEN_KEYS: [&str; 2] = ["token", "authorization"];

/// The service for whoever makes this call.
pub(super) fn service_for<A: Ask, T>(service: &EtcdService<A>, request: &Request<T>) -> EtcdService<A> {
    let certificate = request.extensions().get::<ClientCommonName>().map(|name| &*name.0);
    service.for_caller(token(request.metadata()), certificate)
}

fn token(metadata: &MetadataMap) -> Option<&str> {
    // What is not text is no token of ours, but it is one that was shown.
    TOKEN_KEYS.into_iter().find_map(|key| metadata.get(key)).map(|value| value.to_str().unwrap_or(""))
}

macro_rules! auth {
    ($($name:ident($message:ident) -> $answer:ident;)*) => {
        // What `async_trait` makes of an async method, so that a table can hold them.
        $(fn $name<'a, 'b>(
            &'a self,
            request: Request<pb::$message>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<pb::$answer>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async move {
                let service = service_for(self.service(), &request);
                let asked = AuthRequest::try_from(request.into_inner()).map_err(refused)?;
                service.auth(asked).await.map(|answer| Response::new(answer.into())).map_err(refused)
            })
        })*
    };
}

#[tonic::async_trait]
impl<A: Ask> pb::auth_server::Auth for Grpc<A> {
    auth! {
        auth_enable(AuthEnableRequest) -> AuthEnableResponse;
        auth_disable(AuthDisableRequest) -> AuthDisableResponse;
        auth_status(AuthStatusRequest) -> AuthStatusResponse;
        authenticate(AuthenticateRequest) -> AuthenticateResponse;
        user_add(AuthUserAddRequest) -> AuthUserAddResponse;
        user_get(AuthUserGetRequest) -> AuthUserGetResponse;
        user_list(AuthUserListRequest) -> AuthUserListResponse;
        user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
        user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
        user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
        user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
        role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
        role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
        role_list(AuthRoleListRequest) -> AuthRoleListResponse;
        role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
        role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
        role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
    }
}
