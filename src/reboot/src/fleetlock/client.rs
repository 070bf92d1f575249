//! FleetLock from the side of a machine: what it sends, and what it makes of the answer.
//!
//! Only 200 is leave to reboot. Whatever else comes back, also from something that is no server of this protocol, is a
//! reason to ask again later.

use super::{Ask, Wish};
use crate::error::RebootError;
use serde::{Deserialize, Serialize};

/// Characters of an answer that is none, as people are shown it.
const SAID_MAX: usize = 200;

#[derive(Serialize)]
struct Sent<'a> {
    client_params: SentParams<'a>,
}

#[derive(Serialize)]
struct SentParams<'a> {
    id: &'a str,
    group: &'a str,
}

#[derive(Deserialize)]
struct Refused {
    kind: String,
    value: String,
}

impl Wish {
    /// Its path below the server's base.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::PreReboot => "/v1/pre-reboot",
            Self::SteadyState => "/v1/steady-state",
        }
    }
}

impl Ask {
    /// The body of the request. It goes as a POST to [`Wish::path`], with [`super::HEADER`] `true`.
    #[must_use]
    pub fn body(&self) -> String {
        let group = self.group.to_string();
        let sent = Sent { client_params: SentParams { id: &self.id, group: &group } };
        serde_json::to_string(&sent).expect("two strings are always JSON")
    }
}

/// What a machine makes of an answer.
///
/// # Errors
/// [`RebootError::Denied`] where the server says why not, [`RebootError::NoFleetLock`] where nobody who speaks this protocol
/// has answered.
pub fn judge(status: u16, body: &[u8]) -> Result<(), RebootError> {
    if status == 200 {
        return Ok(());
    }
    if let Ok(Refused { kind, value }) = serde_json::from_slice(body)
        && !kind.is_empty()
    {
        return Err(RebootError::Denied { kind, value });
    }
    let text = String::from_utf8_lossy(body);
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(RebootError::NoFleetLock { status, said: said.chars().take(SAID_MAX).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::{HEADER, Request, read, wish};
    use super::*;
    use crate::group::Group;
    use crate::guard::{Drain, Guards, Refusal};
    use crate::operation::Done;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_the_one_that_zincati_sends() {
        let ask = Ask { wish: Wish::PreReboot, group: Group::default(), id: "e0f3".into() };
        assert_eq!(ask.body(), r#"{"client_params":{"id":"e0f3","group":"default"}}"#);
        assert_eq!((ask.wish.path(), HEADER), ("/v1/pre-reboot", "fleet-lock-protocol"));
        for wished in [Wish::PreReboot, Wish::SteadyState] {
            assert_eq!(wish(wished.path()), Some(wished));
        }
    }

    #[test]
    fn only_a_status_of_200_is_leave_to_reboot() {
        assert_eq!(judge(200, b"whatever"), Ok(()));
        let full = br#"{"kind":"failed_lock","value":"all 2 semaphore slots currently locked"}"#;
        let denied = judge(500, full).unwrap_err();
        assert_eq!(denied.to_string(), "refused (failed_lock): all 2 semaphore slots currently locked");
        // Near misses: other good statuses, redirects, and a refusal that says nothing.
        for (status, body) in
            [(204, ""), (202, "{}"), (302, "<a href=/login>"), (404, "Not Found"), (500, r#"{"kind":""}"#)]
        {
            let error = judge(status, body.as_bytes()).unwrap_err();
            assert!(matches!(error, RebootError::NoFleetLock { .. }), "{status}: {error}");
        }
        let long =
            judge(502, "<html>\n  Bad\tGateway </html>".repeat(50).as_bytes()).unwrap_err().to_string();
        assert!(
            long.starts_with("the answer is none of FleetLock: status 502: <html> Bad Gateway"),
            "{long}"
        );
        assert!(long.contains("\nhint: ") && long.len() < 500, "{long}");
    }

    proptest! {
        #[test]
        fn a_server_reads_what_a_machine_sends(id in "\\PC{1,40}", group in "[a-zA-Z0-9.-]{1,20}") {
            let group = Group::fleetlock(&group).unwrap();
            for wish in [Wish::PreReboot, Wish::SteadyState] {
                let ask = Ask { wish, group: group.clone(), id: id.clone() };
                let path = format!("/some/base{}", wish.path());
                let body = ask.body();
                let request =
                    Request { method: "POST", path: &path, protocol: Some("true"), body: body.as_bytes() };
                prop_assert_eq!(read(request, None), Ok(ask));
            }
        }

        #[test]
        fn a_machine_understands_why_our_server_refuses(slots in 0i64..9, why in "\\PC{0,40}") {
            let ask = Ask { wish: Wish::PreReboot, group: Group::default(), id: "m".into() };
            for refusal in [Refusal::Full { slots }, Refusal::Paused { why: why.clone() }] {
                let outcome = Ok(Done::Refused(refusal.clone()));
                let response = ask.respond(&outcome, &Guards::default(), &Drain::NotAsked);
                let denied = RebootError::Denied { kind: refusal.kind().into(), value: refusal.to_string() };
                prop_assert_eq!(judge(response.status, response.body.as_bytes()), Err(denied));
            }
        }
    }
}
