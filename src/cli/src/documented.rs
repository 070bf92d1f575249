//! Every command line that our documents show is one that this program takes.

use crate::Cli;
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|ending| ["md", "yml", "yaml"].iter().any(|one| ending == *one))
        {
            found.push(path);
        }
    }
}

/// Commands as they stand in a text: in Markdown within shell blocks, elsewhere on any line.
fn commands(path: &Path, text: &str) -> Vec<String> {
    let is_markdown = path.extension().is_some_and(|ending| ending == "md");
    let (mut found, mut shell, mut open) = (Vec::new(), !is_markdown, String::new());
    for line in text.lines() {
        if is_markdown && line.trim_start().starts_with("```") {
            shell = line.trim() == "```sh";
            continue;
        }
        if !shell {
            continue;
        }
        let line = line.trim();
        if open.is_empty()
            && !["seatrial ", "target/release/seatrial ", "cargo run --release -- "]
                .iter()
                .any(|begin| line.starts_with(begin))
        {
            continue;
        }
        open += line.trim_end_matches('\\');
        if !line.ends_with('\\') {
            found.push(std::mem::take(&mut open));
        }
    }
    found
}

/// Its words, as a shell would give them: without comments and redirections, with 1 for whatever is computed.
fn words(command: &str) -> Vec<String> {
    let mut text =
        command.replace("target/release/seatrial", "seatrial").replace("cargo run --release --", "seatrial");
    for (begin, end) in [("$((", "))"), ("${{", "}}")] {
        while let Some(from) = text.find(begin) {
            let to = text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
            text.replace_range(from..to, "1");
        }
    }
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        if word.starts_with('#') || ["||", "&&", "|", ">", "&"].contains(&word) {
            break;
        }
        words.push(word.trim_matches(['"', '\'']).to_owned());
    }
    words
}

#[test]
fn every_command_in_the_documents_is_one_that_we_take() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = vec![root.join("README.md")];
    files(&root.join("docs"), &mut paths);
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in paths {
        for command in commands(&path, &fs::read_to_string(&path).unwrap()) {
            seen += 1;
            if let Err(error) = Cli::try_parse_from(words(&command))
                && error.use_stderr()
            {
                wrong.push(format!("{}: {command}\n{error}", path.display()));
            }
        }
    }
    assert!(seen > 15, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
