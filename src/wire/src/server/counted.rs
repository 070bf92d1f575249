//! Counts the messages of a stream, and how it ended.

use super::metrics::{MethodId, Metrics};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tonic::body::Body;
use tonic::{Code, Status};

/// Finds where gRPC's messages begin in a body that comes in pieces.
#[derive(Debug, Default)]
struct Heads {
    /// Bytes of the present message still to come.
    left: usize,
    /// The part of a head that was seen: a flag and a length.
    head: [u8; 5],
    seen: usize,
}

impl Heads {
    /// How many messages begin in this piece.
    fn count(&mut self, mut piece: &[u8]) -> u64 {
        let mut messages = 0;
        while !piece.is_empty() {
            let skipped = self.left.min(piece.len());
            self.left -= skipped;
            piece = &piece[skipped..];
            while self.left == 0 && self.seen < self.head.len() {
                let Some((&byte, rest)) = piece.split_first() else { return messages };
                self.head[self.seen] = byte;
                self.seen += 1;
                piece = rest;
            }
            if self.seen == self.head.len() {
                let [_, length @ ..] = self.head;
                self.left = u32::from_be_bytes(length) as usize;
                self.seen = 0;
                messages += 1;
            }
        }
        messages
    }
}

/// What a client sends on a stream.
pub(super) struct Received {
    body: Body,
    heads: Heads,
    metrics: Arc<Metrics>,
    method: MethodId,
}

impl Received {
    pub(super) fn new(body: Body, metrics: Arc<Metrics>, method: MethodId) -> Self {
        Self { body, heads: Heads::default(), metrics, method }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            let messages = self.heads.count(data);
            self.metrics.messages(self.method, messages, 0);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a client is sent on a stream. Dropped before its end, it counts as cancelled.
pub(super) struct Sent {
    body: Body,
    heads: Heads,
    metrics: Arc<Metrics>,
    method: MethodId,
    ended: bool,
    /// Tells how long the call has taken, where anybody wants to know.
    clock: Option<Box<dyn Fn() -> Duration + Send>>,
}

impl Sent {
    pub(super) fn new(
        body: Body,
        metrics: Arc<Metrics>,
        method: MethodId,
        clock: Option<Box<dyn Fn() -> Duration + Send>>,
    ) -> Self {
        Self { body, heads: Heads::default(), metrics, method, ended: false, clock }
    }

    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.metrics.handled(self.method, code);
            if let Some(took) = &self.clock {
                self.metrics.took(self.method, took());
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.end(Code::Ok),
            Some(Err(status)) => self.end(status.code()),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let messages = self.heads.count(data);
                    self.metrics.messages(self.method, 0, messages);
                } else if let Some(trailers) = frame.trailers_ref() {
                    let code = Status::from_header_map(trailers).map_or(Code::Ok, |status| status.code());
                    self.end(code);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_their_bytes_come() {
        // Taken for heads, these payloads would be messages of their own.
        let message = |bytes: u8| [vec![0, 0, 0, 0, bytes], vec![0; usize::from(bytes)]].concat();
        let stream = [message(12), message(0), message(7)].concat();
        for piece in 1..=stream.len() {
            let mut heads = Heads::default();
            let counted: u64 = stream.chunks(piece).map(|piece| heads.count(piece)).sum();
            assert_eq!(counted, 3, "in pieces of {piece}");
        }
    }
}
