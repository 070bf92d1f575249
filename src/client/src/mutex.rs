//! A lock among the clients of a cluster.

use crate::error::ClientError;
use crate::queue::{self, LockError, Place};
use crate::store::Store;
use bytes::Bytes;
use seatrial_types::LeaseId;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::Header;

/// A lock that at most one lease holds: a queue of keys below `name/` (etcd: `concurrency.Mutex`; both understand each
/// other's keys).
///
/// The lease decides how long a holder that is gone stays in the way; whoever holds a lock for longer keeps it alive with
/// [`crate::keep_alive`]. A holder whose lease has ended does not hear of it in time: what it writes then must be fenced,
/// with [`Place::is_ours`] in the store itself, and with [`Place::revision`] elsewhere.
///
/// Two locks of the same name and lease are the same lock, and one lease can take it twice.
#[derive(Clone, Debug)]
pub struct Mutex<S> {
    store: S,
    prefix: Bytes,
    lease: LeaseId,
}

impl<S: Store> Mutex<S> {
    /// The lock of this name, to be taken for this lease.
    #[must_use]
    pub fn new(store: S, name: &[u8], lease: LeaseId) -> Self {
        Self { store, prefix: queue::prefix(name), lease }
    }

    /// Waits until the lock is ours.
    ///
    /// Dropping the future leaves our key in the queue, or the lock taken: a later call with the same lease finds it, and
    /// the end of the lease removes it. Those who want to give up a wait do it with [`Mutex::join`] and [`Mutex::wait`].
    ///
    /// # Errors
    /// [`LockError::SessionExpired`] where our key was gone when our turn came, and whatever the store says; the place in
    /// the queue is given up then. An ambiguous error of the store may leave our key behind; another call with the
    /// same lease is safe.
    pub async fn lock(&self) -> Result<Place, LockError> {
        match self.join().await? {
            (place, true) => Ok(place),
            (place, false) => match self.wait(&place).await {
                Ok(header) => Ok(Place { header, ..place }),
                Err(LockError::SessionExpired) => Err(LockError::SessionExpired),
                Err(error) => {
                    // What it says is of less interest than why we leave.
                    let _ = self.unlock(&place).await;
                    Err(error)
                }
            },
        }
    }

    /// Takes the lock only if it is free.
    ///
    /// # Errors
    /// [`LockError::Locked`], and whatever the store says.
    pub async fn try_lock(&self) -> Result<Place, LockError> {
        match self.join().await? {
            (place, true) => Ok(place),
            (place, false) => {
                self.unlock(&place).await?;
                Err(LockError::Locked)
            }
        }
    }

    /// Joins the queue without waiting; `true`: the lock is ours.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn join(&self) -> Result<(Place, bool), LockError> {
        let joined = queue::join(&self.store, &self.prefix, self.lease, Bytes::new()).await?;
        Ok((joined.place, joined.first))
    }

    /// Waits until the lock is ours, with a place that was not the first. Dropping the future keeps the place.
    ///
    /// # Errors
    /// As [`Mutex::lock`], but the place is kept.
    pub async fn wait(&self, place: &Place) -> Result<Header, LockError> {
        let free = queue::wait(&self.store, &self.prefix, place).await?;
        if is_planted(Planted::K01) {
            return Ok(free);
        }
        // Our own key may have gone before those it waited for.
        let own = queue::read(&self.store, place).await?;
        if own.kvs.is_empty() { Err(LockError::SessionExpired) } else { Ok(own.header) }
    }

    /// Gives the lock back, or leaves the queue.
    ///
    /// # Errors
    /// Whatever the store says. Doing it twice does no harm.
    pub async fn unlock(&self, place: &Place) -> Result<Header, ClientError> {
        queue::leave(&self.store, place.key.clone()).await
    }
}
