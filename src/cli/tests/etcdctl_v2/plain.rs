//! Answers without what must differ from one server to the next.

/// What stands for what on one side: numbers of members and addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    pub(crate) fn add(&mut self, real: impl Into<String>, name: &str) {
        self.0.push((real.into(), format!("<{name}>")));
        // The longest first, since one may begin as another does.
        self.0.sort_by_key(|(real, _)| std::cmp::Reverse(real.len()));
    }
}

/// What follows `before`, up to one of `ends`, becomes `#`.
fn hide(text: &str, before: &str, ends: &[char]) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(ends).unwrap_or(part.len());
        // Nothing is left of it: that is told apart.
        let hidden = if part[..end].trim() == "0" { "0" } else { "#" };
        out += &format!("{before}{hidden}{}", &part[end..]);
    }
    out
}

/// Output of a command, comparable. `is_sorted`: its lines have an order.
pub(crate) fn plain(output: &[u8], names: &Names, is_sorted: bool) -> String {
    let mut text = String::from_utf8_lossy(output).into_owned();
    // Terminals are none of the tests' matter.
    text = text.split_inclusive('\n').filter(|line| !line.starts_with("stty: ")).collect();
    text = names.0.iter().fold(text, |text, (real, name)| text.replace(real, name));
    text = hide(&text, "\"expiration\":\"", &['"']);
    text = hide(&text, "\"ttl\":", &[',', '}']);
    text = hide(&text, "TTL: ", &['\n']);
    // Who leads is a matter of chance, and so is the order of members, which goes by their numbers.
    let leaders = text.matches("isLeader=true").count();
    if text.matches("isLeader=").count() > 1 {
        text = hide(&text, "isLeader=", &['\n']) + &format!("{leaders} leaders\n");
    }
    if text.contains("ETCD_INITIAL_CLUSTER=") {
        text = text.replace([',', '"'], "\n");
    }
    if is_sorted {
        return text;
    }
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

#[test]
fn times_and_addresses_are_hidden_and_nothing_else() {
    let mut names = Names::default();
    names.add("127.0.0.1:4000", "E1");
    let show = |text: &str| plain(text.as_bytes(), &names, true);
    assert_eq!(show("TTL: 99\nhttp://127.0.0.1:4000 a\n"), "TTL: #\nhttp://<E1> a\n");
    assert_eq!(show("TTL: 0\n"), "TTL: 0\n");
    assert_eq!(show("{\"expiration\":\"x\",\"ttl\":5}"), "{\"expiration\":\"#\",\"ttl\":#}");
    assert_ne!(show("a\n"), show("b\n"));
    assert_eq!(plain(b"b\na\n", &names, false), "a\nb\n");
}
