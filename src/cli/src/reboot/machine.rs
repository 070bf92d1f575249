//! This machine, as its reboot agent sees it: a sentinel file, and commands of the operator's for whatever must be done.

use seatrial_reboot::Host;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where an agent keeps its files, unless it is told otherwise. Gone after a reboot, as what lies there should be.
pub(super) const STATE_DIR: &str = "/run/seatrial-reboot";

/// A file in that folder which says that a reboot is needed.
pub(super) const NEED_REBOOT: &str = "need-reboot";

/// How often that file is looked for.
const TOLD_PERIOD: Duration = Duration::from_millis(500);

/// Limit for commands that only ask or tell.
const SHORT: Duration = Duration::from_secs(30);

/// What the operator has chosen.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) sentinel: PathBuf,
    pub(super) state_dir: PathBuf,
    pub(super) health_command: Option<String>,
    pub(super) users_command: String,
    pub(super) warn_command: String,
    pub(super) drain_command: Option<String>,
    pub(super) undrain_command: Option<String>,
    pub(super) drain_timeout: Duration,
    /// `None`: say what would be done, and do nothing.
    pub(super) reboot_command: Option<String>,
}

/// Runs a command line in a shell, and gives what it printed.
///
/// # Errors
/// What it said at the end, where it failed; or that it took too long, whereupon it was ended with all its children.
pub(super) async fn shell(line: &str, variables: &[(&str, &str)], limit: Duration) -> Result<String, String> {
    let (line, mut command) = (line.to_owned(), Command::new("sh"));
    command.arg("-c").arg(&line).envs(variables.iter().copied());
    let run = move || run_command(&line, command, limit);
    tokio::task::spawn_blocking(run).await.map_err(|error| error.to_string())?
}

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an operator's command has its own time"
)]
fn run_command(line: &str, mut command: Command, limit: Duration) -> Result<String, String> {
    // Into files: whatever the command leaves behind may hold a pipe open for ever.
    let file = || tempfile_in_memory().map_err(|error| format!("{line:?}: {error}"));
    let (out, err) = (file()?, file()?);
    let clone = |file: &std::fs::File| file.try_clone().map_err(|error| format!("{line:?}: {error}"));
    command.stdin(Stdio::null()).stdout(clone(&out)?).stderr(clone(&err)?).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{line:?} does not start: {error}"))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return Err(format!("{line:?} did not end within {limit:?}"));
            }
            Err(error) => return Err(format!("{line:?}: {error}")),
        }
    };
    if status.success() {
        return Ok(read_back(out));
    }
    let said = read_back(err);
    let last = said.trim().lines().last().unwrap_or_default().to_owned();
    let last = if last.is_empty() { String::new() } else { format!(": {last}") };
    Err(format!("{line:?} failed with {status}{last}"))
}

fn tempfile_in_memory() -> std::io::Result<std::fs::File> {
    Ok(rustix::fs::memfd_create("seatrial-reboot", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

fn read_back(mut file: std::fs::File) -> String {
    use std::io::{Read, Seek};
    const BYTES_MAX: u64 = 64 << 10;
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.take(BYTES_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Machine {
    fn variables(&self) -> [(&'static str, &str); 2] {
        [("SEATRIAL_MACHINE_ID", &self.id), ("SEATRIAL_GROUP", &self.group)]
    }

    async fn run(&self, command: Option<&String>, limit: Duration) -> Result<(), String> {
        match command {
            Some(line) => shell(line, &self.variables(), limit).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Host for Machine {
    async fn needs_reboot(&self) -> bool {
        is_there(&self.sentinel)
    }

    async fn told(&self) {
        let file = self.state_dir.join(NEED_REBOOT);
        while !is_there(&file) {
            tokio::time::sleep(TOLD_PERIOD).await;
        }
        // Told once: whoever wants it again says it again.
        forget(&file);
    }

    async fn healthy(&self) -> Result<(), String> {
        self.run(self.health_command.as_ref(), SHORT).await
    }

    async fn users(&self) -> u32 {
        match shell(&self.users_command, &self.variables(), SHORT).await {
            Ok(text) => {
                let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
                u32::try_from(lines).unwrap_or(u32::MAX)
            }
            Err(why) => {
                // Where nobody can be counted, nobody is waited for: else one missing program stops all reboots.
                tracing::warn!("users who are logged in could not be counted: {why}");
                0
            }
        }
    }

    async fn warn(&self, delay: Duration) {
        let seconds = delay.as_secs().to_string();
        let [id, group] = self.variables();
        let variables = [id, group, ("SEATRIAL_REBOOT_IN_SECONDS", seconds.as_str())];
        if let Err(why) = shell(&self.warn_command, &variables, SHORT).await {
            tracing::warn!("users who are logged in could not be warned: {why}");
        }
    }

    async fn drain(&self) -> Result<(), String> {
        self.run(self.drain_command.as_ref(), self.drain_timeout).await
    }

    async fn undrain(&self) -> Result<(), String> {
        self.run(self.undrain_command.as_ref(), self.drain_timeout).await
    }

    async fn reboot(&self) -> Result<(), String> {
        match &self.reboot_command {
            Some(line) => shell(line, &self.variables(), SHORT).await.map(drop),
            None => {
                tracing::warn!(
                    machine = self.id,
                    "would reboot now, and does not: no --reboot-command was given (such as \"systemctl reboot\")"
                );
                Err("no --reboot-command was given".to_owned())
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the machine is asked, not a member's data")]
fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}

#[allow(clippy::disallowed_methods, reason = "the machine is asked, not a member's data")]
fn forget(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "could not remove the word that a reboot is needed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str, limit: Duration) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(shell(line, &[("NAME", "m1")], limit))
    }

    #[test]
    fn a_command_tells_what_it_printed_or_why_it_failed() {
        assert_eq!(run("echo $NAME", SHORT), Ok("m1\n".to_owned()));
        let why = run("echo a >&2; echo the last word >&2; exit 3", SHORT).unwrap_err();
        assert!(why.ends_with("failed with exit status: 3: the last word"), "{why}");
        // A child that stays behind holds nobody up.
        assert_eq!(run("sleep 20 & echo done", SHORT), Ok("done\n".to_owned()));
    }

    #[test]
    fn a_command_that_does_not_end_is_ended_with_its_children() {
        let begun = std::time::Instant::now();
        let why = run("sleep 20; echo late", Duration::from_millis(100)).unwrap_err();
        assert!(why.contains("did not end within 100ms"), "{why}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
