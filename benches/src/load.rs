//! Closed-loop load: each client asks, waits for the answer, and asks again.

use crate::channel::Channel;
use crate::cost::Cost;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use seatrial_proto::etcdserverpb::kv_client::KvClient;
use seatrial_proto::etcdserverpb::{PutRequest, RangeRequest};
use serde::Serialize;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What the clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Writes one key.
    Put,
    /// Reads one key, linearizable.
    Get,
    /// Reads one key from the asked member's own state.
    GetSerializable,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Put, Self::Get, Self::GetSerializable];

    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetSerializable => "get-serializable",
        }
    }
}

/// A kind and a number of clients, written `put:100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// What they ask.
    pub kind: Kind,
    /// How many ask at once; at least 1.
    pub clients: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.clients)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, clients) = text.split_once(':').unwrap_or((text, "1"));
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let known = Kind::ALL.map(Kind::name).join(", ");
        let kind =
            kind.ok_or_else(|| format!("unknown kind {name:?}; hint: one of {known}, as in put:100"))?;
        match clients.parse() {
            Ok(clients) if clients > 0 => Ok(Self { kind, clients }),
            _ => Err(format!("{clients:?} is no number of clients; hint: at least 1, as in put:100")),
        }
    }
}

/// One measurement to be made.
#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port` of each member; connections go round them.
    pub endpoints: Vec<String>,
    /// What is asked.
    pub case: Case,
    /// Connections, shared by the clients; each client keeps to one. 0 is the smaller of `clients` and 100.
    pub connections: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys written or read, drawn evenly.
    pub keys: u64,
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

/// What one client saw while counting.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: u64,
    error: Option<String>,
}

impl Load {
    /// Makes the measurement. Runs a runtime of its own on this thread: one thread drives all clients, so
    /// that the servers keep the other cores.
    ///
    /// # Errors
    /// No connection, a server process that went away, or not a single success.
    pub fn run(&self) -> Result<Measured> {
        ensure!(!self.endpoints.is_empty(), "no endpoint was given");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, self.measure())
    }

    async fn measure(&self) -> Result<Measured> {
        let wanted = if self.connections == 0 { self.case.clients.min(100) } else { self.connections };
        let mut clients = Vec::new();
        for number in 0..wanted.min(self.case.clients) {
            let endpoint = &self.endpoints[number % self.endpoints.len()];
            let channel = Channel::connect(endpoint).await?;
            let origin = format!("http://{endpoint}").parse().context("an endpoint is host:port")?;
            clients.push(KvClient::with_origin(channel, origin));
        }
        let plan = Rc::new(self.clone());
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.time;
        let running: Vec<_> = (0..self.case.clients)
            .map(|number| {
                let client = clients[number % clients.len()].clone();
                tokio::task::spawn_local(ask(client, Rc::clone(&plan), number as u64, begin, end))
            })
            .collect();
        let us = [std::process::id()];
        tokio::time::sleep_until(begin.into()).await;
        let (server_before, client_before) = (Cost::of(&self.pids)?, Cost::of(&us)?);
        tokio::time::sleep_until(end.into()).await;
        let server = Cost::of(&self.pids)? - server_before;
        let client = Cost::of(&us)? - client_before;
        let mut seen = Seen::default();
        for task in running {
            let one = task.await.context("a client task panicked")?;
            seen.latencies.extend(one.latencies);
            seen.errors += one.errors;
            seen.error = seen.error.or(one.error);
        }
        self.judge(seen, server, client)
    }

    fn judge(&self, mut seen: Seen, server: Cost, client: Cost) -> Result<Measured> {
        if seen.latencies.is_empty() {
            let why = seen.error.unwrap_or_else(|| "no answer came in time".to_owned());
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
            server_cpu_us: counted.then(|| each(server.cpu.as_secs_f64() * 1e6)),
            server_written_bytes: counted.then(|| each(server.written_bytes as f64)),
            client_cpu_us: each(client.cpu.as_secs_f64() * 1e6),
        })
    }
}

/// Writes every key once, so that reads find something and first writes are not counted as updates.
///
/// # Errors
/// The first error of a server.
pub fn fill(endpoints: &[String], keys: u64, value_bytes: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = endpoints.first().context("no endpoint was given")?;
        let channel = Channel::connect(endpoint).await?;
        let origin = format!("http://{endpoint}").parse().context("an endpoint is host:port")?;
        let client = KvClient::with_origin(channel, origin);
        let writers = 64.min(keys);
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                for number in (writer..keys).step_by(writers as usize) {
                    client.put(put(number, Bytes::from(vec![b'0'; value_bytes]))).await?;
                }
                Ok::<_, tonic::Status>(())
            }));
        }
        for task in tasks {
            task.await?.context("filling the store")?;
        }
        Ok(())
    })
}

async fn ask(
    mut client: KvClient<Channel>,
    plan: Rc<Load>,
    number: u64,
    begin: Instant,
    end: Instant,
) -> Seen {
    let mut seen = Seen::default();
    let value = Bytes::from(vec![b'v'; plan.value_bytes]);
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    loop {
        let asked = Instant::now();
        if asked >= end {
            return seen;
        }
        let key = dice.below(plan.keys);
        let answer = match plan.case.kind {
            Kind::Put => client.put(put(key, value.clone())).await.map(drop),
            Kind::Get => client.range(get(key, false)).await.map(drop),
            Kind::GetSerializable => client.range(get(key, true)).await.map(drop),
        };
        let answered = Instant::now();
        // Counted by the moment of the answer: the edges of the window then cut as many as they let in.
        if answered < begin || answered >= end {
            continue;
        }
        match answer {
            Ok(()) => seen.latencies.push(answered - asked),
            Err(status) => {
                seen.errors += 1;
                seen.error.get_or_insert_with(|| status.to_string());
                // A server that refuses at once would otherwise be asked in a hot loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("/load/{number:012}"))
}

fn put(number: u64, value: Bytes) -> PutRequest {
    PutRequest { key: key(number), value, ..PutRequest::default() }
}

fn get(number: u64, serializable: bool) -> RangeRequest {
    RangeRequest { key: key(number), serializable, ..RangeRequest::default() }
}

/// The value below which `percent` of the sorted, non-empty list lie.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// xorshift64: which key is next need not be a good secret, only cheap and spread.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_as_it_is_written() {
        for text in ["put:100", "get:1", "get-serializable:7"] {
            assert_eq!(text.parse::<Case>().unwrap().to_string(), text);
        }
        assert_eq!("put".parse::<Case>().unwrap().clients, 1);
        assert!("pet:1".parse::<Case>().unwrap_err().contains("get-serializable"));
        assert!("put:0".parse::<Case>().unwrap_err().contains("at least 1"));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let list: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&list, 50), Duration::from_millis(50));
        assert_eq!(quantile(&list, 99), Duration::from_millis(99));
        assert_eq!(quantile(&list[..1], 99), Duration::from_millis(1));
    }

    #[test]
    fn keys_drawn_spread_over_all() {
        let mut dice = Dice(1);
        let drawn: std::collections::BTreeSet<u64> = (0..1000).map(|_| dice.below(10)).collect();
        assert_eq!(drawn.len(), 10);
    }

    #[test]
    fn without_a_single_success_there_is_no_measurement() {
        let load = Load {
            endpoints: vec!["127.0.0.1:1".into()],
            case: Case { kind: Kind::Put, clients: 1 },
            connections: 0,
            value_bytes: 1,
            keys: 1,
            warm_up: Duration::ZERO,
            time: Duration::from_millis(10),
            pids: Vec::new(),
        };
        assert!(load.run().unwrap_err().to_string().contains("connecting to 127.0.0.1:1"));
        let refused = Seen { errors: 3, error: Some("no leader".into()), ..Seen::default() };
        let error = load.judge(refused, Cost::default(), Cost::default()).unwrap_err().to_string();
        assert!(error.contains("not a single operation succeeded: no leader"), "{error}");
    }
}
