//! The discovery service: hands out tokens, and lets new clusters register below them in the v2 keys of a store.

use crate::client::{V2Client, V2ClientError, V2Get};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use seatrial_etcd::v2::Form;
use seatrial_types::v2::V2Code;
use seatrial_world::hyper_glue::Timer;
use seatrial_world::{Layered, Listener, Secure, World};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::body::Body;

/// Below which key everything lies.
const REGISTRY: &str = "_etcd/registry";

/// Most bytes a member may register.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Digits of a token.
const TOKEN_DIGITS: usize = 32;

/// How the service serves.
#[derive(Clone, Debug)]
pub struct DiscoveryOptions {
    /// What tokens are shown behind: `https://discovery.example.com`. Empty: what the client asked.
    pub advertise_url: String,
    /// Most members a new cluster may have.
    pub size_max: usize,
    /// Connections open at once; further ones wait.
    pub connections_max: usize,
    /// A client that has not said what it wants after so long is cut off.
    pub header_timeout: Duration,
    /// TLS towards clients.
    pub layer: Option<Arc<dyn Secure>>,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            advertise_url: String::new(),
            size_max: 64,
            connections_max: 1024,
            header_timeout: Duration::from_secs(10),
            layer: None,
        }
    }
}

struct Service<W: World> {
    world: W,
    store: V2Client<W>,
    options: DiscoveryOptions,
}

/// Serves until the future is dropped.
pub async fn serve_discovery<W: World>(
    world: W,
    mut listener: W::Listener,
    store: V2Client<W>,
    options: DiscoveryOptions,
) {
    let places = Arc::new(Semaphore::new(options.connections_max));
    let service = Arc::new(Service { world: world.clone(), store, options });
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for one: it passes, and hurrying does not help.
                tracing::warn!(%error, "could not accept a connection");
                world.sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = service.clone();
        world.spawn(async move {
            if let Err(error) = service.connection(stream).await {
                tracing::debug!(%error, "connection ended badly");
            }
            drop(place);
        });
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text.to_owned()))));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place<'a> {
    Root,
    New,
    Health,
    /// The directory of a cluster.
    Token(&'a str),
    /// What was settled when it was made.
    Config(&'a str),
    /// One member's entry.
    Member(&'a str),
    Unknown,
}

fn place(path: &str) -> Place<'_> {
    let rest = path.trim_start_matches('/').trim_end_matches('/');
    match rest {
        "" => return Place::Root,
        "new" => return Place::New,
        "health" => return Place::Health,
        _ => {}
    }
    let (token, below) = rest.split_once('/').unwrap_or((rest, ""));
    let is_token =
        token.len() == TOKEN_DIGITS && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_name = |name: &str| {
        (1..=64).contains(&name.len())
            && !name.starts_with('_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match below {
        _ if !is_token => Place::Unknown,
        "" => Place::Token(rest),
        "_config" | "_config/size" => Place::Config(rest),
        member if is_name(member) => Place::Member(rest),
        _ => Place::Unknown,
    }
}

/// As Go reads a number of members.
fn size(given: Option<&str>, max: usize) -> Result<usize, String> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(3) };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
    }
    let size: i64 =
        text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: value out of range"))?;
    usize::try_from(size)
        .ok()
        .filter(|size| (1..=max).contains(size))
        .ok_or_else(|| format!("size {size} is no number of members: from 1 to {max}"))
}

impl<W: World> Service<W> {
    async fn connection(self: Arc<Self>, stream: W::Stream) -> Result<(), String> {
        let limit = self.world.sleep(self.options.header_timeout);
        let stream = match &self.options.layer {
            None => Layered::Plain(stream),
            Some(layer) => tokio::select! {
                biased;
                secured = layer.accept(Box::new(stream)) => {
                    Layered::Secured(secured.map_err(|error| error.to_string())?.stream)
                }
                () = limit => return Err("no handshake in time".to_owned()),
            },
        };
        let timer = Timer::new(self.world.clone());
        let header_timeout = self.options.header_timeout;
        let service = service_fn(move |request| {
            let service = self.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        http1::Builder::new()
            .timer(timer)
            .header_read_timeout(header_timeout)
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(|error| error.to_string())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let reads = [Method::GET, Method::HEAD];
        match place(&path) {
            Place::Root => {
                let mut response = text(StatusCode::MOVED_PERMANENTLY, "Moved Permanently\n");
                let to = "https://etcd.io/docs/v3.4/dev-internal/discovery_protocol/";
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
                response
            }
            Place::Health => self.health().await,
            Place::New if reads.contains(&method) || method == Method::PUT => self.new_token(&request).await,
            Place::Token(key) if reads.contains(&method) => self.pass_on(key, request).await,
            Place::Config(key) if reads.contains(&method) => self.pass_on(key, request).await,
            Place::Config(_) => text(StatusCode::METHOD_NOT_ALLOWED, "token config protected\n"),
            Place::Member(key)
                if reads.contains(&method) || [Method::PUT, Method::DELETE].contains(&method) =>
            {
                self.pass_on(key, request).await
            }
            Place::New | Place::Token(_) | Place::Member(_) => {
                text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
            }
            Place::Unknown => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    async fn health(&self) -> Response<Body> {
        match self.store.get(REGISTRY, V2Get { quorum: true, ..V2Get::default() }).await {
            Ok(_) => text(StatusCode::OK, "OK"),
            Err(V2ClientError::Refused(error)) if error.code == V2Code::KeyNotFound => {
                text(StatusCode::OK, "OK")
            }
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
        }
    }

    async fn new_token(&self, request: &Request<Incoming>) -> Response<Body> {
        let form = match Form::parse(b"", request.uri().query().unwrap_or_default()) {
            Ok(form) => form,
            Err(error) => return text(StatusCode::BAD_REQUEST, &format!("{}\n", error.cause)),
        };
        let size = match size(form.get("size"), self.options.size_max) {
            Ok(size) => size,
            Err(why) => return text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
        };
        let token = format!("{:016x}{:016x}", self.world.rand(), self.world.rand());
        let made =
            self.store.create(&format!("{REGISTRY}/{token}/_config/size"), &size.to_string(), None).await;
        if let Err(error) = made {
            return self.failed(&error);
        }
        let base = if self.options.advertise_url.is_empty() {
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            let scheme = if self.options.layer.is_some() { "https" } else { "http" };
            format!("{scheme}://{}", host.unwrap_or("localhost"))
        } else {
            self.options.advertise_url.trim_end_matches('/').to_owned()
        };
        tracing::info!(size, "handed out a token");
        text(StatusCode::OK, &format!("{base}/{token}"))
    }

    fn failed(&self, error: &V2ClientError) -> Response<Body> {
        tracing::warn!(%error, "the store could not be asked");
        text(StatusCode::SERVICE_UNAVAILABLE, &format!("the store could not be asked: {error}\n"))
    }

    async fn pass_on(&self, key: &str, request: Request<Incoming>) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return text(StatusCode::BAD_REQUEST, "the body broke off\n") };
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                let why = format!("the body has more than {BODY_BYTES_MAX} bytes\n");
                return text(StatusCode::PAYLOAD_TOO_LARGE, &why);
            }
            bytes.extend_from_slice(&data);
        }
        let form = if head.method == Method::PUT {
            match String::from_utf8(bytes.to_vec()) {
                Ok(form) => Some(form),
                Err(_) => return text(StatusCode::BAD_REQUEST, "the body is no form\n"),
            }
        } else {
            None
        };
        let query = head.uri.query().unwrap_or_default();
        match self.store.forward(head.method, &format!("{REGISTRY}/{key}"), query, form).await {
            Err(error) => self.failed(&error),
            Ok(answer) => {
                let mut response = Response::new(());
                *response.status_mut() = answer.status;
                for (name, value) in &answer.headers {
                    // What concerns the connection to the store is none of the client's.
                    let is_told = name == header::CONTENT_TYPE || name.as_str().starts_with("x-");
                    if is_told {
                        response.headers_mut().insert(name.clone(), value.clone());
                    }
                }
                response.map(|()| Body::new(answer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_token_its_size_or_a_member_and_nothing_else() {
        let token = "0123456789abcdef0123456789abcdef";
        let below = |rest: &str| format!("/{token}{rest}");
        assert_eq!(place("/"), Place::Root);
        assert_eq!(place("/new"), Place::New);
        assert_eq!(place(&below("")), Place::Token(token));
        assert_eq!(place(&below("/")), Place::Token(token));
        assert_eq!(place(&below("/_config/size")), Place::Config(&below("/_config/size")[1..]));
        assert_eq!(place(&below("/8e9e05c52164694d")), Place::Member(&below("/8e9e05c52164694d")[1..]));
        for unknown in [
            "/x",
            &below("0"),
            &below("/_x"),
            &below("/a/b"),
            &below("/.."),
            &below("/%2e"),
            &below("/_config/x"),
        ] {
            assert_eq!(place(unknown), Place::Unknown, "{unknown}");
        }
        assert_eq!(place(&"/ABCDEF".repeat(5)), Place::Unknown);
    }

    #[test]
    fn a_size_is_a_small_number_and_three_without_one() {
        assert_eq!(size(None, 9), Ok(3));
        assert_eq!(size(Some(""), 9), Ok(3));
        assert_eq!(size(Some("5"), 9), Ok(5));
        assert_eq!(size(Some("x"), 9).unwrap_err(), "strconv.Atoi: parsing \"x\": invalid syntax");
        assert!(size(Some("99999999999999999999"), 9).unwrap_err().ends_with("value out of range"));
        for wrong in ["0", "-1", "10"] {
            assert!(size(Some(wrong), 9).unwrap_err().contains("from 1 to 9"), "{wrong}");
        }
    }
}
