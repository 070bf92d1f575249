//! The lock service: what our client does to take a lock, done on a caller's behalf and in the caller's name.

use super::auth::service_for;
use super::background::Background;
use super::in_process::InProcess;
use super::phases as watch;
use super::{Phase, reached};
use seatrial_client::{ClientError, LockError, Mutex, Place, Store};
use seatrial_etcd::{Ask, EtcdService};
use seatrial_proto::v3lockpb as pb;
use seatrial_types::request::LeaseGrantRequest;
use seatrial_types::{Error, LeaseId};
use tonic::{Request, Response, Status};

/// Lifetime of the lease that a caller without one is given, as in etcd. Nobody keeps it alive.
const TTL_SECONDS: i64 = 60;

/// What the services for locks and elections hold.
pub(super) struct Queues<A> {
    service: EtcdService<A>,
    background: Background,
    phases: watch::Receiver<Phase>,
}

impl<A: Ask> Queues<A> {
    pub(super) fn new(
        service: EtcdService<A>,
        background: Background,
        phases: watch::Receiver<Phase>,
    ) -> Self {
        Self { service, background, phases }
    }

    /// The store, asked in the name of whoever makes this call.
    pub(super) fn store<T>(&self, request: &Request<T>) -> InProcess<A> {
        InProcess(service_for(&self.service, request))
    }

    pub(super) fn phases(&self) -> watch::Receiver<Phase> {
        self.phases.clone()
    }

    /// Waits; a server that ends does not wait any longer, and then everything is left as it is: the caller, who may ask
    /// another member with the same lease, finds its place again. A call that is given up, because its client has gone
    /// away or its time is over, leaves the queue, as in etcd.
    pub(super) async fn wait<T, L>(
        &self,
        waiting: impl Future<Output = Result<T, LockError>>,
        leave: L,
    ) -> Result<T, LockError>
    where
        L: Future<Output = ()> + Send + 'static,
    {
        let mut phases = self.phases.clone();
        let mut given_up = self.background.on_drop(leave);
        let waited = tokio::select! {
            biased;
            waited = waiting => waited,
            () = reached(&mut phases, Phase::Draining) => Err(ClientError::certain(Error::Stopped).into()),
        };
        given_up.forget();
        waited
    }
}

/// The lease, or a new one for a caller who has none.
pub(super) async fn lease_of<S: Store>(store: &S, lease: i64) -> Result<LeaseId, Status> {
    if lease != 0 {
        return Ok(LeaseId(lease));
    }
    let request = LeaseGrantRequest { ttl_seconds: TTL_SECONDS, ..LeaseGrantRequest::default() };
    Ok(store.lease_grant(request).await.map_err(failed)?.id)
}

/// These services of etcd are clients, whose errors have lost their code: all arrive as `Unknown`.
pub(super) fn failed(error: impl ToString) -> Status {
    Status::unknown(error.to_string())
}

#[tonic::async_trait]
impl<A: Ask> pb::lock_server::Lock for Queues<A> {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let store = self.store(&request);
        let pb::LockRequest { name, lease } = request.into_inner();
        let mutex = Mutex::new(store.clone(), &name, lease_of(&store, lease).await?);
        let (place, ours) = mutex.join().await.map_err(failed)?;
        if ours {
            return Ok(held(place));
        }
        let waited = self.wait(mutex.wait(&place), left(mutex.clone(), place.clone())).await;
        let error = match waited {
            Ok(header) => return Ok(held(Place { header, ..place })),
            Err(error) => error,
        };
        let stopped = matches!(&error, LockError::Client(error) if error.error == Error::Stopped);
        if !stopped && error != LockError::SessionExpired {
            // Before the caller hears of it, who may come again at once, with the same lease and thus the same key.
            left(mutex, place).await;
        }
        Err(failed(error))
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let store = self.store(&request);
        let range = seatrial_types::KeyRange::single(request.into_inner().key);
        let delete = seatrial_types::request::DeleteRangeRequest { range, prev_kv: false };
        let header = store.delete_range(delete).await.map_err(failed)?.header;
        Ok(Response::new(pb::UnlockResponse { header: Some(header.into()) }))
    }
}

/// Leaves the queue.
async fn left<S: Store>(mutex: Mutex<S>, place: Place) {
    if let Err(error) = mutex.unlock(&place).await {
        tracing::debug!(%error, "could not leave the queue for a lock; its lease will");
    }
}

fn held(place: Place) -> Response<pb::LockResponse> {
    Response::new(pb::LockResponse { header: Some(place.header.into()), key: place.key })
}
