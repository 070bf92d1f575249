//! Our client against a real etcd, where one is installed: it is killed with -9 in the middle of things.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]

use seatrial_client::{ClientOptions, Store, Watching, keep_alive};
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, LeaseGrantRequest, PutRequest, RangeRequest, TxnOp, TxnRequest,
};
use seatrial_types::watch::WatchCreate;
use seatrial_types::{Error, KeyRange, LeaseId, Request, Revision};
use seatrial_wire::{ChannelOptions, connect};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Etcd {
    process: Child,
    client: String,
    peer: String,
    data: tempfile::TempDir,
}

impl Etcd {
    fn start() -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            eprintln!("SKIPPED: the real etcd is not installed; nothing was tried against it");
            return None;
        }
        let data = tempfile::tempdir().unwrap();
        let port = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("127.0.0.1:{}", listener.local_addr().unwrap().port())
        };
        let (client, peer) = (port(), format!("http://{}", port()));
        let process = Self::spawn(&client, &peer, data.path());
        Some(Self { process, client, peer, data })
    }

    fn spawn(client: &str, peer: &str, data: &std::path::Path) -> Child {
        let url = format!("http://{client}");
        Command::new("etcd")
            .args(["--data-dir", data.to_str().unwrap()])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn restart(&mut self) {
        self.kill();
        self.process = Self::spawn(&self.client, &self.peer, self.data.path());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest { range: KeyRange::single(key.to_owned()), ..RangeRequest::default() }
}

#[test]
fn a_real_etcd_understands_us_and_a_watch_survives_its_kill() {
    let Some(mut etcd) = Etcd::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    let work = async {
        let options = ClientOptions { request_timeout: Duration::from_secs(15), ..ClientOptions::default() };
        let client = connect(&world, &[&etcd.client], &ChannelOptions::default(), options).unwrap();
        // The first call waits for the server to come up.
        let first = client.put(put("w1", "a")).await.unwrap().header.revision;
        let compare = Compare {
            range: KeyRange::single("w1"),
            op: CompareOp::Equal,
            target: CompareTarget::Version(1),
        };
        let nested =
            TxnOp::Txn(TxnRequest { success: vec![TxnOp::Range(get("w1"))], ..TxnRequest::default() });
        let txn = TxnRequest {
            compare: vec![compare],
            success: vec![TxnOp::Put(put("w2", "b")), nested],
            failure: Vec::new(),
        };
        let answer = client.txn(txn).await.unwrap();
        assert!(answer.succeeded && answer.responses.len() == 2, "{answer:?}");

        let mut future = get("w1");
        future.revision = Revision(10_000);
        assert_eq!(client.range(future).await.unwrap_err().error, Error::FutureRevision);
        assert_eq!(client.lease_revoke(LeaseId(1)).await.unwrap_err().error, Error::LeaseNotFound);

        let mut watcher = client.watch(WatchCreate {
            range: KeyRange::prefix("w"),
            start_revision: first,
            fragment: true,
            ..WatchCreate::default()
        });
        let mut keys = Vec::new();
        let mut killed = false;
        while keys.len() < 30 {
            let answer = watcher.next().await.unwrap().unwrap();
            keys.extend(answer.events.iter().map(|event| event.kv.key.clone()));
            if keys.len() == 2 {
                for index in 3..=10 {
                    client.put(put(&format!("w{index}"), "c")).await.unwrap();
                }
            }
            if keys.len() == 10 && !killed {
                killed = true;
                etcd.kill();
                let refused =
                    client.call_within(Request::Put(put("no", "")), Duration::from_millis(300)).await;
                assert!(refused.is_err());
                etcd.restart();
                for index in 11..=30 {
                    client.put(put(&format!("w{index}"), "d")).await.unwrap();
                }
            }
        }
        let want: Vec<_> = (1..=30).map(|index| bytes::Bytes::from(format!("w{index}"))).collect();
        assert_eq!(keys, want);
        assert!(watcher.resumed() > 0, "the kill went unnoticed");

        // Compacted history is a reason, not a failure.
        let newest = client.range(get("w1")).await.unwrap().header.revision;
        client
            .compact(seatrial_types::request::CompactRequest { revision: newest, physical: false })
            .await
            .unwrap();
        let create =
            WatchCreate { range: KeyRange::prefix("w"), start_revision: first, ..WatchCreate::default() };
        let mut late = client.watch(create);
        let canceled = loop {
            let answer = late.next().await.unwrap().unwrap();
            if answer.canceled {
                break answer;
            }
        };
        assert_eq!(canceled.compact_revision, newest);
        assert!(late.next().await.is_none());

        // A lease lives while it is kept, and says when it is gone.
        let lease = client.lease_grant(LeaseGrantRequest { id: LeaseId(42), ttl_seconds: 2 }).await.unwrap();
        assert_eq!(lease.id, LeaseId(42));
        let mut answers = 0;
        let keeping = keep_alive(&world, &client, lease.id, |_| answers += 1);
        let ended = tokio::join!(keeping, async {
            world.sleep(Duration::from_secs(3)).await;
            client.lease_revoke(LeaseId(42)).await.unwrap();
        })
        .0;
        assert_eq!(ended.error, Error::LeaseNotFound);
        assert!(answers >= 4, "{answers}");
    };
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("the test hangs");
    });
}
