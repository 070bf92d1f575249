//! `seatrial up`, `down`, `status`, `rolling-reboot`: a cluster on this machine, as child processes that outlive the command.

mod health;
mod machine;
mod page;
mod rolling;
mod state;

pub(crate) use machine::{MachineArgs, run as machine};
pub(crate) use page::{PageArgs, run as demo_web};
pub(crate) use rolling::{RollingArgs, run as rolling_reboot};

use crate::exit;
use crate::reboot::look;
use clap::Args;
use state::{PATIENCE, Process, State, agent_dir, boot_file, draw_uuid, exe, hold, stop_all, write};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
    /// How many machines of a fleet: each a fleetd that runs its units as processes here, and an agent that reboots it. The
    /// members of the store, where there are three or more, run on the first of them.
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

fn fail(code: u8, text: impl AsRef<str>) -> ExitCode {
    eprintln!("seatrial: {}", text.as_ref());
    ExitCode::from(code)
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
    if let Ok(state) = State::read(&args.dir)
        && let Some(running) = state.all().find(|process| process.runs())
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

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Its id and its boot, drawn when it is started first: all of them would else have those of this machine.
fn draw_machine(data_dir: &Path) -> Result<String, String> {
    machine::forget(data_dir);
    let agent = agent_dir(data_dir);
    fs::create_dir_all(&agent).map_err(|error| format!("{}: {error}", agent.display()))?;
    write(&boot_file(data_dir), &format!("{}\n", draw_uuid()?))?;
    let file = data_dir.join("machine-id");
    if let Ok(kept) = fs::read_to_string(&file) {
        return Ok(kept.trim().to_owned());
    }
    let id = draw_uuid()?.replace('-', "");
    write(&file, &format!("{id}\n"))?;
    Ok(id)
}

/// The members, with the flags they are started with. `ids` are those of the machines.
fn members(args: &UpArgs, dir: &Path, ports: &[(u16, u16)], ids: &[String]) -> Vec<Process> {
    let peer = |(i, (_, peer)): (usize, &(u16, u16))| format!("m{}=http://127.0.0.1:{peer}", i + 1);
    let initial = ports.iter().enumerate().map(peer).collect::<Vec<_>>().join(",");
    // Who brings flags for the lock knows what he wants.
    let has_lock = args.server_flags.iter().any(|flag| flag.starts_with("--reboot-lock"));
    let member = |(i, (client, peer)): (usize, &(u16, u16))| {
        let name = format!("m{}", i + 1);
        let data_dir = dir.join(&name);
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut flags = words(&["server", "--name", &name, "--initial-cluster", &initial]);
        flags.extend(words(&["--data-dir", &data_dir.display().to_string()]));
        flags.extend(words(&["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]));
        flags.extend(words(&["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]));
        flags.extend(words(&["--initial-cluster-token", "seatrial-up"]));
        if !ids.is_empty() && !has_lock {
            // One that no machine of the demo carries is on a machine of its own, which never reboots.
            let own = format!("beside-{name}");
            let machine = state::carried(ports.len(), i).then(|| ids.get(i)).flatten().unwrap_or(&own);
            flags.extend(words(&["--reboot-lock", "--reboot-lock-machine-id", machine]));
        }
        flags.extend(args.server_flags.iter().cloned());
        Process::new(dir, &name, client_url, data_dir, flags)
    };
    ports.iter().enumerate().map(member).collect()
}

/// The fleetd of a machine.
fn fleetd(dir: &Path, name: &str, port: u16, id: &str, servers: &str) -> Process {
    let data_dir = dir.join(name);
    let address = format!("127.0.0.1:{port}");
    let mut flags = words(&["fleetd", "--etcd-servers", servers]);
    flags.extend(words(&["--data-dir", &data_dir.display().to_string()]));
    flags.extend(words(&["--boot-id-file", &boot_file(&data_dir).display().to_string()]));
    flags.extend(words(&["--machine-id", id, "--listen", &address, "--public-ip", "127.0.0.1"]));
    flags.extend(words(&["--metadata", &format!("machine={name}")]));
    // Short, for machines here are there to be killed.
    flags.extend(words(&["--agent-ttl", "10s", "--engine-reconcile-interval", "1"]));
    Process::new(dir, name, format!("http://{address}"), data_dir, flags)
}

/// The reboot agent of a machine. What it does to the machine, `machine` does.
fn agent(dir: &Path, machine: &Process, id: &str, servers: &str) -> Result<Process, String> {
    let data_dir = agent_dir(&machine.data_dir);
    let quoted = |text: String| format!("'{}'", text.replace('\'', "'\\''"));
    let (exe, dir_word) = (quoted(exe()?.display().to_string()), quoted(dir.display().to_string()));
    let command = |verb: &str| format!("{exe} machine {verb} {} --dir {dir_word}", machine.name);
    let file = |path: PathBuf| path.display().to_string();
    let mut flags = words(&["reboot-agent", "--endpoint", servers, "--machine-id", id]);
    flags.extend(words(&["--boot-id-file", &file(boot_file(&machine.data_dir))]));
    flags.extend(words(&["--sentinel", &file(machine.data_dir.join("reboot-required"))]));
    flags.extend(words(&["--state-dir", &file(data_dir.clone()), "--users-command", "true"]));
    flags.extend(words(&["--drain-command", &command("drain"), "--undrain-command", &command("undrain")]));
    flags.extend(words(&["--health-command", &command("healthy"), "--reboot-command", &command("reboot")]));
    // Short, as the machines' leases are.
    flags.extend(words(&["--lock-pause", "1s", "--release-pause", "500ms", "--pause-max", "2s"]));
    Ok(Process::new(dir, &format!("{}-agent", machine.name), machine.client_url.clone(), data_dir, flags))
}

fn start(args: &UpArgs) -> Result<ExitCode, String> {
    fs::create_dir_all(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let dir = fs::canonicalize(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let held = hold(&dir)?;
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
    let names: Vec<String> = (1..=machine_ports.len()).map(|i| format!("f{i}")).collect();
    let ids = names.iter().map(|name| draw_machine(&dir.join(name))).collect::<Result<Vec<_>, _>>()?;
    let members = members(args, &dir, &ports, &ids);
    let mut state = State { members, ..State::default() };
    let servers = state.endpoints().join(",");
    for ((name, port), id) in names.iter().zip(&machine_ports).zip(&ids) {
        let machine = fleetd(&dir, name, *port, id, &servers);
        state.agents.push(agent(&dir, &machine, id, &servers)?);
        state.machines.push(machine);
    }
    let mut children = Vec::new();
    let lists: [fn(&mut State) -> &mut Vec<Process>; 3] =
        [|state| &mut state.members, |state| &mut state.machines, |state| &mut state.agents];
    for of in lists {
        for at in 0..of(&mut state).len() {
            let mut process = of(&mut state)[at].clone();
            children.push(state.start(&mut process)?);
            of(&mut state)[at] = process;
        }
    }
    state.write(&dir)?;
    // From now on they are found; and agents that are waited for may have to do something themselves.
    drop(held);

    let begun = Instant::now();
    for (process, child) in state.all().zip(&mut children) {
        while !state.serves(process) {
            if let Ok(Some(status)) = child.try_wait() {
                let tail = process.tail();
                stop_all(&state);
                return Err(format!("{} ended at once ({status}); its log says:\n{tail}", process.name));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!(
                    "{} does not serve after {PATIENCE:?}\nhint: its log is {}",
                    process.name,
                    process.log.display()
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

pub(crate) fn down(args: &DownArgs) -> ExitCode {
    // Whoever would start a machine again meanwhile waits, and is among those who are stopped.
    let held = State::read(&args.dir).and_then(|_| hold(&args.dir));
    let (_held, state) = match held.and_then(|held| Ok((held, State::read(&args.dir)?))) {
        Ok(both) => both,
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
    let state = match State::read(&args.dir) {
        Ok(state) => state,
        Err(text) => return fail(exit::USAGE, text),
    };
    let mut all = true;
    for process in state.members.iter().chain(&state.machines) {
        let word = match (process.runs(), state.serves(process)) {
            (true, true) => "healthy",
            (true, false) => "unhealthy",
            (false, _) => "stopped",
        };
        all &= word == "healthy";
        println!("{}  pid {:<8} {}  {word}", process.name, process.pid, process.client_url);
    }
    for machine in state.machines() {
        let word = if machine.agent.runs() { machine.agent_state() } else { "stopped".to_owned() };
        all &= word != "stopped";
        println!("{}  pid {:<8} {word}", machine.agent.name, machine.agent.pid);
    }
    if !state.machines.is_empty() {
        match look(&state.endpoints()) {
            Ok(view) => println!("{}", rolling::shown(&view, &state)),
            Err(why) => {
                println!("the reboot lock cannot be seen: {}", why.lines().next().unwrap_or_default())
            }
        }
    }
    ExitCode::from(if all { exit::PASS } else { exit::VIOLATION })
}
