//! A campaign as JUnit XML: a suite per scenario, in it a case for the runs that passed and one for each way to fail.

use super::{CampaignFailure, CampaignPage, CampaignScenario};
use crate::escape::escape;
use crate::record::RunVerdict;
use std::fmt::Write as _;

/// The file. A violation is a `failure`; what could not be judged, goals never reached and failures of the testbed are
/// `error`s, for otherwise a CI system would count them as passed.
#[must_use]
pub fn render_campaign_junit(page: &CampaignPage) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut suites = String::new();
    let mut all = Counts::default();
    for scenario in &page.scenarios {
        let failures: Vec<&CampaignFailure> =
            page.sorted_failures().into_iter().filter(|failure| failure.scenario == scenario.name).collect();
        let counts = suite(&mut suites, scenario, &failures);
        all.tests += counts.tests;
        all.failures += counts.failures;
        all.errors += counts.errors;
    }
    let _ = writeln!(
        out,
        "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
        escape(&page.title),
        all.tests,
        all.failures,
        all.errors
    );
    out.push_str(&suites);
    out.push_str("</testsuites>\n");
    out
}

#[derive(Clone, Copy, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
}

fn suite(out: &mut String, scenario: &CampaignScenario, failures: &[&CampaignFailure]) -> Counts {
    let violations = failures.iter().filter(|failure| failure.verdict == RunVerdict::Violation).count();
    let missed = usize::from(!scenario.goals_missed.is_empty());
    let counts = Counts {
        tests: 1 + failures.len() + missed,
        failures: violations,
        errors: failures.len() - violations + missed,
    };
    let name = escape(&scenario.name);
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\">",
        counts.tests, counts.failures, counts.errors, scenario.cpu_seconds
    );
    let _ = writeln!(
        out,
        "    <testcase classname=\"{name}\" name=\"{} of {} runs passed\" time=\"{:.3}\"/>",
        scenario.passed, scenario.runs, scenario.cpu_seconds
    );
    for failure in failures {
        let element = if failure.verdict == RunVerdict::Violation { "failure" } else { "error" };
        let _ = writeln!(
            out,
            "    <testcase classname=\"{name}\" name=\"{}\" time=\"0\">\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>",
            escape(&failure.id),
            escape(&failure.oracle),
            escape(&failure.sentence),
            escape(&format!("seed {}, {} times\n{}", failure.seed, failure.times, failure.replay)),
        );
    }
    if missed > 0 {
        let _ = writeln!(
            out,
            "    <testcase classname=\"{name}\" name=\"goals\" time=\"0\">\n      <error type=\"goals\" message=\"never reached: {}\"/>\n    </testcase>",
            escape(&scenario.goals_missed.join(", "))
        );
    }
    out.push_str("  </testsuite>\n");
    counts
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_failure_of_the_testbed_is_an_error_and_no_violation() {
        let mut page = sample();
        page.failures[1].verdict = RunVerdict::HarnessError;
        let file = render_campaign_junit(&page);
        assert!(file.contains("tests=\"5\" failures=\"0\" errors=\"3\">"), "{file}");
        assert!(file.contains("<error type=\"lease\""), "{file}");
    }

    #[test]
    fn each_way_to_fail_is_a_case_and_the_counts_agree() {
        let file = render_campaign_junit(&sample());
        assert!(file.contains("tests=\"5\" failures=\"1\" errors=\"2\">"), "{file}");
        assert!(
            file.contains("<testsuite name=\"leases\" tests=\"2\" failures=\"1\" errors=\"0\""),
            "{file}"
        );
        assert!(
            file.contains(
                "<failure type=\"lease\" message=\"lease &lt;7&gt; ended &quot;early&quot; &amp; alone\">"
            ),
            "{file}"
        );
        assert!(file.contains("<error type=\"unknown-watch\""), "{file}");
        assert!(file.contains("<error type=\"goals\" message=\"never reached: lease-expired\"/>"), "{file}");
        assert!(
            file.contains(
                "<testsuite name=\"storm\" tests=\"3\" failures=\"0\" errors=\"2\" time=\"2.000\">"
            ),
            "{file}"
        );
        assert!(file.contains("name=\"42 of 44 runs passed\""), "{file}");
        assert!(file.contains(">seed 17, 3 times\nseatrial replay out/small/plan.json</failure>"), "{file}");
        let count = |text: &str| file.matches(text).count();
        assert_eq!((count("<testcase "), count("<failure "), count("<error ")), (5, 1, 2));
        assert_eq!(
            count("<testcase "),
            count("</testcase>") + count("\"/>\n") - count("<error type=\"goals\"")
        );
    }
}
