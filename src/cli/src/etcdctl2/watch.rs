//! `watch` and `exec-watch`.

use super::flags::Given;
use super::{Fail, Session};
use seatrial_types::v2::V2Event;
use seatrial_wire::v2_key;
use std::io::Write;
use std::process::Stdio;

/// The first index that counts: what is named is known already. 0 stays 0, from now on.
fn since(given: &Given) -> u64 {
    match given.number("after-index") {
        0 => 0,
        after => after.cast_unsigned().wrapping_add(1),
    }
}

fn environment(event: &V2Event) -> [(&'static str, String); 4] {
    [
        ("ETCD_WATCH_ACTION", event.verb.name().to_owned()),
        ("ETCD_WATCH_MODIFIED_INDEX", event.node.modified.to_string()),
        ("ETCD_WATCH_KEY", v2_key(&event.node.path).to_owned()),
        ("ETCD_WATCH_VALUE", event.node.value.as_deref().unwrap_or_default().to_owned()),
    ]
}

/// Key and command. Without `--` behind the key, the key stands last.
fn key_and_command(rest: &[String]) -> Option<(&str, &[String])> {
    let (last, before) = rest.split_last()?;
    if rest.len() < 2 {
        return None;
    }
    if !rest.iter().skip(1).any(|word| word == "--") {
        return Some((last, before));
    }
    let command = rest.get(2..).filter(|command| !command.is_empty())?;
    Some((&rest[0], command))
}

impl Session<'_> {
    pub(super) async fn watch(&mut self, given: &Given) -> Result<(), Fail> {
        let Some(key) = given.rest.first() else { return Err(Fail::args("key required")) };
        let recursive = given.switch("recursive");
        let mut watcher = self.client().await?.watcher(key, recursive, since(given));
        loop {
            let told = tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return Ok(()),
                told = watcher.next() => told.map_err(|error| Fail::server(&error))?,
            };
            // A directory has nothing to be printed.
            if told.event.node.dir {
                continue;
            }
            if recursive {
                self.say(&format!("[{}] {}\n", told.event.verb.name(), v2_key(&told.event.node.path)))?;
            }
            self.print(&told)?;
            if !given.switch("forever") {
                return Ok(());
            }
        }
    }

    pub(super) async fn exec_watch(&mut self, given: &Given) -> Result<(), Fail> {
        let Some((key, command)) = key_and_command(&given.rest) else {
            return Err(Fail::args("key and command to exec required"));
        };
        let mut watcher = self.client().await?.watcher(key, given.switch("recursive"), since(given));
        loop {
            let told = tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return Ok(()),
                told = watcher.next() => told.map_err(|error| Fail::server(&error))?,
            };
            if told.event.node.dir {
                let _ = writeln!(self.err, "Ignored dir {} change", v2_key(&told.event.node.path));
                continue;
            }
            let started = std::process::Command::new(&command[0])
                .args(&command[1..])
                .envs(environment(&told.event))
                .stdin(Stdio::null())
                .spawn();
            match started {
                // It is waited for by a thread, so that none of its kind stays behind as a zombie.
                Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
                Err(error) => {
                    let why = crate::etcdctl::go::system_error(&error);
                    let why = match error.kind() {
                        std::io::ErrorKind::NotFound if !command[0].contains('/') => {
                            format!("exec: {:?}: executable file not found in $PATH", command[0])
                        }
                        _ => format!("fork/exec {}: {why}", command[0]),
                    };
                    return Err(Fail { text: why, ..Fail::silent(super::code::BAD_ARGS) });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_before_two_dashes_or_last() {
        let read = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            key_and_command(&words).map(|(key, command)| (key.to_owned(), command.join(" ")))
        };
        let some = |key: &str, command: &str| Some((key.to_owned(), command.to_owned()));
        assert_eq!(read("k -- sh -c x"), some("k", "sh -c x"));
        assert_eq!(read("sh -c x k"), some("k", "sh -c x"));
        assert_eq!(read("k"), None);
        assert_eq!(read("k --"), None);
    }
}
