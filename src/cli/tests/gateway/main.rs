//! The faces without gRPC beside those of a real etcd: the same requests, the same answers.
#![allow(clippy::disallowed_methods, reason = "these tests drive real processes")]

mod http;
mod metrics;
#[path = "../support/mod.rs"]
mod support;

use http::{Answer, ask};
use serde_json::Value;
use std::time::{Duration, Instant};
use support::server::{self as servers, Pair};

/// Waits until a server serves.
pub(crate) fn ready(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if std::net::TcpStream::connect(address).is_ok()
            && ask(address, "GET", "/health", &[], b"", None).status == 200
        {
            return;
        }
        assert!(Instant::now() < deadline, "{address} does not become healthy");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of values that differ from server to server.
const MASKED: &[&str] =
    &["cluster_id", "member_id", "raft_term", "hash", "token", "dbSize", "dbSizeInUse", "version"];

/// The text without what cannot be the same.
fn masked(text: &str) -> String {
    let mut out = text.to_owned();
    for name in MASKED {
        let pattern = format!("\"{name}\":\"");
        let mut from = 0;
        while let Some(at) = out[from..].find(&pattern).map(|at| from + at + pattern.len()) {
            let Some(end) = out[at..].find('"').map(|end| at + end) else { break };
            // A key's version is the same on both.
            if *name != "version" || out[at..end].contains('.') {
                out.replace_range(at..end, "_");
            }
            from = at;
        }
    }
    out
}

/// Differences of form between etcd 3.4 and 3.5: the order within errors, and one HTTP status.
fn as_in_3_5(mut answer: Answer) -> Answer {
    if let Ok(Value::Object(body)) = serde_json::from_str::<Value>(&answer.body)
        && let (Some(error), Some(code)) = (body.get("error"), body.get("code"))
    {
        answer.body = format!(r#"{{"error":{error},"code":{code},"message":{error}}}"#);
        // Go writes these so, and serde does not.
        for (plain, escaped) in [("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")] {
            answer.body = answer.body.replace(plain, escaped);
        }
        if answer.status == 412 {
            answer.status = 400;
        }
    }
    answer
}

struct Line<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a str,
    lines: Option<usize>,
    only_3_5: bool,
}

fn parse(text: &str) -> Line<'_> {
    let (only_3_5, text) = text.strip_prefix("=3.5 ").map_or((false, text), |rest| (true, rest));
    let (lines, text) = match text.strip_prefix('~') {
        Some(rest) => {
            let (count, rest) = rest.split_once(' ').unwrap();
            (Some(count.parse().unwrap()), rest)
        }
        None => (None, text),
    };
    let (target, body) = text.split_once(' ').unwrap_or((text, ""));
    let (method, path) = match target.split_once(":/") {
        Some((method, _)) => (method, &target[method.len() + 1..]),
        None => ("POST", target),
    };
    Line { method, path, body, lines, only_3_5 }
}

#[test]
fn the_gateway_answers_to_the_letter_as_etcds_does() {
    let etcds = servers::etcds();
    if etcds.is_empty() {
        println!("no etcd to compare with");
    }
    for etcd in etcds {
        let version = servers::version(&etcd);
        let pair = Pair::start(&etcd);
        ready(pair.theirs.address());
        ready(pair.ours.address());
        let mut compared = 0;
        let mut different = Vec::new();
        for text in include_str!("requests.txt").lines() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let line = parse(text);
            if line.only_3_5 && version.starts_with("etcd 3.4") {
                continue;
            }
            let answer = |address: &str| {
                let mut answer = ask(address, line.method, line.path, &[], line.body.as_bytes(), line.lines);
                answer.body = masked(&answer.body);
                answer
            };
            let theirs = answer(pair.theirs.address());
            let theirs = if version.starts_with("etcd 3.4") { as_in_3_5(theirs) } else { theirs };
            let ours = answer(pair.ours.address());
            compared += 1;
            if ours != theirs {
                different.push(format!("{text}\n  {version}: {theirs:?}\n  ours: {ours:?}"));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
        assert!(compared > 100, "only {compared} requests were compared");
        println!("{compared} requests answered as by {version}");
    }
}

#[test]
fn a_token_in_a_header_says_who_asks() {
    for etcd in servers::etcds() {
        let pair = Pair::start(&etcd);
        let mut outcomes = Vec::new();
        for address in [pair.theirs.address(), pair.ours.address()] {
            ready(address);
            let post = |path: &str, headers: &[(&str, &str)], body: &str| {
                ask(address, "POST", path, headers, body.as_bytes(), None)
            };
            for (path, body) in [
                ("/v3/auth/user/add", r#"{"name":"root","password":"p\u00e4ss"}"#),
                ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
                ("/v3/auth/role/add", r#"{"name":"root"}"#),
                ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
                ("/v3/auth/enable", "{}"),
            ] {
                post(path, &[], body);
            }
            let login = post("/v3/auth/authenticate", &[], r#"{"name":"root","password":"päss"}"#);
            let login: Value = serde_json::from_str(&login.body).unwrap();
            let token = login["token"].as_str().expect("a token").to_owned();
            let put = r#"{"key":"Zm9v"}"#;
            let mut statuses = Vec::new();
            for headers in [
                &[][..],
                &[("Authorization", token.as_str())],
                &[("Authorization", "wrong")],
                &[("Grpc-Metadata-Token", token.as_str())],
                &[("Token", token.as_str())],
                &[("Authorization", token.as_str()), ("Grpc-Timeout", "5S")],
            ] {
                let answer = post("/v3/kv/put", headers, put);
                statuses.push((answer.status, masked(&answer.body)));
            }
            let answer = post("/v3/kv/put", &[("Grpc-Timeout", "abc"), ("Authorization", &token)], put);
            statuses.push((answer.status, masked(&answer.body)));
            outcomes.push(statuses);
        }
        let as_before = |(status, body): &(u16, String)| {
            let answer = Answer { status: *status, headers: Vec::new(), body: body.clone() };
            let answer = as_in_3_5(answer);
            (answer.status, answer.body)
        };
        let [theirs, ours] = [0, 1].map(|at: usize| outcomes[at].iter().map(as_before).collect::<Vec<_>>());
        assert_eq!(ours, theirs);
        assert_eq!(ours[1].0, 200, "{:?}", ours[1]);
    }
}
