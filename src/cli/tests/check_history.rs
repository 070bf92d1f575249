//! `seatrial check-history` over files of every format: verdicts, explanations, exit codes, hints.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Write 1, then 2; a read of `seen` afterwards.
fn edn(seen: &str) -> String {
    format!(
        "{{:process 0, :type :invoke, :f :write, :value 1}}\n{{:process 0, :type :ok, :f :write, :value 1}}\n\
         {{:process 1, :type :invoke, :f :write, :value 2}}\n{{:process 1, :type :ok, :f :write, :value 2}}\n\
         {{:process 2, :type :invoke, :f :read, :value nil}}\n{{:process 2, :type :ok, :f :read, :value {seen}}}\n"
    )
}

fn log(seen: &str) -> String {
    format!(
        "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n\
         INFO  jepsen.util - 0\t:invoke\t:write\t2\nINFO  jepsen.util - 0\t:ok\t:write\t2\n\
         INFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 1\t:ok\t:read\t{seen}\n"
    )
}

fn kv(seen: &str) -> String {
    let event = |kind: &str, function: &str, value: &str| {
        format!("{{:process 0, :type :{kind}, :f :{function}, :key \"5\", :value {value}}}\n")
    };
    [
        event("invoke", "append", "\"x\""),
        event("ok", "append", "\"x\""),
        event("invoke", "append", "\"y\""),
        event("ok", "append", "\"y\""),
        event("invoke", "get", "nil"),
        event("ok", "get", seen),
    ]
    .concat()
}

fn txn(seen: &str) -> String {
    format!(
        "[{{:process 0 :type :invoke :f :txn :value [[:w :x 1] [:w :y 1]]}}\n{{:process 0 :type :ok :f :txn :value [[:w :x 1] [:w :y 1]]}}\n\
         {{:process 1 :type :invoke :f :txn :value [[:r :x nil] [:r :y nil]]}}\n{{:process 1 :type :ok :f :txn :value [[:r :x 1] [:r :y {seen}]]}}]"
    )
}

/// A put of "1" at revision 2, one of "2" at revision 3, and a read that answers with the one or the other.
fn ours(value: &str, modified: u32) -> String {
    let put = |value: &str, revision: u32, call: u32| {
        format!(
            "{{\"client\":1,\"call\":{call},\"ret\":{},\"input\":{{\"op\":\"put\",\"key\":\"a\",\"value\":\"{value}\"}},\"outcome\":{{\"is\":\"ok\",\"revision\":{revision},\"result\":{{\"of\":\"put\"}}}}}}\n",
            call + 1
        )
    };
    format!(
        "{{\"seatrial-history\":1,\"initial\":{{\"revision\":1,\"kvs\":[]}}}}\n{}{}{{\"client\":2,\"member\":\"m2\",\"call\":50,\"ret\":60,\"input\":{{\"op\":\"get\",\"key\":\"a\"}},\"outcome\":{{\"is\":\"ok\",\"revision\":{modified},\"result\":{{\"of\":\"get\",\"kvs\":[{{\"key\":\"a\",\"value\":\"{value}\",\"mod_revision\":{modified}}}]}}}}}}\n",
        put("1", 2, 10),
        put("2", 3, 20)
    )
}

/// A fresh folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Exit code, standard output and standard error.
fn check_history(folder: &Path, args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_seatrial"))
        .arg("check-history")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read: a wrong command line.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_format_is_told_by_its_content_and_gets_both_verdicts() {
    let cases = [
        ("cas-register", "edn", edn("2"), edn("1")),
        ("cas-register", "jepsen-log", log("2"), log("1")),
        ("kv-append", "kv-log", kv("\"xy\""), kv("\"x\"")),
        ("multi-register", "edn", txn("1"), txn("0")),
        ("etcd", "seatrial", ours("2", 3), ours("1", 2)),
    ];
    for (model, format, good, bad) in cases {
        let folder = folder(&[("good", &good), ("bad", &bad)]);
        let (code, out, err) = check_history(folder.path(), &["good", "--json"], "");
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["verdict"], "linearizable", "{out}");
        assert_eq!((&told["model"], &told["format"]), (&model.into(), &format.into()), "{out}");
        let (code, out, _) = check_history(folder.path(), &["bad", "--json"], "");
        assert_eq!(code, 1, "{out}");
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["verdict"], "not-linearizable");
        assert!(told["failure"]["sentences"][0].as_str().unwrap().len() > 20, "{out}");
        assert_eq!(told["failure"]["small"].as_array().unwrap().last().unwrap()["is_culprit"], true, "{out}");
        // Told by hand, it is the same.
        let (code, _, err) =
            check_history(folder.path(), &["good", "--format", format, "--model", model], "");
        assert_eq!((code, err.as_str()), (0, ""));
        // From standard input as well.
        let (code, out, _) = check_history(folder.path(), &["-"], &bad);
        assert!(code == 1 && out.starts_with("NOT LINEARIZABLE  standard input"), "{out}");
        assert!(out.lines().count() <= 25, "{out}");
    }
}

#[test]
fn a_failure_is_told_in_words_that_name_lines_values_and_the_way_it_came_about() {
    let folder = folder(&[("stale.edn", &edn("1"))]);
    let (code, out, _) = check_history(folder.path(), &["stale.edn"], "");
    assert_eq!(code, 1);
    let shown: Vec<&str> = out.lines().skip(1).collect();
    let expected = [
        "  process 2: read 1 (lines 5 to 6), but at no moment of that time can the register have held 1.",
        "  The last to bring that about was process 0's write 1 (lines 1 to 2); process 1's write 2 (lines 3 to 4) \
         came after it and had ended before the question.",
        "  what it can have met, and why that cannot be:",
        "    2  the read answered 1",
        "  3 of 3 operations are enough to fail:",
        "      process 0  write 1  lines 1 to 2",
        "      process 1  write 2  lines 3 to 4",
        "    > process 2  read 1   lines 5 to 6",
    ];
    assert_eq!(shown, expected, "{out}");
    assert!(out.starts_with("NOT LINEARIZABLE  stale.edn       3 operations  cas-register"), "{out}");
    let (_, out, _) = check_history(folder.path(), &["-"], &kv("\"x\""));
    assert!(out.contains("  key 5: process 0: get \"x\" (lines 5 to 6)"), "{out}");
    assert!(
        out.contains("append \"y\" (lines 3 to 4) had ended before, and is missing in the answer."),
        "{out}"
    );
    let (_, out, _) = check_history(folder.path(), &["-"], &ours("1", 2));
    assert!(out.contains("revision 3: \"a\"=\"2\"@3  answered: \"a\"=\"1\"@2"), "{out}");
    assert!(out.contains("> client 2 at m2"), "{out}");
}

#[test]
fn what_is_not_shown_is_neither_a_pass_nor_a_failure() {
    // Concurrent writes, and a read of what nobody wrote: no order, but all must be tried.
    let mut hard = String::new();
    for process in 0..24 {
        hard += &format!("{{:process {process} :type :invoke :f :write :value {process}}}\n");
    }
    hard += "{:process 99 :type :invoke :f :read :value nil}\n{:process 99 :type :ok :f :read :value 77}\n";
    for process in 0..24 {
        hard += &format!("{{:process {process} :type :ok :f :write :value {process}}}\n");
    }
    let folder = folder(&[("hard.edn", &hard)]);
    for budget in [["--memory", "1"], ["--seconds", "0"]] {
        let (code, out, _) = check_history(folder.path(), &["hard.edn", budget[0], budget[1]], "");
        assert_eq!(code, 3, "{out}");
        assert!(out.starts_with("unknown") && out.contains("neither shown nor refuted"), "{out}");
    }
    let empty = "{\"seatrial-history\":1}\n";
    let (code, out, _) = check_history(folder.path(), &["-"], empty);
    assert!(code == 3 && out.contains("no operation"), "an empty history is no pass: {out}");
}

#[test]
fn what_is_wrong_with_a_file_or_a_command_line_is_told_with_a_hint() {
    let late = edn("2").replace(":f :read, :value 2", ":f :read, :value \"two\"");
    let folder = folder(&[
        ("bad.edn", &late),
        ("prose.txt", "Dear reader,\n"),
        ("binary.log", "x"),
        ("empty/notes.md", "nothing here"),
    ]);
    fs::write(folder.path().join("binary.log"), b"INFO\n\xff\xfe").unwrap();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["bad.edn"], &["seatrial: bad.edn:6:1: expected a whole number or nil, found \"two\""]),
        (&["missing.edn"], &["seatrial: missing.edn: No such file", "\nhint: give files"]),
        (&["prose.txt"], &["seatrial: prose.txt:1:1: expected lines of JSON, EDN maps", "\nhint: "]),
        (&["binary.log"], &["seatrial: binary.log:2:1: expected text in UTF-8", "\nhint: "]),
        (
            &["empty"],
            &["seatrial: empty: no history in this folder", "\nhint: a run folder has a history.jsonl"],
        ),
        (&["bad.edn", "--model", "queue"], &["there is no model \"queue\"; there are: cas-register, "]),
        (&["bad.edn", "--format", "xml"], &["there is no format \"xml\"; there are: seatrial, edn, "]),
        (
            &["bad.edn", "--initial", "x"],
            &["expected a whole number or nil, found \"x\"", "hint: --initial 0"],
        ),
        (&["bad.edn", "--model", "etcd"], &["has no revisions", "\nhint: leave --model out"]),
        (&[], &["<PATHS>"]),
    ];
    for (args, expected) in cases {
        let (code, out, err) = check_history(folder.path(), args, "");
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        for part in expected {
            assert!(err.contains(part), "{args:?} should say {part:?}: {err}");
        }
    }
}

#[test]
fn folders_are_searched_and_a_run_or_a_test_of_jepsen_has_one_history() {
    let (good, bad, mine) = (edn("2"), edn("1"), ours("2", 3));
    let folder = folder(&[
        ("run/history.jsonl", mine.as_str()),
        ("run/watches.jsonl", "{\"not\":\"a history\"}\n"),
        ("run/logs/member-1.log", "0.1 incarnation 1\n"),
        ("store/history.edn", good.as_str()),
        ("store/jepsen.log", &log("1")),
        ("many/b.edn", bad.as_str()),
        ("many/a.log", &log("2")),
        ("many/deep/c.txt", &kv("\"xy\"")),
        ("many/notes.txt", "Not a history.\n"),
        ("many/results.edn", "{:valid? true}"),
        ("many/table.tsv", "a\tb\n"),
    ]);
    let files = |args: &[&str]| -> (i32, Vec<String>, String) {
        let (code, out, err) = check_history(folder.path(), &[args, &["--json"]].concat(), "");
        let file = |line: &str| {
            let told: serde_json::Value = serde_json::from_str(line).unwrap();
            told["file"].as_str().unwrap().to_owned()
        };
        (code, out.lines().map(file).collect(), err)
    };
    assert_eq!(files(&["run"]), (0, vec!["run/history.jsonl".to_owned()], String::new()));
    assert_eq!(files(&["store"]).1, ["store/history.edn"]);
    let (code, many, err) = files(&["many", "--jobs", "3"]);
    assert_eq!(
        (code, &many[..]),
        (1, &["many/a.log", "many/b.edn", "many/deep/c.txt"].map(str::to_owned)[..])
    );
    assert_eq!(
        err,
        "many/notes.txt: passed over, this is no history\nmany/results.edn: passed over, this is no history\n"
    );
    // A history that is malformed is never passed over.
    fs::write(folder.path().join("many/results.edn"), "{:process 0 :type :maybe :f :read}").unwrap();
    let (code, _, err) = files(&["many"]);
    assert!(code == 2 && err.contains("many/results.edn:1:1: expected :invoke"), "{err}");
    fs::remove_file(folder.path().join("many/results.edn")).unwrap();
    let (_, out, _) = check_history(folder.path(), &["many", "run"], "");
    assert!(
        out.contains("\n4 files: 3 linearizable, 1 not linearizable, 0 unknown; 12 operations in "),
        "{out}"
    );
}

#[test]
fn a_failure_of_a_run_with_leases_may_be_the_stores_own_doing() {
    let stale = ours("1", 2);
    let folder = folder(&[("run/history.jsonl", stale.as_str()), ("run/leases.jsonl", "{}\n")]);
    let (code, out, _) = check_history(folder.path(), &["run"], "");
    assert!(code == 3 && out.contains("leases ran in this run"), "{out}");
    fs::write(folder.path().join("run/leases.jsonl"), "").unwrap();
    assert_eq!(check_history(folder.path(), &["run"], "").0, 1);
}

#[test]
fn what_registers_hold_at_first_can_be_told() {
    let read = "{:process 0 :type :invoke :f :read :value nil}\n{:process 0 :type :ok :f :read :value 7}\n";
    let folder = folder(&[("read.edn", read), ("txn.edn", &txn("1").replace(":w :y 1", ":w :z 1"))]);
    let code = |args: &[&str]| check_history(folder.path(), args, "").0;
    assert_eq!((code(&["read.edn"]), code(&["read.edn", "--initial", "7"])), (1, 0));
    assert_eq!((code(&["txn.edn"]), code(&["txn.edn", "--initial", "nil"])), (0, 1));
    assert_eq!((code(&["txn.edn", "--initial", "x=0,:y=1"]), code(&["txn.edn", "--initial", "y=2"])), (0, 1));
    assert!(check_history(folder.path(), &["txn.edn"], "").1.contains("note: what registers held at first"));
}
