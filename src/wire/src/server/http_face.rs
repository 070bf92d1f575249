//! The HTTP/1.1 face: health, version, metrics.

use super::ServeOptions;
use super::metrics::Metrics;
use crate::clock::Clock;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use seatrial_etcd::{Ask, EtcdService};
use seatrial_types::request::{AlarmKind, RangeRequest, StatusResponse};
use seatrial_types::{KeyRange, MemberId};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

struct Face<A> {
    service: EtcdService<A>,
    metrics: Arc<Metrics>,
    clock: Clock,
    version: String,
    health_timeout: Duration,
}

pub(super) fn router<A: Ask>(
    service: EtcdService<A>,
    metrics: Arc<Metrics>,
    clock: Clock,
    options: &ServeOptions,
) -> Router {
    let face = Arc::new(Face {
        service,
        metrics,
        clock,
        version: options.version.clone(),
        health_timeout: options.health_timeout,
    });
    Router::new()
        .route("/health", get(health::<A>))
        .route("/livez", get(livez::<A>))
        .route("/readyz", get(readyz::<A>))
        .route("/version", get(version::<A>))
        .route("/metrics", get(metrics_text::<A>))
        .with_state(face)
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
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health = if reason.is_none() { "true" } else { "false" };
    let body = format!(
        r#"{{"health":"{health}","reason":{}}}"#,
        serde_json::Value::String(reason.unwrap_or_default())
    );
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The outcome of named checks, in the form of Kubernetes' probes.
fn probe(checks: &[(&str, Result<(), String>)], query: &Option<String>) -> Response {
    let mut text = String::new();
    let failed = checks.iter().any(|(_, outcome)| outcome.is_err());
    if failed || parameters(query, "verbose").next().is_some() {
        for (name, outcome) in checks {
            match outcome {
                Ok(()) => drop(writeln!(text, "[+]{name} ok")),
                Err(why) => drop(writeln!(text, "[-]{name} failed: {why}")),
            }
        }
    }
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    text.push_str(if failed { "failed\n" } else { "ok\n" });
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn livez<A: Ask>(State(face): State<Arc<Face<A>>>, RawQuery(query): RawQuery) -> Response {
    probe(&[("serializable_read", face.read(true).await)], &query)
}

async fn readyz<A: Ask>(State(face): State<Arc<Face<A>>>, RawQuery(query): RawQuery) -> Response {
    let excluded: Vec<_> = parameters(&query, "exclude").collect();
    let mut checks = Vec::new();
    if !excluded.contains(&"data_corruption") {
        let corrupt = match face.alarm(&["NOSPACE"]).await {
            Ok(None) => Ok(()),
            Ok(Some(name)) => Err(format!("alarm activated: {name}")),
            Err(error) => Err(error),
        };
        checks.push(("data_corruption", corrupt));
    }
    if !excluded.contains(&"serializable_read") {
        checks.push(("serializable_read", face.read(true).await));
    }
    if !excluded.contains(&"linearizable_read") {
        checks.push(("linearizable_read", face.read(false).await));
    }
    if !excluded.contains(&"non_learner") {
        let voter = match face.status().await {
            Ok(status) if status.is_learner => Err("not supported for learner".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        checks.push(("non_learner", voter));
    }
    probe(&checks, &query)
}

async fn version<A: Ask>(State(face): State<Arc<Face<A>>>) -> Response {
    let cluster = face.version.rsplit_once('.').map_or("", |(minor, _)| minor);
    let body =
        format!(r#"{{"etcdserver":"{}","etcdcluster":"{cluster}.0","storage":"{cluster}.0"}}"#, face.version);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics_text<A: Ask>(State(face): State<Arc<Face<A>>>) -> Response {
    let mut text = String::new();
    let _ = writeln!(text, "# TYPE etcd_server_version gauge");
    let _ = writeln!(text, "etcd_server_version{{server_version=\"{}\"}} 1", face.version);
    face.metrics.render(&mut text);
    if let Ok(status) = face.status().await {
        let gauges: [(&str, u64); 9] = [
            ("etcd_server_has_leader", u64::from(status.leader != MemberId::NONE)),
            ("etcd_server_is_leader", u64::from(status.leader == status.header.member_id)),
            ("etcd_server_is_learner", u64::from(status.is_learner)),
            ("etcd_server_raft_term", status.raft_term.0),
            ("etcd_server_raft_index", status.raft_index.0),
            ("etcd_server_raft_applied_index", status.raft_applied_index.0),
            ("etcd_debugging_mvcc_current_revision", status.header.revision.0.unsigned_abs()),
            ("etcd_mvcc_db_total_size_in_bytes", status.db_size.unsigned_abs()),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", status.db_size_in_use.unsigned_abs()),
        ];
        for (name, value) in gauges {
            let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
