//! `seatrial report merge`: the campaigns of several machines as one.

use super::fail;
use super::fuzz::{exit_code, json, told, write_files};
use crate::exit;
use clap::{Args, Subcommand};
use seatrial_scenario::campaign::{Campaign, merge};
use seatrial_scenario::files::load_campaign;
use seatrial_scenario::format::spec::VerdictKind;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Put the campaigns that the shards of `fuzz` wrote together into one page.
    Merge(MergeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The folders of the shards, as given to `fuzz --out`.
    #[arg(required = true)]
    shards: Vec<PathBuf>,
    /// Where the page and the kept failures go.
    #[arg(long, default_value = "runs/merged")]
    out: PathBuf,
    /// Write JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write SARIF 2.1.0.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Print the whole as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &ReportCommand) -> ExitCode {
    let ReportCommand::Merge(args) = command;
    let mut parts = Vec::new();
    for folder in &args.shards {
        match load_campaign(folder) {
            Ok(Some(campaign)) => parts.push((folder.display().to_string(), campaign)),
            Ok(None) => {
                let hint = "hint: name the folder given to `seatrial fuzz --out`; it holds a campaign.json";
                return fail(
                    exit::USAGE,
                    format!("{}: no campaign in this folder\n{hint}", folder.display()),
                );
            }
            Err(error) => {
                // Its own hint is for who goes on with a campaign.
                let text = error.to_string();
                return fail(exit::USAGE, text.lines().next().unwrap_or_default());
            }
        }
    }
    let (mut whole, notes) = match merge(&parts) {
        Ok(merged) => merged,
        Err(error) => return fail(exit::USAGE, error),
    };
    let same = |folder: &PathBuf| folder.canonicalize().ok() == args.out.canonicalize().ok();
    if args.out.exists() && args.shards.iter().any(same) {
        let hint = "hint: --out names another folder, for what was kept is copied there";
        return fail(exit::USAGE, format!("{} is one of the shards\n{hint}", args.out.display()));
    }
    bring(&mut whole, &args.out);
    let (junit, sarif) = (args.junit.as_deref(), args.sarif.as_deref());
    if let Err(error) = write_files(&whole, &notes, &args.out, junit, sarif) {
        return fail(exit::HARNESS, error);
    }
    if args.json {
        println!("{}", json(&whole));
    } else {
        for note in &notes {
            println!("{note}");
        }
        print!("{}", told(&whole, &args.out));
    }
    if !notes.is_empty() && whole.verdict() == VerdictKind::Pass {
        // A part of it is not known.
        return ExitCode::from(3);
    }
    exit_code(&whole)
}

/// Copies what was kept of the failures: the page must still lead there when the shards' folders are gone.
fn bring(whole: &mut Campaign, out: &Path) {
    for (id, failure) in &mut whole.failures {
        let mut lost = Vec::new();
        failure.folder = failure.folder.take().and_then(|folder| {
            copied(&folder, out, &format!("failures/{id}")).map_err(|error| lost.push(error)).ok()
        });
        failure.small = failure.small.take().and_then(|mut small| {
            small.folder =
                copied(&small.folder, out, &format!("small/{id}")).map_err(|error| lost.push(error)).ok()?;
            Some(small)
        });
        if !lost.is_empty() {
            failure.trouble = Some(format!("not kept: {}", lost.join("; ")));
        }
    }
}

fn copied(from: &str, out: &Path, below: &str) -> Result<String, String> {
    let name = Path::new(from).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let inside = format!("{below}/{name}");
    let to = out.join(&inside);
    copy(Path::new(from), &to).map_err(|error| format!("{from}: {error}"))?;
    Ok(inside)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
