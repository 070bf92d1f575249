//! A network of the run's own: each member in a network namespace, all of them on one bridge, and links that are cut in the
//! kernel. What a member's TCP does at a black hole is then the kernel's own doing, and nothing of ours lies on the way.
//!
//! A directed link is cut by a wrong entry in the sender's table of neighbours: frames leave for an address that nobody
//! has, as they would behind a switch that forgot a port. That needs neither a packet filter nor a traffic shaper, which
//! many kernels and containers lack. It needs root, and the program `ip` of iproute2.

use seatrial_types::MemberId;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nobody's: locally administered, and given to none of our interfaces.
const NOBODY: &str = "02:00:00:00:de:ad";

/// Namespaces, bridges and cables of all runs begin like this; the driver's pid and a number follow.
const PREFIX: &str = "seatrial-";

/// The driver's own place on the bridge.
const DRIVER: u8 = 254;

static YARDS: AtomicU32 = AtomicU32::new(0);

/// The network of one run. It goes when this is dropped; what a driver that was killed has left behind goes when the
/// next one is built.
#[derive(Debug)]
pub(super) struct Yard {
    pid: u32,
    number: u32,
    /// The first three bytes of all addresses.
    net: String,
    machines: BTreeSet<MemberId>,
    /// Cut now, so that nothing is cut or mended twice.
    cut: Mutex<BTreeSet<(MemberId, MemberId)>>,
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output();
    match output {
        Err(error) => Err(format!("ip {words}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Whether networks can be built here.
///
/// # Errors
/// For the user, with a hint.
pub(super) fn check() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            "--netns makes network namespaces, which only root may\nhint: leave it out; links are then bent \
                    between the processes"
                .to_owned(),
        );
    }
    ip("netns list").map_err(|error| {
        format!("--netns: {error}\nhint: install the program ip (package iproute2), or leave --netns out")
    })
}

/// Takes away what drivers that are dead have left.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, rest)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if pid.parse::<u32>().is_err() || Path::new("/proc").join(pid).exists() {
            continue;
        }
        // Cables go with the namespace in which one of their ends lies.
        let _ = ip(&format!("netns del {name}"));
        if let Some((number, _)) = rest.split_once('-') {
            let _ = ip(&format!("link del sb{pid}n{number}"));
        }
    }
}

impl Yard {
    /// A network for these machines.
    pub(super) fn build(machines: &[MemberId], draw: &dyn Fn() -> u64) -> Result<Self, String> {
        check()?;
        sweep();
        let number = YARDS.fetch_add(1, Ordering::Relaxed) % 100;
        let net = format!("10.{}.{}", 200 + draw() % 50, draw() % 256);
        let machines: BTreeSet<MemberId> = machines.iter().copied().collect();
        // From here on dropping it takes back whatever was made.
        let yard = Self { pid: std::process::id(), number, net, machines, cut: Mutex::default() };
        let bridge = yard.bridge();
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}.{DRIVER}/24 dev {bridge}", yard.net))?;
        ip(&format!("link set {bridge} up"))?;
        for member in &yard.machines {
            let (space, cable) = (yard.space(*member), yard.cable(*member));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {cable} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!("-n {space} addr add {}/24 dev eth0", yard.address(*member)))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(yard)
    }

    fn space(&self, member: MemberId) -> String {
        format!("{PREFIX}{}-{}-m{member}", self.pid, self.number)
    }

    // Names of interfaces have at most 15 bytes.
    fn bridge(&self) -> String {
        format!("sb{}n{}", self.pid, self.number)
    }

    fn cable(&self, member: MemberId) -> String {
        format!("sv{}n{}m{member}", self.pid, self.number)
    }

    /// A member's address.
    pub(super) fn address(&self, member: MemberId) -> String {
        format!("{}.{member}", self.net)
    }

    /// The same command in the member's namespace. `ip` becomes the program: the process is the same one.
    pub(super) fn within(&self, member: MemberId, command: &Command) -> Command {
        let mut within = Command::new("ip");
        within.args(["netns", "exec", &self.space(member)]).arg(command.get_program());
        within.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        within
    }

    /// From now on nothing that `from` sends arrives at `to`, or all of it again.
    pub(super) fn set_cut(&self, from: MemberId, to: MemberId, is_cut: bool) -> Result<(), String> {
        let mut cut = self.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changes = if is_cut { cut.insert((from, to)) } else { cut.remove(&(from, to)) };
        if !changes {
            return Ok(());
        }
        let (space, address) = (self.space(from), self.address(to));
        if is_cut {
            ip(&format!("-n {space} neigh replace {address} lladdr {NOBODY} dev eth0 nud permanent"))
        } else {
            ip(&format!("-n {space} neigh del {address} dev eth0"))
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for member in &self.machines {
            let _ = ip(&format!("netns del {}", self.space(*member)));
        }
        let _ = ip(&format!("link del {}", self.bridge()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    /// Who can make networks does so; elsewhere it is said loudly that nothing was tried.
    fn yard(machines: &[MemberId]) -> Option<Yard> {
        match check().and_then(|()| Yard::build(machines, &|| u64::from(std::process::id()))) {
            Ok(yard) => Some(yard),
            Err(why) => {
                eprintln!("SKIPPED: no network of our own can be made here: {why}");
                None
            }
        }
    }

    /// Whether a datagram comes through.
    fn heard(yard: &Yard, from: MemberId, to: MemberId) -> bool {
        let listen = format!(
            "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('{}',7))\ns.settimeout(1.0)\nprint('ready',flush=True)\ntry:\n s.recv(9)\n print('heard')\nexcept socket.timeout:\n print('nothing')",
            yard.address(to)
        );
        let speak = format!(
            "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.sendto(b'hi',('{}',7))",
            yard.address(to)
        );
        let python = |code: &str, member| {
            let mut command = Command::new("python3");
            command.args(["-c", code]);
            yard.within(member, &command)
        };
        let mut listener = python(&listen, to).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        assert!(python(&speak, from).status().unwrap().success());
        let said = lines.next().unwrap().unwrap();
        listener.wait().unwrap();
        said == "heard"
    }

    #[test]
    fn a_cut_has_a_direction_and_mends_and_nothing_stays_behind() {
        let (one, two) = (MemberId(1), MemberId(2));
        let Some(yard) = yard(&[one, two]) else { return };
        assert!(heard(&yard, one, two) && heard(&yard, two, one));
        yard.set_cut(one, two, true).unwrap();
        yard.set_cut(one, two, true).unwrap();
        assert!(!heard(&yard, one, two));
        assert!(heard(&yard, two, one));
        yard.set_cut(one, two, false).unwrap();
        assert!(heard(&yard, one, two));
        let (space, bridge) = (yard.space(one), yard.bridge());
        drop(yard);
        assert!(!Path::new("/run/netns").join(space).exists());
        assert!(!Path::new("/sys/class/net").join(bridge).exists());
    }

    #[test]
    fn what_a_dead_driver_left_is_swept_up() {
        let Some(_) = yard(&[MemberId(1)]) else { return };
        // No process has this number.
        let (space, bridge) = ("seatrial-4194305-0-m1", "sb4194305n0");
        ip(&format!("netns add {space}")).unwrap();
        ip(&format!("link add {bridge} type bridge")).unwrap();
        sweep();
        assert!(!Path::new("/run/netns").join(space).exists());
        assert!(!Path::new("/sys/class/net").join(bridge).exists());
    }
}
