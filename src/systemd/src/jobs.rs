//! What became of the orders that systemd put into its queue.

use std::collections::BTreeMap;
use std::fmt;

/// The end of a job, in systemd's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobResult(pub String);

impl JobResult {
    /// The order was not carried out, and nobody has withdrawn it.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self.0.as_str(), "done" | "skipped" | "canceled" | "collected" | "once")
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0.as_str() {
            "failed" => "it did not come up",
            "dependency" => "something that it requires did not come up",
            "timeout" => "it took too long",
            "assert" => "an assertion of its file does not hold",
            "unsupported" => "this machine has no units of its type",
            _ => return f.write_str(&self.0),
        };
        write!(f, "{} ({meaning})", self.0)
    }
}

/// The last order to start each unit, and the last job of each that has ended. An answer to an order and the news that its job
/// is over come by two ways; either may be first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Jobs {
    ordered: BTreeMap<String, String>,
    ended: BTreeMap<String, (String, JobResult)>,
}

impl Jobs {
    /// A unit is about to be ordered to start.
    pub fn expect(&mut self, unit: &str) {
        self.ordered.insert(unit.to_owned(), String::new());
    }

    /// It was ordered; `job` is the path that systemd gave to it.
    pub fn ordered(&mut self, unit: &str, job: &str) {
        self.ordered.insert(unit.to_owned(), job.to_owned());
    }

    /// A job has ended, of whatever unit of the machine. True where that is the failure of an order of ours, as far as the
    /// order is known yet.
    pub fn ended(&mut self, unit: &str, job: &str, result: JobResult) -> bool {
        // Machines make units by the thousand that are none of ours.
        if !self.ordered.contains_key(unit) {
            return false;
        }
        let is_failure = result.is_failure();
        self.ended.insert(unit.to_owned(), (job.to_owned(), result));
        is_failure
    }

    /// The unit is no business of ours any more.
    pub fn forget(&mut self, unit: &str) {
        self.ordered.remove(unit);
        self.ended.remove(unit);
    }

    /// How the last order to start a unit has failed, where it has.
    #[must_use]
    pub fn failure(&self, unit: &str) -> Option<&JobResult> {
        let (job, result) = self.ended.get(unit)?;
        (self.ordered.get(unit) == Some(job) && result.is_failure()).then_some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str) -> JobResult {
        JobResult(text.to_owned())
    }

    #[test]
    fn an_order_that_failed_is_known_in_whichever_order_the_news_came() {
        let mut jobs = Jobs::default();
        jobs.ordered("a.service", "/job/1");
        assert_eq!(jobs.failure("a.service"), None);
        jobs.ended("a.service", "/job/1", result("dependency"));
        assert_eq!(
            jobs.failure("a.service").unwrap().to_string(),
            "dependency (something that it requires did not come up)"
        );
        let mut other = Jobs::default();
        other.expect("a.service");
        other.ended("a.service", "/job/1", result("dependency"));
        other.ordered("a.service", "/job/1");
        assert_eq!(other, jobs);
    }

    #[test]
    fn the_end_of_another_job_says_nothing_of_the_last_order() {
        let mut jobs = Jobs::default();
        jobs.expect("a.service");
        jobs.ended("a.service", "/job/1", result("failed"));
        assert_eq!(jobs.failure("a.service"), None);
        jobs.ordered("a.service", "/job/2");
        assert_eq!(jobs.failure("a.service"), None);
        jobs.ended("a.service", "/job/2", result("done"));
        assert_eq!(jobs.failure("a.service"), None);
    }

    #[test]
    fn units_of_the_machine_leave_no_trace() {
        let mut jobs = Jobs::default();
        assert!(!jobs.ended("session-1.scope", "/job/1", result("failed")));
        assert_eq!(jobs, Jobs::default());
        jobs.ordered("a.service", "/job/2");
        jobs.ended("a.service", "/job/2", result("failed"));
        jobs.forget("a.service");
        assert_eq!(jobs, Jobs::default());
    }

    #[test]
    fn an_order_that_was_withdrawn_has_not_failed() {
        for (word, is_failure) in
            [("canceled", false), ("skipped", false), ("failed", true), ("timeout", true), ("news", true)]
        {
            assert_eq!(result(word).is_failure(), is_failure, "{word}");
        }
    }
}
