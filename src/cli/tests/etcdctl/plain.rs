//! Answers without what must differ from one server to the next: numbers of members and leases, addresses, times and
//! sizes.

use crate::script::Call;

/// What stands for what: numbers, addresses and folders of one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    pub(crate) fn text(&mut self, real: impl Into<String>, name: &str) {
        self.0.push((real.into(), name.to_owned()));
        // The longest first, since one may begin as another does.
        self.0.sort_by_key(|(real, _)| std::cmp::Reverse(real.len()));
    }

    /// A number, as the client shows it.
    pub(crate) fn number(&mut self, number: u64, name: &str) {
        if number > 0xffff {
            for real in [format!("{number:016x}"), format!("{number:x}"), number.to_string()] {
                self.text(real, name);
            }
        }
    }

    fn replace(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (real, name)| text.replace(real, &format!("<{name}>")))
    }
}

/// Fields of JSON, and of the format `fields`, whose numbers are the server's own.
const OWN: [&str; 13] = [
    "raft_term",
    "raftIndex",
    "raftTerm",
    "raftAppliedIndex",
    "dbSize",
    "dbSizeInUse",
    "hash",
    "took",
    "RaftIndex",
    "RaftTerm",
    "RaftAppliedIndex",
    "DBSize",
    "Hash",
];

/// Output of this command, comparable.
pub(crate) fn plain(call: &Call, output: &[u8], names: &Names, members: usize) -> String {
    let (command, format) = (call.command(), call.format());
    let is_message = output.iter().any(|byte| *byte < b' ' && *byte != b'\n');
    let mut text =
        if format == "protobuf" && is_message { crate::protobuf::show(output) } else { escape(output) };
    // The help of both says the same in other words.
    if text.starts_with("NAME:\n") || text.starts_with("Usage:\n") || text.contains("Usage: etcdctl") {
        return "<help>\n".to_owned();
    }
    // The real one ends with a trace now and then; where it was is of no interest.
    if let Some(trace) = text.find("\ngoroutine ").filter(|_| text.contains("panic: ")) {
        text.truncate(trace + 1);
    }
    // Logs of the client itself.
    let is_log = |line: &&str| line.starts_with("{\"level\":") || line.starts_with("stty: ");
    text = text.split_inclusive('\n').filter(|line| !is_log(line)).map(without_time).collect();
    text = names.replace(&text);
    for field in OWN {
        text = own(&text, &format!("\"{field}\":"));
        text = own(&text, &format!("\"{field}\" : "));
    }
    if command == "endpoint status" {
        text = own(&own(&text, "\"version\":"), "\"Version\" : ");
    }
    text = own(&text, "\"Took\" : ");
    text = own(&text, "took = ");
    if command == "lease timetolive" {
        for before in ["\"ttl\":", "\"TTL\" : ", "remaining("] {
            text = positive(&text, before);
        }
        // The keys are in no order there.
        text = sorted(&text, &['\n', ' ', ',', '[', ']']);
    }
    if command == "lease list" {
        text = hide_numbers(&text);
    }
    if command == "lock" || command == "elect" {
        text = lease_in_key(&text);
    }
    if command == "endpoint status" {
        text = columns(&text, &[2, 3, 6, 7, 8]);
    }
    if command == "endpoint hashkv" {
        text = columns(&text, &[1]);
    }
    if command == "endpoint health" {
        text = columns(&text, &[2]);
    }
    if text.contains("+-") {
        text = squeeze(&text, '-');
        text = squeeze(&text, ' ');
    }
    if members > 1 && !command.starts_with("endpoint") {
        // Whoever was asked.
        text = own(&own(&text, "\"member_id\":"), "\"MemberID\" : ");
    }
    // The numbers have a width.
    if command.starts_with("member") {
        text = squeeze(&text, ' ');
    }
    let unordered = command == "endpoint health" || command == "lease list";
    if unordered || members > 1 && (command.starts_with("member") || command.starts_with("endpoint")) {
        let between: &[char] =
            if command == "member add" { &['\n', '{', '}', ',', '"'] } else { &['\n', '{', '}'] };
        text = sorted(&text, between);
    }
    text
}

/// Bytes that are no text, visibly.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().chars().flat_map(|c| match c {
            '\n' | ' '..='~' => vec![c],
            _ if !c.is_ascii() && !c.is_control() => vec![c],
            other => other.escape_default().collect(),
        }));
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// A log's line without its beginning, as in `2026-01-02 03:04:05.678 C | pkg/flags: what it says`.
fn without_time(line: &str) -> &str {
    let is_dated = line.len() > 11 && line.as_bytes()[4] == b'-' && line.as_bytes()[7] == b'-';
    line.split_once(" | pkg/flags: ").filter(|_| is_dated).map_or(line, |(_, said)| said)
}

/// What follows `before`, up to the end of the number or word, becomes `#`.
fn own(text: &str, before: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split(before);
    out += parts.next().unwrap_or_default();
    for part in parts {
        let end = part.find([',', '}', '\n', '|']).unwrap_or(part.len());
        out += before;
        out.push('#');
        out += &part[end..];
    }
    out
}

/// The number that follows becomes `#`, unless it says that there is nothing.
fn positive(text: &str, before: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split(before);
    out += parts.next().unwrap_or_default();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(part.len());
        out += before;
        out += if part[..end].parse::<i64>().is_ok_and(|number| number > 0) { "#" } else { &part[..end] };
        out += &part[end..];
    }
    out
}

/// Keys of locks end with a lease that only the client knows.
fn lease_in_key(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('/');
    out += parts.next().unwrap_or_default();
    for part in parts {
        out.push('/');
        let digits = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        out += if digits >= 10 { "<lease>" } else { &part[..digits] };
        out += &part[digits..];
    }
    // The same in JSON, where keys are in base 64, and their numbers.
    for before in ["\"key\":", "\"lease\":", "\"Lease\" : "] {
        out = own(&out, before);
    }
    out
}

/// These columns of lines with commas or of a table's rows become `#`.
fn columns(text: &str, which: &[usize]) -> String {
    let row = |line: &str| -> String {
        let (separator, first) = match line.as_bytes().first() {
            Some(b'|') => ("|", 1),
            Some(b'<') => (", ", 0),
            _ if line.starts_with("http://<") => (", ", 0),
            _ => return line.to_owned(),
        };
        let head = line.contains("ENDPOINT");
        let cells = line.split(separator).enumerate().map(|(at, cell)| {
            let hidden = at >= first && which.contains(&(at - first)) && !head;
            if hidden { if first == 1 { " # " } else { "#" } } else { cell }
        });
        cells.collect::<Vec<_>>().join(separator)
    };
    let mut out: Vec<String> = text.lines().map(row).collect();
    if text.ends_with('\n') {
        out.push(String::new());
    }
    out.join("\n")
}

fn squeeze(text: &str, repeated: char) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c != repeated || !out.ends_with(repeated) {
            out.push(c);
        }
    }
    out
}

/// Leases that were granted unseen.
fn hide_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        out += if run.len() >= 13 { "<lease>" } else { &run };
        run.clear();
        out.push(c);
    }
    out.pop();
    // Those that have a name are no better known.
    for lease in 1..10 {
        out = out.replace(&format!("<L{lease}>"), "<lease>");
    }
    out
}

/// The parts between these, in an order of their own. That of members is the one of their numbers.
fn sorted(text: &str, between: &[char]) -> String {
    let mut parts: Vec<&str> = text.split(between).map(|part| part.trim_matches(',')).collect();
    parts.sort_unstable();
    parts.join("\n").trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> Call {
        Call { words: words.iter().map(|word| word.as_bytes().to_vec()).collect(), ..Call::default() }
    }

    #[test]
    fn what_must_differ_is_hidden_and_nothing_else() {
        let mut names = Names::default();
        names.number(0x1234_5678_9abc, "M1");
        names.text("127.0.0.1:2379", "E1");
        let show = |words: &[&str], output: &str| plain(&call(words), output.as_bytes(), &names, 1);
        assert_eq!(
            show(
                &["get", "a", "-w", "json"],
                "{\"member_id\":20015998343868,\"raft_term\":7,\"revision\":4}"
            ),
            "{\"member_id\":<M1>,\"raft_term\":#,\"revision\":4}"
        );
        assert_eq!(
            show(
                &["endpoint", "status"],
                "127.0.0.1:2379, 123456789abc, 3.4.23, 20 kB, true, false, 2, 9, 9, \n"
            ),
            "<E1>, <M1>, #, #, true, false, #, #, #, \n"
        );
        assert_eq!(show(&["lease", "timetolive", "1"], "remaining(599s)"), "remaining(#s)");
        assert_eq!(show(&["lease", "timetolive", "1"], "\"ttl\":-1"), "\"ttl\":-1");
        assert_eq!(show(&["lock", "l"], "l/694d7a1b2c3d4e5f\n"), "l/<lease>\n");
        assert_eq!(show(&["get", "a"], "a\n\u{1}"), "a\n\\u{1}");
        assert_eq!(show(&["get", "a"], "{\"level\":\"warn\"}\nError\n"), "Error\n");
        assert_ne!(show(&["get", "a"], "a\n1\n"), show(&["get", "a"], "a\n2\n"));
    }
}
