//! Transactions: all comparisons first, against the state before, nested ones included; then every check that
//! could refuse; then the operations, which cannot fail any more. So a refused transaction changes nothing.

use super::{Failure, Mvcc, Writing};
use crate::backend::{Backend, BackendError};
use crate::lease::Leases;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{
    Compare, CompareOp, CompareTarget, Header, TxnOp, TxnOpResponse, TxnRequest, TxnResponse,
};
use seatrial_types::{Error, KeyValue};
use std::cmp::Ordering;

const NESTED: &str = "the path has a part for each nested transaction";

/// Which branches are taken: of the transaction, then of the nested ones in the branch taken, in order.
pub(super) struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

impl Path {
    fn branch<'a>(&self, request: &'a TxnRequest) -> &'a [TxnOp] {
        if self.succeeded { &request.success } else { &request.failure }
    }
}

impl<B: Backend> Mvcc<B> {
    /// A transaction that only reads (etcd API: Txn). The header holds only the revision.
    ///
    /// # Errors
    /// As for [`Mvcc::range`].
    ///
    /// # Panics
    /// Where the transaction could write.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Failure> {
        assert!(request.is_read_only(), "a transaction that writes does not go through the log");
        let path = self.txn_path(request)?;
        self.check_txn(request, &path, None)?;
        let mut response = self.read_txn_in(request, &path)?;
        response.header = self.header();
        Ok(response)
    }

    fn read_txn_in(&self, request: &TxnRequest, path: &Path) -> Result<TxnResponse, Failure> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in path.branch(request) {
            responses.push(match op {
                TxnOp::Range(range) => TxnOpResponse::Range(self.range(range)?),
                TxnOp::Txn(inner) => {
                    let path = nested.next().expect(NESTED);
                    TxnOpResponse::Txn(self.read_txn_in(inner, path)?)
                }
                TxnOp::Put(_) | TxnOp::DeleteRange(_) => unreachable!("the transaction is read-only"),
            });
        }
        Ok(TxnResponse { header: Header::default(), succeeded: path.succeeded, responses })
    }

    pub(super) fn txn_path(&self, request: &TxnRequest) -> Result<Path, BackendError> {
        let mut succeeded = true;
        for compare in &request.compare {
            succeeded = succeeded && self.holds(compare)?;
        }
        let mut path = Path { succeeded, nested: Vec::new() };
        for op in path.branch(request) {
            if let TxnOp::Txn(inner) = op {
                path.nested.push(self.txn_path(inner)?);
            }
        }
        Ok(path)
    }

    fn holds(&self, compare: &Compare) -> Result<bool, BackendError> {
        let mut is_empty = true;
        for (_, at) in self.index.range(&compare.range, self.revision) {
            is_empty = false;
            if !matches(&self.load(at)?.kv, compare) {
                return Ok(false);
            }
        }
        // A missing key has no value, not even an empty one; everything else of it counts as 0.
        let is_value = matches!(compare.target, CompareTarget::Value(_));
        Ok(!is_empty || (!is_value && matches(&KeyValue::default(), compare)))
    }

    /// Whether anything in the branches taken must be refused: all puts first, then all ranges, as in etcd, where both
    /// would be. `leases` is `None` where nothing can be written.
    pub(super) fn check_txn(
        &self,
        request: &TxnRequest,
        path: &Path,
        leases: Option<&Leases>,
    ) -> Result<(), Failure> {
        if let Some(leases) = leases {
            self.check_puts(request, path, leases)?;
        }
        self.check_ranges(request, path)
    }

    fn check_puts(&self, request: &TxnRequest, path: &Path, leases: &Leases) -> Result<(), Failure> {
        let mut nested = path.nested.iter();
        for op in path.branch(request) {
            match op {
                TxnOp::Put(put) => self.check_put(put, leases)?,
                TxnOp::Txn(inner) => self.check_puts(inner, nested.next().expect(NESTED), leases)?,
                TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
            }
        }
        Ok(())
    }

    fn check_ranges(&self, request: &TxnRequest, path: &Path) -> Result<(), Failure> {
        let mut nested = path.nested.iter();
        for op in path.branch(request) {
            match op {
                TxnOp::Range(range) if range.revision > self.revision => {
                    return Err(Error::FutureRevision.into());
                }
                TxnOp::Range(range) if range.revision.0 != 0 && range.revision < self.oldest() => {
                    assert!(!is_planted(Planted::D23), "a transaction failed: {}", Error::Compacted);
                    return Err(Error::Compacted.into());
                }
                TxnOp::Txn(inner) => self.check_ranges(inner, nested.next().expect(NESTED))?,
                TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::DeleteRange(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn txn_in(
        &mut self,
        writing: &mut Writing,
        request: &TxnRequest,
        path: &Path,
        leases: &mut Leases,
    ) -> Result<TxnResponse, Failure> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in path.branch(request) {
            responses.push(match op {
                TxnOp::Range(range) => {
                    TxnOpResponse::Range(self.range_visible(range, self.visible(writing))?)
                }
                TxnOp::Put(put) => TxnOpResponse::Put(self.put_in(writing, put, leases)?),
                TxnOp::DeleteRange(delete) => {
                    TxnOpResponse::DeleteRange(self.delete_in(writing, delete, leases)?)
                }
                TxnOp::Txn(inner) => {
                    let path = nested.next().expect(NESTED);
                    TxnOpResponse::Txn(self.txn_in(writing, inner, path, leases)?)
                }
            });
        }
        // As in etcd, only the outermost answer has a revision.
        Ok(TxnResponse { header: Header::default(), succeeded: path.succeeded, responses })
    }
}

fn matches(kv: &KeyValue, compare: &Compare) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Greater => order == Ordering::Greater,
        CompareOp::Less => order == Ordering::Less,
    }
}
