//! The list of commands, read. One line is one command of etcdctl, in words as a shell would have them:
//!
//! - `"…"` holds the escapes `\n \t \" \\ \xNN`, `'…'` none;
//! - `NAME=value` before the command is for its environment;
//! - `<<"…"` at the end is its standard input, `<<FILL` 200 kB of it;
//! - `$NAME` is a name of the session: `$E` the endpoints, `$E1` the first, `$D` a folder, `$M1` a member's number,
//!   `$P1` its peer URL, `$F` and `$EF` the second member's number and endpoint, `$L1` the first lease that was granted, `$N1` the first member that
//!   was added;
//! - `@` before it: without `--endpoints`;
//! - `*` before it: in every output format, and `~` before it: only in the whole run, for it takes its time.
//!
//! `== name members=N flags=F,F` begins a session with new servers. `> name command` starts a command that stays,
//! `.. name N` waits until it has printed N lines, `< name "…"` is typed into it, `x name` interrupts it and looks at
//! what it said. `! who: reason` says that the next command differs on purpose, between the servers or the clients;
//! `! who VERSION: reason` that it does with this version of etcd.

/// The formats that etcdctl can print, each with the flags for it.
const FORMATS: [&[&str]; 6] =
    [&[], &["--hex"], &["-w", "json"], &["-w", "fields"], &["-w", "table"], &["-w", "protobuf"]];

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) members: usize,
    pub(crate) flags: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

impl Session {
    /// Leaves only the first formats of what is asked for in all.
    pub(crate) fn shorten(&mut self) {
        self.steps.retain(|step| !step.extra);
    }

    /// How many steps after its start what stays is ended.
    pub(crate) fn end_of(&self, name: &str, start: usize) -> usize {
        let ends = |step: &Step| matches!(&step.action, Action::Stop(ended) if ended == name);
        self.steps[start..].iter().position(ends).unwrap_or_else(|| panic!("{name} is never ended"))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Only in the whole run: slow, or one more format of the command before it.
    pub(crate) extra: bool,
    pub(crate) line: String,
    pub(crate) action: Action,
    pub(crate) excuses: Vec<Excuse>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Run(Call),
    Start(String, Call),
    Lines(String, usize),
    Type(String, Vec<u8>),
    Stop(String),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) without_endpoints: bool,
}

impl Call {
    /// The command without its arguments: `lease grant`.
    pub(crate) fn command(&self) -> String {
        const GROUPS: [&str; 11] = [
            "alarm",
            "auth",
            "check",
            "completion",
            "downgrade",
            "endpoint",
            "lease",
            "member",
            "role",
            "snapshot",
            "user",
        ];
        let words: Vec<String> =
            self.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        // A flag before the command stands with its value there.
        let first = words.iter().position(|word| !word.starts_with('-') && word != "json").unwrap_or(0);
        let name = words.get(first).cloned().unwrap_or_default();
        match words.get(first + 1).filter(|second| !second.starts_with('-')) {
            Some(second) if GROUPS.contains(&name.as_str()) => format!("{name} {second}"),
            _ => name,
        }
    }

    pub(crate) fn format(&self) -> &str {
        let words = self.words.iter().rev().map(|word| std::str::from_utf8(word).unwrap_or_default());
        let found = words.clone().find(|word| {
            ["json", "fields", "table", "protobuf", "-w=json", "-wjson", "--write-out=json"].contains(word)
        });
        found.map_or("simple", |word| if word.contains("json") { "json" } else { word })
    }
}

/// Who differs on purpose, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excuse {
    pub(crate) who: String,
    /// Of etcd; empty for all.
    pub(crate) version: String,
    pub(crate) reason: String,
}

pub(crate) fn read(text: &str) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut excuses = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| -> ! { panic!("line {}: {what}: {line}", number + 1) };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix("== ") {
            sessions.push(session(header));
            continue;
        }
        if let Some(excuse) = line.strip_prefix("! ") {
            let Some((who, reason)) = excuse.split_once(": ") else { wrong("no reason") };
            let (who, version) = who.split_once(' ').unwrap_or((who, ""));
            let [who, version, reason] = [who, version, reason].map(str::to_owned);
            excuses.push(Excuse { who, version, reason });
            continue;
        }
        let Some(session) = sessions.last_mut() else { wrong("no session") };
        let excuses = std::mem::take(&mut excuses);
        let (line, slow) = line.strip_prefix("~ ").map_or((line, false), |rest| (rest, true));
        let named = |rest: &str| match rest.split_once(' ') {
            Some((name, rest)) => (name.to_owned(), rest.to_owned()),
            None => (rest.to_owned(), String::new()),
        };
        let mut push = |line: String, action| {
            session.steps.push(Step { line, action, extra: slow, excuses: excuses.clone() });
        };
        match line.split_once(' ') {
            Some((">", rest)) => {
                let (name, rest) = named(rest);
                push(rest.clone(), Action::Start(name, call(&rest)));
            }
            Some(("..", rest)) => {
                let (name, count) = named(rest);
                let Ok(count) = count.parse() else { wrong("how many lines?") };
                push(line.to_owned(), Action::Lines(name, count));
            }
            Some(("<", rest)) => {
                let (name, text) = named(rest);
                push(line.to_owned(), Action::Type(name, words(&text).concat()));
            }
            Some(("x", rest)) => push(line.to_owned(), Action::Stop(rest.to_owned())),
            Some(("*", rest)) => {
                for (at, flags) in FORMATS.into_iter().enumerate() {
                    let mut call = call(rest);
                    call.words.extend(flags.iter().map(|flag| flag.as_bytes().to_vec()));
                    let line = [&[rest], flags].concat().join(" ");
                    let (action, excuses) = (Action::Run(call), excuses.clone());
                    session.steps.push(Step { line, action, extra: slow || at > 0, excuses });
                }
            }
            _ => push(line.to_owned(), Action::Run(call(line))),
        }
    }
    sessions
}

fn session(header: &str) -> Session {
    let mut parts = header.split(' ');
    let name = parts.next().unwrap_or_default().to_owned();
    let mut session = Session { name, members: 1, flags: Vec::new(), steps: Vec::new() };
    for part in parts {
        match part.split_once('=') {
            Some(("members", count)) => session.members = count.parse().expect("a number of members"),
            Some(("flags", flags)) => session.flags = flags.split(',').map(str::to_owned).collect(),
            _ => panic!("{header}: {part}?"),
        }
    }
    session
}

fn call(line: &str) -> Call {
    let (line, input) = match line.split_once("<<") {
        Some((line, "FILL")) => (line, Some(vec![b'x'; 200_000])),
        Some((line, text)) => (line, Some(words(text).concat())),
        None => (line, None),
    };
    let (line, without_endpoints) = match line.strip_prefix('@') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let mut call = Call { input, without_endpoints, ..Call::default() };
    for word in words(line) {
        let text = String::from_utf8_lossy(&word);
        match text.split_once('=') {
            Some((name, value)) if call.words.is_empty() && name.starts_with("ETCDCTL_") => {
                call.environment.push((name.to_owned(), value.to_owned()));
            }
            _ => call.words.push(word),
        }
    }
    call
}

/// As a shell splits a line.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => words.extend(word.take()),
            b'\'' => {
                let word = word.get_or_insert_default();
                word.extend(bytes.by_ref().take_while(|byte| *byte != b'\''));
            }
            b'"' => {
                let word = word.get_or_insert_default();
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    if byte != b'\\' {
                        word.push(byte);
                        continue;
                    }
                    word.push(match bytes.next() {
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b'x') => {
                            let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                            let digits = std::str::from_utf8(&digits).expect("digits");
                            u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
                        }
                        Some(other) => other,
                        None => panic!("{line}: a backslash at the end"),
                    });
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[test]
fn a_line_is_read_as_it_is_meant() {
    let sessions = read(
        "== one members=3 flags=--a=b,--c\n! server 3.4: so it is\n@ETCDCTL_X=1 get \"a\\x00 b\" 'c d' <<\"e\\n\"\n* put a b\n",
    );
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((session.members, session.flags.len(), session.steps.len()), (3, 2, 1 + FORMATS.len()));
    let Action::Run(call) = &session.steps[0].action else { panic!("{:?}", session.steps[0]) };
    assert_eq!(call.words, [b"get".to_vec(), b"a\0 b".to_vec(), b"c d".to_vec()]);
    assert_eq!((call.environment.len(), call.input.as_deref()), (1, Some(&b"e\n"[..])));
    assert!(call.without_endpoints);
    assert_eq!(session.steps[0].excuses[0].version, "3.4");
    assert!(session.steps[1].excuses.is_empty());
    let Action::Run(call) = &session.steps[6].action else { panic!("{:?}", session.steps[6]) };
    assert_eq!((call.command(), call.format()), ("put".to_owned(), "protobuf"));
}
