//! How the processes of a local cluster do, as they say themselves over HTTP.

use super::state::{Machine, Process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What something answers with status 200.
fn get(url: &str, path: &str) -> Option<String> {
    let address = url.trim_start_matches("http://");
    let ask = || -> std::io::Result<String> {
        let place = address.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let mut stream = TcpStream::connect_timeout(&place, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().ok().filter(|answer| answer.starts_with("HTTP/1.1 200"))?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Whether a member knows a leader and reads through it.
pub(super) fn member(member: &Process) -> bool {
    get(&member.client_url, "/health").is_some()
}

/// Whether a machine counts for the fleet, which its fleetd reads from the store.
pub(super) fn machine(machine: &Machine<'_>) -> bool {
    Fleet::of(machine.fleetd).machines().is_some_and(|there| there.contains(&machine.id()))
}

/// A fleet as one fleetd shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fleet<'a> {
    url: &'a str,
}

/// A unit that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// On every machine.
    pub(super) is_global: bool,
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

impl<'a> Fleet<'a> {
    pub(super) fn of(fleetd: &'a Process) -> Self {
        Self { url: &fleetd.client_url }
    }

    /// All entries of a list, which comes in pages; `None` where it does not answer.
    fn list(&self, path: &str, field: &str) -> Option<Vec<Value>> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let query = if token.is_empty() { String::new() } else { format!("?nextPageToken={token}") };
            let page: Value =
                serde_json::from_str(&get(self.url, &format!("/fleet/v1/{path}{query}"))?).ok()?;
            all.extend(page[field].as_array().cloned().unwrap_or_default());
            token = text(&page, "nextPageToken");
            if token.is_empty() {
                return Some(all);
            }
        }
    }

    /// The ids of the machines that are there.
    pub(super) fn machines(&self) -> Option<BTreeSet<String>> {
        Some(self.list("machines", "machines")?.iter().map(|machine| text(machine, "id")).collect())
    }

    /// What is to run.
    pub(super) fn units(&self) -> Option<Vec<Unit>> {
        let is_global = |unit: &Value| {
            let options = unit["options"].as_array().map(Vec::as_slice).unwrap_or_default();
            options.iter().rfind(|option| option["name"] == "Global").is_some_and(|option| {
                ["true", "yes", "on", "1"].contains(&text(option, "value").to_lowercase().as_str())
            })
        };
        let wanted = self.list("units", "units")?.into_iter();
        let wanted = wanted.filter(|unit| unit["desiredState"] == "launched");
        Some(wanted.map(|unit| Unit { name: text(&unit, "name"), is_global: is_global(&unit) }).collect())
    }

    /// What is up, and on which machine.
    pub(super) fn active(&self) -> Option<BTreeSet<(String, String)>> {
        let states = self.list("state", "states")?.into_iter();
        let active = states.filter(|state| state["systemdActiveState"] == "active");
        Some(active.map(|state| (text(&state, "name"), text(&state, "machineID"))).collect())
    }

    /// Units for which there is no machine.
    pub(super) fn waiting(&self) -> Option<BTreeSet<String>> {
        let plan: Value = serde_json::from_str(&get(self.url, "/fleet/v1/plan")?).ok()?;
        let waiting = plan["waiting"].as_array().cloned().unwrap_or_default();
        Some(waiting.iter().map(|unit| text(unit, "unit")).collect())
    }
}
