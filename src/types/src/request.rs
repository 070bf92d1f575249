//! What can be asked of the store, and what it answers: etcd's v3 API as values.
//!
//! Field meanings are etcd's (etcd API reference); only what differs in form is explained here.

use crate::auth::{AuthRequest, AuthResponse, Caller};
use crate::ids::{ClusterId, LeaseId, LogIndex, MemberId, Revision, Term};
use crate::kv::{KeyRange, KeyValue};
use crate::v2::{V2Request, V2Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Who answered, and at which revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The member that answered.
    pub member_id: MemberId,
    /// The store's revision when the request was applied or read.
    pub revision: Revision,
    /// The member's Raft term.
    pub raft_term: Term,
}

/// A request of a client, already checked for form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// Read keys.
    Range(RangeRequest),
    /// Write one key.
    Put(PutRequest),
    /// Delete keys.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then do one of two lists of operations, atomically.
    Txn(TxnRequest),
    /// Forget old versions.
    Compact(CompactRequest),
    /// Make a lease.
    LeaseGrant(LeaseGrantRequest),
    /// End a lease and delete its keys.
    LeaseRevoke(LeaseId),
    /// Start a lease's time to live anew.
    LeaseKeepAlive(LeaseId),
    /// How long a lease still lives.
    LeaseTimeToLive(LeaseTimeToLiveRequest),
    /// All leases.
    LeaseLeases,
    /// The members of the cluster.
    MemberList {
        /// Ask a quorum first.
        linearizable: bool,
    },
    /// Add a member.
    MemberAdd(MemberAddRequest),
    /// Remove a member.
    MemberRemove(MemberId),
    /// Change a member's peer addresses.
    MemberUpdate(MemberUpdateRequest),
    /// Make a learner a voter.
    MemberPromote(MemberId),
    /// What this member knows of itself.
    Status,
    /// Hash of the keys and values up to a revision (0: the current one).
    HashKv {
        /// The revision, or 0.
        revision: Revision,
    },
    /// Give the leadership away (only asked of the leader).
    MoveLeader(MemberId),
    /// Alarms that are active.
    AlarmList,
    /// Raise or clear an alarm.
    AlarmChange(AlarmChangeRequest),
    /// A piece of this member's whole state.
    SnapshotRead(SnapshotReadRequest),
    /// Users and roles.
    Auth(AuthRequest),
    /// A request together with who asks it. Never one within another.
    As(Caller, Box<Request>),
    /// Write this member's file anew, without the room that deleted versions have left.
    Defragment,
    /// Hash of everything this member keeps: keys and values, leases, users, members.
    Hash,
    /// Prepare the cluster for an older version.
    Downgrade(DowngradeRequest),
    /// The key space of etcd's v2 API.
    V2(V2Request),
}

impl Request {
    /// The request itself, whoever asks.
    #[must_use]
    pub fn inner(&self) -> &Self {
        match self {
            Self::As(_, request) => request,
            plain => plain,
        }
    }
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant answers the request of its name")]
pub enum Response {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(Header),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(Header),
    LeaseKeepAlive(LeaseKeepAliveResponse),
    LeaseTimeToLive(LeaseTimeToLiveResponse),
    LeaseLeases(LeaseLeasesResponse),
    MemberList(MemberListResponse),
    MemberAdd(MemberAddResponse),
    MemberRemove(MemberListResponse),
    MemberUpdate(MemberListResponse),
    MemberPromote(MemberListResponse),
    Status(StatusResponse),
    HashKv(HashKvResponse),
    MoveLeader(Header),
    AlarmList(AlarmListResponse),
    AlarmChange(AlarmListResponse),
    SnapshotRead(SnapshotPiece),
    Auth(AuthResponse),
    Defragment(Header),
    Hash(HashResponse),
    Downgrade(DowngradeResponse),
    V2(V2Response),
}

/// How a range is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// By what a range is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Read keys (etcd API: RangeRequest).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At most so many; 0 is no limit.
    pub limit: i64,
    /// At this revision; 0 or less is the current one.
    pub revision: Revision,
    /// Order of the answer.
    pub sort_order: SortOrder,
    /// By what it is ordered.
    pub sort_target: SortTarget,
    /// Read this member's own state, which may lag; otherwise a quorum is asked first.
    pub serializable: bool,
    /// Leave out the values.
    pub keys_only: bool,
    /// Only the count.
    pub count_only: bool,
    /// Leave out keys last changed before; 0 is no bound.
    pub min_mod_revision: Revision,
    /// Leave out keys last changed after; 0 is no bound.
    pub max_mod_revision: Revision,
    /// Leave out keys created before; 0 is no bound.
    pub min_create_revision: Revision,
    /// Leave out keys created after; 0 is no bound.
    pub max_create_revision: Revision,
}

/// The keys found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RangeResponse {
    /// Who answered.
    pub header: Header,
    /// In the order asked for.
    pub kvs: Vec<KeyValue>,
    /// The limit cut something off.
    pub more: bool,
    /// All keys in the range, before limit and filters.
    pub count: i64,
}

/// Write one key (etcd API: PutRequest).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PutRequest {
    /// Not empty.
    pub key: Bytes,
    /// The new value.
    pub value: Bytes,
    /// Attach the key to this lease; 0 detaches it.
    pub lease: LeaseId,
    /// Answer with the version before.
    pub prev_kv: bool,
    /// Keep the value, change the rest; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// The put is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PutResponse {
    /// `revision` is that of the put.
    pub header: Header,
    /// The version before, where asked for and there was one.
    pub prev_kv: Option<KeyValue>,
}

/// Delete keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeleteRangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Answer with what was deleted.
    pub prev_kv: bool,
}

/// The delete is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeleteRangeResponse {
    /// A delete of nothing does not advance the revision.
    pub header: Header,
    /// How many keys went.
    pub deleted: i64,
    /// The versions before, where asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// How a comparison is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum CompareOp {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum CompareTarget {
    Version(i64),
    Create(Revision),
    Mod(Revision),
    Value(Bytes),
    Lease(LeaseId),
}

/// One comparison: holds for every key of the range (a missing single key counts as version 0).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// `key OP target`.
    pub op: CompareOp,
    /// What of the key, and the value to compare with.
    pub target: CompareTarget,
}

/// One operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as the request inside")]
pub enum TxnOp {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
}

/// A transaction (etcd API: Txn).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxnRequest {
    /// All must hold for `success` to be taken.
    pub compare: Vec<Compare>,
    /// Done where the comparisons hold.
    pub success: Vec<TxnOp>,
    /// Done where one of them does not.
    pub failure: Vec<TxnOp>,
}

impl TxnRequest {
    /// Whether neither branch can write; such a transaction is a read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            TxnOp::Range(_) => true,
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
            TxnOp::Txn(inner) => inner.is_read_only(),
        })
    }

    /// Whether every read in it allows the member's own state.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            TxnOp::Range(range) => range.serializable,
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
            TxnOp::Txn(inner) => inner.is_serializable(),
        })
    }
}

/// The answer to one operation of a transaction. Their inner headers hold only the revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named as the operation")]
pub enum TxnOpResponse {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
}

/// The transaction is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxnResponse {
    /// One revision for the whole transaction.
    pub header: Header,
    /// Whether the comparisons held.
    pub succeeded: bool,
    /// One per operation of the branch taken.
    pub responses: Vec<TxnOpResponse>,
}

/// Forget versions that are not the newest at `revision`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompactRequest {
    /// Up to and including this revision.
    pub revision: Revision,
    /// Answer only when the old versions are gone from disk.
    pub physical: bool,
}

/// Make a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseGrantRequest {
    /// 0 lets the member choose one.
    pub id: LeaseId,
    /// Time to live, in seconds.
    pub ttl_seconds: i64,
}

/// The lease exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in the request")]
pub struct LeaseGrantResponse {
    pub header: Header,
    pub id: LeaseId,
    /// What was granted; at least the election timeout.
    pub ttl_seconds: i64,
}

/// The lease's time starts anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in the request")]
pub struct LeaseKeepAliveResponse {
    pub header: Header,
    pub id: LeaseId,
    /// 0: there is no such lease.
    pub ttl_seconds: i64,
}

/// How long a lease still lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseTimeToLiveRequest {
    /// Which lease.
    pub id: LeaseId,
    /// Name its keys too.
    pub keys: bool,
}

/// How long it still lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in the request")]
pub struct LeaseTimeToLiveResponse {
    pub header: Header,
    pub id: LeaseId,
    /// Seconds left; -1: there is no such lease.
    pub ttl_seconds: i64,
    /// As granted; 0 where there is no such lease.
    pub granted_ttl_seconds: i64,
    /// Sorted.
    pub keys: Vec<Bytes>,
}

/// All leases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct LeaseLeasesResponse {
    pub header: Header,
    pub leases: Vec<LeaseId>,
}

/// One member as the cluster knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Empty until the member has started and told its name.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// It does not vote.
    pub is_learner: bool,
}

/// The members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct MemberListResponse {
    pub header: Header,
    /// In order of id.
    pub members: Vec<Member>,
}

/// Add a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct MemberAddRequest {
    pub peer_urls: Vec<String>,
    pub is_learner: bool,
}

/// The member was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct MemberAddResponse {
    pub header: Header,
    pub member: Member,
    pub members: Vec<Member>,
}

/// Change a member's peer addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct MemberUpdateRequest {
    pub id: MemberId,
    pub peer_urls: Vec<String>,
}

/// What a member knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusResponse {
    /// Who answered.
    pub header: Header,
    /// The etcd version whose API this is.
    pub version: String,
    /// Bytes the backend's file takes.
    pub db_size: i64,
    /// Bytes of it in use.
    pub db_size_in_use: i64,
    /// The leader it knows, or [`MemberId::NONE`].
    pub leader: MemberId,
    /// Its commit index.
    pub raft_index: LogIndex,
    /// Its term.
    pub raft_term: Term,
    /// Its applied index.
    pub raft_applied_index: LogIndex,
    /// What is wrong with it, in sentences.
    pub errors: Vec<String>,
    /// It does not vote.
    pub is_learner: bool,
    /// Bytes the backend's file may take before the NOSPACE alarm is raised; 0 is no limit.
    pub db_size_quota: i64,
    /// The version of etcd whose data this member's files hold.
    pub storage_version: String,
    /// The version the cluster is being taken back to; empty where it is not.
    pub downgrade_to: String,
}

/// Hash of the keys and values up to a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub struct HashKvResponse {
    pub header: Header,
    pub hash: u32,
    pub compact_revision: Revision,
    pub hash_revision: Revision,
}

/// Hash of everything a member keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct HashResponse {
    pub header: Header,
    pub hash: u32,
}

/// What is to be done about an older version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "etcd's names")]
pub enum DowngradeAction {
    Validate,
    Enable,
    Cancel,
}

/// Prepare the cluster for an older version, or ask whether that can be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DowngradeRequest {
    /// What.
    pub action: DowngradeAction,
    /// Which version; empty to cancel.
    pub version: String,
}

/// The downgrade is possible, begun or called off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DowngradeResponse {
    /// Who answered.
    pub header: Header,
    /// The cluster's version now.
    pub version: String,
}

/// An alarm that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    /// The quota is used up.
    NoSpace,
    /// Members disagree.
    Corrupt,
}

/// A piece of the member's whole state, as it was when its first piece was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotReadRequest {
    /// As in the first answer; 0 asks for a new snapshot.
    pub id: u64,
    /// Where the piece begins: where the one before ended.
    pub offset: u64,
    /// It is going to be read once more from its start, and so is kept beyond its last piece.
    pub again: bool,
}

/// A piece of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotPiece {
    /// Who answered.
    pub header: Header,
    /// Which snapshot.
    pub id: u64,
    /// The bytes.
    pub data: Bytes,
    /// They are the last.
    pub done: bool,
}

/// Raise or clear an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlarmChangeRequest {
    /// Raise it; else clear it.
    pub raise: bool,
    /// Whose alarm.
    pub member: MemberId,
    /// Which.
    pub kind: AlarmKind,
}

/// The alarms that are on; in the answer to a change, those that it raised or cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain")]
pub struct AlarmListResponse {
    pub header: Header,
    pub alarms: Vec<(MemberId, AlarmKind)>,
}

impl Response {
    /// The header of the answer.
    #[must_use]
    pub fn header(&self) -> &Header {
        match self {
            Self::Range(r) => &r.header,
            Self::Put(r) => &r.header,
            Self::DeleteRange(r) => &r.header,
            Self::Txn(r) => &r.header,
            Self::Compact(h) | Self::LeaseRevoke(h) | Self::MoveLeader(h) => h,
            Self::LeaseGrant(r) => &r.header,
            Self::LeaseKeepAlive(r) => &r.header,
            Self::LeaseTimeToLive(r) => &r.header,
            Self::LeaseLeases(r) => &r.header,
            Self::MemberList(r) | Self::MemberRemove(r) | Self::MemberUpdate(r) | Self::MemberPromote(r) => {
                &r.header
            }
            Self::MemberAdd(r) => &r.header,
            Self::Status(r) => &r.header,
            Self::HashKv(r) => &r.header,
            Self::AlarmList(r) | Self::AlarmChange(r) => &r.header,
            Self::SnapshotRead(r) => &r.header,
            Self::Auth(r) => &r.header,
            Self::Defragment(h) => h,
            Self::Hash(r) => &r.header,
            Self::Downgrade(r) => &r.header,
            Self::V2(r) => &r.header,
        }
    }
}

impl Response {
    /// The header of the answer, to be completed by the member that gives it.
    #[must_use]
    pub fn header_mut(&mut self) -> &mut Header {
        match self {
            Self::Range(r) => &mut r.header,
            Self::Put(r) => &mut r.header,
            Self::DeleteRange(r) => &mut r.header,
            Self::Txn(r) => &mut r.header,
            Self::Compact(h) | Self::LeaseRevoke(h) | Self::MoveLeader(h) => h,
            Self::LeaseGrant(r) => &mut r.header,
            Self::LeaseKeepAlive(r) => &mut r.header,
            Self::LeaseTimeToLive(r) => &mut r.header,
            Self::LeaseLeases(r) => &mut r.header,
            Self::MemberList(r) | Self::MemberRemove(r) | Self::MemberUpdate(r) | Self::MemberPromote(r) => {
                &mut r.header
            }
            Self::MemberAdd(r) => &mut r.header,
            Self::Status(r) => &mut r.header,
            Self::HashKv(r) => &mut r.header,
            Self::AlarmList(r) | Self::AlarmChange(r) => &mut r.header,
            Self::SnapshotRead(r) => &mut r.header,
            Self::Auth(r) => &mut r.header,
            Self::Defragment(h) => h,
            Self::Hash(r) => &mut r.header,
            Self::Downgrade(r) => &mut r.header,
            Self::V2(r) => &mut r.header,
        }
    }
}
