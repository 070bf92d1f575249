//! The election service: what our client does in elections, done on a caller's behalf and in the caller's name.

use super::in_process::InProcess;
use super::lock::{Queues, failed, lease_of};
use super::{Phase, reached};
use futures::Stream;
use seatrial_client::{Election, Observer, Place};
use seatrial_etcd::Ask;
use seatrial_proto::v3electionpb as pb;
use seatrial_types::request::Header;
use seatrial_types::{Error, KeyValue, LeaseId, Revision};
use std::pin::Pin;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<A: Ask> pb::election_server::Election for Queues<A> {
    async fn campaign(&self, request: Request<pb::CampaignRequest>) -> Answer<pb::CampaignResponse> {
        let store = self.store(&request);
        let pb::CampaignRequest { name, lease, value } = request.into_inner();
        let election = Election::new(store.clone(), &name);
        let place = election.stand(lease_of(&store, lease).await?, value).await.map_err(failed)?;
        let (leaving, left) = (election.clone(), place.clone());
        let leave = async move {
            if let Err(error) = leaving.resign(&left).await {
                tracing::debug!(%error, "could not take a candidacy back; its lease will");
            }
        };
        // As in etcd, a candidacy stands after an error.
        self.wait(election.wait(&place), leave).await.map_err(failed)?;
        let Place { key, revision, lease, header } = place;
        let leader = pb::LeaderKey { name, key, rev: revision.0, lease: lease.0 };
        Ok(Response::new(pb::CampaignResponse { header: Some(header.into()), leader: Some(leader) }))
    }

    async fn proclaim(&self, request: Request<pb::ProclaimRequest>) -> Answer<pb::ProclaimResponse> {
        let store = self.store(&request);
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or_else(no_leader_key)?;
        let lease = lease_of(&store, leader.lease).await?;
        let (election, place) = resumed(store, leader);
        let header = election.proclaim(&Place { lease, ..place }, value).await.map_err(failed)?;
        Ok(Response::new(pb::ProclaimResponse { header: Some(header.into()) }))
    }

    async fn leader(&self, request: Request<pb::LeaderRequest>) -> Answer<pb::LeaderResponse> {
        let election = Election::new(self.store(&request), &request.get_ref().name);
        Ok(Response::new(leads(election.leader().await.map_err(failed)?)))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<pb::LeaderResponse, Status>> + Send>>;

    async fn observe(&self, request: Request<pb::LeaderRequest>) -> Answer<Self::ObserveStream> {
        let observer = Election::new(self.store(&request), &request.get_ref().name).observe();
        let news = futures::stream::unfold(Some((observer, self.phases())), |state| async move {
            let (mut observer, mut phases): (Observer<InProcess<A>>, _) = state?;
            tokio::select! {
                biased;
                () = reached(&mut phases, Phase::Draining) => Some((Err(failed(Error::Stopped)), None)),
                news = observer.next() => Some(match news {
                    Ok(news) => (Ok(leads(news)), Some((observer, phases))),
                    Err(error) => (Err(failed(error)), None),
                }),
            }
        });
        Ok(Response::new(Box::pin(news)))
    }

    async fn resign(&self, request: Request<pb::ResignRequest>) -> Answer<pb::ResignResponse> {
        let store = self.store(&request);
        let leader = request.into_inner().leader.ok_or_else(no_leader_key)?;
        let (election, place) = resumed(store, leader);
        let header = election.resign(&place).await.map_err(failed)?;
        Ok(Response::new(pb::ResignResponse { header: Some(header.into()) }))
    }
}

fn no_leader_key() -> Status {
    failed("\"leader\" field must be provided")
}

/// A leadership that was won in an earlier call.
fn resumed<A: Ask>(store: InProcess<A>, leader: pb::LeaderKey) -> (Election<InProcess<A>>, Place) {
    let pb::LeaderKey { name, key, rev, lease } = leader;
    let place = Place { key, revision: Revision(rev), lease: LeaseId(lease), header: Header::default() };
    (Election::new(store, &name), place)
}

fn leads((header, kv): (Header, KeyValue)) -> pb::LeaderResponse {
    pb::LeaderResponse { header: Some(header.into()), kv: Some(kv.into()) }
}
