//! Requests by chance. One number makes one request, so that a list of numbers is a whole test and can be shortened.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use seatrial_proto::etcdserverpb as pb;
use seatrial_proto::v3lockpb::{LockRequest, UnlockRequest};

use pb::range_request::{SortOrder, SortTarget};

/// One thing to do at both servers.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    Grant(pb::LeaseGrantRequest),
    /// A lease whose id the server chooses; it is revoked at once.
    GrantAny(pb::LeaseGrantRequest),
    Revoke(pb::LeaseRevokeRequest),
    KeepAlive(pb::LeaseKeepAliveRequest),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    Leases,
    /// Only whether it is answered: the sums are of different formats.
    HashKv(pb::HashKvRequest),
    Watch(usize, pb::WatchCreateRequest),
    WatchCancel(usize, i64),
    WatchProgress(usize),
    /// Both sides have delivered the same events.
    WatchCheck,
    /// Unless somebody else holds it: then the call would wait.
    Lock(LockRequest),
    Unlock(UnlockRequest),
    /// Unless somebody else leads.
    Campaign {
        name: &'static str,
        lease: i64,
        value: Bytes,
    },
    /// In the name of whoever leads, or of nobody.
    Proclaim {
        name: &'static str,
        value: Bytes,
    },
    Resign {
        name: &'static str,
    },
    Leader {
        name: &'static str,
    },
    Status,
    Alarm(pb::AlarmRequest),
    MemberList(pb::MemberListRequest),
    /// Of a member that does not exist, or with addresses that are none.
    MemberAdd(pb::MemberAddRequest),
    MemberRemove(pb::MemberRemoveRequest),
    MemberUpdate(pb::MemberUpdateRequest),
    MemberPromote(pb::MemberPromoteRequest),
    MoveLeader(pb::MoveLeaderRequest),
    /// How many keys must be below these, as a client would count them.
    Pages {
        limit: i64,
    },
}

impl Step {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Range(_) => "Range",
            Self::Put(_) => "Put",
            Self::Delete(_) => "DeleteRange",
            Self::Txn(_) => "Txn",
            Self::Compact(_) => "Compact",
            Self::Grant(_) | Self::GrantAny(_) => "LeaseGrant",
            Self::Revoke(_) => "LeaseRevoke",
            Self::KeepAlive(_) => "LeaseKeepAlive",
            Self::TimeToLive(_) => "LeaseTimeToLive",
            Self::Leases => "LeaseLeases",
            Self::HashKv(_) => "HashKV",
            Self::Watch(..) => "Watch create",
            Self::WatchCancel(..) => "Watch cancel",
            Self::WatchProgress(_) => "Watch progress",
            Self::WatchCheck => "Watch check",
            Self::Lock(_) => "Lock",
            Self::Unlock(_) => "Unlock",
            Self::Campaign { .. } => "Campaign",
            Self::Proclaim { .. } => "Proclaim",
            Self::Resign { .. } => "Resign",
            Self::Leader { .. } => "Leader",
            Self::Status => "Status",
            Self::Alarm(_) => "Alarm",
            Self::MemberList(_) => "MemberList",
            Self::MemberAdd(_) => "MemberAdd",
            Self::MemberRemove(_) => "MemberRemove",
            Self::MemberUpdate(_) => "MemberUpdate",
            Self::MemberPromote(_) => "MemberPromote",
            Self::MoveLeader(_) => "MoveLeader",
            Self::Pages { .. } => "Range in pages",
        }
    }
}

/// Where the servers are; requests are made around it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

/// Watch streams beside each other.
pub(crate) const STREAMS: usize = 2;

/// Between the numbers of two episodes.
pub(crate) const EPISODES_APART: u64 = 1_000_000;

/// Levels of transactions inside one.
const DEPTH: u32 = 2;

pub(crate) fn step(seed: u64, now: Now) -> Step {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let from_key = rng.next_u64() % 2 == 0;
    let with_locks = seed / EPISODES_APART % 4 == 3;
    let mut dice = Dice { rng, now, from_key, with_locks };
    match dice.below(1000) {
        0..280 => Step::Range(dice.outer_range()),
        280..500 => Step::Put(dice.put()),
        500..600 => Step::Delete(dice.delete()),
        600..850 => Step::Txn(dice.txn(DEPTH)),
        850..856 => Step::Compact(dice.compact()),
        856..876 => Step::Grant(dice.grant()),
        876..882 => Step::GrantAny(dice.grant_any()),
        882..896 => Step::Revoke(pb::LeaseRevokeRequest { id: dice.lease() }),
        896..910 => Step::KeepAlive(pb::LeaseKeepAliveRequest { id: dice.lease() }),
        910..930 => Step::TimeToLive(pb::LeaseTimeToLiveRequest { id: dice.lease(), keys: dice.chance(70) }),
        930..936 => Step::Leases,
        936..942 => Step::HashKv(pb::HashKvRequest { revision: dice.revision() }),
        942..962 => Step::Watch(dice.stream(), dice.watch()),
        962..974 => Step::WatchCancel(dice.stream(), dice.watch_id()),
        974..980 => Step::WatchProgress(dice.stream()),
        980..984 => dice.of_members(),
        984..992 if with_locks => dice.lock(),
        992..1000 if with_locks => dice.election(),
        _ => Step::WatchCheck,
    }
}

struct Dice {
    rng: ChaCha8Rng,
    now: Now,
    /// Whether a transaction may delete everything from a key on, or else put without value or lease: together they end
    /// the etcd of 3.4.23 and 3.5.1 ("unexpected error during txn").
    from_key: bool,
    /// Whether this episode has locks and elections. Their keys are more than etcd sorts without stirring what is equal, so
    /// that ranges are sorted by key alone then.
    with_locks: bool,
}

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64) as usize;
        from[index].clone()
    }

    fn stream(&mut self) -> usize {
        self.below(STREAMS as u64) as usize
    }

    /// Few keys, so that requests meet. Six, since etcd sorts up to six without stirring what is equal.
    fn key(&mut self) -> Bytes {
        if self.chance(1) {
            return Bytes::new();
        }
        let keys: [&[u8]; 8] = [b"a", b"a", b"a/1", b"a\0", b"b", b"b", b"\0", b"\xff\xff"];
        Bytes::from_static(self.pick(&keys))
    }

    fn value(&mut self) -> Bytes {
        let values: [&[u8]; 5] = [b"", b"1", b"2", b"22", b"\xff\0"];
        Bytes::from_static(self.pick(&values))
    }

    /// A key and a range's end: one key, a prefix, everything from there, between two, or turned round.
    fn range_of(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        let end = match self.below(10) {
            0..4 => Bytes::new(),
            4..6 => Bytes::from_static(b"\0"),
            6..8 => {
                // As clients make the end of a prefix.
                let mut end = key.to_vec();
                while end.last() == Some(&0xff) {
                    end.pop();
                }
                match end.last_mut() {
                    Some(last) => *last += 1,
                    None => end.push(0),
                }
                end.into()
            }
            _ => self.key(),
        };
        (key, end)
    }

    /// Zero, here, a little before, at the compaction, in the future, nonsense.
    fn revision(&mut self) -> i64 {
        let Now { revision, compacted } = self.now;
        match self.below(20) {
            0..6 => 0,
            6..8 => revision,
            8..15 => revision - self.below(25) as i64,
            15 => compacted,
            16 => compacted + 1,
            17 => compacted - 1,
            18 => revision + 1 + self.below(3) as i64,
            _ => self.pick(&[-1, 1, i64::MAX, i64::MIN]),
        }
    }

    fn bound(&mut self) -> i64 {
        if self.chance(80) { 0 } else { self.revision() }
    }

    fn range(&mut self) -> pb::RangeRequest {
        let (key, range_end) = self.range_of();
        let order = [SortOrder::None, SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
        let target = [
            SortTarget::Key,
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ];
        pb::RangeRequest {
            key,
            range_end,
            limit: self.pick(&[0, 0, 0, 1, 2, 3, 5, -1]),
            revision: if self.chance(60) { 0 } else { self.revision() },
            sort_order: self.pick(&order) as i32,
            sort_target: if self.with_locks { SortTarget::Key } else { self.pick(&target) } as i32,
            serializable: self.chance(30),
            keys_only: self.chance(15),
            count_only: self.chance(15),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    /// Rarely with an order that means nothing. Not inside a transaction: refused or not, that changes what follows.
    fn outer_range(&mut self) -> pb::RangeRequest {
        let mut range = self.range();
        if self.below(100) == 0 {
            // A target that means nothing would end the etcd of 3.4.23 and 3.5.1.
            range.sort_order = self.pick(&[-1, 3]);
        }
        range
    }

    fn put(&mut self) -> pb::PutRequest {
        let ignore_value = self.chance(8);
        let ignore_lease = self.chance(8);
        pb::PutRequest {
            key: self.key(),
            value: if ignore_value && self.chance(80) { Bytes::new() } else { self.value() },
            lease: if self.chance(if ignore_lease { 5 } else { 25 }) { self.lease() } else { 0 },
            prev_kv: self.chance(40),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = self.range_of();
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.chance(50) }
    }

    fn compact(&mut self) -> pb::CompactionRequest {
        // The newest state is rarely thrown away: requests about the past are to find something.
        let revision =
            if self.chance(60) { self.now.revision - self.below(120) as i64 } else { self.revision() };
        pb::CompactionRequest { revision, physical: self.chance(50) }
    }

    fn lease(&mut self) -> i64 {
        self.pick(&[1, 2, 3, 4, 5, 6, 7, 0x7fff_ffff_ffff_ffff, -5, 99])
    }

    fn grant(&mut self) -> pb::LeaseGrantRequest {
        // Long enough that none ends by itself.
        pb::LeaseGrantRequest {
            ttl: self.pick(&[5_000, 70_000, 9_000_000_000, 9_000_000_001]),
            id: self.pick(&[1, 2, 3, 4, 5, 6, 7, 0x7fff_ffff_ffff_ffff, -5]),
        }
    }

    fn grant_any(&mut self) -> pb::LeaseGrantRequest {
        pb::LeaseGrantRequest { ttl: self.pick(&[0, -1, 1, 2, 3, 600, i64::MIN, i64::MAX]), id: 0 }
    }

    fn txn(&mut self, depth: u32) -> pb::TxnRequest {
        if depth == DEPTH && self.below(300) == 0 {
            // Alone: which of two errors is named is not the question.
            return pb::TxnRequest {
                success: vec![pb::RequestOp { request: None }],
                ..pb::TxnRequest::default()
            };
        }
        let compares = self.pick(&[0, 0, 1, 1, 1, 2, 3]);
        let successes = self.pick(&[0, 1, 1, 2, 2, 3, 4]);
        let failures = self.pick(&[0, 1, 1, 2, 3]);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..successes).map(|_| self.op(depth)).collect(),
            failure: (0..failures).map(|_| self.op(depth)).collect(),
        }
    }

    fn compare(&mut self) -> pb::Compare {
        use pb::compare::TargetUnion;
        let (key, range_end) = self.range_of();
        // Now and then too many by itself.
        let union = match self.below(6) {
            0 => TargetUnion::Version(self.below(5) as i64),
            1 => TargetUnion::CreateRevision(self.revision()),
            2 => TargetUnion::ModRevision(self.revision()),
            3 => TargetUnion::Value(self.value()),
            4 => TargetUnion::Lease(if self.chance(50) { 0 } else { self.lease() }),
            _ => TargetUnion::CreateRevision(0),
        };
        let target = match &union {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        };
        // A zero of the right kind may be left out.
        let absent = self.chance(5);
        pb::Compare {
            result: self.below(4) as i32,
            target,
            key,
            range_end: if self.chance(60) { Bytes::new() } else { range_end },
            target_union: (!absent).then_some(union),
        }
    }

    fn op(&mut self, depth: u32) -> pb::RequestOp {
        use pb::request_op::Request;
        let request = match self.below(if depth > 0 { 20 } else { 16 }) {
            0..5 => {
                let mut range = self.range();
                if self.chance(70) {
                    range.revision = 0;
                }
                Request::RequestRange(range)
            }
            5..13 => {
                let mut put = self.put();
                if self.from_key || self.chance(60) {
                    // Else hardly any transaction would do anything: a lease that is not there fails it whole.
                    (put.lease, put.ignore_value, put.ignore_lease) = (0, false, false);
                }
                Request::RequestPut(put)
            }
            13..16 => {
                let mut delete = self.delete();
                if !self.from_key && *delete.range_end == *b"\0" {
                    delete.range_end = Bytes::new();
                }
                Request::RequestDeleteRange(delete)
            }
            _ => {
                if self.chance(1) {
                    // More than may be in one.
                    let many = 130;
                    let op = pb::RequestOp { request: Some(Request::RequestRange(self.range())) };
                    let txn = pb::TxnRequest { success: vec![op; many], ..pb::TxnRequest::default() };
                    return pb::RequestOp { request: Some(Request::RequestTxn(txn)) };
                }
                Request::RequestTxn(self.txn(depth - 1))
            }
        };
        pb::RequestOp { request: Some(request) }
    }

    fn lock(&mut self) -> Step {
        let name = Bytes::from_static(self.pick(&[b"l", b"m"]));
        if self.chance(60) {
            return Step::Lock(LockRequest { name, lease: self.pick(&[1, 2, 3, 4, 99]) });
        }
        Step::Unlock(UnlockRequest { key: self.pick(&["l/1", "l/2", "m/3", "l/63", "a", ""]).into() })
    }

    fn election(&mut self) -> Step {
        let name = self.pick(&["e", "f"]);
        match self.below(10) {
            0..4 => Step::Campaign { name, lease: self.pick(&[1, 2, 3, 99]), value: self.value() },
            4..6 => Step::Proclaim { name, value: self.value() },
            6..8 => Step::Resign { name },
            _ => Step::Leader { name },
        }
    }

    fn of_members(&mut self) -> Step {
        let id = self.pick(&[0, 1, 77, u64::MAX]);
        let peer_ur_ls = self
            .pick(&[&[][..], &["nonsense"], &["ftp://a:1"], &["http://a"], &["http://a:1/path"], &[""]])
            .iter()
            .map(|url| (*url).to_owned())
            .collect();
        match self.below(12) {
            0 => Step::Status,
            1 => Step::MemberList(pb::MemberListRequest { linearizable: self.chance(50) }),
            2 => Step::MemberAdd(pb::MemberAddRequest { peer_ur_ls, is_learner: self.chance(50) }),
            3 => Step::MemberRemove(pb::MemberRemoveRequest { id }),
            // Of addresses that are none etcd's member would be told here.
            4 => Step::MemberUpdate(pb::MemberUpdateRequest { id, peer_ur_ls: vec!["http://a:1".into()] }),
            5 => Step::MemberPromote(pb::MemberPromoteRequest { id }),
            6 => Step::MoveLeader(pb::MoveLeaderRequest { target_id: id }),
            7..9 => Step::Pages { limit: self.pick(&[1, 2, 3, 1000]) },
            _ => {
                // What is on is asked; what is not there is cleared.
                let action = self.pick(&[0, 0, 2]);
                let alarm = self.pick(&[0, 1, 2]);
                Step::Alarm(pb::AlarmRequest { action, member_id: self.pick(&[0, 77]), alarm })
            }
        }
    }

    fn watch_id(&mut self) -> i64 {
        self.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 50, 51, -1])
    }

    fn watch(&mut self) -> pb::WatchCreateRequest {
        let (key, range_end) = self.range_of();
        let filters = match self.below(10) {
            0 => vec![0],
            1 => vec![1],
            2 => vec![0, 1],
            _ => Vec::new(),
        };
        // An id of the client's own, and then from now on: to etcd the id of a watch which compaction has ended stays
        // taken. -1 is how it says "no watch".
        let mut start_revision = self.revision();
        if start_revision == self.now.compacted {
            // These versions of etcd forget a deletion at the very revision of a compaction (etcd#19179).
            start_revision += 1;
        }
        let watch_id = if self.chance(85) { 0 } else { self.pick(&[50, 51]) };
        if watch_id != 0 {
            start_revision = 0;
        }
        pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: self.chance(20),
            filters,
            prev_kv: self.chance(50),
            watch_id,
            fragment: self.chance(20),
        }
    }
}
