//! The command line, with etcdctl's flags, environment variables and error texts.

use super::go::{parse_bool, parse_duration, parse_int};
use super::print::{Format, Printer};
use super::{Fail, code};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use seatrial_wire::TlsFiles;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// A flag that is off unless given; `--name=false` works too, as in Go. The last one counts.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .value_parser(|text: &str| parse_bool(text).ok_or("no boolean"))
        .overrides_with(name)
        .help(help)
}

/// A flag with a value, which may begin with a dash. It is read later, for errors in Go's words.
fn valued(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).num_args(1).allow_hyphen_values(true).overrides_with(name).help(help);
    if default.is_empty() { arg } else { arg.default_value(default) }
}

/// What stands on the command line without a name: any bytes.
fn rest() -> Arg {
    Arg::new("args").num_args(0..).value_parser(value_parser!(OsString)).hide(true)
}

fn command(name: &'static str, about: &'static str, usage: &'static str) -> Command {
    Command::new(name).about(about).override_usage(usage).disable_help_subcommand(true)
}

pub(super) fn get() -> Command {
    command("get", "Gets the key or a range of keys", "etcdctl get [options] <key> [range_end]")
        .arg(valued("consistency", "l", "Linearizable(l) or Serializable(s)"))
        .arg(valued("order", "", "Order of results; ASCEND or DESCEND (ASCEND by default)"))
        .arg(valued("sort-by", "", "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"))
        .arg(valued("limit", "0", "Maximum number of results"))
        .arg(valued("rev", "0", "The revision to read at"))
        .arg(switch("prefix", "Get keys with matching prefix"))
        .arg(switch("from-key", "Get the key and all that sort after it"))
        .arg(switch("keys-only", "Get only the keys"))
        .arg(switch("count-only", "Get only the count; for --write-out=fields"))
        .arg(switch("print-value-only", "Print only the values; for --write-out=simple"))
        .arg(rest())
}

pub(super) fn put() -> Command {
    command(
        "put",
        "Puts the given key into the store",
        "etcdctl put [options] <key> <value> (the value can also come from standard input)",
    )
    .arg(valued("lease", "0", "Lease (in hexadecimal) to attach the key to"))
    .arg(switch("prev-kv", "Print the version before, too"))
    .arg(switch("ignore-value", "Keep the key's value"))
    .arg(switch("ignore-lease", "Keep the key's lease"))
    .arg(rest())
}

pub(super) fn del() -> Command {
    command("del", "Removes the key or a range of keys", "etcdctl del [options] <key> [range_end]")
        .arg(switch("prefix", "Delete keys with matching prefix"))
        .arg(switch("from-key", "Delete the key and all that sort after it"))
        .arg(switch("prev-kv", "Print what was deleted"))
        .arg(rest())
}

pub(super) fn watch() -> Command {
    command(
        "watch",
        "Watches keys or prefixes",
        "etcdctl watch [options] [key or prefix] [range_end] [-- command arg1 arg2 ...]",
    )
    .arg(switch("interactive", "Read watch and progress requests from standard input").short('i'))
    .arg(switch("prefix", "Watch all keys with this prefix"))
    .arg(valued("rev", "0", "Revision to start at"))
    .arg(switch("prev-kv", "Print the version before each change, too"))
    .arg(rest())
    .arg(Arg::new("exec").num_args(0..).last(true).value_parser(value_parser!(OsString)).hide(true))
}

/// The whole command line.
pub(super) fn root() -> Command {
    let global = |arg: Arg| arg.global(true).help_heading("Global options");
    let plain = |name, about, usage| command(name, about, usage).arg(rest());
    command("etcdctl", "A command line client for etcd's v3 API.", "etcdctl [options] <command>")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .infer_subcommands(true)
        .arg(global(
            Arg::new("endpoints")
                .long("endpoints")
                .num_args(1)
                .allow_hyphen_values(true)
                .default_value("127.0.0.1:2379")
                .help("gRPC endpoints")
                .action(ArgAction::Append)
                .value_delimiter(','),
        ))
        .arg(global(
            valued("write-out", "simple", "Output format: fields, json, protobuf, simple, table").short('w'),
        ))
        .arg(global(switch("hex", "Print keys and values in hexadecimal")))
        .arg(global(valued("dial-timeout", "2s", "Limit for connecting")))
        .arg(global(valued("command-timeout", "5s", "Limit for a short command, without connecting")))
        .arg(global(valued("keepalive-time", "2s", "Silence before a connection is probed")))
        .arg(global(valued("keepalive-timeout", "6s", "Time for the probe's answer")))
        .arg(global(switch("debug", "Log what the client does")))
        .arg(global(switch("insecure-transport", "Speak plain text to http endpoints").default_value("true")))
        .arg(global(valued("cacert", "", "Authorities whose servers are trusted, in PEM form")))
        .arg(global(valued("cert", "", "Our certificate, in PEM form")))
        .arg(global(valued("key", "", "The key of --cert, in PEM form")))
        .arg(global(switch("insecure-skip-tls-verify", "Take any server's certificate")))
        .arg(global(valued("user", "", "name[:password] of the user who gives the command")))
        .arg(global(valued("password", "", "Password of --user, which then holds only the name")))
        .subcommand(get())
        .subcommand(put())
        .subcommand(del())
        .subcommand(
            plain("txn", "Processes all requests in one transaction", "etcdctl txn [options]")
                .arg(switch("interactive", "Say what is to be entered next").short('i')),
        )
        .subcommand(watch())
        .subcommand(
            plain("compaction", "Compacts the history", "etcdctl compaction [options] <revision>")
                .arg(switch("physical", "Wait until the old revisions are gone from disk")),
        )
        .subcommand(
            command("lease", "Lease related commands", "etcdctl lease <command>")
                .subcommand_required(true)
                .infer_subcommands(true)
                .subcommand(plain("grant", "Creates leases", "etcdctl lease grant <ttl>"))
                .subcommand(plain("revoke", "Revokes leases", "etcdctl lease revoke <leaseID>"))
                .subcommand(
                    plain(
                        "timetolive",
                        "Get lease information",
                        "etcdctl lease timetolive <leaseID> [options]",
                    )
                    .arg(switch("keys", "Name the keys attached to the lease")),
                )
                .subcommand(plain("list", "List all active leases", "etcdctl lease list"))
                .subcommand(
                    plain("keep-alive", "Keeps leases alive", "etcdctl lease keep-alive [options] <leaseID>")
                        .arg(switch("once", "Renew once and exit")),
                ),
        )
        .subcommand(
            command("member", "Membership related commands", "etcdctl member <command>")
                .subcommand_required(true)
                .infer_subcommands(true)
                .subcommand(
                    plain(
                        "add",
                        "Adds a member into the cluster",
                        "etcdctl member add <memberName> [options]",
                    )
                    .arg(valued("peer-urls", "", "Where its peers will reach it, separated by commas"))
                    .arg(switch("learner", "Add it without a vote")),
                )
                .subcommand(plain("list", "Lists all members in the cluster", "etcdctl member list"))
                .subcommand(plain(
                    "promote",
                    "Promotes a non-voting member in the cluster",
                    "etcdctl member promote <memberID>",
                ))
                .subcommand(plain(
                    "remove",
                    "Removes a member from the cluster",
                    "etcdctl member remove <memberID>",
                ))
                .subcommand(
                    plain(
                        "update",
                        "Updates a member in the cluster",
                        "etcdctl member update <memberID> [options]",
                    )
                    .arg(valued(
                        "peer-urls",
                        "",
                        "Where its peers reach it from now on, separated by commas",
                    )),
                ),
        )
        .subcommand(
            command("endpoint", "Endpoint related commands", "etcdctl endpoint <command>")
                .subcommand_required(true)
                .infer_subcommands(true)
                .arg(switch("cluster", "Use all endpoints from the cluster's member list").global(true))
                .subcommand(plain(
                    "health",
                    "Checks whether the endpoints are healthy",
                    "etcdctl endpoint health",
                ))
                .subcommand(plain("status", "Prints the status of the endpoints", "etcdctl endpoint status"))
                .subcommand(
                    plain("hashkv", "Prints the hash of each endpoint's history", "etcdctl endpoint hashkv")
                        .arg(valued("rev", "0", "Revision to hash up to")),
                ),
        )
        .subcommand(
            command("alarm", "Alarm related commands", "etcdctl alarm <command>")
                .subcommand_required(true)
                .subcommand(plain("disarm", "Disarms all alarms", "etcdctl alarm disarm"))
                .subcommand(plain("list", "Lists all alarms", "etcdctl alarm list")),
        )
        .subcommand(
            command("snapshot", "Manages node snapshots", "etcdctl snapshot <command>")
                .subcommand_required(true)
                .subcommand(plain(
                    "save",
                    "Stores a node's backend snapshot to a given file",
                    "etcdctl snapshot save <filename>",
                ))
                .subcommand(plain(
                    "status",
                    "Gets snapshot status of a given file",
                    "etcdctl snapshot status <filename>",
                ))
                .subcommand(restore()),
        )
        .subcommand(check())
        .subcommand(
            command("completion", "Generates a script that completes commands", "etcdctl completion <shell>")
                .subcommand_required(true)
                .subcommand(plain("bash", "For bash", "etcdctl completion bash"))
                .subcommand(plain("zsh", "For zsh", "etcdctl completion zsh"))
                .subcommand(plain("fish", "For fish", "etcdctl completion fish"))
                .subcommand(plain("powershell", "For PowerShell", "etcdctl completion powershell")),
        )
        .subcommand(plain("help", "Help about any command", "etcdctl help [command]"))
        .subcommands(users())
        .subcommand(
            plain(
                "make-mirror",
                "Makes a mirror at the destination etcd cluster",
                "etcdctl make-mirror [options] <destination>",
            )
            .arg(valued("prefix", "", "Mirror the keys with this prefix; all without it"))
            .arg(valued("dest-prefix", "", "Prefix that takes the place of --prefix in the destination"))
            .arg(switch("no-dest-prefix", "Mirror to the root of the destination"))
            .arg(valued("dest-cert", "", "Our certificate for the destination, in PEM form"))
            .arg(valued("dest-key", "", "The key of --dest-cert, in PEM form"))
            .arg(valued("dest-cacert", "", "Authorities that the destination is trusted by, in PEM form"))
            .arg(
                switch("dest-insecure-transport", "Speak plain text to an http destination")
                    .default_value("true"),
            ),
        )
        .subcommand(
            plain(
                "lock",
                "Acquires a named lock",
                "etcdctl lock <lockname> [options] [-- command arg1 arg2 ...]",
            )
            .arg(valued(
                "ttl",
                "10",
                "Seconds after which the lock of a holder that is gone is free",
            )),
        )
        .subcommand(
            plain(
                "elect",
                "Observes and participates in leader election",
                "etcdctl elect <election-name> [proposal]",
            )
            .arg(switch("listen", "Print the leaders instead of standing for election").short('l')),
        )
        .subcommand(
            plain(
                "defrag",
                "Defragments the storage of the members with the given endpoints",
                "etcdctl defrag [options]",
            )
            .arg(switch("cluster", "Use all endpoints of the member list"))
            .arg(valued("data-dir", "", "Defragment this data folder, which no member uses")),
        )
        .subcommand(
            command("downgrade", "Downgrade related commands", "etcdctl downgrade <command>")
                .subcommand_required(true)
                .infer_subcommands(true)
                .subcommand(plain(
                    "validate",
                    "Asks whether the cluster could be taken back to a version",
                    "etcdctl downgrade validate <TARGET_VERSION>",
                ))
                .subcommand(plain(
                    "enable",
                    "Begins to take the cluster back to a version",
                    "etcdctl downgrade enable <TARGET_VERSION>",
                ))
                .subcommand(plain("cancel", "Calls a downgrade off", "etcdctl downgrade cancel")),
        )
        .subcommand(plain("move-leader", "Transfers the leadership", "etcdctl move-leader <memberID>"))
        .subcommand(plain("version", "Prints the version of etcdctl", "etcdctl version"))
}

fn restore() -> Command {
    command(
        "restore",
        "Makes a data folder for a member of a new cluster from a snapshot file",
        "etcdctl snapshot restore <filename> [options]",
    )
    .arg(valued("name", "default", "The member's name in the new cluster"))
    .arg(valued("data-dir", "", "Folder to be made; NAME.etcd without it"))
    .arg(valued("initial-cluster", "default=http://localhost:2380", "All members of the new cluster"))
    .arg(valued("initial-cluster-token", "etcd-cluster", "Keeps the new cluster apart from others"))
    .arg(valued("initial-advertise-peer-urls", "http://localhost:2380", "Where peers will reach this member"))
    .arg(switch("skip-hash-check", "Take a copy of a member's own database, which has no checksum"))
    .arg(rest())
}

fn check() -> Command {
    let load = |name: &'static str, about, prefix: &'static str, usage| {
        command(name, about, usage)
            .arg(valued("load", "s", "Size of the load: s(small), m(medium), l(large), xl(xLarge)"))
            .arg(valued("prefix", prefix, "Prefix of the keys that are written"))
            .arg(switch("auto-compact", "Compact the history when it is done"))
            .arg(switch("auto-defrag", "Defragment all endpoints when it is done"))
            .arg(rest())
    };
    command("check", "Commands for checking properties of the cluster", "etcdctl check <command>")
        .subcommand_required(true)
        .infer_subcommands(true)
        .subcommand(load(
            "perf",
            "Checks the performance of the cluster",
            "/etcdctl-check-perf/",
            "etcdctl check perf [options]",
        ))
        .subcommand(load(
            "datascale",
            "Checks how much memory data take at the first endpoint",
            "/etcdctl-check-datascale/",
            "etcdctl check datascale [options]",
        ))
}

/// The help of the command that these words name, flags aside.
pub(super) fn help<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut command = root();
    for word in words {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner.clone();
        }
    }
    command.render_help().to_string()
}

/// auth, user and role.
fn users() -> [Command; 3] {
    let plain = |name, about, usage| command(name, about, usage).arg(rest());
    let group =
        |name, about, usage| command(name, about, usage).subcommand_required(true).infer_subcommands(true);
    let interactive = || {
        switch("interactive", "Ask for the password instead of reading a line of input").default_value("true")
    };
    let range = |command: Command| {
        command
            .arg(switch("prefix", "All keys with this prefix"))
            .arg(switch("from-key", "The key and all that sort after it"))
    };
    [
        group("auth", "Enable or disable authentication", "etcdctl auth <command>")
            .subcommand(plain("enable", "Enables authentication", "etcdctl auth enable"))
            .subcommand(plain("disable", "Disables authentication", "etcdctl auth disable"))
            .subcommand(plain("status", "Says whether authentication is on", "etcdctl auth status")),
        group("user", "User related commands", "etcdctl user <command>")
            .subcommand(
                plain("add", "Adds a new user", "etcdctl user add <name or name:password> [options]")
                    .arg(interactive())
                    .arg(valued("new-user-password", "", "Password of the new user"))
                    .arg(switch("no-password", "A user that comes with a certificate only")),
            )
            .subcommand(plain("delete", "Deletes a user", "etcdctl user delete <name>"))
            .subcommand(
                plain("get", "Gets detailed information of a user", "etcdctl user get <name> [options]")
                    .arg(switch("detail", "Show the permissions of the user's roles")),
            )
            .subcommand(plain("list", "Lists all users", "etcdctl user list"))
            .subcommand(
                plain("passwd", "Changes password of user", "etcdctl user passwd <name> [options]")
                    .arg(interactive()),
            )
            .subcommand(plain(
                "grant-role",
                "Grants a role to a user",
                "etcdctl user grant-role <user> <role>",
            ))
            .subcommand(plain(
                "revoke-role",
                "Revokes a role from a user",
                "etcdctl user revoke-role <user> <role>",
            )),
        group("role", "Role related commands", "etcdctl role <command>")
            .subcommand(plain("add", "Adds a new role", "etcdctl role add <role>"))
            .subcommand(plain("delete", "Deletes a role", "etcdctl role delete <role>"))
            .subcommand(plain("get", "Gets detailed information of a role", "etcdctl role get <role>"))
            .subcommand(plain("list", "Lists all roles", "etcdctl role list"))
            .subcommand(range(plain(
                "grant-permission",
                "Grants a key to a role",
                "etcdctl role grant-permission [options] <role> <permission> <key> [endkey]",
            )))
            .subcommand(range(plain(
                "revoke-permission",
                "Revokes a key from a role",
                "etcdctl role revoke-permission <role> <key> [endkey]",
            ))),
    ]
}

/// Reads a command line; the error has etcdctl's text and code where there is one.
pub(super) fn parse(command: Command, args: Vec<OsString>) -> Result<ArgMatches, Fail> {
    let name = command.get_name().to_owned();
    let said: Vec<String> = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let usage = || if name == "etcdctl" { help(said.iter().map(String::as_str)) } else { String::new() };
    command.try_get_matches_from(args).map_err(|error| {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            _ => String::new(),
        };
        let flag = context(ContextKind::InvalidArg);
        let flag = flag.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
        let letter = flag.chars().nth(1).unwrap_or_default();
        let value = context(ContextKind::InvalidValue);
        let wrong = |text: String| Fail::usage(&text);
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Fail::help(error.render().to_string()),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Fail::help(usage())
            }
            ErrorKind::UnknownArgument if flag.starts_with("--") => wrong(format!("unknown flag: {flag}")),
            ErrorKind::UnknownArgument => wrong(format!("unknown shorthand flag: '{letter}' in {flag}")),
            ErrorKind::InvalidSubcommand => {
                let unknown = context(ContextKind::InvalidSubcommand);
                // A group of commands only says what there is in it.
                let groups = root();
                let group = said.iter().find(|word| groups.find_subcommand(word.as_str()).is_some());
                if name == "etcdctl" && group.is_some_and(|group| *group != unknown) {
                    return Fail::help(usage());
                }
                let text = format!("unknown command \"{unknown}\" for \"{name}\"");
                Fail::new(code::ERROR, format!("{text}\nRun '{name} --help' for usage.\nError: {text}"))
            }
            ErrorKind::InvalidValue if value.is_empty() && said.last().is_some_and(|last| *last == flag) => {
                wrong(format!("flag needs an argument: {flag}"))
            }
            ErrorKind::InvalidValue if value.is_empty() => {
                let last = said.last().cloned().unwrap_or_default();
                let letter = last.chars().nth(1).unwrap_or_default();
                wrong(format!("flag needs an argument: '{letter}' in {last}"))
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => wrong(format!(
                "invalid argument \"{value}\" for \"{flag}\" flag: strconv.ParseBool: parsing \"{value}\": invalid syntax"
            )),
            _ => Fail::new(code::ERROR, error.to_string().trim_start_matches("error: ").trim_end().to_owned()),
        }
    })
}

/// The words without a name.
pub(super) fn words(matches: &ArgMatches) -> Vec<Vec<u8>> {
    list(matches, "args")
}

/// The words behind `--`, where the command has such.
pub(super) fn list(matches: &ArgMatches, name: &str) -> Vec<Vec<u8>> {
    let words = matches.get_many::<OsString>(name).unwrap_or_default();
    words.map(|word| word.clone().into_vec()).collect()
}

/// A word that must be text: what is not UTF-8 cannot be a number or a name.
pub(super) fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// The value of a flag; empty where it is not given and has no default.
pub(super) fn value<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

/// The value of a numeric flag.
pub(super) fn number(matches: &ArgMatches, name: &str) -> Result<i64, Fail> {
    let value = value(matches, name);
    parse_int(value, 10)
        .map_err(|error| Fail::usage(&format!("invalid argument \"{value}\" for \"--{name}\" flag: {error}")))
}

/// What holds for every command.
#[derive(Clone, Debug)]
pub(super) struct Globals {
    pub(super) endpoints: Vec<String>,
    pub(super) printer: Printer,
    pub(super) dial_timeout: Duration,
    pub(super) command_timeout: Duration,
    pub(super) keepalive_time: Duration,
    pub(super) keepalive_timeout: Duration,
    pub(super) tls: TlsFiles,
    /// Plain text where neither files nor an endpoint's scheme say otherwise.
    pub(super) insecure_transport: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// The flags that may also come from the environment, as `ETCDCTL_` and their name in capitals.
const FROM_ENVIRONMENT: [&str; 14] = [
    "endpoints",
    "write-out",
    "hex",
    "dial-timeout",
    "command-timeout",
    "keepalive-time",
    "keepalive-timeout",
    "cacert",
    "cert",
    "key",
    "insecure-skip-tls-verify",
    "insecure-transport",
    "user",
    "password",
];

impl Globals {
    /// From the innermost command's matches, which hold the global flags wherever they stood.
    pub(super) fn new(
        matches: &ArgMatches,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Fail> {
        let mut values = Vec::new();
        for name in FROM_ENVIRONMENT {
            let variable = format!("ETCDCTL_{}", name.to_uppercase().replace('-', "_"));
            let given = matches.value_source(name) == Some(ValueSource::CommandLine);
            let value = environment(&variable);
            if given && value.is_some() {
                let text = format!(
                    "conflicting environment variable \"{variable}\" is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                );
                return Err(Fail::new(code::ERROR, text));
            }
            values.push(value.filter(|value| !value.is_empty()));
        }
        let [
            endpoints,
            format,
            hex,
            dial,
            command,
            keepalive,
            probe,
            cacert,
            cert,
            key,
            skip_verify,
            insecure_transport,
            user,
            password,
        ] = <[Option<String>; 14]>::try_from(values).unwrap_or_default();
        let flag = |from: Option<String>, name: &str| from.unwrap_or_else(|| value(matches, name).to_owned());
        // What the environment says and cannot be understood counts for nothing, as in etcdctl.
        let duration = |from: Option<String>, name: &str| {
            if let Some(Ok(duration)) = from.as_deref().map(parse_duration) {
                return Ok(duration);
            }
            let text = value(matches, name);
            parse_duration(text).map_err(|error| {
                Fail::usage(&format!("invalid argument \"{text}\" for \"--{name}\" flag: {error}"))
            })
        };
        let switch = |from: Option<String>, name: &str| {
            from.as_deref().and_then(parse_bool).unwrap_or_else(|| matches.get_flag(name))
        };
        let endpoints: Vec<String> = match endpoints {
            Some(endpoints) => endpoints.split(',').map(|endpoint| endpoint.trim().to_owned()).collect(),
            None => matches
                .get_many::<String>("endpoints")
                .unwrap_or_default()
                .map(|endpoint| endpoint.trim().to_owned())
                .collect(),
        };
        let format = match flag(format, "write-out").as_str() {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "table" => Format::Table,
            "protobuf" => Format::Protobuf,
            _ => return Err(Fail::new(code::BAD_FEATURE, "unsupported output format")),
        };
        let hex = switch(hex, "hex");
        Ok(Self {
            endpoints,
            printer: Printer { format, hex, value_only: false },
            dial_timeout: duration(dial, "dial-timeout")?,
            command_timeout: duration(command, "command-timeout")?,
            keepalive_time: duration(keepalive, "keepalive-time")?,
            keepalive_timeout: duration(probe, "keepalive-timeout")?,
            tls: TlsFiles {
                cert: flag(cert, "cert"),
                key: flag(key, "key"),
                trusted_ca: flag(cacert, "cacert"),
                client_cert_auth: false,
                skip_verify: switch(skip_verify, "insecure-skip-tls-verify"),
            },
            insecure_transport: switch(insecure_transport, "insecure-transport"),
            user: Some(flag(user, "user")).filter(|user| !user.is_empty()),
            password: Some(flag(password, "password")).filter(|password| !password.is_empty()),
        })
    }
}

/// Variables that look as if they were for us, and are not.
pub(super) fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    const OTHERS: [&str; 3] = ["ETCDCTL_API", "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"];
    let is_flag = |name: &str| {
        root().get_arguments().any(|arg| {
            arg.get_long()
                .is_some_and(|long| name == format!("ETCDCTL_{}", long.to_uppercase().replace('-', "_")))
        })
    };
    let unknown =
        |name: &String| name.starts_with("ETCDCTL_") && !OTHERS.contains(&name.as_str()) && !is_flag(name);
    names.filter(unknown).collect()
}
