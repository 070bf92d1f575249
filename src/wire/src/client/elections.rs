//! The election service as its clients see it: a member stands for election on the caller's behalf.

use super::endpoint::GrpcEndpoint;
use crate::status::error_of_status;
use bytes::Bytes;
use seatrial_client::ClientError;
use seatrial_proto::v3electionpb as pb;
use seatrial_proto::v3electionpb::election_client::ElectionClient;
use seatrial_types::request::{DeleteRangeRequest, Header, RangeRequest, Request};
use seatrial_types::{Code, Error, KeyValue, LeaseId, Revision};
use seatrial_world::World;
use std::time::Duration;
use tonic::Streaming;

/// A leadership that was won: what shows it to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The election.
    pub name: Bytes,
    /// The leader's key.
    pub key: Bytes,
    /// The revision that created it.
    pub revision: Revision,
    /// Its lease.
    pub lease: LeaseId,
}

impl From<Leadership> for pb::LeaderKey {
    fn from(leads: Leadership) -> Self {
        Self { name: leads.name, key: leads.key, rev: leads.revision.0, lease: leads.lease.0 }
    }
}

/// An answer without what must be in it.
fn odd(like: &Request) -> ClientError {
    ClientError::unknown(Error::Other(Code::Internal, "the answer names no leader".to_owned()), like)
}

impl<W: World> GrpcEndpoint<W> {
    /// Waits at this member until the lease leads, with this value.
    ///
    /// # Errors
    /// Where it did not come to that in time, or the member refused. The candidacy may stand all the same.
    pub async fn campaign(
        &self,
        name: Bytes,
        lease: LeaseId,
        value: Bytes,
        timeout: Duration,
    ) -> Result<Leadership, ClientError> {
        let like = writes();
        let message = pb::CampaignRequest { name, lease: lease.0, value };
        let answer = self.within(message, timeout, &like, |message| {
            let mut client = ElectionClient::new(self.channel().clone());
            async move { client.campaign(message).await.map(tonic::Response::into_inner) }
        });
        let pb::LeaderKey { name, key, rev, lease } = answer.await?.leader.ok_or_else(|| odd(&like))?;
        Ok(Leadership { name, key, revision: Revision(rev), lease: LeaseId(lease) })
    }

    /// Changes the value of a candidacy or leadership.
    ///
    /// # Errors
    /// Where it is over, the member refused, or could not be asked.
    pub async fn proclaim(
        &self,
        leads: Leadership,
        value: Bytes,
        timeout: Duration,
    ) -> Result<Header, ClientError> {
        let like = writes();
        let message = pb::ProclaimRequest { leader: Some(leads.into()), value };
        let answer = self.within(message, timeout, &like, |message| {
            let mut client = ElectionClient::new(self.channel().clone());
            async move { client.proclaim(message).await.map(tonic::Response::into_inner) }
        });
        Ok(answer.await?.header.unwrap_or_default().into())
    }

    /// Ends a candidacy or leadership.
    ///
    /// # Errors
    /// Where the member refused or could not be asked.
    pub async fn resign(&self, leads: Leadership, timeout: Duration) -> Result<Header, ClientError> {
        let like = writes();
        let message = pb::ResignRequest { leader: Some(leads.into()) };
        let answer = self.within(message, timeout, &like, |message| {
            let mut client = ElectionClient::new(self.channel().clone());
            async move { client.resign(message).await.map(tonic::Response::into_inner) }
        });
        Ok(answer.await?.header.unwrap_or_default().into())
    }

    /// Who leads, by its key.
    ///
    /// # Errors
    /// Where nobody does, the member refused, or could not be asked.
    pub async fn leader(&self, name: Bytes, timeout: Duration) -> Result<(Header, KeyValue), ClientError> {
        let like = Request::Range(RangeRequest::default());
        let message = pb::LeaderRequest { name };
        let answer = self.within(message, timeout, &like, |message| {
            let mut client = ElectionClient::new(self.channel().clone());
            async move { client.leader(message).await.map(tonic::Response::into_inner) }
        });
        told(answer.await?).ok_or_else(|| odd(&like))
    }

    /// Follows the leaders and what they proclaim.
    ///
    /// # Errors
    /// Where the member could not be asked.
    pub async fn observe(&self, name: Bytes) -> Result<GrpcObserver, ClientError> {
        let message = self.signed(pb::LeaderRequest { name });
        let answer = ElectionClient::new(self.channel().clone()).observe(message).await;
        let answers = answer.map_err(|status| ClientError::certain(error_of_status(&status)))?;
        Ok(GrpcObserver { answers: answers.into_inner() })
    }
}

/// What changes in the store is a key, as with a deletion.
fn writes() -> Request {
    Request::DeleteRange(DeleteRangeRequest::default())
}

fn told(answer: pb::LeaderResponse) -> Option<(Header, KeyValue)> {
    Some((answer.header.unwrap_or_default().into(), answer.kv?.into()))
}

/// The leaders of an election, as one member tells them.
pub struct GrpcObserver {
    answers: Streaming<pb::LeaderResponse>,
}

impl GrpcObserver {
    /// The next leader or value; `None` once the stream has ended, for whatever reason. Cancel-safe.
    pub async fn next(&mut self) -> Option<(Header, KeyValue)> {
        told(self.answers.message().await.ok()??)
    }
}
