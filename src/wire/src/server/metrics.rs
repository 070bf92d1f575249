//! What a server counts, under the names which etcd's dashboards know. A value, not a process-wide registry:
//! many members live in one simulated process.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The methods counted one by one, as `/package.Service/Method`.
const METHODS: &[(&str, &str, &str)] = &[
    ("etcdserverpb.KV", "Range", "unary"),
    ("etcdserverpb.KV", "Put", "unary"),
    ("etcdserverpb.KV", "DeleteRange", "unary"),
    ("etcdserverpb.KV", "Txn", "unary"),
    ("etcdserverpb.KV", "Compact", "unary"),
    ("etcdserverpb.Watch", "Watch", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseGrant", "unary"),
    ("etcdserverpb.Lease", "LeaseRevoke", "unary"),
    ("etcdserverpb.Lease", "LeaseKeepAlive", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseTimeToLive", "unary"),
    ("etcdserverpb.Lease", "LeaseLeases", "unary"),
    ("etcdserverpb.Cluster", "MemberAdd", "unary"),
    ("etcdserverpb.Cluster", "MemberRemove", "unary"),
    ("etcdserverpb.Cluster", "MemberUpdate", "unary"),
    ("etcdserverpb.Cluster", "MemberList", "unary"),
    ("etcdserverpb.Cluster", "MemberPromote", "unary"),
    ("etcdserverpb.Maintenance", "Alarm", "unary"),
    ("etcdserverpb.Maintenance", "Status", "unary"),
    ("etcdserverpb.Maintenance", "HashKV", "unary"),
    ("etcdserverpb.Maintenance", "MoveLeader", "unary"),
    ("v3lockpb.Lock", "Lock", "unary"),
    ("v3lockpb.Lock", "Unlock", "unary"),
    ("v3electionpb.Election", "Campaign", "unary"),
    ("v3electionpb.Election", "Proclaim", "unary"),
    ("v3electionpb.Election", "Leader", "unary"),
    ("v3electionpb.Election", "Observe", "server_stream"),
    ("v3electionpb.Election", "Resign", "unary"),
];

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

/// Counters of one server.
#[derive(Debug)]
pub struct Metrics {
    methods: Vec<Method>,
    /// The last one counts what is no method of ours.
    other: Method,
    watch_streams: AtomicI64,
}

#[derive(Debug, Default)]
struct Method {
    started: AtomicU64,
    handled: [AtomicU64; 17],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            methods: METHODS.iter().map(|_| Method::default()).collect(),
            other: Method::default(),
            watch_streams: AtomicI64::new(0),
        }
    }
}

/// The place of a method in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct MethodId(Option<usize>);

impl Metrics {
    /// How often the method at this path (`/package.Service/Method`) was called.
    #[must_use]
    pub fn started(&self, path: &str) -> u64 {
        self.counters(Self::find(path)).started.load(Ordering::Relaxed)
    }

    /// Watch streams open now.
    #[must_use]
    pub fn watch_streams(&self) -> i64 {
        self.watch_streams.load(Ordering::Relaxed)
    }

    pub(super) fn start(&self, path: &str) -> MethodId {
        let id = Self::find(path);
        self.counters(id).started.fetch_add(1, Ordering::Relaxed);
        id
    }

    pub(super) fn handled(&self, id: MethodId, code: tonic::Code) {
        self.counters(id).handled[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn watch_stream(&self, change: i64) {
        self.watch_streams.fetch_add(change, Ordering::Relaxed);
    }

    fn find(path: &str) -> MethodId {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return MethodId(None);
        };
        MethodId(METHODS.iter().position(|(s, m, _)| *m == method && *s == service))
    }

    fn counters(&self, id: MethodId) -> &Method {
        id.0.map_or(&self.other, |at| &self.methods[at])
    }

    /// The counters in Prometheus' text format.
    pub(super) fn render(&self, out: &mut String) {
        let all = METHODS.iter().zip(&self.methods);
        let all = all.chain([(&("unknown", "unknown", "unary"), &self.other)]);
        let _ = writeln!(out, "# TYPE grpc_server_started_total counter");
        for ((service, method, kind), counters) in all.clone() {
            let started = counters.started.load(Ordering::Relaxed);
            if started > 0 {
                let labels = format!(r#"grpc_method="{method}",grpc_service="{service}",grpc_type="{kind}""#);
                let _ = writeln!(out, "grpc_server_started_total{{{labels}}} {started}");
            }
        }
        let _ = writeln!(out, "# TYPE grpc_server_handled_total counter");
        for ((service, method, kind), counters) in all {
            for (code, handled) in CODES.iter().zip(&counters.handled) {
                let handled = handled.load(Ordering::Relaxed);
                if handled > 0 {
                    let labels = format!(
                        r#"grpc_code="{code}",grpc_method="{method}",grpc_service="{service}",grpc_type="{kind}""#
                    );
                    let _ = writeln!(out, "grpc_server_handled_total{{{labels}}} {handled}");
                }
            }
        }
        let _ = writeln!(out, "# TYPE etcd_debugging_mvcc_watch_stream_total gauge");
        let _ = writeln!(out, "etcd_debugging_mvcc_watch_stream_total {}", self.watch_streams());
    }
}
