//! The page: failures first, then what was reached, then what was run.

use super::{CampaignFailure, CampaignPage, CampaignScenario, GrowthPoint};
use crate::escape::{escape, shorten};
use crate::record::RunVerdict;
use std::fmt::Write as _;

/// The page over a campaign: self-contained, readable without scripts, of which it has none.
#[must_use]
pub fn render_campaign(page: &CampaignPage) -> String {
    let verdict = page.verdict;
    let mut out = String::new();
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} {}: {}</title>\n<style>{}{}</style>\n</head>\n<body class=\"batch campaign\">\n",
        verdict.sign(),
        escape(&page.title),
        verdict.word(),
        include_str!("../assets/page.css"),
        include_str!("../assets/campaign.css"),
    );
    let _ = write!(
        out,
        "<header class=\"verdict {}\">\n<p class=\"stamp\"><span class=\"sign\" aria-hidden=\"true\">{}</span> {}</p>\n\
         <h1>{}</h1>\n<p class=\"sentence\">{}</p>\n</header>\n<main>\n<dl class=\"facts\">\n",
        verdict.word(),
        verdict.sign(),
        verdict.word(),
        escape(&page.title),
        escape(&sentence(page)),
    );
    let commit = ("commit".to_owned(), page.commit.clone());
    for (name, value) in page.facts.iter().chain((!page.commit.is_empty()).then_some(&commit)) {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
    for note in &page.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    failures(&mut out, page);
    growth(&mut out, &page.growth);
    out.push_str("<div class=\"columns\">\n");
    goals(&mut out, page);
    faults(&mut out, page);
    out.push_str("</div>\n");
    scenarios(&mut out, page);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn sentence(page: &CampaignPage) -> String {
    let runs = page.runs();
    if runs == 0 {
        return "Nothing was run, so nothing is known.".to_owned();
    }
    let count = |verdict| page.failures.iter().filter(|failure| failure.verdict == verdict).count();
    let kinds = [
        (RunVerdict::Violation, "violated a property"),
        (RunVerdict::HarnessError, "failed in the testbed itself"),
        (RunVerdict::Inconclusive, "could not be judged"),
    ];
    let mut said: Vec<String> = kinds
        .into_iter()
        .filter(|(verdict, _)| count(*verdict) > 0)
        .map(|(verdict, words)| format!("{} {words}", ways(count(verdict))))
        .collect();
    let missed = page.scenarios.iter().filter(|scenario| !scenario.goals_missed.is_empty()).count();
    if missed > 0 {
        said.push(format!("{missed} scenarios never reached what they are about"));
    }
    if said.is_empty() {
        format!("All {runs} runs passed.")
    } else {
        format!("Of {runs} runs: {}.", said.join(", "))
    }
}

fn ways(count: usize) -> String {
    if count == 1 { "one way to fail".to_owned() } else { format!("{count} ways to fail") }
}

fn failures(out: &mut String, page: &CampaignPage) {
    if page.failures.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Failures</h2>\n<p class=\"note\">Runs that fail alike count as one: same property, same sentence but for its numbers.</p>\n");
    for failure in page.sorted_failures() {
        one(out, failure);
    }
    out.push_str("</section>\n");
}

fn one(out: &mut String, failure: &CampaignFailure) {
    let CampaignFailure { verdict, times, after_runs, after_seconds, .. } = failure;
    let _ = write!(
        out,
        "<article class=\"card {0}\" id=\"{1}\">\n<p><span class=\"pill {0}\">{2} {0}</span> <b>{3}</b> <span class=\"dim\">{1}</span></p>\n\
         <p class=\"told\">{4}</p>\n<p class=\"dim\">{5}, first after {after_runs} runs and {after_seconds:.0} s, by {6}</p>\n",
        verdict.word(),
        escape(&failure.id),
        verdict.sign(),
        escape(&failure.oracle),
        escape(&shorten(&failure.sentence, 900)),
        if *times == 1 { "once".to_owned() } else { format!("{times} times") },
        if failure.varied { "a variation of an earlier run" } else { "a new seed" },
    );
    let mut ways = Vec::new();
    let first = format!("{} seed {}", failure.scenario, failure.seed);
    if let (Some(link), Some(small)) = (link(failure.small_link.as_deref()), &failure.small) {
        ways.push(format!("<a href=\"{link}\">made small</a>: {}", escape(small)));
    }
    ways.push(match link(failure.link.as_deref()) {
        Some(link) => format!("<a href=\"{link}\">first run</a>: {}", escape(&first)),
        None => format!("first run: {}", escape(&first)),
    });
    if !failure.others.is_empty() {
        let more = times.saturating_sub(1 + failure.others.len() as u64);
        let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
        ways.push(format!("also {}{rest}", escape(&failure.others.join(", "))));
    }
    for way in ways {
        let _ = writeln!(out, "<p>{way}</p>");
    }
    if !failure.replay.is_empty() {
        let _ = writeln!(out, "<p class=\"replay\"><code>{}</code></p>", escape(&failure.replay));
    }
    if let Some(trouble) = &failure.trouble {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(trouble));
    }
    out.push_str("</article>\n");
}

/// Only what lies below this page is linked, nothing with a scheme, from the root or beside it.
fn link(to: Option<&str>) -> Option<String> {
    let to = to?;
    let is_below = !to.contains(':') && !to.starts_with('/') && to.split('/').all(|part| part != "..");
    is_below.then(|| escape(to))
}

/// One of the lines of the growth.
type Of = fn(&GrowthPoint) -> u64;

fn growth(out: &mut String, points: &[GrowthPoint]) {
    let Some(last) = points.last() else { return };
    out.push_str("<section>\n<h2>What the runs brought</h2>\n<div class=\"card\">\n");
    // Runs on a logarithmic axis: the first hundred bring most, and the last thousand must still be seen.
    let across = |runs: u64| 60.0 + 800.0 * (runs.max(1) as f64).ln() / (last.runs.max(2) as f64).ln();
    let series: [(&str, &str, Of); 3] = [
        ("features", "s0", |point| point.features),
        ("goals", "s1", |point| point.goals),
        ("failures", "s2", |point| point.failures),
    ];
    let _ = writeln!(
        out,
        "<svg class=\"plot growth\" viewBox=\"0 0 960 230\" role=\"img\" aria-label=\"features, goals and failures over runs\">"
    );
    let mut tick = 1;
    while tick <= last.runs {
        let _ = writeln!(
            out,
            "<g class=\"tick\"><line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"10\" y2=\"200\"/><text x=\"{0:.1}\" y=\"216\" text-anchor=\"middle\">{tick}</text></g>",
            across(tick)
        );
        tick *= 10;
    }
    for (name, class, of) in series {
        let most = points.iter().map(of).max().unwrap_or(0).max(1);
        let up = |value: u64| 200.0 - 185.0 * value as f64 / most as f64;
        let mut line = String::new();
        let mut before: Option<f64> = None;
        for point in points {
            let (x, y) = (across(point.runs), up(of(point)));
            // Steps: nothing grows between two points.
            if let Some(before) = before {
                let _ = write!(line, "{x:.1},{before:.1} ");
            }
            let _ = write!(line, "{x:.1},{y:.1} ");
            before = Some(y);
        }
        let _ = writeln!(
            out,
            "<g class=\"s\"><polyline class=\"{class}\" points=\"{}\"/></g><text x=\"866\" y=\"{:.1}\">{} {name}</text>",
            line.trim_end(),
            up(of(last))
                + if class == "s1" {
                    14.0
                } else if class == "s2" {
                    27.0
                } else {
                    0.0
                },
            of(last),
        );
    }
    out.push_str("</svg>\n<p class=\"note\">Runs from left to right, on a logarithmic scale; each line on a scale of its own. A line that still climbs says that more runs would bring more.</p>\n</div>\n</section>\n");
}

fn goals(out: &mut String, page: &CampaignPage) {
    let (met, missed): (Vec<_>, Vec<_>) = page.goals.iter().partition(|goal| goal.runs > 0);
    let _ = write!(
        out,
        "<section class=\"card\">\n<h2>Goals: {} of {} reached</h2>\n<div class=\"scroll\"><table class=\"goals\">\n\
         <thead><tr><th></th><th>goal</th><th>runs</th><th>first</th></tr></thead>\n<tbody>\n",
        met.len(),
        page.goals.len()
    );
    let mut met = met;
    met.sort_by_key(|goal| goal.runs);
    for goal in missed.iter().chain(&met) {
        let (class, sign) = if goal.runs > 0 { ("pass", "✓") } else { ("inconclusive", "?") };
        let _ = writeln!(
            out,
            "<tr><td><span class=\"cell {class}\">{sign}</span></td><td>{}</td><td class=\"num\">{}</td><td>{}</td></tr>",
            escape(&goal.name),
            goal.runs,
            escape(goal.first.as_deref().unwrap_or("never"))
        );
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn faults(out: &mut String, page: &CampaignPage) {
    let most = page.faults.iter().map(|(_, times)| *times).max().unwrap_or(1).max(1);
    let all: u64 = page.faults.iter().map(|(_, times)| times).sum();
    let _ =
        write!(out, "<section class=\"card\">\n<h2>Faults: {all}</h2>\n<table class=\"faults\">\n<tbody>\n");
    let mut faults: Vec<_> = page.faults.iter().collect();
    faults.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    for (kind, times) in faults {
        let width = (*times * 100).div_ceil(most);
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"num\">{times}</td><td class=\"share\"><span style=\"width:{width}%\"></span></td></tr>",
            escape(kind)
        );
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

fn scenarios(out: &mut String, page: &CampaignPage) {
    out.push_str("<section>\n<h2>Scenarios</h2>\n<div class=\"scroll\"><table class=\"runs\">\n<thead><tr><th></th><th>scenario</th><th>runs</th><th>passed</th><th>violated</th><th>not judged</th><th>testbed failed</th><th>goals</th><th>s per CPU s</th></tr></thead>\n<tbody>\n");
    let mut scenarios: Vec<&CampaignScenario> = page.scenarios.iter().collect();
    scenarios.sort_by(|a, b| state(b).cmp(&state(a)).then(a.name.cmp(&b.name)));
    for scenario in scenarios {
        let state = state(scenario);
        let speed = if scenario.cpu_seconds > 0.0 {
            format!("{:.0}", scenario.simulated_seconds / scenario.cpu_seconds)
        } else {
            "–".to_owned()
        };
        let missed = if scenario.goals_missed.is_empty() {
            String::new()
        } else {
            format!("<br>never reached: {}", escape(&scenario.goals_missed.join(", ")))
        };
        let negative = if scenario.is_negative { " (written to be violated)" } else { "" };
        let _ = writeln!(
            out,
            "<tr><td><span class=\"cell {}\">{}</span></td><td><b>{}</b><br><span class=\"dim\">{}{negative}</span>{missed}</td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{speed}</td></tr>",
            state.word(),
            state.sign(),
            escape(&scenario.name),
            escape(&scenario.title),
            scenario.runs,
            scenario.passed,
            scenario.violated,
            scenario.inconclusive,
            scenario.broken,
            scenario.goals_reached,
        );
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn state(scenario: &CampaignScenario) -> RunVerdict {
    if scenario.violated > 0 && !scenario.is_negative {
        RunVerdict::Violation
    } else if scenario.broken > 0 {
        RunVerdict::HarnessError
    } else if scenario.inconclusive > 0 && !scenario.is_negative
        || !scenario.goals_missed.is_empty()
        || scenario.runs == 0
    {
        RunVerdict::Inconclusive
    } else {
        RunVerdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::wellformed;

    #[test]
    fn the_page_is_well_formed_and_says_first_what_failed() {
        let page = render_campaign(&sample());
        wellformed::check(&page).expect("well-formed");
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not on the page"));
        assert!(page.contains("Of 86 runs: one way to fail violated a property, one way to fail could not be judged, 1 scenarios never reached what they are about."));
        assert!(place("lease &lt;7&gt; ended") < place("the budget ran out"), "the violation comes first");
        assert!(place("the budget ran out") < place("What the runs brought"));
        assert!(page.contains("3 times, first after 34 runs and 12 s, by a new seed"));
        assert!(page.contains("<a href=\"small/lease-0a1b2c/report.html\">made small</a>: 3 members"));
        assert!(page.contains("Goals: 1 of 2 reached") && place("never-met") < place("leader-changed"));
        assert!(page.contains("never reached: lease-expired"));
        assert!(page.contains("Faults: 312"));
    }

    #[test]
    fn links_lead_nowhere_but_below_the_page() {
        let mut campaign = sample();
        for bad in
            ["javascript:alert(1)", "/etc/passwd", "https://elsewhere", "../beside", "failures/../../beside"]
        {
            campaign.failures[1].link = Some(bad.to_owned());
            assert!(!render_campaign(&campaign).contains(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_known_of_a_failure_stands_on_its_card() {
        let mut campaign = sample();
        campaign.failures[1].times = 9;
        let page = render_campaign(&campaign);
        assert!(
            page.contains("also leases seed 20, storm seed 4, and 6 more</p>"),
            "2 of the other 8 are named"
        );
        assert!(page.contains("first after 0 runs and 1 s, by a variation of an earlier run"));
        assert!(page.contains("<code>seatrial replay out/small/plan.json</code>"));
        assert!(page.contains("<p class=\"note\">runs/x: no room left</p>"));
        assert!(page.contains("first run: storm seed 1"), "without a page of its own it is not linked");
        assert!(page.contains("<p class=\"note\">1 of 3 shards are not here: 3.</p>"));
        assert!(page.contains("<dt>commit</dt><dd>abc123</dd>"));
    }

    #[test]
    fn what_was_reached_and_what_hit_is_told_with_the_rarest_goal_and_the_commonest_fault_first() {
        let mut campaign = sample();
        let often = super::super::GoalRow { name: "a-often".to_owned(), runs: 86, first: None };
        campaign.goals.insert(0, often);
        campaign.faults.reverse();
        let page = render_campaign(&campaign);
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not on the page"));
        assert!(
            place(">never-met<") < place(">leader-changed<")
                && place(">leader-changed<") < place(">a-often<")
        );
        assert!(place(">kill<") < place(">partition<"));
        assert!(page.contains("width:100%") && page.contains("width:4%"), "12 of 300");
        // Of three points two are steps: each gives its height twice.
        let line =
            page.split("class=\"s2\" points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(line.split(' ').count(), 5, "{line}");
        let heights: Vec<&str> = line.split(' ').filter_map(|point| point.split(',').nth(1)).collect();
        assert_eq!(heights, ["200.0", "200.0", "107.5", "107.5", "15.0"], "no failure, one, two");
        assert!(page.contains(">2 failures</text>"));
    }

    #[test]
    fn the_scenarios_that_are_worst_come_first_and_none_counts_as_passed_that_never_ran() {
        let mut campaign = sample();
        let named = |name: &str, runs, broken| CampaignScenario {
            name: name.to_owned(),
            runs,
            passed: runs - broken,
            broken,
            ..CampaignScenario::default()
        };
        campaign.scenarios.extend([named("a-calm", 3, 0), named("a-broken", 3, 1), named("a-absent", 0, 0)]);
        let page = render_campaign(&campaign);
        let place = |name: &str| page.rfind(&format!("<b>{name}</b>")).unwrap();
        let order = ["a-broken", "leases", "storm", "a-absent", "a-calm"].map(place);
        assert!(order.is_sorted(), "{order:?}");
        assert!(
            page.contains("<td class=\"num\">300</td></tr>"),
            "600 s of the world in 2 s of the processor"
        );
    }

    #[test]
    fn a_campaign_without_runs_knows_nothing_and_one_without_failures_says_so() {
        let empty = render_campaign(&CampaignPage::default());
        wellformed::check(&empty).expect("well-formed");
        assert!(empty.contains("Nothing was run"));
        let mut clean = sample();
        clean.failures.clear();
        clean.scenarios[1].goals_missed.clear();
        let clean = render_campaign(&clean);
        assert!(clean.contains("All 86 runs passed.") && !clean.contains("<h2>Failures</h2>"));
    }

    #[test]
    fn a_scenario_that_was_written_to_be_violated_may_be() {
        let mut scenario = CampaignScenario { runs: 3, violated: 3, ..CampaignScenario::default() };
        assert_eq!(state(&scenario), RunVerdict::Violation);
        scenario.is_negative = true;
        assert_eq!(state(&scenario), RunVerdict::Pass);
        scenario.broken = 1;
        assert_eq!(state(&scenario), RunVerdict::HarnessError);
    }
}
