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
use std::process::{Command, ExitCode, Stdio};
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
        && let Some(running) = state.members.iter().find(|member| member.runs())
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
    for port in ports.iter().flat_map(|(client, peer)| [client, peer]) {
        TcpListener::bind(("127.0.0.1", *port)).map_err(|error| {
            format!(
                "port {port} cannot be used: {error}\nhint: another server may run there; choose with --port"
            )
        })?;
    }
    let initial: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(i, (_, peer))| format!("m{}=http://127.0.0.1:{peer}", i + 1))
        .collect();
    let mut state = State { members: Vec::new() };
    let mut children = Vec::new();
    for (i, (client, peer)) in ports.iter().enumerate() {
        let name = format!("m{}", i + 1);
        let data_dir = dir.join(&name);
        let log = dir.join(format!("{name}.log"));
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let again = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let child = Command::new(&exe)
            .arg("server")
            .args(["--name", &name, "--initial-cluster", &initial.join(",")])
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster-token", "seatrial-up"])
            .args(&args.server_flags)
            .stdin(Stdio::null())
            .stdout(again)
            .stderr(file)
            // A group of its own: an interrupt at the terminal that started it is not meant for it.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        let pid = child.id() as i32;
        children.push(child);
        let started = start_time(pid).unwrap_or_default();
        state.members.push(MemberState { name, pid, started, client_url, data_dir, log });
    }
    let text = serde_json::to_string_pretty(&state).map_err(|error| error.to_string())?;
    let file = dir.join("cluster.json");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;

    let begun = Instant::now();
    for (member, child) in state.members.iter().zip(&mut children) {
        while !is_healthy(&member.client_url) {
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
    Ok(ExitCode::SUCCESS)
}

/// Asks `/health`, which a member answers well only while it knows a leader and reads through it.
fn is_healthy(url: &str) -> bool {
    let address = url.trim_start_matches("http://");
    let ask = || -> std::io::Result<String> {
        let address = address.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(
            format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Ends every member that still runs: asked first, killed when it does not follow. Answers who had to be
/// killed.
fn stop_all(state: &State) -> Vec<String> {
    let signal = |member: &MemberState, signal| {
        if member.runs()
            && let Some(pid) = Pid::from_raw(member.pid)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    };
    for member in &state.members {
        signal(member, Signal::TERM);
    }
    let begun = Instant::now();
    while state.members.iter().any(MemberState::runs) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut killed = Vec::new();
    for member in state.members.iter().filter(|member| member.runs()) {
        signal(member, Signal::KILL);
        killed.push(member.name.clone());
    }
    killed
}

pub(crate) fn down(args: &DownArgs) -> ExitCode {
    let state = match read_state(&args.dir) {
        Ok(state) => state,
        Err(text) => return fail(exit::USAGE, text),
    };
    let running = state.members.iter().filter(|member| member.runs()).count();
    for name in stop_all(&state) {
        eprintln!("seatrial: {name} did not end when asked and was killed");
    }
    println!(
        "{running} of {} members stopped; their data stays in {}",
        state.members.len(),
        args.dir.display()
    );
    ExitCode::SUCCESS
}

pub(crate) fn status(args: &DownArgs) -> ExitCode {
    let state = match read_state(&args.dir) {
        Ok(state) => state,
        Err(text) => return fail(exit::USAGE, text),
    };
    let mut all = true;
    for member in &state.members {
        let word = match (member.runs(), is_healthy(&member.client_url)) {
            (true, true) => "healthy",
            (true, false) => "unhealthy",
            (false, _) => "stopped",
        };
        all &= word == "healthy";
        println!("{}  pid {:<8} {}  {word}", member.name, member.pid, member.client_url);
    }
    ExitCode::from(if all { exit::PASS } else { exit::VIOLATION })
}
