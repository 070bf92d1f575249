//! A cluster on loopback, started for measurements and ended with them.

use crate::channel::{self, Channel};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use seatrial_proto::etcdserverpb::StatusRequest;
use seatrial_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use std::ffi::OsString;
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

/// One member: how it is started, and its process while it runs.
#[derive(Debug)]
struct Member {
    args: Vec<OsString>,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// A cluster on loopback. Dropping it kills the processes it started, by their handles, and takes its data.
#[derive(Debug)]
pub struct Cluster {
    program: Program,
    endpoints: Vec<String>,
    members: Vec<Member>,
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
            program: program.clone(),
            endpoints: client_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            members: Vec::new(),
            folder,
        };
        for number in 0..members {
            let data = cluster.folder.path().join(format!("m{number}"));
            let client_url = format!("http://127.0.0.1:{}", client_ports[number]);
            let peer_url = format!("http://127.0.0.1:{}", peer_ports[number]);
            let mut args: Vec<OsString> = vec!["--data-dir".into(), data.clone().into()];
            args.extend(
                [
                    ["--name", &format!("m{number}")],
                    ["--listen-client-urls", &client_url],
                    ["--advertise-client-urls", &client_url],
                    ["--listen-peer-urls", &peer_url],
                    ["--initial-advertise-peer-urls", &peer_url],
                    ["--initial-cluster", &initial.join(",")],
                    ["--initial-cluster-state", "new"],
                    ["--initial-cluster-token", "measurement"],
                    // The same for both, and enough that no measurement meets the end of it: versions of etcd differ
                    // in what they take by themselves.
                    ["--snapshot-count", "10000"],
                    ["--quota-backend-bytes", "8589934592"],
                ]
                .into_iter()
                .flatten()
                .map(OsString::from),
            );
            let log = cluster.folder.path().join(format!("m{number}.log"));
            cluster.members.push(Member { args, data, log, child: None });
            cluster.start_member(number)?;
        }
        cluster.wait_until_served()?;
        Ok(cluster)
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.program.name()
    }

    /// Where clients reach the members.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The processes that run.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.child.as_ref()).map(Child::id).collect()
    }

    /// The folders of the members' data.
    pub fn data(&self) -> impl Iterator<Item = &Path> {
        self.members.iter().map(|member| member.data.as_path())
    }

    /// Kills a member's process (`kill -9`) and waits for its end.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        if let Some(mut child) = self.members[member].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts a member that does not run.
    ///
    /// # Errors
    /// What the system says.
    pub fn start_member(&mut self, member: usize) -> Result<()> {
        let this = &mut self.members[member];
        let log = File::options().create(true).append(true).open(&this.log)?;
        let child = (self.program.command())
            .args(&this.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {:?}", self.program))?;
        this.child = Some(child);
        Ok(())
    }

    /// Waits until every member serves writes.
    ///
    /// # Errors
    /// One that has ended or does not serve within 30 s; with the end of its log.
    pub fn wait_until_served(&mut self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let begin = Instant::now();
        for member in 0..self.endpoints.len() {
            while let Err(error) =
                runtime.block_on(channel::put(&self.endpoints[member], 0, Bytes::from_static(b"0")))
            {
                let name = self.name();
                let child = self.members[member].child.as_mut();
                if let Some(status) = child.map(Child::try_wait).transpose()?.flatten() {
                    bail!("member {member} of {name} ended with {status}:\n{}", self.last_words(member));
                }
                if begin.elapsed() > START_TIMEOUT {
                    let words = self.last_words(member);
                    bail!("member {member} of {name} does not serve after 30 s ({error:#}):\n{words}");
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// The member that leads, as the members say.
    ///
    /// # Errors
    /// None does.
    pub fn leader(&self) -> Result<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            for (member, endpoint) in self.endpoints.iter().enumerate() {
                let (channel, origin) = Channel::to(endpoint).await?;
                let mut client = MaintenanceClient::with_origin(channel, origin);
                let status = client.status(StatusRequest::default()).await?.into_inner();
                if status.header.is_some_and(|header| header.member_id == status.leader) {
                    return Ok(member);
                }
            }
            bail!("no member of {} leads", self.name());
        })
    }

    fn last_words(&self, member: usize) -> String {
        let log = fs::read_to_string(&self.members[member].log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
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
