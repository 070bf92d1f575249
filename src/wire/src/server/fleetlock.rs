//! The face of FleetLock: machines ask here for leave to reboot, and give it back.

use super::v2::whole;
use crate::reboot::{StoreKeys, Survey, place};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use seatrial_etcd::{Ask, EtcdService, Outside};
use seatrial_reboot::fleetlock::{self, HEADER, Wish};
use seatrial_reboot::{Coordinator, Done, Drain, Group, Guards, Keys, KeysError, Quorum, RebootError};
use seatrial_world::{Secure, World, timeout};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::body::Body;

/// Bytes of a request. It holds two names.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Limit for one request. Whoever gets no answer asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limit for what a page of metrics asks of the store.
const METRICS_PATIENCE: Duration = Duration::from_secs(1);

/// How the reboot lock is served.
#[derive(Clone, Debug, Default)]
pub struct RebootLock {
    /// The groups that are served; `None`: any.
    pub groups: Option<BTreeSet<Group>>,
    /// Nothing is granted that would leave the store without a majority of healthy voters.
    pub guards_quorum: bool,
    /// The machine on which this member runs, by the id with which it asks for the lock.
    pub machine: Option<String>,
    /// Where members run, by name or id: before what they say themselves.
    pub placed: BTreeMap<String, String>,
    /// What lies around connections to other members' https addresses.
    pub layer: Option<Arc<dyn Secure>>,
    /// What is counted; several listeners of one server share it.
    pub metrics: Arc<Mutex<fleetlock::Metrics>>,
}

/// What the dispatch, which knows no world, asks.
pub(super) trait Desk: Send + Sync {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>>;
    /// A part of the page of metrics.
    fn metrics(&self) -> BoxFuture<'_, String>;
}

/// Whether a path belongs to this face. Clients are told a base, so that anything may stand before.
pub(super) fn is_fleetlock(path: &str) -> bool {
    fleetlock::wish(path).is_some()
}

struct Served<W, A> {
    world: W,
    service: EtcdService<A>,
    keys: StoreKeys<A>,
    options: RebootLock,
}

/// The face, and where it is known on which machine this member runs, a task that writes it down.
pub(super) fn open<W: World, A: Ask>(
    world: W,
    service: EtcdService<A>,
    outside: Arc<dyn Outside>,
    options: RebootLock,
) -> Arc<dyn Desk> {
    let keys = StoreKeys::new(service.clone(), outside);
    let service = service.for_server();
    if let Some(machine) = options.machine.clone() {
        world.spawn(register(world.clone(), service.clone(), keys.clone(), machine));
    }
    Arc::new(Served { world, service, keys, options })
}

/// Until it stands in the store.
async fn register<W: World, A: Ask>(world: W, service: EtcdService<A>, keys: StoreKeys<A>, machine: String) {
    let mut pauses = seatrial_world::Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        let written = match service.status().await {
            Ok(status) => place(&keys, status.header.member_id, &machine).await,
            Err(error) => Err(KeysError::Unavailable { why: error.to_string(), ambiguous: false }),
        };
        match written {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, machine, "could not write down where this member runs"),
        }
        pauses.wait(&world).await;
    }
}

impl<W: World, A: Ask> Served<W, A> {
    fn lock(&self, group: Group) -> Coordinator<W, StoreKeys<A>> {
        Coordinator::new(self.world.clone(), self.keys.clone(), group)
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, fleetlock::Metrics> {
        self.options.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn quorum(&self) -> Result<Quorum, RebootError> {
        let unavailable = |error: seatrial_types::Error| KeysError::Unavailable {
            why: error.to_string(),
            ambiguous: false,
        };
        let own = self.service.status().await.map_err(unavailable)?;
        let members = self.service.member_list(true).await.map_err(unavailable)?.members;
        let survey = Survey {
            world: &self.world,
            keys: &self.keys,
            layer: self.options.layer.clone(),
            placed: &self.options.placed,
        };
        Ok(survey.look(&members, &[own]).await?)
    }

    async fn carry_out(&self, ask: &fleetlock::Ask) -> (Result<Done, RebootError>, Guards) {
        let mut guards = Guards::default();
        if self.options.guards_quorum && ask.wish == Wish::PreReboot {
            match self.quorum().await {
                Ok(quorum) => guards.quorum = Some(quorum),
                Err(error) => return (Err(error), guards),
            }
        }
        let done = self.lock(ask.group.clone()).run(ask.verb(guards.clone(), false)).await;
        (done, guards)
    }

    async fn respond(&self, request: fleetlock::Request<'_>) -> fleetlock::Response {
        if let (Some(wish), "POST") = (fleetlock::wish(request.path), request.method) {
            self.counted().came(wish);
        }
        let ask = match fleetlock::read(request, self.options.groups.as_ref()) {
            Ok(ask) => ask,
            Err(response) => return response,
        };
        // To drop it half-way is as safe as a crash would be.
        let (outcome, guards) = match timeout(&self.world, PATIENCE, self.carry_out(&ask)).await {
            Ok(answered) => answered,
            Err(elapsed) => {
                let why = format!("nothing within {:?}", elapsed.limit);
                let error = KeysError::Unavailable { why, ambiguous: true };
                (Err(error.into()), Guards::default())
            }
        };
        match &outcome {
            Ok(Done::Refused(refusal)) => self.counted().refused(refusal),
            Ok(Done::Granted { new: true, .. }) => {
                tracing::info!(group = %ask.group, id = ask.id, "granted a reboot");
            }
            Err(error) => {
                tracing::warn!(group = %ask.group, id = ask.id, %error, "could not answer for a reboot")
            }
            Ok(_) => {}
        }
        ask.respond(&outcome, &guards, &Drain::NotAsked)
    }

    /// How all groups stand now, as far as the store says it in time.
    async fn look(&self) -> Result<(), RebootError> {
        let groups = self.lock(Group::default()).groups().await?;
        for group in groups {
            // A group of locksmith's own that nobody ever locked has no key; nothing is made by looking.
            if matches!(self.keys.get(&group.semaphore_key()).await, Err(KeysError::NotFound { .. })) {
                continue;
            }
            let view = self.lock(group.clone()).look().await?;
            self.counted().seen(&group, view.semaphore.max(), view.semaphore.holders().len());
        }
        Ok(())
    }
}

impl<W: World, A: Ask> Desk for Served<W, A> {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match whole(body, BODY_BYTES_MAX).await {
                Ok(body) => body,
                Err(response) => return response,
            };
            let protocol = head.headers.get(HEADER).and_then(|value| value.to_str().ok());
            let request = fleetlock::Request {
                method: head.method.as_str(),
                path: head.uri.path(),
                protocol,
                body: &body,
            };
            shown(self.respond(request).await, &head.method)
        })
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            match timeout(&self.world, METRICS_PATIENCE, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the reboot lock's groups could not be looked at"),
                Err(_) => tracing::debug!("the reboot lock's groups could not be looked at in time"),
            }
            self.counted().render()
        })
    }
}

fn shown(answer: fleetlock::Response, method: &Method) -> Response<Body> {
    let body = if method == Method::HEAD { String::new() } else { answer.body };
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("they are statuses of HTTP");
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("they are names of headers");
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
