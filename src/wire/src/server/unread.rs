//! How much is held of answers that clients have asked for and not read.
//!
//! HTTP/2 lets a client ask for as much as it likes and read none of it. What has been answered waits in memory then, so
//! without a bound a few such clients could have all of it. Where the bound is reached, the connection for which most is
//! held is closed, since it does not read or cannot keep up; the others go on.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;

/// Smaller pieces are not counted: most of them wait in buffers of the kernel.
pub(super) const SMALL_BYTES: usize = 16 << 10;

#[derive(Debug, Default)]
struct Ledger {
    /// Of all connections.
    held: usize,
    connections: BTreeMap<u64, Account>,
    opened: u64,
}

#[derive(Debug)]
struct Account {
    held: usize,
    close: Option<oneshot::Sender<Infallible>>,
}

/// What is held for all clients of a server.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    ledger: Arc<Mutex<Ledger>>,
    bytes_max: usize,
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().expect("no holder panics")
}

impl Unread {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { ledger: Arc::default(), bytes_max }
    }

    /// A new connection, and what is ready once it has to be closed.
    pub(super) fn open(&self) -> (Reader, oneshot::Receiver<Infallible>) {
        let (close, closed) = oneshot::channel();
        let mut ledger = lock(&self.ledger);
        ledger.opened += 1;
        let number = ledger.opened;
        ledger.connections.insert(number, Account { held: 0, close: Some(close) });
        (Reader(Arc::new(Connection { unread: self.clone(), number })), closed)
    }
}

#[derive(Debug)]
struct Connection {
    unread: Unread,
    number: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.unread.ledger).connections.remove(&self.number);
    }
}

/// The client at the other end of a connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reader(Arc<Connection>);

impl Reader {
    /// Room for so many bytes. One answer alone may have more than there is.
    ///
    /// # Errors
    /// `etcdserver: too many requests`, where no connection holds more than this one.
    pub(super) fn take(&self, bytes: usize) -> Result<Share, Status> {
        let share = |bytes| Ok(Share { reader: self.clone(), bytes });
        if bytes <= SMALL_BYTES {
            return share(0);
        }
        let Connection { unread, number } = &*self.0;
        let mut ledger = lock(&unread.ledger);
        let mine = ledger.connections.get(number).map_or(0, |account| account.held);
        while ledger.held > 0 && ledger.held + bytes > unread.bytes_max {
            // Of those that hold as much, the oldest.
            let most = ledger.connections.values_mut().rev().max_by_key(|account| account.held);
            let Some(most) = most.filter(|account| account.held > mine) else {
                return Err(Status::resource_exhausted(
                    "etcdserver: too many requests: too much is waiting on this connection to be read",
                ));
            };
            // What it holds comes back when its tasks end, which is soon: it counts no longer.
            most.close = None;
            let back = std::mem::take(&mut most.held);
            ledger.held -= back;
        }
        ledger.held += bytes;
        if let Some(account) = ledger.connections.get_mut(number) {
            account.held += bytes;
        }
        share(bytes)
    }

    /// The answer of a call with one answer, held as a whole from now on; or the refusal to hold it.
    pub(super) async fn hold(&self, response: http::Response<Body>) -> http::Response<Body> {
        let (head, mut body) = response.into_parts();
        let mut frames = VecDeque::with_capacity(2);
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            match frame {
                None => break,
                Some(Err(status)) => return status.into_http(),
                Some(Ok(frame)) => frames.push_back(frame),
            }
        }
        let bytes = frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        match self.take(bytes) {
            Ok(share) => http::Response::from_parts(head, Body::new(Held { frames, share: Arc::new(share) })),
            Err(refusal) => refusal.into_http(),
        }
    }
}

/// A part of what may be held, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    reader: Reader,
    bytes: usize,
}

impl Share {
    /// Gives back all but so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        if less == 0 {
            return;
        }
        self.bytes -= less;
        let Connection { unread, number } = &*self.reader.0;
        let mut ledger = lock(&unread.ledger);
        // Of a connection that is being closed nothing is counted any more.
        let Some(account) = ledger.connections.get_mut(number).filter(|account| account.close.is_some())
        else {
            return;
        };
        account.held -= less;
        ledger.held -= less;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Bytes that keep their share until the last of them is written.
struct Piece {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer with its share.
struct Held {
    frames: VecDeque<Frame<Bytes>>,
    share: Arc<Share>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(frame) = self.frames.pop_front() else { return Poll::Ready(None) };
        if self.share.bytes == 0 {
            return Poll::Ready(Some(Ok(frame)));
        }
        // What the connection has taken over it holds on to until it is written.
        let share = self.share.clone();
        Poll::Ready(Some(Ok(frame.map_data(|bytes| Bytes::from_owner(Piece { bytes, _share: share })))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes: usize = self.frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        SizeHint::with_exact(bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(unread: &Unread) -> usize {
        lock(&unread.ledger).held
    }

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let unread = Unread::new(10 * SMALL_BYTES);
        let (reader, mut closed) = unread.open();
        drop(reader.take(100 * SMALL_BYTES).expect("one alone may be larger than all"));
        let mut first = reader.take(8 * SMALL_BYTES).unwrap();
        assert_eq!(reader.take(3 * SMALL_BYTES).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(reader.take(SMALL_BYTES).is_ok(), "small answers are always given");
        first.shrink(2 * SMALL_BYTES);
        let second = reader.take(3 * SMALL_BYTES).unwrap();
        drop((first, second));
        assert_eq!(held(&unread), 0);
        assert_eq!(closed.try_recv(), Err(oneshot::error::TryRecvError::Empty), "it reads");
    }

    #[test]
    fn the_connection_that_holds_most_is_closed_for_another() {
        let unread = Unread::new(10 * SMALL_BYTES);
        let (idle, mut idle_closed) = unread.open();
        let (slow, mut slow_closed) = unread.open();
        let (reader, mut closed) = unread.open();
        let shares = (idle.take(6 * SMALL_BYTES).unwrap(), slow.take(4 * SMALL_BYTES).unwrap());
        let mine = reader.take(2 * SMALL_BYTES).unwrap();
        assert_eq!(idle_closed.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(slow_closed.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(held(&unread), 6 * SMALL_BYTES);
        drop(slow.take(4 * SMALL_BYTES).unwrap());
        let refused = slow.take(5 * SMALL_BYTES).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "nobody holds more");
        assert_eq!(closed.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop((shares, mine, idle, slow));
        assert_eq!(held(&unread), 0, "nothing is given back twice");
        drop(reader);
        assert!(lock(&unread.ledger).connections.is_empty());
    }
}
