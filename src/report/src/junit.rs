//! JUnit XML, as CI systems read it.

use crate::batch::{Batch, BatchEntry};
use crate::escape::escape;
use crate::record::RunVerdict;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A suite per scenario, a case per seed.
///
/// A violation is a `failure`; an inconclusive run is an `error`, for otherwise a CI system would count it as
/// passed; a failure of the testbed is an `error` too.
#[must_use]
pub fn render_junit(batch: &Batch) -> String {
    let mut suites: BTreeMap<&str, Vec<&BatchEntry>> = BTreeMap::new();
    for entry in &batch.entries {
        suites.entry(&entry.scenario).or_default().push(entry);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    open(&mut out, "testsuites", &batch.title, &batch.entries.iter().collect::<Vec<_>>(), "");
    for (scenario, entries) in suites {
        open(&mut out, "testsuite", scenario, &entries, "  ");
        for entry in entries {
            case(&mut out, entry);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn open(out: &mut String, element: &str, name: &str, entries: &[&BatchEntry], indent: &str) {
    let count =
        |wanted: &[RunVerdict]| entries.iter().filter(|entry| wanted.contains(&entry.verdict)).count();
    let cpu_ns: u64 = entries.iter().map(|entry| entry.cpu_ns).sum();
    let _ = writeln!(
        out,
        "{indent}<{element} name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{}\">",
        escape(name),
        entries.len(),
        count(&[RunVerdict::Violation]),
        count(&[RunVerdict::Inconclusive, RunVerdict::HarnessError]),
        decimal_seconds(cpu_ns)
    );
}

fn case(out: &mut String, entry: &BatchEntry) {
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"seed {}\" time=\"{}\"",
        escape(&entry.scenario),
        entry.seed,
        decimal_seconds(entry.cpu_ns)
    );
    let element = match entry.verdict {
        RunVerdict::Pass => {
            out.push_str("/>\n");
            return;
        }
        RunVerdict::Violation => "failure",
        RunVerdict::Inconclusive | RunVerdict::HarnessError => "error",
    };
    let kind = entry.oracle.as_deref().unwrap_or(entry.verdict.word());
    let _ = write!(
        out,
        ">\n      <{element} type=\"{}\" message=\"{}\">verdict: {}\n{}\nreplay: {}\ntrace hash: {}</{element}>\n    </testcase>\n",
        escape(kind),
        escape(&entry.sentence),
        entry.verdict.word(),
        escape(&entry.sentence),
        escape(&entry.replay),
        escape(&entry.trace_hash)
    );
}

fn decimal_seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seed: u64, verdict: RunVerdict) -> BatchEntry {
        BatchEntry {
            scenario: "leader <cut> off".into(),
            seed,
            verdict,
            sentence: "a \"b\" & c".into(),
            cpu_ns: 1_500_000_000,
            ..BatchEntry::default()
        }
    }

    #[test]
    fn only_a_pass_counts_as_passed() {
        let entries = vec![
            entry(1, RunVerdict::Pass),
            entry(2, RunVerdict::Violation),
            entry(3, RunVerdict::Inconclusive),
            entry(4, RunVerdict::HarnessError),
        ];
        let xml = render_junit(&Batch { title: "fast".into(), entries, ..Batch::default() });
        assert!(xml.contains("tests=\"4\" failures=\"1\" errors=\"2\" time=\"6.000000\""), "{xml}");
        assert_eq!((xml.matches("<failure ").count(), xml.matches("<error ").count()), (1, 2));
        assert!(xml.contains("leader &lt;cut&gt; off") && xml.contains("a &quot;b&quot; &amp; c"), "{xml}");
        crate::wellformed::check(&xml).unwrap();
    }
}
