//! How much the gateway holds for clients that may never read it.
//!
//! An answer over gRPC goes out piece by piece as its client reads; as JSON it is written as a whole first. Were that not
//! bounded, a few clients that ask for everything and read nothing could have all memory.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Smaller answers are not counted: they wait in buffers of the kernel, mostly.
const SMALL_BYTES: usize = 64 << 10;

/// Bytes held for all clients of a server.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Arc::default(), bytes_max }
    }

    /// Room for so many bytes, where there is any. One answer alone may have more than there is.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        if bytes <= SMALL_BYTES {
            return Some(Share { held: self.held.clone(), bytes: 0 });
        }
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let share = Share { held: self.held.clone(), bytes };
        (before == 0 || before.saturating_add(bytes) <= self.bytes_max).then_some(share)
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// Gives a part back.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.held.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

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
        let piece = self.bytes.len().min(SMALL_BYTES);
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let budget = Budget::new(10 * SMALL_BYTES);
        // One alone may be larger than all.
        drop(budget.take(100 * SMALL_BYTES).unwrap());
        let mut first = budget.take(8 * SMALL_BYTES).unwrap();
        assert!(budget.take(3 * SMALL_BYTES).is_none());
        assert!(budget.take(SMALL_BYTES).is_some(), "small answers are always given");
        first.shrink(2 * SMALL_BYTES);
        let second = budget.take(3 * SMALL_BYTES).unwrap();
        drop((first, second));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
