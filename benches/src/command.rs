//! `seatrial bench`: load against servers that run, and a comparison with the real etcd.

use crate::asks::Shape;
use crate::case::{self, Case, Kind};
use crate::fill::fill;
use crate::load::Load;
use crate::servers::{Cluster, Program};
use crate::table::{self, Comparison, Failed, Row};
use crate::trials;
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{Duration, Instant};

/// What the command does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Drive servers that run already. Writes keys below /load/.
    Run(RunArgs),
    /// Start a cluster of the real etcd and one of ours on loopback, drive both in turn, and print medians and ratios.
    Compare(CompareArgs),
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// `host:port` of each member, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// Processes whose CPU and writes are counted, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    #[command(flatten)]
    load: LoadArgs,
}

/// Options of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The real etcd.
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
    /// Our binary [default: this one].
    #[arg(long)]
    seatrial: Option<PathBuf>,
    /// Members of each cluster.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// How often each case is measured on each server; medians are compared.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the members keep their data: on the disk that is to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Keys of the store whose memory and restart are measured; 0 leaves that out.
    #[arg(long, default_value_t = 1_000_000)]
    weight_keys: u64,
    /// How often the leader of each cluster is killed; 0 leaves that out.
    #[arg(long, default_value_t = 5)]
    failovers: usize,
    /// Writes the results as Markdown into this file, anew after every case, so that what was measured is kept
    /// whatever comes.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    load: LoadArgs,
}

/// Options of both.
#[derive(Debug, Args)]
struct LoadArgs {
    /// What is asked and by how many clients: KIND:CLIENTS with put, get (linearizable), get-serializable, range,
    /// count, txn (a put if the key is there), txn-10-puts, mixed-90-10 (reads, writes), mixed-50-50, lease-grant,
    /// lease-keep-alive, or watch:WATCHERS/STREAMS [default: a standard set].
    #[arg(long = "case", value_name = "CASE")]
    cases: Vec<Case>,
    /// Connections, shared by the clients; 0 is one per client up to 100.
    #[arg(long, default_value_t = 0)]
    connections: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Keys, all written once before the first measurement.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Keys of one range.
    #[arg(long, default_value_t = 1000)]
    range_keys: u64,
    /// Writes per second of the key that is watched.
    #[arg(long, default_value_t = 20.0)]
    watched_puts: f64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Seconds of load before counting begins.
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    fn check(&self) -> Result<()> {
        ensure!(self.keys > 0, "--keys must be at least 1");
        ensure!(
            self.value_bytes <= 1 << 20,
            "--value-bytes must be at most 1 MiB: servers take no more in a request"
        );
        ensure!(
            self.seconds > 0.0 && self.seconds <= 86_400.0,
            "--seconds must be above 0 and at most a day"
        );
        ensure!((0.0..=86_400.0).contains(&self.warm_up), "--warm-up must not be negative and at most a day");
        ensure!(
            self.watched_puts >= 0.1 && self.watched_puts <= 1e5,
            "--watched-puts must lie between 0.1 and 100,000"
        );
        Ok(())
    }

    fn cases(&self) -> Vec<Case> {
        if self.cases.is_empty() { case::standard() } else { self.cases.clone() }
    }

    fn shape(&self) -> Shape {
        Shape { value_bytes: self.value_bytes, keys: self.keys, range_keys: self.range_keys }
    }

    fn load(&self, case: Case, endpoints: &[String], pids: &[u32]) -> Load {
        Load {
            endpoints: endpoints.to_vec(),
            case,
            connections: self.connections,
            shape: self.shape(),
            watched_puts_per_second: self.watched_puts,
            warm_up: Duration::from_secs_f64(self.warm_up),
            time: Duration::from_secs_f64(self.seconds),
            pids: pids.to_vec(),
        }
    }
}

/// Does it, and prints what comes of it.
///
/// # Errors
/// Options that make no sense, and whatever stood in the way.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Run(args) => drive(args),
        Command::Compare(args) => compare(args),
    }
}

fn drive(args: &RunArgs) -> Result<()> {
    args.load.check()?;
    fill(&args.endpoints, &args.load.shape())?;
    let mut rows = Vec::new();
    for case in args.load.cases() {
        eprintln!("{case}");
        let measured = args.load.load(case, &args.endpoints, &args.pids).run()?;
        rows.push(Row { server: args.endpoints[0].clone(), round: 1, measured });
    }
    if args.load.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table::rows(&rows));
    }
    Ok(())
}

/// A comparison under way.
struct Comparing<'a> {
    args: &'a CompareArgs,
    programs: [Program; 2],
    begun: Instant,
    found: Comparison,
}

fn compare(args: &CompareArgs) -> Result<()> {
    args.load.check()?;
    ensure!(args.members > 0 && args.rounds > 0, "--members and --rounds must be at least 1");
    let ours = match &args.seatrial {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("looking for this program's own file")?,
    };
    let programs = [Program::Etcd(args.etcd.clone()), Program::Seatrial(ours)];
    let found = Comparison { setup: setup(args, &programs)?, ..Comparison::default() };
    let mut comparing = Comparing { args, programs, begun: Instant::now(), found };
    comparing.drive_both()?;
    if args.weight_keys > 0 {
        comparing.weigh_both()?;
    }
    let Comparing { programs, found, .. } = comparing;
    if args.load.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print!("{}", found.markdown(programs[1].name(), programs[0].name()));
    }
    Ok(())
}

/// What is compared, and on what.
fn setup(args: &CompareArgs, programs: &[Program; 2]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for program in programs {
        lines.push(program.version()?);
    }
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = Process::new("uname").arg("-sr").output();
    let kernel = kernel.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let LoadArgs { keys, value_bytes, seconds, range_keys, .. } = args.load;
    lines.push(format!(
        "{} members each and the clients, on {cores} cores of {}, {}",
        args.members,
        std::env::consts::ARCH,
        kernel.unwrap_or_default()
    ));
    lines.push(format!(
        "{keys} keys with values of {value_bytes} bytes, ranges of {range_keys} keys; {} rounds of {seconds} s, the \
         servers in turn",
        args.rounds
    ));
    Ok(lines)
}

impl Comparing<'_> {
    fn say(&self, what: &str) {
        eprintln!("{:>5.0} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn failed(&mut self, server: &str, what: &str, error: &anyhow::Error) {
        self.say(&format!("{what} of {server} failed: {error:#}"));
        let (server, what) = (server.to_owned(), what.to_owned());
        self.found.failed.push(Failed { server, what, error: format!("{error:#}") });
    }

    fn keep(&mut self) -> Result<()> {
        let (ours, theirs) = (self.programs[1].name(), self.programs[0].name());
        self.found.ratios = table::compare(&self.found.rows, ours, theirs);
        if let Some(report) = &self.args.report {
            std::fs::write(report, self.found.markdown(ours, theirs))
                .with_context(|| format!("writing {}", report.display()))?;
        }
        Ok(())
    }

    fn start(&self, program: &Program) -> Result<Cluster> {
        Cluster::start(program, self.args.members, &self.args.data)
            .with_context(|| format!("a cluster of {}", program.name()))
    }

    /// The cases and the failovers, on two clusters that run beside each other, one of them idle.
    fn drive_both(&mut self) -> Result<()> {
        let args = self.args;
        let mut clusters = Vec::new();
        for program in &self.programs {
            self.say(&format!("{}: started and filled", program.name()));
            let cluster = self.start(program)?;
            fill(cluster.endpoints(), &args.load.shape())?;
            clusters.push(cluster);
        }
        for case in args.load.cases() {
            let mut shown: [Vec<f64>; 2] = Default::default();
            for round in 1..=args.rounds {
                // In turn, so that what drifts (a warm disk, a busy neighbour) hits both alike; and the first of one
                // round is the second of the next.
                let order: [usize; 2] = if round % 2 == 1 { [0, 1] } else { [1, 0] };
                for which in order {
                    let (name, cluster) = (clusters[which].name(), &clusters[which]);
                    match args.load.load(case, cluster.endpoints(), &cluster.pids()).run() {
                        Ok(measured) => {
                            shown[which].push(measured.per_second);
                            self.found.rows.push(Row { server: name.to_owned(), round, measured });
                        }
                        Err(error) => self.failed(name, &format!("{case}, round {round}"), &error),
                    }
                }
            }
            let [theirs, ours] = shown
                .map(|each| each.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(" "));
            self.say(&format!("{case}: etcd {theirs}, seatrial {ours} operations/s"));
            self.keep()?;
        }
        // Without two others nobody can go on.
        if args.failovers > 0 && args.members > 2 {
            for cluster in &mut clusters {
                let name = cluster.name();
                match trials::fail_over(cluster, args.failovers) {
                    Ok(failover) => {
                        self.say(&format!("{name}: the leader killed, {:.0} ms", failover.median_ms()));
                        self.found.failovers.push(failover);
                    }
                    Err(error) => self.failed(name, "killing the leader", &error),
                }
            }
            self.keep()?;
        }
        Ok(())
    }

    /// Fresh clusters, one after the other, each filled, measured, killed and started again.
    fn weigh_both(&mut self) -> Result<()> {
        let args = self.args;
        let shape = Shape { keys: args.weight_keys, ..args.load.shape() };
        for program in self.programs.clone() {
            let name = program.name();
            let weighed = self.start(&program).and_then(|mut cluster| {
                trials::weigh(&mut cluster, &shape, |cluster| {
                    let cases = [(Kind::Count, 1), (Kind::Put, 100), (Kind::Get, 100)];
                    let asked = cases.map(|(kind, clients)| {
                        let case = Case { kind, clients, streams: clients };
                        let load = args.load.load(case, cluster.endpoints(), &cluster.pids());
                        Load { shape: shape.clone(), ..load }.run()
                    });
                    asked.into_iter().collect()
                })
            });
            match weighed {
                Ok(weight) => {
                    self.say(&format!("{name}: {} keys, {:.0} MiB", weight.keys, weight.memory_mib[0]));
                    self.found.weights.push(weight);
                }
                Err(error) => self.failed(name, "filling, killing and starting", &error),
            }
            self.keep()?;
        }
        Ok(())
    }
}

impl Program {
    /// What it calls itself.
    fn version(&self) -> Result<String> {
        let path: &Path = match self {
            Self::Etcd(path) | Self::Seatrial(path) => path,
        };
        let output = Process::new(path)
            .arg("--version")
            .output()
            .with_context(|| format!("asking {} for its version", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or(self.name()).to_owned())
    }
}
