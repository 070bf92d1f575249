//! The deadline that a client sends along (gRPC over HTTP/2: `grpc-timeout`), kept on the server too, so that
//! nobody works for a client that has gone away.

use crate::clock::Nap;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;

/// The time a client gives, where it gives one.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let malformed = || Status::internal(format!("malformed grpc-timeout: {value:?}"));
    let text = value.to_str().map_err(|_| malformed())?;
    // At most eight digits and a unit.
    if text.len() < 2 || text.len() > 9 || !text.is_ascii() {
        return Err(malformed());
    }
    let (digits, unit) = text.split_at(text.len() - 1);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let number: u64 = digits.parse().map_err(|_| malformed())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(malformed()),
    }))
}

/// What a client is told whose time is over.
pub(super) fn exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// When a body ends, whatever it still had to say, and with which words.
pub(super) struct Ending {
    pub(super) when: Nap,
    pub(super) status: Status,
}

/// A body that may come to such an end.
pub(super) struct EndingBody {
    body: Body,
    /// `None` once the body has ended this way.
    ending: Option<Ending>,
}

impl EndingBody {
    pub(super) fn new(body: Body, ending: Ending) -> Self {
        Self { body, ending: Some(ending) }
    }
}

impl HttpBody for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(ending) = &mut self.ending else { return Poll::Ready(None) };
        if ending.when.as_mut().poll(context).is_pending() {
            return Pin::new(&mut self.body).poll_frame(context);
        }
        let mut trailers = HeaderMap::new();
        let told = ending.status.add_header(&mut trailers);
        self.ending = None;
        // What is dropped with the body ends here: a watch, for one.
        self.body = Body::empty();
        Poll::Ready(Some(match told {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(status),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ending.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Option<Duration>, tonic::Code> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", value.parse().unwrap());
        grpc_timeout(&headers).map_err(|status| status.code())
    }

    #[test]
    fn timeouts_are_read_in_every_unit() {
        assert_eq!(parse("5S"), Ok(Some(Duration::from_secs(5))));
        assert_eq!(parse("99999999H"), Ok(Some(Duration::from_secs(99_999_999 * 3600))));
        assert_eq!(parse("1M"), Ok(Some(Duration::from_secs(60))));
        assert_eq!(parse("250m"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(parse("7u"), Ok(Some(Duration::from_micros(7))));
        assert_eq!(parse("7n"), Ok(Some(Duration::from_nanos(7))));
        assert_eq!(grpc_timeout(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_malformed_timeout_is_refused() {
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S", "\u{fc}S"] {
            assert_eq!(parse(wrong), Err(tonic::Code::Internal), "{wrong:?}");
        }
    }
}
