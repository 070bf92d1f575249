//! A member's numbers.

use super::{Kind, Page};
use seatrial_node::{Figures, Handle, Meters};
use seatrial_types::MemberId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Writing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Writes what is known of a member besides what its faces count. Cheap to clone.
#[derive(Clone)]
pub struct MemberMetrics(Arc<dyn for<'a> Fn(&'a mut Page) -> Writing<'a> + Send + Sync>);

impl fmt::Debug for MemberMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MemberMetrics")
    }
}

impl MemberMetrics {
    /// Writes them.
    pub async fn write(&self, page: &mut Page) {
        (self.0)(page).await;
    }
}

/// The numbers of a running member; `more` adds what only the process knows.
#[must_use]
pub fn member_metrics(
    handle: Handle,
    meters: Arc<Meters>,
    more: impl Fn(&mut Page) + Send + Sync + 'static,
) -> MemberMetrics {
    let more = Arc::new(more);
    MemberMetrics(Arc::new(move |page| {
        let (handle, meters, more) = (handle.clone(), meters.clone(), more.clone());
        Box::pin(async move {
            // A member that stops has no figures any more; what was measured stays.
            if let Ok(figures) = handle.figures().await {
                write_figures(page, &figures);
            }
            write_meters(page, &meters);
            more(page);
        })
    }))
}

fn write_figures(page: &mut Page, figures: &Figures) {
    use Kind::{Counter, Gauge};
    let counts = &figures.counts;
    let id = format!("{:x}", figures.id.0);
    page.head("etcd_server_id", Gauge, "The member's id, as a label.");
    page.value("etcd_server_id", &[("server_id", &id)], 1);
    let flags = [
        ("etcd_server_has_leader", "Whether the member knows a leader.", figures.leader != MemberId::NONE),
        ("etcd_server_is_leader", "Whether the member leads.", figures.is_leader),
        ("etcd_server_is_learner", "Whether the member is a learner.", figures.is_learner),
    ];
    for (name, help, flag) in flags {
        page.one(name, Gauge, help, u8::from(flag));
    }
    let gauges: [(&str, &str, i128); 17] = [
        (
            "etcd_server_proposals_committed_total",
            "The last entry of the log that is committed.",
            figures.committed.0.into(),
        ),
        (
            "etcd_server_proposals_applied_total",
            "The last entry of the log that is applied.",
            figures.applied.0.into(),
        ),
        (
            "etcd_server_proposals_pending",
            "Changes proposed here whose outcome is not known yet.",
            figures.pending as i128,
        ),
        (
            "etcd_server_quota_backend_bytes",
            "Bytes the store's file may take before writes are refused.",
            figures.quota_bytes.into(),
        ),
        ("etcd_mvcc_db_total_size_in_bytes", "Bytes the store's file takes.", figures.size_bytes.into()),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "Bytes of the store's file that are in use.",
            figures.size_in_use_bytes.into(),
        ),
        ("etcd_debugging_mvcc_current_revision", "The store's revision.", figures.revision.0.into()),
        (
            "etcd_debugging_mvcc_compact_revision",
            "The revision up to which history is forgotten.",
            figures.compacted.0.into(),
        ),
        ("etcd_debugging_mvcc_keys_total", "Keys that are there.", figures.keys as i128),
        ("etcd_debugging_mvcc_watch_stream_total", "Streams with watches.", figures.watch_streams as i128),
        ("etcd_debugging_mvcc_watcher_total", "Watches.", figures.watches as i128),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            "Watches that are behind the store.",
            figures.watches_behind as i128,
        ),
        (
            "etcd_debugging_mvcc_total_put_size_in_bytes",
            "Bytes of all keys and values put since the start.",
            counts.put_bytes.into(),
        ),
        ("etcd_debugging_auth_revision", "The revision of users and roles.", figures.auth_revision.0.into()),
        ("seatrial_leases", "Leases that are there.", figures.leases as i128),
        (
            "seatrial_raft_snapshots_installed",
            "Whole states taken from a leader since the start.",
            counts.snapshots_installed.into(),
        ),
        ("seatrial_raft_leader", "The leader this member knows, 0 for none.", figures.leader.0.into()),
    ];
    for (name, help, value) in gauges {
        page.one(name, Gauge, help, value);
    }
    let counters: [(&str, &str, u64); 13] = [
        (
            "etcd_server_leader_changes_seen_total",
            "How often the member heard of a new leader.",
            counts.leader_changes,
        ),
        (
            "etcd_server_proposals_failed_total",
            "Changes proposed here whose outcome was never heard.",
            counts.proposals_failed,
        ),
        (
            "etcd_server_read_indexes_failed_total",
            "Reads for which no leader was found in time.",
            counts.reads_failed,
        ),
        (
            "etcd_server_learner_promote_successes",
            "Learners that were made voters through this member.",
            counts.promotions,
        ),
        ("etcd_mvcc_put_total", "Puts applied.", counts.puts),
        ("etcd_mvcc_delete_total", "Deletions applied.", counts.deletes),
        ("etcd_mvcc_range_total", "Ranges read.", counts.ranges),
        ("etcd_debugging_mvcc_range_total", "Ranges read.", counts.ranges),
        ("etcd_mvcc_txn_total", "Transactions of several operations applied.", counts.txns),
        ("etcd_debugging_lease_granted_total", "Leases granted.", counts.leases_granted),
        ("etcd_debugging_lease_revoked_total", "Leases ended.", counts.leases_revoked),
        ("etcd_debugging_lease_renewed_total", "Leases kept alive by this leader.", counts.leases_renewed),
        (
            "etcd_debugging_server_lease_expired_total",
            "Leases that ran out on this leader.",
            counts.leases_expired,
        ),
    ];
    for (name, help, value) in counters {
        page.one(name, Counter, help, value);
    }
}

fn write_meters(page: &mut Page, meters: &Meters) {
    use Kind::{Counter, Gauge};
    let name = "etcd_disk_wal_fsync_duration_seconds";
    page.histogram_head(name, "How long syncs of the write-ahead log take.");
    page.histogram(name, &[], &meters.log_sync);
    page.one(
        "etcd_disk_wal_write_bytes_total",
        Gauge,
        "Bytes appended to the write-ahead log.",
        meters.log_bytes.load(Ordering::Relaxed),
    );
    let name = "etcd_disk_backend_commit_duration_seconds";
    page.histogram_head(name, "How long transactions of the store's file take.");
    page.histogram(name, &[], &meters.backend_commit);
    page.one(
        "etcd_debugging_mvcc_events_total",
        Counter,
        "Events given to watchers.",
        meters.events.load(Ordering::Relaxed),
    );
    let peers = meters.peers();
    for (name, label, help) in [
        ("etcd_network_peer_sent_bytes_total", "To", "Bytes sent to peers."),
        ("etcd_network_peer_received_bytes_total", "From", "Bytes received from peers."),
    ] {
        page.head(name, Counter, help);
        for (peer, bytes) in &peers {
            let count = if label == "To" { bytes.sent } else { bytes.received };
            page.value(name, &[(label, &format!("{:x}", peer.0))], count);
        }
    }
}
