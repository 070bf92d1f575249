//! Which files are meant, and what they say.

use seatrial_history::examine::Examined;
use seatrial_history::parse::{Format, detect};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where a history comes from.
pub(super) struct Source {
    /// As people call it.
    pub(super) shown: String,
    /// `None`: standard input.
    path: Option<PathBuf>,
    /// What the store did by itself is not in the history: a run folder with leases.
    has_leases: bool,
}

/// Endings of files that are looked into where a folder is given.
const ENDINGS: [&str; 4] = ["jsonl", "edn", "log", "txt"];

/// Files of which one is the folder's history, and the rest something else.
const MAIN: [&str; 2] = ["history.jsonl", "history.edn"];

impl Source {
    fn file(path: &Path) -> Self {
        let is_run = path.file_name().is_some_and(|name| name == MAIN[0]);
        let leases = path.with_file_name("leases.jsonl");
        let has_leases = is_run && fs::metadata(leases).is_ok_and(|leases| leases.len() > 0);
        Self { shown: path.display().to_string(), path: Some(path.to_owned()), has_leases }
    }

    pub(super) fn read(&self) -> Result<String, String> {
        let bytes = match &self.path {
            Some(path) => fs::read(path),
            None => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        let bytes = bytes.map_err(|error| {
            format!("{}: {error}\nhint: give files, folders of them, or - for standard input", self.shown)
        })?;
        String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
            format!("{}:{line}:{column}: expected text in UTF-8\nhint: is it compressed?", self.shown)
        })
    }

    /// A verdict, as far as the history can bear it out: keys that went with their leases look like revisions
    /// that nobody made.
    pub(super) fn believe(&self, examined: Examined) -> Examined {
        match examined {
            Examined::NotLinearizable(told) if self.has_leases => Examined::Unknown {
                why: format!(
                    "leases ran in this run, and what the store deletes by itself is not in the history, so this \
                     may be no failure (`seatrial replay` judges with it): {}",
                    told.sentences.join(" ")
                ),
            },
            other => other,
        }
    }
}

/// The histories that these paths mean. Where the format was told, every file of a folder must have it.
pub(super) fn gather(paths: &[PathBuf], format_was_told: bool) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(Source { shown: "standard input".to_owned(), path: None, has_leases: false });
            continue;
        }
        if !path.is_dir() {
            sources.push(Source::file(path));
            continue;
        }
        let before = sources.len();
        collect(path, format_was_told, &mut sources)?;
        if sources.len() == before {
            return Err(format!(
                "{}: no history in this folder\nhint: a run folder has a history.jsonl; in other folders, files \
                 that end in .{} are looked into",
                path.display(),
                ENDINGS.join(", .")
            ));
        }
    }
    Ok(sources)
}

fn collect(folder: &Path, format_was_told: bool, sources: &mut Vec<Source>) -> Result<(), String> {
    if let Some(main) = MAIN.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        sources.push(Source::file(&main));
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, format_was_told, sources)?;
        } else if entry.extension().is_some_and(|ending| ENDINGS.iter().any(|one| ending == *one)) {
            let source = Source::file(&entry);
            if format_was_told || has_history(&source)? {
                sources.push(source);
            } else {
                eprintln!("{}: passed over, this is no history", entry.display());
            }
        }
    }
    Ok(())
}

/// Whether a file looks like a history at all; one that does and is malformed is told later.
fn has_history(source: &Source) -> Result<bool, String> {
    let text = source.read()?;
    // Other files may be EDN or lines of JSON, too: results, settings, watches.
    Ok(match detect(&text) {
        Ok(Format::Edn | Format::KvLog) => text.contains(":process"),
        Ok(Format::Seatrial) => text.contains("\"seatrial-history\"") || text.contains("\"outcome\""),
        Ok(Format::JepsenLog) => true,
        Err(_) => false,
    })
}
