//! Connections of HTTP/1.1 to one endpoint, kept open between requests.

use super::error::V2Failure;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use seatrial_world::{Layered, Secure, World, host_of};
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections that nobody uses now and that are kept.
const IDLE_MAX: usize = 8;

/// An endpoint as people write it, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As it was given, without a slash at its end.
    pub(crate) url: String,
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) is_https: bool,
}

impl Endpoint {
    /// # Errors
    /// What etcd's client says where it sends a request to such an endpoint.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let url = url.trim().trim_end_matches('/');
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (is_https, port) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            "" => return Err("http: no Host in request URL".to_owned()),
            other => return Err(format!("unsupported protocol scheme \"{other}\"")),
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.is_empty() {
            return Err("http: no Host in request URL".to_owned());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(host, port)| {
            !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']'))
        });
        let address =
            if has_port { host.to_owned() } else { format!("{}:{port}", host.trim_end_matches(':')) };
        Ok(Self { url: url.to_owned(), address, is_https })
    }
}

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: http::Method,
    /// Path and query, escaped.
    pub(crate) target: String,
    /// Body and its kind.
    pub(crate) body: Option<(&'static str, Bytes)>,
    pub(crate) authorization: Option<HeaderValue>,
    /// More headers, by name.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

impl Outgoing {
    fn request(&self, address: &str) -> Result<Request<Full<Bytes>>, String> {
        let body = self.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.target.as_str())
            .header(header::HOST, address)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        if let Some((kind, _)) = &self.body {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in self.headers {
            let name = HeaderName::from_static(name);
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

/// The connections to one endpoint.
pub(crate) struct Line<W> {
    pub(crate) world: W,
    pub(crate) endpoint: Endpoint,
    pub(crate) layer: Option<Arc<dyn Secure>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
}

/// An answer whose body is still to be read, and the connection to give back then.
pub(crate) struct Begun {
    pub(crate) response: Response<Incoming>,
    pub(crate) sender: http1::SendRequest<Full<Bytes>>,
}

impl<W: World> Line<W> {
    /// Sends it and waits for the answer's head.
    ///
    /// # Errors
    /// [`V2Failure::NotConnected`] where it was certainly not sent, [`V2Failure::Lost`] where that is not known.
    pub(crate) async fn send(&self, outgoing: &Outgoing) -> Result<Begun, V2Failure> {
        let mut request = outgoing.request(&self.endpoint.address).map_err(V2Failure::NoEndpoint)?;
        // A connection that was kept may turn out to be closed only when it is used. The request then comes back
        // unsent, and the next one is tried; in the end a fresh one.
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.dial().await?,
            };
            if let Err(error) = sender.ready().await {
                if is_fresh {
                    return Err(self.not_connected(text(&error)));
                }
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(Begun { response, sender }),
                Err(mut failure) => match failure.take_message() {
                    Some(unsent) if !is_fresh => request = unsent,
                    Some(_) => return Err(self.not_connected(text(failure.error()))),
                    None => return Err(V2Failure::Lost(text(failure.error()))),
                },
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn keep(&self, sender: http1::SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }

    fn not_connected(&self, why: String) -> V2Failure {
        V2Failure::NotConnected { address: self.endpoint.address.clone(), why }
    }

    async fn dial(&self) -> Result<http1::SendRequest<Full<Bytes>>, V2Failure> {
        let address = &self.endpoint.address;
        let limit = self.world.sleep(self.connect_timeout);
        let dialing = async {
            let stream =
                self.world.connect(address).await.map_err(|error| self.not_connected(system(&error)))?;
            let stream = match self.layer.as_ref().filter(|_| self.endpoint.is_https) {
                None if self.endpoint.is_https => {
                    return Err(V2Failure::NoEndpoint(format!("{}: no settings for TLS", self.endpoint.url)));
                }
                None => Layered::Plain(stream),
                Some(layer) => Layered::Secured(
                    layer
                        .connect(Box::new(stream), host_of(address))
                        .await
                        .map_err(|error| V2Failure::NoEndpoint(error.to_string()))?
                        .stream,
                ),
            };
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| self.not_connected(text(&error)))?;
            let peer = address.clone();
            self.world.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, %error, "connection broke");
                }
            });
            Ok(sender)
        };
        tokio::select! {
            biased;
            dialed = dialing => dialed,
            () = limit => Err(self.not_connected("i/o timeout".to_owned())),
        }
    }
}

/// What the system says of a connection that does not come about, in Go's words.
fn system(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

fn text(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        // Go's word for a peer that left in between.
        return "EOF".to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_url_and_its_port_may_be_left_out() {
        for (url, address, is_https) in [
            ("http://h:1/", "h:1", false),
            ("https://h", "h:443", true),
            ("http://127.0.0.1", "127.0.0.1:80", false),
            ("http://[::1]", "[::1]:80", false),
            ("http://[::1]:7/x", "[::1]:7", false),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.address.as_str(), endpoint.is_https), (address, is_https), "{url}");
        }
        assert_eq!(Endpoint::parse("xx://h:1").unwrap_err(), "unsupported protocol scheme \"xx\"");
        assert_eq!(Endpoint::parse("").unwrap_err(), "http: no Host in request URL");
        assert_eq!(Endpoint::parse("http://").unwrap_err(), "http: no Host in request URL");
    }
}
