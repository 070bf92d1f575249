//! The launcher: becomes one process of a unit.
//!
//! What must be set in the new process itself (session, file mask, limits, priority) cannot be set safely between fork and
//! exec of a program with threads. So the driver starts this small program, which is alone in its process, does all of it
//! and then becomes the unit's program. It reads its [`Plan`] from its input and says on its output why it could not;
//! where it could, that channel closes with the exec.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use seatrial_service::{Limit, SEARCH_PATH, SpawnFailure};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where a process writes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Stdio {
    /// Nowhere.
    Null,
    /// To the end of a file, which is made where it is missing.
    Append(PathBuf),
    /// Into a file from its beginning, which is made where it is missing.
    Write(PathBuf),
}

/// All that the launcher is told.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// The program: an absolute path, or a plain name to be looked for.
    pub program: String,
    /// The argument vector; the first is what the program sees as its name.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where it runs, and whether it may run in `/` where that is missing.
    pub folder: (PathBuf, bool),
    /// As whom.
    pub uid: Option<u32>,
    /// As which group.
    pub gid: Option<u32>,
    /// The mask of file modes.
    pub umask: u32,
    /// The priority.
    pub nice: Option<i8>,
    /// How readily the kernel ends it when memory is short.
    pub oom_score_adjust: Option<i16>,
    /// Limits by their name without `Limit`.
    pub limits: BTreeMap<String, Limit>,
    /// Its output.
    pub stdout: Stdio,
    /// Its errors.
    pub stderr: Stdio,
    /// The control group it enters.
    pub control_group: Option<PathBuf>,
}

/// systemd's exit statuses for the steps (systemd.exec(5), "Process Exit Codes").
mod status {
    pub(super) const CHDIR: u8 = 200;
    pub(super) const NICE: u8 = 201;
    pub(super) const FDS: u8 = 202;
    pub(super) const EXEC: u8 = 203;
    pub(super) const LIMITS: u8 = 205;
    pub(super) const OOM_ADJUST: u8 = 206;
    pub(super) const STDIN: u8 = 208;
    pub(super) const STDOUT: u8 = 209;
    pub(super) const CGROUP: u8 = 219;
    pub(super) const SETSID: u8 = 220;
    pub(super) const STDERR: u8 = 222;
}

/// The launcher's `main`: reads the plan from its input and becomes that process. Returns only where it could not, after
/// it has said so on its output.
#[must_use]
pub fn launch() -> ExitCode {
    // The output is the driver's; the program gets its own. Whatever is inherited across the exec is not this one.
    let report = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map(File::from);
    let mut report = match report {
        Ok(report) => report,
        Err(_) => return ExitCode::from(status::FDS),
    };
    let failure = match become_it() {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let text = serde_json::to_string(&failure).unwrap_or_default();
    // The driver may be gone; then nobody is left to tell.
    let _ = report.write_all(text.as_bytes());
    ExitCode::from(failure.status.unwrap_or(1))
}

fn failed<E: std::fmt::Display>(status: u8, what: impl std::fmt::Display) -> impl FnOnce(E) -> SpawnFailure {
    move |error| SpawnFailure { status: Some(status), text: format!("{what}: {error}") }
}

fn become_it() -> Result<std::convert::Infallible, SpawnFailure> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(failed(status::STDIN, "cannot read what to start"))?;
    let plan: Plan =
        serde_json::from_str(&text).map_err(failed(status::STDIN, "cannot read what to start"))?;

    rustix::process::setsid().map_err(failed(status::SETSID, "cannot make a session"))?;
    if let Some(group) = &plan.control_group {
        std::fs::write(group.join("cgroup.procs"), "0")
            .map_err(failed(status::CGROUP, format!("cannot enter the control group {}", group.display())))?;
    }
    let nothing = File::open("/dev/null").map_err(failed(status::STDIN, "/dev/null"))?;
    rustix::stdio::dup2_stdin(&nothing).map_err(failed(status::STDIN, "/dev/null"))?;
    let out = open(&plan.stdout).map_err(failed(status::STDOUT, format!("{:?}", plan.stdout)))?;
    rustix::stdio::dup2_stdout(&out).map_err(failed(status::STDOUT, "stdout"))?;
    let err = open(&plan.stderr).map_err(failed(status::STDERR, format!("{:?}", plan.stderr)))?;
    rustix::stdio::dup2_stderr(&err).map_err(failed(status::STDERR, "stderr"))?;
    if let Some(adjust) = plan.oom_score_adjust {
        std::fs::write("/proc/self/oom_score_adj", adjust.to_string())
            .map_err(failed(status::OOM_ADJUST, "OOMScoreAdjust="))?;
    }
    if let Some(nice) = plan.nice {
        rustix::process::setpriority_process(None, i32::from(nice)).map_err(failed(status::NICE, "Nice="))?;
    }
    for (name, limit) in &plan.limits {
        let resource = resource(name).ok_or("no such limit").map_err(failed(status::LIMITS, name))?;
        rustix::process::setrlimit(resource, Rlimit { current: limit.soft, maximum: limit.hard })
            .map_err(failed(status::LIMITS, format!("Limit{name}=")))?;
    }
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    let (folder, optional) = &plan.folder;
    match std::env::set_current_dir(folder) {
        Ok(()) => {}
        Err(_) if *optional => std::env::set_current_dir("/").map_err(failed(status::CHDIR, "/"))?,
        Err(error) => return Err(failed(status::CHDIR, folder.display())(error)),
    }
    let path = find(&plan.program).map_err(failed(status::EXEC, &plan.program))?;
    let mut command = Command::new(path);
    command.args(plan.argv.iter().skip(1)).env_clear().envs(&plan.environment);
    if let Some(name) = plan.argv.first() {
        command.arg0(name);
    }
    if let Some(gid) = plan.gid {
        command.gid(gid);
    }
    if let Some(uid) = plan.uid {
        command.uid(uid);
    }
    let error = command.exec();
    Err(failed(status::EXEC, &plan.program)(error))
}

fn open(target: &Stdio) -> io::Result<File> {
    let mut options = File::options();
    options.create(true);
    match target {
        Stdio::Null => File::options().write(true).open("/dev/null"),
        Stdio::Append(path) => options.append(true).open(path),
        Stdio::Write(path) => options.write(true).open(path),
    }
}

/// Looks for a plain name where systemd does, whatever the unit's own `PATH` is.
fn find(program: &str) -> io::Result<PathBuf> {
    if program.starts_with('/') {
        return Ok(PathBuf::from(program));
    }
    let paths = SEARCH_PATH.split(':').map(|folder| Path::new(folder).join(program));
    let mut found = paths.filter(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok());
    found
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("it is in none of {SEARCH_PATH}")))
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "CPU" => Resource::Cpu,
        "FSIZE" => Resource::Fsize,
        "DATA" => Resource::Data,
        "STACK" => Resource::Stack,
        "CORE" => Resource::Core,
        "RSS" => Resource::Rss,
        "NOFILE" => Resource::Nofile,
        "AS" => Resource::As,
        "NPROC" => Resource::Nproc,
        "MEMLOCK" => Resource::Memlock,
        "LOCKS" => Resource::Locks,
        "SIGPENDING" => Resource::Sigpending,
        "MSGQUEUE" => Resource::Msgqueue,
        "NICE" => Resource::Nice,
        "RTPRIO" => Resource::Rtprio,
        "RTTIME" => Resource::Rttime,
        _ => return None,
    })
}
