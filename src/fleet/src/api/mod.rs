//! Fleet's HTTP interface, version 1, as a function: from a request and the cluster to an answer and what is to be written.
//!
//! Shapes and texts are the original's where its clients look at them. Where the original was wrong, this is not: a state
//! that is none is refused before it is stored, an unknown unit's state is a 404, metadata may be set with a plain
//! string, a template cannot be created active, and no page but the last says that there is another one.

mod discovery;
mod machines;
mod pages;
mod plan;
mod states;
mod units;

use crate::model::Cluster;
use crate::registry::Write;
use serde::Serialize;

/// The places at which the interface is found.
pub const BASES: [&str; 2] = ["/fleet/v1", "/v1-alpha"];

/// A request, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ApiRequest {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Without the query, percent-encoding undone.
    pub path: String,
    /// In order, percent-encoding undone.
    pub query: Vec<(String, String)>,
    /// Every `Content-Type` header.
    pub content_types: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl ApiRequest {
    /// The values of a parameter.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, where it says something.
    fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next().filter(|value| !value.is_empty())
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiResponse {
    /// HTTP's.
    pub status: u16,
    /// JSON, to be sent as `application/json`; `None` is no body at all.
    pub body: Option<String>,
}

/// What comes of a request. The answer is to be given once the writes have happened; where their transaction does not
/// hold, for somebody else was faster, the request is to be handled again with a newer cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handled {
    /// For the client.
    pub response: ApiResponse,
    /// To be written as one transaction (`registry::write`).
    pub writes: Vec<Write>,
}

/// Why a request is refused: HTTP's status, and a text.
type Refusal = (u16, String);

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorEntity,
}

#[derive(Serialize)]
struct ErrorEntity {
    code: u16,
    message: String,
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what we answer has string keys and no failing parts")
}

impl ApiResponse {
    fn ok(value: &impl Serialize) -> Self {
        Self { status: 200, body: Some(to_json(value)) }
    }

    fn empty(status: u16) -> Self {
        Self { status, body: None }
    }

    /// An error in fleet's form.
    #[must_use]
    pub fn error(status: u16, message: impl Into<String>) -> Self {
        let error = ErrorEntity { code: status, message: message.into() };
        Self { status, body: Some(to_json(&ErrorBody { error })) }
    }

    /// The answer to everything while the store cannot be asked.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::error(503, "fleet server unable to communicate with etcd")
    }
}

/// What a refusal or an answer without writes comes to.
fn read(answer: Result<ApiResponse, Refusal>) -> Handled {
    let response = answer.unwrap_or_else(|(status, message)| ApiResponse::error(status, message));
    Handled { response, writes: Vec::new() }
}

fn only(methods: &str) -> Handled {
    read(Err((405, format!("only {methods} supported against this resource"))))
}

/// Handles a request. Never panics, whatever is in it.
#[must_use]
pub fn handle(request: &ApiRequest, cluster: &Cluster) -> Handled {
    let below = BASES.iter().find_map(|base| request.path.strip_prefix(base)?.strip_prefix('/'));
    let Some(below) = below else { return read(Err((404, String::new()))) };
    let parts: Vec<&str> = below.split('/').collect();
    match (parts.as_slice(), request.method.as_str()) {
        (["units"], "GET") => read(units::list(request, cluster)),
        (["units"], _) => only("GET"),
        (["units", name], "GET") if !name.is_empty() => read(units::get(name, cluster)),
        (["units", name], "PUT") if !name.is_empty() => written(units::put(name, request, cluster)),
        (["units", name], "DELETE") if !name.is_empty() => written(units::delete(name, cluster)),
        (["units", name], _) if !name.is_empty() => only("GET, PUT and DELETE"),
        (["state"], "GET") => read(states::list(request, cluster)),
        (["state", name], "GET") if !name.is_empty() => read(states::get(name, cluster)),
        (["state"], _) => only("GET"),
        (["state", name], _) if !name.is_empty() => only("GET"),
        (["machines"], "GET") => read(machines::list(request, cluster)),
        (["machines"], "PATCH") => written(machines::patch(request)),
        (["machines"], _) => only("GET and PATCH"),
        (["machines", id], "DELETE") if !id.is_empty() => written(machines::give_up(id, cluster)),
        (["machines", id], _) if !id.is_empty() => only("DELETE"),
        (["plan"], "GET") => read(Ok(plan::get(cluster))),
        (["plan"], _) => only("GET"),
        (["discovery"], "GET") => read(Ok(discovery::get())),
        (["discovery"], _) => only("GET"),
        _ => read(Err((404, String::new()))),
    }
}

fn written(answer: Result<(u16, Vec<Write>), Refusal>) -> Handled {
    match answer {
        Ok((status, writes)) => Handled { response: ApiResponse::empty(status), writes },
        Err(refusal) => read(Err(refusal)),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
