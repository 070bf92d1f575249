//! What a connection has heard, and whether somebody has waited on it in vain.
//!
//! A network that swallows everything looks like a slow server. Pings tell them apart, but servers of gRPC allow them
//! rarely; a call that ended without one byte from the other side is the earlier sign.

use seatrial_world::World;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection, as those know it who wait for answers on it. Moments are nanoseconds on the world's clock, plus one;
/// zero is never.
#[derive(Debug, Default)]
pub(super) struct Line {
    heard: AtomicU64,
    /// When the youngest call began that was given up.
    given_up: AtomicU64,
}

impl Line {
    fn hear(&self, now: Duration) {
        self.heard.store(moment(now), Ordering::Relaxed);
    }

    /// A call that began then has found no answer in its time.
    pub(super) fn give_up(&self, begun: Duration) {
        self.given_up.fetch_max(moment(begun), Ordering::Relaxed);
    }

    /// Whether nothing at all has come since the beginning of a call that was given up. An answer that is merely late takes
    /// this back. What came in the very moment of the beginning was there before.
    pub(super) fn is_dead(&self) -> bool {
        let given_up = self.given_up.load(Ordering::Relaxed);
        given_up != 0 && self.heard.load(Ordering::Relaxed) <= given_up
    }
}

fn moment(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A stream that tells its line when bytes come.
pub(super) struct Listened<W, S> {
    pub(super) world: W,
    pub(super) line: Arc<Line>,
    pub(super) stream: S,
}

impl<W: World, S: AsyncRead + Unpin> AsyncRead for Listened<W, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.line.hear(this.world.now());
        }
        read
    }
}

impl<W: World, S: AsyncWrite + Unpin> AsyncWrite for Listened<W, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn only_silence_since_a_call_began_that_was_given_up_makes_a_line_dead() {
        let line = Line::default();
        assert!(!line.is_dead(), "nobody has asked");
        line.hear(S);
        line.give_up(Duration::ZERO);
        assert!(!line.is_dead(), "something came while it waited");
        line.give_up(S);
        assert!(line.is_dead(), "what came in the moment of the beginning was there before");
        line.give_up(Duration::ZERO);
        assert!(line.is_dead(), "an older call that ends later changes nothing");
        line.hear(S * 2);
        assert!(!line.is_dead(), "an answer that is late takes it back");
        let silent = Line::default();
        silent.give_up(Duration::ZERO);
        assert!(silent.is_dead(), "it never said a word");
    }
}
