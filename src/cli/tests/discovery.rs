//! Members of new clusters find each other: through our service on our store, ours and the real etcd's; and by DNS.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::SEATRIAL;
use support::members::{Member, Process, ask, expect_cluster, member, wait};
use support::server::{Servers, port};

/// A store of one member and a service in front of it.
struct Service {
    _service: Process,
    store: Servers,
    address: String,
}

impl Service {
    fn start(folder: &Path) -> Self {
        let store = Servers::start(&[SEATRIAL, "server"], 1, &[]);
        let address = format!("127.0.0.1:{}", port());
        let mut command = Command::new(SEATRIAL);
        command
            .args(["discovery", "--max-size", "9", "--listen-client-urls", &format!("http://{address}")])
            .args(["--endpoints", &format!("http://{}", store.address())]);
        let service = Process::start(command, &folder.join("service.log"));
        wait("the service is healthy", || {
            ask(&address, "GET /health", "").is_ok_and(|answer| answer.0 == 200)
        });
        Self { _service: service, store, address }
    }

    /// A token's URL for so many.
    fn token(&self, size: usize) -> String {
        let (status, _, url) = ask(&self.address, &format!("GET /new?size={size}"), "").unwrap();
        assert_eq!(status, 200, "{url}");
        assert!(url.starts_with(&format!("http://{}/", self.address)), "{url}");
        url
    }
}

#[test]
fn three_members_find_each_other_through_our_service_and_the_fourth_is_told_that_it_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let url = service.token(3);
    let members: Vec<Member> = ["a", "b", "c"]
        .iter()
        .map(|name| member(&[SEATRIAL, "server"], name, &["--discovery", &url], folder.path()))
        .collect();
    expect_cluster(&members);
    let mut late = member(&[SEATRIAL, "server"], "d", &["--discovery", &url], folder.path());
    let (code, log) = late.process.expect_end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("cluster is full") && log.contains("hint:"), "{log}");
    assert!(!folder.path().join("d").exists(), "who is late leaves nothing behind");
}

#[test]
fn a_member_that_comes_back_with_its_data_asks_no_service() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let url = service.token(1);
    let first = member(&[SEATRIAL, "server"], "a", &["--discovery", &url], folder.path());
    expect_cluster(std::slice::from_ref(&first));
    drop(first);
    let Service { _service: gone, store, .. } = service;
    drop((gone, store));
    let again = member(&[SEATRIAL, "server"], "a", &["--discovery", &url], folder.path());
    wait("it serves what it had", || {
        ask(&again.client, "GET /v2/keys/a", "").is_ok_and(|answer| answer.0 == 200)
    });
}

#[test]
fn a_wrong_token_or_a_second_word_on_the_members_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let unknown = format!("http://{}/{}", service.address, "0".repeat(32));
    let mut lost = member(&[SEATRIAL, "server"], "a", &["--discovery", &unknown], folder.path());
    let (code, log) = lost.process.expect_end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("size key not found"), "{log}");
    let both = ["--discovery", &unknown, "--initial-cluster", "a=http://127.0.0.1:1"];
    let (code, log) = member(&[SEATRIAL, "server"], "b", &both, folder.path()).process.expect_end();
    assert_eq!(code, Some(2), "{log}");
    let bare = ["--discovery", &format!("http://{}", service.address)];
    let (code, log) = member(&[SEATRIAL, "server"], "c", &bare, folder.path()).process.expect_end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("no token"), "{log}");
}

#[test]
fn the_real_etcd_forms_a_cluster_through_our_service() {
    if !Path::new("/usr/bin/etcd").exists() {
        eprintln!("SKIPPED: no etcd 3.4 (Debian package etcd-server)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let url = service.token(3);
    let etcd = ["/usr/bin/etcd", "--enable-v2=true"];
    let members: Vec<Member> = ["a", "b", "c"]
        .iter()
        .map(|name| member(&etcd, name, &["--discovery", &url], folder.path()))
        .collect();
    expect_cluster(&members);
    let late = ["--discovery", &url, "--discovery-fallback", "exit"];
    let (code, log) = member(&etcd, "d", &late, folder.path()).process.expect_end();
    assert_ne!(code, Some(0), "{log}");
    assert!(log.contains("cluster is full"), "{log}");
}

#[test]
fn the_service_guards_what_was_settled_and_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let at = |request: &str, form: &str| ask(&service.address, request, form).unwrap();
    let url = service.token(5);
    let path = url.split_once(&service.address).unwrap().1.to_owned();
    let (status, _, body) = at(&format!("GET {path}/_config/size"), "");
    assert!(status == 200 && body.contains("\"value\":\"5\""), "{status} {body}");
    let (status, _, body) = at(&format!("PUT {path}/_config/size"), "value=9");
    assert_eq!((status, body.contains("token config protected")), (405, true), "{body}");
    assert_eq!(at(&format!("DELETE {path}"), "").0, 405);
    let (status, head, body) =
        at(&format!("PUT {path}/ab12?prevExist=false"), "value=a%3Dhttp%3A%2F%2Fh%3A1");
    assert_eq!(status, 201, "{body}");
    assert!(head.to_ascii_lowercase().contains("x-etcd-index"), "{head}");
    assert_eq!(at(&format!("PUT {path}/ab12?prevExist=false"), "value=b").0, 412);
    let (status, _, body) = at(&format!("GET {path}"), "");
    assert!(status == 200 && body.contains("a=http://h:1"), "{status} {body}");
    // What is waited for comes as it happens.
    let watching = std::thread::spawn({
        let (address, request) = (service.address.clone(), format!("GET {path}?wait=true&recursive=true"));
        move || ask(&address, &request, "").unwrap()
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(at(&format!("PUT {path}/cd34"), "value=later").0, 201);
    assert!(watching.join().unwrap().2.contains("\"value\":\"later\""));
    for (request, status, text) in [
        ("GET /new?size=x", 400, "strconv.Atoi: parsing \"x\": invalid syntax"),
        ("GET /new?size=0", 400, "from 1 to 9"),
        ("GET /new?size=10", 400, "from 1 to 9"),
        ("GET /new?size=%zz", 400, "invalid URL escape"),
        ("GET /health", 200, "OK"),
        ("GET /nosuch", 404, "404 page not found"),
        ("DELETE /new", 405, ""),
    ] {
        let (found, _, body) = at(request, "");
        assert!(found == status && body.contains(text), "{request}: {found} {body}");
    }
    let (status, head, _) = at("GET /", "");
    assert!(status == 301 && head.to_ascii_lowercase().contains("location: http"), "{head}");
    assert_eq!(at(&format!("PUT {path}/ab13"), &format!("value={}", "x".repeat(20_000))).0, 413);
    // Without the store the service says so, and lives on.
    let mut store = service.store;
    store.stop();
    let (status, _, body) = ask(&service.address, "GET /new", "").unwrap();
    assert_eq!(status, 503, "{body}");
}

/// Answers every question for SRV records below `_etcd-server._tcp` with these ports of localhost.
fn dns(ports: Vec<u16>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let mut answer = bytes[..length].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            if bytes[..length].windows(7).any(|part| part == b"er-ssl\x04") {
                answer[3] |= 3;
            } else {
                answer[7] = u8::try_from(ports.len()).unwrap();
                for port in &ports {
                    answer.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 17, 0, 0, 0, 0]);
                    answer.extend_from_slice(&port.to_be_bytes());
                    answer.extend_from_slice(b"\x09localhost\0");
                }
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

#[test]
fn members_find_each_other_by_srv_records() {
    let folder = tempfile::tempdir().unwrap();
    let ports: Vec<u16> = (0..3).map(|_| port()).collect();
    let server = dns(ports.clone());
    let start = |name: &str, peer: &str| {
        let client = format!("127.0.0.1:{}", port());
        let url = format!("http://{client}");
        let mut command = Command::new(SEATRIAL);
        command
            .args(["server", "--name", name, "--data-dir"])
            .arg(folder.path().join(name))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--discovery-srv", "cluster.example", "--discovery-dns", &server]);
        Member { process: Process::start(command, &folder.path().join(format!("{name}.log"))), client }
    };
    let named = ["a", "b", "c"].iter().zip(&ports);
    let members: Vec<Member> =
        named.map(|(name, port)| start(name, &format!("http://localhost:{port}"))).collect();
    expect_cluster(&members);
    let (_, _, body) = ask(&members[0].client, "GET /v2/members", "").unwrap();
    for name in ["a", "b", "c"] {
        assert!(body.contains(&format!("\"name\":\"{name}\"")), "each has told its name: {body}");
    }
    let mut stranger = start("d", "http://localhost:1");
    let (code, log) = stranger.process.expect_end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("none of them is in"), "{log}");
}
