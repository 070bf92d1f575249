//! Reading histories of every format, and refusing what is none.

mod chance;
mod small;

use chance::Chance;
use proptest::prelude::*;
use seatrial_history::parse::{
    Content, FailedCas, Format, Initial, ModelName, Options, Part, Recording, read,
};
use seatrial_history::search::{
    AppendStep, CasRegister, MultiRegisterOp, RegisterOp, RegisterStep, Timed, Unlisted,
};
use small::{appends, cas, registers, timed, transactions};

fn plain(text: &str) -> Recording {
    read(text, &Options::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn register_parts(recording: &Recording) -> &[Part<RegisterOp>] {
    match &recording.content {
        Content::Register(_, parts) => parts,
        other => panic!("{other:?}"),
    }
}

/// The place and the sentence, as `line:column: why`.
fn refusal(text: &str, options: &Options) -> String {
    let error = read(text, options).expect_err(text);
    format!("{}:{}: {}", error.line, error.column, error.why)
}

#[test]
fn maps_in_one_vector_and_one_on_a_line_are_the_same() {
    let maps = [
        "{:index 0, :time 10, :process 0, :type :invoke, :f :write, :value 3}",
        "{:index 1, :time 11, :process :nemesis, :type :info, :f :start, :value nil}",
        "{:index 2, :time 12, :process 1, :type :invoke, :f :read, :value nil}",
        "{:index 3, :time 13, :process 0, :type :info, :f :write, :value 3, :error [:timeout \"x\"]}",
        "#jepsen.history.Op{:index 4, :time 14, :process 1, :type :ok, :f :read, :value 3}",
    ];
    let lines = plain(&maps.join("\n"));
    assert_eq!((lines.format, lines.model), (Format::Edn, ModelName::CasRegister));
    assert_eq!(lines.lines, [1, 3, 4, 5], "the nemesis is no client, and takes no place in time");
    let expected = [timed(0, 0, None, RegisterOp::Write(3)), timed(1, 1, Some(3), RegisterOp::Read(Some(3)))];
    assert_eq!(register_parts(&lines), [Part { key: None, operations: expected.to_vec() }]);
    let vector = plain(&format!("; from a run\n[{}]", maps.join(" ")));
    assert_eq!(vector.content, lines.content);
    assert_eq!(vector.lines, [2, 2, 2, 2]);
}

#[test]
fn independent_keys_are_judged_apart() {
    let text = "{:process 0 :type :invoke :f :read :value [7 nil]}
                {:process 1 :type :invoke :f :cas :value [\"b\" [1 2]]}
                {:process 0 :type :ok :f :read :value [7 nil]}
                {:process 1 :type :ok :f :cas :value [\"b\" [1 2]]}
                {:process 0 :type :invoke :f :write :value [7 5]}";
    let recording = plain(text);
    let parts = register_parts(&recording);
    assert_eq!(parts.iter().map(|part| part.key.as_deref()).collect::<Vec<_>>(), [Some("7"), Some("b")]);
    assert_eq!(parts[0].operations[0].op, RegisterOp::Read(None));
    assert_eq!(parts[0].operations[1].op, RegisterOp::Write(5));
    assert_eq!(parts[1].operations[0].op, cas(1, 2, Some(true)));
    // A lone pair is a swap, and no key with a value.
    let swap = "{:process 0 :type :invoke :f :cas :value [1 2]} {:process 0 :type :ok :f :cas :value [1 2]}";
    assert_eq!(register_parts(&plain(swap))[0].key, None);
}

#[test]
fn lines_of_old_and_new_logs_are_read_and_all_else_is_passed_over() {
    let old = "INFO  jepsen.core - Worker 0 starting\n\
               INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\n\
               INFO  jepsen.util - 1\t:invoke\t:write\t1\n\
               INFO  jepsen.util - 0\t:fail\t:cas\t[1 2]\n\
               INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
               INFO  jepsen.util - 2\t:invoke\t:read\tnil\n\
               INFO  jepsen.util - 2\t:info\t:read\t:timed-out\n\
               INFO  jepsen.util - 1\t:info\t:write\t:timed-out\n";
    let recording = plain(old);
    assert_eq!((recording.format, recording.model), (Format::JepsenLog, ModelName::CasRegister));
    assert_eq!(recording.lines, [2, 3, 4, 6, 7, 8]);
    let expected = [timed(0, 0, Some(2), cas(1, 2, Some(false))), timed(1, 1, None, RegisterOp::Write(1))];
    assert_eq!(register_parts(&recording)[0].operations, expected, "an unanswered read says nothing");
    let new =
        old.replace("INFO  jepsen.util - ", "2024-05-01 10:00:00,000{GMT}\tINFO\t[worker 0] jepsen.util: ");
    assert_eq!(plain(&new).content, recording.content);
    let bare = old.replace("INFO  jepsen.util - ", "");
    assert_eq!(plain(&bare).content, recording.content);
}

#[test]
fn a_refused_swap_says_what_its_format_means_by_it() {
    let log = "jepsen.util - 0 :invoke :cas [1 2]\njepsen.util - 0 :fail :cas [1 2]\n";
    let log = log.replace("jepsen", "INFO jepsen");
    let edn =
        "[{:process 0 :type :invoke :f :cas :value [1 2]} {:process 0 :type :fail :f :cas :value [1 2]}]";
    let says = |text: &str, failed_cas| {
        let options = Options { failed_cas, ..Options::default() };
        let recording = read(text, &options).unwrap();
        register_parts(&recording).iter().map(|part| part.operations.len()).sum::<usize>()
    };
    assert_eq!((says(&log, None), says(edn, None)), (1, 0));
    assert_eq!((says(&log, Some(FailedCas::Nothing)), says(edn, Some(FailedCas::Mismatch))), (0, 1));
    let with_error = log.replace(":fail :cas [1 2]", ":fail :cas [1 2] :connection-refused");
    assert_eq!(says(&with_error, None), 0, "something else went wrong");
}

#[test]
fn transactions_take_their_values_from_the_answer() {
    let text = "[{:type :invoke :f :txn :value [[:r x nil] [:w :y 2]] :process 3}
                 {:type :ok :f :txn :value [[:r :x 0] [:write 5 2]] :process 3}
                 {:type :invoke :f :txn :value [[:read :x nil]] :process 4}
                 {:type :invoke :f :txn :value [[:r :x nil] [:w :x 1]] :process 5}]";
    let recording = plain(text);
    let Content::MultiRegister(model, operations) = &recording.content else { panic!("{recording:?}") };
    let shown: Vec<String> = operations.iter().map(|operation| operation.op.to_string()).collect();
    assert_eq!(shown, ["read x=0, write 5=2", "read x, write x=1"]);
    assert_eq!(model.others, Unlisted::Anything);
    assert!(recording.notes[0].contains("--initial"), "{:?}", recording.notes);
    let told = Options { initial: Initial::All(Some(4)), ..Options::default() };
    let recording = read(text, &told).unwrap();
    let Content::MultiRegister(model, _) = &recording.content else { panic!("{recording:?}") };
    assert_eq!(
        (model.initial.get("x"), model.initial.get("5"), model.others),
        (Some(&4), Some(&4), Unlisted::Nil)
    );
    assert_eq!(recording.notes, Vec::<String>::new());
}

#[test]
fn texts_by_key_are_read_with_their_answers() {
    let text = "{:process 0, :type :invoke, :f :get, :key \"7\", :value nil}\n\
                {:process 0, :type :ok, :f :get, :key \"7\", :value \"\"}\n\
                {:process 0, :type :invoke, :f :append, :key \"7\", :value \"x\"}\n";
    let recording = plain(text);
    assert_eq!((recording.format, recording.model), (Format::KvLog, ModelName::KvAppend));
    let Content::Append(parts) = &recording.content else { panic!("{recording:?}") };
    let expected = [
        timed(0, 0, Some(1), AppendStep::Get(String::new())),
        Timed { client: 0, ..timed(1, 2, None, AppendStep::Append("x".to_owned())) },
    ];
    assert_eq!(parts[..], [Part { key: Some("7".to_owned()), operations: expected.to_vec() }]);
}

#[test]
fn our_own_lines_are_known_by_their_first_byte() {
    let text = "\n{\"client\":1,\"call\":1,\"ret\":2,\"input\":{\"op\":\"get\",\"key\":\"a\"},\
                \"outcome\":{\"is\":\"ok\",\"revision\":1,\"result\":{\"of\":\"get\"}}}\n";
    let recording = plain(text);
    assert_eq!(
        (recording.format, recording.model, recording.operations()),
        (Format::Seatrial, ModelName::Etcd, 1)
    );
    let odd = text.replace("\"call\":1", "\"call\":-1");
    assert!(refusal(&odd, &Options::default()).starts_with("2:"), "{}", refusal(&odd, &Options::default()));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_was_expected() {
    let invoke = "{:process 0 :type :invoke :f :read :value nil}";
    let cases = [
        (String::new(), "1:1: expected a history, found nothing"),
        ("hello\n".to_owned(), "1:1: expected lines of JSON, EDN maps, or lines of Jepsen's log"),
        (format!("{invoke}\n {invoke}"), "2:2: expected what became of the operation that process 0 has open"),
        (invoke.replace(":invoke", ":ok"), "1:1: expected an :invoke of a process, found none"),
        (format!("{invoke}\n{}", invoke.replace(":invoke", ":ok").replace("0", "3")), "2:1: expected an :invoke of process 3 before this"),
        (format!("{invoke}\n{}", invoke.replace(":invoke", ":ok").replace(":read", ":write")), "2:1: expected the end of process 0's :read, found that of a :write"),
        (format!("{invoke}\n{}", invoke.replace(":invoke", ":done")), "2:1: expected :invoke, :ok, :fail or :info, found :done"),
        (format!("[{invoke}\n {{:process 1 :type"), "2:19: expected }"),
        (format!("[{invoke}"), "1:48: expected ], the end of the list"),
        (format!("{invoke}\n[1 2]"), "2:1: expected a map {:process …}, found [1 2]"),
        ("{:process 0 :f :read}".to_owned(), "1:1: expected a :type in this map"),
        ("{:type :ok :f :read}".to_owned(), "1:1: expected a :process in this map"),
        ("{:process 0 :type :invoke :f :dequeue}".to_owned(), "1:1: expected :read, :write, :cas, :txn, :get, :put or :append, found :dequeue"),
        (format!("{invoke}\n{{:process 1 :type :invoke :f :write :value \"a\"}}"), "2:1: expected a whole number or nil, found \"a\""),
        ("{:process 1 :type :invoke :f :write :value nil}".to_owned(), "1:1: expected a number to write, found nil"),
        ("{:process 1 :type :invoke :f :cas :value [1 2 3]}".to_owned(), "1:1: expected [old new] with two whole numbers, found [1 2 3]"),
        ("{:process 1 :type :invoke :f :write :value [1 2]}\n{:process 2 :type :invoke :f :write :value 3}".to_owned(), "2:1: expected [key value], as the operations before have it, found 3"),
        ("{:process 1 :type :invoke :f :txn :value [[:append :x 3]]}".to_owned(), "1:1: expected reads and writes of registers, found :append"),
        ("{:process 1 :type :invoke :f :txn :value 3}".to_owned(), "1:1: expected a list of [:r name value] and [:w name value], found 3"),
        ("{:process 1 :type :invoke :f :put :key \"a\" :value 3}".to_owned(), "1:1: expected a text in quotes, found 3"),
        ("{:process 1 :type :invoke :f :put :value \"a\"}".to_owned(), "1:1: expected a :key in this map"),
        ("INFO x jepsen.util - 0 :invoke :read nil\nINFO x jepsen.util - 0 :ok :read".to_owned(), "2:22: expected a value after :read"),
        ("INFO x jepsen.util - 0 :invoke :read nil\nINFO x jepsen.util - 0 :ok :read [".to_owned(), "2:35: expected ]"),
    ];
    for (text, expected) in cases {
        let refusal = refusal(&text, &Options::default());
        assert!(refusal.starts_with(expected), "{refusal}\nexpected {expected}\nof {text}");
    }
}

#[test]
fn a_model_that_does_not_go_with_the_format_is_refused() {
    let read = "{:process 0 :type :invoke :f :read :value nil}";
    let asked = |model| Options { model: Some(model), ..Options::default() };
    assert!(refusal(read, &asked(ModelName::Etcd)).contains("has no revisions"));
    assert!(
        refusal(read, &asked(ModelName::MultiRegister)).contains("expected :txn of the model multi-register")
    );
    assert!(refusal("{\"client\":1}", &asked(ModelName::CasRegister)).contains("judged by the model etcd"));
    let named = Options { initial: Initial::Named([("x".to_owned(), 1)].into()), ..Options::default() };
    assert!(refusal(read, &named).contains("no names"));
    let forced = Options { format: Some(Format::Edn), ..Options::default() };
    assert!(refusal("INFO jepsen.util - 0 :invoke :read nil", &forced).contains("expected a map"));
}

/// Events in order of time: `(time, is_end, operation)`; ends before calls at one instant, for a process ends
/// what it has open before it goes on.
fn events<O>(operations: &[Timed<O>]) -> Vec<(u64, bool, usize)> {
    let mut events = Vec::new();
    for (place, operation) in operations.iter().enumerate() {
        events.push((operation.call * 2, false, place));
        events.extend(operation.ret.map(|ret| (ret * 2 + 1, true, place)));
    }
    events.sort_unstable();
    events
}

/// What reading makes of these operations: times count events, and numbers count calls.
fn renumbered<O: Clone>(operations: &[Timed<O>]) -> Vec<Timed<O>> {
    let events = events(operations);
    let mut read = Vec::new();
    for (call, &(_, is_end, place)) in events.iter().enumerate() {
        if !is_end {
            let ret = events.iter().position(|&(_, is_end, other)| is_end && other == place);
            let one = Timed {
                id: read.len(),
                call: call as u64,
                ret: ret.map(|ret| ret as u64),
                ..operations[place].clone()
            };
            read.push(one);
        }
    }
    read
}

/// Writes operations as maps: what was asked at the call, what was answered at the end.
fn as_maps<O>(operations: &[Timed<O>], show: impl Fn(&O, bool) -> (String, &'static str)) -> Vec<String> {
    let map = |&(time, is_end, place): &(u64, bool, usize)| {
        let operation = &operations[place];
        let (rest, kind) = show(&operation.op, is_end);
        format!("{{:process {}, :type {kind}, {rest}, :time {time}}}", operation.client)
    };
    events(operations).iter().map(map).collect()
}

fn nil_or(value: Option<i64>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| value.to_string())
}

fn show_register(op: &RegisterOp, is_end: bool) -> (String, &'static str) {
    let kind = if is_end { ":ok" } else { ":invoke" };
    match *op {
        RegisterOp::Read(value) => (format!(":f :read, :value {}", nil_or(value.filter(|_| is_end))), kind),
        RegisterOp::Write(value) => (format!(":f :write, :value {value}"), kind),
        RegisterOp::Cas { expected, new, swapped } => {
            let failed = is_end && swapped == Some(false);
            (format!(":f :cas, :value [{expected} {new}]"), if failed { ":fail" } else { kind })
        }
    }
}

fn show_transaction(op: &MultiRegisterOp, is_end: bool) -> (String, &'static str) {
    let step = |step: &RegisterStep| match step {
        RegisterStep::Read { register, value } => {
            format!("[:r :{register} {}]", nil_or(value.flatten().filter(|_| is_end)))
        }
        RegisterStep::Write { register, value } => format!("[:w :{register} {value}]"),
    };
    let steps: Vec<String> = op.0.iter().map(step).collect();
    (format!(":f :txn, :value [{}]", steps.join(" ")), if is_end { ":ok" } else { ":invoke" })
}

fn show_append(op: &AppendStep, is_end: bool) -> (String, &'static str) {
    let (function, text) = match op {
        AppendStep::Get(text) => ("get", is_end.then_some(text)),
        AppendStep::Put(text) => ("put", Some(text)),
        AppendStep::Append(text) => ("append", Some(text)),
    };
    let value = text.map_or_else(|| "nil".to_owned(), |text| format!("\"{text}\""));
    (format!(":f :{function}, :key \"k\", :value {value}"), if is_end { ":ok" } else { ":invoke" })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn registers_survive_being_written_and_read(seed: u64) {
        let operations = registers(seed);
        let maps = as_maps(&operations, show_register);
        let options = Options { failed_cas: Some(FailedCas::Mismatch), ..Options::default() };
        let expected = Content::Register(
            CasRegister::default(),
            vec![Part { key: None, operations: renumbered(&operations) }],
        );
        for text in [maps.join("\n"), format!("[{}]", maps.join(",\n")), format!("({})", maps.join(" "))] {
            prop_assert_eq!(&read(&text, &options).unwrap().content, &expected, "{}", text);
        }
        // The same as a log: the fields of a map without their names.
        let line = |map: &String| {
            let field = |name: &str| map.split(&format!(":{name} ")).nth(1).unwrap().split(',').next().unwrap().to_owned();
            format!("INFO  jepsen.util - {}\t{}\t{}\t{}\n", field("process"), field("type"), field("f"), field("value"))
        };
        let log: String = maps.iter().map(line).collect();
        prop_assert_eq!(&plain(&log).content, &expected, "{}", log);
    }

    #[test]
    fn transactions_survive_being_written_and_read(seed: u64) {
        let mut operations = transactions(seed, None);
        // What is unknown and only reads is left out.
        operations.retain(|one| {
            one.ret.is_some() || one.op.0.iter().any(|step| matches!(step, RegisterStep::Write { .. }))
        });
        let text = as_maps(&operations, show_transaction).join("\n");
        prop_assume!(!operations.is_empty());
        let Content::MultiRegister(_, found) = plain(&text).content else { panic!("{text}") };
        prop_assert_eq!(found, renumbered(&operations), "{}", text);
    }

    #[test]
    fn texts_survive_being_written_and_read(seed: u64) {
        let operations = appends(seed);
        prop_assume!(!operations.is_empty());
        let text = as_maps(&operations, show_append).join("\n");
        let Content::Append(parts) = plain(&text).content else { panic!("{text}") };
        let expected = Part { key: Some("k".to_owned()), operations: renumbered(&operations) };
        prop_assert_eq!(parts, vec![expected], "{}", text);
    }

    #[test]
    fn a_history_that_is_cut_or_garbled_is_read_or_refused_with_a_place(seed: u64) {
        let mut chance = Chance::new(seed);
        let mut text = as_maps(&registers(seed), show_register).join("\n").into_bytes();
        match chance.below(3) {
            0 => text.truncate(chance.below(text.len() as u64) as usize),
            1 => {
                let at = chance.below(text.len() as u64) as usize;
                text[at] = b"{}[]\"\\;# \n0:"[chance.below(12) as usize];
            }
            _ => drop(text.remove(chance.below(text.len() as u64) as usize)),
        }
        let text = String::from_utf8(text).unwrap();
        if let Err(error) = read(&text, &Options::default()) {
            prop_assert!(error.line <= text.lines().count().max(1), "{error}");
            prop_assert!(error.why.len() > 8, "{error}");
        }
    }
}
