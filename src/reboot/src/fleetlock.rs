//! The FleetLock protocol: at a server from request to action to response, and what a machine sends and makes of the answer.
//! Statuses, words and texts are airlock's, which its clients know; where airlock has no word, because it refuses nothing of
//! that kind, ours are those of [`Refusal::kind`].
//!
//! A holder that asks again is told yes, except outside of its group's window: it keeps the slot, and may not reboot now.

mod client;

pub use client::judge;

use crate::error::RebootError;
use crate::group::Group;
use crate::guard::{Drain, Guards, Refusal};
use crate::ledger::{Freed, Phase};
use crate::operation::{Done, Verb};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The header without which a request is none of this protocol's.
pub const HEADER: &str = "fleet-lock-protocol";

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// To reboot.
    PreReboot,
    /// To say that it is up, and to give back what it held.
    SteadyState,
}

/// A request that was understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// What the client wants.
    pub wish: Wish,
    /// Its group.
    pub group: Group,
    /// Its id.
    pub id: String,
}

/// A response. A refusal is always an error of HTTP: clients ask again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// HTTP's status.
    pub status: u16,
    /// Headers besides the length.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: String,
}

/// A request as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// HTTP's method.
    pub method: &'a str,
    /// The path, with whatever base the client was told.
    pub path: &'a str,
    /// What [`HEADER`] says, where it is there.
    pub protocol: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    client_params: Params,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Params {
    id: String,
    group: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    kind: &'a str,
    value: &'a str,
}

const JSON_ERROR: &[(&str, &str)] =
    &[("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")];

impl Response {
    fn ok() -> Self {
        Self { status: 200, headers: &[], body: String::new() }
    }

    fn error(status: u16, kind: &str, value: &str) -> Self {
        let body = serde_json::to_string(&ErrorBody { kind, value }).expect("two strings are always JSON");
        Self { status, headers: JSON_ERROR, body: body + "\n" }
    }
}

/// The wish whose path this is, whatever lies before it.
#[must_use]
pub fn wish(path: &str) -> Option<Wish> {
    [Wish::PreReboot, Wish::SteadyState].into_iter().find(|wish| path.ends_with(wish.path()))
}

/// Reads a request. `groups` are those the server serves; `None`: any.
///
/// # Errors
/// The response that refuses it.
pub fn read(request: Request<'_>, groups: Option<&BTreeSet<Group>>) -> Result<Ask, Response> {
    let Some(wish) = wish(request.path) else {
        return Err(Response::error(404, "not_found", "FleetLock has /v1/pre-reboot and /v1/steady-state"));
    };
    if request.method != "POST" {
        return Err(Response::error(405, "method_not_allowed", "FleetLock's requests are POSTs"));
    }
    let nameless = |why: &str| {
        Response::error(400, "invalid_client_identity", &format!("failed to validate client identity: {why}"))
    };
    if request.protocol != Some("true") {
        return Err(nameless("wrong 'fleet-lock-protocol' header"));
    }
    let Body { client_params: Params { id, group } } =
        serde_json::from_slice(request.body).map_err(|error| nameless(&error.to_string()))?;
    if group.is_empty() {
        return Err(nameless("empty client group"));
    }
    if id.is_empty() {
        return Err(nameless("empty client ID"));
    }
    let named = Group::fleetlock(&group).map_err(|error| nameless(&error.to_string()))?;
    if groups.is_some_and(|groups| !groups.contains(&named)) {
        return Err(Response::error(400, "unknown_group", &format!("unknown group {group:?}")));
    }
    Ok(Ask { wish, group: named, id })
}

impl Ask {
    /// What is to be done with the group. `drains`: what runs on the machine is moved once it has the slot.
    #[must_use]
    pub fn verb(&self, guards: Guards, drains: bool) -> Verb {
        let id = self.id.clone();
        match self.wish {
            Wish::PreReboot => {
                let phase = if drains { Phase::Draining } else { Phase::Rebooting };
                Verb::Lock { id, boot: None, phase, guards }
            }
            Wish::SteadyState => Verb::Unlock { id, generation: None, by: Freed::Holder },
        }
    }

    /// What the client hears. `drain` is how far the machine's drain is now that it holds a slot.
    #[must_use]
    pub fn respond(&self, outcome: &Result<Done, RebootError>, guards: &Guards, drain: &Drain) -> Response {
        let granted = |new: bool| {
            if let (false, Some(closed)) = (new, guards.closed) {
                return Err(Refusal::OutsideWindow { opens_in: closed.opens_in });
            }
            drain.allows()
        };
        let refused = |refusal: &Refusal| Response::error(500, refusal.kind(), &refusal.to_string());
        match outcome {
            Ok(Done::Granted { new, .. }) => {
                granted(*new).map_or_else(|refusal| refused(&refusal), |()| Response::ok())
            }
            Ok(Done::Refused(refusal)) => refused(refusal),
            Ok(_) => Response::ok(),
            Err(error @ (RebootError::Malformed { .. } | RebootError::Ledger { .. })) => Response::error(
                500,
                "failed_sem_init",
                &format!("failed to initialize semaphore manager: {error}"),
            ),
            // Airlock says so of both wishes.
            Err(error) => Response::error(500, "failed_lock", &error.to_string()),
        }
    }
}

/// What is counted. The names of the first ones are airlock's, for dashboards that know them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metrics {
    requests: BTreeMap<Wish, u64>,
    refused: BTreeMap<&'static str, u64>,
    groups: BTreeMap<Group, (i64, usize)>,
}

impl Metrics {
    /// A request came in, whatever becomes of it.
    pub fn came(&mut self, wish: Wish) {
        *self.requests.entry(wish).or_default() += 1;
    }

    /// One was refused.
    pub fn refused(&mut self, refusal: &Refusal) {
        *self.refused.entry(refusal.kind()).or_default() += 1;
    }

    /// This is how a group stands.
    pub fn seen(&mut self, group: &Group, slots: i64, holders: usize) {
        self.groups.insert(group.clone(), (slots, holders));
    }

    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        let count = |wish| self.requests.get(&wish).copied().unwrap_or(0);
        for (name, path, wish) in [
            ("airlock_v1_pre_reboot_incoming_requests_total", "/v1/pre-reboot", Wish::PreReboot),
            ("airlock_v1_steady_state_incoming_requests_total", "/v1/steady-state", Wish::SteadyState),
        ] {
            head(&mut out, name, "counter", &format!("Requests to {path}."));
            let _ = writeln!(out, "{name} {}", count(wish));
        }
        for (name, help, slots) in [
            ("airlock_database_semaphore_slots", "Slots of a group, as in the store.", true),
            ("airlock_database_semaphore_lock_holders", "Holders of a group, as in the store.", false),
        ] {
            head(&mut out, name, "gauge", help);
            for (group, (max, holders)) in &self.groups {
                let value = if slots { max.to_string() } else { holders.to_string() };
                let _ = writeln!(out, "{name}{{group=\"{}\"}} {value}", label(&group.to_string()));
            }
        }
        let name = "seatrial_reboot_refused_total";
        head(&mut out, name, "counter", "Refused requests for a slot, by reason.");
        for (kind, count) in &self.refused {
            let _ = writeln!(out, "{name}{{kind=\"{kind}\"}} {count}");
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Closed;
    use crate::keys::KeysError;
    use std::time::Duration;

    const BODY: &[u8] = br#"{"client_params":{"id":"m1","group":"default"}}"#;

    fn request(body: &[u8]) -> Request<'_> {
        Request { method: "POST", path: "/base/v1/pre-reboot", protocol: Some("true"), body }
    }

    fn refused(request: Request<'_>, groups: Option<&BTreeSet<Group>>) -> (u16, String) {
        let response = read(request, groups).unwrap_err();
        (response.status, response.body)
    }

    #[test]
    fn a_request_names_its_machine_and_its_group_below_any_base() {
        let ask = read(request(BODY), None).unwrap();
        assert_eq!(ask, Ask { wish: Wish::PreReboot, group: Group::default(), id: "m1".into() });
        let steady = Request { path: "/v1/steady-state", ..request(BODY) };
        assert_eq!(read(steady, None).unwrap().wish, Wish::SteadyState);
    }

    #[test]
    fn what_is_no_request_is_refused_in_airlocks_words() {
        let told = r#"{"kind":"invalid_client_identity","value":"failed to validate client identity: "#;
        for protocol in [None, Some("false"), Some("TRUE")] {
            let (status, body) = refused(Request { protocol, ..request(BODY) }, None);
            assert_eq!((status, body), (400, format!("{told}wrong 'fleet-lock-protocol' header\"}}\n")));
        }
        for (body, why) in [
            (&br#"{}"#[..], "empty client group"),
            (br#"{"client_params":{"group":"default"}}"#, "empty client ID"),
            (br#"{"client_params":{"id":"","group":"default"}}"#, "empty client ID"),
            (br#"{"client_params":{"id":"m1","group":"a b"}}"#, "is not the name of a group"),
            (b"", "EOF"),
            (b"\xff\xfe", "expected value"),
        ] {
            let (status, answer) = refused(request(body), None);
            assert!(status == 400 && answer.starts_with(told) && answer.contains(why), "{answer}");
        }
        let known = BTreeSet::from([Group::new("lb")]);
        let (status, body) = refused(request(BODY), Some(&known));
        assert_eq!(
            (status, body.as_str()),
            (400, "{\"kind\":\"unknown_group\",\"value\":\"unknown group \\\"default\\\"\"}\n")
        );
        assert_eq!(refused(Request { method: "GET", ..request(BODY) }, None).0, 405);
        assert_eq!(refused(Request { path: "/v1/reboot", ..request(BODY) }, None).0, 404);
    }

    #[test]
    fn a_full_group_is_told_as_airlock_tells_it() {
        let ask = read(request(BODY), None).unwrap();
        let outcome = Ok(Done::Refused(Refusal::Full { slots: 2 }));
        let response = ask.respond(&outcome, &Guards::default(), &Drain::NotAsked);
        assert_eq!(response.status, 500);
        assert_eq!(
            response.body,
            "{\"kind\":\"failed_lock\",\"value\":\"all 2 semaphore slots currently locked\"}\n"
        );
    }

    #[test]
    fn a_machine_goes_once_it_holds_is_drained_and_its_window_is_open() {
        let ask = read(request(BODY), None).unwrap();
        let open = Guards::default();
        let closed = Guards { closed: Some(Closed { opens_in: None }), ..Guards::default() };
        let running = Drain::Running { since: Duration::from_secs(9) };
        let failed = Drain::Failed { why: "pod x".into() };
        for (new, guards, drain, status, kind) in [
            (true, &open, &Drain::NotAsked, 200, ""),
            (false, &open, &Drain::Done, 200, ""),
            (true, &open, &running, 500, "draining"),
            (false, &open, &failed, 500, "drain_failed"),
            (false, &closed, &Drain::Done, 500, "outside_window"),
        ] {
            let granted = Ok(Done::Granted { generation: 1, new });
            let response = ask.respond(&granted, guards, drain);
            assert_eq!(response.status, status, "{response:?}");
            assert!(response.body.contains(kind), "{response:?}");
        }
    }

    #[test]
    fn a_machine_that_holds_nothing_is_steady_too() {
        let ask = read(Request { path: "/v1/steady-state", ..request(BODY) }, None).unwrap();
        for held in [true, false] {
            let closed = Guards { closed: Some(Closed { opens_in: None }), ..Guards::default() };
            assert_eq!(ask.respond(&Ok(Done::Freed { held }), &closed, &Drain::NotAsked), Response::ok());
        }
        let lost = Err(KeysError::Unavailable { why: "cut".into(), ambiguous: true }.into());
        assert_eq!(ask.respond(&lost, &Guards::default(), &Drain::NotAsked).status, 500);
    }

    #[test]
    fn metrics_have_airlocks_names() {
        let mut metrics = Metrics::default();
        metrics.came(Wish::PreReboot);
        metrics.refused(&Refusal::Full { slots: 1 });
        metrics.seen(&Group::default(), 2, 1);
        let text = metrics.render();
        for line in [
            "airlock_v1_pre_reboot_incoming_requests_total 1",
            "airlock_v1_steady_state_incoming_requests_total 0",
            "airlock_database_semaphore_slots{group=\"default\"} 2",
            "airlock_database_semaphore_lock_holders{group=\"default\"} 1",
            "seatrial_reboot_refused_total{kind=\"failed_lock\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
