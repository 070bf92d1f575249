//! The shape of a page: complete, closed, escaped, small.

use super::*;
use crate::record::*;
use crate::wellformed;

fn sample() -> RunRecord {
    let names = ["m1", "m2", "m3"];
    let second = 1_000_000_000;
    RunRecord {
        format: RunRecord::FORMAT,
        scenario: ScenarioInfo {
            name: "leader-cut-off".into(),
            path: "scenarios/fast/leader-cut-off.toml".into(),
            title: "the leader is cut off".into(),
            why: "a deposed leader must not answer".into(),
        },
        seed: 17,
        world: "sim".into(),
        verdict: RunVerdict::Violation,
        oracle: Some("linearizable".into()),
        sentence: "client 2 read revision 1 after revision 2 was acknowledged".into(),
        first_bad: Some(FirstBad {
            at: 3 * second,
            text: "stale read".into(),
            member: Some("m1".into()),
            operations: vec![0, 1],
        }),
        replay: "seatrial replay scenarios/fast/leader-cut-off.toml --seed 17".into(),
        trace_hash: "00ff".into(),
        duration_ns: 5 * second,
        cpu_ns: second / 100,
        phases: vec![Phase { name: "storm".into(), from: 0, to: 4 * second }],
        members: names.map(|name| MemberInfo { name: name.into(), detail: String::new() }).to_vec(),
        roles: vec![
            RoleBand { member: "m1".into(), role: Role::Leader, term: 1, from: second, to: Some(2 * second) },
            RoleBand {
                member: "m2".into(),
                role: Role::Candidate,
                term: 2,
                from: 2 * second,
                to: Some(3 * second),
            },
            RoleBand { member: "m2".into(), role: Role::Leader, term: 2, from: 3 * second, to: None },
        ],
        outages: vec![Outage {
            member: "m3".into(),
            from: second,
            to: Some(2 * second),
            ..Outage::default()
        }],
        faults: vec![FaultBand {
            kind: "partition".into(),
            targets: vec!["m1".into()],
            from: second,
            to: Some(3 * second),
            text: "m1 | m2 m3".into(),
        }],
        messages: vec![
            Message {
                from: "m1".into(),
                to: "m2".into(),
                kind: "append".into(),
                sent: second,
                delivered: Some(second + 9),
                text: "".into(),
            },
            Message {
                from: "m1".into(),
                to: "m3".into(),
                kind: "vote".into(),
                sent: second,
                delivered: None,
                text: "".into(),
            },
        ],
        operations: vec![
            ClientOperation {
                client: 1,
                kind: "put".into(),
                keys: vec!["a".into()],
                text: "put a".into(),
                call: second,
                ret: Some(2 * second),
                ending: Ending::Ok,
                ..ClientOperation::default()
            },
            ClientOperation {
                client: 2,
                text: "get a".into(),
                call: 2 * second,
                ret: None,
                ..ClientOperation::default()
            },
        ],
        spans: vec![ClientSpan {
            client: 2,
            kind: "watch".into(),
            member: Some("m3".into()),
            from: second,
            to: 4 * second,
            text: "from revision 3: 7 changes".into(),
        }],
        progress: vec![ProgressSeries {
            member: "m1".into(),
            points: (0..9)
                .map(|n| ProgressPoint { at: n * second / 3, last: n + 1, commit: n, applied: n })
                .collect(),
        }],
        logs: vec![LogLine { at: second, member: "m1".into(), level: "warn".into(), text: "lost".into() }],
        oracles: vec![OracleResult {
            name: "linearizable".into(),
            verdict: RunVerdict::Violation,
            sentence: "s".into(),
        }],
        goals: vec![Goal { name: "an election".into(), reached: false, ..Goal::default() }],
        counts: [("elections".to_owned(), 2)].into(),
        notes: vec!["shrunk from 40 faults".into()],
        ..RunRecord::default()
    }
}

/// A record in which every text is hostile.
fn hostile() -> RunRecord {
    let poison = "\"><script>alert('x')</script>&\u{1b}[0m";
    let json = serde_json::to_value(sample()).unwrap();
    fn spoil(value: &mut serde_json::Value, poison: &str) {
        match value {
            serde_json::Value::String(text) => *text += poison,
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, poison)),
            serde_json::Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    // Words of a closed list must stay what they are.
                    let closed = matches!(name.as_str(), "verdict" | "role" | "ending")
                        || (name == "kind" && field == "crash");
                    if !closed {
                        spoil(field, poison);
                    }
                }
            }
            _ => {}
        }
    }
    let mut json = json;
    spoil(&mut json, poison);
    let mut record: RunRecord = serde_json::from_value(json).unwrap();
    record.options.insert(poison.into(), poison.into());
    record.counts.insert(poison.into(), 1);
    record
}

#[test]
fn a_page_has_the_verdict_first_and_everything_else_after_it() {
    let html = render_html(&sample());
    let order = [
        "class=\"stamp\"",
        "client 2 read revision 1 after revision 2 was acknowledged",
        "id=\"replay\"",
        "First bad event: 3.0000 s at m1",
        "<b>Led:</b> m2 in term 2, since 3.0000 s",
        "<b>Faults:</b> partition, m1 | m2 m3, since 1.0000 s",
        "id=\"plot\"",
        "What the members said",
        "What the clients asked",
        "Elections",
        "Faults and outages",
        "Oracles",
        "Goals",
    ];
    let places: Vec<usize> =
        order.iter().map(|part| html.find(part).unwrap_or_else(|| panic!("no {part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    for lane in [
        ">m1<",
        ">m2<",
        ">m3<",
        ">client 1<",
        ">client 2<",
        ">partition<",
        ">who leads<",
        ">✗ first bad event<",
    ] {
        assert!(html.contains(lane), "no {lane}");
    }
    for look in [
        "\"b leader",
        "\"b candidate",
        "\"b outage",
        "\"b fault",
        "\"b struck",
        "\"b op evidence",
        "\"b op unknown evidence",
        "\"p pin",
        "\"p here",
        "\"p mark",
        "\"p said",
        "\"b span",
        "class=\"applied\"",
        "class=\"last\"",
        "\"b unled",
    ] {
        assert!(html.contains(look), "no {look}");
    }
    assert!(
        html.contains(r#""kinds":["append","vote"],"rows":[[0,1,0,1000000,0,""],[0,2,1,1000000,-1,""]]"#),
        "the messages are in the page's data"
    );
    assert_eq!(html.matches("<tr class=\"evidence\"").count(), 4, "both in the evidence and in the table");
    assert_eq!(html.matches("class=\"bad-row\"").count(), 4, "each table says where it happened");
}

#[test]
fn a_page_is_well_formed_whatever_the_record_says() {
    let emptiest = RunRecord::default();
    let wild = RunRecord {
        first_bad: Some(FirstBad { at: u64::MAX, operations: vec![99], ..FirstBad::default() }),
        ..sample()
    };
    for record in [sample(), hostile(), emptiest, wild] {
        let html = render_html(&record);
        let elements = wellformed::check(&html).unwrap();
        assert_eq!(elements.iter().filter(|name| *name == "script").count(), 3);
        assert!(!html.contains("NaN") && !html.contains("inf\""), "a coordinate is no number");
    }
}

#[test]
fn no_text_of_a_run_becomes_markup() {
    let html = render_html(&hostile());
    assert!(!html.contains("<script>alert"));
    assert!(html.contains("&lt;script&gt;alert('x')"));
    assert!(!html.contains('\u{1b}'));
}

#[test]
fn a_page_asks_for_nothing_from_elsewhere() {
    let html = render_html(&sample());
    for outside in ["http://", "https://", "src=", "@import", "<link", "<img", "<iframe", "fetch(", "import("]
    {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(
        html.matches("url(").count(),
        html.matches("url(#p-").count(),
        "only patterns of the page itself"
    );
    assert!(html.contains("default-src 'none'"));
    assert!(html.contains("prefers-color-scheme:dark"));
}

#[test]
fn a_run_of_any_size_stays_small_keeps_its_evidence_and_says_what_was_cut() {
    let mut record = sample();
    let long = "x".repeat(3_000);
    for number in 0..20_000_u64 {
        let at = number * 200_000;
        record.operations.push(ClientOperation {
            client: (number % 60) as u32,
            text: format!("put k{number} {long}"),
            call: at,
            ret: Some(at + 100_000),
            ending: Ending::Ok,
            ..ClientOperation::default()
        });
        record.messages.push(Message { sent: at, ..record.messages[0].clone() });
        record.logs.push(LogLine { at, text: long.clone(), ..record.logs[0].clone() });
        record.faults.push(FaultBand {
            from: at,
            to: Some(at + 10),
            text: long.clone(),
            ..record.faults[0].clone()
        });
        record.roles.push(RoleBand { from: at, to: Some(at + 10), ..record.roles[0].clone() });
        record.outages.push(Outage {
            from: at,
            to: Some(at + 10),
            text: long.clone(),
            ..record.outages[0].clone()
        });
        record.progress[0].points.push(ProgressPoint { at, last: number, commit: number, applied: number });
        record.notes.push(long.clone());
        record.oracles.push(record.oracles[0].clone());
    }
    record.sentence = "y".repeat(1_000_000);
    let html = render_html(&record);
    assert!(html.len() <= PAGE_BYTES_MAX, "{} bytes", html.len());
    wellformed::check(&html).unwrap();
    assert!(html.contains("of 20002 operations are shown (those nearest to the first bad event)"));
    assert!(html.contains("of 20001 log lines are shown"));
    assert!(html.contains("\"b op evidence"), "the evidence stays");
}

#[test]
fn a_normal_run_is_shown_whole() {
    let mut record = sample();
    for number in 0..600_u64 {
        let at = number * 8_000_000;
        record.operations.push(ClientOperation {
            client: (number % 10) as u32,
            text: format!("put \"key-{}\"=\"value-{number}\"", number % 5),
            call: at,
            ret: Some(at + 5_000_000),
            ending: Ending::Ok,
            answer: format!("revision {number}, written"),
            kind: "put".into(),
            keys: vec![format!("key-{}", number % 5)],
            member: Some("m1".into()),
        });
        record.messages.push(Message {
            sent: at,
            delivered: Some(at + 1_000_000),
            ..record.messages[0].clone()
        });
    }
    let html = render_html(&record);
    assert!(html.len() < 480_000, "{} bytes", html.len());
    assert!(!html.contains("operations are shown"), "602 operations fit");
}

#[test]
fn a_record_survives_json_and_equal_records_give_equal_pages() {
    let record = sample();
    let read = crate::parse_json(&crate::render_json(&record)).unwrap();
    assert_eq!(read, record);
    assert_eq!(render_html(&read), render_html(&record));
}

#[test]
fn a_field_of_a_newer_version_does_not_stop_an_older_reader() {
    let record = crate::parse_json(r#"{"seed": 4, "invented": true}"#).unwrap();
    assert_eq!((record.seed, record.verdict), (4, RunVerdict::Pass));
}
