//! Messages that come one after the other, in either direction.

use super::scan::{self, First};
use super::{framed, line, message, stream_error, too_large};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use prost::Message;
use seatrial_proto::prost_reflect::MessageDescriptor;
use tonic::body::Body;
use tonic::{Code, Status};

/// The messages of a request that may go on for as long as its client likes.
pub(super) struct Uploads {
    body: Incoming,
    text: BytesMut,
    input: MessageDescriptor,
    bytes_max: usize,
    ended: bool,
}

impl Uploads {
    pub(super) fn new(body: Incoming, input: MessageDescriptor, bytes_max: usize) -> Self {
        Self { body, text: BytesMut::new(), input, bytes_max, ended: false }
    }

    /// The next message, framed; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            match scan::first(&self.text, self.ended) {
                First::Value(at) => {
                    let found = message::decode(&self.input, &self.text[at.clone()]);
                    self.text.advance(at.end);
                    let message = found.map_err(Status::invalid_argument)?;
                    return Ok(Some(framed(&message.encode_to_vec())));
                }
                First::Wrong(error) => return Err(Status::invalid_argument(error)),
                First::Nothing if self.ended => return Ok(None),
                First::Part if self.ended => return Err(Status::invalid_argument("unexpected EOF")),
                First::Nothing => self.text.clear(),
                First::Part => {}
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Err(error)) => return Err(Status::invalid_argument(error.to_string())),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let bytes = self.text.len() + data.len();
                    if bytes > self.bytes_max {
                        return Err(too_large(bytes, self.bytes_max));
                    }
                    self.text.extend_from_slice(&data);
                }
            }
        }
    }

    /// A body of gRPC. As in etcd, an error in a later message ends it like its last.
    pub(super) fn into_body(self, first: Option<Bytes>) -> Body {
        let Some(first) = first else { return Body::empty() };
        let rest = futures::stream::unfold(self, |mut uploads| async move {
            match uploads.next().await {
                Ok(Some(message)) => Some((message, uploads)),
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%error, "a message of a stream could not be read");
                    None
                }
            }
        });
        let all = futures::stream::once(std::future::ready(first)).chain(rest);
        Body::new(StreamBody::new(all.map(|message| Ok::<_, Status>(Frame::data(message)))))
    }
}

/// The messages of an answer.
pub(super) struct Messages {
    /// `None` once it has ended.
    body: Option<Body>,
    bytes: BytesMut,
    /// An error that came instead of everything.
    refused: Option<Status>,
}

impl Messages {
    pub(super) fn new(answered: Response<Body>) -> Self {
        let refused = Status::from_header_map(answered.headers()).filter(|status| status.code() != Code::Ok);
        let body = refused.is_none().then(|| answered.into_body());
        Self { body, bytes: BytesMut::new(), refused }
    }

    /// Whether the answer began before anything went wrong.
    pub(super) fn has_head(&self) -> bool {
        self.refused.is_none()
    }

    /// The next message, or the error that ends them. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if let Some(status) = self.refused.take() {
            return Some(Err(status));
        }
        loop {
            if let Some(head) = self.bytes.first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.bytes.len() >= 5 + length {
                    self.bytes.advance(5);
                    return Some(Ok(self.bytes.split_to(length).freeze()));
                }
            }
            match self.body.as_mut()?.frame().await {
                None => self.body = None,
                Some(Err(status)) => {
                    self.body = None;
                    return Some(Err(status));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.bytes.extend_from_slice(&data),
                    Err(frame) => {
                        self.body = None;
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let status = Status::from_header_map(&trailers);
                        if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                            return Some(Err(status));
                        }
                    }
                },
            }
        }
    }

    /// The lines of JSON for them. Dropping the body gives up the call.
    pub(super) fn into_lines(self, first: Bytes, output: MessageDescriptor) -> Body {
        let state = (Some(self), Some(first), output);
        let lines = futures::stream::unfold(state, |(messages, first, output)| async move {
            let mut messages = messages?;
            let next = match first {
                Some(first) => Ok(first),
                None => messages.next().await?,
            };
            match next.and_then(|bytes| line(&bytes, &output)) {
                Ok(line) => Some((line, (Some(messages), None, output))),
                Err(status) => Some((stream_error(&status), (None, None, output))),
            }
        });
        Body::new(StreamBody::new(lines.map(|line| Ok::<_, Status>(Frame::data(Bytes::from(line))))))
    }
}
