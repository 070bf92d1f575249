//! One connection over two directed links: what one end writes the other reads, later, or not before a cut has healed.

use super::links::Link;
use bytes::{BufMut, Bytes, BytesMut};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Bytes that may be on their way in one direction; who sends more waits, as with a full window.
const WINDOW_BYTES: usize = 256 << 10;
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Answers with eight random bytes.
pub(super) type Draw = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The connection broke: both ends should hear of a reset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What is on its way.
enum Passing {
    Bytes(Bytes),
    /// The end of the stream, in good order.
    End,
    /// The sender's end broke.
    Reset,
}

/// How long the first packets take before a connection stands, if the links let them pass; it hangs as long as one is cut.
///
/// # Errors
/// Where one of the links answers with resets.
pub(super) async fn shake_hands(there: &Link, back: &Link, draw: &Draw) -> io::Result<()> {
    for link in [there, back] {
        let delay = link.delay(0, 0, || draw());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        link.open().await;
        if link.rule().reset {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
    }
    Ok(())
}

/// Carries bytes both ways until both ends have finished. `early` came from `a` before.
///
/// # Errors
/// [`Broken`] where an end broke or a link breaks connections; the caller then resets both.
pub(super) async fn carry<A, B>(
    a: &mut A,
    b: &mut B,
    there: &Link,
    back: &Link,
    draw: &Draw,
    early: Bytes,
) -> Result<(), Broken>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (a_read, a_write) = tokio::io::split(a);
    let (b_read, b_write) = tokio::io::split(b);
    let forth = direction(a_read, b_write, there, back, draw, early);
    let home = direction(b_read, a_write, back, there, draw, Bytes::new());
    tokio::try_join!(forth, home).map(|_| ())
}

async fn direction(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    link: &Link,
    back: &Link,
    draw: &Draw,
    early: Bytes,
) -> Result<(), Broken> {
    let (send, receive) = mpsc::unbounded_channel();
    let window = Semaphore::new(WINDOW_BYTES);
    let flight = AtomicUsize::new(0);
    let take = async {
        take_in(read, link, draw, early, &window, &flight, send).await;
        Ok(())
    };
    let give = give_out(write, link, back, &window, &flight, receive);
    tokio::try_join!(take, give).map(|_| ())
}

type Sent = (Instant, Passing);

async fn take_in(
    mut read: impl AsyncRead + Unpin,
    link: &Link,
    draw: &Draw,
    early: Bytes,
    window: &Semaphore,
    flight: &AtomicUsize,
    send: mpsc::UnboundedSender<Sent>,
) {
    let mut due = Instant::now();
    // In order: what is sent later does not arrive before.
    let mut pass = |bytes: usize, what: Passing| {
        let before = flight.fetch_add(1, Ordering::Relaxed);
        due = due.max(Instant::now() + link.delay(bytes, before, || draw()));
        send.send((due, what)).is_ok()
    };
    if !early.is_empty() {
        // At most what a window holds.
        window.acquire_many(early.len() as u32).await.expect("never closed").forget();
        pass(early.len(), Passing::Bytes(early));
    }
    let mut buffer = BytesMut::new();
    loop {
        let room = window.acquire_many(CHUNK_BYTES as u32).await.expect("never closed");
        buffer.reserve(CHUNK_BYTES);
        let read = read.read_buf(&mut (&mut buffer).limit(CHUNK_BYTES)).await;
        let what = match read {
            Ok(0) => Passing::End,
            Err(_) => Passing::Reset,
            Ok(bytes) => {
                room.forget();
                window.add_permits(CHUNK_BYTES - bytes);
                Passing::Bytes(buffer.split_to(bytes).freeze())
            }
        };
        let bytes = if let Passing::Bytes(bytes) = &what { bytes.len() } else { 0 };
        let is_over = bytes == 0;
        if !pass(bytes, what) || is_over {
            return;
        }
    }
}

async fn give_out(
    mut write: impl AsyncWrite + Unpin,
    link: &Link,
    back: &Link,
    window: &Semaphore,
    flight: &AtomicUsize,
    mut receive: mpsc::UnboundedReceiver<Sent>,
) -> Result<(), Broken> {
    while let Some((due, what)) = receive.recv().await {
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        // What comes up against a cut stays where it is until the link is back.
        link.open().await;
        if let Passing::Bytes(bytes) = &what {
            link.carry(bytes.len()).await;
        }
        flight.fetch_sub(1, Ordering::Relaxed);
        match what {
            Passing::Bytes(_) | Passing::Reset if link.rule().reset => return Err(Broken),
            Passing::Bytes(bytes) => {
                if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                    // Nobody is there any more; the answer that says so comes over the way back.
                    back.open().await;
                    return Err(Broken);
                }
                window.add_permits(bytes.len());
            }
            Passing::Reset => return Err(Broken),
            Passing::End => {
                let _ = write.shutdown().await;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads what an end sends before its connection stands, as much as a window holds. Ends where the end gives up.
pub(super) async fn listen_early(read: &mut (impl AsyncRead + Unpin), early: &mut BytesMut) {
    while early.len() < WINDOW_BYTES / 2 {
        early.reserve(CHUNK_BYTES);
        match read.read_buf(&mut (&mut *early).limit(CHUNK_BYTES)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::super::links::Links;
    use super::*;
    use seatrial_scenario::fault::{LinkRule, Place};
    use std::time::Duration;
    use tokio::io::{DuplexStream, duplex};

    const A: Place = Place::Client(1);
    const B: Place = Place::Client(2);
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(150);

    /// Two ends with a pipe between them, and how the pipe ends.
    fn pair(links: &Links) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<Result<(), Broken>>) {
        let (ours, mut a) = duplex(1 << 20);
        let (theirs, mut b) = duplex(1 << 20);
        let (there, back) = (links.link(A, B), links.link(B, A));
        let task = tokio::spawn(async move {
            let draw: Draw = Arc::new(|| 0);
            carry(&mut a, &mut b, &there, &back, &draw, Bytes::from_static(b"hello ")).await
        });
        (ours, theirs, task)
    }

    async fn expect(stream: &mut DuplexStream, text: &str) {
        let mut buffer = vec![0; text.len()];
        let read = tokio::time::timeout(LONG, stream.read_exact(&mut buffer)).await;
        read.expect("in time").expect("the stream goes on");
        assert_eq!(String::from_utf8_lossy(&buffer), text);
    }

    async fn expect_silence(stream: &mut DuplexStream) {
        let mut byte = [0];
        assert!(tokio::time::timeout(SHORT, stream.read(&mut byte)).await.is_err(), "heard {byte:?}");
    }

    #[tokio::test]
    async fn a_cut_stops_one_direction_and_what_was_sent_arrives_in_order_after_the_heal() {
        let links = Links::default();
        let (mut a, mut b, task) = pair(&links);
        expect(&mut b, "hello ").await;
        links.set(A, B, LinkRule { cut: true, ..LinkRule::default() });
        a.write_all(b"one ").await.unwrap();
        expect_silence(&mut b).await;
        a.write_all(b"two ").await.unwrap();
        b.write_all(b"answer").await.unwrap();
        expect(&mut a, "answer").await;
        expect_silence(&mut b).await;
        // Its end waits as well.
        a.shutdown().await.unwrap();
        expect_silence(&mut b).await;
        links.set(A, B, LinkRule::default());
        expect(&mut b, "one two ").await;
        assert_eq!(tokio::time::timeout(LONG, b.read(&mut [0])).await.unwrap().unwrap(), 0, "the end");
        drop(b);
        assert_eq!(tokio::time::timeout(LONG, task).await.unwrap().unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn latency_is_that_of_the_direction_and_does_not_hold_up_what_follows() {
        let links = Links::default();
        let (mut a, mut b, _task) = pair(&links);
        expect(&mut b, "hello ").await;
        let latency = Duration::from_millis(400);
        links.set(A, B, LinkRule { extra_latency: latency, ..LinkRule::default() });
        let begun = Instant::now();
        for _ in 0..20 {
            a.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        expect(&mut b, "x").await;
        assert!(begun.elapsed() >= latency, "{:?}", begun.elapsed());
        expect(&mut b, &"x".repeat(19)).await;
        assert!(begun.elapsed() < latency * 10, "one after the other: {:?}", begun.elapsed());
        let begun = Instant::now();
        b.write_all(b"y").await.unwrap();
        expect(&mut a, "y").await;
        assert!(begun.elapsed() < latency, "the other direction: {:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_link_that_resets_breaks_the_connection_at_the_next_byte() {
        let links = Links::default();
        let (mut a, mut b, task) = pair(&links);
        expect(&mut b, "hello ").await;
        links.set(A, B, LinkRule { reset: true, ..LinkRule::default() });
        b.write_all(b"back").await.unwrap();
        expect(&mut a, "back").await;
        assert!(!task.is_finished(), "nothing was sent over it");
        a.write_all(b"x").await.unwrap();
        assert_eq!(tokio::time::timeout(LONG, task).await.unwrap().unwrap(), Err(Broken));
    }

    #[tokio::test]
    async fn who_sends_into_a_cut_waits_once_the_window_is_full() {
        let links = Links::default();
        let (mut a, mut b, _task) = pair(&links);
        expect(&mut b, "hello ").await;
        links.set(A, B, LinkRule { cut: true, ..LinkRule::default() });
        // Whatever arrives is read.
        let reading = tokio::spawn(async move { tokio::io::copy(&mut b, &mut tokio::io::sink()).await });
        let many = vec![7; 4 << 20];
        let sending = tokio::time::timeout(Duration::from_millis(500), a.write_all(&many)).await;
        assert!(sending.is_err(), "it took all of it");
        reading.abort();
    }

    #[tokio::test]
    async fn hands_are_not_shaken_across_a_cut_in_either_direction() {
        for (from, to) in [(A, B), (B, A)] {
            let links = Links::default();
            links.set(from, to, LinkRule { cut: true, ..LinkRule::default() });
            let (there, back) = (links.link(A, B), links.link(B, A));
            let draw: Draw = Arc::new(|| 0);
            let shaking = tokio::spawn(async move { shake_hands(&there, &back, &draw).await });
            tokio::time::sleep(SHORT).await;
            assert!(!shaking.is_finished());
            links.set(from, to, LinkRule::default());
            tokio::time::timeout(LONG, shaking).await.unwrap().unwrap().unwrap();
        }
    }
}
