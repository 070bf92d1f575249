//! The machine's own systemd, as a user's instance, in a room of its own. The machine's first process is never touched.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A user's systemd with a bus and a journal. It ends with this value.
pub(crate) struct RealSystemd {
    dir: tempfile::TempDir,
    child: Child,
}

/// Why there is none.
fn missing() -> Option<String> {
    let programs = ["unshare", "mount", "systemctl", "journalctl", "dbus-daemon"];
    let path = std::env::var("PATH").unwrap_or_default();
    let has = |program: &&str| path.split(':').any(|dir| Path::new(dir).join(program).exists());
    if let Some(program) = programs.iter().find(|program| !has(program)) {
        return Some(format!("there is no program {program}"));
    }
    let files =
        ["/lib/systemd/systemd", "/lib/systemd/systemd-journald", "/usr/lib/systemd/user/dbus.socket"];
    if let Some(file) = files.iter().find(|file| !Path::new(file).exists()) {
        return Some(format!("there is no {file}"));
    }
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

impl RealSystemd {
    /// Begins one; nothing, with a word on it, where this machine cannot.
    pub(crate) fn start() -> Option<Self> {
        if let Some(why) = missing() {
            eprintln!(
                "SKIPPED: no systemd to test with: {why} (packages: systemd dbus dbus-user-session util-linux, as root)"
            );
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("room.sh");
        fs::write(&script, include_str!("real.sh")).unwrap();
        let said = fs::File::create(dir.path().join("said")).unwrap();
        let group =
            format!("seatrial-{}", dir.path().file_name().unwrap().to_string_lossy().replace('.', ""));
        let child = Command::new("sh")
            .arg(&script)
            .arg(dir.path())
            .arg(group)
            .stdin(Stdio::piped())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let real = Self { dir, child };
        real.wait_until_it_is_up();
        Some(real)
    }

    /// One for all tests of a program that do it no harm.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RealSystemd>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    fn wait_until_it_is_up(&self) {
        let begun = Instant::now();
        loop {
            let output = self.systemctl(&["is-active", "basic.target", "dbus.socket"]);
            if output == "active\nactive\n" {
                return;
            }
            let said = fs::read_to_string(self.dir.path().join("said")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(30), "systemd is not up: {output}\n{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The user's folder, `XDG_RUNTIME_DIR`.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    /// Where files of a test may lie.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `systemctl --user`: what it says.
    pub(crate) fn systemctl(&self, arguments: &[&str]) -> String {
        let output = Command::new("systemctl")
            .arg("--user")
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.runtime_dir())
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// A program that is `journalctl` over this systemd's journal, which lies in no place where another would look.
    pub(crate) fn journalctl(&self) -> PathBuf {
        let path = self.dir.path().join("bin/journalctl");
        if !path.exists() {
            let journal = self.dir.path().join("run/log/journal");
            let text = format!("exec journalctl --directory={} \"$@\"", journal.display());
            // By a child, for what is open for writing in a process that forks cannot be run.
            let write = "mkdir -p \"${2%/*}\" && printf '#!/bin/sh\\nPATH=/usr/bin:/bin\\n%s\\n' \"$1\" >\"$2.new\" && chmod 755 \"$2.new\" && mv \"$2.new\" \"$2\"";
            assert!(
                Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status().unwrap().success()
            );
        }
        path
    }

    /// The user's systemd ends, with its units, and another begins.
    pub(crate) fn begin_anew(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"again\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        self.wait_until_it_is_up();
    }
}

impl Drop for RealSystemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = fs::read_to_string(self.dir.path().join("said")).unwrap_or_default();
            let journal =
                Command::new(self.journalctl()).args(["--lines=60", "--no-pager", "--quiet"]).output();
            let journal = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("systemd said:\n{said}{}", journal.unwrap_or_default());
        }
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
