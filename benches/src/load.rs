//! Closed-loop load: each client asks, waits for the answer, and asks again.

use crate::asks::{self, Asker, Shape};
use crate::case::{Case, Kind};
use crate::channel::Channel;
use crate::cost::Cost;
use crate::drive::{Script, drive};
use crate::watching;
use anyhow::{Context, Result, bail, ensure};
use seatrial_proto::etcdserverpb::RangeRequest;
use seatrial_proto::etcdserverpb::kv_client::KvClient;
use seatrial_proto::etcdserverpb::lease_client::LeaseClient;
use serde::Serialize;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Connections where none are asked for.
const CONNECTIONS: usize = 100;

/// One measurement to be made.
#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port` of each member; connections go round them.
    pub endpoints: Vec<String>,
    /// What is asked.
    pub case: Case,
    /// Connections, shared by the clients; each client keeps to one. 0 is the smaller of the clients and 100.
    pub connections: usize,
    /// Of the keys, which must be there.
    pub shape: Shape,
    /// Writes per second of the watched key.
    pub watched_puts_per_second: f64,
    /// Before counting begins.
    pub warm_up: Duration,
    /// While counting.
    pub time: Duration,
    /// Processes whose cost is counted.
    pub pids: Vec<u32>,
}

/// What a measurement said.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was asked.
    pub case: Case,
    /// Answered with success while counting.
    pub operations: u64,
    /// Answered with an error while counting.
    pub errors: u64,
    /// How long was counted.
    pub seconds: f64,
    /// Answered per second.
    pub per_second: f64,
    /// Half of the answers came within.
    pub latency_ms_p50: f64,
    /// All but one answer in a hundred came within.
    pub latency_ms_p99: f64,
    /// CPU of the counted processes per operation; absent without pids.
    pub server_cpu_us: Option<f64>,
    /// Bytes the counted processes wrote per operation; absent without pids.
    pub server_written_bytes: Option<f64>,
    /// CPU of this client per operation.
    pub client_cpu_us: f64,
}

/// What clients saw while counting.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) latencies: Vec<Duration>,
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
}

/// What was spent while counting.
pub(crate) struct Spent {
    pub(crate) server: Cost,
    pub(crate) client: Cost,
}

/// The clients of one connection.
struct Clients {
    askers: Vec<Asker>,
    seen: Rc<RefCell<Seen>>,
    begin: Instant,
    end: Instant,
}

impl Script for Clients {
    fn next(&mut self, client: usize) -> Option<(usize, &[u8])> {
        Some(self.askers[client].next())
    }

    fn answered(&mut self, _: usize, asked: Instant, now: Instant, ok: bool) {
        // Counted by the moment of the answer: the edges of the window then cut as many as they let in.
        if now < self.begin || now >= self.end {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        if ok {
            seen.latencies.push(now - asked);
        } else {
            seen.errors += 1;
        }
    }
}

impl Load {
    /// Makes the measurement. Runs a runtime of its own on this thread: one thread drives all clients, so
    /// that the servers keep the other cores.
    ///
    /// # Errors
    /// No connection, a server that answers otherwise than it should, a server process that went away, or not a
    /// single success.
    pub fn run(&self) -> Result<Measured> {
        ensure!(!self.endpoints.is_empty(), "no endpoint was given");
        let Shape { keys, range_keys, .. } = self.shape;
        ensure!(
            self.case.kind != Kind::Range || (1..=keys).contains(&range_keys),
            "a range of {range_keys} keys of {keys}; hint: --range-keys lies between 1 and --keys"
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async {
            self.try_once().await?;
            let (seen, spent) = match self.case.kind {
                Kind::Watch => watching::measure(self).await?,
                _ => self.measure().await?,
            };
            self.judge(seen, &spent)
        })
    }

    /// One question of the kind, to hear what the server says where something is wrong.
    async fn try_once(&self) -> Result<()> {
        let (channel, origin) = Channel::to(&self.endpoints[0]).await?;
        let mut kv = KvClient::with_origin(channel.clone(), origin.clone());
        let Shape { keys, range_keys, .. } = self.shape;
        let (request, wanted) = match self.case.kind {
            Kind::LeaseGrant | Kind::LeaseKeepAlive => return Ok(()),
            Kind::Range => (asks::span(keys - range_keys, keys), range_keys),
            Kind::Count => (RangeRequest { count_only: true, ..asks::span(0, keys) }, keys),
            _ => (RangeRequest { key: asks::key(0), ..RangeRequest::default() }, 1),
        };
        let answer = kv.range(request).await.context("a read before the measurement")?.into_inner();
        ensure!(
            answer.count == wanted as i64,
            "{wanted} keys were looked for and {} are there; hint: the keys are written before, see --keys",
            answer.count
        );
        Ok(())
    }

    /// The connections, and how many clients each has.
    pub(crate) fn spread(&self) -> Vec<(String, usize)> {
        let clients = self.case.streams;
        let wanted = if self.connections == 0 { CONNECTIONS } else { self.connections }.min(clients);
        (0..wanted)
            .map(|number| {
                let endpoint = self.endpoints[number % self.endpoints.len()].clone();
                (endpoint, clients / wanted + usize::from(number < clients % wanted))
            })
            .collect()
    }

    async fn leases(&self) -> Result<Vec<i64>> {
        if self.case.kind != Kind::LeaseKeepAlive {
            return Ok(vec![0; self.case.clients]);
        }
        let (channel, origin) = Channel::to(&self.endpoints[0]).await?;
        let client = LeaseClient::with_origin(channel, origin);
        let grants: Vec<_> = (0..self.case.clients)
            .map(|_| {
                let mut client = client.clone();
                tokio::task::spawn_local(async move {
                    let request = seatrial_proto::etcdserverpb::LeaseGrantRequest {
                        ttl: asks::LEASE_TTL_SECONDS,
                        id: 0,
                    };
                    client.lease_grant(request).await.map(|answer| answer.into_inner().id)
                })
            })
            .collect();
        let mut leases = Vec::new();
        for grant in grants {
            leases.push(grant.await?.context("granting the leases that are to be renewed")?);
        }
        Ok(leases)
    }

    async fn measure(&self) -> Result<(Seen, Spent)> {
        let leases = self.leases().await?;
        let seen = Rc::new(RefCell::new(Seen::default()));
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.time;
        let is_long = self.case.kind == Kind::LeaseKeepAlive;
        let mut first = 0;
        let mut running = Vec::new();
        for (endpoint, clients) in self.spread() {
            let askers = (first..first + clients)
                .map(|number| Asker::new(self.case.kind, &self.shape, number as u64 + 1, leases[number]))
                .collect();
            first += clients;
            let mut script = Clients { askers, seen: Rc::clone(&seen), begin, end };
            running.push(tokio::task::spawn_local(async move {
                let ended = drive(&endpoint, clients, is_long, &mut script).await;
                if let Err(error) = ended {
                    let mut seen = script.seen.borrow_mut();
                    seen.errors += clients as u64;
                    seen.error.get_or_insert_with(|| format!("{error:#}"));
                }
            }));
        }
        let spent = self.spend(begin, end).await?;
        for task in running {
            // The answers that are still owed are none of ours any more.
            task.abort();
        }
        let seen = std::mem::take(&mut *seen.borrow_mut());
        Ok((seen, spent))
    }

    /// Lets the time pass and says what it cost.
    pub(crate) async fn spend(&self, begin: Instant, end: Instant) -> Result<Spent> {
        let us = [std::process::id()];
        tokio::time::sleep_until(begin.into()).await;
        let (server, client) = (Cost::of(&self.pids)?, Cost::of(&us)?);
        tokio::time::sleep_until(end.into()).await;
        Ok(Spent { server: Cost::of(&self.pids)? - server, client: Cost::of(&us)? - client })
    }

    fn judge(&self, mut seen: Seen, spent: &Spent) -> Result<Measured> {
        if seen.latencies.is_empty() {
            let why = match (seen.error, seen.errors) {
                (Some(error), _) => error,
                (None, 0) => "no answer came in time".to_owned(),
                (None, refused) => format!("{refused} were refused"),
            };
            bail!("{}: not a single operation succeeded: {why}", self.case);
        }
        seen.latencies.sort_unstable();
        let operations = seen.latencies.len() as u64;
        let each = |total: f64| total / operations as f64;
        let counted = !self.pids.is_empty();
        Ok(Measured {
            case: self.case,
            operations,
            errors: seen.errors,
            seconds: self.time.as_secs_f64(),
            per_second: operations as f64 / self.time.as_secs_f64(),
            latency_ms_p50: quantile(&seen.latencies, 50).as_secs_f64() * 1e3,
            latency_ms_p99: quantile(&seen.latencies, 99).as_secs_f64() * 1e3,
            server_cpu_us: counted.then(|| each(spent.server.cpu.as_secs_f64() * 1e6)),
            server_written_bytes: counted.then(|| each(spent.server.written_bytes as f64)),
            client_cpu_us: each(spent.client.cpu.as_secs_f64() * 1e6),
        })
    }
}

/// The value below which `percent` of the sorted, non-empty list lie.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(case: &str) -> Load {
        Load {
            endpoints: vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()],
            case: case.parse().unwrap(),
            connections: 0,
            shape: Shape { value_bytes: 1, keys: 1, range_keys: 1 },
            watched_puts_per_second: 20.0,
            warm_up: Duration::ZERO,
            time: Duration::from_millis(10),
            pids: Vec::new(),
        }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let list: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&list, 50), Duration::from_millis(50));
        assert_eq!(quantile(&list, 99), Duration::from_millis(99));
        assert_eq!(quantile(&list[..1], 99), Duration::from_millis(1));
        // Of five, half is less than three.
        assert_eq!(quantile(&list[..5], 50), Duration::from_millis(3));
    }

    #[test]
    fn clients_are_spread_evenly_over_connections_and_members() {
        let spread = |case: &str, connections| Load { connections, ..load(case) }.spread();
        assert_eq!(spread("put:7", 3).iter().map(|(_, clients)| *clients).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(spread("put:7", 3)[2].0, "127.0.0.1:1");
        assert_eq!(spread("put:1000", 0).len(), 100);
        assert_eq!(spread("put:3", 50).len(), 3);
        assert_eq!(spread("watch:1000/10", 0).len(), 10);
    }

    #[test]
    fn without_a_single_success_there_is_no_measurement() {
        let error = load("put:1").run().unwrap_err().to_string();
        assert!(error.contains("connecting to 127.0.0.1:1"), "{error}");
        let nothing = Spent { server: Cost::default(), client: Cost::default() };
        let refused = Seen { errors: 3, ..Seen::default() };
        let error = load("put:1").judge(refused, &nothing).unwrap_err().to_string();
        assert!(error.contains("not a single operation succeeded: 3 were refused"), "{error}");
        let error = Load { shape: Shape { value_bytes: 1, keys: 5, range_keys: 9 }, ..load("range:1") };
        assert!(error.run().unwrap_err().to_string().contains("--range-keys"));
    }
}
