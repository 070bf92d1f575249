//! The HTTP/1.1 face: health, version, metrics.

use super::ServeOptions;
use super::fleetlock::Desk;
use super::gateway::plain;
use super::metrics::Metrics;
use crate::clock::Clock;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderValue, StatusCode, header};
use seatrial_etcd::{Ask, EtcdService, Kind, MemberMetrics, Page};
use seatrial_types::request::{AlarmKind, RangeRequest, StatusResponse};
use seatrial_types::{KeyRange, MemberId};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

struct Face<A> {
    service: EtcdService<A>,
    metrics: Arc<Metrics>,
    member_metrics: Option<MemberMetrics>,
    reboot_lock: Option<Arc<dyn Desk>>,
    clock: Clock,
    version: String,
    health_timeout: Duration,
}

pub(super) fn router<A: Ask>(
    service: EtcdService<A>,
    clock: Clock,
    reboot_lock: Option<Arc<dyn Desk>>,
    options: &ServeOptions,
) -> Router {
    let face = Arc::new(Face {
        service,
        metrics: options.metrics.clone(),
        member_metrics: options.member_metrics.clone(),
        reboot_lock,
        clock,
        version: options.version.clone(),
        health_timeout: options.health_timeout,
    });
    let mut router = Router::new()
        .route("/health", get_only(get(health::<A>)))
        .route("/livez", get_only(get(livez::<A>)))
        .route("/livez/{check}", get_only(get(livez_one::<A>)))
        .route("/readyz", get_only(get(readyz::<A>)))
        .route("/readyz/{check}", get_only(get(readyz_one::<A>)))
        .route("/metrics", get_only(get(metrics_text::<A>)));
    if !options.metrics_only {
        router = router.route("/version", get_only(get(version::<A>)));
    }
    router.fallback(async || not_found()).with_state(face)
}

/// Everything else is refused as etcd does it.
fn get_only<S: Clone + Send + Sync + 'static>(methods: MethodRouter<S>) -> MethodRouter<S> {
    methods.fallback(async || {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        response.map(axum::body::Body::new)
    })
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found").map(axum::body::Body::new)
}

/// The values of one parameter of a query; flags without a value count as empty.
fn parameters<'a>(query: &'a Option<String>, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.as_deref().unwrap_or("").split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

impl<A: Ask> Face<A> {
    /// Whether a read is answered in time; the reason otherwise.
    async fn read(&self, serializable: bool) -> Result<(), String> {
        let range = RangeRequest {
            range: KeyRange::single("health"),
            limit: 1,
            serializable,
            keys_only: true,
            ..RangeRequest::default()
        };
        tokio::select! {
            biased;
            answer = self.service.range(range) => answer.map(|_| ()).map_err(|error| error.to_string()),
            () = self.clock.sleep(self.health_timeout) => Err("context deadline exceeded".to_owned()),
        }
    }

    async fn status(&self) -> Result<StatusResponse, String> {
        self.service.status().await.map_err(|error| error.to_string())
    }

    /// The first alarm that is on and not excluded.
    async fn alarm(&self, excluded: &[&str]) -> Result<Option<&'static str>, String> {
        let alarms = self.service.alarm_list().await.map_err(|error| error.to_string())?.alarms;
        let names = alarms.into_iter().map(|(_, kind)| match kind {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        });
        Ok(names.into_iter().find(|name| !excluded.contains(name)))
    }

    async fn unhealthy(&self, query: &Option<String>) -> Option<String> {
        let excluded: Vec<_> = parameters(query, "exclude").collect();
        let serializable = parameters(query, "serializable").any(|value| value == "true");
        match self.alarm(&excluded).await {
            Ok(None) => {}
            Ok(Some(name)) => return Some(format!("ALARM {name}")),
            Err(error) => return Some(format!("ALARM ERROR:{error}")),
        }
        match self.status().await {
            Ok(status) if status.leader == MemberId::NONE && !serializable => {
                return Some("RAFT NO LEADER".to_owned());
            }
            Ok(_) => {}
            Err(error) => return Some(format!("STATUS ERROR:{error}")),
        }
        self.read(serializable).await.err().map(|error| format!("RANGE ERROR:{error}"))
    }
}

async fn health<A: Ask>(State(face): State<Arc<Face<A>>>, RawQuery(query): RawQuery) -> Response {
    let reason = face.unhealthy(&query).await;
    face.metrics.health(reason.is_none());
    let health = if reason.is_none() { "true" } else { "false" };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = format!(
        r#"{{"health":"{health}","reason":{}}}"#,
        serde_json::Value::String(reason.unwrap_or_default())
    );
    if status != StatusCode::OK {
        body.push('\n');
    }
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// One thing that Kubernetes' probes ask after.
#[derive(Clone, Copy)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

const LIVE: &[Check] = &[Check::SerializableRead];
const READY: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn outcome<A: Ask>(self, face: &Face<A>) -> Result<(), String> {
        match self {
            Self::DataCorruption => match face.alarm(&["NOSPACE"]).await? {
                None => Ok(()),
                Some(name) => Err(format!("alarm activated: {name}")),
            },
            Self::SerializableRead => face.read(true).await,
            Self::LinearizableRead => face.read(false).await,
            Self::NonLearner if face.status().await?.is_learner => {
                Err("not supported for learner".to_owned())
            }
            Self::NonLearner => Ok(()),
        }
    }
}

/// The outcome of checks, in the form of Kubernetes' probes.
async fn probe<A: Ask>(face: &Face<A>, checks: &[Check], query: &Option<String>) -> Response {
    let mut text = String::new();
    let mut failed = false;
    for check in checks {
        match check.outcome(face).await {
            Ok(()) => drop(writeln!(text, "[+]{} ok", check.name())),
            Err(why) => {
                failed = true;
                let _ = writeln!(text, "[-]{} failed: {why}", check.name());
            }
        }
    }
    face.metrics.health(!failed);
    if !failed && parameters(query, "verbose").next().is_none() {
        text.clear();
    }
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    text.push_str(if failed { "failed\n" } else { "ok\n" });
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// All checks but those that the caller does not want.
async fn probe_all<A: Ask>(face: &Face<A>, checks: &[Check], query: &Option<String>) -> Response {
    let excluded: Vec<_> = parameters(query, "exclude").collect();
    let wanted: Vec<_> = checks.iter().copied().filter(|check| !excluded.contains(&check.name())).collect();
    probe(face, &wanted, query).await
}

async fn probe_one<A: Ask>(face: &Face<A>, checks: &[Check], name: &str, query: &Option<String>) -> Response {
    match checks.iter().find(|check| check.name() == name) {
        Some(check) => probe(face, &[*check], query).await,
        None => not_found(),
    }
}

type Asked<A> = State<Arc<Face<A>>>;

async fn livez<A: Ask>(State(face): Asked<A>, RawQuery(query): RawQuery) -> Response {
    probe_all(&face, LIVE, &query).await
}

async fn livez_one<A: Ask>(
    State(face): Asked<A>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    probe_one(&face, LIVE, &name, &query).await
}

async fn readyz<A: Ask>(State(face): Asked<A>, RawQuery(query): RawQuery) -> Response {
    probe_all(&face, READY, &query).await
}

async fn readyz_one<A: Ask>(
    State(face): Asked<A>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    probe_one(&face, READY, &name, &query).await
}

async fn version<A: Ask>(State(face): Asked<A>) -> Response {
    let cluster = face.version.rsplit_once('.').map_or("", |(minor, _)| minor);
    let body =
        format!(r#"{{"etcdserver":"{}","etcdcluster":"{cluster}.0","storage":"{cluster}.0"}}"#, face.version);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics_text<A: Ask>(State(face): Asked<A>) -> Response {
    let mut page = Page::default();
    let minor = face.version.rsplit_once('.').map_or("", |(minor, _)| minor);
    for (name, label, help, version) in [
        (
            "etcd_server_version",
            "server_version",
            "The version whose API this is, as a label.",
            &*face.version,
        ),
        ("etcd_cluster_version", "cluster_version", "The version of the cluster, as a label.", minor),
    ] {
        page.head(name, Kind::Gauge, help);
        page.value(name, &[(label, version)], 1);
    }
    face.metrics.write(&mut page);
    match &face.member_metrics {
        Some(member) => member.write(&mut page).await,
        None => {
            if let Ok(status) = face.status().await {
                let has_leader = u8::from(status.leader != MemberId::NONE);
                page.one(
                    "etcd_server_has_leader",
                    Kind::Gauge,
                    "Whether the member knows a leader.",
                    has_leader,
                );
            }
        }
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let mut text = page.into_text();
    if let Some(desk) = &face.reboot_lock {
        text += &desk.metrics().await;
    }
    (kind, text).into_response()
}
