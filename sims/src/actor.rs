//! A client on a simulated machine of its own: real gRPC over simulated connections.

use crate::member::{CLIENT_PORT, host};
use seatrial_client::{Endpoint, WatchChannel};
use seatrial_scenario::theatre::{CallError, Client, Watch};
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, MemberId, Request, Response};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, GrpcWatch};
use seatrial_world_sim::SimWorld;
use std::collections::BTreeMap;
use std::time::Duration;

/// A client. Keeps one connection to each member it has asked.
pub struct SimClient {
    world: SimWorld,
    endpoints: BTreeMap<MemberId, GrpcEndpoint<SimWorld>>,
}

impl SimClient {
    pub(crate) fn new(world: SimWorld) -> Self {
        Self { world, endpoints: BTreeMap::new() }
    }

    fn endpoint(&mut self, member: MemberId) -> &GrpcEndpoint<SimWorld> {
        let world = &self.world;
        self.endpoints.entry(member).or_insert_with(|| {
            // Short pauses: a client that rests for long after an outage sees little of what follows it.
            let options = ChannelOptions {
                connect_timeout: Duration::from_secs(1),
                backoff_max: Duration::from_millis(200),
                ..ChannelOptions::default()
            };
            let address = format!("http://{}:{CLIENT_PORT}", host(member));
            GrpcEndpoint::new(world.clone(), &address, options).expect("a well-formed address")
        })
    }
}

impl Client for SimClient {
    type Watch = SimWatch;

    async fn call(
        &mut self,
        member: MemberId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let endpoint = self.endpoint(member).clone();
        let answer = endpoint.call(request, timeout).await;
        answer.map_err(|error| CallError { error: error.error, ambiguous: error.ambiguous })
    }

    async fn watch(
        &mut self,
        member: MemberId,
        create: WatchCreate,
        timeout: Duration,
    ) -> Result<SimWatch, CallError> {
        let mut stream = self.endpoint(member).watch();
        stream.send(WatchRequest::Create(create));
        // The first answer says that the watch stands; without one in time there is none.
        let first = seatrial_world::timeout(&self.world, timeout, stream.next()).await;
        match first {
            Ok(Ok(said)) => Ok(SimWatch { stream, first: Some(said) }),
            Ok(Err(error)) => Err(CallError { error: error.error, ambiguous: false }),
            Err(_) => {
                let error = Error::Other(Code::DeadlineExceeded, "the watch was not answered".to_owned());
                Err(CallError { error, ambiguous: false })
            }
        }
    }
}

/// A client's open watch.
pub struct SimWatch {
    stream: GrpcWatch,
    first: Option<WatchResponse>,
}

impl Watch for SimWatch {
    async fn next(&mut self) -> Option<WatchResponse> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        self.stream.next().await.ok()
    }

    fn ask_progress(&mut self) {
        self.stream.send(WatchRequest::Progress);
    }
}
