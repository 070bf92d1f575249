//! The listeners: HTTP/1.1 over a world's streams, with TLS or without, and over a socket file.

use super::access::{Access, Caller, Refusal};
use super::here::Machine;
use super::metrics::Metrics;
use super::old_restart;
use super::registry::Registry;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use seatrial_client::Store;
use seatrial_fleet::api::{ApiRequest, ApiResponse, BASES};
use seatrial_world::hyper_glue::Timer;
use seatrial_world::{Listener, Secure, World, timeout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

/// A unit file of a megabyte, in JSON with every character escaped.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Connections open at once over the network; further ones wait.
const CONNECTIONS_MAX: usize = 1024;

/// For a handshake of TLS.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// An answer's body: at hand, or a log that goes on.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What answers requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Face<W, S> {
    pub(crate) world: W,
    pub(crate) registry: Registry<W, S>,
    pub(crate) machine: Machine<W>,
    pub(crate) access: Access,
    /// What lies around connections that come over the network.
    pub(crate) layer: Option<Arc<dyn Secure>>,
    pub(crate) metrics: Arc<Mutex<Metrics>>,
}

/// What was counted so far.
pub(crate) fn counted(metrics: &Mutex<Metrics>) -> MutexGuard<'_, Metrics> {
    // A panic in between leaves counters.
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn answer(response: ApiResponse) -> Response<Body> {
    let mut answer = Response::new(full(response.body.clone().unwrap_or_default()));
    *answer.status_mut() =
        hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    if response.body.is_some() {
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    answer
}

/// Undoes percent-encoding; a `+` is a blank in queries only.
fn decode(text: &str, is_query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: Vec<u8> = rest.clone().take(2).collect();
                let number = std::str::from_utf8(&digits).ok().filter(|digits| digits.len() == 2);
                match number.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => {
                        bytes.push(byte);
                        rest.nth(1);
                    }
                    None => bytes.push(b'%'),
                }
            }
            b'+' if is_query => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn query(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        })
        .collect()
}

async fn read(request: Request<Incoming>) -> Result<ApiRequest, ApiResponse> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| ApiResponse::error(400, format!("unable to read body: {error}")))?;
    let types = head.headers.get_all(header::CONTENT_TYPE).iter();
    Ok(ApiRequest {
        method: head.method.to_string(),
        path: decode(head.uri.path(), false),
        query: query(head.uri.query().unwrap_or_default()),
        content_types: types.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect(),
        body: body.to_bytes().to_vec(),
    })
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut answer = answer(ApiResponse::error(refusal.status(), refusal.to_string()));
    if refusal.status() == 401 {
        let how = header::HeaderValue::from_static("Bearer realm=\"fleet\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, how);
    }
    answer
}

fn with_type(text: String, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(full(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

impl<W: World, S: Store> Face<W, S> {
    async fn respond(&self, request: Request<Incoming>, caller: &Caller) -> Response<Body> {
        let method = request.method().to_string();
        let response = self.admit(request, caller).await;
        counted(&self.metrics).request(&method, response.status().as_u16());
        response
    }

    /// Nothing is read of whom is not let in but the head of his request.
    async fn admit(&self, request: Request<Incoming>, caller: &Caller) -> Response<Body> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let is_look = ["GET", "HEAD"].contains(&method);
        // A load balancer has no token, and is told nothing else.
        if path == "/health" && is_look {
            return self.health().await;
        }
        let authorization = request.headers().get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        if let Err(refusal) = self.access.check(caller, authorization, method) {
            tracing::debug!(?caller, kind = refusal.kind(), "refused a request");
            counted(&self.metrics).refused(refusal.kind());
            return refused(&refusal);
        }
        if path == "/metrics" && is_look {
            let page = self.registry.with_cluster(|cluster| counted(&self.metrics).render(Some(cluster)));
            let page = page.unwrap_or_else(|| counted(&self.metrics).render(None));
            return with_type(page, "text/plain; version=0.0.4");
        }
        self.serve_request(request).await
    }

    /// In the form of etcd's: whether this machine does its part.
    async fn health(&self) -> Response<Body> {
        let reason = if !self.registry.is_reachable().await {
            "the store cannot be asked"
        } else if self.registry.with_cluster(|_| ()).is_none() {
            "the registry was not read yet"
        } else if counted(&self.metrics).is_cut_off() {
            "the machine's lease could not be renewed"
        } else {
            ""
        };
        let text = format!("{{\"health\":\"{}\",\"reason\":\"{reason}\"}}", reason.is_empty());
        let mut answer = with_type(text, "application/json");
        if !reason.is_empty() {
            *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
    }

    async fn serve_request(&self, request: Request<Incoming>) -> Response<Body> {
        let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let is_generated = agent.is_some_and(old_restart::is_generated);
        let request = match read(request).await {
            Ok(request) => request,
            Err(response) => return answer(response),
        };
        let below = BASES.iter().find_map(|base| request.path.strip_prefix(base)?.strip_prefix('/'));
        let parts: Vec<&str> = below.unwrap_or_default().split('/').collect();
        match (parts.as_slice(), request.method.as_str()) {
            ([what @ ("logs" | "status"), unit], "GET") => {
                self.machine.respond(&self.registry, what, unit, &request).await
            }
            (["logs" | "status", _], _) => {
                answer(ApiResponse::error(405, "only GET supported against this resource"))
            }
            _ => answer(self.registry.handle(&request, is_generated).await),
        }
    }

    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, caller: Caller) {
        let respond = service_fn(|request| {
            let (face, caller) = (self.clone(), caller.clone());
            async move { Ok::<_, std::convert::Infallible>(face.respond(request, &caller).await) }
        });
        let http = hyper::server::conn::http1::Builder::new()
            .timer(Timer::new(self.world.clone()))
            .serve_connection(TokioIo::new(stream), respond);
        if let Err(error) = http.await {
            tracing::debug!(%error, "a connection ended badly");
        }
    }

    /// Serves an address of the world until the process ends.
    pub(crate) async fn serve(self, mut listener: W::Listener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let face = self.clone();
                    self.world.spawn(async move {
                        face.network_connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => self.passing(&error).await,
            }
        }
    }

    async fn network_connection(self, stream: W::Stream) {
        let Some(layer) = self.layer.clone() else {
            return self.connection(stream, Caller::Network(None)).await;
        };
        match timeout(&self.world, HANDSHAKE_PATIENCE, layer.accept(Box::new(stream))).await {
            Ok(Ok(secured)) => self.connection(secured.stream, Caller::Network(secured.common_name)).await,
            Ok(Err(error)) => tracing::info!(%error, "a handshake failed"),
            Err(elapsed) => tracing::info!(%elapsed, "a handshake failed"),
        }
    }

    /// Serves a socket file. The world knows of none: it is the machine's own.
    pub(crate) async fn serve_file(self, listener: tokio::net::UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    drop(self.world.spawn(self.clone().connection(stream, Caller::File)));
                }
                Err(error) => self.passing(&error).await,
            }
        }
    }

    async fn passing(&self, error: &std::io::Error) {
        tracing::warn!(%error, "could not accept a connection");
        self.world.sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_and_what_is_none_stays() {
        assert_eq!(decode("web%401.service", false), "web@1.service");
        assert_eq!(decode("a+b", false), "a+b");
        assert_eq!(
            query("a=1%2B2+3&b&c="),
            [
                ("a".to_owned(), "1+2 3".to_owned()),
                ("b".to_owned(), String::new()),
                ("c".to_owned(), String::new()),
            ]
        );
        assert_eq!(decode("100%", false), "100%");
        assert_eq!(decode("%zz%4", false), "%zz%4");
    }
}
