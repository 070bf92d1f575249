//! What is measured once and not by the second: memory, a restart, the loss of the leader.

use crate::asks::{self, Shape};
use crate::connection::Event;
use crate::cost::{folder_bytes, memory_bytes};
use crate::drive::Line;
use crate::fill::fill;
use crate::load::Measured;
use crate::servers::Cluster;
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// How long a cluster may take until it writes again.
const RECOVERY_MAX: Duration = Duration::from_secs(120);
/// Between two tries of the same client.
const RETRY: Duration = Duration::from_millis(2);
/// Between two writes that are asked for while nobody answers.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Until what was written last has been put in its place on disk.
const SETTLE: Duration = Duration::from_secs(3);

/// A store full of keys.
#[derive(Clone, Debug, Serialize)]
pub struct Weight {
    /// Whose.
    pub server: String,
    /// How many keys.
    pub keys: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// How fast they were written, a hundred in a transaction.
    pub fill_keys_per_second: f64,
    /// Memory of each member once all are written.
    pub memory_mib: Vec<f64>,
    /// The data folder of each member.
    pub disk_mib: Vec<f64>,
    /// From the start of all members, after all were killed, to the first write.
    pub restart_to_write_s: f64,
    /// Memory of each member after that.
    pub memory_restarted_mib: Vec<f64>,
    /// What was asked of the full store.
    pub full: Vec<Measured>,
}

/// Leaders killed.
#[derive(Clone, Debug, Serialize)]
pub struct Failover {
    /// Whose.
    pub server: String,
    /// From each kill to the next write.
    pub to_write_ms: Vec<f64>,
}

impl Failover {
    /// The middle one.
    #[must_use]
    pub fn median_ms(&self) -> f64 {
        let mut sorted = self.to_write_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Fills a fresh cluster; then all members are killed and started again. `between` runs while the store is full.
///
/// # Errors
/// The cluster's.
pub fn weigh(
    cluster: &mut Cluster,
    shape: &Shape,
    between: impl FnOnce(&Cluster) -> Result<Vec<Measured>>,
) -> Result<Weight> {
    let begin = Instant::now();
    fill(cluster.endpoints(), shape)?;
    let fill_time = begin.elapsed();
    thread::sleep(SETTLE);
    let memory = |cluster: &Cluster| -> Result<Vec<f64>> {
        cluster.pids().into_iter().map(|pid| memory_bytes(pid).map(mib)).collect()
    };
    let memory_mib = memory(cluster)?;
    let disk_mib = cluster.data().map(|data| folder_bytes(data).map(mib)).collect::<Result<_>>()?;
    let full = between(cluster)?;
    let members = cluster.endpoints().len();
    for member in 0..members {
        cluster.kill(member)?;
    }
    let begin = Instant::now();
    for member in 0..members {
        cluster.start_member(member)?;
    }
    let written = first_write(cluster.endpoints())?;
    let restart = written - begin;
    cluster.wait_until_served()?;
    thread::sleep(SETTLE);
    Ok(Weight {
        server: cluster.name().to_owned(),
        keys: shape.keys,
        value_bytes: shape.value_bytes,
        fill_keys_per_second: shape.keys as f64 / fill_time.as_secs_f64(),
        memory_mib,
        disk_mib,
        restart_to_write_s: restart.as_secs_f64(),
        memory_restarted_mib: memory(cluster)?,
        full,
    })
}

/// Kills the leader and looks how long no write succeeds, so many times.
///
/// # Errors
/// The cluster's.
pub fn fail_over(cluster: &mut Cluster, times: usize) -> Result<Failover> {
    let mut to_write_ms = Vec::new();
    ensure!(cluster.endpoints().len() > 2, "a cluster without its leader needs two more members to go on");
    for _ in 0..times {
        let leader = cluster.leader()?;
        let mut others = cluster.endpoints().to_vec();
        others.remove(leader);
        // Everybody has had time to forget the last time.
        thread::sleep(Duration::from_secs(1));
        let killed = Instant::now();
        cluster.kill(leader)?;
        to_write_ms.push((first_write(&others)? - killed).as_secs_f64() * 1e3);
        cluster.start_member(leader)?;
        cluster.wait_until_served()?;
    }
    Ok(Failover { server: cluster.name().to_owned(), to_write_ms })
}

/// When the first write succeeded at any of these members, all of which are asked all the time.
fn first_write(endpoints: &[String]) -> Result<Instant> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let asking: Vec<_> = (endpoints.iter().cloned())
            .map(|endpoint| {
                let tell = tell.clone();
                tokio::task::spawn_local(async move {
                    loop {
                        if let Ok(written) = ask_until_written(&endpoint).await {
                            let _ = tell.send(written);
                            return;
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                })
            })
            .collect();
        let first = tokio::time::timeout(RECOVERY_MAX, told.recv()).await;
        asking.iter().for_each(tokio::task::JoinHandle::abort);
        match first {
            Ok(Some(written)) => Ok(written),
            _ => bail!("no write succeeded within {} s", RECOVERY_MAX.as_secs()),
        }
    })
}

async fn ask_until_written(endpoint: &str) -> Result<Instant> {
    let mut line = Line::connect(endpoint).await?;
    let put = asks::put(0, Bytes::from_static(b"after")).encode_to_vec();
    let mut written = None;
    let mut due = Instant::now();
    while written.is_none() {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(due.into()) => {
                line.connection.ask(asks::PUT, &put);
                line.write()?;
                due = Instant::now() + ASK_EVERY;
            }
            turned = line.turn(|event| {
                if let Event::End { ok: true, .. } = event {
                    written.get_or_insert_with(Instant::now);
                }
            }) => turned?,
        }
    }
    Ok(written.expect("the loop ends with it"))
}
