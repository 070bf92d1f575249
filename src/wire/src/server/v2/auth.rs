//! `/v2/auth`: users and roles (etcd: `v2http/client_auth.go`), and who shows which name.

use super::body::{json, whole};
use super::members::failed;
use super::{Face, only};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use seatrial_etcd::Ask;
use seatrial_etcd::v2::auth::{AuthError, Credentials, Role, User};
use seatrial_etcd::v2::json as text_of;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::body::Body;

/// Whose name and password a request carries. `Err`: something that is none.
pub(super) fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, ()> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let read = || {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        let decoded =
            BASE64_STANDARD.decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, password) = text.split_once(':')?;
        Some(Credentials { name: name.to_owned(), password: password.to_owned() })
    };
    read().map(Some).ok_or(())
}

pub(super) fn unauthorized() -> Response<Body> {
    failed(StatusCode::UNAUTHORIZED, "Insufficient credentials")
}

/// A user with roles as they are, for listings.
#[derive(Serialize)]
struct UserWithRoles {
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

fn refused(error: &AuthError) -> Response<Body> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    failed(status, &error.to_string())
}

fn bad(text: &str) -> Response<Body> {
    failed(StatusCode::BAD_REQUEST, text)
}

fn line<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    json(status, text_of(value) + "\n")
}

type Answer = Result<Response<Body>, AuthError>;

impl<A: Ask> Face<A> {
    /// Whether whoever sent a request with these headers may do what only root may.
    pub(super) async fn is_root(&self, headers: &HeaderMap) -> bool {
        match credentials(headers) {
            Ok(shown) => self.users.is_root(shown.as_ref()).await,
            // What cannot be read counts only where nobody asks.
            Err(()) => matches!(self.users.is_enabled().await, Ok(false)),
        }
    }

    pub(super) async fn auth(&self, rest: &str, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let method = head.method;
        let pieces: Vec<&str> = rest.split('/').filter(|piece| !piece.is_empty()).collect();
        let (methods, name): (&[Method], _) = match pieces[..] {
            ["users" | "roles"] => (&[Method::GET], None),
            ["users" | "roles", name] => (&[Method::GET, Method::PUT, Method::DELETE], Some(name)),
            ["enable"] => (&[Method::GET, Method::PUT, Method::DELETE], None),
            ["users" | "roles", ..] => return bad("Invalid path"),
            _ => return super::plain(StatusCode::NOT_FOUND, "404 page not found"),
        };
        if let Some(response) = only(methods, &method) {
            return response;
        }
        let is_open = pieces[0] == "enable" && method == Method::GET;
        if !is_open && !self.is_root(&head.headers).await {
            return unauthorized();
        }
        let body = match whole(body, self.request_bytes_max).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let answer = match (pieces[0], name) {
            ("enable", _) => self.enable(&method).await,
            ("users", None) => self.list_users().await,
            ("users", Some(name)) => self.one_user(&method, name, &body).await,
            (_, None) => self.list_roles().await,
            (_, Some(name)) => self.one_role(&method, name, &body).await,
        };
        let mut response = answer.unwrap_or_else(|error| refused(&error));
        self.cluster_id(&mut response).await;
        response
    }

    async fn enable(&self, method: &Method) -> Answer {
        #[derive(Serialize)]
        struct Enabled {
            enabled: bool,
        }
        match *method {
            Method::GET => {
                let enabled = self.users.is_enabled().await?;
                return Ok(line(StatusCode::OK, &Enabled { enabled }));
            }
            Method::PUT => self.users.enable().await?,
            _ => self.users.disable().await?,
        }
        Ok(json(StatusCode::OK, String::new()))
    }

    /// With the roles that are there; `strictly`, one that is missing is an error.
    async fn with_roles(&self, user: User, strictly: bool) -> Result<UserWithRoles, AuthError> {
        let mut roles = Vec::new();
        for name in user.roles.iter() {
            match self.users.role(name).await {
                Ok(role) => roles.push(role),
                Err(error) if strictly => return Err(error),
                Err(_) => {}
            }
        }
        Ok(UserWithRoles { user: user.user, roles })
    }

    async fn list_users(&self) -> Answer {
        #[derive(Serialize)]
        struct Collection {
            users: Option<Vec<UserWithRoles>>,
        }
        let mut users = Vec::new();
        for name in self.users.users().await? {
            let user = self.users.user(&name).await?;
            users.push(self.with_roles(user, false).await?);
        }
        // Go writes an empty list so.
        let users = (!users.is_empty()).then_some(users);
        Ok(line(StatusCode::OK, &Collection { users }))
    }

    async fn list_roles(&self) -> Answer {
        #[derive(Serialize)]
        struct Collection {
            roles: Vec<Role>,
        }
        let mut roles = Vec::new();
        for name in self.users.roles().await? {
            roles.push(self.users.role(&name).await?);
        }
        Ok(line(StatusCode::OK, &Collection { roles }))
    }

    async fn one_user(&self, method: &Method, name: &str, body: &[u8]) -> Answer {
        match *method {
            Method::GET => {
                let user = self.users.user(name).await?;
                return Ok(line(StatusCode::OK, &self.with_roles(user, true).await?));
            }
            Method::DELETE => {
                self.users.delete_user(name).await?;
                return Ok(json(StatusCode::OK, String::new()));
            }
            _ => {}
        }
        let Some(asked) = read::<User>(body) else { return Ok(bad("Invalid JSON in request body.")) };
        if asked.user != name {
            return Ok(bad("User JSON name does not match the name in the URL"));
        }
        let is_change = !asked.grant.is_empty() || !asked.revoke.is_empty();
        let (user, created) = if is_change {
            if !asked.roles.is_empty() {
                return Ok(bad("User JSON contains both roles and grant/revoke"));
            }
            (self.users.update_user(&asked).await?, false)
        } else if !asked.roles.is_empty() {
            (self.users.create_user(&asked).await?, false)
        } else if self.users.user(name).await.is_ok() {
            (self.users.update_user(&asked).await?, false)
        } else {
            (self.users.create_user(&asked).await?, true)
        };
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(line(status, &User { password: String::new(), ..user }))
    }

    async fn one_role(&self, method: &Method, name: &str, body: &[u8]) -> Answer {
        match *method {
            Method::GET => return Ok(line(StatusCode::OK, &self.users.role(name).await?)),
            Method::DELETE => {
                self.users.delete_role(name).await?;
                return Ok(json(StatusCode::OK, String::new()));
            }
            _ => {}
        }
        let Some(asked) = read::<Role>(body) else { return Ok(bad("Invalid JSON in request body.")) };
        if asked.role != name {
            return Ok(bad("Role JSON name does not match the name in the URL"));
        }
        if asked.is_new() {
            self.users.create_role(&asked).await?;
            return Ok(line(StatusCode::CREATED, &asked));
        }
        if asked.has_permissions() {
            return Ok(bad("Role JSON contains both permissions and grant/revoke"));
        }
        Ok(line(StatusCode::OK, &self.users.update_role(&asked).await?))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
