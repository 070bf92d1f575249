//! The state machine of a member: applies log entries, one after the other, to keys, leases, watches and the
//! cluster table.

use crate::auth::Auth;
use crate::backend::{Backend, BackendError, Batch, BatchId, Size, Table, View};
use crate::command::Command;
use crate::lease::{LEASE_TTL_SECONDS_MAX, Leases};
use crate::mvcc::{Counters, Failure, HashTask, Mvcc, Reading, check_count};
use crate::snapshot::{Import, SnapshotError, SnapshotHeader, SnapshotReader};
use crate::v2::V2;
use crate::watch::{HubOptions, Output, WatchHub};
use bytes::Bytes;
use seatrial_types::auth::{AuthResponse, Identity};
use seatrial_types::request::{
    HashKvResponse, Header, LeaseGrantRequest, LeaseGrantResponse, LeaseLeasesResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, RangeRequest, RangeResponse, Response, TxnRequest,
    TxnResponse,
};
use seatrial_types::watch::{StreamId, WatchRequest};
use seatrial_types::{Error, Event, LeaseId, LogIndex, Revision, Term};
use std::ops::Bound;
use std::time::Duration;

const STATE_KEY: &[u8] = b"state";
const STATE_BYTES: usize = 5 * 8;

/// What an entry comes to: an answer for whoever proposed it (`None` for entries no client waits for), or the
/// reason why it was refused. Headers hold only the revision.
pub type Answer = Result<Option<Response>, Error>;

/// What applying an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For the proposer.
    pub answer: Answer,
    /// The changes, in order; all of one revision.
    pub events: Vec<Event>,
    /// For this member's watchers.
    pub watch: Vec<Output>,
}

/// The row that says how far the tables are. It changes in the same batch as they do, always: were the applied
/// index durable apart from the data, a crash could apply an entry twice or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StateRow {
    applied: LogIndex,
    applied_term: Term,
    counters: Counters,
}

impl StateRow {
    fn encode(self) -> Bytes {
        let Counters { revision, compacted, finished } = self.counters;
        let mut out = Vec::with_capacity(STATE_BYTES + 4);
        out.extend_from_slice(&self.applied.0.to_le_bytes());
        out.extend_from_slice(&self.applied_term.0.to_le_bytes());
        for number in [revision, compacted, finished] {
            out.extend_from_slice(&number.0.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.into()
    }

    /// The last compaction is gone through again: nobody knows whether it had come to its end.
    pub(crate) fn of(header: &SnapshotHeader) -> Self {
        let SnapshotHeader { applied, applied_term, revision, compacted } = *header;
        Self { applied, applied_term, counters: Counters { revision, compacted, ..Counters::default() } }
    }

    /// Key and value.
    pub(crate) fn row(self) -> (Bytes, Bytes) {
        (Bytes::from_static(STATE_KEY), self.encode())
    }

    /// `None` for a row of another key.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Option<Self>, BackendError> {
        if key != STATE_KEY {
            return Ok(None);
        }
        let Some((body, crc)) = value.split_last_chunk::<4>().filter(|(body, _)| body.len() == STATE_BYTES)
        else {
            return Err(BackendError::damaged(format!("the state row has {} bytes", value.len())));
        };
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(BackendError::damaged("the state row does not match its checksum"));
        }
        let number =
            |at: usize| u64::from_le_bytes(body[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        Ok(Some(Self {
            applied: LogIndex(number(0)),
            applied_term: Term(number(1)),
            counters: Counters {
                revision: Revision(number(2) as i64),
                compacted: Revision(number(3) as i64),
                finished: Revision(number(4) as i64),
            },
        }))
    }

    pub(crate) fn header(&self) -> SnapshotHeader {
        SnapshotHeader {
            applied: self.applied,
            applied_term: self.applied_term,
            revision: self.counters.revision,
            compacted: self.counters.compacted,
        }
    }

    fn load<V: View>(backend: &V) -> Result<Self, BackendError> {
        let row = backend.get(Table::State, STATE_KEY)?;
        let row = row.map(|value| Self::decode(STATE_KEY, &value)).transpose()?.flatten();
        Ok(row.unwrap_or(Self {
            applied: LogIndex::ZERO,
            applied_term: Term(0),
            counters: Counters::default(),
        }))
    }
}

/// The state machine. A value: cloning it (with a backend that can be cloned) forks the member's state.
///
/// Applying is deterministic in everything but deadlines and watches, which are this member's own. A
/// [`BackendError`] means that the member must stop: its state in memory may be half changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store<B> {
    mvcc: Mvcc<B>,
    leases: Leases,
    auth: Auth,
    hub: WatchHub,
    v2: V2,
    applied: LogIndex,
    applied_term: Term,
}

fn load_leases<B: Backend>(backend: &B) -> Result<Leases, BackendError> {
    let mut leases = Leases::default();
    let rows = backend.scan(Table::Lease, Bound::Unbounded, Bound::Unbounded, usize::MAX)?;
    check_count(backend, Table::Lease, rows.len() as u64)?;
    for (key, value) in rows {
        let (id, ttl_seconds, left_seconds) = read_lease(&key, &value)?;
        leases.grant(id, ttl_seconds, Duration::ZERO);
        if let Some(left) = left_seconds {
            leases.note(id, left);
        }
    }
    Ok(leases)
}

impl<B: Backend> Store<B> {
    /// Opens the state in the backend (an empty one is a new store), rebuilding what is kept in memory.
    ///
    /// # Errors
    /// The backend's, and damage found.
    pub fn open(backend: B, hub: HubOptions) -> Result<Self, BackendError> {
        let state = StateRow::load(&backend)?;
        let mut leases = load_leases(&backend)?;
        let rows = backend.scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, usize::MAX)?;
        check_count(&backend, Table::Meta, rows.len() as u64)?;
        let auth = Auth::load(&backend)?;
        let v2 = V2::load(&backend)?;
        let mvcc = Mvcc::open(backend, state.counters, &mut leases)?;
        let StateRow { applied, applied_term, .. } = state;
        Ok(Self { mvcc, leases, auth, hub: WatchHub::new(hub), v2, applied, applied_term })
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The term of the last entry applied.
    #[must_use]
    pub fn applied_term(&self) -> Term {
        self.applied_term
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.mvcc.revision()
    }

    /// The oldest revision that can be read; -1 before the first compaction.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.mvcc.compacted()
    }

    /// Keys and versions.
    #[must_use]
    pub fn mvcc(&self) -> &Mvcc<B> {
        &self.mvcc
    }

    /// The leases.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The leases, to promote, demote and renew.
    pub fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }

    /// Users and roles.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The v2 key space.
    #[must_use]
    pub fn v2(&self) -> &V2 {
        &self.v2
    }

    /// The v2 key space, to read from, wait at, and take from it what is to be told.
    pub fn v2_mut(&mut self) -> &mut V2 {
        &mut self.v2
    }

    /// The watches.
    #[must_use]
    pub fn hub(&self) -> &WatchHub {
        &self.hub
    }

    /// Applies the entry behind the last one. `now` is this member's monotonic time; it starts the time of a lease
    /// granted while the member leads, and nothing else depends on it.
    ///
    /// # Errors
    /// The backend's: the member must stop. A refused request is an answer, not an error.
    ///
    /// # Panics
    /// Where entries are left out or repeated.
    pub fn apply(
        &mut self,
        index: LogIndex,
        term: Term,
        command: &Command,
        now: Duration,
    ) -> Result<Applied, BackendError> {
        self.advance(index, term);
        let (answer, events) = match self.run(command, now) {
            Ok((response, events)) => (Ok(response), events),
            Err(Failure::Refused(error)) => (Err(error), Vec::new()),
            Err(Failure::Broken(error)) => return Err(error),
        };
        self.note_state();
        let watch = self.hub.notify(&events, &self.mvcc)?;
        Ok(Applied { answer, events, watch })
    }

    /// Passes over an entry that is none of the state machine's business.
    ///
    /// # Panics
    /// Where entries are left out or repeated.
    pub fn skip(&mut self, index: LogIndex, term: Term) {
        self.advance(index, term);
        self.note_state();
    }

    fn advance(&mut self, index: LogIndex, term: Term) {
        assert!(index == self.applied.next(), "entry {index} applied after {}", self.applied);
        assert!(term >= self.applied_term, "entry {index} of term {term} after {}", self.applied_term);
        self.applied = index;
        self.applied_term = term;
    }

    fn note_state(&mut self) {
        let (applied, applied_term) = (self.applied, self.applied_term);
        let row = StateRow { applied, applied_term, counters: self.mvcc.counters() };
        self.mvcc.backend_mut().put(Table::State, Bytes::from_static(STATE_KEY), row.encode());
    }

    fn run(&mut self, command: &Command, now: Duration) -> Result<(Option<Response>, Vec<Event>), Failure> {
        let command = match command {
            Command::As(who, command) => {
                self.auth.check_command(who, command, &self.leases)?;
                command
            }
            // The end of a lease that ran out comes from the member itself, and nobody else's comes without a name.
            Command::LeaseRevoke(_) => command,
            plain => {
                self.auth.check_command(&Identity::default(), plain, &self.leases)?;
                plain
            }
        };
        let Self { mvcc, leases, auth, v2, .. } = self;
        Ok(match command {
            Command::V2(change) => {
                let response = v2.change(change, mvcc.header(), mvcc.backend_mut());
                (Some(Response::V2(response)), Vec::new())
            }
            Command::V2Tick(clock_ms) => {
                v2.tick(*clock_ms, mvcc.backend_mut());
                (None, Vec::new())
            }
            Command::Put(request) => {
                let (response, events) = mvcc.put(request, leases)?;
                (Some(Response::Put(response)), events)
            }
            Command::DeleteRange(request) => {
                let (response, events) = mvcc.delete_range(request, leases)?;
                (Some(Response::DeleteRange(response)), events)
            }
            Command::Txn(request) => {
                let (response, events) = mvcc.txn(request, leases)?;
                (Some(Response::Txn(response)), events)
            }
            Command::Compact(request) => {
                mvcc.compact(request.revision)?;
                (Some(Response::Compact(mvcc.header())), Vec::new())
            }
            Command::LeaseGrant(request) => (Some(self.grant(request, now)?), Vec::new()),
            Command::LeaseRevoke(id) => {
                let keys = leases.revoke(*id).ok_or(Error::LeaseNotFound)?;
                mvcc.backend_mut().delete(Table::Lease, lease_row(*id));
                let events = mvcc.delete_keys(keys, leases);
                (Some(Response::LeaseRevoke(mvcc.header())), events)
            }
            Command::LeaseCheckpoint(list) => {
                for (id, left) in list {
                    let Some(ttl) = leases.granted_ttl_seconds(*id) else { continue };
                    leases.note(*id, *left);
                    let row = lease_value(ttl, Some(*left).filter(|left| *left > 0));
                    mvcc.backend_mut().put(Table::Lease, lease_row(*id), row);
                }
                (None, Vec::new())
            }
            Command::Meta(rows) => {
                for (key, value) in rows {
                    match value {
                        Some(value) => mvcc.backend_mut().put(Table::Meta, key.clone(), value.clone()),
                        None => mvcc.backend_mut().delete(Table::Meta, key.clone()),
                    }
                }
                (None, Vec::new())
            }
            Command::Auth(request) => {
                let answer = auth.change(request, mvcc.backend_mut())?;
                (Some(Response::Auth(AuthResponse::at(mvcc.revision(), answer))), Vec::new())
            }
            Command::As(..) => return Err(Error::PermissionDenied.into()),
        })
    }

    fn grant(&mut self, request: &LeaseGrantRequest, now: Duration) -> Result<Response, Error> {
        let LeaseGrantRequest { id, ttl_seconds } = *request;
        if id == LeaseId::NONE {
            // The proposer draws an id; an entry without one grants nothing.
            return Err(Error::LeaseNotFound);
        }
        if ttl_seconds > LEASE_TTL_SECONDS_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if !self.leases.grant(id, ttl_seconds, now) {
            return Err(Error::LeaseExists);
        }
        self.mvcc.backend_mut().put(Table::Lease, lease_row(id), lease_value(ttl_seconds, None));
        Ok(Response::LeaseGrant(LeaseGrantResponse { header: self.mvcc.header(), id, ttl_seconds }))
    }

    /// Reads keys.
    ///
    /// # Errors
    /// See [`Mvcc::range`].
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Failure> {
        self.mvcc.range(request)
    }

    /// See [`Mvcc::reading`].
    #[must_use]
    pub fn reading(&self, request: &RangeRequest, keys_max: usize) -> Option<Reading<B::Snapshot>> {
        self.mvcc.reading(request, keys_max)
    }

    /// A transaction that only reads.
    ///
    /// # Errors
    /// See [`Mvcc::read_txn`].
    ///
    /// # Panics
    /// Where it could write.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Failure> {
        self.mvcc.read_txn(request)
    }

    /// Hash of the versions up to a revision.
    ///
    /// # Errors
    /// See [`Mvcc::hash_kv`].
    pub fn hash_kv(&self, revision: Revision) -> Result<HashKvResponse, Failure> {
        self.mvcc.hash_kv(revision)
    }

    /// Begins to take the hash of the versions up to the newest revision, bit by bit.
    #[must_use]
    pub fn hash_task(&self) -> HashTask {
        self.mvcc.hash_task(self.mvcc.revision())
    }

    /// Looks at the next rows: `Some(true)` once there are no more, `None` where a compaction has overtaken the
    /// task, so that nobody else would come to the same hash.
    ///
    /// # Errors
    /// The backend's.
    pub fn hash_step(&self, task: &mut HashTask, rows_max: usize) -> Result<Option<bool>, BackendError> {
        if task.compacted() != self.mvcc.compacted() {
            return Ok(None);
        }
        self.mvcc.hash_step(task, rows_max).map(Some)
    }

    /// How long a lease still lives; -1 where there is none. A member that does not lead knows no time left and
    /// answers with the whole.
    #[must_use]
    pub fn lease_time_to_live(
        &self,
        request: &LeaseTimeToLiveRequest,
        now: Duration,
    ) -> LeaseTimeToLiveResponse {
        let (header, id) = (self.mvcc.header(), request.id);
        let Some(granted) = self.leases.granted_ttl_seconds(id) else {
            return LeaseTimeToLiveResponse {
                header,
                id,
                ttl_seconds: -1,
                ..LeaseTimeToLiveResponse::default()
            };
        };
        let left = self.leases.time_left(id, now);
        let left = left.map_or(granted, |left| i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
        let keys = if request.keys { self.leases.keys(id) } else { Vec::new() };
        LeaseTimeToLiveResponse { header, id, ttl_seconds: left, granted_ttl_seconds: granted, keys }
    }

    /// All leases.
    #[must_use]
    pub fn lease_leases(&self) -> LeaseLeasesResponse {
        LeaseLeasesResponse { header: self.mvcc.header(), leases: self.leases.ids().collect() }
    }

    /// A header that holds the newest revision.
    #[must_use]
    pub fn header(&self) -> Header {
        self.mvcc.header()
    }

    /// A row of the cluster table.
    ///
    /// # Errors
    /// The backend's.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        self.mvcc.backend().get(Table::Meta, key)
    }

    /// All rows of the cluster table.
    ///
    /// # Errors
    /// The backend's.
    pub fn meta_rows(&self) -> Result<Vec<(Bytes, Bytes)>, BackendError> {
        self.mvcc.backend().scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, usize::MAX)
    }

    /// Writes a row of the cluster table without an entry: for a tool that makes a new cluster of old data.
    pub fn rewrite_meta(&mut self, key: Bytes, value: Bytes) {
        self.mvcc.backend_mut().put(Table::Meta, key, value);
    }

    /// Serves a request on a client's watch stream.
    ///
    /// # Errors
    /// The backend's.
    pub fn watch(&mut self, stream: StreamId, request: WatchRequest) -> Result<Vec<Output>, BackendError> {
        self.hub.request(stream, request, &self.mvcc)
    }

    /// Lets a stream be sent so much more, in units of [`seatrial_types::watch::WatchResponse::credit`].
    pub fn watch_credit(&mut self, stream: StreamId, more: u32) {
        self.hub.credit(stream, more);
    }

    /// Ends a stream.
    pub fn watch_close(&mut self, stream: StreamId) {
        self.hub.close(stream);
    }

    /// Whether watchers are behind and could be brought forward.
    #[must_use]
    pub fn watch_has_work(&self) -> bool {
        self.hub.has_work()
    }

    /// Brings watchers forward that are behind, reading about `rows_max` changes.
    ///
    /// # Errors
    /// The backend's.
    pub fn watch_step(&mut self, rows_max: usize) -> Result<Vec<Output>, BackendError> {
        self.hub.step(rows_max, &self.mvcc)
    }

    /// The round of progress notifications for watchers which asked for them.
    pub fn watch_notify_progress(&mut self) -> Vec<Output> {
        self.hub.notify_progress(&self.mvcc)
    }

    /// Whether rows of compacted revisions are still to be removed.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.mvcc.is_compacting()
    }

    /// Removes rows of compacted revisions, looking at no more than `budget` keys. True once all are gone.
    pub fn compact_step(&mut self, budget: usize) -> bool {
        if !self.mvcc.is_compacting() {
            return true;
        }
        let is_done = self.mvcc.compact_step(budget);
        if is_done {
            self.note_state();
        }
        is_done
    }

    /// Closes what was written since the last call into a batch, to be made durable in order. With it, the state is
    /// durable up to [`Store::applied`] as it is now.
    pub fn seal(&mut self) -> Option<Batch> {
        self.mvcc.backend_mut().seal()
    }

    /// A batch is durable.
    ///
    /// # Errors
    /// The backend's.
    pub fn committed(&mut self, id: BatchId) -> Result<(), BackendError> {
        self.mvcc.backend_mut().committed(id)
    }

    /// Bytes written but not durable.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.mvcc.backend().pending_bytes()
    }

    /// Bytes used.
    #[must_use]
    pub fn size(&self) -> Size {
        self.mvcc.backend().size()
    }

    /// The state as it is now, to be sent to another member.
    #[must_use]
    pub fn export(&self) -> SnapshotReader<B::Snapshot> {
        let (applied, applied_term) = (self.applied, self.applied_term);
        let state = StateRow { applied, applied_term, counters: self.mvcc.counters() };
        SnapshotReader::new(self.mvcc.backend().snapshot(), state.header())
    }

    /// Begins to take in another member's state, beside the present one. `name` becomes a file name.
    ///
    /// # Errors
    /// The backend's.
    pub fn import(&self, name: &str) -> Result<Import<B>, BackendError> {
        Import::new(self.mvcc.backend(), name)
    }

    /// Replaces the whole state by an imported one. It becomes durable with the next batch, atomically; watchers
    /// catch up from where they were; the member does not lead.
    ///
    /// # Errors
    /// Where the import is incomplete nothing has changed; a backend's error means that the member must stop.
    ///
    /// # Panics
    /// Where the import is older than the state.
    pub fn install(&mut self, import: Import<B>) -> Result<SnapshotHeader, SnapshotError> {
        let (staging, header) = import.finish()?;
        assert!(header.applied >= self.applied, "state {} replaced by {}", self.applied, header.applied);
        let old_revision = self.mvcc.revision();
        self.mvcc.backend_mut().replace(staging)?;
        let state = StateRow::load(self.mvcc.backend())?;
        let mut leases = load_leases(self.mvcc.backend())?;
        self.mvcc.reload(state.counters, &mut leases)?;
        self.leases = leases;
        self.auth = Auth::load(self.mvcc.backend())?;
        self.v2.reload(self.mvcc.backend())?;
        self.applied = state.applied;
        self.applied_term = state.applied_term;
        self.hub.restored(old_revision);
        Ok(header)
    }

    /// The backend's file was written anew.
    ///
    /// # Errors
    /// The backend's.
    pub fn rewritten(&mut self) -> Result<(), BackendError> {
        self.mvcc.backend_mut().rewritten()
    }

    /// Hash of everything this member keeps: equal on members that have applied the same.
    ///
    /// # Errors
    /// The backend's.
    pub fn hash(&self) -> Result<u32, BackendError> {
        self.hash_with(&[self.mvcc.revision().0 as u64, self.mvcc.compacted().0 as u64])
    }

    /// A number that is equal on members with equal state at the same applied index, whatever each has
    /// physically compacted, made durable or promised to watchers.
    ///
    /// # Errors
    /// The backend's.
    pub fn digest(&self) -> Result<u32, BackendError> {
        let counters = [self.mvcc.revision(), self.mvcc.compacted()].map(|revision| revision.0 as u64);
        self.hash_with(&[self.applied.0, self.applied_term.0, counters[0], counters[1]])
    }

    fn hash_with(&self, numbers: &[u64]) -> Result<u32, BackendError> {
        let hash = match self.mvcc.hash_kv(Revision(0)) {
            Ok(response) => response.hash,
            Err(Failure::Broken(error)) => return Err(error),
            Err(Failure::Refused(error)) => panic!("the newest revision can always be read: {error}"),
        };
        let mut digest = hash;
        let mut add = |bytes: &[u8]| digest = crc32c::crc32c_append(digest, bytes);
        for number in numbers {
            add(&number.to_le_bytes());
        }
        for table in [Table::Lease, Table::Meta] {
            for (key, value) in
                self.mvcc.backend().scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX)?
            {
                add(&(key.len() as u64).to_le_bytes());
                add(&key);
                add(&(value.len() as u64).to_le_bytes());
                add(&value);
            }
        }
        Ok(digest)
    }

    /// Gives the backend back.
    #[must_use]
    pub fn into_backend(self) -> B {
        self.mvcc.into_backend()
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        self.mvcc.backend()
    }

    /// Panics where an invariant does not hold.
    pub fn check(&self) {
        self.mvcc.check();
        self.leases.check();
        self.auth.check();
        self.hub.check();
        self.v2.check();
    }
}

pub(crate) fn lease_row(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

pub(crate) fn lease_value(ttl_seconds: i64, left_seconds: Option<i64>) -> Bytes {
    let left = left_seconds.map(i64::to_be_bytes);
    [&ttl_seconds.to_be_bytes()[..], left.as_ref().map_or(&[], |left| &left[..])].concat().into()
}

/// Id, time to live, and what was left of it.
pub(crate) fn read_lease(key: &[u8], value: &[u8]) -> Result<(LeaseId, i64, Option<i64>), BackendError> {
    let malformed = || BackendError::damaged(format!("the lease row {key:?} is malformed"));
    let id = <[u8; 8]>::try_from(key).map_err(|_| malformed())?;
    let (ttl, left) = value.split_first_chunk::<8>().ok_or_else(malformed)?;
    let left = match left {
        [] => None,
        left => Some(i64::from_be_bytes(<[u8; 8]>::try_from(left).map_err(|_| malformed())?)),
    };
    Ok((LeaseId(i64::from_be_bytes(id)), i64::from_be_bytes(*ttl), left))
}
