//! Guards a server against clients that ping too often, as Go's gRPC servers do and as neither hyper nor h2 can: it looks at
//! the frames as they pass.
//!
//! A client may ping while it has a call open, not sooner than the agreed time after its last ping; without a call open
//! every two hours. Whatever the server sends in calls forgives all. After the third offence the client is told
//! `too_many_pings`, and its connection ends.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Offences that are passed over.
const STRIKES_MAX: u32 = 2;

/// Between pings on a connection without calls.
const IDLE_MIN_TIME: Duration = Duration::from_secs(2 * 3600);

/// What a connection of HTTP/2 begins with, before its first frame.
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Finds the heads of frames in bytes that come in pieces.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes still to come before the next head.
    left: usize,
    head: [u8; 9],
    seen: usize,
}

impl Frames {
    /// The next head in the bytes, which are shortened by what was looked at.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.left.min(bytes.len());
        self.left -= skipped;
        *bytes = &bytes[skipped..];
        if self.left > 0 {
            return None;
        }
        let taken = (self.head.len() - self.seen).min(bytes.len());
        self.head[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
        self.seen += taken;
        *bytes = &bytes[taken..];
        if self.seen < self.head.len() {
            return None;
        }
        self.seen = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Head { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    }

    /// Bytes of the present frame still to come; `None` at the beginning of one.
    fn within(&self) -> Option<usize> {
        match (self.left, self.seen) {
            (0, 0) => None,
            (0, seen) => Some(self.head.len() - seen),
            (left, _) => Some(left),
        }
    }
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Guard {
    min_time: Duration,
    incoming: Frames,
    outgoing: Frames,
    /// Calls that are open.
    streams: BTreeSet<u32>,
    last_stream: u32,
    last_ping: Option<Duration>,
    strikes: u32,
    /// Something was sent in a call since the last ping.
    forgiven: bool,
}

impl Guard {
    pub(super) fn new(min_time: Duration) -> Self {
        Self {
            min_time,
            incoming: Frames { left: PREFACE_BYTES, ..Frames::default() },
            outgoing: Frames::default(),
            streams: BTreeSet::new(),
            last_stream: 0,
            last_ping: None,
            strikes: 0,
            forgiven: true,
        }
    }

    /// The client has gone too far.
    fn is_over(&self) -> bool {
        self.strikes > STRIKES_MAX
    }

    fn received(&mut self, mut bytes: &[u8], now: impl Fn() -> Duration) {
        while let Some(head) = self.incoming.next(&mut bytes) {
            match head.kind {
                HEADERS if head.stream > self.last_stream => {
                    self.last_stream = head.stream;
                    self.streams.insert(head.stream);
                }
                RST_STREAM => drop(self.streams.remove(&head.stream)),
                PING if head.flags & ACK == 0 => self.pinged(now()),
                _ => {}
            }
        }
    }

    fn sent(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.outgoing.next(&mut bytes) {
            if matches!(head.kind, DATA | HEADERS) {
                self.forgiven = true;
            }
            let ends = matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM != 0;
            if ends || head.kind == RST_STREAM {
                self.streams.remove(&head.stream);
            }
        }
    }

    fn pinged(&mut self, now: Duration) {
        let last = self.last_ping.replace(now);
        if std::mem::take(&mut self.forgiven) {
            self.strikes = 0;
            return;
        }
        let min_time = if self.streams.is_empty() { IDLE_MIN_TIME } else { self.min_time };
        if last.is_some_and(|last| now < last + min_time) {
            self.strikes += 1;
        }
    }

    /// The frame that says why the connection ends.
    fn farewell(&self) -> Vec<u8> {
        let why = b"too_many_pings";
        let mut frame = vec![0, 0, 8 + why.len() as u8, GOAWAY, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&self.last_stream.to_be_bytes());
        frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend_from_slice(why);
        frame
    }
}

/// A stream with its guard.
pub(super) struct Guarded<S, N> {
    stream: S,
    guard: Guard,
    now: N,
    /// What is left to be said before the end.
    farewell: Option<Vec<u8>>,
}

impl<S, N> Guarded<S, N> {
    pub(super) fn new(stream: S, guard: Guard, now: N) -> Self {
        Self { stream, guard, now, farewell: None }
    }
}

impl<S: AsyncWrite + Unpin, N> Guarded<S, N> {
    /// Says why the connection ends, between two frames, and ends it.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let farewell = self.farewell.get_or_insert_with(|| self.guard.farewell());
        while !farewell.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, farewell)) {
                Ok(count) => drop(farewell.drain(..count)),
                Err(error) => return Poll::Ready(error),
            }
        }
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(context)) {
            return Poll::Ready(error);
        }
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, "the client sent too many pings"))
    }
}

impl<S: AsyncRead + Unpin, N: Fn() -> Duration + Unpin> AsyncRead for Guarded<S, N> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.guard.received(&buffer.filled()[before..], &this.now);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, N: Unpin> AsyncWrite for Guarded<S, N> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut bytes = bytes;
        // The answer to the ping comes along here, so this is not waited for in vain.
        if this.guard.is_over() {
            match this.guard.outgoing.within() {
                None => return this.poll_farewell(context).map(Err),
                Some(left) => bytes = &bytes[..left.min(bytes.len())],
            }
        }
        let count = ready!(Pin::new(&mut this.stream).poll_write(context, bytes))?;
        this.guard.sent(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.guard.is_over() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| &**slice));
        }
        let this = &mut *self;
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, slices))?;
        let mut left = count;
        for slice in slices {
            let part = left.min(slice.len());
            this.guard.sent(&slice[..part]);
            left -= part;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(vec![7; payload]);
        bytes
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A guard that has seen the preface.
    fn guard() -> Guard {
        let mut guard = Guard::new(seconds(5));
        guard.received(&[0; PREFACE_BYTES], || seconds(0));
        guard
    }

    fn ping(guard: &mut Guard, at: u64) -> bool {
        guard.received(&frame(PING, 0, 0, 8), || seconds(at));
        guard.is_over()
    }

    #[test]
    fn heads_are_found_however_the_bytes_come() {
        let all = [frame(HEADERS, 4, 1, 30), frame(DATA, 1, 1, 0), frame(PING, 0, 0, 8)].concat();
        for piece in 1..all.len() {
            let mut frames = Frames::default();
            let mut kinds = Vec::new();
            for mut piece in all.chunks(piece) {
                while let Some(head) = frames.next(&mut piece) {
                    kinds.push((head.kind, head.flags, head.stream));
                }
            }
            assert_eq!(kinds, [(HEADERS, 4, 1), (DATA, 1, 1), (PING, 0, 0)], "in pieces of {piece}");
            assert_eq!(frames.within(), None);
        }
    }

    #[test]
    fn a_call_is_open_until_the_server_ends_it_or_either_side_gives_it_up() {
        let mut guard = guard();
        guard.received(
            &[frame(HEADERS, 5, 1, 3), frame(HEADERS, 4, 3, 3), frame(HEADERS, 4, 5, 3)].concat(),
            || seconds(0),
        );
        // Trailers of a request open nothing anew.
        guard.received(&frame(HEADERS, 5, 3, 3), || seconds(0));
        assert_eq!(guard.streams, [1, 3, 5].into());
        guard.sent(&[frame(HEADERS, 4, 1, 3), frame(DATA, 0, 1, 9), frame(HEADERS, 5, 1, 3)].concat());
        guard.received(&frame(RST_STREAM, 0, 3, 4), || seconds(0));
        guard.sent(&frame(RST_STREAM, 0, 5, 4));
        assert_eq!(guard.streams, [].into());
    }

    #[test]
    fn pings_at_the_agreed_pace_are_welcome_and_faster_ones_are_not() {
        let mut guard = guard();
        guard.received(&frame(HEADERS, 5, 1, 3), || seconds(0));
        assert!((1..50).all(|turn| !ping(&mut guard, turn * 5)));
        assert_eq!([246, 247, 248].map(|at| ping(&mut guard, at)), [false, false, true]);
    }

    #[test]
    fn what_the_server_sends_in_a_call_forgives() {
        let mut guard = guard();
        guard.received(&frame(HEADERS, 5, 1, 3), || seconds(0));
        for turn in 0..50 {
            guard.sent(&frame(DATA, 0, 1, 3));
            assert!(!ping(&mut guard, turn));
        }
        // Its own pings and settings do not.
        guard.sent(&[frame(4, 0, 0, 6), frame(PING, ACK, 0, 8)].concat());
        assert_eq!([50, 51, 52].map(|at| ping(&mut guard, at)), [false, false, true]);
    }

    #[test]
    fn without_a_call_there_is_nothing_to_ping_for() {
        let mut guard = guard();
        assert!(!ping(&mut guard, 0));
        assert_eq!([100, 200, 300].map(|at| ping(&mut guard, at)), [false, false, true]);
        let farewell = guard.farewell();
        assert_eq!(farewell[3], GOAWAY);
        assert!(farewell.ends_with(b"too_many_pings"));
        assert_eq!(farewell.len(), 9 + 22);
    }
}
