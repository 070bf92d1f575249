//! Locks and elections of clients of the lab: the code of `client` that real clients run, over calls to members.
//!
//! Where a member waits on a client's behalf, as etcd's services Lock and Election have it, the same code asks that member
//! only.

use crate::calls::WatchId;
use crate::client::{Answer, LabClient, Said};
use crate::seats::client_url;
use crate::theatre::LabTheatre;
use futures::StreamExt;
use seatrial_client::{
    Client, ClientError, ClientOptions, Election, Endpoint, LockError, Mutex, Place, Store, WatchChannel,
};
use seatrial_scenario::theatre::{CallError, LeaderKey, Leaders, LockHeld, LockWish};
use seatrial_types::request::{DeleteRangeRequest, Header};
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, KeyRange, KeyValue, LeaseId, MemberId, Request, Response, Revision};
use std::time::Duration;

/// The way of one client to one member.
#[derive(Clone)]
pub(crate) struct LabEndpoint {
    theatre: LabTheatre,
    client: u32,
    member: MemberId,
    address: String,
}

impl Endpoint for LabEndpoint {
    type Watch = LabChannel;

    fn address(&self) -> &str {
        &self.address
    }

    async fn call(&self, request: Request, timeout: Duration) -> Result<Response, ClientError> {
        let call = self.theatre.shared().lab.ask(self.client, self.member, request, timeout);
        let answer = Answer::new(self.theatre.clone(), call).await;
        answer.map_err(|CallError { error, ambiguous }| ClientError { error, ambiguous })
    }

    fn watch(&self) -> LabChannel {
        let id = self.theatre.shared().lab.watch(self.client, self.member);
        LabChannel { theatre: self.theatre.clone(), id }
    }
}

/// A watch stream to one member.
pub(crate) struct LabChannel {
    theatre: LabTheatre,
    id: WatchId,
}

impl WatchChannel for LabChannel {
    fn send(&mut self, request: WatchRequest) {
        self.theatre.shared().lab.watch_ask(self.id, request);
    }

    async fn next(&mut self) -> Result<WatchResponse, ClientError> {
        let said = Said::new(&self.theatre, self.id).await;
        said.ok_or_else(|| ClientError::unreachable("the stream has ended"))
    }
}

impl Drop for LabChannel {
    fn drop(&mut self) {
        self.theatre.shared().close_stream(self.id);
    }
}

/// The store as clients of the lab have it.
type LabStore = Client<LabTheatre, LabEndpoint>;

fn failed(error: ClientError) -> CallError {
    CallError { error: error.error, ambiguous: error.ambiguous }
}

fn refused(error: LockError) -> CallError {
    match error {
        LockError::Client(error) => failed(error),
        error => CallError { error: Error::Other(Code::Unknown, error.to_string()), ambiguous: true },
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn place_of(leader: &LeaderKey) -> Place {
    Place {
        key: leader.key.clone().into(),
        revision: Revision(leader.revision),
        lease: leader.lease,
        header: Header::default(),
    }
}

impl LabClient {
    fn store(&self, members: impl IntoIterator<Item = MemberId>, timeout: Duration) -> LabStore {
        let endpoints = members.into_iter().map(|member| LabEndpoint {
            theatre: self.theatre.clone(),
            client: self.machine,
            member,
            address: client_url(member),
        });
        let options = ClientOptions { request_timeout: timeout, ..ClientOptions::default() };
        Client::new(self.theatre.clone(), endpoints.collect(), options)
    }

    /// As a service of this member has it.
    fn at(&self, member: MemberId, timeout: Duration) -> LabStore {
        self.store([member], timeout)
    }

    async fn within<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, LockError>> + Send,
    ) -> Result<T, CallError> {
        match seatrial_world::timeout(&self.theatre, timeout, work).await {
            Ok(done) => done.map_err(refused),
            Err(_) => Err(failed(ClientError::deadline(true))),
        }
    }

    pub(crate) async fn take_lock(
        &self,
        member: MemberId,
        wish: LockWish,
        timeout: Duration,
    ) -> Result<LockHeld, CallError> {
        let LockWish { name, lease, by_member } = wish;
        let store =
            if by_member { self.at(member, timeout) } else { self.store(self.theatre.machines(), timeout) };
        let lock = Mutex::new(store, name.as_bytes(), lease);
        let place = self.within(timeout, lock.lock()).await?;
        Ok(LockHeld { key: text(&place.key), revision: place.header.revision.0 })
    }

    pub(crate) async fn free_lock(
        &self,
        member: MemberId,
        key: String,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let delete = DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false };
        self.at(member, timeout).delete_range(delete).await.map(|_| ()).map_err(failed)
    }

    pub(crate) async fn stand(
        &self,
        member: MemberId,
        name: String,
        lease: LeaseId,
        value: String,
        timeout: Duration,
    ) -> Result<LeaderKey, CallError> {
        let election = Election::new(self.at(member, timeout), name.as_bytes());
        let place = self.within(timeout, election.campaign(lease, value.into())).await?;
        Ok(LeaderKey { name, key: text(&place.key), revision: place.revision.0, lease })
    }

    pub(crate) async fn say(
        &self,
        member: MemberId,
        leader: LeaderKey,
        value: String,
        timeout: Duration,
    ) -> Result<i64, CallError> {
        let election = Election::new(self.at(member, timeout), leader.name.as_bytes());
        let header = self.within(timeout, election.proclaim(&place_of(&leader), value.into())).await?;
        Ok(header.revision.0)
    }

    pub(crate) async fn step_down(
        &self,
        member: MemberId,
        leader: LeaderKey,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let election = Election::new(self.at(member, timeout), leader.name.as_bytes());
        election.resign(&place_of(&leader)).await.map(|_| ()).map_err(failed)
    }

    pub(crate) async fn who_leads(
        &self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> Result<(i64, KeyValue), CallError> {
        let election = Election::new(self.at(member, timeout), name.as_bytes());
        let (header, kv) = self.within(timeout, election.leader()).await?;
        Ok((header.revision.0, kv))
    }

    pub(crate) fn follow(&self, member: MemberId, name: &str, timeout: Duration) -> Leaders {
        let observer = Election::new(self.at(member, timeout), name.as_bytes()).observe();
        futures::stream::unfold(observer, |mut observer| async move {
            let (header, kv) = observer.next().await.ok()?;
            Some(((header.revision.0, kv), observer))
        })
        .boxed()
    }
}
