//! What the pages say of faults, oracles and scenarios is what the code does: examples are read by the real parser, options
//! are the parser's, and what can be told from the scenario files and the list of hunts is written from them.
//!
//! `REWRITE=1 cargo test -p seatrial-scenario --test pages` writes `scenarios/README.md` and the last chapter of each page
//! anew; the difference is read like code.

#![allow(
    clippy::disallowed_methods,
    reason = "reads the documents of the tree, and writes them when asked to"
)]

use seatrial_scenario::alone::ALONE_MIN;
use seatrial_scenario::format::parse;
use seatrial_scenario::format::spec::{NemesisKind, OpKind, Scenario, VerdictKind, WorkloadKind};
use seatrial_scenario::mutants::{HUNTS, Hunt};
use seatrial_scenario::oracles;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What makes a scenario of an example on a page. Members change and damage has no bound, so that all faults make sense.
const HEAD: &str = "title = \"t\"\nwhy = \"w\"\nmembers = 5\ntime = \"60s\"\n\n[damage]\nbeyond_quorum = true\n\n\
                    [[workload]]\nname = \"kv\"\n\n[[workload]]\nname = \"membership\"\n\n";

/// The last chapter of a fault's page, and of an oracle's.
const USES: &str = "## Where it is used\n\n";

/// What stands below the title of a text that is made from others.
const MADE: &str =
    "Written from the scenario files by `REWRITE=1 cargo test -p seatrial-scenario --test pages`.";

/// The folders with scenarios, in the order in which a reader meets them.
const SETS: [&str; 6] = ["fast", "slow", "rare", "negative", "regressions", "foreign"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All scenarios with their paths below `scenarios`, set by set and in order of their names.
fn scenarios() -> Vec<(String, Scenario)> {
    let mut found = Vec::new();
    for set in SETS {
        let folder = root().join("scenarios").join(set);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{set}: {error}"));
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for name in names.iter().filter(|name| name.ends_with(".toml")) {
            let path = format!("{set}/{name}");
            let scenario = parse(&path, &read(&format!("scenarios/{path}")));
            found.push((path, scenario.unwrap_or_else(|error| panic!("{error}"))));
        }
    }
    found
}

fn uses(scenario: &Scenario, kind: NemesisKind) -> bool {
    scenario.nemeses.iter().any(|nemesis| nemesis.kind == kind)
}

/// The examples in a document.
fn examples(text: &str) -> Vec<&str> {
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect()
}

/// Every key that the parser takes in the table of this fault, by its own refusal of one that it cannot know.
fn keys_of(kind: NemesisKind) -> Vec<String> {
    // Nothing else may be wrong, for one complaint alone is told.
    let text = format!(
        "{HEAD}[knobs]\ninitial_check = true\n[[nemesis]]\nname = \"{kind}\"\ntimes = 1\n\"~~~~~~~~~~~~~~~~~~~~\" = 1\n"
    );
    let refusal = parse("x.toml", &text).expect_err("nobody knows such a key").to_string();
    let (_, known) = refusal.split_once("known are: ").unwrap_or_else(|| panic!("{refusal}"));
    known.trim().split(", ").map(str::to_owned).collect()
}

/// The first cells of the table of options.
fn documented_options(page: &str) -> BTreeSet<String> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('`').nth(1).map(str::to_owned)).collect()
}

#[test]
fn every_example_on_a_page_is_read_by_the_parser() {
    for kind in NemesisKind::ALL {
        let path = format!("docs/faults/{kind}.md");
        let page = read(&path);
        let mut shown = false;
        for example in examples(&page) {
            // A whole scenario stands for itself.
            let is_whole = example.starts_with("title");
            let text = if is_whole { example.to_owned() } else { format!("{HEAD}{example}") };
            let scenario = parse(&path, &text).unwrap_or_else(|error| panic!("{path}:\n{example}\n{error}"));
            shown |= uses(&scenario, *kind);
        }
        assert!(shown, "{path} shows no example of its fault");
    }
}

#[test]
fn every_option_of_a_fault_is_on_its_page_and_every_one_there_is_taken() {
    for kind in NemesisKind::ALL {
        let path = format!("docs/faults/{kind}.md");
        let page = read(&path);
        let known = keys_of(*kind);
        for key in known.iter().filter(|key| *key != "name") {
            assert!(page.contains(&format!("`{key}`")), "{path} does not name the option `{key}`");
        }
        for option in documented_options(&page) {
            assert!(known.contains(&option), "{path} lists the option `{option}`, which the parser refuses");
        }
        let own = known.iter().filter(|key| {
            !["name", "start", "every", "lasts", "times", "always", "during"].contains(&key.as_str())
        });
        let listed = documented_options(&page);
        for key in own {
            assert!(listed.contains(key), "{path} has no row for the option `{key}`");
        }
    }
}

/// Compares a text with the file, or writes it there.
fn expect_text(path: &str, wanted: &str) {
    if std::env::var("REWRITE").is_ok() {
        fs::write(root().join(path), wanted).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let found = fs::read_to_string(root().join(path)).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    let line = differs.map_or("one of them ends early".to_owned(), |(found, wanted)| {
        format!("there stands\n  {found}\nand should stand\n  {wanted}")
    });
    assert!(
        found == wanted,
        "{path} is not what the scenario files say; {line}\nhint: REWRITE=1 cargo test -p seatrial-scenario --test pages"
    );
}

/// The page with its last chapter written anew.
fn with_uses(page: &str, uses: &str) -> String {
    let (before, _) = page.split_once(USES).unwrap_or((page, ""));
    format!("{}\n\n{USES}{MADE}\n\n{}\n", before.trim_end(), uses.trim_end())
}

fn link(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".toml");
    format!("[{name}](../../scenarios/{path})")
}

/// The ids of these planted bugs, in order.
fn ids<'a>(hunts: impl Iterator<Item = &'a Hunt>) -> Vec<String> {
    let mut ids: Vec<String> = hunts.map(|hunt| hunt.bug.to_string()).collect();
    ids.sort();
    ids
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[test]
fn the_last_chapter_of_a_faults_page_names_its_scenarios_and_bugs() {
    let scenarios = scenarios();
    // Bug, members, faults that are left, and more.
    let small = rows("reports/shrinking.md");
    assert!(!small.is_empty(), "the report has a table");
    let faultless: BTreeSet<&String> = small.iter().filter(|row| row[2] == "0").map(|row| &row[0]).collect();
    for kind in NemesisKind::ALL {
        let with: Vec<&(String, Scenario)> =
            scenarios.iter().filter(|(_, scenario)| uses(scenario, *kind)).collect();
        let links: Vec<String> = with.iter().map(|(path, _)| link(path)).collect();
        let is_only = |scenario: &Scenario| scenario.nemeses.iter().all(|nemesis| nemesis.kind == *kind);
        let alone = with.iter().filter(|(_, scenario)| is_only(scenario));
        let alone: Vec<String> = alone.map(|(path, _)| link(path)).collect();
        let is_in = |name: &str| with.iter().any(|(_, scenario)| scenario.name == name);
        let bugs = ids(HUNTS.iter().filter(|hunt| hunt.scenarios.iter().all(|name| is_in(name))));
        let freely: Vec<String> = bugs.iter().filter(|bug| faultless.contains(*bug)).cloned().collect();
        let mut text = format!(
            "- Scenarios: {}.\n- With no other fault: {}.\n- [Planted bugs](../planted-bugs.md) that are hunted only where this \
             fault is: {}.",
            listed(&links),
            listed(&alone),
            listed(&bugs)
        );
        if !freely.is_empty() {
            let freely = listed(&freely);
            write!(
                text,
                " Of these, [made small](../../reports/shrinking.md), fail with no fault at all: {freely}."
            )
            .expect("a string takes all");
        }
        let path = format!("docs/faults/{kind}.md");
        expect_text(&path, &with_uses(&read(&path), &text));
    }
}

/// The rows of the first table of a report, cell by cell.
fn rows(report: &str) -> Vec<Vec<String>> {
    let text = read(report);
    let rows = text.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[test]
fn the_last_chapter_of_an_oracles_page_names_its_scenarios_and_bugs() {
    let scenarios = scenarios();
    // Bug, by whom it was named, in which scenario, and more.
    let report = rows("reports/planted-bugs.md");
    assert!(!report.is_empty(), "the report has a table");
    // Oracle, and the bugs that only it finds, and more.
    let alone = rows("reports/oracles.md");
    for name in oracles::NAMES {
        let only = alone.iter().find(|row| row[0] == *name);
        let only = &only.unwrap_or_else(|| panic!("reports/oracles.md has no row for {name}"))[1];
        let count = only.split(',').filter(|id| id.trim() != "-").count();
        assert!(count >= ALONE_MIN, "{name} alone finds {only}, which is too few to prove it");
        let asks = |scenario: &Scenario| scenario.expect.oracles.iter().any(|oracle| oracle == name);
        let without: Vec<String> =
            scenarios.iter().filter(|(_, scenario)| !asks(scenario)).map(|(path, _)| link(path)).collect();
        let asked = if without.is_empty() {
            "all scenarios".to_owned()
        } else {
            format!("all scenarios but {}", listed(&without))
        };
        let may = ids(HUNTS.iter().filter(|hunt| hunt.oracles.contains(name)));
        let expected = ids(HUNTS.iter().filter(|hunt| hunt.oracles == [*name]));
        let named = report.iter().filter(|row| row[1] == *name);
        let named: Vec<String> = named.map(|row| format!("{} in `{}`", row[0], row[2])).collect();
        let text = format!(
            "- Asked in {asked}.\n- [Planted bugs](../planted-bugs.md) that it may name: {}. That it alone is expected to name: \
             {}.\n- Named by it in [the last campaign](../../reports/planted-bugs.md): {}.\n- Found by it \
             and by no other, where all of them judged [the same runs](../../reports/oracles.md): {only}.",
            listed(&may),
            listed(&expected),
            listed(&named)
        );
        let path = format!("docs/oracles/{name}.md");
        expect_text(&path, &with_uses(&read(&path), &text));
    }
}

/// What goes wrong in a scenario, for the table of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chapter {
    Network,
    Processes,
    Disks,
    Clocks,
    Members,
    Leases,
    Users,
    CoreOs,
    Space,
    Watches,
    Storms,
}

impl Chapter {
    const ALL: [Self; 11] = [
        Self::Network,
        Self::Processes,
        Self::Disks,
        Self::Clocks,
        Self::Members,
        Self::Leases,
        Self::Users,
        Self::CoreOs,
        Self::Space,
        Self::Watches,
        Self::Storms,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Network => "The network: links are cut, flap, lose or delay",
            Self::Processes => "Processes and machines: killed, stopped, without power",
            Self::Disks => "Disks: slow, full, failing, lying, damaged",
            Self::Clocks => "Clocks: they run apart and jump",
            Self::Members => "Members: they come, go, are promoted, are lost for good",
            Self::Leases => "Leases, locks and elections, while others fail",
            Self::Users => "Users and their rights, while members fail",
            Self::CoreOs => "What CoreOS ran: v2 keys, the reboot lock, units across machines",
            Self::Space => "Space: a store that fills up, forgets, or must be sent whole",
            Self::Watches => "Watches: readers that are slow or want only a part",
            Self::Storms => "Storms: everything at once",
        }
    }

    /// The kind of thing that a fault breaks.
    fn of_fault(kind: NemesisKind) -> Self {
        match kind {
            NemesisKind::Partition
            | NemesisKind::Flapping
            | NemesisKind::Loss
            | NemesisKind::Latency
            | NemesisKind::Bandwidth => Self::Network,
            NemesisKind::Kill
            | NemesisKind::RollingRestart
            | NemesisKind::RollingUpgrade
            | NemesisKind::PowerLoss
            | NemesisKind::Pause
            | NemesisKind::LostMajority => Self::Processes,
            NemesisKind::SlowDisk
            | NemesisKind::SyncError
            | NemesisKind::FullDisk
            | NemesisKind::LyingSync
            | NemesisKind::WalDamage
            | NemesisKind::ValueDamage
            | NemesisKind::DiskStall
            | NemesisKind::ReadError
            | NemesisKind::StoreRot
            | NemesisKind::MisdirectedWrite => Self::Disks,
            NemesisKind::Clock => Self::Clocks,
        }
    }

    /// The first of these rules that fits decides.
    fn of(scenario: &Scenario) -> Self {
        let broken: BTreeSet<Self> =
            scenario.nemeses.iter().map(|nemesis| Self::of_fault(nemesis.kind)).collect();
        let has = |kind: WorkloadKind| scenario.workloads.iter().any(|workload| workload.kind == kind);
        let first = scenario.workloads.first().map(|workload| workload.kind);
        let knobs = &scenario.knobs;
        let compacts = scenario.workloads.iter().any(|workload| {
            let often = workload.mix.iter().any(|(op, weight)| *op == OpKind::Compact && *weight > 0);
            often && workload.compact_behind < 100
        });
        // A log that is cut so soon that whoever was away needs a snapshot.
        let sends_snapshots = knobs.snapshot_entries.iter().all(|entries| *entries <= 50);
        let picky = scenario.workloads.iter().any(|workload| !workload.watch.read_every.is_zero());
        let breaks_disks = scenario.nemeses.iter().any(|nemesis| {
            Self::of_fault(nemesis.kind) == Self::Disks && nemesis.kind != NemesisKind::SlowDisk
        });
        let core_os = [WorkloadKind::V2, WorkloadKind::Reboots, WorkloadKind::Units];
        if core_os.into_iter().any(has) {
            Self::CoreOs
        } else if broken.len() == 4 {
            Self::Storms
        } else if has(WorkloadKind::Membership) {
            Self::Members
        } else if has(WorkloadKind::Locks)
            || has(WorkloadKind::Elections)
            || first == Some(WorkloadKind::Lease)
        {
            Self::Leases
        } else if has(WorkloadKind::Users) {
            Self::Users
        } else if has(WorkloadKind::Space) || compacts || sends_snapshots {
            Self::Space
        } else if picky {
            Self::Watches
        } else if broken.contains(&Self::Clocks) {
            Self::Clocks
        } else if breaks_disks {
            Self::Disks
        } else if uses(scenario, NemesisKind::Flapping) {
            Self::Network
        } else {
            scenario.nemeses.first().map_or(Self::Storms, |nemesis| Self::of_fault(nemesis.kind))
        }
    }
}

#[test]
fn the_table_of_contents_is_what_the_scenario_files_say() {
    let scenarios = scenarios();
    let mut chapters: BTreeMap<Chapter, Vec<&(String, Scenario)>> = BTreeMap::new();
    for entry in &scenarios {
        chapters.entry(Chapter::of(&entry.1)).or_default().push(entry);
    }
    let mut text = format!(
        "# What can go wrong\n\n{} scenarios, by what goes wrong in them. {MADE}\n\nThe folder says when one is run: `fast` with \
         every change, `slow` at night, `rare` where a particular bug is hunted, `negative` to see that an oracle can\nsee, \
         `regressions` so that a bug of ours stays away, `foreign` against other servers. How a scenario is written stands in \
         [docs/scenario-format.md](../docs/scenario-format.md), what each fault does\nin [docs/faults.md](../docs/faults.md).\n",
        scenarios.len()
    );
    for chapter in Chapter::ALL {
        let Some(entries) = chapters.get(&chapter) else { continue };
        write!(
            text,
            "\n## {}\n\n| scenario | what it puts at risk | faults |\n|---|---|---|\n",
            chapter.title()
        )
        .expect("a string takes all");
        for (path, scenario) in entries {
            let mut faults: Vec<&str> = Vec::new();
            for nemesis in &scenario.nemeses {
                if !faults.contains(&nemesis.kind.name()) {
                    faults.push(nemesis.kind.name());
                }
            }
            let end = if scenario.expect.verdict == VerdictKind::Violation { " Must fail." } else { "" };
            writeln!(
                text,
                "| [{}]({path}) ({}) | {}.{end} | {} |",
                scenario.title,
                path.split('/').next().unwrap_or_default(),
                scenario.why,
                faults
                    .iter()
                    .map(|fault| format!("[{fault}](../docs/faults/{fault}.md)"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
            .expect("a string takes all");
        }
    }
    expect_text("scenarios/README.md", &text);
}
