//! What a unit has written, by `journalctl`: the journal's files are systemd's own, and this is the program that reads them.

use crate::{Instance, SystemdError};
use seatrial_fleet::unit::UnitName;
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many lines at most are read at once; who wants more follows, or asks `journalctl` himself.
const LINES_MAX: usize = 10_000;

/// So many bytes at most of an answer are held in memory: the newest.
const BYTES_MAX: usize = 4 << 20;

/// So many followers at once: each is a process.
const FOLLOWERS_MAX: usize = 32;

/// What is read at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// The journal of one machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    program: OsString,
    instance: Instance,
    followers: Arc<Semaphore>,
}

/// A journal that goes on. The process behind it ends with this value.
#[derive(Debug)]
pub struct Follow {
    _child: Child,
    out: BufReader<ChildStdout>,
    _permit: OwnedSemaphorePermit,
}

fn failed(problem: impl ToString) -> SystemdError {
    SystemdError::Journal { problem: problem.to_string() }
}

/// What `journalctl` is told. A unit's name stands in its own argument, and no name begins with a dash or is a pattern.
fn arguments(instance: Instance, unit: &UnitName, lines: usize, follows: bool) -> Vec<String> {
    let whose = match instance {
        Instance::System => "--unit",
        Instance::User => "--user-unit",
    };
    let mut arguments = vec![
        format!("{whose}={unit}"),
        format!("--lines={}", lines.min(LINES_MAX)),
        "--output=short".to_owned(),
        "--no-pager".to_owned(),
        "--quiet".to_owned(),
    ];
    if follows {
        arguments.push("--follow".to_owned());
    }
    arguments
}

impl Journal {
    /// Of the units of an instance, read by the `journalctl` that is found in the path.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self::by("journalctl", instance)
    }

    /// Read by another program that takes the same arguments.
    #[must_use]
    pub fn by(program: impl Into<OsString>, instance: Instance) -> Self {
        Self { program: program.into(), instance, followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }

    fn command(&self, unit: &UnitName, lines: usize, follows: bool) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments(self.instance, unit, lines, follows))
            .env("SYSTEMD_COLORS", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The last lines of a unit, oldest first.
    ///
    /// # Errors
    /// Where `journalctl` is not there or fails.
    pub async fn read(&self, unit: &UnitName, lines: usize) -> Result<String, SystemdError> {
        let done = self.command(unit, lines, false).output().await;
        let done = done.map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(failed(format!("{} {}: {}", self.program.display(), done.status, said.trim())));
        }
        Ok(newest(&done.stdout))
    }

    /// The last lines of a unit, and those that come.
    ///
    /// # Errors
    /// Where `journalctl` is not there, and where too many follow already.
    pub fn follow(&self, unit: &UnitName, lines: usize) -> Result<Follow, SystemdError> {
        let permit = Arc::clone(&self.followers).try_acquire_owned();
        let permit = permit.map_err(|_| SystemdError::TooMany { most: FOLLOWERS_MAX })?;
        let mut command = self.command(unit, lines, true);
        // Nobody reads what it complains of; a full pipe would hold it up.
        let child = command.stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        let out = child.stdout.take().ok_or_else(|| failed("its output is not there"))?;
        Ok(Follow { _child: child, out: BufReader::new(out), _permit: permit })
    }
}

/// The end of a text that is too long, from the beginning of a line on.
fn newest(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(BYTES_MAX);
    let tail = &bytes[from..];
    let whole = match tail.iter().position(|byte| *byte == b'\n') {
        Some(end) if from > 0 => &tail[end + 1..],
        _ => tail,
    };
    String::from_utf8_lossy(whole).into_owned()
}

impl Follow {
    /// What was written since, at least one byte; nothing once `journalctl` has ended.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = self.out.read(&mut chunk).await.ok().filter(|bytes| *bytes > 0)?;
        chunk.truncate(read);
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> UnitName {
        UnitName::parse("web@a\\x2db.service").unwrap()
    }

    /// A program that says what it was told, and then what `script` does.
    fn journal(dir: &tempfile::TempDir, script: &str) -> Journal {
        let path = dir.path().join("journalctl");
        // Written by a child: a file that is open for writing in this process would be in the next one that it forks, and
        // what is open for writing cannot be run.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$2\" && chmod 755 \"$2\"";
        let wrote = std::process::Command::new("sh").args(["-c", write, "sh", script]).arg(&path).status();
        assert!(wrote.unwrap().success());
        Journal::by(path, Instance::System)
    }

    #[test]
    fn the_unit_stands_in_an_argument_of_its_own_and_lines_are_bounded() {
        assert_eq!(
            arguments(Instance::System, &unit(), 20_000, true),
            [
                "--unit=web@a\\x2db.service",
                "--lines=10000",
                "--output=short",
                "--no-pager",
                "--quiet",
                "--follow"
            ]
        );
        let user = arguments(Instance::User, &unit(), 3, false);
        assert_eq!(user[..2], ["--user-unit=web@a\\x2db.service", "--lines=3"]);
        assert!(!user.contains(&"--follow".to_owned()));
    }

    #[test]
    fn of_a_text_that_is_too_long_the_newest_lines_stay_whole() {
        assert_eq!(newest(b"a\nb\n"), "a\nb\n");
        let line = format!("{}\n", "x".repeat(99));
        let text = newest(line.repeat(50_000).as_bytes());
        assert!(text.len() <= BYTES_MAX && text.len() > BYTES_MAX - 200);
        assert!(text.starts_with('x') && text.len().is_multiple_of(100));
    }

    #[tokio::test]
    async fn what_the_program_says_is_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = journal(&dir, "echo \"$1\"; echo more").read(&unit(), 5).await.unwrap();
        assert_eq!(log, "--unit=web@a\\x2db.service\nmore\n");
    }

    #[tokio::test]
    async fn a_program_that_fails_or_is_not_there_is_told_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let error = journal(&dir, "echo no journal >&2; exit 1").read(&unit(), 5).await.unwrap_err();
        assert!(error.to_string().contains("no journal"), "{error}");
        let gone = Journal::by(dir.path().join("nothing"), Instance::System);
        for error in [gone.read(&unit(), 5).await.unwrap_err(), gone.follow(&unit(), 5).unwrap_err()] {
            assert!(error.to_string().contains("hint: systemd's `journalctl`"), "{error}");
        }
    }

    #[tokio::test]
    async fn who_follows_hears_what_comes_and_the_process_ends_with_him() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir, "echo $$; exec sleep 1000");
        let mut follow = journal.follow(&unit(), 5).unwrap();
        let pid: u32 = String::from_utf8(follow.next().await.unwrap()).unwrap().trim().parse().unwrap();
        let lives = || std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
        assert!(lives());
        drop(follow);
        while lives() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn no_more_follow_than_the_machine_bears() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(&dir, "exec sleep 1000");
        let mut follows: Vec<Follow> =
            (0..FOLLOWERS_MAX).map(|_| journal.follow(&unit(), 1).unwrap()).collect();
        assert_eq!(journal.follow(&unit(), 1).unwrap_err(), SystemdError::TooMany { most: FOLLOWERS_MAX });
        follows.pop();
        assert!(journal.follow(&unit(), 1).is_ok());
    }
}
