//! A script: a scenario in which nothing is left to be drawn. Every step of every client and every fault stands in the file
//! (`[script]`, `[[client]]`, `[[fault]]`); what a failure was made small to is written so ([`super::print`]).

use super::options::{self, FaultOptions};
use super::parse::{Section, read_kind, seconds, subtables};
use super::source::{Complaint, hint_for};
use super::spec::{
    ChangeKind, MachineFault, NemesisKind, OpKind, Target, UnitAct, V2Op, WorkloadKind, WorkloadSpec,
};
use super::{rare, units};
use crate::machines;
use crate::plan::{ClientPlan, LockStep, MachineStep, PlannedFault, StandStep, Step, StepKind};
use crate::priorities::Priorities;
use crate::sites::ActiveSite;
use seatrial_types::MemberId;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// All that a seed draws elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The seed of the world: latencies, and what a power loss takes.
    pub seed: u64,
    /// As [`crate::Plan::core`].
    pub core: Vec<MemberId>,
    /// In order of their machines.
    pub clients: Vec<ClientPlan>,
    /// In order of their beginning.
    pub faults: Vec<PlannedFault>,
    /// As [`crate::Plan::priorities`].
    #[serde(default)]
    pub priorities: Option<Priorities>,
    /// As [`crate::Plan::sites`].
    #[serde(default)]
    pub sites: Vec<ActiveSite>,
}

/// Whom a fault hits where nothing is said.
pub(super) fn usual_target(kind: NemesisKind) -> Target {
    match kind {
        NemesisKind::Loss
        | NemesisKind::Latency
        | NemesisKind::Bandwidth
        | NemesisKind::Clock
        | NemesisKind::RollingRestart
        | NemesisKind::RollingUpgrade => Target::All,
        _ => Target::Random,
    }
}

/// A fault of which nothing is said but its name: what need not be written.
pub(crate) fn usual_fault(kind: NemesisKind, machines: u64) -> PlannedFault {
    let all = usize::try_from(machines).expect("a few");
    PlannedFault {
        id: 0,
        kind,
        at: Duration::ZERO,
        ends: Duration::ZERO,
        during: None,
        target: usual_target(kind),
        order: (1..=machines).map(MemberId).collect(),
        coin: false,
        options: FaultOptions::usual(kind),
        drift_ppm: vec![0; all],
        wall_step_ms: vec![0; all],
        place_permille: 0,
    }
}

/// Beside the options of all faults ([`options::KEYS`]).
const FAULT_KEYS: &[&str] =
    &["name", "at", "ends", "during", "target", "order", "coin", "drift_ppm", "step_ms", "place_permille"];

/// The script of a file, where it has one.
pub(super) fn read_script(
    top: &mut Section<'_, '_>,
    table: Option<(&DeTable<'_>, Range<usize>)>,
    machines: u64,
    time: Duration,
    workloads: &[WorkloadSpec],
) -> Option<Script> {
    let Some((table, span)) = table else {
        for key in ["client", "fault"] {
            if let Some(value) = top.get(key) {
                top.complain(
                    value.span(),
                    format!("[[{key}]] is part of a script, and this scenario has none"),
                    "add `[script]` with a `seed`; what is drawn stands below [[workload]] and [[nemesis]]"
                        .to_owned(),
                );
            }
        }
        return None;
    };
    if let Some(value) = top.get("nemesis") {
        top.complain(
            value.span(),
            "a script draws nothing, so it has no [[nemesis]]".to_owned(),
            "write each fault below a [[fault]], with its `at` and `ends`".to_owned(),
        );
    }
    let (seed, core, (priorities, sites)) = {
        let keys: Vec<&str> = ["seed", "core"].into_iter().chain(rare::KEYS).collect();
        let mut section = Section::new(table, span, "[script]".to_owned(), &keys, top.complaints);
        if section.get("seed").is_none() {
            section.missing("seed", "1");
        }
        let seed = section.integer("seed", 0..=i64::MAX.unsigned_abs(), 1);
        let core = members(&mut section, "core", machines, Vec::new());
        (seed, core, rare::read(&mut section, machines, time))
    };
    let clients = subtables(top, "client")
        .into_iter()
        .filter_map(|(table, span)| read_client(table, span, machines, time, workloads, top.complaints))
        .collect();
    let mut faults: Vec<PlannedFault> = subtables(top, "fault")
        .into_iter()
        .filter_map(|(table, span)| read_fault(table, span, machines, time, top.complaints))
        .collect();
    faults.sort_by_key(|fault| (fault.at, fault.ends));
    for (id, fault) in (0..).zip(&mut faults) {
        fault.id = id;
    }
    Some(Script { seed, core, clients, faults, priorities, sites })
}

/// A list of members, each of the machines that there are.
fn members(section: &mut Section<'_, '_>, key: &str, machines: u64, default: Vec<MemberId>) -> Vec<MemberId> {
    if section.get(key).is_none() {
        return default;
    }
    section
        .choices(key, Vec::new(), |section, value| section.integer_value(key, value, 1..=machines))
        .into_iter()
        .map(MemberId)
        .collect()
}

fn signed_list(section: &mut Section<'_, '_>, key: &str, default: Vec<i64>) -> Vec<i64> {
    let wanted = default.len();
    let Some(value) = section.get(key) else { return default };
    let span = value.span();
    let list = section.choices(key, Vec::new(), |section, value| {
        let number =
            value.get_ref().as_integer().and_then(|one| i64::from_str_radix(one.as_str(), one.radix()).ok());
        if number.is_none() {
            section.wrong_type(value, key, "a list of whole numbers", "[0, -500, 0]");
        }
        number
    });
    if list.len() == wanted {
        return list;
    }
    section.complain(
        span,
        format!("{key:?} has {} numbers", list.len()),
        format!("it needs one for each of the {wanted} members in `order`"),
    );
    default
}

fn read_fault(
    table: &DeTable<'_>,
    span: Range<usize>,
    machines: u64,
    time: Duration,
    complaints: &mut Vec<Complaint>,
) -> Option<PlannedFault> {
    let kind = read_kind(table, &span, "fault", NemesisKind::NAMES, complaints, NemesisKind::from_name)?;
    let keys: Vec<&str> = FAULT_KEYS.iter().chain(options::KEYS).copied().collect();
    let mut section = Section::new(table, span, format!("the fault \"{kind}\""), &keys, complaints);
    let usual = usual_fault(kind, machines);
    for key in ["at", "ends"] {
        if section.get(key).is_none() {
            section.missing(key, "\"2.5s\"");
        }
    }
    let at = section.duration("at", Duration::ZERO..=seconds(3600), Duration::ZERO);
    let ends = section.duration("ends", Duration::ZERO..=seconds(7200), at);
    if let Some(value) = section.get("ends")
        && section.get("at").is_some()
        && ends <= at
    {
        let message = format!("the fault ends at {ends:?}, but begins at {at:?}");
        section.complain(value.span(), message, "`ends` is a time of the run, not a length".to_owned());
    }
    if let Some(value) = section.get("at")
        && at >= time
    {
        let message = format!("\"at\" is {at:?}, but the storm is over after {time:?}");
        section.complain(value.span(), message, format!("let it begin before \"{time:?}\""));
    }
    let during = section.during();
    let target = section.target(machines, usual.target);
    let order = members(&mut section, "order", machines, usual.order.clone());
    if let Some(value) = section.get("order") {
        // Whom a fault hits is looked for among them, and somebody must be found.
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted != usual.order && order.len() == value.get_ref().as_array().map_or(1, |list| list.len()) {
            section.complain(
                value.span(),
                "\"order\" does not name each member once".to_owned(),
                format!("it is the order in which members 1 to {machines} were drawn"),
            );
        }
    }
    let coin = section.boolean("coin", false);
    let options = options::read(&mut section, kind);
    let drift_ppm = signed_list(&mut section, "drift_ppm", vec![0; order.len()]);
    let wall_step_ms = signed_list(&mut section, "step_ms", vec![0; order.len()]);
    #[allow(clippy::cast_possible_truncation, reason = "the range is small")]
    let place_permille = section.integer("place_permille", 0..=999, 0) as u32;
    Some(PlannedFault {
        at,
        ends,
        during,
        target,
        order,
        coin,
        options,
        drift_ppm,
        wall_step_ms,
        place_permille,
        ..usual
    })
}

fn read_client(
    table: &DeTable<'_>,
    span: Range<usize>,
    machines: u64,
    time: Duration,
    workloads: &[WorkloadSpec],
    complaints: &mut Vec<Complaint>,
) -> Option<ClientPlan> {
    let keys = ["workload", "machine", "number", "steps"];
    let mut section = Section::new(table, span, "a client".to_owned(), &keys, complaints);
    for (key, example) in [("workload", "1"), ("machine", "1")] {
        if section.get(key).is_none() {
            section.missing(key, example);
        }
    }
    let place = section.integer("workload", 1..=workloads.len().max(1) as u64, 1);
    let spec = workloads.get(usize::try_from(place - 1).expect("a place in a list"))?.clone();
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let machine = section.integer("machine", 1..=10_000, 1) as u32;
    #[allow(clippy::cast_possible_truncation, reason = "the ranges are small")]
    let number = section.integer("number", 0..=10_000, 0) as u32;
    let mut steps = section.choices("steps", Vec::new(), |section, value| {
        let step = read_step(section, value, spec.kind, machines)?;
        if step.at >= time {
            let message = format!("the step is at {:?}, but the storm is over after {time:?}", step.at);
            section.complain(value.span(), message, format!("let it be before \"{time:?}\""));
        }
        Some(step)
    });
    steps.sort_by_key(|step| step.at);
    Some(ClientPlan { machine, number, spec, steps })
}

/// What steps of a workload look like, for hints.
fn example(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Kv => "1.5s m2 put k0",
        WorkloadKind::Watch => "1.5s m2 watch",
        WorkloadKind::Lease => "1.5s m2 lease keepalives 3",
        WorkloadKind::Hash => "1.5s m2 hash",
        WorkloadKind::Locks => "1.5s m2 lock 0 hold 500ms pause 2s waiting by-member fence-by-key",
        WorkloadKind::Elections => "1.5s m2 stand 0 hold 500ms pause 0s again",
        WorkloadKind::Space => "1.5s m2 free-space",
        WorkloadKind::Membership => "1.5s m2 change replace 0",
        WorkloadKind::Users => "1.5s m2 try write",
        WorkloadKind::V2 => "1.5s m2 v2 set k3 ttl",
        WorkloadKind::Reboots => "1.5s m2 reboot want boot 2s drain 300ms",
        WorkloadKind::Units => "1.5s m2 machine pause lasts 8s",
    }
}

fn read_step(
    section: &mut Section<'_, '_>,
    value: &Spanned<DeValue<'_>>,
    kind: WorkloadKind,
    machines: u64,
) -> Option<Step> {
    let hint = || format!("for example {:?}", example(kind));
    let Some(text) = value.get_ref().as_str() else {
        section.wrong_type(value, "steps", "a list of texts", &format!("[{:?}]", example(kind)));
        return None;
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [at, member, what @ ..] = &words[..] else {
        section.complain(value.span(), format!("the step {text:?} says too little"), hint());
        return None;
    };
    let at = match units::duration(at) {
        Ok(at) => at,
        Err((message, hint)) => {
            section.complain(value.span(), message, hint);
            return None;
        }
    };
    let number = member.strip_prefix('m').and_then(|number| number.parse::<u64>().ok());
    let Some(number) = number.filter(|number| (1..=machines).contains(number)) else {
        section.complain(
            value.span(),
            format!("the step {text:?} asks no member"),
            format!("its second word is one of m1 to m{machines}"),
        );
        return None;
    };
    match read_what(what) {
        Some(what) if fits(&what, kind) => Some(Step { at, member: MemberId(number), what }),
        Some(_) => {
            let message = format!("{:?} is no step of the workload \"{kind}\"", what.join(" "));
            section.complain(value.span(), message, hint());
            None
        }
        None => {
            let known = [
                "watch",
                "lease",
                "hash",
                "lock",
                "stand",
                "observe",
                "free-space",
                "change",
                "permit",
                "try",
                "v2",
                "v2-wait",
                "reboot",
                "reboot-lock",
                "machine",
                "unit",
            ];
            let names: Vec<&str> = OpKind::NAMES.iter().chain(&known).copied().collect();
            let first = what.first().copied().unwrap_or_default();
            let message = format!("{:?} is no step", what.join(" "));
            let hint = if names.contains(&first) { hint() } else { hint_for(first, &names) };
            section.complain(value.span(), message, hint);
            None
        }
    }
}

fn fits(what: &StepKind, kind: WorkloadKind) -> bool {
    let wanted = match what {
        StepKind::Kv { .. } => WorkloadKind::Kv,
        StepKind::Watch => WorkloadKind::Watch,
        StepKind::Lease { .. } => WorkloadKind::Lease,
        StepKind::Hash => WorkloadKind::Hash,
        StepKind::Lock(_) => WorkloadKind::Locks,
        StepKind::Stand(_) | StepKind::Observe { .. } => WorkloadKind::Elections,
        StepKind::FreeSpace => WorkloadKind::Space,
        StepKind::Change { .. } => WorkloadKind::Membership,
        StepKind::Permit { .. } | StepKind::Try { .. } => WorkloadKind::Users,
        StepKind::V2 { .. } | StepKind::V2Wait { .. } => WorkloadKind::V2,
        StepKind::Reboot(_) | StepKind::RebootOrder(_) => WorkloadKind::Reboots,
        StepKind::Machine(_) | StepKind::Unit { .. } => WorkloadKind::Units,
    };
    wanted == kind
}

/// The number of a key that is written as `k3`.
fn key_number(rest: &mut &[&str]) -> Option<u32> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    first.strip_prefix('k')?.parse().ok()
}

/// The words behind time and member; `None` where they make no sense.
fn read_what(words: &[&str]) -> Option<StepKind> {
    let (first, mut rest) = words.split_first()?;
    let word = |rest: &mut &[&str], wanted: &str| match rest.split_first() {
        Some((first, tail)) if *first == wanted => {
            *rest = tail;
            true
        }
        _ => false,
    };
    let number = |rest: &mut &[&str]| -> Option<u32> {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        first.parse().ok()
    };
    let time = |rest: &mut &[&str], name: &str| -> Option<Duration> {
        let [first, length, tail @ ..] = *rest else { return None };
        *rest = tail;
        (*first == name).then(|| units::duration(length).ok()).flatten()
    };
    let what = match *first {
        "watch" => StepKind::Watch,
        "hash" => StepKind::Hash,
        "free-space" => StepKind::FreeSpace,
        "lease" => {
            word(&mut rest, "keepalives").then_some(())?;
            StepKind::Lease { keepalives: number(&mut rest)? }
        }
        "lock" => StepKind::Lock(LockStep {
            lock: number(&mut rest)?,
            hold: time(&mut rest, "hold")?,
            pause: time(&mut rest, "pause")?,
            pause_waiting: word(&mut rest, "waiting"),
            by_member: word(&mut rest, "by-member"),
            fence_by_key: word(&mut rest, "fence-by-key"),
        }),
        "stand" => StepKind::Stand(StandStep {
            election: number(&mut rest)?,
            hold: time(&mut rest, "hold")?,
            pause: time(&mut rest, "pause")?,
            again: word(&mut rest, "again"),
        }),
        "observe" => StepKind::Observe { election: number(&mut rest)?, hold: time(&mut rest, "hold")? },
        "change" => {
            let (kind, tail) = rest.split_first()?;
            rest = tail;
            StepKind::Change { kind: ChangeKind::from_name(kind)?, pick: number(&mut rest)? }
        }
        "permit" => StepKind::Permit { user: number(&mut rest)? },
        "try" => {
            let write = word(&mut rest, "write");
            if !write {
                word(&mut rest, "read").then_some(())?;
            }
            StepKind::Try { write }
        }
        "v2" => {
            let (op, tail) = rest.split_first()?;
            rest = tail;
            let (op, key) = (V2Op::from_name(op)?, key_number(&mut rest)?);
            StepKind::V2 { op, key, lives: word(&mut rest, "ttl") }
        }
        "v2-wait" => {
            let key = if word(&mut rest, "all") { None } else { Some(key_number(&mut rest)?) };
            StepKind::V2Wait { key }
        }
        "reboot" => StepKind::Reboot(machines::read(std::mem::take(&mut rest))?),
        "reboot-lock" => StepKind::RebootOrder(machines::read_order(std::mem::take(&mut rest))?),
        "machine" => {
            let (fault, tail) = rest.split_first()?;
            rest = tail;
            let fault = MachineFault::from_name(fault)?;
            let lasts = time(&mut rest, "lasts")?;
            let mut drift_ppm = 0;
            if fault == MachineFault::Drift {
                word(&mut rest, "ppm").then_some(())?;
                let (ppm, tail) = rest.split_first()?;
                rest = tail;
                drift_ppm = ppm.parse().ok()?;
            }
            StepKind::Machine(MachineStep { fault, lasts, drift_ppm })
        }
        "unit" => {
            let (act, tail) = rest.split_first()?;
            rest = tail;
            StepKind::Unit { act: UnitAct::from_name(act)?, number: number(&mut rest)? }
        }
        name => {
            let op = OpKind::from_name(name)?;
            let key = match rest.split_first() {
                Some((key, tail)) if key.starts_with('k') => {
                    rest = tail;
                    key[1..].parse().ok()?
                }
                // What concerns all keys, or none, names none.
                _ if matches!(op, OpKind::Range | OpKind::Compact) => 0,
                _ => return None,
            };
            StepKind::Kv { op, key, serializable: word(&mut rest, "own") }
        }
    };
    rest.is_empty().then_some(what)
}

/// As [`read_what`] reads it.
pub(super) fn told(what: &StepKind) -> String {
    let flag = |is: bool, word: &str| if is { format!(" {word}") } else { String::new() };
    match what {
        StepKind::Kv { op, key, serializable } => {
            let all = matches!(op, OpKind::Range | OpKind::Compact) && *key == 0;
            let key = if all { String::new() } else { format!(" k{key}") };
            format!("{op}{key}{}", flag(*serializable, "own"))
        }
        StepKind::Watch => "watch".to_owned(),
        StepKind::Lease { keepalives } => format!("lease keepalives {keepalives}"),
        StepKind::Hash => "hash".to_owned(),
        StepKind::Lock(lock) => format!(
            "lock {} hold {:?} pause {:?}{}{}{}",
            lock.lock,
            lock.hold,
            lock.pause,
            flag(lock.pause_waiting, "waiting"),
            flag(lock.by_member, "by-member"),
            flag(lock.fence_by_key, "fence-by-key")
        ),
        StepKind::Stand(stand) => format!(
            "stand {} hold {:?} pause {:?}{}",
            stand.election,
            stand.hold,
            stand.pause,
            flag(stand.again, "again")
        ),
        StepKind::Observe { election, hold } => format!("observe {election} hold {hold:?}"),
        StepKind::FreeSpace => "free-space".to_owned(),
        StepKind::Change { kind, pick } => format!("change {kind} {pick}"),
        StepKind::Permit { user } => format!("permit {user}"),
        StepKind::Try { write } => format!("try {}", if *write { "write" } else { "read" }),
        StepKind::V2 { op, key, lives } => format!("v2 {op} k{key}{}", flag(*lives, "ttl")),
        StepKind::V2Wait { key: Some(key) } => format!("v2-wait k{key}"),
        StepKind::V2Wait { key: None } => "v2-wait all".to_owned(),
        StepKind::Reboot(step) => format!("reboot {}", machines::tell(step)),
        StepKind::RebootOrder(step) => format!("reboot-lock {}", machines::tell_order(step)),
        StepKind::Machine(MachineStep { fault, lasts, drift_ppm }) => {
            let ppm = if *fault == MachineFault::Drift { format!(" ppm {drift_ppm}") } else { String::new() };
            format!("machine {fault} lasts {lasts:?}{ppm}")
        }
        StepKind::Unit { act, number } => format!("unit {act} {number}"),
    }
}
