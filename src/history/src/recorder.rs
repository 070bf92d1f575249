//! Writing a history down while it happens, and translating the store's own requests and answers.

use crate::op::{
    Action, Answer, Compare, Delete, Found, Get, History, Input, Kv, Operation, Outcome, Put, Relation,
    Snapshot, Target, Txn,
};
use seatrial_types::kv::KeyRange;
use seatrial_types::request::{
    self, CompareOp, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, TxnOp, TxnOpResponse,
    TxnRequest,
};
use seatrial_types::{KeyValue, Request, Response};

/// Collects operations as they begin and end. Whatever never ends is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recorder {
    history: History,
}

impl Recorder {
    /// For a store that begins empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For a store that begins with this content.
    #[must_use]
    pub fn starting_at(initial: Snapshot) -> Self {
        Self { history: History { initial, operations: Vec::new() } }
    }

    /// A client asks at `now_ns`; the answer is handed to [`Recorder::end`] with the place returned here.
    pub fn begin(&mut self, client: u32, member: Option<String>, now_ns: u64, input: Input) -> usize {
        let outcome = Outcome::Unknown { error: String::new() };
        self.history.operations.push(Operation { client, member, call: now_ns, ret: None, input, outcome });
        self.history.operations.len() - 1
    }

    /// The operation at `place` ended at `now_ns`.
    ///
    /// # Panics
    /// Where it had ended before, or ends before it began.
    pub fn end(&mut self, place: usize, now_ns: u64, outcome: Outcome) {
        let operation = &mut self.history.operations[place];
        assert!(operation.ret.is_none(), "operation {place} ended twice: {operation:?}");
        assert!(
            now_ns >= operation.call,
            "operation {place} ended at {now_ns}, called at {}",
            operation.call
        );
        operation.ret = Some(now_ns);
        operation.outcome = outcome;
    }

    /// Which member answered, where that is known only afterwards.
    pub fn set_member(&mut self, place: usize, member: impl Into<String>) {
        self.history.operations[place].member = Some(member.into());
    }

    /// What is recorded so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The history.
    #[must_use]
    pub fn finish(self) -> History {
        self.history
    }
}

impl Outcome {
    /// The outcome of a request of the store's own kind. `None` where histories do not record such
    /// requests (leases, members, …) or the answer does not belong to the request.
    #[must_use]
    pub fn from_response(response: &Response) -> Option<Self> {
        let (header, result) = match response {
            Response::Range(range) => (&range.header, found(range)),
            Response::Put(put) => (&put.header, Answer::Put),
            Response::DeleteRange(delete) => (&delete.header, deleted(delete)),
            Response::Txn(txn) => (&txn.header, txn_answer(txn)?),
            _ => return None,
        };
        Some(Self::Ok { revision: header.revision.0, result })
    }

    /// The outcome of a request that ended in an error: unknown where the error leaves it open.
    #[must_use]
    pub fn from_error(error: &seatrial_types::Error) -> Self {
        let text = error.to_string();
        if error.is_ambiguous() { Self::Unknown { error: text } } else { Self::Failed { error: text } }
    }
}

fn kv(kv: &KeyValue) -> Kv {
    Kv {
        key: kv.key.clone().into(),
        value: kv.value.clone().into(),
        mod_revision: kv.mod_revision.0,
        create_revision: kv.create_revision.0,
        version: kv.version,
    }
}

impl From<&KeyValue> for Kv {
    fn from(other: &KeyValue) -> Self {
        kv(other)
    }
}

fn found(range: &request::RangeResponse) -> Answer {
    let count = u64::try_from(range.count).ok();
    Answer::Get(Found { kvs: range.kvs.iter().map(kv).collect(), count })
}

fn deleted(delete: &request::DeleteRangeResponse) -> Answer {
    Answer::Delete { deleted: u64::try_from(delete.deleted).unwrap_or(0) }
}

fn txn_answer(txn: &request::TxnResponse) -> Option<Answer> {
    let results: Option<Vec<Answer>> = txn
        .responses
        .iter()
        .map(|response| match response {
            TxnOpResponse::Range(range) => Some(found(range)),
            TxnOpResponse::Put(_) => Some(Answer::Put),
            TxnOpResponse::DeleteRange(delete) => Some(deleted(delete)),
            TxnOpResponse::Txn(_) => None,
        })
        .collect();
    Some(Answer::Txn { succeeded: txn.succeeded, results: results? })
}

impl Input {
    /// The request as histories record it. `None` where they have no word for it: leases and members,
    /// sorting, filters, reads without values, puts that keep the old value, nested transactions.
    #[must_use]
    pub fn from_request(request: &Request) -> Option<Self> {
        match request {
            Request::Range(range) => get(range).map(Self::Get),
            Request::Put(request) => put(request).map(Self::Put),
            Request::DeleteRange(request) => Some(Self::Delete(delete(request))),
            Request::Txn(request) => txn(request).map(Self::Txn),
            _ => None,
        }
    }

    /// The request to send for it.
    #[must_use]
    pub fn to_request(&self) -> Request {
        match self {
            Self::Get(get) => Request::Range(range_request(get)),
            Self::Put(put) => Request::Put(put_request(put)),
            Self::Delete(delete) => Request::DeleteRange(delete_request(delete)),
            Self::Txn(txn) => Request::Txn(TxnRequest {
                compare: txn.compare.iter().map(compare_request).collect(),
                success: txn.then.iter().map(action_request).collect(),
                failure: txn.otherwise.iter().map(action_request).collect(),
            }),
        }
    }
}

fn end_of(range: &KeyRange) -> Option<crate::blob::Blob> {
    (!range.is_single()).then(|| range.end.clone().into())
}

fn get(range: &RangeRequest) -> Option<Get> {
    let plain = RangeRequest {
        range: range.range.clone(),
        limit: range.limit,
        revision: range.revision,
        serializable: range.serializable,
        ..RangeRequest::default()
    };
    (*range == plain).then(|| Get {
        key: range.range.key.clone().into(),
        end: end_of(&range.range),
        serializable: range.serializable,
        revision: range.revision.0.max(0),
        limit: range.limit.max(0),
    })
}

fn put(request: &PutRequest) -> Option<Put> {
    (!request.ignore_value)
        .then(|| Put { key: request.key.clone().into(), value: request.value.clone().into() })
}

fn delete(request: &DeleteRangeRequest) -> Delete {
    Delete { key: request.range.key.clone().into(), end: end_of(&request.range) }
}

fn txn(request: &TxnRequest) -> Option<Txn> {
    let action = |op: &TxnOp| match op {
        TxnOp::Range(range) => get(range).map(Action::Get),
        TxnOp::Put(request) => put(request).map(Action::Put),
        TxnOp::DeleteRange(request) => Some(Action::Delete(delete(request))),
        TxnOp::Txn(_) => None,
    };
    Some(Txn {
        compare: request.compare.iter().map(compare).collect::<Option<_>>()?,
        then: request.success.iter().map(action).collect::<Option<_>>()?,
        otherwise: request.failure.iter().map(action).collect::<Option<_>>()?,
    })
}

fn compare(compare: &request::Compare) -> Option<Compare> {
    let target = match &compare.target {
        CompareTarget::Version(version) => Target::Version(*version),
        CompareTarget::Create(revision) => Target::CreateRevision(revision.0),
        CompareTarget::Mod(revision) => Target::ModRevision(revision.0),
        CompareTarget::Value(value) => Target::Value(value.clone().into()),
        CompareTarget::Lease(_) => return None,
    };
    let relation = match compare.op {
        CompareOp::Equal => Relation::Equal,
        CompareOp::NotEqual => Relation::NotEqual,
        CompareOp::Greater => Relation::Greater,
        CompareOp::Less => Relation::Less,
    };
    compare.range.is_single().then(|| Compare { key: compare.range.key.clone().into(), target, relation })
}

fn key_range(key: &crate::blob::Blob, end: Option<&crate::blob::Blob>) -> KeyRange {
    KeyRange { key: key.0.clone(), end: end.map(|end| end.0.clone()).unwrap_or_default() }
}

fn range_request(get: &Get) -> RangeRequest {
    RangeRequest {
        range: key_range(&get.key, get.end.as_ref()),
        limit: get.limit,
        revision: get.revision.into(),
        serializable: get.serializable,
        ..RangeRequest::default()
    }
}

fn put_request(put: &Put) -> PutRequest {
    PutRequest { key: put.key.0.clone(), value: put.value.0.clone(), ..PutRequest::default() }
}

fn delete_request(delete: &Delete) -> DeleteRangeRequest {
    DeleteRangeRequest { range: key_range(&delete.key, delete.end.as_ref()), prev_kv: false }
}

fn action_request(action: &Action) -> TxnOp {
    match action {
        Action::Get(get) => TxnOp::Range(range_request(get)),
        Action::Put(put) => TxnOp::Put(put_request(put)),
        Action::Delete(delete) => TxnOp::DeleteRange(delete_request(delete)),
    }
}

fn compare_request(compare: &Compare) -> request::Compare {
    request::Compare {
        range: key_range(&compare.key, None),
        op: match compare.relation {
            Relation::Equal => CompareOp::Equal,
            Relation::NotEqual => CompareOp::NotEqual,
            Relation::Greater => CompareOp::Greater,
            Relation::Less => CompareOp::Less,
        },
        target: match &compare.target {
            Target::Value(value) => CompareTarget::Value(value.0.clone()),
            Target::Version(version) => CompareTarget::Version(*version),
            Target::CreateRevision(revision) => CompareTarget::Create((*revision).into()),
            Target::ModRevision(revision) => CompareTarget::Mod((*revision).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_never_ends_is_unknown() {
        let mut recorder = Recorder::new();
        let first = recorder.begin(1, None, 5, Input::put("a", "1"));
        let second = recorder.begin(2, None, 6, Input::get("a"));
        recorder.end(second, 9, Outcome::Failed { error: "no leader".into() });
        recorder.set_member(first, "m3");
        let history = recorder.finish();
        assert_eq!(history.operations[first].outcome, Outcome::Unknown { error: String::new() });
        assert_eq!(history.operations[first].ret, None);
        assert_eq!(history.operations[first].member.as_deref(), Some("m3"));
        assert_eq!(history.operations[second].ret, Some(9));
    }

    #[test]
    #[should_panic(expected = "ended twice")]
    fn an_operation_ends_once() {
        let mut recorder = Recorder::new();
        let place = recorder.begin(1, None, 5, Input::get("a"));
        recorder.end(place, 6, Outcome::Failed { error: String::new() });
        recorder.end(place, 7, Outcome::Failed { error: String::new() });
    }

    #[test]
    fn inputs_become_requests_and_come_back() {
        let inputs = [
            Input::get("a"),
            Input::get_prefix("a"),
            Input::put("a", "1"),
            Input::delete("a"),
            Input::cas_revision("a", 3, "1"),
            Input::cas_value("a", "0", "1"),
            Input::Get(Get { key: "a".into(), serializable: true, revision: 4, limit: 2, end: None }),
        ];
        for input in inputs {
            assert_eq!(Input::from_request(&input.to_request()).as_ref(), Some(&input), "{input}");
        }
    }

    #[test]
    fn a_request_the_history_has_no_word_for_is_not_bent_into_another() {
        let filtered = RangeRequest { keys_only: true, ..RangeRequest::default() };
        assert_eq!(Input::from_request(&Request::Range(filtered)), None);
        let keeping = PutRequest { ignore_value: true, ..PutRequest::default() };
        assert_eq!(Input::from_request(&Request::Put(keeping)), None);
        assert_eq!(Input::from_request(&Request::LeaseLeases), None);
    }

    #[test]
    fn an_ambiguous_error_leaves_the_outcome_open() {
        use seatrial_types::Error;
        assert!(matches!(Outcome::from_error(&Error::Timeout), Outcome::Unknown { .. }));
        assert!(matches!(Outcome::from_error(&Error::NoLeader), Outcome::Failed { .. }));
    }
}
