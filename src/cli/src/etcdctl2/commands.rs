//! The commands with their flags, and the help that is made of them.

use super::flags::{Flag, Kind, number, switch, text};

/// A command, or a group of some.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What stands behind its name, as shown.
    pub(super) args: &'static str,
    pub(super) description: &'static str,
    pub(super) flags: &'static [Flag],
    pub(super) commands: &'static [Command],
}

const fn leaf(
    name: &'static str,
    about: &'static str,
    args: &'static str,
    flags: &'static [Flag],
) -> Command {
    Command { name, about, args, description: "", flags, commands: &[] }
}

const fn group(name: &'static str, about: &'static str, commands: &'static [Command]) -> Command {
    Command { name, about, args: "", description: "", flags: &[], commands }
}

const TTL: Flag = number(&["ttl"], "key time-to-live in seconds");
const SORT: Flag = switch(&["sort"], "returns result in sorted order");
const QUORUM: Flag = switch(&["quorum", "q"], "require quorum for get request");
const AFTER: Flag = number(&["after-index"], "watch after the given index");
const ROLES: Flag = text(&["roles"], "List of roles to grant or revoke");

/// Flags before the command.
pub(super) const GLOBAL: &[Flag] = &[
    switch(&["debug"], "output cURL commands which can be used to reproduce the request"),
    switch(&["no-sync"], "don't synchronize cluster information before sending request"),
    Flag {
        names: &["output", "o"],
        kind: Kind::Text,
        help: "output response in the given format (simple, `extended` or `json`)",
        default: "\"simple\"",
    },
    text(&["discovery-srv", "D"], "domain name to query for SRV records describing cluster endpoints"),
    switch(&["insecure-discovery"], "accept insecure SRV records describing cluster endpoints"),
    text(&["peers", "C"], "DEPRECATED - \"--endpoints\" should be used instead"),
    text(&["endpoint"], "DEPRECATED - \"--endpoints\" should be used instead"),
    text(
        &["endpoints"],
        "a comma-delimited list of machine addresses in the cluster (default: \"http://127.0.0.1:2379,http://127.0.0.1:4001\")",
    ),
    text(&["cert-file"], "identify HTTPS client using this SSL certificate file"),
    text(&["key-file"], "identify HTTPS client using this SSL key file"),
    text(&["ca-file"], "verify certificates of HTTPS-enabled servers using this CA bundle"),
    text(&["username", "u"], "provide username[:password] and prompt if password is not supplied."),
    Flag { names: &["timeout"], kind: Kind::Time, help: "connection timeout per request", default: "2s" },
    Flag {
        names: &["total-timeout"],
        kind: Kind::Time,
        help: "timeout for the command execution (except watch)",
        default: "5s",
    },
];

pub(super) const COMMANDS: &[Command] = &[
    leaf(
        "backup",
        "backup an etcd directory",
        " ",
        &[
            text(&["data-dir"], "Path to the etcd data dir"),
            text(&["wal-dir"], "Path to the etcd wal dir"),
            text(&["backup-dir"], "Path to the backup dir"),
            text(&["backup-wal-dir"], "Path to the backup wal dir"),
            switch(&["with-v3"], "Backup v3 backend data"),
        ],
    ),
    leaf(
        "cluster-health",
        "check the health of the etcd cluster",
        " ",
        &[switch(&["forever", "f"], "forever check the health every 10 second until CTRL+C")],
    ),
    leaf(
        "mk",
        "make a new key with a given value",
        "<key> <value>",
        &[switch(&["in-order"], "create in-order key under directory <key>"), TTL],
    ),
    leaf("mkdir", "make a new directory", "<key>", &[TTL]),
    leaf(
        "rm",
        "remove a key or a directory",
        "<key>",
        &[
            switch(&["dir"], "removes the key if it is an empty directory or a key-value pair"),
            switch(&["recursive", "r"], "removes the key and all child keys(if it is a directory)"),
            text(&["with-value"], "previous value"),
            number(&["with-index"], "previous index"),
        ],
    ),
    leaf("rmdir", "removes the key if it is an empty directory or a key-value pair", "<key>", &[]),
    leaf("get", "retrieve the value of a key", "<key>", &[SORT, QUORUM]),
    leaf(
        "ls",
        "retrieve a directory",
        "[key]",
        &[
            SORT,
            switch(&["recursive", "r"], "returns all key names recursively for the given path"),
            switch(&["p"], "append slash (/) to directories"),
            QUORUM,
        ],
    ),
    Command {
        name: "set",
        about: "set the value of a key",
        args: "<key> <value>",
        description: "Set sets the value of a key.\n\n   When <value> begins with '-', <value> is interpreted as a flag.\n   \
                      Insert '--' for workaround:\n\n   $ set -- <key> <value>",
        flags: &[
            TTL,
            text(&["swap-with-value"], "previous value"),
            number(&["swap-with-index"], "previous index"),
        ],
        commands: &[],
    },
    leaf("setdir", "create a new directory or update an existing directory TTL", "<key>", &[TTL]),
    leaf("update", "update an existing key with a given value", "<key> <value>", &[TTL]),
    leaf("updatedir", "update an existing directory", "<key> <value>", &[TTL]),
    leaf(
        "watch",
        "watch a key for changes",
        "<key>",
        &[
            switch(&["forever", "f"], "forever watch a key until CTRL+C"),
            AFTER,
            switch(&["recursive", "r"], "returns all values for key and child keys"),
        ],
    ),
    leaf(
        "exec-watch",
        "watch a key for changes and exec an executable",
        "<key> <command> [args...]",
        &[AFTER, switch(&["recursive", "r"], "watch all values for key and child keys")],
    ),
    group(
        "member",
        "member add, remove and list subcommands",
        &[
            leaf("list", "enumerate existing cluster members", " ", &[]),
            leaf("add", "add a new member to the etcd cluster", "<name> <peerURL>", &[]),
            leaf("remove", "remove an existing member from the etcd cluster", "<memberID>", &[]),
            leaf("update", "update an existing member in the etcd cluster", "<memberID> <peerURLs>", &[]),
        ],
    ),
    group(
        "user",
        "user add, grant and revoke subcommands",
        &[
            leaf("add", "add a new user for the etcd cluster", "<user>", &[]),
            leaf("get", "get details for a user", "<user>", &[]),
            leaf("list", "list all current users", "<user>", &[]),
            leaf("remove", "remove a user for the etcd cluster", "<user>", &[]),
            leaf("grant", "grant roles to an etcd user", "<user>", &[ROLES]),
            leaf("revoke", "revoke roles for an etcd user", "<user>", &[ROLES]),
            leaf("passwd", "change password for a user", "<user>", &[]),
        ],
    ),
    group(
        "role",
        "role add, grant and revoke subcommands",
        &[
            leaf("add", "add a new role for the etcd cluster", "<role> ", &[]),
            leaf("get", "get details for a role", "<role>", &[]),
            leaf("list", "list all roles", " ", &[]),
            leaf("remove", "remove a role from the etcd cluster", "<role>", &[]),
            leaf(
                "grant",
                "grant path matches to an etcd role",
                "<role>",
                &[
                    text(&["path"], "Path granted for the role to access"),
                    switch(&["read"], "Grant read-only access"),
                    switch(&["write"], "Grant write-only access"),
                    switch(&["readwrite", "rw"], "Grant read-write access"),
                ],
            ),
            leaf(
                "revoke",
                "revoke path matches for an etcd role",
                "<role>",
                &[
                    text(&["path"], "Path revoked for the role to access"),
                    switch(&["read"], "Revoke read access"),
                    switch(&["write"], "Revoke write access"),
                    switch(&["readwrite", "rw"], "Revoke read-write access"),
                ],
            ),
        ],
    ),
    group(
        "auth",
        "overall auth controls",
        &[
            leaf("enable", "enable auth access controls", " ", &[]),
            leaf("disable", "disable auth access controls", " ", &[]),
        ],
    ),
];

pub(super) fn find(commands: &'static [Command], name: &str) -> Option<&'static Command> {
    commands.iter().find(|command| command.name == name)
}

/// Rows of two columns, each indented.
fn rows(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("   {left:width$}  {right}\n")).collect()
}

fn flag_row(flag: &Flag) -> (String, String) {
    // A word in backquotes takes the place of `value`, as in Go; the rest of them is shown as it is.
    let place = if flag.names[0] == "output" { "simple" } else { "value" };
    let dashed = |name: &&str| {
        let dashes = if name.len() == 1 { "-" } else { "--" };
        if flag.kind == Kind::Switch { format!("{dashes}{name}") } else { format!("{dashes}{name} {place}") }
    };
    let names: Vec<String> = flag.names.iter().map(dashed).collect();
    let default =
        if flag.default.is_empty() { String::new() } else { format!(" (default: {})", flag.default) };
    (names.join(", "), format!("{}{default}", flag.help))
}

fn command_rows(commands: &[Command]) -> Vec<(String, String)> {
    commands.iter().map(|command| (command.name.to_owned(), command.about.to_owned())).collect()
}

const HELP: (&str, &str) = ("--help, -h", "show help");

fn owned((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

/// The help of the whole.
pub(super) fn app_help() -> String {
    let mut commands = command_rows(COMMANDS);
    commands.push(owned(("help, h", "Shows a list of commands or help for one command")));
    let mut flags: Vec<(String, String)> = GLOBAL.iter().map(flag_row).collect();
    flags.extend([owned(HELP), owned(("--version, -v", "print the version"))]);
    format!(
        "NAME:\n   etcdctl - A simple command line client for etcd.\n\nUSAGE:\n   etcdctl [global options] command \
         [command options] [arguments...]\n\nVERSION:\n   3.4.23\n\nCOMMANDS:\n{}\nGLOBAL OPTIONS:\n{}",
        rows(&commands),
        rows(&flags)
    )
}

/// The help of a group, as it is shown for the group alone.
pub(super) fn group_help(group: &Command) -> String {
    format!(
        "NAME:\n   etcdctl {name} - {}\n\nUSAGE:\n   etcdctl {name} command [command options] \
         [arguments...]\n\nCOMMANDS:\n{}\nOPTIONS:\n{}   \n",
        group.about,
        rows(&command_rows(group.commands)),
        rows(&[owned(HELP)]),
        name = group.name,
    )
}

/// The help of a group, as its own `help` shows it.
pub(super) fn group_app_help(group: &Command) -> String {
    format!(
        "NAME:\n   etcdctl {name} - {}\n\nUSAGE:\n   etcdctl {name} [global options] command [command options] \
         [arguments...]\n\nVERSION:\n   3.4.23\n\nCOMMANDS:\n{}\nGLOBAL OPTIONS:\n{}",
        group.about,
        rows(&command_rows(group.commands)),
        rows(&[owned(HELP)]),
        name = group.name,
    )
}

/// The help of one command, called by these names (`member add`).
pub(super) fn command_help(names: &str, command: &Command) -> String {
    let options = if command.flags.is_empty() { "" } else { " [command options]" };
    let args = if command.args.is_empty() { "[arguments...]" } else { command.args };
    let mut help = format!(
        "NAME:\n   etcdctl {names} - {}\n\nUSAGE:\n   etcdctl {names}{options} {args}\n",
        command.about
    );
    if !command.description.is_empty() {
        help += &format!("\nDESCRIPTION:\n   {}\n", command.description);
    }
    if !command.flags.is_empty() {
        let flags: Vec<(String, String)> = command.flags.iter().map(flag_row).collect();
        help += &format!("\nOPTIONS:\n{}   \n", rows(&flags));
    }
    help
}
