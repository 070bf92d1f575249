//! `hasleader`: calls that want a leader rather than wait for one.
//!
//! A call is refused where the member knows none; a stream ends when it has known none for a while, as in etcd, so that
//! its client can go to a member which has one.

use super::background::Background;
use super::deadline::Ending;
use super::phases as watch;
use crate::clock::{Clock, Nap};
use crate::status::status_of_error;
use http::HeaderMap;
use seatrial_etcd::{Ask, EtcdService};
use seatrial_types::{Error, MemberId};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::Status;

/// So many looks in a row must find no leader before streams end.
const LOOKS_MAX: u32 = 3;

/// Whether the call wants a leader.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get("hasleader").is_some_and(|value| value == "true")
}

/// Knows whether there is a leader. Looks for it only while a stream wants to know.
pub(super) struct Leadership<A> {
    service: EtcdService<A>,
    background: Background,
    clock: Clock,
    /// Between two looks; in etcd the time after which an election begins.
    interval: Duration,
    /// Whether the leader is lost; there while somebody looks.
    lost: Arc<Mutex<Option<watch::Receiver<bool>>>>,
}

impl<A: Ask> Leadership<A> {
    pub(super) fn new(
        service: EtcdService<A>,
        background: Background,
        clock: Clock,
        interval: Duration,
    ) -> Self {
        Self { service, background, clock, interval, lost: Arc::default() }
    }

    /// Whether the member knows a leader now.
    ///
    /// # Errors
    /// [`Error::NoLeader`], as clients are told.
    pub(super) async fn check(&self) -> Result<(), Status> {
        if has_leader(&self.service).await { Ok(()) } else { Err(status_of_error(&Error::NoLeader)) }
    }

    /// The end that a stream comes to when the leader is lost.
    pub(super) fn ending(&self) -> Ending {
        let mut lost = self.subscribe();
        let nap: Nap = Box::pin(async move { lost.wait_for(|lost| *lost).await });
        Ending { when: nap, status: status_of_error(&Error::NoLeader) }
    }

    fn subscribe(&self) -> watch::Receiver<bool> {
        let mut lost = self.lost.lock().expect("no holder panics");
        if let Some(lost) = &*lost {
            return lost.clone();
        }
        let (tell, told) = watch::channel(false);
        *lost = Some(told.clone());
        let (service, clock, interval) = (self.service.clone(), self.clock.clone(), self.interval);
        let shared = self.lost.clone();
        self.background.start(async move {
            let (mut looks, mut was_lost) = (0, false);
            loop {
                clock.sleep(interval).await;
                {
                    let mut lost = shared.lock().expect("no holder panics");
                    // The one that lies here is nobody's.
                    if tell.receivers() <= 1 {
                        *lost = None;
                        return;
                    }
                }
                looks = if has_leader(&service).await { 0 } else { looks + 1 };
                let is_lost = looks >= LOOKS_MAX;
                if is_lost != was_lost {
                    was_lost = is_lost;
                    tell.send_replace(is_lost);
                }
            }
        });
        told
    }
}

async fn has_leader<A: Ask>(service: &EtcdService<A>) -> bool {
    service.status().await.is_ok_and(|status| status.leader != MemberId::NONE)
}
