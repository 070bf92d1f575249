//! What only the machine that runs a unit can say: its processes and its log. Asked for another machine's unit, we ask
//! that machine and hand its answer on.

use super::choice::Units;
use super::http::{Body, answer, full};
use super::registry::Registry;
use crate::fleetctl::dial::{self, Credentials, Place};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use seatrial_client::Store;
use seatrial_fleet::api::{ApiRequest, ApiResponse};
use seatrial_fleet::model::Cluster;
use seatrial_fleet::unit::{MachineId, UnitName};
use seatrial_service_real::{DriveError, Followed, Handle, LeftOut};
use seatrial_world::{World, timeout};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long another machine may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// So much of a log that is followed is sent at once.
const FRAME_BYTES: usize = 64 * 1024;

/// Lines of a log where nobody says how many.
const LINES: usize = 10;

/// How a unit does, as the machine that has it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StatusView {
    pub(crate) name: String,
    #[serde(rename = "machineID")]
    pub(crate) machine_id: String,
    pub(crate) description: String,
    pub(crate) load: String,
    pub(crate) active: String,
    pub(crate) sub: String,
    /// Why its file could not be read, or its process not be started.
    pub(crate) problem: Option<String>,
    pub(crate) main_pid: Option<u32>,
    pub(crate) main_exit: Option<String>,
    pub(crate) restarts: u32,
    /// What the service says of itself.
    pub(crate) status_text: Option<String>,
    pub(crate) processes: Vec<u32>,
    /// What has no effect in its file.
    pub(crate) warnings: Vec<String>,
    /// The last lines of its log.
    pub(crate) log: Vec<String>,
}

/// This machine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Machine<W> {
    pub(crate) world: W,
    pub(crate) me: MachineId,
    pub(crate) units: Units,
    /// With these other machines are asked.
    pub(crate) credentials: Credentials,
}

/// A part of a log as text.
fn shown(piece: Followed) -> String {
    match piece {
        Followed::Line(line) => line + "\n",
        Followed::LeftOut(LeftOut { lines, bytes }) => {
            format!("-- left out: {lines} lines, {bytes} bytes; they came faster than they were read --\n")
        }
    }
}

fn value<'a>(request: &'a ApiRequest, name: &str) -> Option<&'a str> {
    let found = request.query.iter().find(|(key, _)| key == name)?;
    Some(found.1.as_str()).filter(|value| !value.is_empty())
}

/// The machine that is to answer for a unit: the one that was asked for, the one it is scheduled to, or one that says
/// something of it, ourselves before others.
fn machine_of(
    cluster: &Cluster,
    me: &MachineId,
    unit: &str,
    asked: Option<&str>,
) -> Result<(MachineId, String), String> {
    let at = |id: &MachineId| {
        let info = &cluster.machines.get(id)?.info;
        Some((id.clone(), info.api.clone()))
    };
    if let Some(asked) = asked {
        let found = cluster.machines.keys().find(|id| id.is_called(asked));
        return found.and_then(at).ok_or_else(|| format!("machine {asked} is not there"));
    }
    let known = cluster.units.get(unit).ok_or_else(|| "unit does not exist".to_owned())?;
    if let Some(target) = &known.target {
        return at(target).ok_or_else(|| format!("the machine of {unit}, {target}, is not there"));
    }
    let mut with_state = cluster.states.keys().filter(|(name, _)| name.as_str() == unit).map(|(_, id)| id);
    let first = with_state.clone().next();
    let found = with_state.find(|id| *id == me).or(first);
    found.and_then(at).ok_or_else(|| format!("{unit} is on no machine\nhint: `fleetctl plan` says why"))
}

impl<W: World> Machine<W> {
    pub(crate) async fn respond<S: Store>(
        &self,
        registry: &Registry<W, S>,
        what: &str,
        unit: &str,
        request: &ApiRequest,
    ) -> Response<Body> {
        let unit = match UnitName::parse(unit) {
            Ok(unit) => unit,
            Err(error) => return answer(ApiResponse::error(400, error.to_string())),
        };
        let asked = value(request, "machine");
        // Asked as ourselves we need no registry: it may be away.
        let found = match asked {
            Some(asked) if self.me.is_called(asked) => Ok((self.me.clone(), String::new())),
            _ => match registry.with_cluster(|cluster| machine_of(cluster, &self.me, unit.as_str(), asked)) {
                Some(found) => found,
                None => return answer(ApiResponse::unavailable()),
            },
        };
        match found {
            Err(text) => answer(ApiResponse::error(404, text)),
            Ok((machine, _)) if machine == self.me => self.local(what, &unit, request).await,
            Ok((machine, api)) => self.elsewhere(what, &unit, request, &machine, &api).await,
        }
    }

    async fn local(&self, what: &str, unit: &UnitName, request: &ApiRequest) -> Response<Body> {
        let lines = match value(request, "lines").map(str::parse).transpose() {
            Ok(lines) => lines.unwrap_or(LINES),
            Err(_) => return answer(ApiResponse::error(400, "lines is a number")),
        };
        let follows = matches!(value(request, "follow"), Some("1" | "true"));
        let handle = match &self.units {
            Units::Processes(manager) => &manager.0.handle,
            Units::Systemd(units) => {
                let found = units.respond(what, follows, unit, self.me.as_str(), lines).await;
                return found.unwrap_or_else(|| self.not_here(unit));
            }
        };
        let done = match what {
            "status" => self.status(handle, unit, lines).await,
            _ if follows => self.follow(handle, unit, lines).await,
            _ => self.log(handle, unit, lines).await,
        };
        done.unwrap_or_else(|error| answer(ApiResponse::error(500, error.to_string())))
    }

    async fn status(
        &self,
        handle: &Handle,
        unit: &UnitName,
        lines: usize,
    ) -> Result<Response<Body>, DriveError> {
        let (name, me) = (unit.to_string(), self.me.to_string());
        let view = handle.with(move |driver| {
            let status = driver.status(&name)?;
            let service = status.service.as_ref();
            Some(StatusView {
                machine_id: me,
                description: status.description.clone(),
                load: status.load.to_string(),
                active: status.active.to_string(),
                sub: status.sub.clone(),
                problem: status.load_error.clone().or_else(|| service?.trouble.clone()),
                main_pid: service.and_then(|service| service.main_pid),
                main_exit: service.and_then(|service| service.main_exit.map(|exit| exit.to_string())),
                restarts: service.map_or(0, |service| service.restarts),
                status_text: service.and_then(|service| service.status_text.clone()),
                processes: driver.processes(&name),
                warnings: status.warnings.iter().map(ToString::to_string).collect(),
                log: driver.logs(&name, lines),
                name,
            })
        });
        let Some(view) = view.await? else { return Ok(self.not_here(unit)) };
        let body = serde_json::to_string(&view).unwrap_or_default();
        Ok(answer(ApiResponse { status: 200, body: Some(body) }))
    }

    fn not_here(&self, unit: &UnitName) -> Response<Body> {
        answer(ApiResponse::error(404, format!("{unit} is not on machine {}", self.me)))
    }

    // Of a unit that is not here no log is opened: anybody could have one opened for every name there is.
    async fn log(
        &self,
        handle: &Handle,
        unit: &UnitName,
        lines: usize,
    ) -> Result<Response<Body>, DriveError> {
        let name = unit.to_string();
        let asked = handle.with(move |driver| driver.status(&name).map(|_| driver.logs(&name, lines)));
        let Some(lines) = asked.await? else { return Ok(self.not_here(unit)) };
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        Ok(Response::new(full(text)))
    }

    async fn follow(
        &self,
        handle: &Handle,
        unit: &UnitName,
        lines: usize,
    ) -> Result<Response<Body>, DriveError> {
        let name = unit.to_string();
        let asked = handle.with(move |driver| driver.status(&name).map(|_| driver.follow(&name, lines)));
        let Some(follow) = asked.await? else { return Ok(self.not_here(unit)) };
        let lines = futures::stream::unfold(follow, |mut follow| async {
            let mut text = shown(follow.next().await?);
            // What else is there already goes with it.
            while text.len() < FRAME_BYTES {
                let Some(piece) = follow.try_next() else { break };
                text.push_str(&shown(piece));
            }
            Some((text, follow))
        });
        let frames = lines.map(|text| Ok(Frame::data(Bytes::from(text))));
        Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
    }

    async fn elsewhere(
        &self,
        what: &str,
        unit: &UnitName,
        request: &ApiRequest,
        machine: &MachineId,
        api: &str,
    ) -> Response<Body> {
        let bad = |text: String| answer(ApiResponse::error(502, text));
        if api.is_empty() {
            return bad(format!(
                "{unit} is on {machine}, which does not say where its API is\nhint: start its fleetd with --advertise-api, or ask it itself"
            ));
        }
        let mut path = format!("/fleet/v1/{what}/{unit}?machine={machine}");
        for key in ["lines", "follow"] {
            if let Some(value) = value(request, key).filter(|value| value.chars().all(char::is_alphanumeric))
            {
                path.push_str(&format!("&{key}={value}"));
            }
        }
        let place = match Place::parse(api) {
            Ok(place @ (Place::Tcp(_) | Place::Tls(_))) => place,
            _ => return bad(format!("{machine} says that its API is at {api:?}, which is no place")),
        };
        let asked = dial::open(&self.world, &place, &self.credentials, "GET", &path, Bytes::new());
        match timeout(&self.world, PATIENCE, asked).await {
            // The client was let in by us: it is not he who lacks something.
            Ok(Ok(response)) if [401, 403].contains(&response.status().as_u16()) => bad(format!(
                "{machine} at {api} does not let this machine in: {}\nhint: the fleetd of all machines need the same tokens, and certificates that each other's flags allow",
                response.status()
            )),
            Ok(Ok(response)) => response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()),
            Ok(Err(text)) => bad(format!("{machine} at {api}: {text}")),
            Err(elapsed) => bad(format!("{machine} at {api}: {elapsed}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_fleet::model::{self, MachineInfo, Unit, UnitState};
    use seatrial_fleet::unit::UnitFile;

    fn id(text: &str) -> MachineId {
        MachineId::parse(text).unwrap()
    }

    #[test]
    fn the_scheduled_machine_answers_and_of_several_ourselves() {
        let mut cluster = Cluster::default();
        for machine in ["m1", "m2"] {
            let info = MachineInfo { api: format!("{machine}:1"), ..MachineInfo::default() };
            cluster.machines.insert(id(machine), model::Machine { info, ..model::Machine::default() });
        }
        let (one, global) = (UnitName::parse("a.service").unwrap(), UnitName::parse("g.service").unwrap());
        let file = UnitFile::parse("[X-Fleet]\nGlobal=true\n").unwrap();
        cluster
            .units
            .insert(one.clone(), Unit { target: Some(id("m2")), ..Unit::new(&one, UnitFile::default()) });
        cluster.units.insert(global.clone(), Unit::new(&global, file));
        let me = id("m2");
        let of = |cluster: &Cluster, unit, asked| {
            machine_of(cluster, &me, unit, asked).map(|(id, api)| format!("{id} {api}"))
        };
        assert_eq!(of(&cluster, "a.service", None).unwrap(), "m2 m2:1");
        assert_eq!(of(&cluster, "a.service", Some("m1")).unwrap(), "m1 m1:1");
        assert_eq!(of(&cluster, "a.service", Some("m3")).unwrap_err(), "machine m3 is not there");
        assert_eq!(of(&cluster, "b.service", None).unwrap_err(), "unit does not exist");
        assert!(of(&cluster, "g.service", None).unwrap_err().starts_with("g.service is on no machine"));
        cluster.states.insert((global.clone(), id("m1")), UnitState::default());
        assert_eq!(of(&cluster, "g.service", None).unwrap(), "m1 m1:1");
        cluster.states.insert((global, id("m2")), UnitState::default());
        assert_eq!(of(&cluster, "g.service", None).unwrap(), "m2 m2:1");
    }
}
