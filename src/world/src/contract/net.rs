//! Streams and listeners.

use super::Env;
use crate::{Listener, World, timeout};
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
/// Nothing here should take so long; a world that hangs fails instead of blocking the tests.
const LONG: Duration = Duration::from_secs(20);

impl<W: World> Env<W> {
    /// A listener and the address at which the client reaches it.
    async fn listen(&self) -> (W::Listener, String) {
        let listener = self.server.listen(&format!("{}:0", self.host)).await.expect("listen");
        let local = listener.local_address();
        let port = local.rsplit(':').next().expect("an address has a port");
        assert_ne!(port, "0", "{local} does not name the drawn port");
        (listener, format!("{}:{port}", self.host))
    }

    /// A connection: the server's end, the client's.
    async fn pair(&self) -> (W::Stream, W::Stream) {
        let (mut listener, address) = self.listen().await;
        let client = self.client.connect(&address).await.expect("connect");
        let (server, _peer) = listener.accept().await.expect("accept");
        (server, client)
    }
}

async fn copy_back<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

/// Bytes of which every position can be told from its neighbours.
fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| ((i >> 8) as u8).wrapping_mul(31).wrapping_add(i as u8).wrapping_add(salt)).collect()
}

/// [`World::connect`], [`Listener::accept`]: bytes come through in order, without a flush.
pub async fn what_is_sent_is_echoed<W: World>(env: Env<W>) {
    let (mut listener, address) = env.listen().await;
    env.server.spawn(async move {
        let (stream, peer) = listener.accept().await.expect("accept");
        assert!(peer.contains(':'), "a peer's address is host:port, not {peer}");
        copy_back(stream).await.expect("echo");
    });
    let mut stream = env.client.connect(&address).await.expect("connect");
    for round in 0..20u8 {
        let sent = pattern(usize::from(round) * 37 + 1, round);
        stream.write_all(&sent).await.expect("write");
        let mut back = vec![0; sent.len()];
        timeout(&env.client, LONG, stream.read_exact(&mut back)).await.expect("in time").expect("read");
        assert_eq!(back, sent, "round {round}");
    }
}

/// A shutdown of one direction leaves the other open (FIN).
pub async fn a_half_closed_stream_still_receives<W: World>(env: Env<W>) {
    let (mut server, mut client) = env.pair().await;
    client.write_all(b"question").await.expect("write");
    client.shutdown().await.expect("shutdown");
    let mut question = String::new();
    let read = timeout(&env.server, LONG, server.read_to_string(&mut question)).await;
    read.expect("the end of what was sent arrives").expect("read to the end");
    assert_eq!(question, "question");
    server.write_all(b"answer").await.expect("the other direction is open");
    drop(server);
    let mut answer = String::new();
    let read = timeout(&env.client, LONG, client.read_to_string(&mut answer)).await;
    read.expect("the end of the answer arrives").expect("read");
    assert_eq!(answer, "answer");
    assert!(client.write_all(b"more").await.is_err(), "wrote after a shutdown");
}

/// A dropped stream reads as its end; who goes on writing to it gets an error before long.
pub async fn a_dropped_stream_ends_the_peers_reading<W: World>(env: Env<W>) {
    let (server, mut client) = env.pair().await;
    drop(server);
    let count =
        timeout(&env.client, LONG, client.read(&mut [0; 8])).await.expect("in time").expect("a clean end");
    assert_eq!(count, 0);
    let mut failure = None;
    for _ in 0..200 {
        match client.write_all(b"into the void").await {
            Ok(()) => env.client.sleep(MS * 5).await,
            Err(error) => {
                failure = Some(error.kind());
                break;
            }
        }
    }
    let failure = failure.expect("writing to a closed peer never failed");
    assert!(matches!(failure, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{failure:?}");
}

/// Nobody listens: refused, at once.
pub async fn nobody_listening_is_refused<W: World>(env: Env<W>) {
    let (listener, address) = env.listen().await;
    drop(listener);
    let refused = timeout(&env.client, Duration::from_secs(2), env.client.connect(&address)).await;
    let error = refused.expect("a refusal comes quickly").err().expect("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// An address has one listener.
pub async fn a_listener_is_alone_at_its_address<W: World>(env: Env<W>) {
    let (_listener, address) = env.listen().await;
    let second = env.server.listen(&address).await.err().expect("the address is taken");
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
}

/// A dropped listener frees its address, and connections it had not accepted end.
pub async fn a_dropped_listener_refuses_and_frees_its_address<W: World>(env: Env<W>) {
    let (listener, address) = env.listen().await;
    let mut waiting = env.client.connect(&address).await.expect("the backlog takes it");
    drop(listener);
    let end = timeout(&env.client, LONG, waiting.read(&mut [0; 1])).await.expect("in time");
    assert!(!matches!(end, Ok(1..)), "read {end:?} from nobody");
    drop(waiting);
    let error = env.client.connect(&address).await.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let mut again = env.server.listen(&address).await.expect("the address is free again");
    let (accepted, connected) = futures::future::join(again.accept(), env.client.connect(&address)).await;
    accepted.expect("accept");
    connected.expect("connect");
}

/// Back-pressure: what a writer can push while nobody reads is bounded, and comes through once somebody does.
pub async fn a_reader_who_does_not_read_bounds_the_writer<W: World>(env: Env<W>) {
    const CHUNK: usize = 16 * 1024;
    const BOUND: usize = 64 * 1024 * 1024;
    let (mut server, mut client) = env.pair().await;
    let pushed = Arc::new(AtomicUsize::new(0));
    {
        let pushed = pushed.clone();
        env.client.spawn(async move {
            let chunk = pattern(CHUNK, 0);
            while pushed.load(Ordering::Relaxed) < BOUND * 2 && client.write_all(&chunk).await.is_ok() {
                pushed.fetch_add(CHUNK, Ordering::Relaxed);
            }
        });
    }
    let mut before = usize::MAX;
    for _ in 0..100 {
        env.server.sleep(MS * 100).await;
        let now = pushed.load(Ordering::Relaxed);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < BOUND, "{before} bytes were pushed to a reader who does not read");
    let mut bytes = vec![0; before];
    timeout(&env.server, LONG, server.read_exact(&mut bytes)).await.expect("in time").expect("read");
    let expected = pattern(CHUNK, 0);
    assert!(bytes.chunks(CHUNK).all(|chunk| chunk == &expected[..chunk.len()]), "bytes were mixed up");
    for _ in 0..100 {
        if pushed.load(Ordering::Relaxed) > before {
            return;
        }
        env.server.sleep(MS * 10).await;
    }
    panic!("the writer did not go on after the reader had read");
}

/// Eight mebibytes, in writes and reads of unlike sizes, with both sides at work.
pub async fn a_large_transfer_arrives_whole<W: World>(env: Env<W>) {
    const TOTAL: usize = 8 * 1024 * 1024;
    let (mut server, mut client) = env.pair().await;
    let sent = Arc::new(pattern(TOTAL, 3));
    {
        let sent = sent.clone();
        env.client.spawn(async move {
            for chunk in sent.chunks(100_003) {
                client.write_all(chunk).await.expect("write");
            }
            client.shutdown().await.expect("shutdown");
        });
    }
    let mut received = Vec::with_capacity(TOTAL);
    let whole = timeout(&env.server, LONG * 3, server.read_to_end(&mut received)).await;
    whole.expect("in time").expect("read");
    assert_eq!(received.len(), TOTAL);
    assert!(received == *sent, "the bytes differ");
}

/// Many connections at once.
pub async fn connections_do_not_mix<W: World>(env: Env<W>) {
    let (mut listener, address) = env.listen().await;
    let server = env.server.clone();
    env.server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            server.spawn(async move {
                let _ = copy_back(stream).await;
            });
        }
    });
    let exchanges = (0..20u8).map(|salt| {
        let (world, address) = (env.client.clone(), address.clone());
        async move {
            let mut stream = world.connect(&address).await.expect("connect");
            let sent = pattern(10_000, salt);
            stream.write_all(&sent).await.expect("write");
            stream.shutdown().await.expect("shutdown");
            let mut back = Vec::new();
            timeout(&world, LONG, stream.read_to_end(&mut back)).await.expect("in time").expect("read");
            assert!(back == sent, "connection {salt} got another's bytes");
        }
    });
    futures::future::join_all(exchanges).await;
}
