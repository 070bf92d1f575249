//! The load generator against the real etcd, where there is one.

#![allow(clippy::disallowed_methods, reason = "starts processes and looks for their program")]

use seatrial_benches::load::{Case, Kind, Load};
use seatrial_benches::servers::{Cluster, Program};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program, or a loud word that there is none.
fn etcd() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("etcd")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no `etcd` on PATH; install it (Debian: etcd-server) to run this test");
    }
    found
}

fn load(cluster: &Cluster, kind: Kind, clients: usize) -> Load {
    Load {
        endpoints: cluster.endpoints().to_vec(),
        case: Case { kind, clients },
        connections: 0,
        value_bytes: 64,
        keys: 10,
        warm_up: Duration::from_millis(100),
        time: Duration::from_millis(500),
        pids: cluster.pids(),
    }
}

#[test]
fn a_real_cluster_is_driven_measured_and_taken_down() {
    let Some(etcd) = etcd() else { return };
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&Program::Etcd(etcd), 3, data.path()).unwrap();
    let pids = cluster.pids();
    for (kind, clients) in [(Kind::Put, 4), (Kind::Get, 2), (Kind::GetSerializable, 1)] {
        let measured = load(&cluster, kind, clients).run().unwrap();
        assert!(measured.operations > 0 && measured.errors == 0, "{measured:?}");
        assert!(measured.latency_ms_p50 <= measured.latency_ms_p99, "{measured:?}");
        // Closed loop: so many clients cannot have had more answers than fit one after the other.
        let fit = clients as f64 * measured.seconds * 1e3 / measured.latency_ms_p50;
        assert!((measured.operations as f64) < 4.0 * fit, "{measured:?}");
        assert!(measured.server_cpu_us.is_some_and(|us| us > 0.0), "{measured:?}");
    }
    drop(cluster);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} was left behind");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "data was left behind");
}
