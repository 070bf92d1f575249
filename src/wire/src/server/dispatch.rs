//! From an HTTP request to the service that answers it.

use super::access::{self, Access};
use super::background::Background;
use super::counted::{Received, Sent};
use super::deadline::{Ending, EndingBody, exceeded, grpc_timeout};
use super::fleetlock::{self, Desk};
use super::gateway::{self, Target};
use super::grpc::Grpc;
use super::health::Health;
use super::http_face;
use super::leadership::{self, Leadership};
use super::lock::Queues;
use super::metrics::Metrics;
use super::phases as watch;
use super::reflection::Reflection;
use super::unread::Reader;
use super::v2;
use super::watch_face::WatchFace;
use super::{Phase, ServeOptions};
use crate::clock::Clock;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use seatrial_etcd::v2::auth::Users;
use seatrial_etcd::{Ask, EtcdService, Outside};
use seatrial_proto::etcdserverpb as pb;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use pb::auth_server::AuthServer;
use pb::cluster_server::ClusterServer;
use pb::kv_server::KvServer;
use pb::lease_server::LeaseServer;
use pb::maintenance_server::MaintenanceServer;
use pb::watch_server::WatchServer;
use seatrial_proto::health::health_server::HealthServer;
use seatrial_proto::reflection::server_reflection_server::ServerReflectionServer;
use seatrial_proto::reflection_alpha::server_reflection_server::ServerReflectionServer as OlderReflectionServer;
use seatrial_proto::v3electionpb::election_server::ElectionServer;
use seatrial_proto::v3lockpb::lock_server::LockServer;

/// All services of one server. Cheap to clone.
pub(super) struct Dispatch<A: Ask> {
    inner: Arc<Inner<A>>,
}

impl<A: Ask> Clone for Dispatch<A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<A: Ask> {
    kv: KvServer<Grpc<A>>,
    lease: LeaseServer<Grpc<A>>,
    cluster: ClusterServer<Grpc<A>>,
    maintenance: MaintenanceServer<Grpc<A>>,
    auth: AuthServer<Grpc<A>>,
    watch: WatchServer<WatchFace<A>>,
    lock: LockServer<Queues<A>>,
    election: ElectionServer<Queues<A>>,
    health: HealthServer<Health>,
    reflection: ServerReflectionServer<Reflection>,
    older_reflection: OlderReflectionServer<Reflection>,
    leadership: Leadership<A>,
    http: axum::Router,
    /// `None`: not served.
    v2: Option<v2::Face<A>>,
    /// `None`: not served.
    reboot_lock: Option<Arc<dyn Desk>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    access: Access,
    secured: bool,
    metrics_only: bool,
    request_bytes_max: usize,
    outside: Arc<dyn Outside>,
}

impl<A: Ask> Dispatch<A> {
    #[allow(clippy::too_many_arguments, reason = "made in one place, of all that a server is")]
    pub(super) fn new(
        service: EtcdService<A>,
        queues: Queues<A>,
        background: Background,
        outside: Arc<dyn Outside>,
        desk: Option<Arc<dyn Desk>>,
        clock: Clock,
        phases: watch::Receiver<Phase>,
        options: &ServeOptions,
    ) -> Self {
        let metrics = options.metrics.clone();
        let limit = options.limits.request_bytes_max + seatrial_etcd::validate::OVERHEAD_BYTES;
        let grpc = Arc::new(Grpc::new(service.clone()));
        let leadership =
            Leadership::new(service.clone(), background, clock.clone(), options.leader_check_interval);
        let health = HealthServer::new(Health::new(phases.clone()));
        let watch = WatchFace::new(service.clone(), metrics.clone(), phases.clone());
        let v2 = v2::Face {
            anybody: service.clone(),
            users: Users::new(service.clone().for_server()),
            service: service.clone().for_server(),
            outside: outside.clone(),
            phases,
            request_bytes_max: options.limits.request_bytes_max,
            cluster: OnceLock::new(),
        };
        let queues = Arc::new(queues);
        let inner = Inner {
            kv: KvServer::from_arc(grpc.clone()).max_decoding_message_size(limit),
            lease: LeaseServer::from_arc(grpc.clone()).max_decoding_message_size(limit),
            cluster: ClusterServer::from_arc(grpc.clone()).max_decoding_message_size(limit),
            maintenance: MaintenanceServer::from_arc(grpc.clone()).max_decoding_message_size(limit),
            auth: AuthServer::from_arc(grpc).max_decoding_message_size(limit),
            watch: WatchServer::new(watch).max_decoding_message_size(limit),
            lock: LockServer::from_arc(queues.clone()).max_decoding_message_size(limit),
            election: ElectionServer::from_arc(queues).max_decoding_message_size(limit),
            health: health.max_decoding_message_size(limit),
            reflection: ServerReflectionServer::new(Reflection).max_decoding_message_size(limit),
            older_reflection: OlderReflectionServer::new(Reflection).max_decoding_message_size(limit),
            leadership,
            v2: (options.enable_v2 && !options.metrics_only).then_some(v2),
            http: http_face::router(service.for_server(), clock.clone(), desk.clone(), options),
            reboot_lock: desk.filter(|_| !options.metrics_only),
            metrics,
            clock,
            access: options.access.clone(),
            secured: options.layer.is_some(),
            metrics_only: options.metrics_only,
            request_bytes_max: limit,
            outside,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What a request may hold.
    pub(super) fn request_bytes_max(&self) -> usize {
        self.inner.request_bytes_max
    }

    /// For slow work.
    pub(super) fn outside(&self) -> &Arc<dyn Outside> {
        &self.inner.outside
    }

    pub(super) async fn handle(
        self,
        request: Request<Incoming>,
        reader: Reader,
    ) -> Result<Response<Body>, Infallible> {
        if self.inner.metrics_only || !is_grpc(&request) {
            return self.http(request, reader).await;
        }
        let timeout = match grpc_timeout(request.headers()) {
            Ok(timeout) => timeout,
            Err(status) => return Ok(status.into_http()),
        };
        Ok(self.grpc(request.map(Body::new), timeout, Some(&reader)).await)
    }

    /// What comes without gRPC: the gateway, and what operators ask.
    async fn http(self, request: Request<Incoming>, reader: Reader) -> Result<Response<Body>, Infallible> {
        let Inner { access, secured, http, v2, reboot_lock, metrics_only, .. } = &*self.inner;
        if let Some(response) = access.misdirected(&request, *secured) {
            return Ok(response);
        }
        let origin = access.origin(&request);
        let mut response = if request.method() == http::Method::OPTIONS {
            Response::new(Body::empty())
        } else {
            match gateway::target(request.uri().path()) {
                Target::Method(method) if !metrics_only => {
                    gateway::answer(&self, &reader, &method, request).await
                }
                Target::Unknown if !metrics_only => gateway::plain(StatusCode::NOT_FOUND, "Not Found"),
                _ if let Some(face) = v2.as_ref().filter(|_| v2::is_v2(request.uri().path())) => {
                    face.answer(request, &reader).await
                }
                _ if let Some(desk) =
                    reboot_lock.as_ref().filter(|_| fleetlock::is_fleetlock(request.uri().path())) =>
                {
                    desk.answer(request).await
                }
                _ => http.clone().oneshot(request).await?.map(Body::new),
            }
        };
        if let Some(origin) = origin {
            access::allow(&mut response, origin);
        }
        Ok(response)
    }

    /// One call of a method, however it came. An answer is held for `reader`; a stream is written only as it is read.
    pub(super) async fn grpc(
        &self,
        request: Request<Body>,
        timeout: Option<Duration>,
        reader: Option<&Reader>,
    ) -> Response<Body> {
        let Inner { metrics, clock, .. } = &*self.inner;
        let version = request.headers().get("client-api-version").and_then(|version| version.to_str().ok());
        let method = metrics.start(request.uri().path(), version);
        let began = metrics.wants_times().then(|| clock.now());
        let is_stream = metrics.is_stream(method);
        let request = if is_stream {
            request.map(|body| Body::new(Received::new(body, metrics.clone(), method)))
        } else {
            request
        };
        let response = match timeout {
            None => self.led(request, is_stream).await,
            Some(timeout) => {
                let mut limit = clock.sleep(timeout);
                tokio::select! {
                    biased;
                    response = self.led(request, is_stream) => {
                        let ending = Ending { when: limit, status: exceeded() };
                        response.map(|body| Body::new(EndingBody::new(body, ending)))
                    }
                    () = &mut limit => exceeded().into_http(),
                }
            }
        };
        let response = match reader {
            Some(reader) if !is_stream => reader.hold(response).await,
            _ => response,
        };
        let refused = Status::from_header_map(response.headers()).map(|status| status.code());
        if is_stream && refused.is_none() {
            let ticking = clock.clone();
            let took = began.map(|began| -> Box<dyn Fn() -> Duration + Send> {
                Box::new(move || ticking.now().saturating_sub(began))
            });
            return response.map(|body| Body::new(Sent::new(body, metrics.clone(), method, took)));
        }
        metrics.handled(method, refused.unwrap_or(Code::Ok));
        if let Some(began) = began {
            metrics.took(method, clock.now().saturating_sub(began));
        }
        response
    }

    /// The call, where it may be that it wants a leader.
    async fn led(&self, request: Request<Body>, is_stream: bool) -> Response<Body> {
        if !leadership::is_wanted(request.headers()) {
            return self.route(request).await;
        }
        let leadership = &self.inner.leadership;
        if let Err(status) = leadership.check().await {
            return status.into_http();
        }
        let response = self.route(request).await;
        if !is_stream {
            return response;
        }
        response.map(|body| Body::new(EndingBody::new(body, leadership.ending())))
    }

    async fn route(&self, request: Request<Body>) -> Response<Body> {
        let inner = &self.inner;
        let path = request.uri().path();
        let service =
            path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
        let answered = match service {
            Some("etcdserverpb.KV") => inner.kv.clone().oneshot(request).await,
            Some("etcdserverpb.Watch") => inner.watch.clone().oneshot(request).await,
            Some("etcdserverpb.Lease") => inner.lease.clone().oneshot(request).await,
            Some("etcdserverpb.Cluster") => inner.cluster.clone().oneshot(request).await,
            Some("etcdserverpb.Maintenance") => inner.maintenance.clone().oneshot(request).await,
            Some("etcdserverpb.Auth") => inner.auth.clone().oneshot(request).await,
            Some("v3lockpb.Lock") => inner.lock.clone().oneshot(request).await,
            Some("v3electionpb.Election") => inner.election.clone().oneshot(request).await,
            Some("grpc.health.v1.Health") => inner.health.clone().oneshot(request).await,
            Some("grpc.reflection.v1.ServerReflection") => inner.reflection.clone().oneshot(request).await,
            Some("grpc.reflection.v1alpha.ServerReflection") => {
                inner.older_reflection.clone().oneshot(request).await
            }
            Some(unknown) => {
                let status = Status::unimplemented(format!("unknown service {unknown}"));
                return status.into_http();
            }
            None => return Status::unimplemented(format!("malformed method name: {path:?}")).into_http(),
        };
        match answered {
            Ok(response) => own_words(response),
            Err(never) => match never {},
        }
    }
}

/// A message over the limit is refused by tonic in words and with a code of its own; clients know those of Go.
fn own_words(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match too_large(&status) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// The refusal of a message over the limit as Go's servers word it, where this status is one.
pub(super) fn too_large(status: &Status) -> Option<Status> {
    let told = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, limit) = told.strip_suffix(" bytes")?.split_once(" bytes, the limit is: ")?;
    Some(Status::resource_exhausted(format!("grpc: received message larger than max ({found} vs. {limit})")))
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
