//! What a server speaks besides the store's own methods, and how it keeps clients within bounds: over real sockets.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]

mod common;

use bytes::Bytes;
use common::*;
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use seatrial_proto::{etcdserverpb as pb, health, reflection, reflection_alpha};
use seatrial_types::{Error, Request};
use seatrial_wire::{Access, Channel, ChannelOptions, ServeOptions, Serving, serve_clients};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

fn run<F: Future>(test: impl FnOnce(RealWorld) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test(world)).await.expect("the test hangs")
    })
}

fn options() -> ServeOptions {
    ServeOptions { grace: Duration::from_millis(200), ..ServeOptions::default() }
}

async fn serve(world: &RealWorld, toy: &Toy, options: ServeOptions) -> Serving {
    let listener = world.listen("127.0.0.1:0").await.unwrap();
    serve_clients(world.clone(), listener, toy.clone(), options)
}

fn channel(world: &RealWorld, serving: &Serving) -> Channel<RealWorld> {
    Channel::new(world.clone(), serving.address(), ChannelOptions::default())
}

/// Sends a request of HTTP/1.1; head and body of the answer. Reads until `lines` have come, or the end.
async fn ask(address: &str, head: &str, body: &str, lines: usize) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = head.replace('\n', "\r\n");
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && (lines > 0 && body.matches("}\n").count() >= lines)
        {
            return (head.to_owned(), body.to_owned());
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            return (head.to_owned(), body.to_owned());
        }
        answer.extend_from_slice(&buffer[..count]);
    }
}

async fn post(address: &str, path: &str, body: &str) -> (u16, String) {
    let (head, body) =
        ask(address, &format!("POST {path} HTTP/1.1\nhost: x\nconnection: close"), body, 0).await;
    (head[9..12].parse().unwrap(), body)
}

#[test]
fn the_gateway_speaks_json_for_those_without_grpc() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy, options()).await;
        let address = serving.address();
        let header = |revision: u32| {
            format!(
                r#""header":{{"cluster_id":"7","member_id":"8","revision":"{revision}","raft_term":"3"}}"#
            )
        };
        let put = post(address, "/v3/kv/put", r#"{"key":"Zm9v","value":"PD4m"}"#).await;
        assert_eq!(put, (200, format!("{{{}}}", header(2))));
        let range = post(address, "/v3beta/kv/range", r#"{"key":"Zm9v"}"#).await;
        let kv = r#"{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"PD4m"}"#;
        assert_eq!(range, (200, format!("{{{},\"kvs\":[{kv}],\"count\":\"1\"}}", header(2))));
        let error =
            |code: u32, text: &str| format!(r#"{{"error":"{text}","code":{code},"message":"{text}"}}"#);
        let refused = post(address, "/v3/kv/put", "").await;
        assert_eq!(refused, (400, error(3, "etcdserver: key is not provided")));
        let future = post(address, "/v3/kv/range", r#"{"key":"Zm9v","revision":9}"#).await;
        assert_eq!(future, (400, error(11, "etcdserver: mvcc: required revision is a future revision")));
        let unreadable = post(address, "/v3/kv/put", r#"{"key":5}"#).await;
        let text = "json: cannot unmarshal number into Go value of type []uint8";
        assert_eq!(unreadable, (400, error(3, text)));
        let leaderless = format!(r#"{{"key":"{}"}}"#, "bm8tbGVhZGVy");
        assert_eq!(post(address, "/v3/kv/put", &leaderless).await, (503, error(14, "etcdserver: no leader")));
        assert_eq!(post(address, "/v3/kv/none", "{}").await, (404, "Not Found\n".to_owned()));
        let (head, _) = ask(address, "GET /v3/kv/put HTTP/1.1\nhost: x\nconnection: close", "", 0).await;
        assert!(head.starts_with("HTTP/1.1 405"), "{head}");
        // What the gateway did counts as calls.
        assert_eq!(serving.metrics().started("/etcdserverpb.KV/Put"), 3);
        // Larger than any message may be, and however it comes.
        let large = format!(r#"{{"key":"{}"}}"#, "A".repeat(9_000_000));
        let (status, text) = post(address, "/v3/kv/put", &large).await;
        assert_eq!(status, 429, "{text}");
        let large = format!(r#"{{"key":"Zm9v","value":"{}"}}"#, "A".repeat(4_000_000));
        let (status, text) = post(address, "/v3/kv/put", &large).await;
        assert_eq!(status, 429, "{text}");
        assert!(text.contains("grpc: received message larger than max (3000010 vs. 2097152)"), "{text}");
    });
}

#[test]
fn a_watch_through_the_gateway_is_a_line_for_each_answer() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy, options()).await;
        let address = serving.address();
        let head = "POST /v3/watch HTTP/1.1\nhost: x";
        let watching = async { ask(address, head, r#"{"create_request":{"key":"Zm9v"}}"#, 2).await };
        let putting = async {
            while toy.watchers().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            post(address, "/v3/kv/put", r#"{"key":"Zm9v"}"#).await
        };
        let ((head, body), _) = tokio::join!(watching, putting);
        assert!(head.contains("grpc-metadata-content-type: application/grpc"), "{head}");
        let lines: Vec<&str> = body.lines().filter(|line| line.starts_with('{')).collect();
        assert!(
            lines[0].starts_with(r#"{"result":{"header":{"#) && lines[0].contains(r#""created":true"#),
            "{body}"
        );
        assert!(body.contains(r#""events":[{"kv":{"key":"Zm9v","#), "{body}");
        // The stream went with its client.
        while toy.streams().1 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let wrong = ask(address, head_of("/v3/watch"), r#"{"create_request":{"key":5}}"#, 0).await;
        assert!(wrong.0.starts_with("HTTP/1.1 500"), "{wrong:?}");
    });
}

fn head_of(path: &str) -> &'static str {
    assert_eq!(path, "/v3/watch");
    "POST /v3/watch HTTP/1.1\nhost: x\nconnection: close"
}

#[test]
fn pages_of_strangers_are_kept_out_where_that_is_wanted() {
    run(async |world| {
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let access = Access { origins: set("https://a.example"), hosts: set("db.example") };
        let serving = serve(&world, &Toy::default(), ServeOptions { access, ..options() }).await;
        let ask = async |method: &str, host: &str, origin: &str| {
            let head =
                format!("{method} /v3/kv/range HTTP/1.1\nhost: {host}\norigin: {origin}\nconnection: close");
            ask(serving.address(), &head, "{}", 0).await
        };
        let (head, body) = ask("POST", "evil.example", "https://a.example").await;
        assert!(head.starts_with("HTTP/1.1 421"), "{head}");
        assert!(body.contains("--host-whitelist"), "{body}");
        let (head, body) = ask("OPTIONS", "db.example:2379", "https://a.example").await;
        assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
        assert!(head.contains("access-control-allow-origin: https://a.example"), "{head}");
        let (head, _) = ask("POST", "db.example", "https://b.example").await;
        assert!(head.starts_with("HTTP/1.1 400") && !head.contains("access-control"), "{head}");
    });
}

#[test]
fn a_listener_for_metrics_serves_nothing_else() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy, ServeOptions { metrics_only: true, ..options() }).await;
        let address = serving.address();
        for (path, status) in
            [("/metrics", "200"), ("/health", "200"), ("/version", "404"), ("/v3/kv/put", "404")]
        {
            let (head, _) =
                ask(address, &format!("GET {path} HTTP/1.1\nhost: x\nconnection: close"), "", 0).await;
            assert_eq!(&head[9..12], status, "{path}");
        }
        let mut kv = pb::kv_client::KvClient::new(channel(&world, &serving));
        assert!(kv.put(pb::PutRequest { key: "k".into(), ..Default::default() }).await.is_err());
        assert!(!toy.seen().iter().any(|request| matches!(request, Request::Put(_))));
    });
}

#[test]
fn probes_can_be_asked_one_by_one_and_left_out() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy, options()).await;
        let get = async |path: &str| {
            let (head, body) =
                ask(serving.address(), &format!("GET {path} HTTP/1.1\nhost: x\nconnection: close"), "", 0)
                    .await;
            (head[9..12].to_owned(), body)
        };
        let ok = |text: &str| ("200".to_owned(), text.to_owned());
        assert_eq!(get("/livez/serializable_read?verbose").await, ok("[+]serializable_read ok\nok\n"));
        assert_eq!(get("/readyz/linearizable_read").await, ok("ok\n"));
        let most = "/readyz?verbose&exclude=data_corruption&exclude=non_learner&exclude=linearizable_read";
        assert_eq!(get(most).await, ok("[+]serializable_read ok\nok\n"));
        assert_eq!(get("/readyz/nothing").await, ("404".to_owned(), "404 page not found\n".to_owned()));
        assert_eq!(get("/livez/linearizable_read").await.0, "404");
        let (head, body) =
            ask(serving.address(), "POST /livez HTTP/1.1\nhost: x\nconnection: close", "", 0).await;
        assert!(head.starts_with("HTTP/1.1 405") && head.contains("allow: GET"), "{head}");
        assert_eq!(body, "Method Not Allowed\n");
    });
}

#[test]
fn health_is_told_over_grpc_and_its_end_too() {
    use health::health_check_response::ServingStatus;
    run(async |world| {
        let serving = serve(&world, &Toy::default(), options()).await;
        let mut client = health::health_client::HealthClient::new(channel(&world, &serving));
        let of = |service: &str| health::HealthCheckRequest { service: service.to_owned() };
        let status = client.check(of("")).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
        let unknown = client.check(of("etcdserverpb.KV")).await.unwrap_err();
        assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "unknown service"));
        let mut unknown = client.watch(of("nobody")).await.unwrap().into_inner();
        assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        let mut news = client.watch(of("")).await.unwrap().into_inner();
        assert_eq!(news.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        serving.shutdown().await;
        // Either the stream ends or its connection does; it does not go on.
        assert!(!matches!(news.message().await, Ok(Some(_))));
    });
}

#[test]
fn a_server_tells_what_it_serves_under_both_names() {
    run(async |world| {
        let serving = serve(&world, &Toy::default(), options()).await;
        macro_rules! names {
            ($package:ident) => {{
                use $package::server_reflection_client::ServerReflectionClient;
                use $package::server_reflection_request::MessageRequest;
                use $package::server_reflection_response::MessageResponse;
                let ask = |asked| $package::ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(asked),
                };
                let asks = futures::stream::iter([
                    ask(MessageRequest::ListServices(String::new())),
                    ask(MessageRequest::FileContainingSymbol("etcdserverpb.KV.Range".to_owned())),
                    ask(MessageRequest::FileByFilename("nothing.proto".to_owned())),
                ]);
                let mut client = ServerReflectionClient::new(channel(&world, &serving));
                let mut answers = client.server_reflection_info(asks).await.unwrap().into_inner();
                let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
                let MessageResponse::ListServicesResponse(services) = next().await else {
                    panic!("no services")
                };
                let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no files") };
                let MessageResponse::ErrorResponse(error) = next().await else { panic!("no error") };
                assert_eq!(error.error_code, Code::NotFound as i32);
                assert_eq!(files.file_descriptor_proto.len(), 3);
                services.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>()
            }};
        }
        let names = names!(reflection);
        assert_eq!(names, names!(reflection_alpha));
        for name in ["etcdserverpb.KV", "v3lockpb.Lock", "grpc.health.v1.Health"] {
            assert!(names.contains(name), "{names:?}");
        }
    });
}

#[test]
fn who_wants_a_leader_is_told_when_there_is_none() {
    run(async |world| {
        let toy = Toy::default();
        let options = ServeOptions { leader_check_interval: Duration::from_millis(20), ..options() };
        let serving = serve(&world, &toy, options).await;
        let mut kv = pb::kv_client::KvClient::new(channel(&world, &serving));
        let mut watch = pb::watch_client::WatchClient::new(channel(&world, &serving));
        fn wanting<T>(message: T) -> tonic::Request<T> {
            let mut request = tonic::Request::new(message);
            request.metadata_mut().insert("hasleader", "true".parse().unwrap());
            request
        }
        let put = |key: &str| pb::PutRequest { key: key.to_owned().into(), ..Default::default() };
        let create = || {
            use pb::watch_request::RequestUnion;
            let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
            let first = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
            futures::stream::iter([first]).chain(futures::stream::pending())
        };
        kv.put(wanting(put("k"))).await.unwrap();
        let mut patient = watch.watch(create()).await.unwrap().into_inner();
        let mut wanting_one = watch.watch(wanting(create())).await.unwrap().into_inner();
        assert!(patient.message().await.unwrap().unwrap().created);
        assert!(wanting_one.message().await.unwrap().unwrap().created);
        kv.put(put(LEADERLESS)).await.unwrap();
        let text = Error::NoLeader.to_string();
        let refused = kv.put(wanting(put("k"))).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unavailable, &*text));
        assert!(kv.put(put("other")).await.is_ok());
        let ended = wanting_one.message().await.unwrap_err();
        assert_eq!((ended.code(), ended.message()), (Code::Unavailable, &*text));
        let refused = watch.watch(wanting(create())).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unavailable, &*text));
        // Who did not ask for one goes on.
        kv.put(put("k")).await.unwrap();
        assert_eq!(patient.message().await.unwrap().unwrap().events.len(), 1);
    });
}

/// A connection of HTTP/2 with a call open on it, and pings one after the other; how it ended.
async fn pinging(address: &str, open: bool, pings: usize) -> Result<(), h2::Error> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, mut connection) = h2::client::handshake(stream).await?;
    let mut ping_pong = connection.ping_pong().unwrap();
    let talking = async {
        let mut answer = None;
        if open {
            let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Watch"))
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let (response, mut body) = sender.send_request(request, false)?;
            body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true)?;
            let mut response = response.await?.into_body();
            answer = Some((response.data().await, response));
        }
        for _ in 0..pings {
            ping_pong.ping(h2::Ping::opaque()).await?;
        }
        drop(answer);
        Ok(())
    };
    tokio::select! {
        biased;
        ended = &mut connection => ended,
        talked = talking => match talked {
            Ok(()) => Ok(()),
            // The connection itself knows why.
            Err::<(), h2::Error>(error) => connection.await.and(Err(error)),
        },
    }
}

#[test]
fn clients_that_ping_too_often_are_sent_away() {
    run(async |world| {
        let serving = serve(&world, &Toy::default(), options()).await;
        for open in [true, false] {
            // The first is free, and two offences are passed over.
            pinging(serving.address(), open, 3).await.unwrap();
            let error = pinging(serving.address(), open, 10).await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
        }
        let lenient = ServeOptions { keepalive_min_time: Duration::ZERO, ..options() };
        let serving = serve(&world, &Toy::default(), lenient).await;
        pinging(serving.address(), true, 30).await.unwrap();
    });
}

/// Opens four calls that stay open; whether the fourth is answered while the others are, and once one of them is not.
async fn four_calls(world: &RealWorld, concurrent_streams_max: u32) -> (bool, bool) {
    let options = ServeOptions { concurrent_streams_max, ..options() };
    let serving = serve(world, &Toy::default(), options).await;
    let stream = TcpStream::connect(serving.address()).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let mut call = || {
        let uri = format!("http://{}/grpc.health.v1.Health/Watch", serving.address());
        let request = http::Request::post(uri).header("content-type", "application/grpc").body(()).unwrap();
        let (response, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
        response
    };
    let calling = async {
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(call().await.unwrap());
        }
        // The server has said how many there may be, and the library keeps the fourth back.
        let mut fourth = call();
        let before = tokio::time::timeout(Duration::from_millis(300), &mut fourth).await.is_ok();
        drop(open.pop());
        let after = before || tokio::time::timeout(Duration::from_secs(10), fourth).await.is_ok();
        (before, after)
    };
    tokio::select! {
        biased;
        ended = connection => panic!("the connection ended: {ended:?}"),
        outcome = calling => outcome,
    }
}

#[test]
fn a_connection_has_no_more_calls_open_than_it_may() {
    run(async |world| {
        assert_eq!(four_calls(&world, 3).await, (false, true));
        assert_eq!(four_calls(&world, 4).await, (true, true));
    });
}

#[test]
fn connections_that_say_nothing_are_let_go_and_disturb_nobody() {
    run(async |world| {
        let options = ServeOptions { header_timeout: Duration::from_millis(400), ..options() };
        let toy = Toy::default();
        let serving = serve(&world, &toy, options).await;
        let mut idle = Vec::new();
        for turn in 0..200 {
            let mut stream = TcpStream::connect(serving.address()).await.unwrap();
            // Nothing; a part of the preface; a part of a head.
            let part: &[u8] =
                [&b""[..], b"PRI * HTTP/2.0\r\n", b"POST /v3/kv/put HTTP/1.1\r\nhost:"][turn % 3];
            stream.write_all(part).await.unwrap();
            idle.push(stream);
        }
        let (status, _) = post(serving.address(), "/v3/kv/put", r#"{"key":"Zm9v"}"#).await;
        assert_eq!(status, 200);
        for mut stream in idle {
            let mut answer = Vec::new();
            // Closed by the server: with or without a word, and never with anything that was done.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
        }
        assert_eq!(toy.seen().iter().filter(|request| matches!(request, Request::Put(_))).count(), 1);
    });
}

#[test]
fn a_message_over_the_limit_is_refused_in_the_words_of_gos_servers() {
    run(async |world| {
        let mut options = options();
        options.limits.request_bytes_max = 1000;
        let serving = serve(&world, &Toy::default(), options).await;
        let mut kv = pb::kv_client::KvClient::new(channel(&world, &serving));
        let put = |bytes: usize| pb::PutRequest {
            key: "k".into(),
            value: vec![b'v'; bytes].into(),
            ..Default::default()
        };
        kv.put(put(900)).await.unwrap();
        let refused = kv.put(put(2000)).await.unwrap_err();
        let text = Error::RequestTooLarge.to_string();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, &*text));
        let refused = kv.put(put(600_000)).await.unwrap_err();
        let text = "grpc: received message larger than max (600007 vs. 525288)";
        assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, text));
    });
}

#[test]
fn a_client_that_reads_nothing_is_closed_where_others_want_what_is_held_for_it() {
    run(async |world| {
        let options = ServeOptions { unread_bytes_max: 24 << 20, ..options() };
        let serving = serve(&world, &Toy::default(), options).await;
        let mut kv = pb::kv_client::KvClient::new(channel(&world, &serving));
        for key in ["a", "b", "c", "d", "e", "f"] {
            let value = vec![b'v'; 1_000_000].into();
            kv.put(pb::PutRequest { key: key.into(), value, ..Default::default() }).await.unwrap();
        }
        let body = r#"{"key":"AA==","range_end":"AA=="}"#;
        let head = "POST /v3/kv/range HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 33\r\n\r\n";
        // Some eight million letters, of which hardly any fit between the two.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut unread = socket.connect(serving.address().parse().unwrap()).await.unwrap();
        unread.write_all([head, body].concat().as_bytes()).await.unwrap();
        unread.readable().await.unwrap();
        let (status, text) = post(serving.address(), "/v3/kv/range", body).await;
        assert_eq!(status, 200, "{}", &text[..text.len().min(200)]);
        assert!(text.len() > 6_000_000, "{}", text.len());
        let mut rest = Vec::new();
        let _ = unread.read_to_end(&mut rest).await;
        assert!(rest.len() < text.len(), "all of it was kept: {} bytes", rest.len());
    });
}

#[test]
fn answers_over_grpc_that_nobody_reads_are_bounded_and_named() {
    run(async |world| {
        let options = ServeOptions { unread_bytes_max: 4 << 20, ..options() };
        let serving = serve(&world, &Toy::default(), options).await;
        let mut kv = pb::kv_client::KvClient::new(channel(&world, &serving));
        let value = vec![b'v'; 1_000_000].into();
        kv.put(pb::PutRequest { key: "k".into(), value, ..Default::default() }).await.unwrap();
        // A client that opens no window after the first, whose calls are all open at once.
        let stream = TcpStream::connect(serving.address()).await.unwrap();
        let (mut sender, connection) =
            h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..8 {
            sender = sender.ready().await.unwrap();
            let request = http::Request::post("http://x/etcdserverpb.KV/Range")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .unwrap();
            let (answer, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"\0\0\0\0\x03\x0a\x01k"), true).unwrap();
            answers.push(answer.await.unwrap());
        }
        let refused = answers.iter().filter_map(|answer| answer.headers().get("grpc-status"));
        let refused: Vec<_> = refused.map(|code| code.to_str().unwrap().to_owned()).collect();
        assert_eq!(refused, ["8"; 4], "four answers of a megabyte are held, the others are refused");
        // Others are served all the same, and for them the one that reads nothing is closed.
        for _ in 0..3 {
            let range = pb::RangeRequest { key: "k".into(), ..Default::default() };
            assert_eq!(kv.range(range).await.unwrap().into_inner().kvs[0].value.len(), 1_000_000);
        }
        let answer = answers.iter_mut().find(|answer| !answer.headers().contains_key("grpc-status")).unwrap();
        assert!(answer.body_mut().data().await.is_none_or(|data| data.is_err()), "it came after all");
    });
}

#[test]
fn a_message_cut_short_or_flooded_with_resets_leaves_the_server_up() {
    run(async |world| {
        let serving = serve(&world, &Toy::default(), options()).await;
        let address = serving.address().to_owned();
        let stream = TcpStream::connect(&address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let flooding = async {
            for _ in 0..2000 {
                let Ok(ready) = sender.clone().ready().await else { return };
                sender = ready;
                let request = http::Request::post(format!("http://{address}/etcdserverpb.KV/Put"))
                    .header("content-type", "application/grpc")
                    .body(())
                    .unwrap();
                let Ok((_, mut body)) = sender.send_request(request, false) else { return };
                let _ = body.send_data(Bytes::from_static(b"\0\0\0\0\x09ab"), false);
                body.send_reset(h2::Reason::CANCEL);
            }
        };
        tokio::select! {
            biased;
            _ = connection => {}
            () = flooding => {}
        }
        let (status, _) = post(&address, "/v3/kv/put", r#"{"key":"Zm9v"}"#).await;
        assert_eq!(status, 200);
        // A call whose body never ends holds nothing up either.
        let channel = channel(&world, &serving);
        let (_open, body) =
            futures::channel::mpsc::unbounded::<Result<http_body::Frame<Bytes>, tonic::Status>>();
        let request = http::Request::post("/etcdserverpb.KV/Put")
            .header("content-type", "application/grpc")
            .body(tonic::body::Body::new(http_body_util::StreamBody::new(body)))
            .unwrap();
        let hanging = tower::ServiceExt::oneshot(channel.clone(), request);
        let put = async {
            let body =
                Full::new(Bytes::from_static(b"\0\0\0\0\x03\x0a\x01k")).map_err(|never| match never {});
            let request = http::Request::post("/etcdserverpb.KV/Put")
                .header("content-type", "application/grpc")
                .body(tonic::body::Body::new(body))
                .unwrap();
            tower::ServiceExt::oneshot(channel, request).await.unwrap().status()
        };
        tokio::select! {
            biased;
            _ = hanging => panic!("a call without its message was answered"),
            status = put => assert_eq!(status, 200),
        }
    });
}
