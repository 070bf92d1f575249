//! A layer that may lie around a stream: encryption, and who the other side has proved to be.
//!
//! The rooms that dial and listen take such a layer as a value and know nothing of certificates.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Any ordered stream of bytes.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream behind its handshake.
pub struct Secured {
    /// What is said here is encrypted.
    pub stream: Box<dyn Duplex>,
    /// The common name of the other side's certificate, where one was asked for and has passed.
    pub common_name: Option<String>,
}

/// A handshake under way. Its error is a sentence for a person. It has no limit of time; the caller sets one.
pub type Handshake = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

/// Wraps streams of any world.
pub trait Secure: Debug + Send + Sync + 'static {
    /// The handshake of the side that listened.
    fn accept(&self, stream: Box<dyn Duplex>) -> Handshake;

    /// The handshake of the side that dialled `host`, a name or an address without port and brackets.
    fn connect(&self, stream: Box<dyn Duplex>, host: &str) -> Handshake;
}

/// The host in `host:port`, without the brackets of an IPv6 address.
#[must_use]
pub fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A world's own stream, or one with a layer around it.
pub enum Layered<S> {
    /// As the world gave it.
    Plain(S),
    /// Behind a handshake.
    Secured(Box<dyn Duplex>),
}

impl<S> Layered<S> {
    fn inner(&mut self) -> Pin<&mut dyn Duplex>
    where
        S: Duplex,
    {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Secured(stream) => Pin::new(&mut **stream),
        }
    }
}

impl<S: Duplex> AsyncRead for Layered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_read(context, buffer)
    }
}

impl<S: Duplex> AsyncWrite for Layered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().inner().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner().poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().inner().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secured(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_is_found_in_an_address() {
        assert_eq!(host_of("a.b:1"), "a.b");
        assert_eq!(host_of("[::1]:2379"), "::1");
        assert_eq!(host_of("127.0.0.1:80"), "127.0.0.1");
    }
}
