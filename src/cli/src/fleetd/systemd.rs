//! The units of this machine as systemd's: what is asked of them over HTTP.

use super::here::StatusView;
use super::http::{Body, answer, full};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use seatrial_fleet::api::ApiResponse;
use seatrial_fleet::unit::UnitName;
use seatrial_systemd::{Instance, Journal, Options, SystemdError, SystemdManager};
use seatrial_world_real::RealWorld;

/// Runs units by systemd, and reads what they write. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SystemdUnits {
    pub(crate) manager: SystemdManager<RealWorld>,
    journal: Journal,
}

fn refused(error: &SystemdError) -> Response<Body> {
    let status = match error {
        SystemdError::TooMany { .. } | SystemdError::Away { .. } | SystemdError::Waiting { .. } => 503,
        _ => 500,
    };
    answer(ApiResponse::error(status, error.to_string()))
}

impl SystemdUnits {
    pub(super) async fn open(
        world: RealWorld,
        options: Options,
        instance: Instance,
    ) -> Result<Self, SystemdError> {
        let manager = SystemdManager::open(world, options).await?;
        Ok(Self { manager, journal: Journal::new(instance) })
    }

    /// How a unit does; nothing where it is not here.
    pub(super) async fn status(
        &self,
        unit: &UnitName,
        machine: &str,
        lines: usize,
    ) -> Result<Option<StatusView>, SystemdError> {
        let Some(details) = self.manager.details(unit).await? else { return Ok(None) };
        // A machine whose journal cannot be read can say the rest.
        let (log, warnings) = match self.journal.read(unit, lines).await {
            Ok(log) => (log.lines().map(str::to_owned).collect(), Vec::new()),
            Err(error) => (Vec::new(), vec![error.problem()]),
        };
        Ok(Some(StatusView {
            name: unit.to_string(),
            machine_id: machine.to_owned(),
            description: details.description,
            load: details.load,
            active: details.active,
            sub: details.sub,
            problem: details.problem,
            main_pid: details.main_pid,
            main_exit: details.main_exit,
            restarts: details.restarts,
            status_text: details.status_text,
            processes: details.processes,
            warnings,
            log,
        }))
    }

    /// What is asked of a unit here; nothing where it is not here.
    pub(super) async fn respond(
        &self,
        what: &str,
        follows: bool,
        unit: &UnitName,
        machine: &str,
        lines: usize,
    ) -> Option<Response<Body>> {
        if what == "status" {
            return match self.status(unit, machine, lines).await {
                Ok(view) => {
                    let body = serde_json::to_string(&view?).unwrap_or_default();
                    Some(answer(ApiResponse { status: 200, body: Some(body) }))
                }
                Err(error) => Some(refused(&error)),
            };
        }
        // Of a unit that is not here no journal is read: anybody could have that of every service of the machine.
        match self.manager.names() {
            Ok(names) if names.contains(unit) => {}
            Ok(_) => return None,
            Err(error) => return Some(refused(&error)),
        }
        if !follows {
            let read = self.journal.read(unit, lines).await;
            return Some(read.map_or_else(|error| refused(&error), |text| Response::new(full(text))));
        }
        let follow = match self.journal.follow(unit, lines) {
            Ok(follow) => follow,
            Err(error) => return Some(refused(&error)),
        };
        let chunks = futures::stream::unfold(follow, |mut follow| async {
            let chunk = follow.next().await?;
            Some((Ok(Frame::data(Bytes::from(chunk))), follow))
        });
        Some(Response::new(StreamBody::new(chunks).boxed_unsync()))
    }
}
