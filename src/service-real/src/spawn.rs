//! Starting one process of a unit through the launcher.

use crate::accounts;
use crate::driver::Options;
use crate::group::Run;
use crate::launch::{Plan, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use seatrial_service::{Environment, Spawn, SpawnFailure};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};

/// A launcher that has not become its program by then hangs in something like a dead network disk.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(10);

fn nothing(text: String) -> SpawnFailure {
    SpawnFailure { status: None, text }
}

/// Starts it; its number, and why not. Blocks until the program runs.
pub(crate) fn spawn(options: &Options, unit: &str, spawn: &Spawn, run: &Run) -> Result<u32, SpawnFailure> {
    let plan = plan(options, unit, spawn, run)?;
    let text =
        serde_json::to_string(&plan).map_err(|error| nothing(format!("cannot write the plan: {error}")))?;
    let launcher = &options.launcher;
    let (program, arguments) =
        launcher.split_first().ok_or_else(|| nothing("no launcher was named".to_owned()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        // Until the launcher has opened the unit's own, its last words are the driver's.
        .stderr(std::process::Stdio::inherit())
        .spawn()
        .map_err(|error| nothing(format!("cannot start the launcher {}: {error}", program.display())))?;
    match hand_over(&mut child, text.as_bytes()) {
        Ok(None) => Ok(child.id()),
        Ok(Some(failure)) => {
            // It says why and ends at once.
            let _ = child.wait();
            Err(failure)
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(nothing(format!("the launcher did not come to its program: {error}")))
        }
    }
}

/// Gives the plan to the launcher and waits until its channel closes: with the exec, or behind a reason.
fn hand_over(child: &mut Child, plan: &[u8]) -> io::Result<Option<SpawnFailure>> {
    let missing = || io::Error::other("it has no channel");
    child.stdin.take().ok_or_else(missing)?.write_all(plan)?;
    let report = read_all(child.stdout.take().ok_or_else(missing)?)?;
    if report.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&report).map(Some).map_err(io::Error::from)
}

fn read_all(mut channel: ChildStdout) -> io::Result<Vec<u8>> {
    let until = Instant::now() + LAUNCH_TIMEOUT;
    let mut found = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let ready = poll(&mut [PollFd::new(&channel, PollFlags::IN)], Some(&timeout));
        match ready {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 4096];
        match channel.read(&mut bytes)? {
            0 => return Ok(found),
            length => found.extend(&bytes[..length]),
        }
    }
}

fn plan(options: &Options, unit: &str, spawn: &Spawn, run: &Run) -> Result<Plan, SpawnFailure> {
    let exec = spawn.exec();
    // As the manager's own user where a prefix says so.
    let user = if spawn.command.privileged { None } else { exec.user.as_deref() };
    let account = user.map(accounts::user).transpose()?;
    let group = if spawn.command.privileged { None } else { exec.group.as_deref() };
    let gid = group.map(accounts::group).transpose()?.or(account.as_ref().map(|account| account.gid));

    let mut base = Environment::new();
    base.insert("INVOCATION_ID".to_owned(), run.invocation.clone());
    if let Ok(lang) = std::env::var("LANG") {
        base.insert("LANG".to_owned(), lang);
    }
    if let Some(account) = &account {
        for (name, value) in [
            ("USER", &account.name),
            ("LOGNAME", &account.name),
            ("HOME", &account.home),
            ("SHELL", &account.shell),
        ] {
            base.insert(name.to_owned(), value.clone());
        }
    }
    if spawn.notify {
        base.insert("NOTIFY_SOCKET".to_owned(), options.notify_socket(run).display().to_string());
    }
    let mut files = BTreeMap::new();
    for path in spawn.files() {
        if let Ok(content) = std::fs::read_to_string(path) {
            files.insert(path.to_owned(), content);
        }
    }
    let own: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let execution = spawn.resolve(&base, &own, &files)?;

    let home = account.as_ref().map_or(options.machine.home.as_str(), |account| account.home.as_str());
    let folder = exec.working_directory.as_ref().map_or((PathBuf::from("/"), false), |folder| {
        (PathBuf::from(if folder.path == "~" { home } else { &folder.path }), folder.optional)
    });
    let log = options.log_file(unit);
    let stdout = stdio(exec.standard_output.as_deref(), &log, None);
    let stderr = stdio(exec.standard_error.as_deref(), &log, Some(&stdout));
    Ok(Plan {
        program: execution.program,
        argv: execution.argv,
        environment: execution.environment,
        folder,
        uid: account.as_ref().map(|account| account.uid),
        gid,
        umask: exec.umask,
        nice: exec.nice,
        oom_score_adjust: exec.oom_score_adjust,
        limits: exec.limits.clone(),
        stdout,
        stderr,
        control_group: run.control_group.clone(),
    })
}

/// Where output goes: `null`, `file:`, `append:` and `truncate:` as in systemd; all else into the unit's log.
fn stdio(wanted: Option<&str>, log: &Path, inherited: Option<&Stdio>) -> Stdio {
    let wanted = wanted.unwrap_or("inherit");
    match (wanted, wanted.split_once(':')) {
        ("null", _) => Stdio::Null,
        ("inherit", _) if inherited.is_some() => inherited.cloned().unwrap_or(Stdio::Null),
        (_, Some(("append", path))) => Stdio::Append(PathBuf::from(path)),
        (_, Some(("file", path))) => Stdio::Write(PathBuf::from(path)),
        (_, Some(("truncate", path))) => {
            // Emptied here, for the launcher's file must not be emptied again by the second of two outputs.
            let _ = std::fs::File::create(path);
            Stdio::Write(PathBuf::from(path))
        }
        _ => Stdio::Append(log.to_owned()),
    }
}
