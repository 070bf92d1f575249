//! What `up` leaves behind in its folder: which processes there are, how each is started, and how they are stopped.

use super::health;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to serve, and to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the machine of the same number carries the member of this one. Of fewer than three members none can be spared, so
/// that no machine that carries one could ever reboot.
pub(super) fn carried(members: usize, at: usize) -> bool {
    members >= 3 && at < members
}

/// What `up` leaves behind for all who come after it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) members: Vec<Process>,
    #[serde(default)]
    pub(super) machines: Vec<Process>,
    /// The reboot agents, in the order of the machines.
    #[serde(default)]
    pub(super) agents: Vec<Process>,
    /// Who takes a machine down and starts it again, while that goes on.
    #[serde(default)]
    pub(super) reboots: Vec<Process>,
}

/// A child of ours that outlives us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: i32,
    /// When the process started, in clock ticks after boot: a pid alone may be reused.
    pub(super) started: u64,
    pub(super) client_url: String,
    pub(super) data_dir: PathBuf,
    pub(super) log: PathBuf,
    /// With which it is started again.
    #[serde(default)]
    args: Vec<String>,
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

/// One machine of the demo: a fleetd, the agent that reboots it, and the member of the store that it carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine<'a> {
    pub(super) fleetd: &'a Process,
    pub(super) agent: &'a Process,
    pub(super) member: Option<&'a Process>,
}

impl Machine<'_> {
    pub(super) fn name(&self) -> &str {
        &self.fleetd.name
    }

    /// By which fleet and lock know it.
    pub(super) fn id(&self) -> String {
        let text = fs::read_to_string(self.fleetd.data_dir.join("machine-id")).unwrap_or_default();
        text.trim().to_owned()
    }

    /// What its agent says that it is doing.
    pub(super) fn agent_state(&self) -> String {
        let text = fs::read_to_string(self.agent.data_dir.join("coordinator.conf")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("STATE=")).unwrap_or("starting").to_owned()
    }

    /// The boot that it runs in.
    pub(super) fn boot(&self) -> String {
        let text = fs::read_to_string(boot_file(&self.fleetd.data_dir)).unwrap_or_default();
        text.trim().to_owned()
    }
}

pub(super) fn boot_file(data_dir: &Path) -> PathBuf {
    data_dir.join("boot-id")
}

/// The folder of a machine's agent.
pub(super) fn agent_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("agent")
}

/// A number that nobody has drawn before.
pub(super) fn draw_uuid() -> Result<String, String> {
    let drawn = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|error| error.to_string())?;
    Ok(drawn.trim().to_owned())
}

/// Writes a file so that a reader sees the old text or the new one.
pub(super) fn write(file: &Path, text: &str) -> Result<(), String> {
    let draft = file.with_extension("new");
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, file))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Keeps all others from changing the state, until it is dropped.
pub(super) fn hold(dir: &Path) -> Result<fs::File, String> {
    let path = dir.join("lock");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

impl State {
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        let file = dir.join("cluster.json");
        let text = fs::read_to_string(&file).map_err(|error| {
            format!(
                "{}: {error}\nhint: `seatrial up --dir {}` starts a cluster",
                file.display(),
                dir.display()
            )
        })?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Whoever changes it holds it.
    pub(super) fn write(&self, dir: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        write(&dir.join("cluster.json"), &text)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Process> {
        self.members.iter().chain(&self.machines).chain(&self.agents).chain(&self.reboots)
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = Machine<'_>> {
        let pairs = self.machines.iter().zip(&self.agents).enumerate();
        pairs.map(|(at, (fleetd, agent))| {
            let member = carried(self.members.len(), at).then(|| &self.members[at]);
            Machine { fleetd, agent, member }
        })
    }

    pub(super) fn machine(&self, name: &str) -> Result<Machine<'_>, String> {
        let names: Vec<&str> = self.machines.iter().map(|machine| machine.name.as_str()).collect();
        self.machines().find(|machine| machine.name() == name).ok_or_else(|| match names.as_slice() {
            [] => "there are no machines here\nhint: `seatrial up --machines 3` starts some".to_owned(),
            names => format!("there is no machine {name}\nhint: there are {}", names.join(", ")),
        })
    }

    /// Whether a process does what it is there for, as far as it says so itself.
    pub(super) fn serves(&self, process: &Process) -> bool {
        let machine = self.machines().find(|machine| machine.fleetd.name == process.name);
        if let Some(machine) = machine {
            return health::machine(&machine);
        }
        if self.members.iter().any(|member| member.name == process.name) {
            return health::member(process);
        }
        self.machines().find(|machine| machine.agent.name == process.name).is_some_and(|machine| {
            // One that has not seen its machine healthy hears of no reboot.
            process.runs() && machine.agent_state() != "starting"
        })
    }

    /// Where clients reach the members.
    pub(super) fn endpoints(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.client_url.as_str()).collect()
    }

    /// Starts one of them, and notes it. Its output goes to a log of its own.
    pub(super) fn start(&self, process: &mut Process) -> Result<Child, String> {
        let Process { name, log, .. } = &*process;
        let exe = exe()?;
        let failed = |error: std::io::Error| format!("{}: {error}", log.display());
        let file = fs::OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
        let again = file.try_clone().map_err(failed)?;
        let endpoints = self.endpoints().join(",").replace("http://", "");
        let child = Command::new(&exe)
            .args(&process.args)
            // Units find this program and the store, where they ask for it.
            .env("PATH", path_with(&exe))
            .env("ETCDCTL_ENDPOINTS", endpoints)
            .stdin(Stdio::null())
            .stdout(again)
            .stderr(file)
            // A group of its own: an interrupt at the terminal that started it is not meant for it.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        process.pid = child.id() as i32;
        process.started = start_time(process.pid).unwrap_or_default();
        Ok(child)
    }
}

pub(super) fn exe() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("our own program cannot be found: {error}"))
}

fn path_with(exe: &Path) -> String {
    let given = std::env::var("PATH").unwrap_or_default();
    let folder = exe.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    if given.split(':').next() == Some(folder.as_str()) { given } else { format!("{folder}:{given}") }
}

impl Process {
    /// One that is not started yet.
    pub(super) fn new(
        dir: &Path,
        name: &str,
        client_url: String,
        data_dir: PathBuf,
        args: Vec<String>,
    ) -> Self {
        let log = dir.join(format!("{name}.log"));
        Self { name: name.to_owned(), pid: 0, started: 0, client_url, data_dir, log, args }
    }

    pub(super) fn runs(&self) -> bool {
        self.pid != 0 && start_time(self.pid) == Some(self.started)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if self.runs()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// The end of its log, for people.
    pub(super) fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Ends whoever of them still runs: asked first, killed when he does not follow. Answers who had to be killed.
pub(super) fn stop_some(processes: &[&Process], ask: Signal) -> Vec<String> {
    for process in processes {
        process.signal(ask);
    }
    let begun = Instant::now();
    while processes.iter().any(|process| process.runs()) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut killed = Vec::new();
    for process in processes.iter().filter(|process| process.runs()) {
        process.signal(Signal::KILL);
        killed.push(process.name.clone());
    }
    killed
}

/// Ends machines with their units, also those whose fleetd is gone already.
pub(super) fn stop_machines(machines: &[&Process]) -> Vec<String> {
    let lost: Vec<&str> =
        machines.iter().filter(|machine| !machine.runs()).map(|machine| machine.name.as_str()).collect();
    let killed = stop_some(machines, Signal::USR2);
    let left = |machine: &&&Process| lost.contains(&machine.name.as_str()) || killed.contains(&machine.name);
    for machine in machines.iter().filter(left) {
        if let Err(text) = stop_units(machine) {
            eprintln!("seatrial: {}: {text}", machine.name);
        }
    }
    killed
}

/// Units outlive a machine whose fleetd was killed.
fn stop_units(machine: &Process) -> Result<(), String> {
    if !machine.data_dir.join("fleet.json").exists() {
        return Ok(());
    }
    let output = Command::new(exe()?)
        .args(["fleetd", "--stop-units", "--log-level", "error", "--data-dir"])
        .arg(&machine.data_dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Ends everything: first whoever might start something again; machines with their units before the members they speak
/// with.
pub(super) fn stop_all(state: &State) -> Vec<String> {
    let some = |processes: &[&Process], ask| stop_some(processes, ask);
    let mut killed = some(&state.agents.iter().chain(&state.reboots).collect::<Vec<_>>(), Signal::TERM);
    killed.extend(stop_machines(&state.machines.iter().collect::<Vec<_>>()));
    killed.extend(some(&state.members.iter().collect::<Vec<_>>(), Signal::TERM));
    killed
}
