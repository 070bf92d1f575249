//! The face of etcd's v2 API: plain HTTP, below `/v2`.

mod auth;
mod body;
mod keys;
mod members;
mod stats;

pub(super) use body::whole;

use super::phases as watch;
use super::unread::Reader;
use super::{Phase, gateway::plain};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use seatrial_etcd::v2::auth::Users;
use seatrial_etcd::{Ask, EtcdService, Outside};
use seatrial_types::ClusterId;
use std::sync::{Arc, OnceLock};
use tonic::body::Body;

const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
const ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

/// What the face needs.
pub(super) struct Face<A: Ask> {
    /// For changes of the cluster: who comes by v2 has shown v3 no name, and may do what v3 lets anybody do.
    pub(super) anybody: EtcdService<A>,
    pub(super) service: EtcdService<A>,
    pub(super) users: Users<A>,
    pub(super) outside: Arc<dyn Outside>,
    pub(super) phases: watch::Receiver<Phase>,
    pub(super) request_bytes_max: usize,
    /// Told by the member once.
    pub(super) cluster: OnceLock<ClusterId>,
}

/// Whether a path belongs to this face.
pub(super) fn is_v2(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

impl<A: Ask> Face<A> {
    /// Answers a request below `/v2`.
    pub(super) async fn answer(&self, request: Request<Incoming>, reader: &Reader) -> Response<Body> {
        let path = request.uri().path();
        if let Some(clean) = moved(path) {
            return redirect(request.method(), &clean, request.uri().query());
        }
        let Some(path) = decoded(path) else { return plain(StatusCode::BAD_REQUEST, "400 Bad Request") };
        let below = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        if let Some(key) = below("/v2/keys") {
            return self.keys(&key, request, reader).await;
        }
        if let Some(rest) = below("/v2/members") {
            return self.members(&rest, request).await;
        }
        if let Some(rest) = below("/v2/auth") {
            return self.auth(&rest, request).await;
        }
        match path.as_str() {
            "/v2/machines" => self.machines(request.method()).await,
            "/v2/stats/store" => self.stats_store(request.method()).await,
            "/v2/stats/self" => self.stats_self(request.method()).await,
            "/v2/stats/leader" => self.stats_leader(request.method()).await,
            _ => plain(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    /// Says in an answer which cluster gave it.
    async fn cluster_id(&self, response: &mut Response<Body>) {
        let id = match self.cluster.get() {
            Some(id) => *id,
            None => match self.service.status().await {
                Ok(status) => *self.cluster.get_or_init(|| status.header.cluster_id),
                Err(_) => return,
            },
        };
        if let Ok(id) = HeaderValue::try_from(format!("{:x}", id.0)) {
            response.headers_mut().insert(CLUSTER_ID, id);
        }
    }

    /// The calendar, in nanoseconds since the Unix epoch.
    fn wall_ns(&self) -> i64 {
        i64::try_from(self.outside.wall().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// The same path without empty elements, where it has some: Go's server sends its clients there.
fn moved(path: &str) -> Option<String> {
    let is_unclean = path.contains("//") || path.split('/').any(|element| element == "." || element == "..");
    if !is_unclean {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", kept.join("/")))
}

/// As Go's server does it: whoever asks with GET is shown a link.
fn redirect(method: &Method, path: &str, query: Option<&str>) -> Response<Body> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{path}{query}");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if matches!(*method, Method::GET | Method::HEAD) {
        let escaped = location.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&#34;");
        let link = format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n");
        *response.body_mut() = Body::new(Full::new(Bytes::from(link)));
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The path with its escapes resolved; `None` where they cannot be. Bytes that are no text become the mark for that.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(byte);
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The refusal of any other method than these.
fn only(methods: &[Method], asked: &Method) -> Option<Response<Body>> {
    if methods.contains(asked) {
        return None;
    }
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(names) = HeaderValue::try_from(names.join(",")) {
        response.headers_mut().insert(ALLOW, names);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclean_path_is_sent_to_the_clean_one() {
        for (path, want) in [
            ("/v2/keys//a", Some("/v2/keys/a")),
            ("/v2//keys/a/", Some("/v2/keys/a/")),
            ("/v2/keys/a/../b", Some("/v2/keys/b")),
            ("/v2/keys/a.b/..c", None),
            ("/v2/keys/", None),
        ] {
            assert_eq!(moved(path).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn escapes_in_a_path_are_resolved_or_it_is_refused() {
        assert_eq!(decoded("/a%20b%2Fc").as_deref(), Some("/a b/c"));
        assert_eq!(decoded("/%e4").as_deref(), Some("/\u{fffd}"));
        for path in ["/%", "/%4", "/%zz", "/%4\u{e4}"] {
            assert_eq!(decoded(path), None, "{path}");
        }
    }
}
