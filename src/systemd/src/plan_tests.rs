use super::*;
use proptest::prelude::*;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn told(steps: &[Step]) -> Vec<String> {
    let told = steps.iter().map(|step| match step {
        Step::Write(name, _) => format!("write {name}"),
        Step::Remove(name) => format!("remove {name}"),
        Step::NoteStarted(name) => format!("note {name} as started"),
        Step::NoteStopped(name) => format!("note {name} as stopped"),
        Step::Ask(call) => call.to_string(),
        Step::AskIfKnown(call) => format!("{call}?"),
    });
    told.collect()
}

fn state(active: &str) -> SystemdState {
    SystemdState { load: "loaded".into(), active: active.into(), sub: "x".into() }
}

const PLAIN: &str = "[Service]\nExecStart=/bin/true\n";

#[test]
fn a_file_is_written_before_systemd_is_told_of_it() {
    let file = UnitFile::parse(PLAIN).unwrap();
    let steps = load(&name("a.service"), &file, "/u/a.service".into());
    assert_eq!(told(&steps), ["write a.service", "LinkUnitFiles /u/a.service"]);
    assert_eq!(steps[0], Step::Write(name("a.service"), PLAIN.into()));
}

#[test]
fn only_a_file_that_asks_for_links_is_enabled() {
    let enables = |install: &str| {
        let file = UnitFile::parse(&format!("{PLAIN}{install}")).unwrap();
        told(&load(&name("a.service"), &file, "/u/a.service".into()))
            .contains(&"EnableUnitFiles /u/a.service".to_owned())
    };
    assert!(enables("[Install]\nWantedBy=multi-user.target\n"));
    assert!(enables("[Install]\nAlias=b.service\n"));
    assert!(!enables("[Install]\nDefaultInstance=x\n"));
    assert!(!enables("[Unit]\nWantedBy=x\n"));
}

#[test]
fn other_names_are_those_of_install_alone() {
    let file =
        UnitFile::parse("[Unit]\nAlias=x.service\n[Install]\nAlias=a.service b.service\nAlias=%i.service\n");
    let file = file.unwrap();
    assert_eq!(aliases(&file).collect::<Vec<_>>(), ["a.service", "b.service"]);
}

#[test]
fn a_start_forgets_old_failures_and_is_noted_when_it_was_ordered() {
    assert_eq!(
        told(&start(&name("a.service"))),
        ["ResetFailedUnit a.service?", "StartUnit a.service", "note a.service as started"]
    );
}

#[test]
fn a_stop_is_noted_before_it_is_ordered() {
    assert_eq!(told(&stop(&name("a.service"))), ["note a.service as stopped", "StopUnit a.service?"]);
}

#[test]
fn a_template_is_a_file_that_nobody_stops() {
    let template = name("web@.service");
    assert_eq!(told(&stop(&template)), ["note web@.service as stopped"]);
    assert_eq!(
        told(&forget(&template)),
        ["DisableUnitFiles web@.service?", "note web@.service as stopped", "remove web@.service"]
    );
}

#[test]
fn a_file_goes_last() {
    assert_eq!(
        told(&forget(&name("a.service"))),
        [
            "DisableUnitFiles a.service?",
            "ResetFailedUnit a.service?",
            "note a.service as stopped",
            "remove a.service"
        ]
    );
}

#[test]
fn what_lies_there_is_linked_again_thrown_away_or_started_by_who_finds_it() {
    let file = UnitFile::parse(PLAIN).unwrap();
    let there = [
        (name("a.service"), file.clone(), "/u/a.service".to_owned(), true),
        (name("b.service"), file, "/u/b.service".to_owned(), false),
    ];
    assert_eq!(
        told(&settle(Finding::Same, &there)),
        ["LinkUnitFiles /u/a.service", "LinkUnitFiles /u/b.service", "Reload"]
    );
    let replaced = told(&settle(Finding::Replaced, &there));
    assert_eq!(replaced[3..], told(&start(&name("a.service"))));
    let yesterday = told(&settle(Finding::Yesterday, &there));
    assert!(
        yesterday.contains(&"remove a.service".to_owned())
            && yesterday.contains(&"remove b.service".to_owned())
    );
    assert_eq!(yesterday.last().unwrap(), "Reload");
    assert!(!yesterday.iter().any(|step| step.starts_with("StartUnit")));
    assert_eq!(settle(Finding::Same, &[]), []);
}

#[test]
fn a_unit_counts_as_started_by_order_or_because_it_is_up() {
    for (is_noted, active, expected) in [
        (true, "inactive", true),
        (true, "failed", true),
        (true, "deactivating", true),
        (false, "active", true),
        (false, "activating", true),
        (false, "reloading", true),
        (false, "deactivating", false),
        (false, "inactive", false),
        (false, "failed", false),
    ] {
        assert_eq!(is_started(is_noted, Some(&state(active))), expected, "{is_noted} {active}");
    }
    assert!(is_started(true, None) && !is_started(false, None));
}

#[test]
fn a_file_stays_as_long_as_its_unit_goes_down() {
    let leaving: BTreeSet<UnitName> =
        ["a", "b", "c", "d"].map(|unit| name(&format!("{unit}.service"))).into();
    let rows: Rows = [("a", "deactivating"), ("b", "failed"), ("c", "inactive")]
        .map(|(unit, active)| (format!("{unit}.service"), state(active)))
        .into();
    let gone: Vec<&str> = gone(&leaving, &rows).into_iter().map(UnitName::as_str).collect();
    assert_eq!(gone, ["b.service", "c.service", "d.service"]);
}

#[test]
fn a_name_that_systemd_does_not_take_is_refused_before_anything_is_written() {
    let longest = format!("{}.service", "a".repeat(248));
    for (wrong, why) in [
        (longest.as_str(), "more than 255"),
        ("a.snapshot", "any more"),
        ("a.busname", "any more"),
        ("a.device", "no file"),
        ("a.scope", "no file"),
    ] {
        let error = check_name(&name(wrong)).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("hint:"), "{error}");
    }
    for fine in [&longest[1..], "a@b@c.service", "a-b\\x2dc:d.timer", "web@.service", "a.mount"] {
        assert_eq!(check_name(&name(fine)), Ok(()), "{fine}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_with_the_same_hash(
        options in prop::collection::vec(("(Unit|Service|X-Fleet)", "[A-Z][a-z]{0,5}", "[a-z %=\\\\]{0,8}[a-z]"), 0..6)
    ) {
        let text: String = options.iter().map(|(s, n, v)| format!("[{s}]\n{n}={v}\n")).collect();
        let file = UnitFile::parse(&text).unwrap();
        let steps = load(&name("a.service"), &file, "/u/a.service".into());
        let Step::Write(_, written) = &steps[0] else { panic!("{steps:?}") };
        prop_assert_eq!(UnitFile::parse(written).unwrap().hash(), file.hash());
    }
}
