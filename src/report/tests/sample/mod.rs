//! An invented run with some of everything, for tests and for looking at.

use seatrial_report::*;

const MS: u64 = 1_000_000;

fn band(member: &str, role: Role, term: u64, from: u64, to: Option<u64>) -> RoleBand {
    RoleBand { member: member.into(), role, term, from: from * MS, to: to.map(|to| to * MS) }
}

fn fault(kind: &str, targets: &[&str], from: u64, to: u64, text: &str) -> FaultBand {
    FaultBand {
        kind: kind.into(),
        targets: targets.iter().map(|&target| target.into()).collect(),
        from: from * MS,
        to: Some(to * MS),
        text: text.into(),
    }
}

/// A leader which is cut off goes on answering reads.
pub(crate) fn record() -> RunRecord {
    let members = ["m1", "m2", "m3", "m4", "m5"];
    let mut record = RunRecord {
        format: RunRecord::FORMAT,
        scenario: ScenarioInfo {
            name: "leader-cut-off".into(),
            path: "scenarios/fast/leader-cut-off.toml".into(),
            title: "The leader is cut off and comes back".into(),
            why: "A deposed leader that does not know it must neither acknowledge writes nor answer linearizable reads.".into(),
        },
        seed: 48_213,
        commit: "3f9c2ab".into(),
        options: [("planted".to_owned(), "R07".to_owned())].into(),
        world: "sim".into(),
        verdict: RunVerdict::Violation,
        oracle: Some("linearizable".into()),
        sentence: "Client 9 read \"k2\" at revision 118 from m1 at 8.412 s, although client 8 had already been told at 8.196 s that revision 121 wrote \"k2\"=\"v342\": m1 still believed to lead term 3 while m3 led term 4.".into(),
        replay: "seatrial replay scenarios/fast/leader-cut-off.toml --seed 48213 --planted R07".into(),
        trace_hash: "9a41c07be2d35f18".into(),
        duration_ns: 20_000 * MS,
        cpu_ns: 14 * MS,
        phases: vec![
            Phase { name: "storm".into(), from: 0, to: 15_000 * MS },
            Phase { name: "heal".into(), from: 15_000 * MS, to: 20_000 * MS },
        ],
        members: members
            .iter()
            .enumerate()
            .map(|(place, name)| MemberInfo { name: (*name).into(), detail: format!("8e9e05c5216{place}") })
            .collect(),
        roles: vec![
            band("m1", Role::Follower, 1, 0, Some(160)),
            band("m1", Role::Candidate, 2, 160, Some(240)),
            band("m1", Role::Follower, 2, 240, Some(900)),
            band("m1", Role::Candidate, 3, 900, Some(960)),
            band("m1", Role::Leader, 3, 960, Some(9_300)),
            band("m1", Role::Follower, 4, 9_300, None),
            band("m2", Role::Follower, 1, 0, Some(5_200)),
            band("m2", Role::Learner, 3, 6_900, Some(7_000)),
            band("m2", Role::Follower, 3, 7_000, None),
            band("m3", Role::Follower, 1, 0, Some(7_350)),
            band("m3", Role::PreCandidate, 3, 7_350, Some(7_600)),
            band("m3", Role::Candidate, 4, 7_600, Some(7_720)),
            band("m3", Role::Leader, 4, 7_720, Some(12_500)),
            band("m3", Role::Follower, 5, 13_100, None),
            band("m4", Role::Follower, 1, 0, Some(12_720)),
            band("m4", Role::Candidate, 5, 12_720, Some(12_860)),
            band("m4", Role::Leader, 5, 12_860, None),
            band("m5", Role::Follower, 1, 0, Some(12_750)),
            band("m5", Role::Candidate, 5, 12_750, Some(12_900)),
            band("m5", Role::Follower, 5, 12_900, None),
        ],
        outages: vec![
            Outage { member: "m2".into(), kind: OutageKind::PowerLoss, from: 5_200 * MS, to: Some(6_900 * MS), text: "3 unsynced writes lost, 1 torn".into() },
            Outage { member: "m3".into(), kind: OutageKind::Crash, from: 12_500 * MS, to: Some(13_100 * MS), text: String::new() },
        ],
        faults: vec![
            fault("partition", &["m1"], 7_100, 9_250, "m1 | m2 m3 m4 m5"),
            fault("packet-loss", &[], 2_000, 4_100, "10 % of packets"),
            fault("packet-loss", &[], 10_800, 14_000, "4 % of packets"),
            fault("slow-disk", &["m4"], 3_000, 8_000, "fsync takes 40 ms"),
            fault("clock-skew", &["m5"], 9_800, 14_600, "+210 ms"),
        ],
        counts: [("elections", 4), ("operations acknowledged", 702), ("operations unknown", 21), ("messages dropped", 418)]
            .map(|(name, count)| (name.to_owned(), count))
            .into(),
        goals: vec![
            Goal { name: "an election while a write is open".into(), reached: true, at: Some(7_720 * MS), text: "seen twice".into() },
            Goal { name: "a snapshot to a lagging member".into(), reached: false, at: None, text: "no member lagged far enough".into() },
        ],
        notes: vec!["The schedule was shrunk from 23 faults to 6.".into()],
        ..RunRecord::default()
    };
    record.oracles = ["election-safety", "log-matching", "durability", "watch"]
        .map(|name| OracleResult { name: name.into(), ..OracleResult::default() })
        .to_vec();
    record.oracles.push(OracleResult {
        name: "linearizable".into(),
        verdict: RunVerdict::Violation,
        sentence: record.sentence.clone(),
    });
    operations(&mut record);
    spans(&mut record);
    messages(&mut record, &members);
    progress(&mut record, &members);
    record
}

fn operations(record: &mut RunRecord) {
    let mut bad = FirstBad {
        at: 8_412 * MS,
        text: "real-time: m1 answered a linearizable read from its own state without asking a quorum".into(),
        member: Some("m1".into()),
        operations: vec![],
    };
    let mut chance = 7_u64;
    let mut below = |bound: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % bound
    };
    let mut revision = 1;
    for client in 0..8_u32 {
        let mut now = 200 + below(200);
        while now < 19_500 {
            let key = below(5);
            let cut = (7_100..9_250).contains(&now) && client % 4 == 0;
            let took = if cut { 900 + below(300) } else { 20 + below(110) };
            let (ending, answer) = match below(30) {
                _ if cut => (Ending::Unknown, "unknown: etcdserver: request timed out".to_owned()),
                0 => (Ending::Failed, "failed: etcdserver: no leader".to_owned()),
                _ => {
                    revision += 1;
                    (Ending::Ok, format!("revision {revision}, written"))
                }
            };
            let text = match below(3) {
                0 => format!("get \"k{key}\""),
                1 => format!("put \"k{key}\"=\"v{}\"", below(900)),
                _ => format!("txn if mod(\"k{key}\") = {revision} then put \"k{key}\"=\"v{}\"", below(900)),
            };
            record.operations.push(ClientOperation {
                client,
                member: Some(format!("m{}", below(5) + 1)),
                keys: vec![format!("k{key}")],
                kind: String::new(),
                text,
                call: now * MS,
                ret: Some((now + took) * MS),
                ending,
                answer,
            });
            now += took + 60 + below(240);
        }
    }
    for (client, text, from, to, answer) in [
        (8, "put \"k2\"=\"v342\"", 8_020, 8_196, "revision 121, written"),
        (9, "get \"k2\"", 8_300, 8_412, "revision 118, \"k2\"=\"v310\"@117"),
    ] {
        bad.operations.push(record.operations.len());
        record.operations.push(ClientOperation {
            client,
            member: Some(if client == 9 { "m1" } else { "m3" }.into()),
            kind: String::new(),
            keys: vec!["k2".into()],
            text: text.into(),
            call: from * MS,
            ret: Some(to * MS),
            ending: Ending::Ok,
            answer: answer.into(),
        });
    }
    record.first_bad = Some(bad);
}

fn spans(record: &mut RunRecord) {
    for (client, kind, from, to, text) in [
        (2, "watch", 1_200, 7_400, "from revision 40: 211 changes; the last answer was of revision 116"),
        (2, "watch", 7_600, 19_000, "from revision 117, goes on with an earlier one: 340 changes"),
        (5, "lock", 6_000, 8_900, "lock-1 by lock-1/6c2, at revision 90, lease 6c2 of 2 s, 4 writes"),
    ] {
        record.spans.push(ClientSpan {
            client,
            kind: kind.into(),
            member: None,
            from: from * MS,
            to: to * MS,
            text: text.into(),
        });
    }
}

fn messages(record: &mut RunRecord, members: &[&str]) {
    for beat in 0..190_u64 {
        let now = 1_000 + beat * 100;
        let leader = match now {
            0..7_720 => "m1",
            7_720..12_700 => "m3",
            _ => "m4",
        };
        for (place, to) in members.iter().enumerate().filter(|(_, to)| **to != leader) {
            let lost = (7_100..9_250).contains(&now) && (leader == "m1" || *to == "m1");
            record.messages.push(Message {
                from: leader.into(),
                to: (*to).into(),
                kind: if now == 7_700 { "vote" } else { "append" }.into(),
                sent: now * MS,
                delivered: (!lost).then_some((now + 8 + place as u64 * 5) * MS),
                text: format!("term {} previous {} entries 2", if leader == "m1" { 3 } else { 4 }, beat * 4),
            });
        }
    }
    record.messages_total = 24_310;
}

fn progress(record: &mut RunRecord, members: &[&str]) {
    for (place, member) in members.iter().enumerate() {
        let mut points = Vec::new();
        for step in 0..200_u64 {
            let now = step * 100;
            let reached = if *member == "m1" && (7_100..9_300).contains(&now) { 7_100 } else { now };
            let reached = if *member == "m2" && (5_200..7_000).contains(&now) { 5_200 } else { reached };
            let last = reached * 35 / 1_000 + u64::from(*member == "m1" && reached != now) * 6;
            let commit = (reached * 35 / 1_000).saturating_sub(place as u64 / 2);
            points.push(ProgressPoint { at: now * MS, last, commit, applied: commit });
        }
        record.progress.push(ProgressSeries { member: (*member).into(), points });
    }
    for (at, member, level, text) in [
        (960, "m1", "info", "became leader term=3"),
        (5_200, "m2", "error", "power lost"),
        (6_900, "m2", "warn", "cut a torn tail segment=2 offset=81920 bytes=217"),
        (7_720, "m3", "info", "became leader term=4"),
        (8_412, "m1", "info", "answered read revision=118"),
        (9_300, "m1", "info", "stepped down term=4"),
    ] {
        record.logs.push(LogLine {
            at: at * MS,
            member: member.into(),
            level: level.into(),
            text: text.into(),
        });
    }
}

pub(crate) fn batch() -> Batch {
    let mut batch = Batch { title: "scenarios/fast".into(), commit: "3f9c2ab".into(), ..Batch::default() };
    let names = [
        "bridge",
        "clock-skew",
        "flapping-link",
        "leader-cut-off",
        "lagging-snapshot",
        "power-loss",
        "rolling-restart",
    ];
    for (place, name) in names.iter().enumerate() {
        for seed in 0..40 {
            let verdict = match (place, seed) {
                (3, 13) | (3, 29) => RunVerdict::Violation,
                (4, 7) => RunVerdict::Inconclusive,
                _ => RunVerdict::Pass,
            };
            let mut entry = BatchEntry::from(&record());
            entry.scenario = (*name).into();
            entry.title = name.replace('-', " ");
            (entry.seed, entry.verdict) = (seed, verdict);
            entry.replay = format!("seatrial replay scenarios/fast/{name}.toml --seed {seed}");
            entry.link = Some(format!("{name}-{seed}/report.html"));
            if verdict == RunVerdict::Inconclusive {
                (entry.oracle, entry.sentence) =
                    (None, "The goal \"a snapshot to a lagging member\" was never reached.".into());
            }
            batch.entries.push(entry);
        }
    }
    batch
}
