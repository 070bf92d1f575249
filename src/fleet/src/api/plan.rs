//! `/plan`: what the engine would do now, and why units wait. The original has no such request.

use super::ApiResponse;
use crate::engine::{Limits, decide};
use crate::model::Cluster;
use serde::Serialize;

#[derive(Serialize)]
struct PlanView {
    decisions: Vec<DecisionView>,
    waiting: Vec<WaitingView>,
}

#[derive(Serialize)]
struct DecisionView {
    unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    why: String,
}

#[derive(Serialize)]
struct WaitingView {
    unit: String,
    reason: String,
}

pub(super) fn get(cluster: &Cluster) -> ApiResponse {
    let outcome = decide(cluster, &Limits::default());
    let decisions = outcome.decisions.iter().map(|decision| DecisionView {
        unit: decision.unit.to_string(),
        from: decision.from.as_ref().map(ToString::to_string),
        to: decision.to.as_ref().map(ToString::to_string),
        why: decision.why.to_string(),
    });
    let waiting = outcome.reasons.iter();
    let waiting =
        waiting.map(|(unit, reason)| WaitingView { unit: unit.to_string(), reason: reason.to_string() });
    ApiResponse::ok(&PlanView { decisions: decisions.collect(), waiting: waiting.collect() })
}
