//! The requests of each kind, as bytes.

use crate::case::Kind;
use bytes::Bytes;
use prost::Message;
use seatrial_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use seatrial_proto::etcdserverpb::request_op::Request;
use seatrial_proto::etcdserverpb::{
    Compare, LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// The methods, and their places among each other.
pub(crate) const PATHS: &[&str] = &[
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Watch/Watch",
];
pub(crate) const PUT: usize = 0;
pub(crate) const RANGE: usize = 1;
pub(crate) const TXN: usize = 2;
pub(crate) const LEASE_GRANT: usize = 3;
pub(crate) const LEASE_KEEP_ALIVE: usize = 4;
pub(crate) const WATCH: usize = 5;

/// Long enough that none ends while others are measured.
pub(crate) const LEASE_TTL_SECONDS: i64 = 7200;

/// What all clients of a measurement have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys written or read, drawn evenly; all are there before.
    pub keys: u64,
    /// Keys of one range.
    pub range_keys: u64,
}

/// One client's endless requests.
#[derive(Debug)]
pub(crate) struct Asker {
    kind: Kind,
    shape: Shape,
    value: Bytes,
    dice: Dice,
    lease: i64,
    body: Vec<u8>,
}

impl Asker {
    pub(crate) fn new(kind: Kind, shape: &Shape, number: u64, lease: i64) -> Self {
        Self {
            kind,
            shape: shape.clone(),
            value: Bytes::from(vec![b'v'; shape.value_bytes]),
            dice: Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            lease,
            body: Vec::new(),
        }
    }

    /// The next: which method, and the message.
    pub(crate) fn next(&mut self) -> (usize, &[u8]) {
        self.body.clear();
        let keys = self.shape.keys;
        let path = match self.kind {
            Kind::Put | Kind::Watch => self.put(),
            Kind::Get => self.get(false),
            Kind::GetSerializable => self.get(true),
            Kind::MixedNineToOne if self.dice.below(10) == 0 => self.put(),
            Kind::MixedHalf if self.dice.below(2) == 0 => self.put(),
            Kind::MixedNineToOne | Kind::MixedHalf => self.get(false),
            Kind::Range => {
                let from = self.dice.below(keys - self.shape.range_keys + 1);
                self.write(RANGE, &span(from, from + self.shape.range_keys))
            }
            Kind::Count => self.write(RANGE, &RangeRequest { count_only: true, ..span(0, keys) }),
            Kind::Txn => {
                let put = put(self.dice.below(keys), self.value.clone());
                let is_there = Compare {
                    result: CompareResult::Greater.into(),
                    target: CompareTarget::Version.into(),
                    key: put.key.clone(),
                    target_union: Some(TargetUnion::Version(0)),
                    ..Compare::default()
                };
                let success = vec![operation(put)];
                self.write(TXN, &TxnRequest { compare: vec![is_there], success, ..TxnRequest::default() })
            }
            Kind::TxnTenPuts => {
                let first = self.dice.below(keys);
                let puts = (0..keys.min(10)).map(|n| put((first + n) % keys, self.value.clone()));
                let success = puts.map(operation).collect();
                self.write(TXN, &TxnRequest { success, ..TxnRequest::default() })
            }
            Kind::LeaseGrant => self.write(LEASE_GRANT, &LeaseGrantRequest { ttl: LEASE_TTL_SECONDS, id: 0 }),
            Kind::LeaseKeepAlive => self.write(LEASE_KEEP_ALIVE, &LeaseKeepAliveRequest { id: self.lease }),
        };
        (path, &self.body)
    }

    fn put(&mut self) -> usize {
        let request = put(self.dice.below(self.shape.keys), self.value.clone());
        self.write(PUT, &request)
    }

    fn get(&mut self, serializable: bool) -> usize {
        let key = key(self.dice.below(self.shape.keys));
        self.write(RANGE, &RangeRequest { key, serializable, ..RangeRequest::default() })
    }

    fn write(&mut self, path: usize, message: &impl Message) -> usize {
        message.encode(&mut self.body).expect("memory takes everything");
        path
    }
}

/// The key of this number.
pub(crate) fn key(number: u64) -> Bytes {
    Bytes::from(format!("/load/{number:012}"))
}

pub(crate) fn put(number: u64, value: Bytes) -> PutRequest {
    PutRequest { key: key(number), value, ..PutRequest::default() }
}

/// Everything from one key to before another.
pub(crate) fn span(from: u64, to: u64) -> RangeRequest {
    RangeRequest { key: key(from), range_end: key(to), ..RangeRequest::default() }
}

pub(crate) fn operation(put: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// xorshift64: which key is next need not be a good secret, only cheap and spread.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_drawn_spread_over_all() {
        let mut dice = Dice(1);
        let drawn: std::collections::BTreeSet<u64> = (0..1000).map(|_| dice.below(10)).collect();
        assert_eq!(drawn.len(), 10);
    }

    #[test]
    fn a_mixture_is_as_it_is_called_and_a_range_stays_within_the_keys() {
        let shape = Shape { value_bytes: 3, keys: 50, range_keys: 20 };
        let puts = |kind| {
            let mut asker = Asker::new(kind, &shape, 7, 0);
            (0..1000).filter(|_| asker.next().0 == PUT).count()
        };
        assert!((70..130).contains(&puts(Kind::MixedNineToOne)), "{}", puts(Kind::MixedNineToOne));
        assert!((430..570).contains(&puts(Kind::MixedHalf)), "{}", puts(Kind::MixedHalf));
        let mut asker = Asker::new(Kind::Range, &shape, 7, 0);
        for _ in 0..1000 {
            let request = RangeRequest::decode(asker.next().1).unwrap();
            assert!(request.range_end <= key(50), "{request:?}");
        }
    }

    #[test]
    fn ten_puts_are_of_ten_keys() {
        let shape = Shape { value_bytes: 3, keys: 12, range_keys: 1 };
        let mut asker = Asker::new(Kind::TxnTenPuts, &shape, 7, 0);
        for _ in 0..100 {
            let request = TxnRequest::decode(asker.next().1).unwrap();
            let keys: std::collections::BTreeSet<Bytes> = (request.success.iter())
                .map(|operation| match &operation.request {
                    Some(Request::RequestPut(put)) => put.key.clone(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(keys.len(), 10);
        }
    }
}
