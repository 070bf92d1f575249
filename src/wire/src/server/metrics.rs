//! What a server counts, under the names which etcd's dashboards know. A value, not a process-wide registry:
//! many members live in one simulated process.

use seatrial_etcd::{Histogram, Kind, Page};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Names of gRPC's codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Versions of clients that are told apart; a client says what it likes.
const CLIENT_VERSIONS_MAX: usize = 16;

/// Counters of one server.
#[derive(Debug)]
pub struct Metrics {
    /// By path (`/package.Service/Method`), sorted.
    methods: Vec<Method>,
    /// Counts what is no method of ours.
    other: Method,
    watch_streams: AtomicI64,
    /// By the version of the API that clients say they speak, and whether they ask for a stream.
    clients: Mutex<BTreeMap<(String, bool), u64>>,
    received_bytes: Arc<AtomicU64>,
    sent_bytes: Arc<AtomicU64>,
    healthy: AtomicU64,
    unhealthy: AtomicU64,
    extensive: bool,
}

#[derive(Debug)]
struct Method {
    path: String,
    service: String,
    name: String,
    kind: &'static str,
    started: AtomicU64,
    handled: [AtomicU64; 17],
    received: AtomicU64,
    sent: AtomicU64,
    took: Histogram,
}

impl Method {
    fn new(service: &str, name: &str, kind: &'static str) -> Self {
        // The bounds of Prometheus' own library.
        let bounds = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
        Self {
            path: format!("/{service}/{name}"),
            service: service.to_owned(),
            name: name.to_owned(),
            kind,
            started: AtomicU64::new(0),
            handled: Default::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            took: Histogram::new(bounds.map(Duration::from_millis).to_vec()),
        }
    }

    fn is_stream(&self) -> bool {
        self.kind != "unary"
    }

    fn labels(&self) -> [(&str, &str); 3] {
        [("grpc_method", &self.name), ("grpc_service", &self.service), ("grpc_type", self.kind)]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let services = seatrial_proto::descriptors().services();
        let mut methods = Vec::new();
        for service in services {
            for method in service.methods() {
                let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
                    (false, false) => "unary",
                    (true, false) => "client_stream",
                    (false, true) => "server_stream",
                    (true, true) => "bidi_stream",
                };
                methods.push(Method::new(service.full_name(), method.name(), kind));
            }
        }
        methods.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            methods,
            other: Method::new("unknown", "unknown", "unary"),
            watch_streams: AtomicI64::new(0),
            clients: Mutex::default(),
            received_bytes: Arc::default(),
            sent_bytes: Arc::default(),
            healthy: AtomicU64::new(0),
            unhealthy: AtomicU64::new(0),
            extensive: false,
        }
    }
}

/// The place of a method in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct MethodId(Option<usize>);

impl Metrics {
    /// With the time that each method takes, besides the rest (`--metrics extensive`).
    #[must_use]
    pub fn extensive() -> Self {
        Self { extensive: true, ..Self::default() }
    }

    /// How often the method at this path (`/package.Service/Method`) was called.
    #[must_use]
    pub fn started(&self, path: &str) -> u64 {
        self.method(self.find(path)).started.load(Ordering::Relaxed)
    }

    /// Watch streams open now.
    #[must_use]
    pub fn watch_streams(&self) -> i64 {
        self.watch_streams.load(Ordering::Relaxed)
    }

    /// Whether the time of calls is wanted.
    pub(super) fn wants_times(&self) -> bool {
        self.extensive
    }

    pub(super) fn start(&self, path: &str, client_version: Option<&str>) -> MethodId {
        let id = self.find(path);
        let method = self.method(id);
        method.started.fetch_add(1, Ordering::Relaxed);
        if let Some(version) = client_version {
            self.count_client(version, method.is_stream());
        }
        id
    }

    fn count_client(&self, version: &str, stream: bool) {
        let mut clients = self.clients.lock().expect("no holder panics");
        let known = clients.len() < CLIENT_VERSIONS_MAX
            && version.len() <= 20
            && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let version =
            if known || clients.contains_key(&(version.to_owned(), stream)) { version } else { "other" };
        *clients.entry((version.to_owned(), stream)).or_default() += 1;
    }

    pub(super) fn is_stream(&self, id: MethodId) -> bool {
        self.method(id).is_stream()
    }

    /// A unary call is over.
    pub(super) fn handled(&self, id: MethodId, code: tonic::Code) {
        let method = self.method(id);
        method.handled[code as usize].fetch_add(1, Ordering::Relaxed);
        if !method.is_stream() {
            // Without its message a unary call is not handled, nor is it answered but with one.
            method.received.fetch_add(1, Ordering::Relaxed);
            if code == tonic::Code::Ok {
                method.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn took(&self, id: MethodId, took: Duration) {
        self.method(id).took.observe(took);
    }

    /// Messages that passed on a stream.
    pub(super) fn messages(&self, id: MethodId, received: u64, sent: u64) {
        let method = self.method(id);
        method.received.fetch_add(received, Ordering::Relaxed);
        method.sent.fetch_add(sent, Ordering::Relaxed);
    }

    pub(super) fn watch_stream(&self, change: i64) {
        self.watch_streams.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn health(&self, healthy: bool) {
        let count = if healthy { &self.healthy } else { &self.unhealthy };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters for bytes received from clients of gRPC, and sent to them.
    pub(super) fn byte_counters(&self) -> (Arc<AtomicU64>, Arc<AtomicU64>) {
        (self.received_bytes.clone(), self.sent_bytes.clone())
    }

    fn find(&self, path: &str) -> MethodId {
        MethodId(self.methods.binary_search_by(|method| method.path.as_str().cmp(path)).ok())
    }

    fn method(&self, id: MethodId) -> &Method {
        id.0.map_or(&self.other, |at| &self.methods[at])
    }

    /// Writes all there is.
    pub(super) fn write(&self, page: &mut Page) {
        let all = || self.methods.iter().chain([&self.other]);
        type Count = fn(&Method) -> &AtomicU64;
        let counts: [(&str, &str, Count); 3] = [
            ("grpc_server_started_total", "Calls begun.", |method| &method.started),
            ("grpc_server_msg_received_total", "Messages received.", |method| &method.received),
            ("grpc_server_msg_sent_total", "Messages sent.", |method| &method.sent),
        ];
        for (name, help, count) in counts {
            page.head(name, Kind::Counter, help);
            for method in all() {
                page.value(name, &method.labels(), count(method).load(Ordering::Relaxed));
            }
        }
        let name = "grpc_server_handled_total";
        page.head(name, Kind::Counter, "Calls ended, by outcome.");
        for method in all() {
            for (code, handled) in CODES.iter().zip(&method.handled) {
                let handled = handled.load(Ordering::Relaxed);
                if handled > 0 {
                    let [method, service, kind] = method.labels();
                    page.value(name, &[("grpc_code", code), method, service, kind], handled);
                }
            }
        }
        if self.extensive {
            let name = "grpc_server_handling_seconds";
            page.histogram_head(name, "How long calls take.");
            for method in all().filter(|method| method.took.cumulated().1 > 0) {
                page.histogram(name, &method.labels(), &method.took);
            }
        }
        let name = "etcd_server_client_requests_total";
        page.head(name, Kind::Counter, "Calls by the version of the API that clients say they speak.");
        for ((version, stream), count) in &*self.clients.lock().expect("no holder panics") {
            let kind = if *stream { "stream" } else { "unary" };
            page.value(name, &[("client_api_version", version), ("type", kind)], count);
        }
        let counts = [
            (
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes received from clients.",
                &*self.received_bytes,
            ),
            ("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to clients.", &*self.sent_bytes),
            (
                "etcd_server_health_success",
                "Questions after the member's health answered well.",
                &self.healthy,
            ),
            (
                "etcd_server_health_failures",
                "Questions after the member's health answered badly.",
                &self.unhealthy,
            ),
        ];
        for (name, help, count) in counts {
            page.one(name, Kind::Counter, help, count.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_clients_are_bounded() {
        let metrics = Metrics::default();
        for version in 0..100 {
            metrics.start("/etcdserverpb.KV/Put", Some(&format!("3.{version}")));
        }
        metrics.start("/etcdserverpb.Watch/Watch", Some("<script>"));
        let clients = metrics.clients.lock().unwrap();
        assert_eq!(clients.len(), CLIENT_VERSIONS_MAX + 2);
        assert_eq!(clients[&("other".to_owned(), false)], 100 - CLIENT_VERSIONS_MAX as u64);
        assert_eq!(clients[&("other".to_owned(), true)], 1);
    }

    #[test]
    fn a_method_is_found_by_its_path_and_everything_else_is_unknown() {
        let metrics = Metrics::default();
        metrics.start("/etcdserverpb.KV/Put", None);
        metrics.start("/etcdserverpb.KV/Nothing", None);
        assert_eq!(metrics.started("/etcdserverpb.KV/Put"), 1);
        assert_eq!(metrics.started("/nobody/knows"), 1);
        assert!(metrics.is_stream(metrics.find("/etcdserverpb.Watch/Watch")));
        assert!(!metrics.is_stream(metrics.find("/etcdserverpb.KV/Put")));
    }
}
