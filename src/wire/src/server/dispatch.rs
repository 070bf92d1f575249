//! From an HTTP request to the service that answers it.

use super::deadline::{DeadlineBody, exceeded, grpc_timeout};
use super::grpc::Grpc;
use super::http_face;
use super::lock::Queues;
use super::metrics::Metrics;
use super::phases as watch;
use super::watch_face::WatchFace;
use super::{Phase, ServeOptions};
use crate::clock::Clock;
use http::{Request, Response, header};
use hyper::body::Incoming;
use seatrial_etcd::{Ask, EtcdService};
use seatrial_proto::etcdserverpb as pb;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use pb::auth_server::AuthServer;
use pb::cluster_server::ClusterServer;
use pb::kv_server::KvServer;
use pb::lease_server::LeaseServer;
use pb::maintenance_server::MaintenanceServer;
use pb::watch_server::WatchServer;
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
    http: axum::Router,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl<A: Ask> Dispatch<A> {
    pub(super) fn new(
        service: EtcdService<A>,
        queues: Queues<A>,
        metrics: Arc<Metrics>,
        clock: Clock,
        phases: watch::Receiver<Phase>,
        options: &ServeOptions,
    ) -> Self {
        let limit = options.limits.request_bytes_max + seatrial_etcd::validate::OVERHEAD_BYTES;
        let grpc = Arc::new(Grpc::new(service.clone()));
        let watch = WatchFace::new(service.clone(), metrics.clone(), phases);
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
            http: http_face::router(service.for_server(), metrics.clone(), clock.clone(), options),
            metrics,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) async fn handle(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let inner = &self.inner;
        if !is_grpc(&request) {
            let response = inner.http.clone().oneshot(request).await?;
            return Ok(response.map(Body::new));
        }
        let method = inner.metrics.start(request.uri().path());
        let response = match grpc_timeout(request.headers()) {
            Err(status) => status.into_http(),
            Ok(None) => self.route(request).await,
            Ok(Some(timeout)) => {
                let mut limit = inner.clock.sleep(timeout);
                tokio::select! {
                    biased;
                    response = self.route(request) => {
                        response.map(|body| Body::new(DeadlineBody::new(body, limit)))
                    }
                    () = &mut limit => exceeded().into_http(),
                }
            }
        };
        // An error comes in the head; what goes wrong later in a stream is not counted.
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        inner.metrics.handled(method, code);
        Ok(response)
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
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
            Some(unknown) => {
                let status = Status::unimplemented(format!("unknown service {unknown}"));
                return status.into_http();
            }
            None => return Status::unimplemented(format!("malformed method name: {path:?}")).into_http(),
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
