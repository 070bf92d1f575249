//! Which protocol a connection speaks, told by its first bytes, which are then put back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How every HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/2 with prior knowledge, as gRPC does.
    Http2,
    /// Anything else is taken for HTTP/1.1, whose parser refuses what is not.
    Http1,
}

/// Counters of bytes received and sent.
type Counters = (Arc<AtomicU64>, Arc<AtomicU64>);

/// Reads until the protocol is clear. `None`: the peer left without a word. Connections of HTTP/2 are counted from then on.
pub(super) async fn sniff<S>(mut stream: S, counters: Counters) -> io::Result<Option<(Rewound<S>, Protocol)>>
where
    S: AsyncRead + Unpin,
{
    let mut seen = [0; PREFACE.len()];
    let mut len = 0;
    while len < PREFACE.len() && PREFACE.starts_with(&seen[..len]) {
        let read = stream.read(&mut seen[len..]).await?;
        if read == 0 {
            break;
        }
        len += read;
    }
    if len == 0 {
        return Ok(None);
    }
    let protocol = if seen[..len] == *PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    let counters = (protocol == Protocol::Http2).then_some(counters);
    Ok(Some((Rewound { prefix: seen, start: 0, end: len, stream, counters }, protocol)))
}

/// A stream whose first bytes are given out once more.
pub(super) struct Rewound<S> {
    prefix: [u8; PREFACE.len()],
    start: usize,
    end: usize,
    stream: S,
    counters: Option<Counters>,
}

impl<S> Rewound<S> {
    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some((_, sent)), Poll::Ready(Ok(bytes))) = (&self.counters, &written) {
            sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start < self.end {
            let count = (self.end - self.start).min(buffer.remaining());
            buffer.put_slice(&self.prefix[self.start..self.start + count]);
            self.start += count;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some((received, _)) = &self.counters {
            received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(written)
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
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Hands out one byte a time, as a slow peer would.
    struct Drip(&'static [u8]);

    impl AsyncRead for Drip {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.0.len().min(1);
            buffer.put_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Poll::Ready(Ok(()))
        }
    }

    fn sniffed(bytes: &'static [u8]) -> (Protocol, Vec<u8>) {
        block_on(async {
            let (mut stream, protocol) = sniff(Drip(bytes), Counters::default()).await.unwrap().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            (protocol, all)
        })
    }

    #[test]
    fn the_preface_is_told_from_http1_and_no_byte_is_lost() {
        let h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04";
        assert_eq!(sniffed(h2), (Protocol::Http2, h2.to_vec()));
        let h1 = b"GET /health HTTP/1.1\r\n\r\n";
        assert_eq!(sniffed(h1), (Protocol::Http1, h1.to_vec()));
        let short = b"PRI * HT";
        assert_eq!(sniffed(short), (Protocol::Http1, short.to_vec()));
        let put = b"PUT /x";
        assert_eq!(sniffed(put), (Protocol::Http1, put.to_vec()));
    }

    #[test]
    fn a_peer_that_leaves_at_once_is_nobody() {
        assert!(block_on(sniff(Drip(b""), Counters::default())).unwrap().is_none());
    }
}
