//! What the client for the v2 API sends again, what it does not, and what it then says of it.

#![allow(clippy::disallowed_methods, reason = "tests of sockets talk to the machine itself")]

use seatrial_types::v2::V2Code;
use seatrial_wire::{V2Client, V2ClientError, V2ClientOptions, V2Get, V2Put};
use seatrial_world_real::RealWorld;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server does with a request.
#[derive(Clone, Debug)]
enum Does {
    /// Answers with status and body; the connection stays.
    Answer(u16, &'static str),
    /// Answers, and closes the connection without having said so.
    AnswerAndLeave(u16, &'static str),
    /// Closes without an answer.
    Leave,
    /// Says nothing.
    Sleep,
}

const FILE: &str = r#"{"action":"get","node":{"key":"/a","value":"1","modifiedIndex":7,"createdIndex":7}}"#;

/// A server that plays a list; what was asked, with `+` where a new connection began.
struct Server {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(plays: Vec<Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let hears = heard.clone();
        std::thread::spawn(move || {
            let mut plays = plays.into_iter();
            while let Ok((stream, _)) = listener.accept() {
                hears.lock().unwrap().push("+".to_owned());
                let mut reader = BufReader::new(stream);
                'requests: loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        break;
                    }
                    let mut length = 0;
                    loop {
                        let mut header = String::new();
                        reader.read_line(&mut header).unwrap();
                        if let Some(text) = header.to_ascii_lowercase().strip_prefix("content-length: ") {
                            length = text.trim().parse().unwrap();
                        }
                        if header.trim().is_empty() {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
                    hears
                        .lock()
                        .unwrap()
                        .push(format!("{line} {}", String::from_utf8_lossy(&body)).trim().to_owned());
                    let mut answer = |status: u16, body: &str| {
                        let head = format!(
                            "HTTP/1.1 {status} X\r\nX-Etcd-Index: 7\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        reader.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
                    };
                    match plays.next().expect("nothing more is to be asked") {
                        Does::Answer(status, body) => answer(status, body),
                        Does::AnswerAndLeave(status, body) => {
                            answer(status, body);
                            break 'requests;
                        }
                        Does::Leave => break 'requests,
                        Does::Sleep => std::thread::sleep(Duration::from_secs(3)),
                    }
                }
            }
        });
        Self { url, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// Where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn with<F: Future>(urls: &[&str], ask: impl FnOnce(V2Client<RealWorld>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    let options =
        V2ClientOptions { header_timeout: Duration::from_millis(500), ..V2ClientOptions::default() };
    let client = V2Client::new(world, urls, options).unwrap();
    runtime.block_on(ask(client))
}

#[test]
fn a_connection_is_kept_between_requests() {
    let server = Server::start(vec![Does::Answer(200, FILE), Does::Answer(200, FILE)]);
    with(&[&server.url], async |client| {
        client.get("a", V2Get::default()).await.unwrap();
        let told = client.set("a", "x y", &V2Put { ttl_seconds: Some(3), ..V2Put::default() }).await.unwrap();
        assert_eq!((told.index, told.event.index()), (7, 7));
    });
    assert_eq!(
        server.heard(),
        ["+", "GET /v2/keys/a?quorum=false&recursive=false&sorted=false", "PUT /v2/keys/a ttl=3&value=x+y"]
    );
}

#[test]
fn a_kept_connection_that_the_server_has_closed_costs_no_write() {
    let server = Server::start(vec![Does::AnswerAndLeave(200, FILE), Does::Answer(200, FILE)]);
    with(&[&server.url], async |client| {
        client.get("a", V2Get::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.create("a", "1", None).await.unwrap();
    });
    assert_eq!(server.heard().iter().filter(|line| line.as_str() == "+").count(), 2);
}

#[test]
fn a_write_goes_to_the_next_endpoint_only_where_nothing_happened_at_the_first() {
    for (first, is_passed_on) in [
        (Does::Leave, false),
        (Does::Sleep, false),
        (Does::Answer(500, "{}"), false),
        (Does::Answer(503, "{}"), true),
    ] {
        let (failing, healthy) =
            (Server::start(vec![first.clone()]), Server::start(vec![Does::Answer(200, FILE)]));
        let answer =
            with(&[&failing.url, &healthy.url], async |client| client.create_in_order("q", "1", None).await);
        assert_eq!(healthy.heard().len(), if is_passed_on { 2 } else { 0 }, "{first:?}");
        match answer {
            Ok(_) => assert!(is_passed_on, "{first:?}"),
            Err(error) => assert!(!is_passed_on && error.is_ambiguous(), "{first:?}: {error}"),
        }
    }
    let healthy = Server::start(vec![Does::Answer(200, FILE)]);
    with(&[&nobody(), "xx://h:1", &healthy.url], async |client| client.create("a", "1", None).await).unwrap();
}

#[test]
fn a_read_goes_on_whatever_became_of_it() {
    for first in [Does::Leave, Does::Sleep, Does::Answer(500, "{}")] {
        let (failing, healthy) =
            (Server::start(vec![first]), Server::start(vec![Does::Answer(200, FILE); 2]));
        with(&[&failing.url, &healthy.url], async |client| {
            client.get("a", V2Get::default()).await.unwrap();
            // Who answered is asked first from then on.
            client.get("a", V2Get::default()).await.unwrap();
        });
        assert_eq!(healthy.heard().len(), 3);
    }
}

#[test]
fn nobody_to_be_reached_is_certain_and_each_is_named() {
    let (one, two) = (nobody(), nobody());
    let error = with(&[&one, &two], async |client| client.create("a", "1", None).await).unwrap_err();
    assert!(!error.is_ambiguous());
    let V2ClientError::Unreachable { failures, .. } = &error else { panic!("{error:?}") };
    assert!(failures.len() == 2 && failures.iter().all(|failure| failure.is_connection()), "{error}");
}

#[test]
fn a_refusal_is_read_with_its_code() {
    let body = r#"{"errorCode":105,"message":"Key already exists","cause":"/a","index":9}"#;
    let server = Server::start(vec![Does::Answer(412, body), Does::Answer(404, "404 page not found\n")]);
    with(&[&server.url], async |client| {
        let error = client.create("a", "1", None).await.unwrap_err();
        let V2ClientError::Refused(refused) = &error else { panic!("{error:?}") };
        assert_eq!((refused.code, refused.index), (V2Code::KeyExists, 9));
        assert!(!error.is_ambiguous());
        let error = client.get("a", V2Get::default()).await.unwrap_err();
        assert!(matches!(error, V2ClientError::Odd { .. }), "{error:?}");
    });
}

#[test]
fn who_waits_asks_again_behind_what_was_told_and_where_the_answer_was_empty() {
    let later = r#"{"action":"set","node":{"key":"/a","value":"2","modifiedIndex":12,"createdIndex":12}}"#;
    let server =
        Server::start(vec![Does::Answer(200, ""), Does::Answer(200, later), Does::Answer(200, later)]);
    with(&[&server.url], async |client| {
        let mut watcher = client.watcher("a", true, 0);
        assert_eq!(watcher.next().await.unwrap().event.index(), 12);
        watcher.next().await.unwrap();
    });
    let asked: Vec<String> = server.heard().into_iter().filter(|line| line != "+").collect();
    let want = |index: u64| format!("GET /v2/keys/a?recursive=true&wait=true&waitIndex={index}");
    // The first answer had no event, but told how far the key space was.
    assert_eq!(asked, [want(0), want(8), want(13)]);
}

#[test]
fn a_stream_tells_one_change_after_the_other_and_ends() {
    let both = concat!(
        r#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":8,"createdIndex":8}}"#,
        "\n",
        r#"{"action":"delete","node":{"key":"/a","modifiedIndex":9,"createdIndex":8}}"#,
        "\n"
    );
    let server = Server::start(vec![Does::Answer(200, both)]);
    with(&[&server.url], async |client| {
        let mut stream = client.stream("a", false, 0).await.unwrap();
        assert_eq!(stream.began(), 7);
        assert_eq!(stream.next().await.unwrap().unwrap().event.index(), 8);
        assert_eq!(stream.next().await.unwrap().unwrap().event.index(), 9);
        assert_eq!(stream.next().await.unwrap(), None);
    });
}
