//! Server and client over real sockets on loopback, in front of a member that does what it is told.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]

mod common;

use common::*;
use seatrial_client::{Client, ClientOptions, Endpoint, Store, WatchChannel, Watching};
use seatrial_types::auth::Caller;
use seatrial_types::request::{PutRequest, RangeRequest};
use seatrial_types::watch::{WatchCreate, WatchId, WatchRequest};
use seatrial_types::{Code, Error, Event, EventKind, KeyRange, KeyValue, Request, Response, Revision};
use seatrial_wire::{Channel, ChannelOptions, GrpcEndpoint, ServeOptions, Serving, connect, serve_clients};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Duration = Duration::from_secs(1);

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

async fn serve(world: &RealWorld, toy: &Toy) -> Serving {
    serve_at(world, toy, "127.0.0.1:0").await
}

async fn serve_at(world: &RealWorld, toy: &Toy, address: &str) -> Serving {
    let listener = world.listen(address).await.unwrap();
    serve_clients(world.clone(), listener, toy.clone(), options())
}

fn endpoint(world: &RealWorld, address: &str) -> GrpcEndpoint<RealWorld> {
    GrpcEndpoint::new(world.clone(), address, ChannelOptions::default()).unwrap()
}

fn client(world: &RealWorld, addresses: &[&str]) -> Client<RealWorld, GrpcEndpoint<RealWorld>> {
    let options = ClientOptions { request_timeout: 3 * SECOND, ..ClientOptions::default() };
    connect(world, addresses, &ChannelOptions::default(), options).unwrap()
}

/// Sends bytes, reads until the server closes or is silent for a while.
async fn raw(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut buffer)).await
    {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    answer
}

async fn http(address: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    String::from_utf8(raw(address, request.as_bytes()).await).unwrap()
}

#[test]
fn every_request_reaches_the_member_as_it_was_and_so_does_every_answer() {
    run(async |world| {
        let (toy, direct) = (Toy::default(), Toy::default());
        let serving = serve(&world, &toy).await;
        let endpoint = endpoint(&world, serving.address());
        for request in every_request() {
            let got = endpoint.call(request.clone(), SECOND).await;
            assert_eq!(toy.seen().last(), Some(&request));
            let want = seatrial_etcd::Ask::call(&direct, request.clone()).await;
            assert_eq!(got.map_err(|error| error.error), want, "{request:?}");
        }
    });
}

#[test]
fn errors_keep_code_and_text_and_tell_what_may_have_happened() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let endpoint = endpoint(&world, serving.address());
        let fails = async |request| {
            let error = endpoint.call(request, SECOND).await.unwrap_err();
            (error.error, error.ambiguous)
        };
        assert_eq!(fails(put(NO_LEADER, "")).await, (Error::NoLeader, false));
        assert_eq!(fails(put(TIMEOUT, "")).await, (Error::Timeout, true));
        assert_eq!(fails(put("", "")).await, (Error::EmptyKey, false));
        let future = RangeRequest {
            range: KeyRange::single("k"),
            revision: Revision(1000),
            ..RangeRequest::default()
        };
        assert_eq!(fails(Request::Range(future)).await, (Error::FutureRevision, false));
        // What the checks refuse never reaches the member.
        assert!(!toy.seen().contains(&put("", "")));
    });
}

#[test]
fn a_request_too_large_is_refused_and_the_connection_lives_on() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let endpoint = endpoint(&world, serving.address());
        let large = |bytes: usize| {
            let value = vec![b'x'; bytes].into();
            Request::Put(PutRequest { key: "k".into(), value, ..PutRequest::default() })
        };
        assert!(endpoint.call(large(1_500_000), 5 * SECOND).await.is_ok());
        let error = endpoint.call(large(1_600_000), 5 * SECOND).await.unwrap_err();
        assert_eq!((error.error, error.ambiguous), (Error::RequestTooLarge, false));
        // Beyond what a message may be at all.
        let error = endpoint.call(large(9_000_000), 5 * SECOND).await.unwrap_err();
        assert!(!matches!(error.error.code(), Code::DeadlineExceeded | Code::Unavailable), "{error:?}");
        assert!(endpoint.call(get("k"), SECOND).await.is_ok());
        assert_eq!(toy.seen().len(), 2);
    });
}

#[test]
fn a_deadline_is_kept_by_the_client_and_leaves_a_write_unknown() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let endpoint = endpoint(&world, serving.address());
        let start = world.now();
        let error = endpoint.call(put(NEVER, ""), Duration::from_millis(200)).await.unwrap_err();
        let took = world.now() - start;
        assert_eq!(error.error.code(), Code::DeadlineExceeded);
        assert!(error.ambiguous);
        assert!(took >= Duration::from_millis(190) && took < SECOND, "{took:?}");
        assert!(endpoint.call(get("k"), SECOND).await.is_ok());
    });
}

#[test]
fn a_deadline_is_kept_by_the_server_too() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel =
            seatrial_wire::Channel::new(world.clone(), serving.address(), ChannelOptions::default());
        let mut kv = seatrial_proto::etcdserverpb::kv_client::KvClient::new(channel);
        let message = seatrial_proto::etcdserverpb::PutRequest { key: NEVER.into(), ..Default::default() };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
        let status = kv.put(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        let mut request = tonic::Request::new(seatrial_proto::etcdserverpb::RangeRequest::default());
        request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
        let status = kv.range(request).await.unwrap_err();
        assert!(status.message().contains("malformed grpc-timeout"), "{status}");
    });
}

#[test]
fn a_refused_connection_is_certain_and_a_lost_one_is_not() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let address = serving.address().to_owned();
        let endpoint = endpoint(&world, &address);
        assert!(endpoint.call(put("a", "1"), SECOND).await.is_ok());
        // The server goes away while the member ponders.
        let (lost, ()) = tokio::join!(endpoint.call(put(NEVER, ""), 5 * SECOND), async {
            while !toy.seen().contains(&put(NEVER, "")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            serving.shutdown().await;
        });
        let lost = lost.unwrap_err();
        assert_eq!((lost.error.code(), lost.ambiguous), (Code::Unavailable, true), "{lost:?}");
        // Nobody listens any more.
        let refused = endpoint.call(put("a", "2"), SECOND).await.unwrap_err();
        assert_eq!((refused.error.code(), refused.ambiguous), (Code::Unavailable, false), "{refused:?}");
        // A lost read is no ambiguity.
        assert!(!endpoint.call(get("a"), SECOND).await.unwrap_err().ambiguous);
    });
}

#[test]
fn a_channel_comes_back_when_its_server_does() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let address = serving.address().to_owned();
        let client = client(&world, &[&address]);
        assert!(client.call(put("a", "1")).await.is_ok());
        serving.shutdown().await;
        let (answer, serving) = tokio::join!(client.call(put("a", "2")), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            serve_at(&world, &toy, &address).await
        });
        assert!(answer.is_ok(), "{answer:?}");
        serving.shutdown().await;
    });
}

#[test]
fn a_client_finds_the_member_that_is_up() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        for _ in 0..5 {
            let client = client(&world, &["127.0.0.1:1", serving.address(), "127.0.0.1:2"]);
            assert!(client.call(put("a", "1")).await.is_ok());
        }
    });
}

#[test]
fn many_calls_share_one_connection() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let client = client(&world, &[serving.address()]);
        let calls = (0..500).map(|i| client.call(put(&format!("k{i}"), "v")));
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(serving.metrics().started("/etcdserverpb.KV/Put"), 500);
    });
}

#[test]
fn a_watch_sees_history_and_news_and_goes_with_its_client() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let client = client(&world, &[serving.address()]);
        for value in ["1", "2"] {
            client.call(put("w", value)).await.unwrap();
        }
        let mut watcher = client.watch(WatchCreate {
            range: KeyRange::prefix("w"),
            start_revision: Revision(2),
            ..WatchCreate::default()
        });
        assert!(watcher.next().await.unwrap().unwrap().created);
        assert_eq!(watcher.next().await.unwrap().unwrap().events.len(), 2);
        client.call(put("w/x", "3")).await.unwrap();
        client.call(put("other", "4")).await.unwrap();
        let news = watcher.next().await.unwrap().unwrap();
        assert_eq!(news.events[0].kv.key, "w/x");
        watcher.request_progress();
        let progress = watcher.next().await.unwrap().unwrap();
        assert_eq!((progress.watch_id, progress.header.revision), (WatchId::INVALID, Revision(5)));
        assert_eq!(serving.metrics().watch_streams(), 1);
        drop(watcher);
        drop(client);
        while serving.metrics().watch_streams() != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(toy.streams(), (1, 1));
    });
}

#[test]
fn many_watches_share_a_stream_and_are_cancelled_one_by_one() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let mut channel = endpoint(&world, serving.address()).watch();
        for key in ["", "b"] {
            let range = KeyRange::single(key);
            channel.send(WatchRequest::Create(WatchCreate { range, ..WatchCreate::default() }));
        }
        assert!(channel.next().await.unwrap().created);
        assert_eq!(channel.next().await.unwrap().watch_id, WatchId(1));
        toy.clone_put("b").await;
        assert_eq!(channel.next().await.unwrap().watch_id, WatchId(1));
        channel.send(WatchRequest::Cancel(WatchId(1)));
        assert!(channel.next().await.unwrap().canceled);
        // An empty key stands for the lowest there is.
        toy.clone_put("\0").await;
        assert_eq!(channel.next().await.unwrap().watch_id, WatchId(0));
    });
}

impl Toy {
    async fn clone_put(&self, key: &str) {
        seatrial_etcd::Ask::call(self, put(key, "v")).await.unwrap();
    }
}

#[test]
fn a_large_answer_comes_in_fragments_where_asked_for_and_whole_to_the_watcher() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let event = |index: usize| Event {
            kind: EventKind::Put,
            kv: KeyValue {
                key: format!("k{index}").into(),
                value: vec![b'v'; 1 << 20].into(),
                mod_revision: Revision(9),
                ..KeyValue::default()
            },
            prev_kv: None,
        };
        let answer = watch_answer(0, header(9), (0..6).map(event).collect());
        let create = WatchCreate { range: KeyRange::prefix("k"), fragment: true, ..WatchCreate::default() };
        let mut channel = endpoint(&world, serving.address()).watch();
        channel.send(WatchRequest::Create(create.clone()));
        assert!(channel.next().await.unwrap().created);
        toy.push(&answer);
        let mut pieces = Vec::new();
        while pieces.last().is_none_or(|piece: &seatrial_types::watch::WatchResponse| piece.fragment) {
            pieces.push(channel.next().await.unwrap());
        }
        assert_eq!(pieces.iter().map(|piece| piece.events.len()).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 1]);
        drop(channel);

        let mut watcher = client(&world, &[serving.address()]).watch(create);
        assert!(watcher.next().await.unwrap().unwrap().created);
        toy.push(&answer);
        assert_eq!(watcher.next().await.unwrap().unwrap(), answer);
    });
}

#[test]
fn a_shutdown_ends_streams_with_a_reason_and_lets_nothing_new_in() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let address = serving.address().to_owned();
        let mut channel = endpoint(&world, &address).watch();
        channel.send(WatchRequest::Create(WatchCreate {
            range: KeyRange::single("a"),
            ..WatchCreate::default()
        }));
        assert!(channel.next().await.unwrap().created);
        let start = world.now();
        let (ended, ()) = tokio::join!(channel.next(), serving.shutdown());
        assert_eq!(ended.unwrap_err().error, Error::Stopped);
        assert!(world.now() - start < 2 * SECOND);
        assert_eq!(toy.streams(), (1, 1));
        assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    });
}

#[test]
fn http_and_grpc_share_a_port() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let address = serving.address();
        let endpoint = endpoint(&world, address);
        endpoint.call(put("a", "1"), SECOND).await.unwrap();
        let health = http(address, "/health").await;
        assert!(health.starts_with("HTTP/1.1 200 OK"), "{health}");
        assert!(health.ends_with(r#"{"health":"true","reason":""}"#), "{health}");
        let version = http(address, "/version").await;
        assert!(
            version.ends_with(r#"{"etcdserver":"3.6.0","etcdcluster":"3.6.0","storage":"3.6.0"}"#),
            "{version}"
        );
        assert!(http(address, "/livez").await.ends_with("\r\n\r\nok\n"));
        let ready = http(address, "/readyz?verbose").await;
        assert!(
            ready.ends_with("[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"),
            "{ready}"
        );
        let metrics = http(address, "/metrics").await;
        let counted = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n";
        assert!(metrics.contains(counted), "{metrics}");
        assert!(metrics.contains("\netcd_server_has_leader 1\n"), "{metrics}");
        assert!(http(address, "/nowhere").await.starts_with("HTTP/1.1 404"));
        // An alarm is no health.
        endpoint.call(put("alarm", "on"), SECOND).await.unwrap();
        let sick = http(address, "/health").await;
        assert!(sick.starts_with("HTTP/1.1 503"), "{sick}");
        assert!(sick.trim_end().ends_with(r#"{"health":"false","reason":"ALARM NOSPACE"}"#), "{sick}");
        assert!(http(address, "/health?exclude=NOSPACE").await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn garbage_is_answered_or_hung_up_on_and_harms_nobody() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let address = serving.address();
        let endpoint = endpoint(&world, address);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let mut half_frame = preface.to_vec();
        half_frame.extend(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        let mut zeros = preface.to_vec();
        zeros.extend([0; 200]);
        let every_byte: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for bytes in [
            &b"\0"[..],
            b"\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
            b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\n\xff\xff: \0\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"POST /etcdserverpb.KV/Put HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 3\r\n\r\nabc",
            &half_frame,
            &zeros,
            &every_byte,
        ] {
            raw(address, bytes).await;
            assert!(endpoint.call(get("k"), SECOND).await.is_ok(), "after {bytes:?}");
        }
        let refused = String::from_utf8_lossy(&raw(address, b"nonsense\r\n\r\n").await).into_owned();
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    });
}

#[test]
fn messages_that_are_none_are_refused_with_a_status() {
    use http_body_util::{BodyExt, Full};
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel =
            seatrial_wire::Channel::new(world.clone(), serving.address(), ChannelOptions::default());
        let ask = async |path: &str, body: &'static [u8]| {
            let body = Full::new(bytes::Bytes::from_static(body)).map_err(|never| match never {});
            let request = http::Request::post(path)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(tonic::body::Body::new(body))
                .unwrap();
            let response = tower::ServiceExt::oneshot(channel.clone(), request).await.unwrap();
            let head = response.headers().clone();
            let body = response.into_body().collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            let status = tonic::Status::from_header_map(&head)
                .or_else(|| tonic::Status::from_header_map(&trailers))
                .expect("a status");
            (status.code(), status.message().to_owned())
        };
        let (code, text) = ask("/etcdserverpb.KV/Nothing", b"\0\0\0\0\0").await;
        assert_eq!(code, tonic::Code::Unimplemented, "{text}");
        assert_eq!(
            ask("/who.Knows/What", b"\0\0\0\0\0").await,
            (tonic::Code::Unimplemented, "unknown service who.Knows".to_owned())
        );
        assert_eq!(ask("/", b"").await.0, tonic::Code::Unimplemented);
        // A frame that is cut, one that is no message, one with a bad sort order.
        assert_ne!(ask("/etcdserverpb.KV/Put", b"\0\0\0\0\x09abc").await.0, tonic::Code::Ok);
        assert_ne!(ask("/etcdserverpb.KV/Put", b"\0\0\0\0\x03\xff\xff\xff").await.0, tonic::Code::Ok);
        assert_ne!(ask("/etcdserverpb.KV/Put", b"").await.0, tonic::Code::Ok);
        let bad_order = b"\0\0\0\0\x05\x0a\x01k\x28\x63";
        let invalid = Error::InvalidSortOption.to_string();
        assert_eq!(ask("/etcdserverpb.KV/Range", bad_order).await, (tonic::Code::InvalidArgument, invalid));
        assert_ne!(ask("/etcdserverpb.Watch/Watch", b"\0\0\0\0\x03\xff\xff\xff").await.0, tonic::Code::Ok);
        assert!(toy.seen().is_empty());
    });
}

#[test]
fn what_concerns_one_member_is_answered_by_it() {
    use seatrial_proto::etcdserverpb as pb;
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel =
            seatrial_wire::Channel::new(world.clone(), serving.address(), ChannelOptions::default());
        let mut auth = pb::auth_client::AuthClient::new(channel.clone());
        let status = auth.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.enabled, status.header.unwrap().member_id), (false, 8));
        let mut maintenance = pb::maintenance_client::MaintenanceClient::new(channel);
        // These two have none at etcd, and clients ask.
        let defragment = maintenance.defragment(pb::DefragmentRequest {}).await.unwrap().into_inner();
        assert_eq!(defragment.header, None);
        let moved = maintenance.move_leader(pb::MoveLeaderRequest { target_id: 8 }).await.unwrap();
        assert_eq!(moved.into_inner().header, None);
        let unknown = pb::DowngradeRequest { action: 9, version: String::new() };
        let unknown = maintenance.downgrade(unknown).await.unwrap_err();
        assert_eq!((unknown.code(), unknown.message()), (tonic::Code::Unknown, "etcdserver: unknown method"));
    });
}

#[test]
fn a_snapshot_comes_as_a_stream_that_ends_with_its_sum() {
    use seatrial_proto::etcdserverpb as pb;
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel =
            seatrial_wire::Channel::new(world.clone(), serving.address(), ChannelOptions::default());
        let mut maintenance = pb::maintenance_client::MaintenanceClient::new(channel);
        let mut pieces = maintenance.snapshot(pb::SnapshotRequest {}).await.unwrap().into_inner();
        let mut file = Vec::new();
        let (mut remaining, mut total) = (u64::MAX, None);
        while let Some(piece) = pieces.message().await.unwrap() {
            assert_ne!(remaining, 0, "something came after the last piece");
            remaining = piece.remaining_bytes;
            let after = file.len() + piece.blob.len();
            total.get_or_insert(after as u64 + remaining);
            assert_eq!(total, Some(after as u64 + remaining));
            file.extend_from_slice(&piece.blob);
        }
        assert_eq!(remaining, 0);
        assert_eq!(file.len() % 512, 32, "not what etcd's client takes for a whole file");
        let read = |at: u64, length: usize| Ok(file[at as usize..at as usize + length].to_vec());
        let mut database = seatrial_backup::Database::open(read, file.len() as u64, true).unwrap();
        let mut stream = Vec::new();
        let mut keep = |piece: bytes::Bytes| {
            stream.extend_from_slice(&piece);
            Ok(())
        };
        database.stream(&mut keep).unwrap();
        assert_eq!(stream, common::snapshot());
    });
}

#[test]
fn a_token_that_is_shown_comes_to_the_member_with_the_request_and_with_the_watch() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel = ChannelOptions { token: Some("abc.7".to_owned()), ..ChannelOptions::default() };
        let client = connect(&world, &[serving.address()], &channel, ClientOptions::default()).unwrap();
        client.call(get("k")).await.unwrap();
        let caller = Caller::Token("abc.7".to_owned());
        assert_eq!(toy.seen(), [Request::As(caller.clone(), Box::new(get("k")))]);
        let mut watcher =
            client.watch(WatchCreate { range: KeyRange::single("k"), ..WatchCreate::default() });
        watcher.next().await.unwrap().unwrap();
        assert_eq!(toy.watchers(), [Some(caller)]);
    });
}

#[test]
fn every_request_comes_in_the_name_of_its_caller() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel = ChannelOptions { token: Some("abc.7".to_owned()), ..ChannelOptions::default() };
        let client = connect(&world, &[serving.address()], &channel, ClientOptions::default()).unwrap();
        let caller = Caller::Token("abc.7".to_owned());
        for request in every_request() {
            let before = toy.seen().len();
            // What the toy answers is of no interest here.
            let _ = client.call(request.clone()).await;
            let seen = toy.seen().split_off(before);
            assert!(!seen.is_empty(), "{request:?} did not arrive");
            for seen in seen {
                assert!(matches!(&seen, Request::As(by, _) if *by == caller), "{seen:?}");
            }
        }
        let mut pieces = client.endpoints()[0].snapshot().await.unwrap();
        while pieces.message().await.unwrap().is_some() {}
        let last = toy.seen().pop().unwrap();
        assert!(matches!(&last, Request::As(by, _) if *by == caller), "{last:?}");
    });
}

#[test]
fn an_answer_of_the_wrong_kind_is_no_answer() {
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let client = client(&world, &[serving.address()]);
        let Response::Range(answer) = client.call(get("nothing")).await.unwrap() else { panic!("no range") };
        assert_eq!(answer.count, 0);
    });
}

#[test]
fn locks_and_elections_are_asked_for_in_the_name_of_their_caller() {
    use seatrial_proto::v3electionpb as election;
    use seatrial_proto::v3lockpb as lock;
    fn shown<T>(message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("token", "abc.7".parse().unwrap());
        request
    }
    run(async |world| {
        let toy = Toy::default();
        let serving = serve(&world, &toy).await;
        let channel = Channel::new(world.clone(), serving.address(), ChannelOptions::default());
        let mut locks = lock::lock_client::LockClient::new(channel.clone());
        let mut elections = election::election_client::ElectionClient::new(channel);
        let key = || Some(election::LeaderKey { key: "e/1".into(), rev: 3, ..Default::default() });
        let name = || election::LeaderRequest { name: "e".into() };
        let campaign = election::CampaignRequest { name: "e".into(), lease: 5, value: "v".into() };
        // What the toy answers is of no interest here.
        let _ = locks.lock(shown(lock::LockRequest { name: "l".into(), lease: 0 })).await;
        let _ = locks.unlock(shown(lock::UnlockRequest { key: "l/1".into() })).await;
        let _ = elections.campaign(shown(campaign)).await;
        let proclaim = election::ProclaimRequest { leader: key(), value: "v".into() };
        let _ = elections.proclaim(shown(proclaim)).await;
        let _ = elections.resign(shown(election::ResignRequest { leader: key() })).await;
        let _ = elections.leader(shown(name())).await;
        let mut news = elections.observe(shown(name())).await.unwrap().into_inner();
        let _ = tokio::time::timeout(SECOND / 5, news.message()).await;
        let caller = Caller::Token("abc.7".to_owned());
        let seen = toy.seen();
        assert!(seen.len() >= 8, "{seen:?}");
        for seen in seen {
            assert!(matches!(&seen, Request::As(by, _) if *by == caller), "{seen:?}");
        }
        assert_eq!(toy.watchers(), [Some(caller)]);
        assert_eq!(serving.metrics().started("/v3lockpb.Lock/Lock"), 1);
        assert_eq!(serving.metrics().started("/v3electionpb.Election/Observe"), 1);
    });
}
