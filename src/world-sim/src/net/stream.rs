//! What the application holds of the network.

use super::ConnId;
use crate::core::Core;
use seatrial_world::Listener;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a simulated connection.
pub struct SimStream {
    core: Arc<Core>,
    id: ConnId,
    side: usize,
    node: u32,
    incarnation: u32,
}

impl SimStream {
    pub(crate) fn new(core: Arc<Core>, id: ConnId, side: usize, node: u32, incarnation: u32) -> Self {
        Self { core, id, side, node, incarnation }
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStream").field("id", &self.id).field("side", &self.side).finish_non_exhaustive()
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.core
            .with(|state| state.net.read(&mut state.outside, self.id, self.side, buffer, context.waker()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.core
            .with(|state| state.net.write(&mut state.outside, self.id, self.side, slices, context.waker()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.core.with(|state| state.net.shutdown(&mut state.outside, self.id, self.side)))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.core.with(|state| {
            // What a killed process held was dealt with when it died.
            if state.outside.is_current(self.node, self.incarnation) {
                state.net.close(&mut state.outside, self.id, self.side);
            }
        });
    }
}

/// Accepts simulated connections.
pub struct SimListener {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u32,
    pub(crate) incarnation: u32,
    pub(crate) port: u16,
    pub(crate) address: String,
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimListener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<(SimStream, String)> {
        let (id, peer) = poll_fn(|context| {
            self.core.with(|state| state.net.accept(self.node, self.port, context.waker()))
        })
        .await?;
        Ok((SimStream::new(self.core.clone(), id, 1, self.node, self.incarnation), peer))
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.core.with(|state| {
            if state.outside.is_current(self.node, self.incarnation) {
                state.net.unlisten(&mut state.outside, self.node, self.port);
            }
        });
    }
}
