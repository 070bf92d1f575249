//! `seatrial etcdctl`: etcd's command line client. Output, exit codes and error texts are those of the real
//! one (version 3.4), for scripts depend on them.

mod args;
mod auth;
mod check;
mod cluster;
mod completion;
pub(crate) mod go;
mod json;
mod keys;
mod locks;
mod maintenance;
mod members;
mod mirror;
mod print;
mod protobuf;
mod snapshots;
#[cfg(test)]
mod tests;
mod txn;
mod watch;

use args::Globals;
pub(crate) use auth::Hidden;
pub(crate) use go::parse_duration;
pub(crate) use print::Format;
use seatrial_client::{Client, ClientOptions, Store};
use seatrial_types::request::DowngradeAction;
use seatrial_types::{Code, Error, Request, Response};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, Tls, TlsFiles};
use seatrial_world::Secure;
use seatrial_world_real::RealWorld;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// etcdctl's exit codes.
mod code {
    pub(super) const OK: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const BAD_CONNECTION: u8 = 2;
    pub(super) const INVALID_INPUT: u8 = 3;
    pub(super) const BAD_FEATURE: u8 = 4;
    pub(super) const INTERRUPTED: u8 = 5;
    pub(super) const BAD_ARGS: u8 = 128;
}

/// Why a command ends early.
#[derive(Debug, PartialEq, Eq)]
struct Fail {
    code: u8,
    /// Printed behind `Error: `, unless it is empty.
    text: String,
    /// Printed to standard output: the user asked for help.
    help: String,
    /// The command line cannot be read; its command's help is shown.
    is_usage: bool,
}

impl Fail {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), help: String::new(), is_usage: false }
    }

    fn args(text: impl Into<String>) -> Self {
        Self::new(code::BAD_ARGS, text)
    }

    fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// The command line cannot be read.
    fn usage(text: &str) -> Self {
        Self { is_usage: true, ..Self::new(code::ERROR, text) }
    }

    fn help(help: String) -> Self {
        Self { help, ..Self::new(code::OK, "") }
    }

    /// An answer of another kind than asked for.
    fn odd() -> Self {
        Self::new(code::ERROR, "the server gave an answer of another kind than asked for")
    }

    fn wrap(self, what: &str) -> Self {
        Self { text: format!("{what} ({})", self.text), ..self }
    }

    fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }
}

/// An error as etcdctl prints it.
fn error_text(error: &Error) -> String {
    match error {
        Error::Other(Code::DeadlineExceeded, _) => "context deadline exceeded".to_owned(),
        // Nobody could be reached in all the time there was.
        Error::Other(Code::Unavailable, text) if text.starts_with("connection error") => {
            "context deadline exceeded".to_owned()
        }
        Error::Other(code, text) => format!("rpc error: code = {code:?} desc = {text}"),
        known => known.to_string(),
    }
}

/// Where a command reads and writes.
struct Io {
    input: Box<dyn BufRead + Send>,
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

/// One run of one command.
struct Session<'a> {
    world: RealWorld,
    globals: Globals,
    environment: &'a dyn Fn(&str) -> Option<String>,
    io: Io,
    /// Says who gives the commands, once a password was shown.
    token: Option<String>,
}

impl Session<'_> {
    fn client_at(&self, endpoints: &[String]) -> Result<Client<RealWorld, GrpcEndpoint<RealWorld>>, Fail> {
        self.client_with(endpoints, self.globals.tls.clone(), self.token.clone())
    }

    fn client_with(
        &self,
        endpoints: &[String],
        tls: TlsFiles,
        token: Option<String>,
    ) -> Result<Client<RealWorld, GrpcEndpoint<RealWorld>>, Fail> {
        if endpoints.iter().all(String::is_empty) {
            return Err(Fail::new(code::BAD_CONNECTION, "etcdclient: no available endpoints"));
        }
        // As the real one: an endpoint without a scheme is https where there are settings for TLS.
        let files = [&tls.cert, &tls.key, &tls.trusted_ca].iter().any(|file| !file.is_empty());
        let secure = files || !self.globals.insecure_transport;
        let layer = if secure || endpoints.iter().any(|endpoint| seatrial_wire::is_https(endpoint)) {
            let tls = Tls::client(tls, crate::tls::reader()).map_err(Fail::args)?;
            Some(Arc::new(tls) as Arc<dyn Secure>)
        } else {
            None
        };
        let channel = ChannelOptions {
            layer,
            connect_timeout: self.globals.dial_timeout,
            // Servers send away who pings every two seconds, which is the flag's default. Go's library, on which the real
            // etcdctl rests, raises what is below ten seconds in silence, and so do we.
            keepalive_interval: Some(self.globals.keepalive_time)
                .filter(|time| !time.is_zero())
                .map(|time| time.max(Duration::from_secs(10))),
            keepalive_timeout: self.globals.keepalive_timeout,
            token,
            ..ChannelOptions::default()
        };
        let options = ClientOptions {
            request_timeout: self.globals.command_timeout,
            backoff_min: Duration::from_millis(50),
            ..ClientOptions::default()
        };
        seatrial_wire::connect(&self.world, endpoints, &channel, options).map_err(Fail::args)
    }

    fn client(&self) -> Result<Client<RealWorld, GrpcEndpoint<RealWorld>>, Fail> {
        self.client_at(&self.globals.endpoints)
    }

    fn client_of(&self, endpoint: &str) -> Result<Client<RealWorld, GrpcEndpoint<RealWorld>>, Fail> {
        self.client_at(&[endpoint.to_owned()])
    }

    async fn call(&self, request: Request) -> Result<Response, Fail> {
        let answer = self.client()?.call(request).await;
        answer.map_err(|error| Fail::new(code::ERROR, error_text(&error.error)))
    }

    /// A reader of our output that goes away ends us, as it ends other tools.
    fn out(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let written = self.io.out.write_all(bytes).and_then(|()| self.io.out.flush());
        written.map_err(|_| Fail::silent(code::ERROR))
    }

    fn err(&mut self, bytes: &[u8]) {
        let _ = self.io.err.write_all(bytes);
    }

    fn read_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.io.input.read_to_end(&mut all);
        all
    }

    /// The next line; `None` at the end, and for a last line that is not ended.
    fn read_line(&mut self) -> Option<String> {
        read_line(&mut *self.io.input)
    }

    /// The lines as they come, read by a thread of its own so that answers are printed meanwhile.
    fn input_lines(&mut self) -> mpsc::UnboundedReceiver<String> {
        let (lines, receive) = mpsc::unbounded_channel();
        let mut input = std::mem::replace(&mut self.io.input, Box::new(std::io::empty()));
        std::thread::spawn(move || {
            while let Some(line) = read_line(&mut *input) {
                if lines.send(line.trim_end_matches('\n').to_owned()).is_err() {
                    return;
                }
            }
        });
        receive
    }

    async fn run(&mut self, matches: &clap::ArgMatches) -> Result<(), Fail> {
        let Some((name, matches)) = matches.subcommand() else { return Err(Fail::silent(code::ERROR)) };
        let nested = matches.subcommand();
        // Health is a matter of each endpoint, also where nobody believes who we are.
        let is_health = matches!((name, nested), ("endpoint", Some(("health", _))));
        if !["version", "help", "completion"].contains(&name) && !is_health {
            self.log_in().await?;
        }
        match (name, nested) {
            ("get", _) => self.get(matches).await,
            ("put", _) => self.put(matches).await,
            ("del", _) => self.del(matches).await,
            ("txn", _) => self.txn(matches).await,
            ("watch", _) => self.watch(matches).await,
            ("compaction", _) => self.compaction(matches).await,
            ("lease", Some(("grant", matches))) => self.lease_grant(matches).await,
            ("lease", Some(("revoke", matches))) => self.lease_revoke(matches).await,
            ("lease", Some(("timetolive", matches))) => self.lease_timetolive(matches).await,
            ("lease", Some(("list", _))) => self.lease_list().await,
            ("lease", Some(("keep-alive", matches))) => self.lease_keep_alive(matches).await,
            ("member", Some(("add", matches))) => self.member_add(matches).await,
            ("member", Some(("list", _))) => self.member_list().await,
            ("member", Some(("promote", matches))) => self.member_promote(matches).await,
            ("member", Some(("remove", matches))) => self.member_remove(matches).await,
            ("member", Some(("update", matches))) => self.member_update(matches).await,
            ("endpoint", Some(("health", matches))) => self.endpoint_health(matches).await,
            ("endpoint", Some(("status", matches))) => self.endpoint_status(matches).await,
            ("endpoint", Some(("hashkv", matches))) => self.endpoint_hashkv(matches).await,
            ("defrag", _) => self.defrag(matches).await,
            ("downgrade", Some(("validate", matches))) => {
                self.downgrade(DowngradeAction::Validate, matches).await
            }
            ("downgrade", Some(("enable", matches))) => {
                self.downgrade(DowngradeAction::Enable, matches).await
            }
            ("downgrade", Some(("cancel", matches))) => {
                self.downgrade(DowngradeAction::Cancel, matches).await
            }
            ("alarm", Some(("disarm", matches))) => self.alarm_disarm(matches).await,
            ("alarm", Some(("list", matches))) => self.alarm_list(matches).await,
            ("move-leader", _) => self.move_leader(matches).await,
            ("snapshot", Some(("save", matches))) => self.snapshot_save(matches).await,
            ("snapshot", Some(("status", matches))) => self.snapshot_status(matches),
            ("snapshot", Some(("restore", matches))) => self.snapshot_restore(matches),
            ("check", Some(("perf", matches))) => self.check_perf(matches).await,
            ("check", Some(("datascale", matches))) => self.check_datascale(matches).await,
            ("completion", Some((shell, _))) => self.out(&completion::script(shell)?),
            ("help", _) => {
                let words: Vec<String> = args::words(matches).iter().map(|word| args::text(word)).collect();
                let known = |word: &String| args::root().find_subcommand(word.as_str()).is_some();
                if !words.first().is_none_or(known) {
                    let topics: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                    self.err(format!("Unknown help topic [{}]\n", topics.join(" ")).as_bytes());
                }
                self.out(args::help(words.iter().map(String::as_str)).as_bytes())
            }
            ("auth", Some(("enable", matches))) => self.auth_enable(matches).await,
            ("auth", Some(("disable", matches))) => self.auth_disable(matches).await,
            ("auth", Some(("status", matches))) => self.auth_status(matches).await,
            ("user", Some(("add", matches))) => self.user_add(matches).await,
            ("user", Some(("delete", matches))) => self.user_delete(matches).await,
            ("user", Some(("get", matches))) => self.user_get(matches).await,
            ("user", Some(("list", matches))) => self.user_list(matches).await,
            ("user", Some(("passwd", matches))) => self.user_passwd(matches).await,
            ("user", Some(("grant-role", matches))) => self.user_grant_role(matches).await,
            ("user", Some(("revoke-role", matches))) => self.user_revoke_role(matches).await,
            ("role", Some(("add", matches))) => self.role_add(matches).await,
            ("role", Some(("delete", matches))) => self.role_delete(matches).await,
            ("role", Some(("get", matches))) => self.role_get(matches).await,
            ("role", Some(("list", matches))) => self.role_list(matches).await,
            ("role", Some(("grant-permission", matches))) => self.role_grant_permission(matches).await,
            ("role", Some(("revoke-permission", matches))) => self.role_revoke_permission(matches).await,
            ("make-mirror", _) => self.make_mirror(matches).await,
            ("lock", _) => self.lock(matches).await,
            ("elect", _) => self.elect(matches).await,
            ("version", _) => self.out(b"etcdctl version: 3.4.23\nAPI version: 3.4\n"),
            (name, _) => Err(Fail::new(code::ERROR, format!("command {name:?} is not wired up"))),
        }
    }
}

fn read_line(input: &mut dyn BufRead) -> Option<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).ok()?;
    line.ends_with(b"\n").then(|| String::from_utf8_lossy(&line).into_owned())
}

/// Runs one command in a runtime of its own.
fn run_with(args: Vec<OsString>, environment: &dyn Fn(&str) -> Option<String>, mut io: Io) -> u8 {
    let line: Vec<OsString> = [OsString::from("etcdctl")].into_iter().chain(args).collect();
    let said: Vec<String> = line.iter().map(|word: &OsString| word.to_string_lossy().into_owned()).collect();
    // As the real one: what is wrong with a command line is said before the command's help and behind it.
    let end = |fail: &Fail, io: &mut Io| {
        if fail.is_usage {
            let help = args::help(said.iter().map(String::as_str));
            let text = format!("{}\n\nError: {}", fail.text, fail.text);
            return end(&Fail { help, ..Fail::new(fail.code, text) }, io);
        }
        end(fail, io)
    };
    let matches = match args::parse(args::root(), line) {
        Ok(matches) => matches,
        Err(fail) => return end(&fail, &mut io),
    };
    // Global flags are known to the innermost command, wherever they stood.
    let mut innermost = &matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let globals = match Globals::new(innermost, environment) {
        Ok(globals) => globals,
        Err(fail) => return end(&fail, &mut io),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(&Fail::new(code::ERROR, format!("could not start the runtime: {error}")), &mut io);
        }
    };
    let world = RealWorld::on(runtime.handle().clone());
    let mut session = Session { world, globals, environment, io, token: None };
    match runtime.block_on(session.run(&matches)) {
        Ok(()) => code::OK,
        Err(fail) => end(&fail, &mut session.io),
    }
}

/// Says why, and gives the exit code.
fn end(fail: &Fail, io: &mut Io) -> u8 {
    let _ = io.out.write_all(fail.help.as_bytes());
    if !fail.text.is_empty() {
        let _ = writeln!(io.err, "Error: {}", fail.text);
    }
    let _ = io.out.flush();
    fail.code
}

/// `etcdctl` with these arguments (without the program's name), on the process's own input and output.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    for name in args::unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        eprintln!("unrecognized environment variable {name}={}", std::env::var(&name).unwrap_or_default());
    }
    let io = Io {
        input: Box::new(std::io::BufReader::new(std::io::stdin())),
        out: Box::new(std::io::stdout()),
        err: Box::new(std::io::stderr()),
    };
    ExitCode::from(run_with(args, &|name| std::env::var(name).ok(), io))
}
