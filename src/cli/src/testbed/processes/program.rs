//! The program that members run: our own server, or a stranger's that takes etcd's flags.

use super::cast::Seat;
use super::netns;
use seatrial_node::PeerVersions;
use seatrial_scenario::Knobs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A server and what is known of its flags.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// The text of its `--help`; `None` for our own server.
    help: Option<String>,
    /// As it calls itself.
    pub(super) name: String,
    /// What members run before they are upgraded; `None` for this very program, speaking as the build before.
    before: Option<Box<Program>>,
    /// Members live in network namespaces of their own.
    pub(super) in_netns: bool,
}

/// The oldest version of the peer protocol that our server knows.
const OLD_PEERS: u16 = PeerVersions::ALL.min;

impl Program {
    /// This program itself.
    pub(crate) fn ours() -> Result<Self, String> {
        let path =
            std::env::current_exe().map_err(|error| format!("our own program cannot be found: {error}"))?;
        Ok(Self {
            path,
            help: None,
            name: format!("seatrial {}", env!("CARGO_PKG_VERSION")),
            before: None,
            in_netns: false,
        })
    }

    /// The one at a path that a user gave with this flag: a stranger's, or another build of ours.
    pub(crate) fn at(option: &str, path: PathBuf) -> Result<Self, String> {
        let shown = path.display().to_string();
        let ask = |flag: &str| {
            let output = Command::new(&path).arg(flag).stdin(Stdio::null()).output().map_err(|error| {
                format!(
                    "{option} {shown}: it cannot be started: {error}\nhint: give the path of a server, such as /usr/bin/etcd"
                )
            })?;
            let text = [output.stdout, output.stderr].concat();
            Ok::<String, String>(String::from_utf8_lossy(&text).into_owned())
        };
        let version = ask("--version")?;
        let first = version.lines().next().unwrap_or_default();
        if first.starts_with("seatrial ") {
            return Ok(Self { path, help: None, name: first.to_owned(), before: None, in_netns: false });
        }
        let help = ask("--help")?;
        let name = match first.strip_prefix("etcd Version: ") {
            Some(version) => format!("etcd {version}"),
            None => first.to_owned(),
        };
        let program = Self { path, help: Some(help), name, before: None, in_netns: false };
        match ["--name", "--data-dir", "--initial-cluster", "--listen-peer-urls", "--listen-client-urls"]
            .into_iter()
            .find(|flag| !program.knows(flag))
        {
            None => Ok(program),
            Some(missing) => Err(format!(
                "{option} {shown}: its --help does not name {missing}\nhint: give a server that takes etcd's flags, such as /usr/bin/etcd"
            )),
        }
    }

    /// A stranger that says this for help.
    #[cfg(test)]
    pub(super) fn stranger(help: &str) -> Self {
        Self {
            path: "etcd".into(),
            help: Some(help.to_owned()),
            name: "etcd 3.4".to_owned(),
            before: None,
            in_netns: false,
        }
    }

    /// The same, with members that run `before` until they are upgraded.
    ///
    /// # Errors
    /// For the user: one of ours cannot follow a stranger, nor a stranger one of ours.
    pub(crate) fn behind(self, before: Self) -> Result<Self, String> {
        if self.is_foreign() != before.is_foreign() {
            return Err(format!(
                "members of {} cannot become members of {}\nhint: --before-bin and --server-bin are two builds of one program",
                before.name, self.name
            ));
        }
        Ok(Self { before: Some(Box::new(before)), ..self })
    }

    /// The same, with each member in a network namespace of its own.
    ///
    /// # Errors
    /// For the user, where there can be none.
    pub(crate) fn in_namespaces(self) -> Result<Self, String> {
        netns::check()?;
        Ok(Self { in_netns: true, ..self })
    }

    /// Whether members can begin as another build than this one.
    pub(super) fn has_before(&self) -> bool {
        self.before.is_some() || !self.is_foreign()
    }

    /// Whether it is not our own.
    pub(super) fn is_foreign(&self) -> bool {
        self.help.is_some()
    }

    /// Whether it takes this flag.
    pub(super) fn knows(&self, flag: &str) -> bool {
        let word = |help: &String| {
            help.split(|c: char| c.is_whitespace() || "='\",|[".contains(c)).any(|word| word == flag)
        };
        self.help.as_ref().is_none_or(word)
    }

    /// The command that starts a member.
    pub(super) fn command(&self, seat: &Seat, knobs: &Knobs) -> Command {
        match &self.before {
            Some(before) if seat.before => before.of_this(seat, knobs),
            _ => {
                let mut command = self.of_this(seat, knobs);
                if seat.before {
                    command.arg(format!("--max-peer-version={OLD_PEERS}"));
                }
                command
            }
        }
    }

    fn of_this(&self, seat: &Seat, knobs: &Knobs) -> Command {
        let mut command = Command::new(&self.path);
        if !self.is_foreign() {
            command.arg("server");
        }
        // Flags that etcd had under another name at some time stand one behind the other; the first known one is taken, and
        // what a stranger does not know is left out.
        for (names, value) in self.flags(seat, knobs) {
            if let Some(name) = names.iter().find(|name| self.knows(name)) {
                command.arg(format!("{name}={value}"));
            }
        }
        command
    }

    fn flags(&self, seat: &Seat, knobs: &Knobs) -> Vec<(&'static [&'static str], String)> {
        let mut flags: Vec<(&[&str], String)> = vec![
            (&["--name"], seat.name.clone()),
            (&["--data-dir"], seat.folder.display().to_string()),
            (&["--initial-cluster"], seat.initial.clone()),
            (&["--initial-cluster-state"], if seat.joins { "existing" } else { "new" }.to_owned()),
            (&["--listen-client-urls"], seat.client_url.clone()),
            (&["--advertise-client-urls"], seat.client_url.clone()),
            (&["--listen-peer-urls"], seat.listen_peer_url.clone()),
            (&["--initial-advertise-peer-urls"], seat.peer_url.clone()),
            (&["--heartbeat-interval"], knobs.heartbeat.as_millis().max(1).to_string()),
            (&["--election-timeout"], knobs.election_timeout.as_millis().to_string()),
            (&["--snapshot-count"], knobs.snapshot_entries.to_string()),
            (
                &["--snapshot-catchup-entries", "--experimental-snapshot-catchup-entries"],
                knobs.keep_entries.to_string(),
            ),
            (&["--wal-segment-bytes"], knobs.segment_bytes.to_string()),
        ];
        if !knobs.corrupt_check.is_zero() {
            flags.push((CORRUPT_CHECK, format!("{}ms", knobs.corrupt_check.as_millis())));
        }
        if knobs.initial_check && self.knows(INITIAL_CHECK) {
            flags.push((&[INITIAL_CHECK], "true".to_owned()));
        } else if knobs.initial_check {
            flags.push((&["--feature-gates"], "InitialCorruptCheck=true".to_owned()));
        }
        if !knobs.lease_checkpoint.is_zero() {
            flags.push((&["--experimental-enable-lease-checkpoint"], "true".to_owned()));
            let interval = format!("{}ms", knobs.lease_checkpoint.as_millis());
            flags.push((&["--lease-checkpoint-interval"], interval));
        }
        if knobs.quota_bytes > 0 {
            flags.push((&["--quota-backend-bytes"], knobs.quota_bytes.to_string()));
        }
        if let Some(faults) = &seat.faults {
            flags.push((&["--fault-dir"], faults.display().to_string()));
        }
        flags
    }
}

pub(super) const CORRUPT_CHECK: &[&str] = &["--corrupt-check-time", "--experimental-corrupt-check-time"];
const INITIAL_CHECK: &str = "--experimental-initial-corrupt-check";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_flags_are_read_from_its_help_and_unknown_ones_are_left_out() {
        let help = "--name 'default'\n    --snapshot-count='100000'\n  --experimental-corrupt-check-time '0s'\n  -h | --help";
        let program = Program::stranger(help);
        assert!(program.knows("--name") && program.knows("--snapshot-count") && program.knows("--help"));
        assert!(!program.knows("--snapshot") && !program.knows("--wal-segment-bytes"));
        let scenario = seatrial_scenario::format::parse(
            "x.toml",
            "title = \"x\"\nwhy = \"x\"\ntime = \"5s\"\n[knobs]\ncorrupt_check = \"1s\"\n[[workload]]\nname = \"kv\"\n",
        )
        .unwrap();
        let plan = seatrial_scenario::Plan::draw(&scenario, 1);
        let seat = Seat { name: "m1".to_owned(), ..Seat::default() };
        let command = program.command(&seat, &plan.knobs);
        let args: Vec<&str> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(args[0], "--name=m1");
        assert_eq!(args[2], "--experimental-corrupt-check-time=1000ms");
        assert_eq!(args.len(), 3, "{args:?}");
    }
}
