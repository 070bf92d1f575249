//! Reading many keys apart from the state machine, page by page.
//!
//! It looks at a view that later writes do not change: whoever reads a million keys holds up nobody. The member makes
//! it and gives it away; it is carried out wherever there is time.

use super::index::KeyIndex;
use super::range::{arrange, keys_wanted, passes};
use super::record::{self, At};
use super::{Failure, Mvcc};
use crate::backend::{Backend, BackendError, Table, View};
use bytes::Bytes;
use seatrial_types::request::{Header, RangeRequest, RangeResponse};
use seatrial_types::{KeyRange, KeyValue, Revision};

/// A range that is being read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reading<V> {
    view: V,
    index: KeyIndex,
    request: RangeRequest,
    revision: Revision,
    header: Header,
    /// How many keys the range has, where that was known at once.
    known: Option<i64>,
    /// Where the next page begins; `None` at the end.
    next: Option<Bytes>,
    seen: i64,
    kvs: Vec<KeyValue>,
}

impl<B: Backend> Mvcc<B> {
    /// The range as something to be read elsewhere, where it has more than `keys_max` keys to look at. `None` for
    /// everything else, refused requests among them: [`Mvcc::range`] answers those.
    #[must_use]
    pub fn reading(&self, request: &RangeRequest, keys_max: usize) -> Option<Reading<B::Snapshot>> {
        let newest = self.revision;
        let revision = self.readable(request.revision, newest).ok()?;
        if request.count_only && revision == newest {
            return None;
        }
        // At an older revision the present number is only a guess, which is good enough for a decision of this kind.
        let keys = self.index.count_now(&request.range);
        let known = (revision == newest).then_some(keys as i64);
        let looked_at = if known.is_some() { keys.min(keys_wanted(request)) } else { keys };
        if looked_at <= keys_max {
            return None;
        }
        Some(Reading {
            view: self.backend.snapshot(),
            index: self.index.clone(),
            request: request.clone(),
            revision,
            header: self.header(),
            known,
            next: Some(request.range.key.clone()),
            seen: 0,
            kvs: Vec::new(),
        })
    }
}

impl<V: View> Reading<V> {
    /// The header of the answer; the store has filled in its revision.
    pub fn header_mut(&mut self) -> &mut Header {
        &mut self.header
    }

    /// Looks at the next keys, `keys_max` of them and about `bytes_max` bytes; whether there are more.
    ///
    /// # Errors
    /// The backend's.
    pub fn step(&mut self, keys_max: usize, bytes_max: usize) -> Result<bool, BackendError> {
        let Some(from) = self.next.take() else { return Ok(false) };
        let wanted = if self.request.count_only { 0 } else { keys_wanted(&self.request) };
        let range = KeyRange { key: from, end: self.request.range.end.clone() };
        let mut bytes = 0;
        for (looked_at, (key, at)) in self.index.range(&range, self.revision).enumerate() {
            if looked_at >= keys_max.max(1) || bytes > bytes_max {
                self.next = Some(Bytes::copy_from_slice(key));
                break;
            }
            self.seen += 1;
            if self.kvs.len() < wanted {
                let kv = load(&self.view, at)?;
                bytes += kv.key.len() + kv.value.len();
                if passes(&kv, &self.request) {
                    self.kvs.push(kv);
                }
            } else if self.known.is_some() {
                break;
            }
        }
        Ok(self.next.is_some())
    }

    /// The answer, once there are no more keys.
    ///
    /// # Panics
    /// Where there are.
    #[must_use]
    pub fn answer(self) -> RangeResponse {
        assert!(self.next.is_none(), "a range is answered before all of it was read");
        let count = self.known.unwrap_or(self.seen);
        let mut response = arrange(&self.request, self.kvs);
        response.header = self.header;
        response.count = count;
        response
    }

    /// All of it at once.
    ///
    /// # Errors
    /// The backend's.
    pub fn finish(mut self) -> Result<RangeResponse, Failure> {
        while self.step(usize::MAX, usize::MAX)? {}
        Ok(self.answer())
    }
}

fn load<V: View>(view: &V, at: At) -> Result<KeyValue, BackendError> {
    match view.get(Table::Kv, &at.row())? {
        Some(row) => Ok(record::decode(at, &row).map_err(|error| error.in_file(&view.place()))?.kv),
        None => Err(super::missing(view, at)),
    }
}
