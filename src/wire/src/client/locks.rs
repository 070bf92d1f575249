//! The lock service as its clients see it: a member forms the queue on the caller's behalf.

use super::endpoint::GrpcEndpoint;
use bytes::Bytes;
use seatrial_client::ClientError;
use seatrial_proto::v3lockpb as pb;
use seatrial_proto::v3lockpb::lock_client::LockClient;
use seatrial_types::LeaseId;
use seatrial_types::request::{DeleteRangeRequest, Header, Request};
use seatrial_world::World;
use std::time::Duration;

impl<W: World> GrpcEndpoint<W> {
    /// Waits at this member until the lock is the lease's; answers with the key that shows it.
    ///
    /// # Errors
    /// Where it did not come to that in time, or the member refused. The place in the queue may stay behind.
    pub async fn lock(
        &self,
        name: Bytes,
        lease: LeaseId,
        timeout: Duration,
    ) -> Result<(Bytes, Header), ClientError> {
        let message = pb::LockRequest { name, lease: lease.0 };
        let answer = self.queued(message, timeout, |mut client, message| async move {
            client.lock(message).await.map(tonic::Response::into_inner)
        });
        let answer = answer.await?;
        Ok((answer.key, answer.header.unwrap_or_default().into()))
    }

    /// Gives a lock back.
    ///
    /// # Errors
    /// Where the member refused or could not be asked.
    pub async fn unlock(&self, key: Bytes, timeout: Duration) -> Result<Header, ClientError> {
        let message = pb::UnlockRequest { key };
        let answer = self.queued(message, timeout, |mut client, message| async move {
            client.unlock(message).await.map(tonic::Response::into_inner)
        });
        Ok(answer.await?.header.unwrap_or_default().into())
    }

    /// One call of the service; its time is kept here too, for a member may have lost its connection to us.
    async fn queued<M, A, F>(
        &self,
        message: M,
        timeout: Duration,
        call: impl FnOnce(LockClient<super::Channel<W>>, tonic::Request<M>) -> F,
    ) -> Result<A, ClientError>
    where
        F: Future<Output = Result<A, tonic::Status>>,
    {
        // What changes in the store is a key, as with a deletion.
        let like = Request::DeleteRange(DeleteRangeRequest::default());
        self.within(message, timeout, &like, |message| call(LockClient::new(self.channel().clone()), message))
            .await
    }
}
