//! Words that do not belong, each with what to write in its place.
//!
//! `clippy.toml` fences off calls by their path, after name resolution; it sees neither macros nor prose, and
//! an `#[allow]` opens it. These checks see the text and know which room it stands in.

use crate::code;
use crate::tree::{File, Tree};

/// Where a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// All code of ours, tests included.
    Code,
    /// Code that runs in every world, without its tests: every room but the composition roots and the worlds.
    Shared,
    /// As [`Scope::Shared`], and the simulated world, whose order reaches the trace hash.
    Replayed,
    /// Every text, prose too.
    Text,
}

/// One word that does not belong.
#[derive(Clone, Copy, Debug)]
struct Rule {
    word: &'static str,
    scope: Scope,
    instead: &'static str,
}

/// The composition roots and tools: they may ask the machine.
const ROOTS: [&str; 5] = ["src/cli/", "src/xtask/", "src/fuzzing/", "sims/", "benches/"];

/// The worlds: they answer for the machine.
const WORLDS: [&str; 4] = ["src/world-real/", "src/world-sim/", "src/service-real/", "src/systemd/"];

const fn rule(word: &'static str, scope: Scope, instead: &'static str) -> Rule {
    Rule { word, scope, instead }
}

const RULES: &[Rule] = &[
    rule("tokio::spawn", Scope::Shared, "World::spawn: tokio's runtime is not there in simulation"),
    rule("tokio::time", Scope::Shared, "World::now, World::sleep and the helpers of world"),
    rule("tokio::net", Scope::Shared, "World::listen and World::connect"),
    rule("tokio::fs", Scope::Shared, "World::disk"),
    rule("std::fs", Scope::Shared, "World::disk"),
    rule("std::net::TcpStream", Scope::Shared, "World::connect"),
    rule("std::net::TcpListener", Scope::Shared, "World::listen"),
    rule("thread::spawn", Scope::Shared, "World::spawn, or World::work for what blocks"),
    rule("thread::sleep", Scope::Shared, "World::sleep"),
    rule("thread_rng", Scope::Replayed, "World::rand, or a rand_chacha stream of the seed"),
    rule("rand::rng", Scope::Replayed, "World::rand, or a rand_chacha stream of the seed"),
    rule("Instant::now", Scope::Shared, "World::now"),
    rule("SystemTime", Scope::Shared, "World::wall"),
    rule("HashMap", Scope::Replayed, "BTreeMap: the order of a hash map comes from a random seed"),
    rule("HashSet", Scope::Replayed, "BTreeSet: the order of a hash set comes from a random seed"),
    rule("madsim::", Scope::Shared, "the traits of world; only world-sim knows the simulator"),
    rule("println!", Scope::Shared, "a tracing event or a returned value: shared code never prints"),
    rule("print!", Scope::Shared, "a tracing event or a returned value: shared code never prints"),
    rule("eprintln!", Scope::Shared, "a tracing event or a returned value: shared code never prints"),
    rule("eprint!", Scope::Shared, "a tracing event or a returned value: shared code never prints"),
    rule("todo!", Scope::Code, "the code itself, or an error value that says what is not supported"),
    rule("unimplemented!", Scope::Code, "the code itself, or an error value that says what is not supported"),
    rule(
        "#[ignore",
        Scope::Code,
        "an assertion of what happens today, with a FIXME saying what would be right",
    ),
    // Written in two halves, for this file is looked at as well.
    rule(
        concat!("/wo", "rk/"),
        Scope::Text,
        "a relative path: no path of one machine belongs into the product",
    ),
    rule(
        concat!("/ro", "ot/"),
        Scope::Text,
        "a relative path: no path of one machine belongs into the product",
    ),
    rule(concat!("../sha", "red"), Scope::Text, "the fact itself: the product refers to nothing beside it"),
    rule(concat!("this ses", "sion"), Scope::Text, "what the product does, not how it was made"),
    rule(concat!("subag", "ent"), Scope::Text, "what the product does, not how it was made"),
    rule(concat!("sub-ag", "ent"), Scope::Text, "what the product does, not how it was made"),
];

/// A place where a word stands for a good reason.
#[derive(Clone, Copy, Debug)]
struct Exception {
    path: &'static str,
    word: &'static str,
    /// For the reader of this list.
    #[allow(dead_code, reason = "an exception without a reason shall not compile")]
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "src/world/src/hyper_glue.rs",
        word: "Instant::now",
        reason: "hyper hands out deadlines as std's instants; there it serves as an origin only",
    },
    Exception {
        path: "src/world-sim/src/sim.rs",
        word: "thread_rng",
        reason: "the simulator's own, of the seed: its next number depends on every choice made, so it is hashed",
    },
    Exception {
        path: "src/scenario/src/files.rs",
        word: "std::fs",
        reason: "scenario files and run folders are the testbed's own, outside of any world",
    },
    Exception {
        path: ".ci/run",
        word: concat!("../sha", "red"),
        reason: "the machine that runs the suite may hold outside data beside the checkout; without it, tests skip",
    },
];

/// Every word that does not belong, with its place and what to write instead; and exceptions nobody needs
/// any more.
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let mut complaints: Vec<String> = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for file in &tree.files {
        for said in complaints_in(file) {
            let exception = EXCEPTIONS.iter().position(|exception| {
                exception.path == file.path && said.contains(&format!("`{}`", exception.word))
            });
            match exception {
                Some(number) => used[number] = true,
                None => complaints.push(said),
            }
        }
    }
    for (exception, used) in EXCEPTIONS.iter().zip(used) {
        if !used && tree.text(exception.path).is_some() {
            complaints.push(format!(
                "`{}` stands no more in {}; strike its exception from src/xtask/src/words.rs",
                exception.word, exception.path
            ));
        }
    }
    complaints
}

/// As [`complaints`], for one file.
#[must_use]
pub fn complaints_in(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let prose = file.text.to_lowercase();
    for rule in RULES.iter().filter(|rule| rule.scope == Scope::Text) {
        found.extend(code::places_of(&prose, rule.word).into_iter().map(|at| said(file, &prose, at, rule)));
    }
    if !file.path.ends_with(".rs") {
        return found;
    }
    let all = code::without_comments_and_strings(&file.text);
    let product = if is_test_file(&file.path) { String::new() } else { code::without_tests(&all) };
    for rule in RULES {
        let text = match rule.scope {
            Scope::Text => continue,
            Scope::Code => &all,
            Scope::Shared if !is_shared(&file.path) => continue,
            Scope::Replayed if !is_shared(&file.path) && !file.path.starts_with("src/world-sim/") => continue,
            Scope::Shared | Scope::Replayed => &product,
        };
        found.extend(code::places_of(text, rule.word).into_iter().map(|at| said(file, text, at, rule)));
    }
    found.extend(unbiased_selects(file, &all));
    found
}

/// Every `select!` that does not begin with `biased;`: the runtime would roll dice between ready branches,
/// and a seed could not replay the run.
fn unbiased_selects(file: &File, code: &str) -> Vec<String> {
    code::places_of(code, "select!")
        .into_iter()
        .filter(|at| {
            let body = code[at + "select!".len()..].trim_start().trim_start_matches(['{', '(']);
            !body.trim_start().starts_with("biased;")
        })
        .map(|at| {
            let rule =
                rule("select!", Scope::Code, "`biased;` as its first line, the branches in their order");
            said(file, code, at, &rule)
        })
        .collect()
}

fn said(file: &File, text: &str, at: usize, rule: &Rule) -> String {
    format!(
        "{}:{}: `{}` does not belong here; write {}",
        file.path,
        code::line_of(text, at),
        rule.word,
        rule.instead
    )
}

fn is_shared(path: &str) -> bool {
    let outside = ROOTS.iter().chain(&WORLDS).any(|room| path.starts_with(room));
    // A build script runs on the developer's machine and talks to cargo by printing.
    !outside && !path.ends_with("/build.rs")
}

fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains("/tests/")
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
        || path.contains("/examples/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        complaints_in(&File { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn every_rule_for_code_bites_in_a_shared_room() {
        for rule in RULES.iter().filter(|rule| rule.scope != Scope::Text) {
            let text = format!("fn a() {{ {} }}\n", rule.word);
            let found = found("src/node/src/a.rs", &text);
            assert!(
                found
                    .iter()
                    .any(|said| said.contains(&format!("`{}`", rule.word)) && said.contains(rule.instead)),
                "`{}` went unnoticed: {found:?}",
                rule.word
            );
        }
    }

    #[test]
    fn every_rule_for_prose_bites_in_any_file() {
        for rule in RULES.iter().filter(|rule| rule.scope == Scope::Text) {
            for path in ["docs/a.md", "src/cli/src/a.rs", "scenarios/fast/a.toml"] {
                let text = format!("# one\n# see {}x there\n", rule.word.to_uppercase());
                // A path is found with something behind it, a word only as itself.
                let text = if rule.word.ends_with('/') { text } else { text.replace("x there", " there") };
                assert_eq!(found(path, &text).len(), 1, "`{}` in {path}", rule.word);
            }
        }
    }

    #[test]
    fn comments_strings_and_tests_may_name_what_code_may_not() {
        let text = "//! No tokio::spawn here.\nfn a() { b(\"HashMap\") }\n\
                    #[cfg(test)]\nmod tests { use std::collections::HashMap; fn c() { println!(); } }\n";
        assert_eq!(found("src/raft/src/a.rs", text), Vec::<String>::new());
        assert_eq!(found("src/raft/tests/a.rs", "use std::collections::HashMap;"), Vec::<String>::new());
    }

    #[test]
    fn an_ignored_or_unfinished_test_is_found_in_tests_too() {
        let text = "#[cfg(test)]\nmod tests { #[test] #[ignore] fn c() { todo!() } }";
        assert_eq!(found("src/raft/src/a.rs", text).len(), 2);
    }

    #[test]
    fn roots_and_worlds_may_ask_the_machine() {
        let text = "fn a() { tokio::spawn(b); println!(); std::fs::read(c) }";
        for path in ["src/cli/src/a.rs", "src/world-real/src/a.rs", "src/proto/build.rs", "benches/src/a.rs"]
        {
            assert_eq!(found(path, text), Vec::<String>::new(), "{path}");
        }
        assert_eq!(found("src/world-sim/src/a.rs", "use std::collections::HashMap;").len(), 1);
    }

    #[test]
    fn an_exception_holds_for_its_word_and_file_and_goes_when_it_is_not_needed() {
        let exception = EXCEPTIONS[0];
        let tree =
            |path: &str, text: &str| Tree { files: vec![File { path: path.into(), text: text.into() }] };
        let text = format!("fn a() {{ {}; }}", exception.word);
        assert_eq!(complaints(&tree(exception.path, &text)), Vec::<String>::new());
        assert_eq!(complaints(&tree("src/node/src/a.rs", &text)).len(), 1);
        assert_eq!(complaints(&tree(exception.path, &format!("{text} tokio::spawn(b)"))).len(), 1);
        let stale = complaints(&tree(exception.path, "fn a() {}"));
        assert!(stale.len() == 1 && stale[0].contains("strike its exception"), "{stale:?}");
    }

    #[test]
    fn a_select_is_biased_or_a_complaint() {
        let biased = "tokio::select! {\n    biased;\n    a = b => {}\n}";
        let fair = "tokio::select! {\n    a = b => {}\n}";
        let explained = "select! { // the dog first\n biased; a = b => {} }";
        assert_eq!(found("src/node/src/a.rs", biased), Vec::<String>::new());
        assert_eq!(found("src/node/src/a.rs", explained), Vec::<String>::new());
        let complaints = found("src/cli/src/a.rs", fair);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].contains("src/cli/src/a.rs:1:") && complaints[0].contains("biased;"));
    }
}
