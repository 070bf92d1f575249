//! Users and roles.

use super::kv::header;
use crate::authpb;
use crate::etcdserverpb as pb;
use crate::malformed;
use seatrial_types::auth::{Access, AuthAnswer, AuthRequest, AuthResponse, AuthRevision, Permission, Secret};
use seatrial_types::{Error, KeyRange};

/// Requests, from the wire. One of them can be malformed, and all are read in the same way.
macro_rules! requests {
    ($($message:ident |$r:ident| $request:expr;)*) => {
        $(impl TryFrom<pb::$message> for AuthRequest {
            type Error = Error;

            fn try_from($r: pb::$message) -> Result<Self, Error> {
                Ok($request)
            }
        })*
    };
}

requests! {
    AuthEnableRequest |_r| AuthRequest::Enable;
    AuthDisableRequest |_r| AuthRequest::Disable;
    AuthStatusRequest |_r| AuthRequest::Status;
    AuthenticateRequest |r| AuthRequest::Authenticate { name: r.name, password: Secret::Plain(r.password) };
    AuthUserAddRequest |r| AuthRequest::UserAdd {
        name: r.name,
        // A hash made elsewhere is not taken: only this member's own says how it was made.
        password: if r.options.is_some_and(|options| options.no_password) {
            Secret::Nothing
        } else {
            Secret::Plain(r.password)
        },
    };
    AuthUserGetRequest |r| AuthRequest::UserGet { name: r.name };
    AuthUserListRequest |_r| AuthRequest::UserList;
    AuthUserDeleteRequest |r| AuthRequest::UserDelete { name: r.name };
    AuthUserChangePasswordRequest |r| AuthRequest::UserChangePassword {
        name: r.name,
        password: Secret::Plain(r.password),
    };
    AuthUserGrantRoleRequest |r| AuthRequest::UserGrantRole { user: r.user, role: r.role };
    AuthUserRevokeRoleRequest |r| AuthRequest::UserRevokeRole { user: r.name, role: r.role };
    AuthRoleAddRequest |r| AuthRequest::RoleAdd { role: r.name };
    AuthRoleGetRequest |r| AuthRequest::RoleGet { role: r.role };
    AuthRoleListRequest |_r| AuthRequest::RoleList;
    AuthRoleDeleteRequest |r| AuthRequest::RoleDelete { role: r.role };
    AuthRoleRevokePermissionRequest |r| AuthRequest::RoleRevokePermission {
        role: r.role,
        range: KeyRange { key: r.key, end: r.range_end },
    };
}

impl TryFrom<pb::AuthRoleGrantPermissionRequest> for AuthRequest {
    type Error = Error;

    fn try_from(r: pb::AuthRoleGrantPermissionRequest) -> Result<Self, Error> {
        let permission = r.perm.map(Permission::try_from).transpose()?;
        Ok(Self::RoleGrantPermission { role: r.name, permission })
    }
}

impl TryFrom<authpb::Permission> for Permission {
    type Error = Error;

    fn try_from(p: authpb::Permission) -> Result<Self, Error> {
        let access = match authpb::permission::Type::try_from(p.perm_type) {
            Ok(authpb::permission::Type::Read) => Access::Read,
            Ok(authpb::permission::Type::Write) => Access::Write,
            Ok(authpb::permission::Type::Readwrite) => Access::ReadWrite,
            Err(_) => return Err(malformed("permission type")),
        };
        Ok(Self { access, range: KeyRange { key: p.key, end: p.range_end } })
    }
}

impl From<Permission> for authpb::Permission {
    fn from(p: Permission) -> Self {
        let kind = match p.access {
            Access::Read => authpb::permission::Type::Read,
            Access::Write => authpb::permission::Type::Write,
            Access::ReadWrite => authpb::permission::Type::Readwrite,
        };
        Self { perm_type: kind as i32, key: p.range.key, range_end: p.range.end }
    }
}

/// Answers that say no more than that it is done.
macro_rules! done {
    ($($message:ident)*) => {
        $(impl From<AuthResponse> for pb::$message {
            fn from(r: AuthResponse) -> Self {
                Self { header: Some(r.header.into()) }
            }
        }

        impl From<pb::$message> for AuthResponse {
            fn from(r: pb::$message) -> Self {
                Self { header: header(r.header), body: AuthAnswer::Done }
            }
        })*
    };
}

done! {
    AuthEnableResponse AuthDisableResponse AuthUserAddResponse AuthUserDeleteResponse
    AuthUserChangePasswordResponse AuthUserGrantRoleResponse AuthUserRevokeRoleResponse AuthRoleAddResponse
    AuthRoleDeleteResponse AuthRoleGrantPermissionResponse AuthRoleRevokePermissionResponse
}

/// Answers that are a list of names.
macro_rules! names {
    ($($message:ident . $field:ident)*) => {
        $(impl From<AuthResponse> for pb::$message {
            fn from(r: AuthResponse) -> Self {
                let names = if let AuthAnswer::Names(names) = r.body { names } else { Vec::new() };
                Self { header: Some(r.header.into()), $field: names }
            }
        }

        impl From<pb::$message> for AuthResponse {
            fn from(r: pb::$message) -> Self {
                Self { header: header(r.header), body: AuthAnswer::Names(r.$field) }
            }
        })*
    };
}

names! { AuthUserGetResponse.roles AuthUserListResponse.users AuthRoleListResponse.roles }

impl From<AuthResponse> for pb::AuthRoleGetResponse {
    fn from(r: AuthResponse) -> Self {
        let permissions = if let AuthAnswer::Permissions(list) = r.body { list } else { Vec::new() };
        Self { header: Some(r.header.into()), perm: permissions.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<pb::AuthRoleGetResponse> for AuthResponse {
    type Error = Error;

    fn try_from(r: pb::AuthRoleGetResponse) -> Result<Self, Error> {
        let permissions = r.perm.into_iter().map(Permission::try_from).collect::<Result<_, _>>()?;
        Ok(Self { header: header(r.header), body: AuthAnswer::Permissions(permissions) })
    }
}

impl From<AuthResponse> for pb::AuthStatusResponse {
    fn from(r: AuthResponse) -> Self {
        let (enabled, auth_revision) = match r.body {
            AuthAnswer::Status { enabled, revision } => (enabled, revision.0),
            _ => (false, 0),
        };
        Self { header: Some(r.header.into()), enabled, auth_revision }
    }
}

impl From<pb::AuthStatusResponse> for AuthResponse {
    fn from(r: pb::AuthStatusResponse) -> Self {
        let body = AuthAnswer::Status { enabled: r.enabled, revision: AuthRevision(r.auth_revision) };
        Self { header: header(r.header), body }
    }
}

impl From<AuthResponse> for pb::AuthenticateResponse {
    fn from(r: AuthResponse) -> Self {
        let token = if let AuthAnswer::Token { token, .. } = r.body { token } else { String::new() };
        Self { header: Some(r.header.into()), token }
    }
}

impl From<pb::AuthenticateResponse> for AuthResponse {
    fn from(r: pb::AuthenticateResponse) -> Self {
        let body = AuthAnswer::Token { token: r.token, revision: AuthRevision::default() };
        Self { header: header(r.header), body }
    }
}
