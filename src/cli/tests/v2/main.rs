//! etcd's v2 API beside that of a real etcd (3.4 and 3.5 still have it): the same requests, the same answers.
#![allow(clippy::disallowed_methods, reason = "these tests drive real processes")]

mod cases;
mod cluster;
mod draw;
#[path = "../gateway/http.rs"]
mod http;
#[path = "../support/mod.rs"]
mod support;
mod users;

use http::{Answer, ask};
use std::time::{Duration, Instant};
use support::SEATRIAL;
use support::server::{Servers, etcds, version};

/// A request; a form goes into the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) form: String,
}

pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

pub(crate) fn send(address: &str, request: &Request) -> Answer {
    ask(address, request.method, &request.path, &[FORM], request.form.as_bytes(), None)
}

pub(crate) fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path, &[], b"", None)
}

pub(crate) fn put(address: &str, key: &str, form: &str) -> Answer {
    ask(address, "PUT", &format!("/v2/keys{key}"), &[FORM], form.as_bytes(), None)
}

pub(crate) fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
}

pub(crate) fn index(answer: &Answer) -> u64 {
    let index = header(answer, "x-etcd-index");
    index.and_then(|index| index.parse().ok()).unwrap_or_else(|| panic!("no index in {answer:?}"))
}

/// What both must say, and the times left, which may differ by a second.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    left: Vec<i64>,
}

impl Told {
    fn new(answer: Answer) -> Self {
        let (body, left) = without_times(&answer.body);
        let mut headers = answer.headers;
        for (name, value) in &mut headers {
            // What these say is each server's own; that they are there is not.
            if ["x-raft-index", "x-raft-term", "x-etcd-cluster-id"].contains(&name.as_str()) {
                value.clear();
            }
        }
        Self { status: answer.status, headers, body, left }
    }

    fn is_like(&self, other: &Self) -> bool {
        let left = self.left.len() == other.left.len()
            && self.left.iter().zip(&other.left).all(|(one, other)| (one - other).abs() <= 1);
        left && (self.status, &self.headers, &self.body) == (other.status, &other.headers, &other.body)
    }
}

/// The text without times, and the seconds that were left.
fn without_times(body: &str) -> (String, Vec<i64>) {
    let (mut text, mut left) = (String::new(), Vec::new());
    let mut rest = body;
    while let Some(at) = rest.find("\"expiration\":\"") {
        let behind = &rest[at + 14..];
        let end = behind.find('"').expect("text ends");
        text.push_str(&rest[..at]);
        text.push_str("\"expiration\":\"_\"");
        rest = &behind[end + 1..];
        if let Some(behind) = rest.strip_prefix(",\"ttl\":") {
            let end = behind.find([',', '}']).expect("numbers end");
            left.push(behind[..end].parse().expect("seconds are a number"));
            text.push_str(",\"ttl\":_");
            rest = &behind[end..];
        }
    }
    text.push_str(rest);
    (text, left)
}

/// A real etcd and one of ours, whose key spaces have come equally far.
pub(crate) struct Both {
    pub(crate) theirs: Servers,
    pub(crate) ours: Servers,
}

impl Both {
    pub(crate) fn start(etcd: &str) -> Self {
        let theirs = Servers::start(&[etcd], 1, &["--enable-v2=true".to_owned()]);
        let ours = Servers::start(&[SEATRIAL, "server"], 1, &[]);
        for address in [theirs.address(), ours.address()] {
            ready(address);
        }
        let both = Self { theirs, ours };
        both.level();
        both
    }

    /// etcd keeps its members in the same space, and counts what is written of them.
    fn level(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while get(self.theirs.address(), "/version").body.contains("not_decided") {
            assert!(Instant::now() < deadline, "etcd decides on no version");
            std::thread::sleep(Duration::from_millis(100));
        }
        let at = |address| index(&get(address, "/v2/keys/"));
        let theirs = at(self.theirs.address());
        while at(self.ours.address()) < theirs {
            put(self.ours.address(), "/level", "value=x");
        }
        assert_eq!(put(self.theirs.address(), "/level", "value=x").status / 100, 2);
        while at(self.ours.address()) < theirs + 1 {
            put(self.ours.address(), "/level", "value=x");
        }
        for address in [self.theirs.address(), self.ours.address()] {
            let gone = ask(address, "DELETE", "/v2/keys/level", &[], b"", None);
            assert_eq!(gone.status, 200, "{gone:?}");
        }
    }

    pub(crate) fn compare(&self, request: &Request) -> Answer {
        let (ours, difference) = self.difference(request);
        assert!(difference.is_none(), "{}", difference.unwrap_or_default());
        ours
    }

    /// Our answer, and in what it differs from etcd's.
    pub(crate) fn difference(&self, request: &Request) -> (Answer, Option<String>) {
        let ours = send(self.ours.address(), request);
        let (theirs, told) = (Told::new(send(self.theirs.address(), request)), Told::new(ours.clone()));
        let text = || format!("{request:?}\n  etcd: {theirs:?}\n  ours: {told:?}\n");
        let difference = (!theirs.is_like(&told)).then(text);
        (ours, difference)
    }
}

pub(crate) fn ready(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if std::net::TcpStream::connect(address).is_ok()
            && put(address, "/ready", "value=x").status / 100 == 2
        {
            let gone = ask(address, "DELETE", "/v2/keys/ready", &[], b"", None);
            assert_eq!(gone.status, 200, "{gone:?}");
            return;
        }
        assert!(Instant::now() < deadline, "{address} does not serve");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The real servers to compare with; says loudly where there is none.
fn real() -> Vec<String> {
    let programs = etcds();
    if programs.is_empty() {
        eprintln!("SKIPPED: no etcd is installed (Debian package etcd-server); nothing is compared");
    }
    programs
}

#[test]
fn every_kind_of_request_is_answered_as_by_etcd() {
    for etcd in real() {
        let both = Both::start(&etcd);
        let count = cases::run(&both);
        println!("{count} requests were answered as by {}", version(&etcd));
    }
}

#[test]
fn users_and_roles_are_answered_as_by_etcd() {
    for etcd in real() {
        let both = Both::start(&etcd);
        let count = users::run(&both);
        println!("{count} requests about users were answered as by {}", version(&etcd));
    }
}

#[test]
fn requests_drawn_by_chance_are_answered_as_by_etcd() {
    let count = std::env::var("SEATRIAL_V2_REQUESTS").map_or(3000, |count| count.parse().unwrap());
    let seed = std::env::var("SEATRIAL_SEED").map_or(1, |seed| seed.parse().unwrap());
    for etcd in real() {
        let both = Both::start(&etcd);
        let kinds = draw::run(&both, seed, count);
        println!("{count} requests of seed {seed} were answered as by {}: {kinds:?}", version(&etcd));
        // A stream that met only refusals would compare nothing.
        for (kind, least) in
            [("200", count / 10), ("201", count / 20), ("404", count / 50), ("412", count / 100)]
        {
            assert!(kinds.get(kind).is_some_and(|met| *met >= least), "too few of {kind}: {kinds:?}");
        }
    }
}

#[test]
fn what_runs_out_is_told_as_by_etcd() {
    for etcd in real() {
        let both = Both::start(&etcd);
        let told = |address: &str| {
            put(address, "/svc/a", "value=1&ttl=1");
            put(address, "/svc/b", "value=2&ttl=100");
            put(address, "/gone", "dir=true&ttl=2");
            put(address, "/gone/x", "value=3");
            let since = index(&get(address, "/v2/keys/svc")) + 1;
            let first = get(address, &format!("/v2/keys/?wait=true&recursive=true&waitIndex={since}"));
            let second = get(address, &format!("/v2/keys/gone/x?wait=true&waitIndex={}", since + 1));
            let after = get(address, "/v2/keys/svc?sorted=true");
            [first, second, after].map(Told::new)
        };
        let (theirs, ours) = (told(both.theirs.address()), told(both.ours.address()));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert!(theirs.is_like(ours), "\n  etcd: {theirs:?}\n  ours: {ours:?}");
        }
        assert!(ours[0].body.starts_with("{\"action\":\"expire\",\"node\":{\"key\":\"/svc/a\""), "{ours:?}");
        assert!(ours[1].body.starts_with("{\"action\":\"expire\",\"node\":{\"key\":\"/gone\""), "{ours:?}");
    }
}
