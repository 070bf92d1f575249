//! The load generator against the real etcd, where there is one.

#![allow(clippy::disallowed_methods, reason = "starts processes and looks for their program")]

use seatrial_benches::Shape;
use seatrial_benches::case::{Case, Kind};
use seatrial_benches::fill::fill;
use seatrial_benches::load::Load;
use seatrial_benches::servers::{Cluster, Program};
use seatrial_benches::trials;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SHAPE: Shape = Shape { value_bytes: 64, keys: 250, range_keys: 100 };

/// The program, or a loud word that there is none.
fn etcd() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("etcd")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no `etcd` on PATH; install it (Debian: etcd-server) to run this test");
    }
    found
}

fn load(cluster: &Cluster, case: Case) -> Load {
    Load {
        endpoints: cluster.endpoints().to_vec(),
        case,
        connections: 0,
        shape: SHAPE,
        watched_puts_per_second: 20.0,
        warm_up: Duration::from_millis(50),
        time: Duration::from_millis(300),
        pids: cluster.pids(),
    }
}

#[test]
fn a_real_cluster_is_driven_measured_and_taken_down() {
    let Some(etcd) = etcd() else { return };
    let data = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&Program::Etcd(etcd), 3, data.path()).unwrap();
    fill(cluster.endpoints(), &SHAPE).unwrap();
    for kind in Kind::ALL {
        let case = Case { kind, clients: 4, streams: 4 };
        let measured = load(&cluster, case).run().unwrap();
        assert!(measured.operations > 0 && measured.errors == 0, "{measured:?}");
        assert!(measured.latency_ms_p50 <= measured.latency_ms_p99, "{measured:?}");
        if kind == Kind::Watch {
            // Every write within the time reached every watcher.
            assert_eq!(measured.operations % 4, 0, "{measured:?}");
        } else {
            // Closed loop: so many clients cannot have had more answers than fit one after the other.
            let fit = 4.0 * measured.seconds * 1e3 / measured.latency_ms_p50;
            assert!((measured.operations as f64) < 4.0 * fit, "{measured:?}");
        }
        assert!(measured.server_cpu_us.is_some(), "{measured:?}");
    }
    let failover = trials::fail_over(&mut cluster, 1).unwrap();
    assert!(failover.median_ms() > 0.0 && failover.median_ms() < 60e3, "{failover:?}");
    let pids = cluster.pids();
    assert_eq!(pids.len(), 3, "the killed member was not started again");
    drop(cluster);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} was left behind");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "data was left behind");
}

#[test]
fn a_full_store_is_weighed_before_and_after_its_restart() {
    let Some(etcd) = etcd() else { return };
    let data = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(&Program::Etcd(etcd), 1, data.path()).unwrap();
    let weight = trials::weigh(&mut cluster, &SHAPE, |cluster| {
        Ok(vec![load(cluster, Case { kind: Kind::Count, clients: 1, streams: 1 }).run()?])
    });
    let weight = weight.unwrap();
    assert!(weight.memory_mib[0] > 1.0 && weight.memory_restarted_mib[0] > 1.0, "{weight:?}");
    assert!(weight.disk_mib[0] > 0.1 && weight.restart_to_write_s > 0.0, "{weight:?}");
}
