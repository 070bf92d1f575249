//! The lease of a machine: granted, registered, kept alive, and granted anew when it is gone.

use crate::duty::Held;
use crate::model::MachineInfo;
use crate::registry::agent::register;
use crate::unit::MachineId;
use seatrial_client::Store;
use seatrial_types::request::LeaseGrantRequest;
use seatrial_types::{Error, LeaseId};
use seatrial_world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Renewals within the time to live. Leases of machines that die together end this much apart, so that the more there are,
/// the sooner it is known who was lost with whom.
const RENEWALS: u32 = 10;

pub(super) struct Keeper<W, S> {
    pub(super) world: W,
    pub(super) store: S,
    pub(super) me: MachineId,
    pub(super) info: MachineInfo,
    pub(super) ttl: Duration,
    /// Somebody has taken our key away while the lease lives: it is to be written again.
    pub(super) again: Arc<AtomicBool>,
    /// Counts what did not work. Nobody is waked for it.
    pub(super) missed: Arc<AtomicU64>,
}

impl<W: World, S: Store> Keeper<W, S> {
    /// Never ends but with the channel.
    pub(super) async fn run(self, news: mpsc::UnboundedSender<Held>) {
        let mut held: Option<Held> = None;
        loop {
            let asked = self.world.now();
            let next = match held {
                Some(known) if !self.again.swap(false, Ordering::Relaxed) => self.renew(known, asked).await,
                // A new lease takes the machine's key over from an old one, so that it is never missed between them.
                known => self.begin(known.map(|held| held.lease), asked).await,
            };
            if !matches!(next, Next::Held(_)) {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
            match next {
                Next::Held(now) => {
                    held = Some(now);
                    if news.send(now).is_err() {
                        return;
                    }
                    self.world.sleep_until(asked + self.ttl / RENEWALS).await;
                }
                Next::Gone => held = None,
                Next::Retry => self.world.sleep(self.ttl / 20).await,
            }
        }
    }

    async fn begin(&self, lease: Option<LeaseId>, asked: Duration) -> Next {
        let lease = match lease {
            Some(lease) => lease,
            None => {
                let ttl_seconds = i64::try_from(self.ttl.as_secs().max(1)).unwrap_or(i64::MAX);
                let grant = LeaseGrantRequest { ttl_seconds, ..LeaseGrantRequest::default() };
                match self.store.lease_grant(grant).await {
                    Ok(granted) => granted.id,
                    Err(error) => {
                        tracing::debug!(%error, "no lease for the machine yet");
                        return Next::Retry;
                    }
                }
            }
        };
        match self.store.txn(register(&self.me, &self.info, lease)).await {
            Ok(answer) => {
                Next::Held(Held { lease, until: asked + self.ttl, registered: answer.header.revision })
            }
            Err(error) => {
                tracing::debug!(%error, "could not register the machine");
                // What was granted in vain runs out by itself.
                if error.error == Error::LeaseNotFound { Next::Gone } else { Next::Retry }
            }
        }
    }

    async fn renew(&self, known: Held, asked: Duration) -> Next {
        match self.store.lease_keep_alive(known.lease).await {
            Ok(answer) if answer.ttl_seconds > 0 => {
                let ttl = Duration::from_secs(answer.ttl_seconds.unsigned_abs()).min(self.ttl);
                Next::Held(Held { until: asked + ttl, ..known })
            }
            Ok(_) => Next::Gone,
            Err(error) if error.error == Error::LeaseNotFound => Next::Gone,
            // The lease is not given up: the store may have stood still, and its leases with it.
            Err(error) => {
                tracing::debug!(%error, "could not renew the machine's lease");
                Next::Retry
            }
        }
    }
}

enum Next {
    Held(Held),
    /// There is no such lease any more.
    Gone,
    Retry,
}
