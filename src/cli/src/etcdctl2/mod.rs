//! `etcdctl` for the v2 API (`ETCDCTL_API=2`). Output, exit codes and error texts are those of the real one
//! (version 3.4), for scripts depend on them.

mod auth;
mod commands;
mod connect;
mod flags;
mod health;
mod keys;
mod members;
mod print;
mod watch;

use commands::{COMMANDS, Command, GLOBAL};
use flags::Given;
use seatrial_wire::V2ClientError;
use seatrial_world_real::RealWorld;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::process::ExitCode;

/// etcdctl's exit codes.
mod code {
    pub(super) const OK: u8 = 0;
    pub(super) const BAD_ARGS: u8 = 1;
    pub(super) const BAD_CONNECTION: u8 = 2;
    pub(super) const NO_COMMAND: u8 = 3;
    pub(super) const SERVER_ERROR: u8 = 4;
    pub(super) const NOT_HEALTHY: u8 = 5;
}

/// Why a command ends early, and what is said of it.
#[derive(Debug, PartialEq, Eq)]
struct Fail {
    code: u8,
    /// What standard error reads.
    text: String,
    /// What standard output reads before.
    out: String,
}

impl Fail {
    /// A sentence of its own.
    fn plain(text: impl Into<String>) -> Self {
        Self { code: code::BAD_ARGS, text: text.into() + "\n", out: String::new() }
    }

    /// A sentence behind `Error:`.
    fn error(code: u8, text: &str) -> Self {
        Self { code, text: format!("Error:  {text}\n"), out: String::new() }
    }

    fn args(text: &str) -> Self {
        Self::error(code::BAD_ARGS, text)
    }

    /// What the cluster said, with a list of all that was tried.
    fn client(code: u8, error: &V2ClientError) -> Self {
        let mut fail = Self::error(code, &error.to_string());
        if let V2ClientError::Unreachable { failures, .. } = error {
            for (at, failure) in failures.iter().enumerate() {
                fail.text += &format!("error #{at}: {failure}\n");
            }
            fail.text.push('\n');
        }
        fail
    }

    fn server(error: &V2ClientError) -> Self {
        Self::client(code::SERVER_ERROR, error)
    }

    /// Nothing more is to be said.
    fn silent(code: u8) -> Self {
        Self { code, text: String::new(), out: String::new() }
    }

    fn usage(word: &str, why: &str, help: &str) -> Self {
        Self {
            code: code::BAD_ARGS,
            text: format!("{why}\n"),
            out: format!("Incorrect Usage{word} {why}\n\n{help}"),
        }
    }
}

/// One run of one command.
struct Session<'a> {
    world: RealWorld,
    global: Given,
    environment: &'a dyn Fn(&str) -> Option<String>,
    input: Box<dyn BufRead + Send>,
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

/// What the command line asks for.
enum Asked {
    /// This text, and no more.
    Say(String),
    Run(&'static Command, Option<&'static Command>, Given),
}

fn nothing_about(name: &str) -> Fail {
    let text = format!("No help topic for '{name}'\n");
    Fail { code: code::NO_COMMAND, text, out: String::new() }
}

/// Reads the command line.
fn read(words: &[String]) -> Result<(Given, Asked), Fail> {
    // Whoever asks for the version wants nothing else.
    let mut globals = GLOBAL.to_vec();
    globals.push(flags::switch(&["version", "v"], ""));
    let global =
        flags::parse(&globals, words).map_err(|why| Fail::usage(".", &why, &commands::app_help()))?;
    if global.help {
        return Ok((global, Asked::Say(commands::app_help())));
    }
    if global.switch("version") {
        return Ok((global, Asked::Say("etcdctl version: 3.4.23\nAPI version: 2\n".to_owned())));
    }
    let Some((name, rest)) = global.rest.split_first() else {
        return Ok((global, Asked::Say(commands::app_help())));
    };
    if name == "help" || name == "h" {
        let help = match rest.first() {
            None => commands::app_help(),
            Some(topic) => match commands::find(COMMANDS, topic) {
                None => return Err(nothing_about(topic)),
                Some(command) => commands::command_help(topic, command),
            },
        };
        return Ok((global, Asked::Say(help)));
    }
    let command = commands::find(COMMANDS, name).ok_or_else(|| nothing_about(name))?;
    if command.commands.is_empty() {
        let asked = read_command(name, command, rest)?;
        let asked = match asked {
            Err(help) => Asked::Say(help),
            Ok(given) => Asked::Run(command, None, given),
        };
        return Ok((global, asked));
    }
    let inner =
        flags::parse(&[], rest).map_err(|why| Fail::usage(".", &why, &commands::group_help(command)))?;
    let Some((verb, rest)) = inner.rest.split_first().filter(|_| !inner.help) else {
        return Ok((global, Asked::Say(commands::group_help(command))));
    };
    if verb == "help" || verb == "h" {
        let help = match rest.first() {
            None => commands::group_app_help(command),
            Some(topic) => match commands::find(command.commands, topic) {
                None => return Err(nothing_about(topic)),
                Some(found) => commands::command_help(&format!("{name} {topic}"), found),
            },
        };
        return Ok((global, Asked::Say(help)));
    }
    let found = commands::find(command.commands, verb).ok_or_else(|| nothing_about(verb))?;
    let asked = match read_command(&format!("{name} {verb}"), found, rest)? {
        Err(help) => Asked::Say(help),
        Ok(given) => Asked::Run(command, Some(found), given),
    };
    Ok((global, asked))
}

/// The flags of a command; its help, where that is asked for.
fn read_command(names: &str, command: &Command, rest: &[String]) -> Result<Result<Given, String>, Fail> {
    let help = || commands::command_help(names, command);
    let words = flags::reorder(command.flags, rest);
    let given = flags::parse(command.flags, &words).map_err(|why| Fail::usage(":", &why, &help()))?;
    Ok(if given.help { Err(help()) } else { Ok(given) })
}

impl Session<'_> {
    /// A reader of our output that goes away ends us, as it ends other tools.
    fn say(&mut self, text: &str) -> Result<(), Fail> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|_| Fail::silent(code::BAD_ARGS))
    }

    /// `--output`, or what stands for it.
    fn output(&self) -> String {
        let given = self.global.text("output");
        if given.is_empty() { "simple".to_owned() } else { given.to_owned() }
    }

    /// One line of standard input without its end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.input.read_line(&mut line);
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    async fn run(&mut self, command: &Command, inner: Option<&Command>, given: &Given) -> Result<(), Fail> {
        match (command.name, inner.map(|inner| inner.name)) {
            ("backup", _) => Err(Fail::plain(
                "backup: the files of this store are none of etcd's\nhint: `ETCDCTL_API=3 etcdctl snapshot save FILE` writes the state of a running member",
            )),
            ("cluster-health", _) => self.cluster_health(given).await,
            ("mk", _) => self.mk(given).await,
            ("mkdir", _) => self.mkdir(given).await,
            ("rm", _) => self.rm(given).await,
            ("rmdir", _) => self.rmdir(given).await,
            ("get", _) => self.get(given).await,
            ("ls", _) => self.ls(given).await,
            ("set", _) => self.set(given).await,
            ("setdir", _) => self.setdir(given).await,
            ("update", _) => self.update(given).await,
            ("updatedir", _) => self.updatedir(given).await,
            ("watch", _) => self.watch(given).await,
            ("exec-watch", _) => self.exec_watch(given).await,
            ("member", Some("list")) => self.member_list(given).await,
            ("member", Some("add")) => self.member_add(given).await,
            ("member", Some("remove")) => self.member_remove(given).await,
            ("member", Some("update")) => self.member_update(given).await,
            ("user", Some("add")) => self.user_add(given).await,
            ("user", Some("get")) => self.user_get(given).await,
            ("user", Some("list")) => self.user_list(given).await,
            ("user", Some("remove")) => self.user_remove(given).await,
            ("user", Some("grant")) => self.user_grant(given, true).await,
            ("user", Some("revoke")) => self.user_grant(given, false).await,
            ("user", Some("passwd")) => self.user_passwd(given).await,
            ("role", Some("add")) => self.role_add(given).await,
            ("role", Some("get")) => self.role_get(given).await,
            ("role", Some("list")) => self.role_list(given).await,
            ("role", Some("remove")) => self.role_remove(given).await,
            ("role", Some("grant")) => self.role_grant(given, true).await,
            ("role", Some("revoke")) => self.role_grant(given, false).await,
            ("auth", Some("enable")) => self.auth_switch(given, true).await,
            ("auth", Some("disable")) => self.auth_switch(given, false).await,
            (name, _) => unreachable!("the command {name:?} stands in the table and is not wired up"),
        }
    }
}

/// `etcdctl` with these arguments (without the program's name), on the process's own input and output.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let end = |fail: &Fail| {
        let _ = std::io::stdout().write_all(fail.out.as_bytes());
        let _ = std::io::stderr().write_all(fail.text.as_bytes());
        ExitCode::from(fail.code)
    };
    let (global, asked) = match read(&words) {
        Ok(read) => read,
        Err(fail) => return end(&fail),
    };
    let (command, inner, given) = match asked {
        Asked::Say(text) => return end(&Fail { code: code::OK, text: String::new(), out: text }),
        Asked::Run(command, inner, given) => (command, inner, given),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Fail::plain(format!("could not start the runtime: {error}"))),
    };
    let mut session = Session {
        world: RealWorld::on(runtime.handle().clone()),
        global,
        environment: &|name| std::env::var(name).ok(),
        input: Box::new(std::io::BufReader::new(std::io::stdin())),
        out: Box::new(std::io::stdout()),
        err: Box::new(std::io::stderr()),
    };
    match runtime.block_on(session.run(command, inner, &given)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => end(&fail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn said(line: &str) -> String {
        match read(&words(line)) {
            Ok((_, Asked::Say(text))) => text,
            Ok((_, Asked::Run(command, inner, given))) => panic!("{command:?} {inner:?} {given:?}"),
            Err(fail) => format!("{}{}{}", fail.code, fail.out, fail.text),
        }
    }

    #[test]
    fn every_command_is_found_and_unknown_ones_are_named() {
        for command in COMMANDS {
            assert!(said(&format!("help {}", command.name)).starts_with("NAME:\n"), "{}", command.name);
        }
        assert_eq!(said("nosuch"), "3No help topic for 'nosuch'\n");
        assert_eq!(said("member nosuch"), "3No help topic for 'nosuch'\n");
        assert_eq!(said("-o json --version"), "etcdctl version: 3.4.23\nAPI version: 2\n");
        assert!(
            said("set --nosuch a")
                .starts_with("1Incorrect Usage: flag provided but not defined: -nosuch\n\nNAME:")
        );
        assert!(said("--nosuch").starts_with("1Incorrect Usage. flag provided"));
    }

    #[test]
    fn global_flags_stand_before_the_command() {
        let (global, asked) =
            read(&words("-o json -C http://h:1 set --ttl 3 a b")).map_err(|fail| fail.text).unwrap();
        assert_eq!((global.text("output"), global.text("peers")), ("json", "http://h:1"));
        let Asked::Run(command, None, given) = asked else { panic!("help?") };
        assert_eq!((command.name, given.number("ttl"), given.rest.join(" ")), ("set", 3, "a b".to_owned()));
    }
}
