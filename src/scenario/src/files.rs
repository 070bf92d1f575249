//! The only place of this room that touches files: reads scenarios and plans, writes run folders.

#![allow(clippy::disallowed_methods, reason = "this file is the one that touches files")]

use crate::batch::{RunSummary, seconds};
use crate::campaign::{CAMPAIGN_FORMAT, Campaign};
use crate::format::spec::{Scenario, VerdictKind};
use crate::format::{FormatError, parse};
use crate::plan::{PLAN_FORMAT, Plan};
use crate::record::{RunLog, nanos};
use crate::to_report::verdict;
use seatrial_report::{Batch, BatchEntry, RunRecord, render_batch, render_html, render_json};
use seatrial_types::EventKind;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A scenario or plan that cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadError {
    /// The file says something it must not.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file cannot be read.
    #[error("{path}: {error}\nhint: give a scenario file or a folder of them, such as scenarios/fast")]
    Read {
        /// As named by the caller.
        path: String,
        /// What the system says.
        error: String,
    },
    /// A folder without scenarios.
    #[error("{path}: no scenario in this folder\nhint: scenarios are files that end in .toml")]
    Empty {
        /// As named by the caller.
        path: String,
    },
    /// Two files of one name would share their run folders.
    #[error("{first} and {second} are both called {name:?}\nhint: give one of the files another name")]
    Twice {
        /// The name.
        name: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A stored plan that cannot be read.
    #[error("{path}: {error}\nhint: a plan is the plan.json of a run folder, written by this version")]
    Plan {
        /// As named by the caller.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// A stored campaign that cannot be read.
    #[error("{path}: {error}\nhint: --fresh begins a new campaign in its place")]
    Campaign {
        /// Where it is.
        path: String,
        /// What is wrong.
        error: String,
    },
}

fn read(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path)
        .map_err(|error| LoadError::Read { path: path.display().to_string(), error: error.to_string() })
}

/// Reads scenario files, and all that lie in folders and their sub-folders, in order of their names.
///
/// # Errors
/// The first file that cannot be read or is wrong.
pub fn load_scenarios(paths: &[PathBuf]) -> Result<Vec<Scenario>, LoadError> {
    Ok(load_with_places(paths)?.0)
}

/// As [`load_scenarios`]; second, by the scenarios' names, where they were found.
///
/// # Errors
/// The first file that cannot be read or is wrong.
pub fn load_with_places(paths: &[PathBuf]) -> Result<(Vec<Scenario>, BTreeMap<String, String>), LoadError> {
    let mut scenarios = Vec::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| LoadError::Read {
            path: path.display().to_string(),
            error: error.to_string(),
        })?;
        let mut files = Vec::new();
        if metadata.is_dir() {
            collect(path, &mut files)?;
            if files.is_empty() {
                return Err(LoadError::Empty { path: path.display().to_string() });
            }
        } else {
            files.push(path.clone());
        }
        for file in files {
            let shown = file.display().to_string();
            let scenario = parse(&shown, &read(&file)?)?;
            match known.insert(scenario.name.clone(), shown.clone()) {
                // The same file named twice is run once.
                Some(first) if first == shown => {}
                Some(first) => return Err(LoadError::Twice { name: scenario.name, first, second: shown }),
                None => scenarios.push(scenario),
            }
        }
    }
    Ok((scenarios, known))
}

/// What a campaign's folder remembers it by.
pub const CAMPAIGN_FILE: &str = "campaign.json";

/// The campaign of a folder; `None` where there is none.
///
/// # Errors
/// Where it cannot be read, or another version wrote it.
pub fn load_campaign(folder: &Path) -> Result<Option<Campaign>, LoadError> {
    let path = folder.join(CAMPAIGN_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |error: String| LoadError::Campaign { path: path.display().to_string(), error };
    let text = read(&path)?;
    let Format { format } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if format != CAMPAIGN_FORMAT {
        return Err(wrong(format!("its format is {format}, this version reads {CAMPAIGN_FORMAT}")));
    }
    serde_json::from_str(&text).map(Some).map_err(|error| wrong(error.to_string()))
}

/// Writes the campaign so that whatever interrupts it, the file is the old one or the new one.
///
/// # Errors
/// A sentence that names the file.
pub fn store_campaign(folder: &Path, campaign: &Campaign) -> Result<(), String> {
    let text = serde_json::to_string(campaign).expect("plain data with string keys");
    write_whole(&folder.join(CAMPAIGN_FILE), &text)
}

/// Writes the pages and files of a campaign that somebody asks for.
///
/// # Errors
/// A sentence that names the file.
pub fn write_whole(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&aside, text).and_then(|()| fs::rename(&aside, path)).map_err(|error| {
        let _ = fs::remove_file(&aside);
        failed(error)
    })
}

/// The plans of a corpus, in order of their names, and sentences about those that this version cannot play.
///
/// # Errors
/// Where the folder cannot be read. One that is not there is empty.
pub fn load_corpus(folder: &Path) -> Result<(Vec<Plan>, Vec<String>), LoadError> {
    let failed = |error: std::io::Error| LoadError::Read {
        path: folder.display().to_string(),
        error: error.to_string(),
    };
    if !folder.exists() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_plan = path.extension().is_some_and(|ending| ending == "json");
        // Names that begin with a dot are half-written.
        if is_plan && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            files.push(path);
        }
    }
    files.sort();
    let (mut plans, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        match load_plan(&file) {
            Ok(plan) => plans.push(plan),
            Err(error) => skipped.push(error.to_string()),
        }
    }
    Ok((plans, skipped))
}

/// Puts a plan into a corpus.
///
/// # Errors
/// A sentence that names the file.
pub fn store_in_corpus(folder: &Path, plan: &Plan) -> Result<(), String> {
    let name = format!("{}.json", folder_name(&plan.scenario.name, plan.seed));
    write_whole(&folder.join(name), &serde_json::to_string(plan).expect("plain data with string keys"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let failed = |error: std::io::Error| LoadError::Read {
        path: folder.display().to_string(),
        error: error.to_string(),
    };
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, files)?;
        } else if entry.extension().is_some_and(|ending| ending == "toml") {
            files.push(entry);
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

/// Reads a stored plan.
///
/// # Errors
/// Where it cannot be read, or another version wrote it.
pub fn load_plan(path: &Path) -> Result<Plan, LoadError> {
    let shown = path.display().to_string();
    let text = read(path)?;
    // The format first: a plan of another one lacks fields, and their names would tell nobody what is wrong.
    let wrong = |error: String| LoadError::Plan { path: shown.clone(), error };
    let Format { format } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if format != PLAN_FORMAT {
        return Err(wrong(format!("its format is {format}, this version reads {PLAN_FORMAT}")));
    }
    let plan: Plan = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(plan)
}

/// What goes into a run folder.
pub(crate) struct RunFolder<'a> {
    pub(crate) log: &'a RunLog,
    pub(crate) record: &'a RunRecord,
}

/// The name of a run's folder.
pub(crate) fn folder_name(scenario: &str, seed: u64) -> String {
    format!("{scenario}-{seed}")
}

pub(crate) fn write_run(root: &Path, run: &RunFolder<'_>) -> Result<PathBuf, String> {
    let plan = &run.log.plan;
    let folder = root.join(folder_name(&plan.scenario.name, plan.seed));
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder.join("logs")).map_err(|error| failed(&folder, error))?;
    let json = |what: serde_json::Result<String>| what.expect("plain data with string keys");
    let mut files: Vec<(PathBuf, String)> = vec![
        ("plan.json".into(), json(serde_json::to_string_pretty(plan)) + "\n"),
        ("history.jsonl".into(), seatrial_history::jsonl::to_json_lines(&run.log.history)),
        ("record.json".into(), render_json(run.record)),
        ("report.html".into(), render_html(run.record)),
        ("watches.jsonl".into(), lines(&run.log.watches)),
        ("leases.jsonl".into(), lines(&run.log.leases)),
    ];
    if !run.log.v2.is_empty() {
        files.push(("v2.jsonl".into(), lines(&run.log.v2)));
    }
    if plan.has_units() {
        files.push(("fleet.jsonl".into(), fleet(run.log)));
    }
    if !run.log.machines.is_empty() {
        files.push(("reboots.jsonl".into(), reboots(run.log)));
    }
    for member in plan.machines() {
        let told: String = run
            .log
            .observed
            .iter()
            .filter(|seen| seen.member == member)
            .map(|seen| {
                let what = json(serde_json::to_string(&seen.what));
                format!("{:>12.6} incarnation {} {what}\n", seen.at.as_secs_f64(), seen.incarnation)
            })
            .collect();
        files.push((Path::new("logs").join(format!("member-{member}.log")), told));
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(folder)
}

/// What a fleet did, and what its keys in the store went through.
fn fleet(log: &RunLog) -> String {
    let units = &log.units;
    let ledger: Vec<serde_json::Value> = log
        .last
        .iter()
        .flat_map(|last| &last.ledger)
        .filter(|event| event.kv.key.starts_with(b"/_seatrial/"))
        .map(|event| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let value = (event.kind == EventKind::Put).then(|| text(&event.kv.value));
            serde_json::json!({
                "revision": event.kv.mod_revision.0, "key": text(&event.kv.key), "value": value
            })
        })
        .collect();
    [
        lines(&units.faults),
        lines(&units.agents),
        lines(&units.engines),
        lines(&units.operators),
        lines(&units.processes),
        lines(units.look.as_slice()),
        lines(&ledger),
    ]
    .concat()
}

/// What machines did, what operators ordered, and what the lock's keys went through, in the order of time.
fn reboots(log: &RunLog) -> String {
    let value = |what: serde_json::Result<serde_json::Value>| what.expect("plain data");
    let machines = log.machines.iter().flat_map(|machine| {
        machine.events.iter().map(move |event| {
            let does = value(serde_json::to_value(&event.what));
            (event.at, serde_json::json!({"at": event.at.as_secs_f64(), "machine": machine.id, "does": does}))
        })
    });
    let orders = log.orders.iter().map(|order| {
        let (from, to) = (order.call.as_secs_f64(), order.ret.map(|ret| ret.as_secs_f64()));
        (order.call, serde_json::json!({"at": from, "until": to, "group": order.group, "order": order.what}))
    });
    let changes = log.semaphores.iter().map(|change| {
        let key = if change.ledger { "ledger" } else { "semaphore" };
        let at = change.at.as_secs_f64();
        let line = serde_json::json!({
            "at": at, "group": change.group, "key": key, "index": change.index, "value": change.value
        });
        (change.at, line)
    });
    let mut all: Vec<_> = machines.chain(orders).chain(changes).collect();
    all.sort_by_key(|(at, _)| *at);
    lines(&all.into_iter().map(|(_, line)| line).collect::<Vec<_>>())
}

fn lines<T: serde::Serialize>(items: &[T]) -> String {
    items.iter().map(|item| serde_json::to_string(item).expect("plain data") + "\n").collect()
}

pub(crate) fn write_batch(
    root: &Path,
    runs: &[RunSummary],
    scenarios: &[Scenario],
) -> Result<PathBuf, String> {
    let titles: BTreeMap<&str, &str> =
        scenarios.iter().map(|scenario| (scenario.name.as_str(), scenario.title.as_str())).collect();
    let entries = runs.iter().map(|run| BatchEntry {
        scenario: run.scenario.clone(),
        title: titles.get(run.scenario.as_str()).map_or(String::new(), |title| (*title).to_owned()),
        seed: run.seed,
        verdict: verdict(run.verdict),
        oracle: run.oracle.clone(),
        sentence: run.sentence.clone(),
        replay: run
            .folder
            .as_ref()
            .map_or(String::new(), |folder| format!("seatrial replay {}/plan.json", folder.display())),
        trace_hash: run.trace_hash.clone(),
        duration_ns: nanos(seconds(run.simulated_seconds)),
        cpu_ns: nanos(seconds(run.cpu_seconds)),
        link: run.folder.as_ref().map(|_| format!("{}/report.html", folder_name(&run.scenario, run.seed))),
    });
    let failed = runs.iter().filter(|run| run.verdict != VerdictKind::Pass).count();
    let batch = Batch {
        title: format!("{} scenarios, {} runs, {failed} not passed", scenarios.len(), runs.len()),
        entries: entries.collect(),
        ..Batch::default()
    };
    let path = root.join("index.html");
    fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))?;
    fs::write(&path, render_batch(&batch)).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_format_is_refused_by_its_number_whatever_else_it_lacks() {
        let path = std::env::temp_dir().join(format!("seatrial-plan-{}.json", std::process::id()));
        fs::write(&path, r#"{"format": 1}"#).unwrap();
        let error = load_plan(&path).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.contains("its format is 1, this version reads 2"), "{error}");
    }
}
