//! One HTTP/2 connection as the service that generated clients want.
//!
//! There is no reconnecting and no balancing here: a measurement that papers over a broken connection would
//! measure something else.

use anyhow::{Context as _, Result};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;

/// An open connection; clones share it, each request is a stream of its own.
#[derive(Clone, Debug)]
pub struct Channel {
    sender: http2::SendRequest<Body>,
}

impl Channel {
    /// Connects to `host:port` in plain text.
    ///
    /// # Errors
    /// What the system or the handshake says, with the address.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .with_context(|| format!("speaking HTTP/2 with {address}"))?;
        tokio::spawn(async move {
            // Requests under way see the end of the connection themselves.
            let _ = connection.await;
        });
        Ok(Self { sender })
    }
}

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
