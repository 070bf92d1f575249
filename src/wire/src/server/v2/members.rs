//! `/v2/members` and `/v2/machines`: who the cluster is (etcd: `v2http/client.go`, `httptypes`).

use super::auth::unauthorized;
use super::body::{json, whole};
use super::{Face, only};
use crate::server::gateway::plain;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use seatrial_etcd::Ask;
use seatrial_etcd::v2::json as text_of;
use seatrial_types::request::{Member, MemberAddRequest, MemberUpdateRequest};
use seatrial_types::{Error, MemberId};
use serde::{Deserialize, Serialize};
use tonic::body::Body;

/// A member as v2 shows it.
#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
}

impl From<&Member> for Shown {
    fn from(member: &Member) -> Self {
        Self {
            id: format!("{:x}", member.id.0),
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Urls {
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
}

/// An error outside the key space.
pub(super) fn failed(status: StatusCode, message: &str) -> Response<Body> {
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
    }
    json(status, text_of(&Body { message }))
}

fn line<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    json(status, text_of(value) + "\n")
}

fn refused(error: &Error, id: &str) -> Response<Body> {
    match error {
        // v2 has words of its own for these.
        Error::MemberExists => failed(StatusCode::CONFLICT, "membership: ID exists"),
        Error::PeerUrlExists => failed(StatusCode::CONFLICT, "membership: peerURL exists"),
        Error::MemberNotFound => failed(StatusCode::NOT_FOUND, &format!("No such member: {id}")),
        Error::UserEmpty | Error::PermissionDenied => unauthorized(),
        Error::MemberBadUrls => failed(StatusCode::BAD_REQUEST, &error.to_string()),
        _ => failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn urls(headers: &HeaderMap, body: &[u8]) -> Result<Vec<String>, (StatusCode, String)> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default() != "application/json" {
        let message = format!("Bad Content-Type {kind}, accept application/json");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    match serde_json::from_slice::<Urls>(body) {
        Ok(Urls { peer_urls }) => Ok(peer_urls),
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    }
}

impl<A: Ask> Face<A> {
    pub(super) async fn members(&self, rest: &str, request: Request<Incoming>) -> Response<Body> {
        let methods = [Method::GET, Method::POST, Method::DELETE, Method::PUT];
        if let Some(response) = only(&methods, request.method()) {
            return response;
        }
        if request.method() != Method::GET && !self.is_root(request.headers()).await {
            return unauthorized();
        }
        let mut response = self.members_answer(rest, request).await;
        self.cluster_id(&mut response).await;
        response
    }

    async fn members_answer(&self, rest: &str, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let id = u64::from_str_radix(rest, 16).map(MemberId).ok();
        match head.method {
            Method::GET => self.show_members(rest).await,
            Method::POST => {
                let body = match whole(body, self.request_bytes_max).await {
                    Ok(body) => body,
                    Err(response) => return response,
                };
                let peer_urls = match urls(&head.headers, &body) {
                    Ok(urls) => urls,
                    Err((status, why)) => return failed(status, &why),
                };
                let add = MemberAddRequest { peer_urls, is_learner: false };
                match self.anybody.member_add(add).await {
                    Ok(added) => line(StatusCode::CREATED, &Shown::from(&added.member)),
                    Err(error) => refused(&error, ""),
                }
            }
            _ if rest.is_empty() => plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            Method::DELETE => {
                let Some(id) = id else { return refused(&Error::MemberNotFound, rest) };
                match self.anybody.member_remove(id).await {
                    Ok(_) => nothing(),
                    Err(error) => refused(&error, rest),
                }
            }
            _ => {
                let Some(id) = id else { return refused(&Error::MemberNotFound, rest) };
                let body = match whole(body, self.request_bytes_max).await {
                    Ok(body) => body,
                    Err(response) => return response,
                };
                let peer_urls = match urls(&head.headers, &body) {
                    Ok(urls) => urls,
                    Err((status, why)) => return failed(status, &why),
                };
                match self.anybody.member_update(MemberUpdateRequest { id, peer_urls }).await {
                    Ok(_) => nothing(),
                    Err(error) => refused(&error, rest),
                }
            }
        }
    }

    async fn show_members(&self, rest: &str) -> Response<Body> {
        #[derive(Serialize)]
        struct Collection {
            members: Vec<Shown>,
        }
        let list = match self.service.member_list(false).await {
            Ok(list) => list.members,
            Err(error) => return refused(&error, rest),
        };
        match rest {
            "" => line(StatusCode::OK, &Collection { members: list.iter().map(Shown::from).collect() }),
            "leader" => {
                let leader = self.service.status().await.map_or(MemberId::NONE, |status| status.leader);
                match list.iter().find(|member| member.id == leader) {
                    Some(member) => line(StatusCode::OK, &Shown::from(member)),
                    None => failed(StatusCode::SERVICE_UNAVAILABLE, "During election"),
                }
            }
            _ => failed(StatusCode::NOT_FOUND, "Not found"),
        }
    }

    /// Where clients are served.
    pub(super) async fn machines(&self, method: &Method) -> Response<Body> {
        if let Some(response) = only(&[Method::GET, Method::HEAD], method) {
            return response;
        }
        let list = match self.service.member_list(false).await {
            Ok(list) => list.members,
            Err(error) => return refused(&error, ""),
        };
        let mut urls: Vec<String> = list.into_iter().flat_map(|member| member.client_urls).collect();
        urls.sort();
        let mut response = Response::new(Body::new(Full::new(Bytes::from(urls.join(", ")))));
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
