//! `seatrial locksmithctl`: locksmith's control program. Its verbs print what locksmith prints and end with its codes, for
//! scripts depend on them; ours stand beside them.

use super::ctl_flags::{Flag, Given, Wrong, parse, switch, text};
use super::machine::{STATE_DIR, shell};
use super::seen::tell;
use super::store::{ENDPOINTS, Place, duration, first_line};
use seatrial_reboot::text as say;
use seatrial_reboot::{
    Coordinator, Done, Evidence, Freed, Group, Guards, KeysError, Locksmith, Phase, Policy, RebootError,
    Registration, Verb, View,
};
use seatrial_wire::{TlsFiles, V2Keys};
use seatrial_world_real::RealWorld;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const GLOBAL: &[Flag] = &[
    switch("debug", "print every request as a command of curl"),
    text(
        "endpoint",
        "where the store is; several times, or with commas [http://127.0.0.1:2379,http://127.0.0.1:4001]",
    ),
    text("etcd-cafile", "authorities of the store's certificates"),
    text("etcd-certfile", "our certificate"),
    text("etcd-keyfile", "its key"),
    text("etcd-password", "the password of -etcd-username"),
    text("etcd-username", "who asks"),
    text("group", "whose lock it is [the default group's]"),
    switch("version", "print the version"),
];

/// A verb, its flags, and what is said of it.
struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    flags: &'static [Flag],
}

const COMMANDS: &[Command] = &[
    Command { name: "help", usage: "[COMMAND]", about: "show the commands, or one", flags: &[] },
    Command {
        name: "lock",
        usage: "[MACHINE-ID]",
        about: "take a slot for this machine or another",
        flags: &[
            switch(
                "queue",
                "by our rules: in turn, with the pause and the store's quorum; again is no error",
            ),
            switch("quorum-guard", "with -queue, look at the store's members [true]"),
        ],
    },
    Command {
        name: "reboot",
        usage: "",
        about: "take a slot and reboot; it is given back by whoever runs afterwards",
        flags: &[text("reboot-command", "what reboots [systemctl reboot]")],
    },
    Command {
        name: "send-need-reboot",
        usage: "",
        about: "tell the agent of this machine that a reboot is needed",
        flags: &[text("state-dir", "the agent's folder [/run/seatrial-reboot]")],
    },
    Command { name: "set-max", usage: "NUMBER", about: "set the number of slots", flags: &[] },
    Command {
        name: "status",
        usage: "",
        about: "show free slots and who holds one",
        flags: &[switch("long", "with ages, phases, and what is overdue")],
    },
    Command {
        name: "unlock",
        usage: "[MACHINE-ID]",
        about: "give the slot of this machine or another back",
        flags: &[],
    },
    Command {
        name: "plan",
        usage: "",
        about: "show who is next, why it waits, and when it will be done",
        flags: &[],
    },
    Command { name: "pause", usage: "[WHY]", about: "grant nothing until `resume`", flags: &[] },
    Command {
        name: "resume",
        usage: "",
        about: "go on after a pause, or after too many did not come back",
        flags: &[],
    },
    Command {
        name: "policy",
        usage: "",
        about: "show the group's policy, or change what is given",
        flags: &[
            text("return-within", "after this time a holder is overdue"),
            text("patience", "how long a waiter keeps its place without asking"),
            text("ttl", "free a holder by time alone at the next sweep; 0: never"),
            text("failures-max", "grant nothing once so many did not come back; 0: no limit"),
        ],
    },
    Command {
        name: "sweep",
        usage: "",
        about: "free whom the policy's ttl frees, and who is known to be gone for good",
        flags: &[text("removed", "a machine that will never return; several times")],
    },
];

/// What is printed, and how it ends.
struct Said {
    out: String,
    err: String,
    code: u8,
}

fn out(text: impl Into<String>) -> Said {
    Said { out: text.into(), err: String::new(), code: 0 }
}

fn err(code: u8, text: impl Into<String>) -> Said {
    Said { out: String::new(), err: text.into() + "\n", code }
}

/// Runs one command.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let said = run_words(&words, &|name| std::env::var(name).ok());
    let _ = std::io::stdout().write_all(said.out.as_bytes());
    let _ = std::io::stderr().write_all(said.err.as_bytes());
    ExitCode::from(said.code)
}

fn run_words(words: &[String], environment: &dyn Fn(&str) -> Option<String>) -> Said {
    let mut global = match parse(GLOBAL, words) {
        Ok(given) => given,
        Err(Wrong::Flag(why)) => return err(2, format!("{why}\n{}", help().trim_end())),
        Err(Wrong::Help) => return err(0, help().trim_end()),
    };
    if global.is_on("version") {
        return out(format!("locksmithctl version {}\n", env!("CARGO_PKG_VERSION")));
    }
    global.environment("LOCKSMITHCTL", GLOBAL, environment);
    let name = global.rest.first().map_or("help", String::as_str);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let unknown = say::unknown_subcommand(name);
        return Said { code: 2, ..out(format!("{unknown}\nRun 'locksmithctl help' for usage.\n")) };
    };
    let given = match parse(command.flags, global.rest.get(1..).unwrap_or_default()) {
        Ok(given) => given,
        // Locksmith says it on both.
        Err(Wrong::Flag(why)) => {
            return Said { out: format!("{why}\n"), ..err(2, format!("{why}\nUsage:")) };
        }
        Err(Wrong::Help) => return Said { out: command_help(command), ..err(2, "flag: help requested") },
    };
    if command.name == "help" {
        return match given.rest.first() {
            None => out(help()),
            Some(name) => match COMMANDS.iter().find(|command| command.name == name) {
                Some(command) => out(command_help(command)),
                None => Said { code: 1, ..out(format!("Unrecognized command: {name}\n")) },
            },
        };
    }
    if command.name == "send-need-reboot" {
        return send_need_reboot(given.text("state-dir").unwrap_or(STATE_DIR));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return err(1, format!("Error initializing etcd client: {error}")),
    };
    let world = RealWorld::on(runtime.handle().clone());
    let place = place(&global);
    let group = Group::new(global.text("group").unwrap_or_default());
    // Before anybody is asked, as locksmith does it.
    match (command.name, given.rest.as_slice()) {
        ("set-max", []) | ("set-max", [_, _, ..]) => return err(1, say::NO_MAX),
        ("reboot", _) if !rustix::process::geteuid().is_root() => return err(1, say::NOT_ROOT),
        _ => {}
    }
    let keys = match place.keys(&world) {
        Ok(keys) => keys,
        Err(why) => return err(1, format!("Error initializing etcd client: {why}")),
    };
    let session = Session { lock: Coordinator::new(world.clone(), keys.clone(), group), world, keys, place };
    runtime.block_on(session.run(command.name, &given))
}

fn place(global: &Given) -> Place {
    let given: Vec<String> = global
        .all("endpoint")
        .iter()
        .flat_map(|value| value.split(','))
        .map(|url| url.trim().to_owned())
        .collect();
    let endpoints =
        if given.is_empty() { ENDPOINTS.iter().map(|&url| url.to_owned()).collect() } else { given };
    let file = |name| global.text(name).unwrap_or_default().to_owned();
    let tls = TlsFiles {
        cert: file("etcd-certfile"),
        key: file("etcd-keyfile"),
        trusted_ca: file("etcd-cafile"),
        ..TlsFiles::default()
    };
    let user = global.text("etcd-username").map(|user| (user.to_owned(), file("etcd-password")));
    Place { endpoints, tls, user, debug: global.is_on("debug") }
}

/// One command that asks the store.
struct Session {
    world: RealWorld,
    place: Place,
    keys: V2Keys<RealWorld>,
    lock: Coordinator<RealWorld, V2Keys<RealWorld>>,
}

impl Session {
    async fn run(&self, command: &str, given: &Given) -> Said {
        match command {
            "status" => self.status(given.is_on("long")).await,
            "set-max" => self.set_max(&given.rest[0]).await,
            "lock" => match machine_id(given) {
                None => err(1, say::NO_MACHINE_ID),
                Some(id) if given.is_on("queue") => {
                    self.lock_in_turn(id, !given.is_off("quorum-guard")).await
                }
                Some(id) => self.lock(id).await,
            },
            "unlock" => match machine_id(given) {
                None => err(1, say::NO_MACHINE_ID),
                Some(id) => match self.lock.run(Verb::Locksmith(Locksmith::Unlock(id))).await {
                    Ok(_) => out(""),
                    Err(error) => refused(&error, say::unlock_failed),
                },
            },
            "reboot" => self.reboot(given.text("reboot-command").unwrap_or("systemctl reboot")).await,
            "plan" => self.shown(|view| say::plan(&view.plan())).await,
            "pause" => self.pause(given.rest.join(" ")).await,
            "resume" => match self.lock.run(Verb::Resume).await {
                Ok(_) => out(say::resumed(&self.lock.group().to_string())),
                Err(error) => failed(&error),
            },
            "policy" => self.policy(given).await,
            _ => self.sweep(given.all("removed")).await,
        }
    }

    async fn shown(&self, show: impl FnOnce(&View) -> String) -> Said {
        match self.lock.look().await {
            Ok(view) => out(show(&view)),
            Err(error) => failed(&error),
        }
    }

    async fn status(&self, is_long: bool) -> Said {
        if is_long {
            return self.shown(say::status_long).await;
        }
        match self.lock.run(Verb::Locksmith(Locksmith::Status)).await {
            Ok(Done::Seen(view)) => out(say::status(&view.semaphore)),
            Ok(other) => unreachable!("a status ends with {other:?}"),
            Err(error) => refused(&error, say::value_failed),
        }
    }

    async fn set_max(&self, given: &str) -> Said {
        let Ok(max) = given.parse::<i64>() else { return err(1, say::invalid_max(given)) };
        match self.lock.run(Verb::Locksmith(Locksmith::SetMax(max))).await {
            Ok(Done::Max { old, semaphore }) => out(say::set_max(old, &semaphore)),
            Ok(other) => unreachable!("a change of the maximum ends with {other:?}"),
            Err(error) => refused(&error, say::value_failed),
        }
    }

    async fn lock(&self, id: String) -> Said {
        match self.lock.run(Verb::Locksmith(Locksmith::Lock(id))).await {
            Ok(_) => out(""),
            Err(error) => refused(&error, say::lock_failed),
        }
    }

    /// By our rules.
    async fn lock_in_turn(&self, id: String, is_guarded: bool) -> Said {
        let quorum = if is_guarded {
            match self.place.quorum(&self.world, &self.keys).await {
                Ok(quorum) => Some(quorum),
                Err(why) => return err(1, format!("Error locking: {why}")),
            }
        } else {
            None
        };
        let guards = Guards { quorum, ..Guards::default() };
        let verb = Verb::Lock { id: id.clone(), boot: None, phase: Phase::Held, guards };
        match self.lock.run(verb).await {
            Ok(Done::Granted { .. }) => out(""),
            Ok(Done::Refused(refusal)) => err(1, say::refused(&id, &refusal)),
            Ok(other) => unreachable!("a question for a slot ends with {other:?}"),
            Err(error) => refused(&error, say::lock_failed),
        }
    }

    async fn reboot(&self, command: &str) -> Said {
        let Some(id) = first_line("/etc/machine-id") else { return err(1, say::NO_MACHINE_ID) };
        let said = self.lock(id.clone()).await;
        if said.code != 0 {
            return said;
        }
        let Err(why) = shell(command, &[], Duration::from_secs(60)).await else { return out("") };
        // Locksmith keeps the slot here, and the group waits for a machine that never went.
        let freed = self.lock.run(Verb::Unlock { id, generation: None, by: Freed::Holder }).await;
        let kept = freed.err().map(|error| format!("\n{}", say::unlock_failed(&error))).unwrap_or_default();
        err(1, format!("Error rebooting: {why}{kept}"))
    }

    async fn pause(&self, why: String) -> Said {
        if let Err(error) = self.lock.run(Verb::Pause(why.clone())).await {
            return failed(&error);
        }
        let group = self.lock.group().to_string();
        self.shown(|view| say::paused(&group, &why, view.semaphore.holders().len())).await
    }

    async fn policy(&self, given: &Given) -> Said {
        let view = match self.lock.look().await {
            Ok(view) => view,
            Err(error) => return failed(&error),
        };
        let policy = match changed(view.ledger.policy.clone(), given) {
            Ok(policy) => policy,
            Err(why) => return err(2, why),
        };
        if policy != view.ledger.policy
            && let Err(error) = self.lock.run(Verb::SetPolicy(policy.clone())).await
        {
            return failed(&error);
        }
        out(policy_text(&policy))
    }

    async fn sweep(&self, removed: &[String]) -> Said {
        let view = match self.lock.look().await {
            Ok(view) => view,
            Err(error) => return failed(&error),
        };
        let evidence: BTreeMap<String, Evidence> = removed
            .iter()
            .filter_map(|id| {
                let generation = view.ledger.holders.get(id)?.generation;
                let gone =
                    Evidence { generation, registration: Registration::Removed, ..Evidence::default() };
                Some((id.clone(), gone))
            })
            .collect();
        match self.lock.run(Verb::Sweep(evidence)).await {
            Ok(Done::Swept(freed)) => out(say::swept(&freed)),
            Ok(other) => unreachable!("a sweep ends with {other:?}"),
            Err(error) => failed(&error),
        }
    }
}

/// An error of one of locksmith's verbs. It reads the semaphore before anything else, so that it says of a store which does
/// not answer that it could not begin.
fn refused(error: &RebootError, say: fn(&RebootError) -> String) -> Said {
    match error {
        RebootError::Keys(KeysError::Unavailable { ambiguous: false, .. }) => {
            err(1, format!("Error initializing etcd client: {error}"))
        }
        error => err(1, say(error)),
    }
}

fn failed(error: &RebootError) -> Said {
    err(1, format!("Error: {error}"))
}

fn machine_id(given: &Given) -> Option<String> {
    given.rest.first().cloned().or_else(|| first_line("/etc/machine-id"))
}

/// The policy with what was given.
fn changed(mut policy: Policy, given: &Given) -> Result<Policy, String> {
    let seconds = |name: &str| -> Result<Option<u64>, String> {
        let read = given.text(name).map(|value| match value {
            "0" => Ok(Duration::ZERO),
            value => duration(value).map_err(|why| format!("-{name} {value:?}: {why}")),
        });
        Ok(read.transpose()?.map(|time| time.as_secs()))
    };
    policy.return_within_seconds = seconds("return-within")?.unwrap_or(policy.return_within_seconds);
    policy.patience_seconds = seconds("patience")?.unwrap_or(policy.patience_seconds);
    if let Some(ttl) = seconds("ttl")? {
        policy.ttl_seconds = (ttl > 0).then_some(ttl);
    }
    if let Some(limit) = given.text("failures-max") {
        let limit: u32 = limit.parse().map_err(|_| format!("-failures-max {limit:?} is no number"))?;
        policy.failures_max = (limit > 0).then_some(limit);
    }
    Ok(policy)
}

fn policy_text(policy: &Policy) -> String {
    let Policy { return_within_seconds, patience_seconds, ttl_seconds, failures_max } = policy;
    let ttl = ttl_seconds.map_or("never".to_owned(), |seconds| format!("{seconds}s"));
    let limit = failures_max.map_or("no limit".to_owned(), |limit| limit.to_string());
    format!(
        "Return-Within: {return_within_seconds}s\nPatience: {patience_seconds}s\nTTL: {ttl}\nFailures-Max: {limit}\n"
    )
}

fn send_need_reboot(folder: &str) -> Said {
    match tell(Path::new(folder)) {
        Ok(()) => out(""),
        Err(why) => err(
            1,
            say::signal_failed(&format!("{why}\nhint: no agent runs here, or -state-dir is not its folder")),
        ),
    }
}

fn help() -> String {
    let mut text = "locksmithctl - the reboot lock of a group of machines\n\nUSAGE: locksmithctl [global options] COMMAND [options] [arguments]\n\nCOMMANDS:\n".to_owned();
    for Command { name, about, .. } in COMMANDS {
        text += &format!("  {name:<18}{about}\n");
    }
    text += "\nGLOBAL OPTIONS (also as LOCKSMITHCTL_SOME_FLAG in the environment):\n";
    for Flag { name, about, .. } in GLOBAL {
        text += &format!("  -{name:<17}{about}\n");
    }
    text + "\nRun \"locksmithctl help COMMAND\" for its options.\n"
}

fn command_help(command: &Command) -> String {
    let Command { name, usage, about, flags } = command;
    let mut text = format!("locksmithctl {name} {usage}\n\n  {about}\n");
    if !flags.is_empty() {
        text += "\nOPTIONS:\n";
    }
    for Flag { name, about, .. } in *flags {
        text += &format!("  -{name:<17}{about}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (u8, String, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Said { out, err, code } = run_words(&words, &|_| None);
        (code, out, err)
    }

    #[test]
    fn what_needs_no_store_is_said_without_one() {
        let unknown = "locksmithctl: unknown subcommand: \"bogus\"\nRun 'locksmithctl help' for usage.\n";
        assert_eq!(said("bogus"), (2, unknown.into(), String::new()));
        assert_eq!(said("set-max"), (1, String::new(), "New maximum value must be set.\n".into()));
        assert_eq!(said("help bogus"), (1, "Unrecognized command: bogus\n".into(), String::new()));
        assert_eq!(said("help lock").0, 0);
        assert_eq!(said("").1, said("help").1);
        let (code, out, err) = said("status -x");
        assert_eq!(
            (code, &*out, &*err),
            (2, "flag provided but not defined: -x\n", "flag provided but not defined: -x\nUsage:\n")
        );
    }

    #[test]
    fn a_policy_changes_in_what_is_given_alone() {
        let given = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let command = COMMANDS.iter().find(|command| command.name == "policy").unwrap();
            changed(Policy::default(), &parse(command.flags, &words).unwrap())
        };
        let policy = given("-ttl 2h -failures-max 3").unwrap();
        assert_eq!((policy.ttl_seconds, policy.failures_max), (Some(7200), Some(3)));
        assert_eq!(policy.return_within_seconds, Policy::default().return_within_seconds);
        assert_eq!(given("-ttl 0").unwrap().ttl_seconds, None);
        assert!(given("-ttl 5").unwrap_err().starts_with("-ttl \"5\": "));
        assert_eq!(
            policy_text(&policy),
            "Return-Within: 1800s\nPatience: 900s\nTTL: 7200s\nFailures-Max: 3\n"
        );
    }
}
