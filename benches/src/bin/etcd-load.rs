//! `etcd-load`: load against any server of etcd's v3 API, and a comparison with the real etcd.

#![allow(clippy::disallowed_methods, reason = "a composition root")]

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use seatrial_benches::load::{Case, Load, fill};
use seatrial_benches::servers::{Cluster, Program};
use seatrial_benches::table::{self, Row};
use std::path::PathBuf;
use std::time::Duration;

/// Load against any server of etcd's v3 API.
#[derive(Debug, Parser)]
#[command(name = "etcd-load")]
struct Cli {
    #[command(subcommand)]
    command: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Drives servers that run already.
    Run {
        /// `host:port` of each member, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
        endpoints: Vec<String>,
        /// Processes whose CPU and writes are counted, separated by commas.
        #[arg(long, value_delimiter = ',')]
        pids: Vec<u32>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Starts a cluster of the real etcd and one of ours on loopback and drives both in turn.
    Compare {
        /// The real etcd.
        #[arg(long, default_value = "etcd")]
        etcd: PathBuf,
        /// Our binary, built for release without default features.
        #[arg(long, default_value = "target/release/seatrial")]
        seatrial: PathBuf,
        /// Members of each cluster.
        #[arg(long, default_value_t = 3)]
        members: usize,
        /// How often each case is measured on each server; medians are compared.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Where the members keep their data: on the disk that is to be measured.
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        data: PathBuf,
        #[command(flatten)]
        shape: Shape,
    },
}

#[derive(Debug, Args)]
struct Shape {
    /// What is asked and by how many clients: put:N, get:N (linearizable) or get-serializable:N.
    #[arg(long = "case", default_values = ["put:1", "put:100", "get:100"])]
    cases: Vec<Case>,
    /// Connections, shared by the clients; 0 is one per client up to 100.
    #[arg(long, default_value_t = 0)]
    connections: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Keys, all written once before the first measurement.
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds of load before counting begins.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Shape {
    fn check(&self) -> Result<()> {
        ensure!(self.keys > 0, "--keys must be at least 1");
        ensure!(
            self.seconds > 0.0 && self.seconds <= 86_400.0,
            "--seconds must be above 0 and at most a day"
        );
        ensure!((0.0..=86_400.0).contains(&self.warm_up), "--warm-up must not be negative and at most a day");
        Ok(())
    }

    fn load(&self, case: Case, endpoints: &[String], pids: &[u32]) -> Load {
        Load {
            endpoints: endpoints.to_vec(),
            case,
            connections: self.connections,
            value_bytes: self.value_bytes,
            keys: self.keys,
            warm_up: Duration::from_secs_f64(self.warm_up),
            time: Duration::from_secs_f64(self.seconds),
            pids: pids.to_vec(),
        }
    }
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Mode::Run { endpoints, pids, shape } => run(&endpoints, &pids, &shape),
        Mode::Compare { etcd, seatrial, members, rounds, data, shape } => {
            ensure!(members > 0 && rounds > 0, "--members and --rounds must be at least 1");
            let programs = [Program::Etcd(etcd), Program::Seatrial(seatrial)];
            compare(&programs, members, rounds, &data, &shape)
        }
    }
}

fn run(endpoints: &[String], pids: &[u32], shape: &Shape) -> Result<()> {
    shape.check()?;
    fill(endpoints, shape.keys, shape.value_bytes)?;
    let mut rows = Vec::new();
    for case in &shape.cases {
        let measured = shape.load(*case, endpoints, pids).run()?;
        rows.push(Row { server: endpoints[0].clone(), round: 1, measured });
    }
    if shape.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table::rows(&rows));
    }
    Ok(())
}

fn compare(
    programs: &[Program; 2],
    members: usize,
    rounds: usize,
    data: &std::path::Path,
    shape: &Shape,
) -> Result<()> {
    shape.check()?;
    let mut clusters = Vec::new();
    for program in programs {
        let cluster = Cluster::start(program, members, data)
            .with_context(|| format!("a cluster of {}", program.name()))?;
        fill(cluster.endpoints(), shape.keys, shape.value_bytes)?;
        clusters.push((program.name(), cluster));
    }
    let mut rows = Vec::new();
    for case in &shape.cases {
        for round in 1..=rounds {
            // In turn, so that what drifts (a warm disk, a busy neighbour) hits both alike; and the first of one
            // round is the second of the next.
            let order: [usize; 2] = if round % 2 == 1 { [0, 1] } else { [1, 0] };
            for which in order {
                let (name, cluster) = &clusters[which];
                eprintln!("{case}, round {round} of {rounds}: {name}");
                let measured = shape.load(*case, cluster.endpoints(), &cluster.pids()).run()?;
                rows.push(Row { server: (*name).to_owned(), round, measured });
            }
        }
    }
    let (theirs, ours) = (programs[0].name(), programs[1].name());
    let ratios = table::compare(&rows, ours, theirs);
    if shape.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "rows": rows, "ratios": ratios }))?);
    } else {
        print!("{}\n{}", table::rows(&rows), table::ratios(&ratios, ours, theirs));
    }
    Ok(())
}
