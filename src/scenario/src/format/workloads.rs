//! Reads the `[[workload]]` tables.

use super::parse::{Section, read_kind, seconds};
use super::source::{Complaint, hint_for};
use super::spec::{
    ChangeKind, FleetSpec, LockSpec, MachineFault, OpKind, RebootSpec, UnitAct, UnitsSpec, WatchSpec,
    Without, WorkloadKind, WorkloadSpec, usual_compact_behind,
};
use super::units;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) fn read_workload(
    table: &DeTable<'_>,
    span: Range<usize>,
    complaints: &mut Vec<Complaint>,
) -> Option<WorkloadSpec> {
    let kind = read_kind(table, &span, "workload", WorkloadKind::NAMES, complaints, WorkloadKind::from_name)?;
    let keys: &[&str] = match kind {
        WorkloadKind::Kv => &[
            "name",
            "clients",
            "think",
            "rate",
            "keys",
            "value",
            "mix",
            "serializable",
            "timeout",
            "compact_behind",
        ],
        WorkloadKind::Watch => {
            &["name", "clients", "reopen", "timeout", "read_every", "progress", "prev_kv", "without"]
        }
        WorkloadKind::Hash => &["name", "clients", "think", "timeout"],
        WorkloadKind::Lease => &["name", "clients", "think", "ttl", "keepalives", "timeout"],
        WorkloadKind::Locks => {
            &["name", "clients", "think", "ttl", "timeout", "locks", "hold", "pause_one_in"]
        }
        WorkloadKind::Elections => {
            &["name", "clients", "think", "ttl", "timeout", "elections", "hold", "pause_one_in"]
        }
        WorkloadKind::Membership => &["name", "think", "timeout", "spares", "changes", "in_order"],
        WorkloadKind::Space => &["name", "think", "timeout"],
        WorkloadKind::Users => &["name", "clients", "think", "timeout"],
        WorkloadKind::V2 => &["name", "clients", "think", "rate", "keys", "ttl", "reopen", "timeout"],
        WorkloadKind::Reboots => &[
            "name",
            "clients",
            "think",
            "timeout",
            "groups",
            "max",
            "boot",
            "drain",
            "window",
            "window_one_in",
            "hosts",
            "operator",
            "trouble_one_in",
            "clocks",
            "fleetlock_one_in",
        ],
        WorkloadKind::Units => &[
            "name",
            "machines",
            "operators",
            "units",
            "ttl",
            "think",
            "timeout",
            "faults",
            "faults_every",
            "leavers",
            "acts",
            "evictions",
        ],
    };
    let mut section = Section::new(table, span, format!("the workload \"{kind}\""), keys, complaints);
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let mut clients = section.integer("clients", 1..=1000, 4) as u32;
    if matches!(kind, WorkloadKind::Membership | WorkloadKind::Space) {
        // Two changes at one time are refused anyway, and one operator is enough.
        clients = 1;
    }
    let units = read_units(&mut section);
    if kind == WorkloadKind::Units {
        #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
        let operators = section.integer("operators", 1..=100, 1) as u32;
        clients = units.machines + operators;
    }
    if kind == WorkloadKind::Users && clients < 2 {
        let span = section.get("clients").map_or(0..0, Spanned::span);
        section.complain(
            span,
            "a single client cannot be both user and administrator".to_owned(),
            "the first client decides what the others may do: give it `clients = 2` or more".to_owned(),
        );
    }
    let usual_think = match kind {
        WorkloadKind::Lease | WorkloadKind::Hash | WorkloadKind::Space | WorkloadKind::Units => seconds(1),
        WorkloadKind::Locks | WorkloadKind::Elections | WorkloadKind::Membership => {
            Duration::from_millis(500)
        }
        WorkloadKind::Kv | WorkloadKind::Watch | WorkloadKind::Users | WorkloadKind::V2 => {
            Duration::from_millis(200)
        }
        WorkloadKind::Reboots => seconds(10),
    };
    let mut think = section.duration("think", Duration::from_millis(1)..=seconds(600), usual_think);
    if let Some(value) = section.get("rate") {
        if section.get("think").is_some() {
            section.complain(
                value.span(),
                "\"rate\" and \"think\" say the same thing twice".to_owned(),
                "keep one of the two lines".to_owned(),
            );
        }
        think = section.unit("rate", value, "\"20/s\"", units::rate).unwrap_or(think);
        if !(Duration::from_millis(1)..=seconds(600)).contains(&think) {
            section.complain(
                value.span(),
                format!("\"rate\" is one every {think:?}, out of range"),
                "it lies between \"0.1/m\" and \"1000/s\"".to_owned(),
            );
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let keys = section.integer("keys", 1..=100_000, 5) as u32;
    let value_bytes = match section.get("value") {
        Some(value) => section.unit("value", value, "\"64B\"", units::bytes).unwrap_or(0),
        None => 16,
    };
    if value_bytes > 1 << 20 {
        let span = section.get("value").map_or(0..0, Spanned::span);
        section.complain(
            span,
            format!("\"value\" is {value_bytes} bytes, out of range"),
            "a request holds at most 1.5 MiB; stay below \"1MiB\"".to_owned(),
        );
    }
    let serializable_ppm = match section.get("serializable") {
        Some(value) => section.unit("serializable", value, "\"20%\"", units::share_ppm).unwrap_or(0),
        None => 200_000,
    };
    let mix = read_mix(&mut section);
    let usual_ttl = if kind == WorkloadKind::Units { seconds(5) } else { seconds(3) };
    let ttl = section.duration("ttl", seconds(1)..=seconds(600), usual_ttl);
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let keepalives = section.integer("keepalives", 0..=1000, 4) as u32;
    let reopen = section.duration("reopen", Duration::from_millis(100)..=seconds(600), seconds(4));
    // Shorter than the runner's last wait, so that no client outstays the play.
    let timeout = section.duration("timeout", Duration::from_millis(10)..=seconds(8), seconds(3));
    let behind = u64::from(usual_compact_behind());
    #[allow(clippy::cast_possible_truncation, reason = "the range is small")]
    let compact_behind = section.integer("compact_behind", 0..=1_000_000, behind) as u32;
    let watch = WatchSpec {
        read_every: section.duration("read_every", Duration::ZERO..=seconds(10), Duration::ZERO),
        progress: section.boolean("progress", false),
        prev_kv: section.boolean("prev_kv", false),
        without: section.name(
            "without",
            "kind of change",
            Without::NAMES,
            Without::Nothing,
            Without::from_name,
        ),
    };
    let count = if kind == WorkloadKind::Elections { "elections" } else { "locks" };
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let locks = LockSpec {
        locks: section.integer(count, 1..=100, 1) as u32,
        hold: section.duration("hold", Duration::from_millis(1)..=seconds(60), Duration::from_millis(500)),
        pause_one_in: section.integer("pause_one_in", 1..=1000, 3) as u32,
    };
    let fleet = FleetSpec {
        spares: section.integer("spares", 0..=4, 1),
        changes: section.choices("changes", ChangeKind::ALL.to_vec(), read_change),
        in_order: section.boolean("in_order", false),
    };
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let reboots = RebootSpec {
        groups: section.integer("groups", 1..=20, 1) as u32,
        max: section.integer("max", 1..=1000, 1) as u32,
        boot: section.duration("boot", Duration::from_millis(1)..=seconds(600), seconds(2)),
        drain: section.duration("drain", Duration::ZERO..=seconds(600), Duration::from_millis(300)),
        window_one_in: section.integer("window_one_in", 1..=1000, 3) as u32,
        window: section.duration("window", Duration::ZERO..=seconds(59), Duration::ZERO),
        hosts: section.integer("hosts", 0..=9, 0) as u32,
        operator: section.boolean("operator", false),
        trouble_one_in: section.integer("trouble_one_in", 1..=1000, 3) as u32,
        clocks: section.boolean("clocks", false),
        fleetlock_one_in: section.integer("fleetlock_one_in", 0..=1000, 0) as u32,
    };
    Some(WorkloadSpec {
        kind,
        clients,
        think,
        keys,
        value_bytes,
        mix,
        serializable_ppm,
        ttl,
        keepalives,
        reopen,
        timeout,
        compact_behind,
        watch,
        locks,
        fleet,
        reboots,
        units,
    })
}

/// What the workload `units` says of machines and units.
fn read_units(section: &mut Section<'_, '_>) -> UnitsSpec {
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let mut number = |key: &str, range, usual| section.integer(key, range, usual) as u32;
    let machines = number("machines", 1..=1000, 3);
    let units = number("units", 1..=10_000, 12);
    let leavers = number("leavers", 0..=1000, 0);
    let evictions = number("evictions", 1..=1000, 200);
    if leavers >= machines {
        let span = section.get("leavers").map_or(0..0, Spanned::span);
        section.complain(
            span,
            format!("{leavers} of {machines} machines leave, so none is left"),
            "let at least one stay".to_owned(),
        );
    }
    // A machine that leaves is counted by `leavers`.
    let usual = MachineFault::ALL.iter().copied().filter(|fault| *fault != MachineFault::Leave).collect();
    UnitsSpec {
        machines,
        units,
        faults: some_or_none(section, "faults", usual, read_machine_fault),
        faults_every: section.duration("faults_every", seconds(1)..=seconds(3600), seconds(10)),
        leavers,
        acts: some_or_none(section, "acts", UnitAct::ALL.to_vec(), |section, value| {
            named(section, value, "acts", "act of an operator", UnitAct::NAMES, UnitAct::from_name)
        }),
        evictions,
    }
}

/// A list that may be empty.
fn some_or_none<T>(
    section: &mut Section<'_, '_>,
    key: &str,
    usual: Vec<T>,
    read: impl FnMut(&mut Section<'_, '_>, &Spanned<DeValue<'_>>) -> Option<T>,
) -> Vec<T> {
    let is_empty =
        section.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty());
    if is_empty { Vec::new() } else { section.choices(key, usual, read) }
}

fn read_machine_fault(section: &mut Section<'_, '_>, value: &Spanned<DeValue<'_>>) -> Option<MachineFault> {
    let known: Vec<&str> = MachineFault::NAMES.iter().copied().filter(|name| *name != "leave").collect();
    let find = |text: &str| MachineFault::from_name(text).filter(|fault| *fault != MachineFault::Leave);
    named(section, value, "faults", "fault of a machine", &known, find)
}

/// One name of a list.
fn named<T>(
    section: &mut Section<'_, '_>,
    value: &Spanned<DeValue<'_>>,
    key: &str,
    what: &str,
    known: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        section.wrong_type(value, key, "a list of names", &format!("[{:?}]", known[0]));
        return None;
    };
    let found = find(text);
    if found.is_none() {
        section.complain(value.span(), format!("there is no {what} called {text:?}"), hint_for(text, known));
    }
    found
}

fn read_mix(section: &mut Section<'_, '_>) -> Vec<(OpKind, u32)> {
    let usual = vec![
        (OpKind::Put, 40),
        (OpKind::Get, 30),
        (OpKind::Range, 8),
        (OpKind::Delete, 6),
        (OpKind::Cas, 16),
    ];
    let Some(value) = section.get("mix") else { return usual };
    let Some(table) = value.get_ref().as_table() else {
        section.wrong_type(value, "mix", "a table of weights", "{ put = 3, get = 1 }");
        return usual;
    };
    let mut mix = Vec::new();
    for (key, weight) in table.iter() {
        let Some(op) = OpKind::from_name(key.get_ref()) else {
            let message = format!("there is no operation called {:?}", key.get_ref());
            section.complain(key.span(), message, hint_for(key.get_ref(), OpKind::NAMES));
            continue;
        };
        if let Some(weight) = section.integer_value(key.get_ref(), weight, 0..=1000) {
            #[allow(clippy::cast_possible_truncation, reason = "checked")]
            mix.push((op, weight as u32));
        }
    }
    mix.sort_unstable();
    if mix.len() == table.len() && mix.iter().all(|(_, weight)| *weight == 0) {
        section.complain(
            value.span(),
            "\"mix\" has no operation with a weight above 0".to_owned(),
            "for example `mix = { put = 3, get = 1 }`".to_owned(),
        );
    }
    mix
}

fn read_change(section: &mut Section<'_, '_>, value: &Spanned<DeValue<'_>>) -> Option<ChangeKind> {
    let Some(text) = value.get_ref().as_str() else {
        section.wrong_type(value, "changes", "a list of names", "[\"replace\", \"return\"]");
        return None;
    };
    let found = ChangeKind::from_name(text);
    if found.is_none() {
        let message = format!("there is no change of members called {text:?}");
        section.complain(value.span(), message, hint_for(text, ChangeKind::NAMES));
    }
    found
}
