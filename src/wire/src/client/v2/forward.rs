//! Requests of others, passed on as they are.

use super::client::{Question, V2Client};
use super::error::V2ClientError;
use super::line::Begun;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seatrial_world::World;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The answer to a request that was passed on; its body is still to come.
pub struct V2Forwarded {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    body: Incoming,
    /// The connection lasts as long as the body is read.
    _sender: hyper::client::conn::http1::SendRequest<http_body_util::Full<Bytes>>,
}

impl Body for V2Forwarded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<W: World> V2Client<W> {
    /// Passes a request for a key on; `form` is the body of one that writes.
    ///
    /// # Errors
    /// Where nobody answered.
    pub async fn forward(
        &self,
        method: Method,
        key: &str,
        query: &str,
        form: Option<String>,
    ) -> Result<V2Forwarded, V2ClientError> {
        let mut target = self.target(key);
        if !query.is_empty() {
            target = format!("{target}?{query}");
        }
        let question = Question { method, target, body: form.map(|form| (super::keys::FORM, form)) };
        let (Begun { response, sender }, _) = self.begin(&question).await?;
        let (head, body) = response.into_parts();
        Ok(V2Forwarded { status: head.status, headers: head.headers, body, _sender: sender })
    }
}
