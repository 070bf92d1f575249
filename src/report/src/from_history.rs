//! What the checkers' room knows, in the words of a record.

use crate::record::{ClientOperation, Ending, FirstBad, OracleResult, RunVerdict};
use seatrial_history::{History, Operation, Outcome, Verdict, Violation};

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
            text: operation.input.to_string(),
            call: operation.call,
            ret: operation.ret,
            ending,
            answer: operation.outcome.to_string(),
        }
    }
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
        assert_eq!((operations[0].ending, operations[0].ret), (Ending::Unknown, None));
        assert_eq!(
            (operations[1].ending, operations[1].answer.as_str()),
            (Ending::Failed, "failed: no leader")
        );
    }
}
