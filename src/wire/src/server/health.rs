//! gRPC's health protocol: the server serves from its start until it ends.

use super::{Phase, phases as watch, reached};
use futures::Stream;
use seatrial_proto::health as pb;
use std::pin::Pin;
use tonic::{Request, Response, Status};

use pb::health_check_response::ServingStatus;

/// The service.
pub(super) struct Health {
    phases: watch::Receiver<Phase>,
}

impl Health {
    pub(super) fn new(phases: watch::Receiver<Phase>) -> Self {
        Self { phases }
    }

    fn status(&self) -> ServingStatus {
        if self.phases.get() == Phase::Serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

fn answer(status: ServingStatus) -> pb::HealthCheckResponse {
    pb::HealthCheckResponse { status: status.into() }
}

/// As in etcd, only the server as a whole is known, by the empty name.
fn is_known(service: &str) -> bool {
    service.is_empty()
}

#[tonic::async_trait]
impl pb::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(self.status())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let news = match is_known(&request.get_ref().service) {
            true => Some(self.status()),
            false => Some(ServingStatus::ServiceUnknown),
        };
        // The state now, and the end of the server: nothing else changes it.
        let state = (news, self.phases.clone());
        let news = futures::stream::unfold(state, |(news, mut phases)| async move {
            match news {
                Some(status) => Some((Ok(answer(status)), (None, phases))),
                None => {
                    reached(&mut phases, Phase::Draining).await;
                    None
                }
            }
        });
        Ok(Response::new(Box::pin(news)))
    }
}
