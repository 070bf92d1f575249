//! Who may use the HTTP face: pages of other origins (CORS), and names under which the server is called.

use super::gateway::plain;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN,
};
use http::{HeaderValue, Request, Response, StatusCode};
use std::collections::BTreeSet;
use tonic::body::Body;

/// What of the HTTP face is open to whom. gRPC is not concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Origins whose pages may ask; `*` stands for all.
    pub origins: BTreeSet<String>,
    /// Names under which the server may be called where there is no TLS; `*` stands for all.
    pub hosts: BTreeSet<String>,
}

impl Default for Access {
    fn default() -> Self {
        let all = || BTreeSet::from(["*".to_owned()]);
        Self { origins: all(), hosts: all() }
    }
}

impl Access {
    /// The answer for somebody who called the server by a name it does not go by.
    pub(super) fn misdirected<B>(&self, request: &Request<B>, secured: bool) -> Option<Response<Body>> {
        let host = host_of(request);
        // A page that had its own name point at this server has that name in its requests.
        let refused = !secured && !self.allows_host(host);
        refused.then(|| plain(StatusCode::MISDIRECTED_REQUEST, &unknown_host(host)))
    }

    fn allows_host(&self, host: &str) -> bool {
        self.hosts.contains("*") || self.hosts.contains(host)
    }

    /// The origin to be named in the answer.
    pub(super) fn origin<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        if self.origins.contains("*") {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = request.headers().get(ORIGIN)?;
        self.origins.contains(origin.to_str().ok()?).then(|| origin.clone())
    }
}

/// Tells a browser that the page may read the answer.
pub(super) fn allow(response: &mut Response<Body>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

/// The name by which the server was called, without a port.
fn host_of<B>(request: &Request<B>) -> &str {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or("");
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

fn unknown_host(host: &str) -> String {
    format!(
        "the server is not to be called {host:?}: the name is not among those of --host-whitelist\n\
         hint: call it by a name that is, add this one there, or use TLS. Pages of strangers could otherwise reach \
         the server through a name of their own (DNS rebinding, CVE-2018-5702)."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn request(host: &str, origin: &str) -> Request<()> {
        Request::get("/health").header(HOST, host).header(ORIGIN, origin).body(()).unwrap()
    }

    #[test]
    fn only_named_hosts_are_served_without_tls() {
        let access = Access { hosts: set(&["db.example", "[::1]"]), ..Access::default() };
        for (host, status) in [
            ("db.example:2379", None),
            ("db.example", None),
            ("[::1]:2379", None),
            ("evil.example", Some(421)),
        ] {
            let away = access.misdirected(&request(host, ""), false);
            assert_eq!(away.map(|response| response.status().as_u16()), status, "{host}");
            assert!(access.misdirected(&request(host, ""), true).is_none(), "{host}");
        }
    }

    #[test]
    fn an_origin_is_named_where_it_may_read_the_answer() {
        let access = Access { origins: set(&["https://a.example"]), ..Access::default() };
        assert_eq!(access.origin(&request("h", "https://a.example")).unwrap(), "https://a.example");
        assert_eq!(access.origin(&request("h", "https://b.example")), None);
        assert_eq!(Access::default().origin(&request("h", "https://b.example")).unwrap(), "*");
    }
}
