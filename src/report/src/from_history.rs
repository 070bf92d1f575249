//! What the checkers' room knows, in the words of a record.

use crate::record::{ClientOperation, Ending, FirstBad, OracleResult, RunVerdict};
use seatrial_history::{Action, Blob, History, Input, Operation, Outcome, Verdict, Violation};
use std::collections::BTreeSet;

impl From<&Operation> for ClientOperation {
    fn from(operation: &Operation) -> Self {
        let ending = match operation.outcome {
            Outcome::Ok { .. } => Ending::Ok,
            Outcome::Failed { .. } => Ending::Failed,
            Outcome::Unknown { .. } => Ending::Unknown,
        };
        Self {
            client: operation.client,
            member: operation.member.clone(),
            kind: kind(&operation.input).to_owned(),
            keys: keys(&operation.input),
            text: operation.input.to_string(),
            call: operation.call,
            ret: operation.ret,
            ending,
            answer: operation.outcome.to_string(),
        }
    }
}

fn kind(input: &Input) -> &'static str {
    match input {
        Input::Get(get) if get.serializable => "serializable get",
        Input::Get(_) => "get",
        Input::Put(_) => "put",
        Input::Delete(_) => "delete",
        Input::Txn(_) => "txn",
    }
}

/// The keys of an operation, each once, in the order of their bytes.
fn keys(input: &Input) -> Vec<String> {
    let key = |blob: &Blob| blob.to_string().trim_matches('"').to_owned();
    let span = |from: &Blob, end: Option<&Blob>| match end {
        None => key(from),
        Some(end) if end.as_slice() == b"\0" => format!("[{}, …)", key(from)),
        Some(end) => format!("[{}, {})", key(from), key(end)),
    };
    let of = |action: &Action| match action {
        Action::Get(get) => span(&get.key, get.end.as_ref()),
        Action::Put(put) => key(&put.key),
        Action::Delete(delete) => span(&delete.key, delete.end.as_ref()),
    };
    let keys: BTreeSet<String> = match input {
        Input::Get(get) => [span(&get.key, get.end.as_ref())].into(),
        Input::Put(put) => [key(&put.key)].into(),
        Input::Delete(delete) => [span(&delete.key, delete.end.as_ref())].into(),
        Input::Txn(txn) => {
            let compared = txn.compare.iter().map(|compare| key(&compare.key));
            compared.chain(txn.then.iter().chain(&txn.otherwise).map(of)).collect()
        }
    };
    keys.into_iter().collect()
}

impl ClientOperation {
    /// All operations of a history, in its order, so that the places in a violation stay right.
    #[must_use]
    pub fn from_history(history: &History) -> Vec<Self> {
        history.operations.iter().map(Self::from).collect()
    }
}

impl From<&Verdict> for RunVerdict {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self::Pass,
            Verdict::Violation(_) => Self::Violation,
            Verdict::Unknown { .. } => Self::Inconclusive,
        }
    }
}

impl OracleResult {
    /// What a checker said, under the name of the oracle that asked it.
    #[must_use]
    pub fn from_verdict(name: impl Into<String>, verdict: &Verdict) -> Self {
        let sentence = match verdict {
            Verdict::Ok => String::new(),
            Verdict::Violation(violation) => violation.sentence.clone(),
            Verdict::Unknown { why } => why.clone(),
        };
        Self { name: name.into(), verdict: verdict.into(), sentence }
    }
}

impl From<&Violation> for FirstBad {
    /// A violation that names no moment is marked at the start; better to set `at` where one is known.
    fn from(violation: &Violation) -> Self {
        Self {
            at: violation.at.unwrap_or(0),
            text: violation.to_string(),
            member: None,
            operations: violation.operations.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_history::{Input, Recorder};

    #[test]
    fn an_unknown_verdict_is_inconclusive_and_never_a_pass() {
        let unknown = Verdict::Unknown { why: "out of budget".into() };
        assert_eq!(RunVerdict::from(&unknown), RunVerdict::Inconclusive);
        assert_eq!(OracleResult::from_verdict("linearizable", &unknown).sentence, "out of budget");
    }

    #[test]
    fn an_operation_keeps_its_place_and_its_words() {
        let mut recorder = Recorder::new();
        recorder.begin(3, Some("m1".into()), 5, Input::put("a", "1"));
        let second = recorder.begin(4, None, 6, Input::get("a"));
        recorder.end(second, 9, Outcome::Failed { error: "no leader".into() });
        let operations = ClientOperation::from_history(&recorder.finish());
        assert_eq!(operations[0].text, "put \"a\"=\"1\"");
        assert_eq!((operations[0].kind(), &*operations[0].keys), ("put", &["a".to_owned()][..]));
        assert!(operations[1].reads() && !operations[0].reads());
        assert_eq!((operations[0].ending, operations[0].ret), (Ending::Unknown, None));
        assert_eq!(
            (operations[1].ending, operations[1].answer.as_str()),
            (Ending::Failed, "failed: no leader")
        );
    }
}
