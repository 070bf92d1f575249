//! `seatrial bisect`: the first commit at which a kept run fails, by building commits and replaying the run with each.

use super::fail;
use crate::exit;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

#[derive(Debug, Args)]
pub(crate) struct BisectArgs {
    /// A run's folder, or its plan.json.
    path: PathBuf,
    /// A commit at which the run passes.
    #[arg(long, value_name = "COMMIT")]
    good: String,
    /// A commit at which it fails.
    #[arg(long, value_name = "COMMIT", default_value = "HEAD")]
    bad: String,
    /// How a commit is built.
    #[arg(long, default_value = "cargo build --release")]
    build: String,
    /// What the build makes, below the root of the code.
    #[arg(long, default_value = "target/release/seatrial")]
    program: PathBuf,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    repository: PathBuf,
}

/// What one commit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Passes,
    Fails,
    /// It cannot be built, or cannot read the plan.
    Nothing,
}

/// Removed when the work is over, whatever way it ends.
struct WorkTree<'a> {
    repository: &'a Path,
    folder: PathBuf,
}

impl Drop for WorkTree<'_> {
    fn drop(&mut self) {
        let folder = self.folder.display().to_string();
        let _ = git(self.repository, &["worktree", "remove", "--force", &folder]);
    }
}

fn git(folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(args)
        .output()
        .map_err(|error| format!("git does not start: {error}\nhint: it must be installed"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

pub(super) fn run(args: &BisectArgs) -> ExitCode {
    let plan = if args.path.is_dir() { args.path.join("plan.json") } else { args.path.clone() };
    let plan = match plan.canonicalize() {
        Ok(plan) => plan,
        Err(error) => {
            let hint = "hint: give a run's folder, as runs and campaigns keep them";
            return fail(exit::USAGE, format!("{}: {error}\n{hint}", plan.display()));
        }
    };
    match find(args, &plan) {
        Ok(found) => {
            print!("{found}");
            ExitCode::from(exit::PASS)
        }
        Err((code, text)) => fail(code, text),
    }
}

fn find(args: &BisectArgs, plan: &Path) -> Result<String, (u8, String)> {
    let usage = |text: String| (exit::USAGE, text);
    let root = git(&args.repository, &["rev-parse", "--show-toplevel"]).map_err(usage)?;
    let root = PathBuf::from(root);
    let named =
        |name: &str| git(&root, &["rev-parse", "--verify", &format!("{name}^{{commit}}")]).map_err(usage);
    let (good, bad) = (named(&args.good)?, named(&args.bad)?);
    // Oldest first; the good one is not among them. Of merges only the line they were merged into: a branch may pass and
    // fail again and again, and halving would believe what it saw last.
    let between = git(&root, &["rev-list", "--reverse", "--first-parent", &format!("{good}..{bad}")]);
    let commits: Vec<String> =
        between.map_err(usage)?.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    let is_older = git(&root, &["merge-base", "--is-ancestor", &good, &bad]).is_ok();
    if commits.is_empty() || !is_older {
        let text = format!("{} does not come after {}\nhint: --good is the older one", args.bad, args.good);
        return Err(usage(text));
    }
    let folder = std::env::temp_dir().join(format!("seatrial-bisect-{}", std::process::id()));
    let shown = folder.display().to_string();
    git(&root, &["worktree", "add", "--detach", &shown, &good]).map_err(|text| (exit::HARNESS, text))?;
    let tree = WorkTree { repository: &root, folder };
    let ask = |commit: &str| -> Result<Said, (u8, String)> {
        let said = ask(args, &tree.folder, plan, commit).map_err(|text| (exit::HARNESS, text))?;
        let word = match said {
            Said::Passes => "passes",
            Said::Fails => "fails",
            Said::Nothing => "says nothing",
        };
        eprintln!("{word}: {}", subject(&root, commit));
        Ok(said)
    };
    if ask(&good)? != Said::Passes {
        return Err(usage(format!("the run does not pass at {}\nhint: give an older --good", args.good)));
    }
    if ask(&bad)? != Said::Fails {
        return Err(usage(format!("the run does not fail at {}\nhint: --bad names where it does", args.bad)));
    }
    // Invariant: commits[high] fails; everything up to and including commits[low - 1] passes or says nothing.
    let (mut low, mut high) = (0, commits.len() - 1);
    let mut silent = vec![false; commits.len()];
    while let Some(at) = middle(low, high, &silent) {
        match ask(&commits[at])? {
            Said::Passes => low = at + 1,
            Said::Fails => high = at,
            Said::Nothing => silent[at] = true,
        }
    }
    let mut text = format!("first fails: {}\n", subject(&root, &commits[high]));
    let open: Vec<&String> = (low..high).map(|at| &commits[at]).collect();
    if !open.is_empty() {
        text += "or one of these before it, which could not be built or could not read the plan:\n";
        for commit in open {
            text += &format!("  {}\n", subject(&root, commit));
        }
    }
    Ok(text)
}

/// The commit to ask next: the one in the middle of `low..high`, or the nearest to it that has not proved silent.
fn middle(low: usize, high: usize, silent: &[bool]) -> Option<usize> {
    let centre = low + (high - low) / 2;
    (low..high).filter(|at| !silent[*at]).min_by_key(|at| at.abs_diff(centre))
}

fn subject(root: &Path, commit: &str) -> String {
    git(root, &["log", "-1", "--format=%h %s", commit]).unwrap_or_else(|_| commit.to_owned())
}

fn ask(args: &BisectArgs, tree: &Path, plan: &Path, commit: &str) -> Result<Said, String> {
    git(tree, &["checkout", "--quiet", "--force", "--detach", commit])?;
    // What an earlier commit has made must not speak for this one.
    let program = tree.join(&args.program);
    let _ = std::fs::remove_file(&program);
    let mut words = args.build.split_whitespace();
    if let Some(program) = words.next() {
        let built = Command::new(program)
            .args(words)
            .current_dir(tree)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("{program} does not start: {error}\nhint: --build says how to build"))?;
        if !built.success() {
            return Ok(Said::Nothing);
        }
    }
    let out = tree.join("target/bisect");
    if !program.exists() {
        eprintln!("the build makes no {} (--program says what it makes)", args.program.display());
        return Ok(Said::Nothing);
    }
    let replayed = Command::new(&program)
        .arg("replay")
        .arg(plan)
        .arg("--out")
        .arg(&out)
        .current_dir(tree)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    Ok(match replayed.ok().and_then(|status| status.code()) {
        Some(0) => Said::Passes,
        Some(1) => Said::Fails,
        _ => Said::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_to_the_middle_that_is_not_silent_is_asked() {
        assert_eq!(middle(0, 9, &[false; 10]), Some(4));
        let mut silent = [false; 10];
        silent[4] = true;
        assert!(matches!(middle(0, 9, &silent), Some(3 | 5)));
        assert_eq!(middle(0, 9, &[true; 10]), None);
        assert_eq!(middle(3, 3, &[false; 10]), None);
    }
}
