//! `seatrial up`, `down`, `status`: a cluster on this machine, as child processes that outlive the command.

use crate::exit;
use clap::Args;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long `up` waits for the cluster to serve, and `down` for a member to end.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many members: 1, 3, 5 or 7.
    #[arg(long, default_value_t = 3)]
    members: u16,
    /// Folder for the members' data and logs.
    #[arg(long, default_value = ".seatrial/up")]
    dir: PathBuf,
    /// Client port of the first member; peers use the next one, and each further member ports 100 higher.
    #[arg(long, default_value_t = 2379)]
    port: u16,
    /// How many machines of a fleet beside it: each a fleetd that runs its units as processes here.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=100))]
    machines: u16,
    /// Port of the first machine's interface; each further one the next.
    #[arg(long, default_value_t = 49153)]
    fleet_port: u16,
    /// More flags for every member, after `--`.
    #[arg(last = true)]
    server_flags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// The folder given to `up`.
    #[arg(long, default_value = ".seatrial/up")]
    dir: PathBuf,
}

/// What `up` leaves behind for `down` and `status`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    members: Vec<MemberState>,
    #[serde(default)]
    machines: Vec<MemberState>,
}

impl State {
    fn all(&self) -> impl Iterator<Item = &MemberState> {
        self.members.iter().chain(&self.machines)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct MemberState {
    name: String,
    pid: i32,
    /// When the process started, in clock ticks after boot: a pid alone may be reused.
    started: u64,
    client_url: String,
    data_dir: PathBuf,
    log: PathBuf,
}

/// Field 22 of `/proc/PID/stat`; `None` where the process is gone (or a zombie nobody has fetched yet).
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

impl MemberState {
    fn runs(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

fn fail(code: u8, text: impl AsRef<str>) -> ExitCode {
    eprintln!("seatrial: {}", text.as_ref());
    ExitCode::from(code)
}

fn read_state(dir: &Path) -> Result<State, String> {
    let file = dir.join("cluster.json");
    let text = fs::read_to_string(&file).map_err(|error| {
        format!("{}: {error}\nhint: `seatrial up --dir {}` starts a cluster", file.display(), dir.display())
    })?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

pub(crate) fn up(args: &UpArgs) -> ExitCode {
    if ![1, 3, 5, 7].contains(&args.members) {
        return fail(
            exit::USAGE,
            format!(
                "--members {} makes no sense\nhint: 1, 3, 5 or 7; an even number tolerates no more failures than one less",
                args.members
            ),
        );
    }
    if let Ok(state) = read_state(&args.dir)
        && let Some(running) = state.all().find(|member| member.runs())
    {
        return fail(
            exit::USAGE,
            format!(
                "{} (pid {}) still runs from {}\nhint: `seatrial down --dir {}` first",
                running.name,
                running.pid,
                args.dir.display(),
                args.dir.display()
            ),
        );
    }
    match start(args) {
        Ok(code) => code,
        Err(text) => fail(exit::VIOLATION, text),
    }
}

fn start(args: &UpArgs) -> Result<ExitCode, String> {
    let exe = std::env::current_exe().map_err(|error| format!("our own program cannot be found: {error}"))?;
    fs::create_dir_all(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let dir = fs::canonicalize(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let ports: Vec<(u16, u16)> =
        (0..args.members).map(|i| (args.port + i * 100, args.port + i * 100 + 1)).collect();
    let machine_ports: Vec<u16> = (0..args.machines).map(|i| args.fleet_port.saturating_add(i)).collect();
    let of_members = ports.iter().flat_map(|(client, peer)| [(client, "--port"), (peer, "--port")]);
    for (port, flag) in of_members.chain(machine_ports.iter().map(|port| (port, "--fleet-port"))) {
        TcpListener::bind(("127.0.0.1", *port)).map_err(|error| {
            format!(
                "port {port} cannot be used: {error}\nhint: another server may run there; choose with {flag}"
            )
        })?;
    }
    let initial: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(i, (_, peer))| format!("m{}=http://127.0.0.1:{peer}", i + 1))
        .collect();
    let mut state = State { members: Vec::new(), machines: Vec::new() };
    let mut children = Vec::new();
    for (i, (client, peer)) in ports.iter().enumerate() {
        let name = format!("m{}", i + 1);
        let data_dir = dir.join(&name);
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut command = Command::new(&exe);
        command
            .arg("server")
            .args(["--name", &name, "--initial-cluster", &initial.join(",")])
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster-token", "seatrial-up"])
            .args(&args.server_flags);
        let (child, started) = spawn(command, &dir, name, client_url, data_dir)?;
        children.push(child);
        state.members.push(started);
    }
    let servers: Vec<&str> = state.members.iter().map(|member| member.client_url.as_str()).collect();
    for (i, port) in machine_ports.iter().enumerate() {
        let name = format!("f{}", i + 1);
        let data_dir = dir.join(&name);
        let id = draw_id(&data_dir)?;
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(&exe);
        command
            .arg("fleetd")
            .args(["--etcd-servers", &servers.join(",")])
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["--machine-id", &id, "--listen", &address, "--public-ip", "127.0.0.1"])
            .args(["--metadata", &format!("machine={name}")])
            // Short, for machines here are there to be killed.
            .args(["--agent-ttl", "10s", "--engine-reconcile-interval", "1"]);
        let (child, started) = spawn(command, &dir, name, format!("http://{address}"), data_dir)?;
        children.push(child);
        state.machines.push(started);
    }
    let text = serde_json::to_string_pretty(&state).map_err(|error| error.to_string())?;
    let file = dir.join("cluster.json");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;

    let begun = Instant::now();
    for (member, child) in state.all().zip(&mut children) {
        while !is_healthy(member) {
            if let Ok(Some(status)) = child.try_wait() {
                let tail = tail(&member.log);
                stop_all(&state);
                return Err(format!("{} ended at once ({status}); its log says:\n{tail}", member.name));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!(
                    "{} does not serve after {PATIENCE:?}\nhint: its log is {}",
                    member.name,
                    member.log.display()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    println!("{} members run; data and logs are in {}", state.members.len(), dir.display());
    for member in &state.members {
        println!("  {}  pid {:<8} {}", member.name, member.pid, member.client_url);
    }
    let endpoints: Vec<&str> =
        state.members.iter().map(|member| member.client_url.trim_start_matches("http://")).collect();
    println!("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={}", endpoints.join(","));
    if let Some(first) = state.machines.first() {
        println!("{} machines of a fleet run", state.machines.len());
        for machine in &state.machines {
            println!("  {}  pid {:<8} {}", machine.name, machine.pid, machine.client_url);
        }
        println!("export FLEETCTL_ENDPOINT={}", first.client_url);
    }
    Ok(ExitCode::SUCCESS)
}

/// The id that a machine keeps, drawn when it is started first: all of them would else be `/etc/machine-id`.
fn draw_id(data_dir: &Path) -> Result<String, String> {
    let file = data_dir.join("machine-id");
    if let Ok(kept) = fs::read_to_string(&file) {
        return Ok(kept.trim().to_owned());
    }
    let drawn = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|error| error.to_string())?;
    let id = drawn.trim().replace('-', "");
    fs::create_dir_all(data_dir)
        .and_then(|()| fs::write(&file, format!("{id}\n")))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(id)
}

/// Starts a child whose output goes to a log of its own.
fn spawn(
    mut command: Command,
    dir: &Path,
    name: String,
    client_url: String,
    data_dir: PathBuf,
) -> Result<(Child, MemberState), String> {
    let log = dir.join(format!("{name}.log"));
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|error| format!("{}: {error}", log.display()))?;
    let again = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(again)
        .stderr(file)
        // A group of its own: an interrupt at the terminal that started it is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    let pid = child.id() as i32;
    let started = start_time(pid).unwrap_or_default();
    Ok((child, MemberState { name, pid, started, client_url, data_dir, log }))
}

/// Asks a member's `/health`, which it answers well only while it knows a leader and reads through it; and a machine for
/// the fleet, which it reads from the store.
fn is_healthy(member: &MemberState) -> bool {
    let is_machine = member.name.starts_with('f');
    let path = if is_machine { "/fleet/v1/machines" } else { "/health" };
    let address = member.client_url.trim_start_matches("http://");
    let ask = || -> std::io::Result<String> {
        let address = address.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let id = if is_machine {
        fs::read_to_string(member.data_dir.join("machine-id")).unwrap_or_default()
    } else {
        String::new()
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains(id.trim()))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Ends whoever of them still runs: asked first, killed when he does not follow. Answers who had to be killed.
fn stop_some(members: &[MemberState], ask: Signal) -> Vec<String> {
    let signal = |member: &MemberState, signal| {
        if member.runs()
            && let Some(pid) = Pid::from_raw(member.pid)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    };
    for member in members {
        signal(member, ask);
    }
    let begun = Instant::now();
    while members.iter().any(MemberState::runs) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut killed = Vec::new();
    for member in members.iter().filter(|member| member.runs()) {
        signal(member, Signal::KILL);
        killed.push(member.name.clone());
    }
    killed
}

/// Ends everything: machines with their units first, for they speak with the members.
fn stop_all(state: &State) -> Vec<String> {
    let lost: Vec<String> =
        state.machines.iter().filter(|machine| !machine.runs()).map(|machine| machine.name.clone()).collect();
    let mut killed = stop_some(&state.machines, Signal::USR2);
    let left = |machine: &&MemberState| lost.contains(&machine.name) || killed.contains(&machine.name);
    for machine in state.machines.iter().filter(left) {
        if let Err(text) = stop_units(machine) {
            eprintln!("seatrial: {}: {text}", machine.name);
        }
    }
    killed.extend(stop_some(&state.members, Signal::TERM));
    killed
}

/// Units outlive a machine whose fleetd was killed.
fn stop_units(machine: &MemberState) -> Result<(), String> {
    if !machine.data_dir.join("fleet.json").exists() {
        return Ok(());
    }
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(exe)
        .args(["fleetd", "--stop-units", "--log-level", "error", "--data-dir"])
        .arg(&machine.data_dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

pub(crate) fn down(args: &DownArgs) -> ExitCode {
    let state = match read_state(&args.dir) {
        Ok(state) => state,
        Err(text) => return fail(exit::USAGE, text),
    };
    let running = state.members.iter().filter(|member| member.runs()).count();
    let machines = state.machines.iter().filter(|machine| machine.runs()).count();
    for name in stop_all(&state) {
        eprintln!("seatrial: {name} did not end when asked and was killed");
    }
    println!(
        "{running} of {} members stopped; their data stays in {}",
        state.members.len(),
        args.dir.display()
    );
    if !state.machines.is_empty() {
        println!("{machines} of {} machines stopped with their units", state.machines.len());
    }
    ExitCode::SUCCESS
}

pub(crate) fn status(args: &DownArgs) -> ExitCode {
    let state = match read_state(&args.dir) {
        Ok(state) => state,
        Err(text) => return fail(exit::USAGE, text),
    };
    let mut all = true;
    for member in state.all() {
        let word = match (member.runs(), is_healthy(member)) {
            (true, true) => "healthy",
            (true, false) => "unhealthy",
            (false, _) => "stopped",
        };
        all &= word == "healthy";
        println!("{}  pid {:<8} {}  {word}", member.name, member.pid, member.client_url);
    }
    ExitCode::from(if all { exit::PASS } else { exit::VIOLATION })
}
