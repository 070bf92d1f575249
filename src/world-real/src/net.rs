//! TCP.

use seatrial_world::Listener;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Listens at an address.
#[derive(Debug)]
pub struct RealListener {
    inner: TcpListener,
    local: String,
}

impl RealListener {
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let inner = TcpListener::bind(address).await.map_err(|error| at(address, &error))?;
        let local = inner.local_addr()?.to_string();
        Ok(Self { inner, local })
    }
}

impl Listener for RealListener {
    type Stream = RealStream;

    async fn accept(&mut self) -> io::Result<(RealStream, String)> {
        let (inner, peer) = self.inner.accept().await?;
        // A peer that is gone already shows at the first read; it is no failure of the listener.
        let _ = inner.set_nodelay(true);
        Ok((RealStream { inner }, peer.to_string()))
    }

    fn local_address(&self) -> String {
        self.local.clone()
    }
}

pub(crate) async fn connect(address: &str) -> io::Result<RealStream> {
    let inner = TcpStream::connect(address).await.map_err(|error| at(address, &error))?;
    inner.set_nodelay(true)?;
    Ok(RealStream { inner })
}

fn at(address: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

/// A TCP connection without Nagle's delay.
#[derive(Debug)]
pub struct RealStream {
    inner: TcpStream,
}

impl AsyncRead for RealStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for RealStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
