//! An answer as JSON: written as a whole first, it goes out piece by piece as its client reads.

use crate::server::unread::Share;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Written at a time.
const PIECE_BYTES: usize = 64 << 10;

/// An answer with its share. hyper drops it when it is written, or when its client is gone.
pub(super) struct Held {
    bytes: Bytes,
    _share: Share,
}

impl Held {
    pub(super) fn new(bytes: Bytes, share: Share) -> Self {
        Self { bytes, _share: share }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // In pieces, so that the last is asked for only when those before it are written.
        let piece = self.bytes.len().min(PIECE_BYTES);
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
