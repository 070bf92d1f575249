//! One HTTP/2 connection as the service that generated clients want, for the questions before and after a measurement.
//!
//! There is no reconnecting and no balancing here: a measurement that papers over a broken connection would
//! measure something else. What is measured goes over a leaner [`connection`](crate::connection).

use crate::asks;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use seatrial_proto::etcdserverpb::kv_client::KvClient;
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

    /// Connects, and says under which name the server is asked.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    pub async fn to(endpoint: &str) -> Result<(Self, http::Uri)> {
        let origin = format!("http://{endpoint}").parse().context("an endpoint is host:port")?;
        Ok((Self::connect(endpoint).await?, origin))
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

/// One put, and the server's own words where it fails.
///
/// # Errors
/// No connection, or what the server says.
pub async fn put(endpoint: &str, number: u64, value: Bytes) -> Result<()> {
    let (channel, origin) = Channel::to(endpoint).await?;
    let answer = KvClient::with_origin(channel, origin).put(asks::put(number, value)).await;
    answer.map(drop).with_context(|| format!("a put at {endpoint}"))
}
