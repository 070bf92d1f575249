//! Three members on loopback, started for one measurement and ended with it.

use crate::load;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a cluster may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Whose program it is; both take etcd's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The real one.
    Etcd(PathBuf),
    /// Ours: the same flags behind the word `server`.
    Seatrial(PathBuf),
}

impl Program {
    /// As it stands in tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Etcd(_) => "etcd",
            Self::Seatrial(_) => "seatrial",
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Etcd(path) => Command::new(path),
            Self::Seatrial(path) => {
                let mut command = Command::new(path);
                command.arg("server");
                command
            }
        }
    }
}

/// A cluster on loopback. Dropping it kills the processes it started, by their handles, and takes its data.
#[derive(Debug)]
pub struct Cluster {
    name: &'static str,
    endpoints: Vec<String>,
    children: Vec<Child>,
    // Dropped last: after the processes that write into it.
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts `members` members with their data in a temporary folder below `parent` and waits until every
    /// one of them serves writes.
    ///
    /// # Errors
    /// A program that does not start, ends at once, or does not serve within 30 s; with the end of its log.
    pub fn start(program: &Program, members: usize, parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let folder = tempfile::Builder::new().prefix(program.name()).tempdir_in(parent)?;
        let ports = free_ports(members * 2)?;
        let (client_ports, peer_ports) = ports.split_at(members);
        let initial: Vec<String> =
            peer_ports.iter().enumerate().map(|(n, port)| format!("m{n}=http://127.0.0.1:{port}")).collect();
        let mut cluster = Self {
            name: program.name(),
            endpoints: client_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            children: Vec::new(),
            folder,
        };
        for member in 0..members {
            let client_url = format!("http://127.0.0.1:{}", client_ports[member]);
            let peer_url = format!("http://127.0.0.1:{}", peer_ports[member]);
            let log = File::create(cluster.log(member))?;
            let child = program
                .command()
                .args(["--name", &format!("m{member}")])
                .arg("--data-dir")
                .arg(cluster.folder.path().join(format!("m{member}")))
                .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
                .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
                .args(["--initial-cluster", &initial.join(",")])
                .args(["--initial-cluster-state", "new", "--initial-cluster-token", "measurement"])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("starting {program:?}"))?;
            cluster.children.push(child);
        }
        cluster.wait_until_served()?;
        Ok(cluster)
    }

    /// Where clients reach the members.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    fn log(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("m{member}.log"))
    }

    fn wait_until_served(&mut self) -> Result<()> {
        let begin = Instant::now();
        for member in 0..self.endpoints.len() {
            let endpoint = [self.endpoints[member].clone()];
            while let Err(error) = load::fill(&endpoint, 1, 1) {
                if let Some(status) = self.children[member].try_wait()? {
                    bail!(
                        "member {member} of {} ended with {status}:\n{}",
                        self.name,
                        self.last_words(member)
                    );
                }
                if begin.elapsed() > START_TIMEOUT {
                    let words = self.last_words(member);
                    bail!("member {member} of {} does not serve after 30 s ({error:#}):\n{words}", self.name);
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn last_words(&self, member: usize) -> String {
        let log = fs::read_to_string(self.log(member)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself; there is nobody to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that nobody holds now. All are drawn before any is let go, so that they differ.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(listeners
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let ports = free_ports(8).unwrap();
        assert_eq!(ports.iter().collect::<std::collections::BTreeSet<_>>().len(), 8);
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_exit() {
        let parent = tempfile::tempdir().unwrap();
        let error =
            Cluster::start(&Program::Etcd("/bin/false".into()), 1, parent.path()).unwrap_err().to_string();
        assert!(error.contains("member 0 of etcd ended with exit status: 1"), "{error}");
        let error =
            Cluster::start(&Program::Seatrial("/no/such".into()), 1, parent.path()).unwrap_err().to_string();
        assert!(error.contains("/no/such"), "{error}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "the data folder was left behind");
    }
}
