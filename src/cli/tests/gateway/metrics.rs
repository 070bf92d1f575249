//! The names under which Prometheus finds things, beside those of a real etcd.

use super::http::ask;
use super::ready;
use super::support::server::{self as servers, Pair};
use std::collections::BTreeMap;

/// Names of etcd's that we leave out, by how they begin, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("go_", "of Go's runtime"),
    ("etcd_server_go_version", "of Go's runtime"),
    ("promhttp_", "of Go's library for Prometheus"),
    ("etcd_debugging_store_", "of the v2 store"),
    ("etcd_grpc_proxy_", "of the gRPC proxy"),
    ("etcd_debugging_disk_backend_commit_", "parts of a commit of bbolt; the store's file has no such parts"),
    ("etcd_disk_backend_defrag_", "a defragmentation is not timed"),
    (
        "etcd_disk_defrag_inflight",
        "a defragmentation goes on beside everything else, and keeps nobody waiting",
    ),
    ("etcd_disk_backend_snapshot_", "a snapshot is read in pieces at the pace of who takes it"),
    ("etcd_debugging_snap_", "there are no snapshot files on disk"),
    ("etcd_snap_", "there are no snapshot files on disk"),
    ("etcd_mvcc_db_open_read_transactions", "readers share one snapshot of the store"),
    ("etcd_mvcc_hash_", "hashing is a step of the member, which has no clock"),
    ("etcd_server_apply_duration_seconds", "applying is a step of the member, which has no clock"),
    ("etcd_server_slow_apply_total", "applying is a step of the member, which has no clock"),
    (
        "etcd_server_slow_read_indexes_total",
        "a read waits for its leader without a limit but the request's own",
    ),
    (
        "etcd_server_heartbeat_send_failures_total",
        "heartbeats are sent by the member, which does not wait for disks",
    ),
    ("etcd_server_snapshot_apply_in_progress_total", "a snapshot is installed in one step"),
    (
        "etcd_debugging_mvcc_db_compaction_",
        "compaction goes on in steps between requests, which are not timed",
    ),
    (
        "etcd_debugging_mvcc_index_compaction_",
        "compaction goes on in steps between requests, which are not timed",
    ),
    (
        "etcd_debugging_mvcc_pending_events_total",
        "events never wait: a watch that is slow reads the store later",
    ),
    ("etcd_debugging_lease_ttl_total", "lifetimes of leases are not sorted by length"),
    ("etcd_network_peer_round_trip_time_seconds", "members ask each other nothing but Raft's own questions"),
    ("etcd_network_active_peers", "connections between members are made as they are needed"),
    ("etcd_network_disconnected_peers_total", "connections between members are made as they are needed"),
    ("etcd_debugging_mvcc_db_total_size_in_bytes", "an older name, until 3.4"),
    ("etcd_debugging_mvcc_delete_total", "an older name, until 3.4"),
    ("etcd_debugging_mvcc_put_total", "an older name, until 3.4"),
    ("etcd_debugging_mvcc_txn_total", "an older name, until 3.4"),
    ("process_network_", "of Go's library for Prometheus"),
];

/// Names and kinds.
fn names(page: &str) -> BTreeMap<String, String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// The sum of a metric's values.
fn value(page: &str, name: &str) -> f64 {
    let values = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    });
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn metrics(address: &str) -> String {
    let answer = ask(address, "GET", "/metrics", &[], b"", None);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str()),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    answer.body
}

fn post(address: &str, path: &str, body: &str) {
    let answer = ask(address, "POST", path, &[], body.as_bytes(), None);
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
}

#[test]
fn metrics_have_etcds_names_and_kinds_and_count_the_same() {
    for etcd in servers::etcds() {
        let version = servers::version(&etcd);
        let pair = Pair::start(&etcd);
        let mut pages = Vec::new();
        for address in [pair.theirs.address(), pair.ours.address()] {
            ready(address);
            for turn in 0..5 {
                post(
                    address,
                    "/v3/kv/put",
                    &format!(r#"{{"key":"Zm9v","value":"{}"}}"#, ["AA==", "AAA="][turn % 2]),
                );
            }
            post(address, "/v3/kv/put", r#"{"key":"YmFy"}"#);
            post(address, "/v3/kv/range", r#"{"key":"Zm9v"}"#);
            post(address, "/v3/kv/deleterange", r#"{"key":"YmFy"}"#);
            post(
                address,
                "/v3/kv/txn",
                r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"Yg=="}},{"request_delete_range":{"key":"Yw=="}}],"failure":[]}"#,
            );
            post(address, "/v3/lease/grant", r#"{"TTL":"100","ID":"7"}"#);
            post(address, "/v3/lease/grant", r#"{"TTL":"100","ID":"8"}"#);
            post(address, "/v3/lease/revoke", r#"{"ID":"8"}"#);
            ask(address, "POST", "/v3/lease/keepalive", &[], br#"{"ID":7}"#, Some(1));
            ask(address, "POST", "/v3/kv/range", &[], br#"{"key":"YQ==","revision":"99"}"#, None);
            pages.push(metrics(address));
        }
        let (theirs, ours) = (names(&pages[0]), names(&pages[1]));
        for (name, kind) in &theirs {
            let left_out = LEFT_OUT.iter().any(|(begin, _)| name.starts_with(begin));
            match ours.get(name) {
                Some(our_kind) => {
                    assert!(!left_out, "{name} is there and said to be left out");
                    assert_eq!(our_kind, kind, "{name} of {version}");
                }
                None => assert!(left_out, "{name} ({kind}) of {version} is missing"),
            }
        }
        for name in [
            "etcd_server_has_leader",
            "etcd_server_is_leader",
            "etcd_server_is_learner",
            "etcd_server_leader_changes_seen_total",
            "etcd_server_proposals_pending",
            "etcd_server_proposals_failed_total",
            "etcd_server_quota_backend_bytes",
            "etcd_debugging_mvcc_current_revision",
            "etcd_debugging_mvcc_keys_total",
            "etcd_mvcc_put_total",
            "etcd_mvcc_delete_total",
            "etcd_mvcc_txn_total",
            "etcd_debugging_mvcc_total_put_size_in_bytes",
            "etcd_debugging_lease_granted_total",
            "etcd_debugging_lease_revoked_total",
            "etcd_debugging_lease_renewed_total",
            "etcd_debugging_auth_revision",
            "etcd_server_health_failures",
        ] {
            // 3.4 has not all of them.
            if theirs.contains_key(name) {
                assert_eq!(value(&pages[1], name), value(&pages[0], name), "{name} of {version}");
            }
        }
        let calls = |page: &str, metric: &str, call: &str| -> f64 {
            let lines = page.lines().filter(|line| line.starts_with(metric) && line.contains(call));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        for metric in [
            "grpc_server_started_total{",
            "grpc_server_msg_received_total{",
            "grpc_server_msg_sent_total{",
            "grpc_server_handled_total{",
        ] {
            for call in ["\"Put\"", "\"Range\"", "\"LeaseGrant\"", "\"LeaseKeepAlive\""] {
                let (ours, theirs) = (calls(&pages[1], metric, call), calls(&pages[0], metric, call));
                assert_eq!(ours, theirs, "{metric} {call} of {version}");
            }
        }
        // What the disk did takes time and bytes, and cannot be the same.
        for name in [
            "etcd_disk_wal_fsync_duration_seconds_count",
            "etcd_disk_wal_fsync_duration_seconds_sum",
            "etcd_disk_wal_write_bytes_total",
            "etcd_mvcc_db_total_size_in_bytes",
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "etcd_server_proposals_applied_total",
            "etcd_server_proposals_committed_total",
            "etcd_server_health_success",
            "process_resident_memory_bytes",
            "process_open_fds",
        ] {
            assert!(value(&pages[1], name) > 0.0, "{name} counts nothing:\n{}", pages[1]);
        }
    }
}
