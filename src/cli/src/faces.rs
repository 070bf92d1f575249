//! What the server's faces are told on the command line: etcd's flags for limits, keepalive, metrics, and who may ask.

use crate::server::{Failure, usage};
use clap::{Args, ValueEnum};
use seatrial_etcd::{Kind, Limits, Page, validate::OVERHEAD_BYTES};
use seatrial_wire::{Access, Metrics, ServeOptions};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Flags of the server around its faces.
#[derive(Debug, Args)]
pub(crate) struct FacesArgs {
    /// More addresses at which metrics and health are served, and nothing else.
    #[arg(long, env = "ETCD_LISTEN_METRICS_URLS", value_delimiter = ',')]
    pub(crate) listen_metrics_urls: Vec<String>,
    /// How much is measured; `extensive` adds the time that calls take.
    #[arg(long, env = "ETCD_METRICS", value_enum, default_value_t = Extent::Basic)]
    metrics: Extent,
    /// Bytes that a request may have.
    #[arg(long, env = "ETCD_MAX_REQUEST_BYTES", default_value_t = 1_572_864,
        value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    max_request_bytes: u32,
    /// Operations that a transaction may have.
    #[arg(long, env = "ETCD_MAX_TXN_OPS", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    max_txn_ops: u32,
    /// Calls that may be open at once on one connection.
    #[arg(long, env = "ETCD_MAX_CONCURRENT_STREAMS", default_value_t = u32::MAX,
        value_parser = clap::value_parser!(u32).range(1..))]
    max_concurrent_streams: u32,
    /// Clients that ping more often than this are sent away.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_MIN_TIME", default_value = "5s", value_parser = duration)]
    grpc_keepalive_min_time: Duration,
    /// After so much silence it is asked whether a client is still there; 0 never asks.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_INTERVAL", default_value = "2h", value_parser = duration)]
    grpc_keepalive_interval: Duration,
    /// A client that does not answer in this time is gone.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_TIMEOUT", default_value = "20s", value_parser = duration)]
    grpc_keepalive_timeout: Duration,
    /// Serve the v2 API too.
    #[arg(long, env = "ETCD_ENABLE_V2", num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) enable_v2: bool,
    /// Origins whose web pages may ask; `*` stands for all.
    #[arg(long, env = "ETCD_CORS", default_value = "*", value_delimiter = ',')]
    cors: Vec<String>,
    /// Names under which the server may be called over HTTP where there is no TLS; `*` stands for all.
    #[arg(long, env = "ETCD_HOST_WHITELIST", default_value = "*", value_delimiter = ',')]
    host_whitelist: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Extent {
    Basic,
    Extensive,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::etcdctl::go::parse_duration(text)
        .map_err(|_| "a time has a unit, such as 5s, 300ms or 2h".to_owned())
}

impl FacesArgs {
    /// The options all faces share. `election_timeout` is the pace at which the leader is looked for.
    pub(crate) fn options(&self, election_timeout: Duration) -> Result<ServeOptions, Failure> {
        let names = |names: &[String]| -> BTreeSet<String> {
            let names = names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
            let names: BTreeSet<String> = names.collect();
            // As in etcd, nothing named means all.
            if names.is_empty() { BTreeSet::from(["*".to_owned()]) } else { names }
        };
        for origin in self.cors.iter().filter(|origin| !origin.is_empty() && *origin != "*") {
            if !origin.starts_with("http://") && !origin.starts_with("https://") {
                return Err(usage(format!(
                    "--cors {origin:?} is no origin\nhint: https://console.example, or * for all"
                )));
            }
        }
        let request_bytes_max = self.max_request_bytes as usize;
        let metrics = match self.metrics {
            Extent::Basic => Metrics::default(),
            Extent::Extensive => Metrics::extensive(),
        };
        // hyper has no word for never.
        let interval = self.grpc_keepalive_interval;
        let never = Duration::from_secs(100 * 365 * 86_400);
        Ok(ServeOptions {
            limits: Limits {
                txn_ops_max: self.max_txn_ops as usize,
                request_bytes_max,
                watch_response_bytes: request_bytes_max + OVERHEAD_BYTES,
            },
            keepalive_interval: if interval.is_zero() { never } else { interval },
            keepalive_timeout: self.grpc_keepalive_timeout,
            keepalive_min_time: self.grpc_keepalive_min_time,
            concurrent_streams_max: self.max_concurrent_streams,
            leader_check_interval: election_timeout,
            access: Access { origins: names(&self.cors), hosts: names(&self.host_whitelist) },
            metrics: Arc::new(metrics),
            enable_v2: self.enable_v2,
            ..ServeOptions::default()
        })
    }
}

/// What the kernel knows of this process, under the names of Prometheus' library. Nothing where there is no `/proc`.
#[allow(clippy::disallowed_methods, reason = "the machine is asked, not a member's data")]
pub(crate) fn process_metrics(page: &mut Page) {
    /// Ticks of a second, and bytes of a page, on every Linux of 64 bits that we build for.
    const TICKS: f64 = 100.0;
    const PAGE_BYTES: u64 = 4096;
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The name of the program, in brackets, may hold anything.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return };
    let fields: Vec<u64> = fields.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let cpu = (field(14) + field(15)) as f64 / TICKS;
    page.one("process_cpu_seconds_total", Kind::Counter, "Time on processors.", cpu);
    let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
    if let Some(boot) = boot {
        let start = boot + field(22) as f64 / TICKS;
        page.one("process_start_time_seconds", Kind::Gauge, "When the process began, since 1970.", start);
    }
    let (virtual_bytes, resident) = (field(23), field(24) * PAGE_BYTES);
    page.one("process_virtual_memory_bytes", Kind::Gauge, "Address space in use.", virtual_bytes);
    page.one("process_resident_memory_bytes", Kind::Gauge, "Memory in use.", resident);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count());
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        let soft = line.split_whitespace().next()?;
        Some(if soft == "unlimited" { u64::MAX } else { soft.parse().ok()? })
    };
    for name in ["process_open_fds", "os_fd_used"] {
        page.one(name, Kind::Gauge, "Files and sockets that are open.", open);
    }
    if let Some(most) = limit("Max open files") {
        for name in ["process_max_fds", "os_fd_limit"] {
            page.one(name, Kind::Gauge, "Files and sockets that may be open.", most);
        }
    }
    if let Some(most) = limit("Max address space") {
        page.one("process_virtual_memory_max_bytes", Kind::Gauge, "Address space that may be used.", most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        faces: FacesArgs,
    }

    fn options(args: &[&str]) -> Result<ServeOptions, String> {
        let line = Line::try_parse_from(["x"].iter().chain(args)).map_err(|error| error.to_string())?;
        match line.faces.options(Duration::from_secs(1)) {
            Ok(options) => Ok(options),
            Err(Failure::Usage(text) | Failure::Failed(text)) => Err(text),
        }
    }

    #[test]
    fn flags_become_options() {
        let plain = options(&[]).unwrap();
        assert_eq!(plain.limits, Limits::default());
        assert_eq!(plain.access, Access::default());
        assert_eq!(plain.keepalive_min_time, Duration::from_secs(5));
        assert!(plain.enable_v2 && options(&["--enable-v2"]).unwrap().enable_v2);
        assert!(!options(&["--enable-v2=false"]).unwrap().enable_v2);
        let set = options(&[
            "--max-request-bytes=1000",
            "--grpc-keepalive-min-time=300ms",
            "--grpc-keepalive-interval=0s",
            "--cors=https://a.example,http://b.example:80",
            "--host-whitelist=db.example,localhost",
        ])
        .unwrap();
        assert_eq!(set.limits.request_bytes_max, 1000);
        assert_eq!(set.keepalive_min_time, Duration::from_millis(300));
        assert!(set.keepalive_interval > Duration::from_secs(1 << 30));
        assert_eq!(set.access.hosts, BTreeSet::from(["db.example".to_owned(), "localhost".to_owned()]));
        assert!(set.access.origins.contains("http://b.example:80"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        assert!(options(&["--cors=a.example"]).unwrap_err().contains("hint: https://console.example"));
        assert!(options(&["--grpc-keepalive-min-time=5"]).unwrap_err().contains("such as 5s"));
        assert!(options(&["--max-request-bytes=0"]).is_err());
        assert!(options(&["--metrics=all"]).is_err());
    }

    #[test]
    fn the_process_tells_of_itself() {
        let mut page = Page::default();
        process_metrics(&mut page);
        let text = page.into_text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1.6e9);
    }
}
