//! Keeping a lease alive.

use crate::error::ClientError;
use crate::store::Store;
use seatrial_types::request::LeaseKeepAliveResponse;
use seatrial_types::{Error, LeaseId};
use seatrial_world::World;
use std::time::Duration;

/// Keeps a lease alive until it is gone: asks three times per time to live, and tells `each` every answer.
/// Dropping the future stops it.
///
/// Returns why it ended: [`Error::LeaseNotFound`] where the lease is gone, or the last failure once a whole
/// time to live has passed without an answer (the lease may be gone by then).
pub async fn keep_alive<W, S>(
    world: &W,
    store: &S,
    lease: LeaseId,
    mut each: impl FnMut(&LeaseKeepAliveResponse) + Send,
) -> ClientError
where
    W: World,
    S: Store,
{
    // Not known before the first answer; then what the lease was granted.
    let mut ttl = Duration::from_secs(2);
    let mut alive_until = world.now() + ttl;
    loop {
        let asked = world.now();
        match store.lease_keep_alive(lease).await {
            Ok(response) if response.ttl_seconds <= 0 => {
                each(&response);
                return ClientError::certain(Error::LeaseNotFound);
            }
            Ok(response) => {
                each(&response);
                ttl = Duration::from_secs(response.ttl_seconds.unsigned_abs());
                // Counted from the question: the member's clock started no later than the answer.
                alive_until = asked + ttl;
                world.sleep_until(asked + ttl / 3).await;
            }
            Err(error) => {
                if !error.is_unavailable() || world.now() >= alive_until {
                    return error;
                }
                world.sleep(ttl / 10).await;
            }
        }
    }
}
