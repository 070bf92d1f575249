//! Many runs on one page: scenarios down, seeds across, the failures first.

use crate::assets;
use crate::escape::{escape, shorten};
use crate::record::{RunRecord, RunVerdict};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// What was run, such as the paths given.
    pub title: String,
    /// The commit of the code under test.
    pub commit: String,
    /// The runs, in any order.
    pub entries: Vec<BatchEntry>,
    /// Sentences for the reader.
    pub notes: Vec<String>,
}

impl Batch {
    /// The worst verdict, which gives a command its exit code. A batch without runs shows nothing and is
    /// inconclusive.
    #[must_use]
    pub fn verdict(&self) -> RunVerdict {
        self.entries.iter().map(|entry| entry.verdict).max().unwrap_or(RunVerdict::Inconclusive)
    }
}

/// One run in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchEntry {
    /// Short name of the scenario.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: RunVerdict,
    /// The oracle that decided.
    pub oracle: Option<String>,
    /// The verdict in a sentence.
    pub sentence: String,
    /// The command that replays it.
    pub replay: String,
    /// Rolling hash over the run.
    pub trace_hash: String,
    /// Length on its own clock.
    pub duration_ns: u64,
    /// CPU time.
    pub cpu_ns: u64,
    /// Where its own page is, relative to this one; only such links are made, nothing with a scheme.
    pub link: Option<String>,
}

impl From<&RunRecord> for BatchEntry {
    fn from(record: &RunRecord) -> Self {
        Self {
            scenario: record.scenario.name.clone(),
            title: record.scenario.title.clone(),
            seed: record.seed,
            verdict: record.verdict,
            oracle: record.oracle.clone(),
            sentence: record.sentence.clone(),
            replay: record.replay.clone(),
            trace_hash: record.trace_hash.clone(),
            duration_ns: record.duration_ns,
            cpu_ns: record.cpu_ns,
            link: None,
        }
    }
}

/// Cells and rows beyond these are counted instead of shown.
const SEEDS_SHOWN_MAX: usize = 400;
const FAILURES_SHOWN_MAX: usize = 200;

/// The verdicts with what is said of runs that ended so, the worst for a reader first.
const WORDS: [(RunVerdict, &str); 4] = [
    (RunVerdict::Violation, "violated a property"),
    (RunVerdict::HarnessError, "failed in the testbed itself"),
    (RunVerdict::Inconclusive, "could not be judged"),
    (RunVerdict::Pass, "passed"),
];

/// The page: what did not pass first, then all scenarios, those with failures at the top.
#[must_use]
pub fn render_batch(batch: &Batch) -> String {
    let verdict = batch.verdict();
    let title = if batch.title.is_empty() { "Seatrial runs" } else { &batch.title };
    let scenarios = scenarios(batch);
    let mut out = assets::beginning(
        &format!("{} {title}: {}", verdict.sign(), verdict.word()),
        &[assets::PAGE_CSS, assets::BATCH_CSS],
    );
    out.push_str("<body class=\"batch\">\n");
    head(&mut out, batch, title, verdict, scenarios.len());
    tools(&mut out, batch);
    failures(&mut out, batch);
    table(&mut out, &scenarios);
    let _ = write!(
        out,
        "</main>\n<footer>Seatrial report. The page needs nothing but itself.</footer>\n<script>{}</script>\n</body>\n</html>\n",
        assets::BATCH_JS
    );
    out
}

/// All runs of one scenario.
struct Scenario<'a> {
    name: &'a str,
    title: &'a str,
    /// In order of their seeds.
    entries: Vec<&'a BatchEntry>,
    worst: RunVerdict,
    failed: usize,
}

impl Scenario<'_> {
    /// Seconds of the runs' clocks per CPU second, where both are known.
    fn speed(&self) -> Option<f64> {
        let simulated: u64 = self.entries.iter().map(|entry| entry.duration_ns).sum();
        let cpu: u64 = self.entries.iter().map(|entry| entry.cpu_ns).sum();
        (cpu > 0).then(|| simulated as f64 / cpu as f64)
    }
}

/// Those with failures first: the worst verdict, then the most of them, then by name.
fn scenarios(batch: &Batch) -> Vec<Scenario<'_>> {
    let mut by_name: BTreeMap<&str, Vec<&BatchEntry>> = BTreeMap::new();
    for entry in &batch.entries {
        by_name.entry(&entry.scenario).or_default().push(entry);
    }
    let mut scenarios: Vec<Scenario<'_>> = by_name
        .into_iter()
        .map(|(name, mut entries)| {
            entries.sort_by_key(|entry| entry.seed);
            let titles = entries.iter().map(|entry| entry.title.as_str());
            Scenario {
                name,
                title: titles.clone().find(|title| !title.is_empty()).unwrap_or(""),
                worst: entries
                    .iter()
                    .map(|entry| entry.verdict)
                    .max_by_key(|verdict| badness(*verdict))
                    .unwrap_or_default(),
                failed: entries.iter().filter(|entry| entry.verdict != RunVerdict::Pass).count(),
                entries,
            }
        })
        .collect();
    scenarios
        .sort_by_key(|scenario| (Reverse(badness(scenario.worst)), Reverse(scenario.failed), scenario.name));
    scenarios
}

/// What a reader should look at first: a violation says something of the cluster, a failed testbed does not.
fn badness(verdict: RunVerdict) -> usize {
    WORDS.len() - WORDS.iter().position(|(word, _)| *word == verdict).unwrap_or(WORDS.len())
}

fn head(out: &mut String, batch: &Batch, title: &str, verdict: RunVerdict, scenarios: usize) {
    let count = |wanted| batch.entries.iter().filter(|entry| entry.verdict == wanted).count();
    let runs = batch.entries.len();
    let sentence = match verdict {
        RunVerdict::Pass => format!("All {runs} runs of {scenarios} scenarios passed."),
        _ if runs == 0 => "Nothing was run, so nothing is known.".to_owned(),
        _ => {
            WORDS
                .into_iter()
                .filter(|(wanted, _)| count(*wanted) > 0)
                .map(|(wanted, words)| format!("{} {words}", count(wanted)))
                .collect::<Vec<_>>()
                .join(", ")
                + &format!(", of {runs} runs of {scenarios} scenarios.")
        }
    };
    let simulated: u64 = batch.entries.iter().map(|entry| entry.duration_ns).sum();
    let cpu: u64 = batch.entries.iter().map(|entry| entry.cpu_ns).sum();
    let _ = write!(
        out,
        "<header class=\"verdict {}\">\n<div class=\"top\"><p class=\"stamp\"><span class=\"sign\" aria-hidden=\"true\">{}</span> {0}</p>\
         <h1>{}</h1><button type=\"button\" id=\"theme\" class=\"js-only\" aria-label=\"Switch between light and dark\">◐</button></div>\n\
         <p class=\"sentence\">{}</p>\n</header>\n<main>\n<dl class=\"facts\">\n",
        verdict.word(),
        verdict.sign(),
        escape(title),
        escape(&sentence)
    );
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    };
    if !batch.commit.is_empty() {
        fact("commit", batch.commit.clone());
    }
    fact("run time", format!("{:.1} s on the runs' clocks", simulated as f64 / 1e9));
    fact("CPU time", format!("{:.1} s", cpu as f64 / 1e9));
    if cpu > 0 {
        fact("speed", format!("{:.0} s per CPU second", simulated as f64 / cpu as f64));
    }
    out.push_str("</dl>\n");
    for note in &batch.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
}

fn tools(out: &mut String, batch: &Batch) {
    out.push_str(
        "<div class=\"bar tools js-only\">\n<input type=\"search\" id=\"scenario\" placeholder=\"Scenario, seed, oracle, words\" aria-label=\"Only rows with these words\">\n\
         <span class=\"group\" role=\"group\" aria-label=\"Only runs that ended so\"><button type=\"button\" class=\"verdict-choice\" data-v=\"\" aria-pressed=\"true\">all</button>",
    );
    for (verdict, _) in WORDS {
        let count = batch.entries.iter().filter(|entry| entry.verdict == verdict).count();
        if count > 0 {
            let _ = write!(
                out,
                "<button type=\"button\" class=\"verdict-choice\" data-v=\"{0}\" aria-pressed=\"false\">{1} {0} {count}</button>",
                verdict.word(),
                verdict.sign()
            );
        }
    }
    out.push_str(
        "</span>\n<label>sorted by <select id=\"sort\"><option value=\"bad\">failures first</option><option value=\"name\">name</option><option value=\"speed\">slowest first</option></select></label>\n\
         <span class=\"dim\" id=\"count\" aria-live=\"polite\"></span>\n</div>\n",
    );
}

fn failures(out: &mut String, batch: &Batch) {
    let mut bad: Vec<&BatchEntry> =
        batch.entries.iter().filter(|entry| entry.verdict != RunVerdict::Pass).collect();
    bad.sort_by_key(|entry| (Reverse(badness(entry.verdict)), &entry.scenario, entry.seed));
    if bad.is_empty() {
        return;
    }
    out.push_str("<section class=\"card\">\n<h2>To look at</h2>\n<div class=\"scroll\"><table class=\"failures\" id=\"failures\">\n<thead><tr><th>verdict</th><th>scenario</th><th>seed</th><th>oracle</th><th>what happened</th></tr></thead>\n<tbody>\n");
    for entry in bad.iter().take(FAILURES_SHOWN_MAX) {
        let replay = if entry.replay.is_empty() {
            String::new()
        } else {
            format!("<br><code>{}</code>", escape(&entry.replay))
        };
        let _ = writeln!(
            out,
            "<tr class=\"{0}\" data-v=\"{0}\"><td><span class=\"pill {0}\">{1} {0}</span></td><td>{2}</td><td>{3}</td><td>{4}</td><td>{5}{replay}</td></tr>",
            entry.verdict.word(),
            entry.verdict.sign(),
            escape(&entry.scenario),
            linked(entry, &entry.seed.to_string()),
            escape(entry.oracle.as_deref().unwrap_or("–")),
            escape(&shorten(&entry.sentence, 600)),
        );
    }
    out.push_str("</tbody>\n</table></div>\n");
    if bad.len() > FAILURES_SHOWN_MAX {
        let _ = writeln!(
            out,
            "<p class=\"note\">{} more are not listed here.</p>",
            bad.len() - FAILURES_SHOWN_MAX
        );
    }
    out.push_str("</section>\n");
}

fn table(out: &mut String, scenarios: &[Scenario<'_>]) {
    out.push_str("<section class=\"card\">\n<h2>All runs</h2>\n<p class=\"legend\"><span><span class=\"cell pass\">✓</span> pass</span><span><span class=\"cell violation\">✗</span> violation</span><span><span class=\"cell inconclusive\">?</span> inconclusive</span><span><span class=\"cell harness-error\">!</span> testbed failed</span></p>\n<div class=\"scroll\"><table class=\"runs\" id=\"runs\">\n<thead><tr><th>scenario</th><th class=\"num\">pass</th><th class=\"num\">s per CPU s</th><th>seeds</th></tr></thead>\n<tbody>\n");
    for scenario in scenarios {
        let speed = scenario.speed().map_or_else(|| "–".to_owned(), |speed| format!("{speed:.0}"));
        let verdicts: BTreeSet<&str> = scenario.entries.iter().map(|entry| entry.verdict.word()).collect();
        let verdicts: Vec<&str> = verdicts.into_iter().collect();
        let _ = write!(
            out,
            "<tr data-v=\"{}\"><td><b>{}</b><br><span class=\"dim\">{}</span></td><td class=\"num\">{}/{}</td><td class=\"num\">{speed}</td><td><div class=\"cells\">",
            verdicts.join(" "),
            escape(scenario.name),
            escape(scenario.title),
            scenario.entries.len() - scenario.failed,
            scenario.entries.len()
        );
        // Whatever must be cut, a failure is not.
        let (bad, good): (Vec<_>, Vec<_>) =
            scenario.entries.iter().partition(|entry| entry.verdict != RunVerdict::Pass);
        let room = SEEDS_SHOWN_MAX.saturating_sub(bad.len());
        let mut shown: Vec<&&BatchEntry> = bad.into_iter().chain(good.into_iter().take(room)).collect();
        shown.sort_by_key(|entry| entry.seed);
        let cut = scenario.entries.len() - shown.len();
        for entry in shown {
            let label = format!("seed {}: {}", entry.seed, entry.verdict.word());
            let cell = format!(
                "<span class=\"cell {}\" title=\"{}\">{}</span>",
                entry.verdict.word(),
                escape(&label),
                entry.verdict.sign()
            );
            out.push_str(&linked_markup(entry, &cell));
        }
        if cut > 0 {
            let _ = write!(out, "<span class=\"dim\">and {cut} more that passed</span>");
        }
        out.push_str("</div></td></tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn linked(entry: &BatchEntry, text: &str) -> String {
    linked_markup(entry, &escape(text))
}

fn linked_markup(entry: &BatchEntry, inner: &str) -> String {
    match entry.link.as_deref().filter(|link| is_relative(link)) {
        Some(link) => format!("<a href=\"{}\">{inner}</a>", escape(link)),
        None => inner.to_owned(),
    }
}

/// Neither `https:` nor `//host` nor `javascript:`: the page stays within its folder.
fn is_relative(link: &str) -> bool {
    let first = link.split(['/', '?', '#']).next().unwrap_or("");
    !link.is_empty() && !link.starts_with(['/', '\\']) && !first.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(runs: u64) -> Batch {
        let entries = (0..runs)
            .map(|seed| BatchEntry {
                scenario: format!("scenario-{}", seed % 3),
                title: "a <b>title</b>".into(),
                seed,
                verdict: if seed == 7 { RunVerdict::Violation } else { RunVerdict::Pass },
                oracle: (seed == 7).then(|| "durability".to_owned()),
                sentence: "write 7 & 8 lost".into(),
                replay: "seatrial replay scenario-1 --seed 7".into(),
                cpu_ns: 1_000_000,
                duration_ns: 2_000_000_000,
                link: Some(format!("runs/{seed}/report.html")),
                ..BatchEntry::default()
            })
            .collect();
        Batch { title: "scenarios/fast".into(), commit: "abc".into(), entries, notes: vec!["<i>".into()] }
    }

    #[test]
    fn the_page_is_well_formed_and_names_the_failure_first() {
        let html = render_batch(&batch(30));
        crate::wellformed::check(&html).unwrap();
        assert!(
            html.contains("1 violated a property, 29 passed, of 30 runs of 3 scenarios."),
            "{html:.2000}"
        );
        assert!(html.find("write 7 &amp; 8 lost") < html.find("All runs"));
        assert!(html.contains("<a href=\"runs/7/report.html\">"));
        assert!(!html.contains("<b>title"), "titles are text");
        let place = |name: &str| html.find(&format!("<b>{name}</b>")).unwrap();
        assert!(place("scenario-1") < place("scenario-0"), "the one that failed stands first");
    }

    #[test]
    fn a_large_batch_stays_small_and_never_cuts_a_failure() {
        let mut many = batch(6_000);
        many.entries[5_999].verdict = RunVerdict::Inconclusive;
        let html = render_batch(&many);
        assert!(html.len() < 500_000, "{} bytes", html.len());
        assert!(html.contains("seed 5999: inconclusive"));
        assert!(html.contains("more that passed"));
    }

    #[test]
    fn one_violation_stands_above_many_runs_that_could_not_be_judged() {
        let entry = |scenario: &str, verdict| BatchEntry {
            scenario: scenario.into(),
            verdict,
            ..BatchEntry::default()
        };
        let mut entries = vec![entry("a", RunVerdict::Inconclusive); 9];
        entries.extend([entry("b", RunVerdict::Pass), entry("c", RunVerdict::Violation)]);
        let batch = Batch { entries, ..Batch::default() };
        let order: Vec<&str> = scenarios(&batch).iter().map(|scenario| scenario.name).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn a_batch_without_runs_is_no_pass() {
        assert_eq!(Batch::default().verdict(), RunVerdict::Inconclusive);
        assert!(render_batch(&Batch::default()).contains("Nothing was run"));
    }

    #[test]
    fn only_links_within_the_folder_are_made() {
        for link in ["https://x", "//x", "javascript:alert(1)", "/etc", "", "\\\\x"] {
            assert!(!is_relative(link), "{link}");
        }
        assert!(is_relative("runs/7/a:b.html") && is_relative("r.html#x:y"));
    }
}
