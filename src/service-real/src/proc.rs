//! What `/proc` says of processes.

use std::collections::BTreeMap;
use std::path::Path;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// When it was started, in ticks since the boot: with its number that is who it is.
    pub(crate) started: u64,
    /// It has ended, and its parent does not know yet.
    pub(crate) zombie: bool,
}

/// One process; `None` where there is none of that number.
pub(crate) fn look(pid: u32) -> Option<Process> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields of `/proc/PID/stat` (proc(5)). The name may hold anything, so it is the last `)` that ends it.
fn parse(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// All processes.
pub(crate) fn all() -> BTreeMap<u32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, look(pid)?))).collect()
}

/// The unit's run that a process belongs to by its environment, as far as we may look.
pub(crate) fn invocation(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    let found = entries.find_map(|entry| entry.strip_prefix(b"INVOCATION_ID="))?;
    String::from_utf8(found.to_vec()).ok()
}

/// The id of this boot: what was written down under another one is about processes that are gone.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// How long ago the boot was.
pub(crate) fn uptime() -> std::time::Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|seconds| seconds.parse::<f64>().ok());
    std::time::Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default()
}

/// 32 hexadecimal digits that nobody has drawn before.
pub(crate) fn draw_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    text.chars().filter(char::is_ascii_hexdigit).collect()
}

/// The processes of a control group and those below it.
pub(crate) fn of_control_group(folder: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(of_control_group(&entry.path()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_confuse() {
        let stat = "42 (a) b (c) S 1 42 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        let expected = Process { parent: 1, session: 40, started: 777, zombie: false };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn we_find_ourselves() {
        let me = std::process::id();
        let started = all()[&me].started;
        assert_eq!(look(me).map(|process| process.started), Some(started));
        assert_eq!(look(0), None);
        assert!(uptime().as_secs() > 0 && draw_id().len() == 32 && !boot_id().is_empty());
    }
}
