//! A future with a limit of time.

use crate::World;
use std::future::Future;
use std::time::Duration;

/// The time ran out before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("not done after {limit:?}")]
pub struct Elapsed {
    /// How long it was given.
    pub limit: Duration,
}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed.to_string())
    }
}

/// Waits for `future`, but no longer than `limit`; then the future is dropped. A future that is ready at the
/// very moment in which the time runs out wins.
///
/// # Errors
/// [`Elapsed`].
pub async fn timeout<W: World, F: Future>(
    world: &W,
    limit: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    // The deadline counts from the first poll of the future: that is when it begins to do something.
    let deadline = world.now() + limit;
    timeout_at(world, deadline, future).await.map_err(|_| Elapsed { limit })
}

/// As [`timeout`], with a deadline on the scale of [`World::now`].
///
/// # Errors
/// [`Elapsed`], with the time that was left at the beginning.
pub async fn timeout_at<W: World, F: Future>(
    world: &W,
    deadline: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let limit = deadline.saturating_sub(world.now());
    // Biased, for an unbiased select rolls dice which no seed controls.
    tokio::select! {
        biased;
        value = future => Ok(value),
        () = world.sleep_until(deadline) => Err(Elapsed { limit }),
    }
}
