//! A client of the v2 API: which endpoint is asked, how long, and what is tried again.

use super::error::{V2ClientError, V2Failure};
use super::line::{Begun, Endpoint, Line, Outgoing};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use seatrial_world::{Secure, World, timeout_at};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Hears of every request as a command of curl that would send it.
pub type V2Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// How a client asks.
#[derive(Clone)]
pub struct V2ClientOptions {
    /// Limit for making a connection, handshake included.
    pub connect_timeout: Duration,
    /// Limit for one endpoint to begin its answer. Whoever waits for changes is answered at once too.
    pub header_timeout: Duration,
    /// Limit for a whole request, all endpoints together. Waiting for changes has none.
    pub request_timeout: Duration,
    /// What lies around connections to https endpoints; it must offer HTTP/1.1 (see [`crate::Tls::client_http1`]).
    pub layer: Option<Arc<dyn Secure>>,
    /// Whose requests they are, with the password.
    pub user: Option<(String, String)>,
    /// Most bytes of one answer, or of one change that is told.
    pub response_bytes_max: usize,
    /// Who hears of the requests.
    pub tell: Option<V2Tell>,
    /// Below which path the keys are: `/v2/keys` at a member, nothing at a discovery service.
    pub prefix: String,
}

impl Default for V2ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            header_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            layer: None,
            user: None,
            response_bytes_max: 64 << 20,
            tell: None,
            prefix: "/v2/keys".to_owned(),
        }
    }
}

/// A cluster as clients of the v2 API see it. Cheap to clone; clones share the connections.
pub struct V2Client<W: World> {
    pub(super) shared: Arc<Shared<W>>,
}

impl<W: World> Clone for V2Client<W> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// An endpoint's connections; or what was given for one, and why it can be none.
type Asked<W> = Result<Arc<Line<W>>, (String, String)>;

pub(super) struct Shared<W> {
    pub(super) world: W,
    pub(super) options: V2ClientOptions,
    authorization: Option<HeaderValue>,
    lines: Mutex<Vec<Asked<W>>>,
    /// Which endpoint answered last.
    pinned: AtomicUsize,
}

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What is asked, before it is known of whom.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    /// Path and query, escaped.
    pub(super) target: String,
    /// Body and its kind.
    pub(super) body: Option<(&'static str, String)>,
}

impl Question {
    pub(super) fn get(target: impl Into<String>) -> Self {
        Self { method: Method::GET, target: target.into(), body: None }
    }

    /// Whether it can be asked twice without anything happening twice.
    fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// As a command of curl.
    fn curl(&self, endpoint: &str) -> String {
        let body = self.body.as_ref().map(|(_, body)| format!(" -d {body:?}")).unwrap_or_default();
        format!("curl -X {} {endpoint}{}{body}", self.method, self.target)
    }
}

impl<W: World> V2Client<W> {
    /// A client of these endpoints (URLs). Nothing is dialled yet; what is wrong with an endpoint is said when it is asked.
    ///
    /// # Errors
    /// Where user and password cannot be sent.
    pub fn new(world: W, endpoints: &[impl AsRef<str>], options: V2ClientOptions) -> Result<Self, String> {
        let authorization = match &options.user {
            None => None,
            Some((user, password)) => {
                let shown = BASE64_STANDARD.encode(format!("{user}:{password}"));
                Some(HeaderValue::try_from(format!("Basic {shown}")).map_err(|error| error.to_string())?)
            }
        };
        let shared =
            Shared { world, options, authorization, lines: Mutex::default(), pinned: AtomicUsize::new(0) };
        let client = Self { shared: Arc::new(shared) };
        client.set_endpoints(endpoints);
        Ok(client)
    }

    /// From now on these are asked.
    pub fn set_endpoints(&self, endpoints: &[impl AsRef<str>]) {
        let shared = &self.shared;
        let mut lines = shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let pinned = lines.get(shared.pinned.load(Ordering::Relaxed));
        let pinned = pinned.and_then(|line| line.as_ref().ok()).map(|line| line.endpoint.clone());
        let line = |url: &str| match Endpoint::parse(url) {
            Err(why) => Err((url.trim().to_owned(), why)),
            Ok(endpoint) => {
                let known = lines.iter().flatten().find(|line| line.endpoint == endpoint);
                Ok(known.cloned().unwrap_or_else(|| {
                    Arc::new(Line {
                        world: shared.world.clone(),
                        endpoint,
                        layer: shared.options.layer.clone(),
                        connect_timeout: shared.options.connect_timeout,
                        idle: Mutex::default(),
                    })
                }))
            }
        };
        let fresh: Vec<_> = endpoints.iter().map(|url| line(url.as_ref())).collect();
        let at = fresh
            .iter()
            .position(|line| line.as_ref().is_ok_and(|line| Some(&line.endpoint) == pinned.as_ref()));
        shared.pinned.store(at.unwrap_or(0), Ordering::Relaxed);
        *lines = fresh;
    }

    /// Who is asked.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let url = |line: &Asked<W>| match line {
            Ok(line) => line.endpoint.url.clone(),
            Err((url, _)) => url.clone(),
        };
        lines.iter().map(url).collect()
    }

    /// Asks the members where they serve clients, and from now on asks there.
    ///
    /// # Errors
    /// [`V2ClientError::NoEndpoints`] where they say nothing; else as any request.
    pub async fn sync(&self) -> Result<(), V2ClientError> {
        let members = self.members().await?;
        let endpoints: Vec<String> = members.into_iter().flat_map(|member| member.client_urls).collect();
        if endpoints.is_empty() {
            return Err(V2ClientError::NoEndpoints);
        }
        self.set_endpoints(&endpoints);
        Ok(())
    }

    /// Asks until somebody answers, within the time for a whole request.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, V2ClientError> {
        let world = &self.shared.world;
        let deadline = world.now() + self.shared.options.request_timeout;
        let asking = async {
            let (begun, line) = self.begin(question).await?;
            let Begun { response, sender } = begun;
            let (head, mut body) = response.into_parts();
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| V2ClientError::Unreachable {
                    failures: vec![V2Failure::Lost(error.to_string())],
                    ambiguous: !question.is_read() && !head.status.is_success(),
                })?;
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > self.shared.options.response_bytes_max {
                    let max = self.shared.options.response_bytes_max;
                    return Err(V2ClientError::Odd { why: format!("an answer of more than {max} bytes") });
                }
                bytes.extend_from_slice(&data);
            }
            line.keep(sender);
            Ok(Answer { status: head.status, headers: head.headers, body: bytes.freeze() })
        };
        let asked = timeout_at(world, deadline, asking).await;
        // Whether it was on its way is not known here any more.
        asked.unwrap_or_else(|_| Err(V2ClientError::TimedOut { ambiguous: !question.is_read() }))
    }

    /// The head of the first answer. Another endpoint is asked only where it is certain that nothing happened at the one
    /// before; for a question, always.
    pub(super) async fn begin(&self, question: &Question) -> Result<(Begun, Arc<Line<W>>), V2ClientError> {
        let shared = &self.shared;
        let lines = shared.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = shared.pinned.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for at in (0..lines.len()).map(|step| (first + step) % lines.len()) {
            let failure = match &lines[at] {
                Err((_, why)) => V2Failure::NoEndpoint(why.clone()),
                Ok(line) => match self.begin_at(line, question).await {
                    Ok(begun) => {
                        shared.pinned.store(at, Ordering::Relaxed);
                        return Ok((begun, line.clone()));
                    }
                    Err(failure) => failure,
                },
            };
            let is_certain = failure.is_certain();
            failures.push(failure);
            if !is_certain && !question.is_read() {
                return Err(V2ClientError::Unreachable { failures, ambiguous: true });
            }
        }
        Err(V2ClientError::Unreachable { failures, ambiguous: false })
    }

    async fn begin_at(&self, line: &Line<W>, question: &Question) -> Result<Begun, V2Failure> {
        let Shared { world, options, authorization, .. } = &*self.shared;
        let url = &line.endpoint.url;
        if let Some(tell) = &options.tell {
            tell(&question.curl(url));
        }
        let outgoing = Outgoing {
            method: question.method.clone(),
            target: question.target.clone(),
            body: question.body.as_ref().map(|(kind, body)| (*kind, Bytes::from(body.clone()))),
            authorization: authorization.clone(),
            headers: &[],
        };
        let deadline = world.now() + options.header_timeout;
        let begun = timeout_at(world, deadline, line.send(&outgoing)).await;
        let begun = begun.map_err(|_| V2Failure::HeaderTimeout { endpoint: url.clone() })??;
        match begun.response.status() {
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
                // 503 is said by whoever has not begun; behind 500 may stand a request that took too long.
                let is_certain = begun.response.status() == StatusCode::SERVICE_UNAVAILABLE;
                Err(V2Failure::NoLeader { endpoint: url.clone(), is_certain })
            }
            status if status.is_server_error() => Err(V2Failure::ServerError {
                endpoint: url.clone(),
                reason: status.canonical_reason().unwrap_or_default().to_owned(),
            }),
            _ => Ok(begun),
        }
    }
}
