//! What a person reads who wrote a scenario file wrongly: the whole text, word for word.

use seatrial_scenario::format::parse;

const GOOD: &str = r#"title = "t"
why = "w"
members = 3
time = "30s"

[[workload]]
name = "kv"

[[nemesis]]
name = "kill"
target = "leader"
every = "5s"
lasts = "2s"
"#;

/// The good file with one line replaced.
fn error_with(line: &str, instead: &str) -> String {
    assert!(GOOD.contains(line), "{line}");
    let text = GOOD.replacen(line, instead, 1);
    parse("scenarios/fast/x.toml", &text).expect_err(instead).to_string()
}

#[track_caller]
fn says(error: &str, expected: &str) {
    assert_eq!(error.trim_end(), expected.trim(), "\n--- got\n{error}\n---");
}

#[test]
fn a_good_file_is_read() {
    let scenario = parse("scenarios/fast/x.toml", GOOD).unwrap();
    assert_eq!(scenario.name, "x");
    assert_eq!(scenario.nemeses.len(), 1);
}

#[test]
fn an_unknown_nemesis_is_pointed_at_with_the_nearest_name() {
    says(
        &error_with("name = \"kill\"", "name = \"partiton\""),
        r#"
scenarios/fast/x.toml:10:8: there is no nemesis called "partiton"
   |
10 | name = "partiton"
   |        ^^^^^^^^^^
hint: did you mean "partition"?"#,
    );
}

#[test]
fn an_unknown_key_is_pointed_at_with_the_nearest_name() {
    says(
        &error_with("members = 3", "membres = 3"),
        r#"
scenarios/fast/x.toml:3:1: a scenario has no key "membres"
  |
3 | membres = 3
  | ^^^^^^^
hint: did you mean "members"?"#,
    );
}

#[test]
fn a_key_of_another_nemesis_is_refused() {
    says(
        &error_with("target = \"leader\"", "shape = \"ring\""),
        r#"
scenarios/fast/x.toml:11:1: the nemesis "kill" has no key "shape"
   |
11 | shape = "ring"
   | ^^^^^
hint: known are: name, start, every, lasts, times, always, during, target"#,
    );
}

#[test]
fn a_negative_duration_is_refused() {
    says(
        &error_with("lasts = \"2s\"", "lasts = \"-2s\""),
        r#"
scenarios/fast/x.toml:13:9: the duration "-2s" is negative
   |
13 | lasts = "-2s"
   |         ^^^^^
hint: durations count forward, write "2s""#,
    );
}

#[test]
fn a_duration_without_unit_is_refused() {
    says(
        &error_with("every = \"5s\"", "every = 5"),
        r#"
scenarios/fast/x.toml:12:9: the duration "5" has no unit
   |
12 | every = 5
   |         ^
hint: write "5s" or "5ms""#,
    );
}

#[test]
fn a_bare_duration_is_no_toml_and_the_hint_says_how_to_write_it() {
    let error = error_with("time = \"30s\"", "time = 30s");
    assert!(error.starts_with("scenarios/fast/x.toml:4:"), "{error}");
    assert!(error.ends_with("hint: values with a unit stand in quotes: \"30s\""), "{error}");
}

#[test]
fn a_value_out_of_range_is_refused() {
    says(
        &error_with("members = 3", "members = 12"),
        r#"
scenarios/fast/x.toml:3:11: "members" is 12, out of range
  |
3 | members = 12
  |           ^^
hint: it lies between 1 and 9"#,
    );
}

#[test]
fn a_missing_key_is_named_with_an_example() {
    says(
        &error_with("time = \"30s\"\n", ""),
        r#"
scenarios/fast/x.toml:1:1: a scenario lacks "time"
  |
1 | title = "t"
  | ^
hint: add a line such as `time = "30s"`"#,
    );
}

#[test]
fn an_unknown_oracle_workload_operation_target_and_goal_are_refused() {
    let with = |more: &str| parse("x.toml", &format!("{GOOD}{more}")).unwrap_err().to_string();
    let error = with("[expect]\noracles = [\"linearisable\"]\n");
    assert!(error.contains("there is no oracle called \"linearisable\""), "{error}");
    assert!(error.ends_with("hint: did you mean \"linearizable\"?"), "{error}");
    let error = error_with("name = \"kv\"", "name = \"kw\"");
    assert!(error.contains("there is no workload called \"kw\""), "{error}");
    let error = error_with("name = \"kv\"", "name = \"kv\"\nmix = { putt = 3 }");
    assert!(error.contains("there is no operation called \"putt\""), "{error}");
    assert!(error.ends_with("hint: did you mean \"put\"?"), "{error}");
    let members = "name = \"membership\"\nchanges = [\"grow\", \"replce\"]";
    let error = error_with("name = \"kv\"", members);
    assert!(error.contains("there is no change of members called \"replce\""), "{error}");
    assert!(error.ends_with("hint: did you mean \"replace\"?"), "{error}");
    let error = error_with("target = \"leader\"", "target = \"leadr\"");
    assert!(error.ends_with("hint: did you mean \"leader\"?"), "{error}");
    let error = error_with("target = \"leader\"", "target = \"member 7\"");
    assert!(error.ends_with("hint: this scenario has members 1 to 3"), "{error}");
    let error = with("[[goal]]\nname = \"leader-change\"\n");
    assert!(error.ends_with("hint: did you mean \"leader-changed\"?"), "{error}");
}

#[test]
fn contradictions_are_refused() {
    let error = error_with("lasts = \"2s\"", "lasts = \"9s\"");
    assert!(error.contains("lasts 9s but begins anew every 5s"), "{error}");
    let error = error_with("name = \"kv\"", "name = \"users\"\nclients = 1");
    assert!(error.contains("a single client cannot be both user and administrator"), "{error}");
    let error = error_with("name = \"kv\"", "name = \"membership\"\nspares = 9");
    assert!(error.ends_with("hint: it lies between 0 and 4"), "{error}");
    let error = error_with("name = \"kv\"", "name = \"membership\"\nclients = 2");
    assert!(error.contains("the workload \"membership\" has no key \"clients\""), "{error}");
    let error = error_with("every = \"5s\"", "every = \"5s\"\nstart = \"40s\"");
    assert!(error.contains("the storm is over after 30s"), "{error}");
    let with = |more: &str| parse("x.toml", &format!("{GOOD}{more}")).unwrap_err().to_string();
    let error = with("[expect]\noracle = \"durability\"\n");
    assert!(error.contains("none is expected"), "{error}");
    let error = with("[knobs]\nheartbeat = \"1s\"\nelection_timeout = \"1s\"\n");
    assert!(error.contains("too slow for an election timeout"), "{error}");
}

#[test]
fn a_required_key_under_a_wrong_name_is_told_as_the_wrong_name() {
    let error = error_with("time = \"30s\"", "tiem = \"30s\"");
    assert!(error.starts_with("scenarios/fast/x.toml:4:1: a scenario has no key \"tiem\""), "{error}");
    assert!(error.ends_with("hint: did you mean \"time\"?"), "{error}");
}

#[test]
fn only_a_one_way_cut_asks_for_a_target() {
    let error = error_with("name = \"kill\"", "name = \"partition\"\nshape = \"bridge\"");
    assert!(error.contains("only the shape \"one-way\" asks for a target"), "{error}");
}

#[test]
fn of_several_mistakes_the_first_in_the_text_is_told() {
    let text = GOOD.replace("members = 3", "members = 99").replace("title = \"t\"", "titel = \"t\"");
    let error = parse("x.toml", &text).unwrap_err();
    assert_eq!((error.line, error.column), (1, 1), "{error}");
}

#[test]
fn a_lost_majority_without_anybody_who_asks_for_new_members_is_refused() {
    let error = error_with("name = \"kill\"\ntarget = \"leader\"", "name = \"lost-majority\"\ntimes = 1");
    assert!(error.contains("leaves a cluster of one, and nobody asks for new members"), "{error}");
    assert!(error.contains("hint: add a workload with name = \"membership\""), "{error}");
}

#[test]
fn new_knobs_say_their_bounds() {
    let knobs = |line: &str| error_with("time = \"30s\"", &format!("time = \"30s\"\n[knobs]\n{line}"));
    assert!(knobs("lease_checkpoint = \"2h\"").contains("\"lease_checkpoint\" is 7200s, out of range"));
    assert!(knobs("corrupt_check = 3").contains("hint:"));
    assert!(knobs("initial_check = \"yes\"").contains("\"initial_check\" is true or false, not a string"));
    assert!(knobs("quota = \"2GiB\"").contains("\"quota\" is 2147483648 bytes, out of range"));
}

#[test]
fn faults_that_cannot_be_as_they_are_asked_for_are_refused() {
    let faults = |name: &str| error_with("name = \"kill\"\ntarget = \"leader\"", name);
    let again = faults("name = \"lost-majority\"\ntimes = 2\n[[workload]]\nname = \"membership\"");
    assert!(again.contains("a majority is lost for good, and cannot be lost again"), "{again}");
    assert!(again.contains("hint: say `times = 1`"), "{again}");
    let unsaid = faults("name = \"lost-majority\"\n[[workload]]\nname = \"membership\"");
    assert!(unsaid.contains("cannot be lost again"), "without a bound it would come again: {unsaid}");
    let unseen = faults("name = \"value-damage\"");
    assert!(
        unseen.contains("these never do") && unseen.contains("hint: give [knobs] a `corrupt_check`"),
        "{unseen}"
    );
    let text = GOOD.replace("name = \"kill\"\ntarget = \"leader\"", "name = \"value-damage\"");
    let checked = text.replace("time = \"30s\"", "time = \"30s\"\n[knobs]\ninitial_check = [false, true]");
    parse("x.toml", &checked).expect("some seeds compare");
    let never = "time = \"30s\"\n[knobs]\ninitial_check = false\ncorrupt_check = \"0s\"";
    let error = parse("x.toml", &text.replace("time = \"30s\"", never)).unwrap_err();
    assert!(error.to_string().contains("these never do"), "they say so, but they do not compare: {error}");
    let sometimes = "time = \"30s\"\n[knobs]\ncorrupt_check = [\"0s\", \"1s\"]";
    parse("x.toml", &text.replace("time = \"30s\"", sometimes)).expect("some seeds compare");
}

#[test]
fn damage_that_no_cluster_promises_to_outlive_must_be_asked_for() {
    let faults = |name: &str| error_with("name = \"kill\"\ntarget = \"leader\"", name);
    for (nemesis, more, words) in [
        ("name = \"misdirected-write\"\nfiles = \"log\"", "", "looks like a log that ends there"),
        (
            "name = \"store-rot\"",
            "\n[[workload]]\nname = \"membership\"",
            "\"store-rot\" takes copies from members that come and go",
        ),
    ] {
        let text = GOOD.replace("name = \"kill\"\ntarget = \"leader\"", nemesis);
        let with =
            |more: &str| parse("x.toml", &text.replace("time = \"30s\"", &format!("time = \"30s\"{more}")));
        let error = with(more).expect_err("nobody asked for it").to_string();
        assert!(error.contains(words) && error.contains("`beyond_quorum = true` below [damage]"), "{error}");
        with(&format!("\n[damage]\nbeyond_quorum = true{more}")).expect("it was asked for");
    }
    assert!(faults("name = \"bandwidth\"\nlimit = \"16KiB\"").contains("does not end in /s"));
    let narrow = faults("name = \"bandwidth\"\nlimit = \"1B/s\"");
    assert!(narrow.contains("it lies between \"1KiB/s\" and \"1GiB/s\""), "{narrow}");
}

const SCRIPT: &str = r#"title = "t"
why = "w"
members = 3
time = "9s"
[script]
seed = 7
[[workload]]
name = "kv"
[[client]]
workload = 1
machine = 1
steps = ["1.5s m2 put k0", "2s m1 get k3 own", "3s m3 range"]
[[fault]]
name = "kill"
at = "2s"
ends = "3s"
order = [3, 1, 2]
"#;

#[test]
fn a_script_is_read_step_by_step() {
    let scenario = parse("x.toml", SCRIPT).unwrap();
    let script = scenario.script.expect("it has one");
    assert_eq!((script.seed, script.clients[0].steps.len(), script.faults.len()), (7, 3, 1));
    assert_eq!(script.faults[0].order[0].0, 3);
}

#[test]
fn mistakes_in_scripts_are_pointed_at() {
    let wrong = |line: &str, instead: &str| {
        assert!(SCRIPT.contains(line), "{line}");
        parse("x.toml", &SCRIPT.replacen(line, instead, 1)).expect_err(instead).to_string()
    };
    for (line, instead, words) in [
        ("1.5s m2 put k0", "1.5s m2 putt k0", "\"putt k0\" is no step"),
        ("1.5s m2 put k0", "1.5s m2 putt k0", "hint: did you mean \"put\"?"),
        ("1.5s m2 put k0", "1.5s m2 put", "hint: for example \"1.5s m2 put k0\""),
        ("1.5s m2 put k0", "1.5s m2 put k0 own more", "is no step"),
        ("1.5s m2 put k0", "1.5s m2 watch", "\"watch\" is no step of the workload \"kv\""),
        ("1.5s m2 put k0", "1.5s m4 put k0", "its second word is one of m1 to m3"),
        ("1.5s m2 put k0", "1.5 m2 put k0", "the duration \"1.5\" has no unit"),
        ("1.5s m2 put k0", "9s m2 put k0", "the storm is over after 9s"),
        ("1.5s m2 put k0", "1.5s", "says too little"),
        ("workload = 1", "workload = 2", "\"workload\" is 2, out of range"),
        ("ends = \"3s\"", "ends = \"1s\"", "the fault ends at 1s, but begins at 2s"),
        ("at = \"2s\"", "", "the fault \"kill\" lacks \"at\""),
        ("at = \"2s\"", "at = \"10s\"", "the storm is over after 9s"),
        ("order = [3, 1, 2]", "order = [4, 1, 2]", "\"order\" is 4, out of range"),
        ("order = [3, 1, 2]", "order = [3, 1]", "\"order\" does not name each member once"),
        ("order = [3, 1, 2]", "order = [3, 1, 1]", "it is the order in which members 1 to 3 were drawn"),
        ("order = [3, 1, 2]", "drift_ppm = [1]", "it needs one for each of the 3 members"),
        ("name = \"kill\"", "name = \"kil\"", "there is no fault called \"kil\""),
        ("[script]\nseed = 7", "", "[[client]] is part of a script, and this scenario has none"),
        ("seed = 7", "", "[script] lacks \"seed\""),
        (
            "[[fault]]",
            "[[nemesis]]\nname = \"kill\"\n[[fault]]",
            "a script draws nothing, so it has no [[nemesis]]",
        ),
    ] {
        let error = wrong(line, instead);
        assert!(error.contains(words) && error.contains("hint: "), "{instead:?}:\n{error}");
    }
}
