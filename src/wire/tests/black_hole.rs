//! A network that swallows what is said on a connection, while new connections work: a call that ends without one byte
//! from the other side is the last that goes there.
#![allow(clippy::disallowed_methods, reason = "a composition root of its own")]
#![allow(clippy::disallowed_types, reason = "a proxy of the tests works on the machine's own sockets")]

mod common;

use common::*;
use seatrial_client::{ClientError, Endpoint, WatchChannel};
use seatrial_types::watch::{WatchCreate, WatchRequest};
use seatrial_types::{Code, KeyRange, Response};
use seatrial_wire::{ChannelOptions, GrpcEndpoint, ServeOptions, Serving, serve_clients};
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test waits: a call that nobody else ends.
const LONG: Duration = Duration::from_secs(60);

fn run<F: Future>(test: impl FnOnce(RealWorld) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = RealWorld::on(runtime.handle().clone());
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test(world)).await.expect("the test hangs")
    })
}

/// Hands bytes on between client and server, until it is told to swallow those of the connections it has.
#[derive(Default)]
struct Proxy {
    accepted: AtomicUsize,
    /// The first so many connections say nothing any more.
    swallowed: AtomicUsize,
}

impl Proxy {
    /// A proxy in front of `server`, and its own address.
    async fn start(server: &str) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (proxy, server) = (Arc::new(Self::default()), server.to_owned());
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = serving.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(serving.clone().carry(number, client, server));
            }
        });
        (proxy, address)
    }

    async fn carry(self: Arc<Self>, number: usize, client: TcpStream, server: TcpStream) {
        let mut buffers = [[0; 4096]; 2];
        loop {
            let [up, down] = &mut buffers;
            let (from, to, count) = tokio::select! {
                biased;
                ready = client.readable() => { ready.unwrap(); (&client, &server, client.try_read(up)) }
                ready = server.readable() => { ready.unwrap(); (&server, &client, server.try_read(down)) }
            };
            let bytes = match count {
                Ok(0) => return,
                Ok(count) if std::ptr::eq(from, &client) => &up[..count],
                Ok(count) => &down[..count],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            };
            // Read all the same: the sender's system finds its bytes taken, and nobody is told of anything.
            if number <= self.swallowed.load(Ordering::SeqCst) {
                continue;
            }
            let mut rest = bytes;
            while !rest.is_empty() {
                to.writable().await.unwrap();
                match to.try_write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }
    }

    fn swallow(&self) {
        self.swallowed.store(self.accepted(), Ordering::SeqCst);
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

struct Setting {
    toy: Toy,
    proxy: Arc<Proxy>,
    endpoint: GrpcEndpoint<RealWorld>,
    _serving: Serving,
}

/// A toy, reached through a proxy by a client that does not ping.
async fn setting(world: &RealWorld) -> Setting {
    let toy = Toy::default();
    let listener = world.listen("127.0.0.1:0").await.unwrap();
    let serving = serve_clients(world.clone(), listener, toy.clone(), ServeOptions::default());
    let (proxy, address) = Proxy::start(serving.address()).await;
    let options = ChannelOptions { keepalive_interval: None, ..ChannelOptions::default() };
    let endpoint = GrpcEndpoint::new(world.clone(), &address, options).unwrap();
    Setting { toy, proxy, endpoint, _serving: serving }
}

impl Setting {
    async fn put(&self, key: &str, timeout: Duration) -> Result<Response, ClientError> {
        self.endpoint.call(put(key, "v"), timeout).await
    }
}

fn expect_ended_by_its_time(answer: &Result<Response, ClientError>) {
    let error = answer.as_ref().unwrap_err();
    assert_eq!((error.error.code(), error.ambiguous), (Code::DeadlineExceeded, true), "{error:?}");
}

#[test]
fn a_call_swallowed_with_its_connection_lets_the_next_one_dial_anew() {
    run(async |world| {
        let at = setting(&world).await;
        at.put("k", LONG).await.unwrap();
        at.proxy.swallow();
        expect_ended_by_its_time(&at.put("k", SECOND / 5).await);
        at.put("k", LONG).await.unwrap();
        assert_eq!(at.proxy.accepted(), 2);
        // The new connection is kept as the old one was.
        at.put("k", LONG).await.unwrap();
        assert_eq!(at.proxy.accepted(), 2);
    });
}

#[test]
fn a_lock_that_was_swallowed_tells_it_too() {
    run(async |world| {
        let at = setting(&world).await;
        at.put("k", LONG).await.unwrap();
        at.proxy.swallow();
        let error = at.endpoint.unlock("k".into(), SECOND / 5).await.unwrap_err();
        assert_eq!(error.error.code(), Code::DeadlineExceeded, "{error:?}");
        at.put("k", LONG).await.unwrap();
        assert_eq!(at.proxy.accepted(), 2);
    });
}

#[test]
fn a_slow_call_on_a_connection_that_speaks_costs_nobody_the_connection() {
    run(async |world| {
        let at = setting(&world).await;
        at.put("k", LONG).await.unwrap();
        let slow = at.put(NEVER, SECOND);
        let others = async {
            // Answered once the slow one is there, which is to say: since it began.
            while !at.toy.seen().contains(&put(NEVER, "v")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            at.put("k", LONG).await.unwrap();
        };
        let (slow, ()) = tokio::join!(slow, others);
        expect_ended_by_its_time(&slow);
        at.put("k", LONG).await.unwrap();
        assert_eq!(at.proxy.accepted(), 1);
    });
}

#[test]
fn a_watch_stays_where_a_slow_call_was_given_up_in_silence() {
    run(async |world| {
        let at = setting(&world).await;
        let mut watch = at.endpoint.watch();
        let create = WatchCreate { range: KeyRange::single("w"), ..WatchCreate::default() };
        watch.send(WatchRequest::Create(create));
        assert!(watch.next().await.unwrap().created);
        at.put("k", LONG).await.unwrap();
        // The server takes its time for this one and says nothing; it is no black hole, but looks like one.
        expect_ended_by_its_time(&at.put(NEVER, SECOND / 5).await);
        at.put("w", LONG).await.unwrap();
        assert_eq!(watch.next().await.unwrap().events.len(), 1);
    });
}
