//! From text to a [`Scenario`], strictly: a name that is not known is an error, never ignored.

use super::options;
use super::script::{read_script, usual_target};
use super::source::{Complaint, FormatError, hint_for};
use super::spec::{
    DamagePlace, DamageSpec, During, Expect, Files, GoalKind, KnobChoices, NemesisKind, NemesisSpec,
    Scenario, TIMES_WITHOUT_LIMIT, Target, VerdictKind, WorkloadKind, WorkloadSpec,
};
use super::units::{self, UnitError};
use super::workloads::read_workload;
use crate::oracles;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const TOP_KEYS: &[&str] = &[
    "title",
    "why",
    "members",
    "time",
    "swarm",
    "priorities",
    "buggify",
    "knobs",
    "workload",
    "nemesis",
    "expect",
    "goal",
    "script",
    "client",
    "fault",
    "damage",
];
const KNOB_KEYS: &[&str] = &[
    "election_timeout",
    "heartbeat",
    "segment",
    "snapshot_entries",
    "keep_entries",
    "append",
    "inflight",
    "chunk",
    "net_latency",
    "sync_latency",
    "watch_window",
    "watch_progress",
    "uncommitted",
    "joint",
    "still",
    "lease_checkpoint",
    "corrupt_check",
    "initial_check",
    "quota",
    "request_timeout",
];
const NEMESIS_COMMON: &[&str] = &["name", "start", "every", "lasts", "times", "always", "during"];
const EXPECT_KEYS: &[&str] = &["oracles", "heals_within", "serves_within", "verdict", "oracle"];

/// Reads a scenario file. `file` is only shown in errors, and its stem names the scenario.
///
/// # Errors
/// The first thing wrong in it, in the order of the text.
pub fn parse(file: &str, source: &str) -> Result<Scenario, FormatError> {
    let root = DeTable::parse(source).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        Complaint {
            hint: syntax_hint(source, &span),
            message: error.message().to_owned(),
            span,
            is_missing: false,
        }
        .locate(file, source)
    })?;
    let stem = file.rsplit('/').next().unwrap_or(file);
    let name = stem.strip_suffix(".toml").unwrap_or(stem).to_owned();
    let mut complaints = Vec::new();
    let scenario = read_scenario(&name, &root, &mut complaints);
    // What is missing is often there under a wrong name, so the wrong name is told first.
    match complaints.into_iter().min_by_key(|complaint| (complaint.is_missing, complaint.span.start)) {
        Some(first) => Err(first.locate(file, source)),
        None => Ok(scenario),
    }
}

fn syntax_hint(source: &str, span: &Range<usize>) -> String {
    let start = source[..span.start.min(source.len())].rfind('\n').map_or(0, |at| at + 1);
    let line = source[start..].lines().next().unwrap_or_default();
    let value = line.split_once('=').map_or("", |(_, value)| value.trim());
    if value.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        format!("values with a unit stand in quotes: {value:?}")
    } else {
        "the file is TOML: `key = value` lines below `[table]` or `[[list]]` headings".to_owned()
    }
}

/// One table of the file, with everything known about what may stand in it.
pub(super) struct Section<'a, 'i> {
    table: &'a DeTable<'i>,
    span: Range<usize>,
    /// For messages: "the nemesis \"kill\"".
    what: String,
    pub(super) complaints: &'a mut Vec<Complaint>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn new(
        table: &'a DeTable<'i>,
        span: Range<usize>,
        what: String,
        keys: &[&str],
        complaints: &'a mut Vec<Complaint>,
    ) -> Self {
        for key in table.keys() {
            if !keys.contains(&key.get_ref().as_ref()) {
                complaints.push(Complaint {
                    span: key.span(),
                    message: format!("{what} has no key {:?}", key.get_ref()),
                    hint: hint_for(key.get_ref(), keys),
                    is_missing: false,
                });
            }
        }
        Self { table, span, what, complaints }
    }

    pub(super) fn complain(&mut self, span: Range<usize>, message: String, hint: String) {
        self.complaints.push(Complaint { span, message, hint, is_missing: false });
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        let table: &'a DeTable<'i> = self.table;
        table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn missing(&mut self, key: &str, example: &str) {
        let span = self.span.clone();
        let message = format!("{} lacks {key:?}", self.what);
        let hint = format!("add a line such as `{key} = {example}`");
        self.complaints.push(Complaint { span, message, hint, is_missing: true });
    }

    pub(super) fn wrong_type(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        key: &str,
        wanted: &str,
        example: &str,
    ) {
        let message = format!("{key:?} is {wanted}, not {}", an(value.get_ref().type_str()));
        self.complain(value.span(), message, format!("write it as `{key} = {example}`"));
    }

    pub(super) fn string(&mut self, key: &str, example: &str) -> Option<(String, Range<usize>)> {
        let value = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), value.span())),
            None => {
                self.wrong_type(value, key, "a text", example);
                None
            }
        }
    }

    pub(super) fn required_text(&mut self, key: &str, example: &str) -> String {
        if self.get(key).is_none() {
            self.missing(key, example);
            return String::new();
        }
        let (text, span) = self.string(key, example).unwrap_or_default();
        if text.trim().is_empty() && span != (0..0) {
            self.complain(span, format!("{key:?} is empty"), format!("write it as `{key} = {example}`"));
        }
        text
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        match value.get_ref().as_bool() {
            Some(answer) => answer,
            None => {
                self.wrong_type(value, key, "true or false", "true");
                default
            }
        }
    }

    pub(super) fn integer(&mut self, key: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.get(key) else { return default };
        self.integer_value(key, value, range).unwrap_or(default)
    }

    pub(super) fn integer_value(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(value, key, "a whole number", &range.start().to_string());
            return None;
        };
        // Beyond any range where it is beyond any number.
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.complain(
                    value.span(),
                    format!("{key:?} is {number}, out of range"),
                    format!("it lies between {} and {}", range.start(), range.end()),
                );
                None
            }
        }
    }

    /// A value with a unit: the text is handed to `read`.
    pub(super) fn unit<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        example: &str,
        read: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Option<T> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            // A bare number is read as a text without unit, for the better message.
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            _ => {
                self.wrong_type(value, key, "a value with a unit", example);
                return None;
            }
        };
        match read(&text) {
            Ok(answer) => Some(answer),
            Err((message, hint)) => {
                self.complain(value.span(), message, hint);
                None
            }
        }
    }

    pub(super) fn duration_in(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: &std::ops::RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let duration = self.unit(key, value, "\"5s\"", units::duration)?;
        if !range.contains(&duration) {
            self.complain(
                value.span(),
                format!("{key:?} is {duration:?}, out of range"),
                format!("it lies between \"{:?}\" and \"{:?}\"", range.start(), range.end()),
            );
            return None;
        }
        Some(duration)
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(value) = self.get(key) else { return default };
        self.duration_in(key, value, &range).unwrap_or(default)
    }

    /// One value or a list of them.
    pub(super) fn choices<T>(
        &mut self,
        key: &str,
        default: Vec<T>,
        mut read: impl FnMut(&mut Self, &Spanned<DeValue<'_>>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else { return default };
        let Some(list) = value.get_ref().as_array() else {
            return read(self, value).map_or(default, |one| vec![one]);
        };
        if list.is_empty() {
            self.complain(
                value.span(),
                format!("{key:?} is an empty list"),
                "each seed draws one of the list; leave the line out for the usual choices".to_owned(),
            );
        }
        list.iter().filter_map(|item| read(self, item)).collect()
    }

    pub(super) fn name<T: Copy>(
        &mut self,
        key: &str,
        what: &str,
        names: &[&str],
        default: T,
        from_name: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some((text, span)) = self.string(key, &format!("{:?}", names[0])) else { return default };
        from_name(&text).unwrap_or_else(|| {
            self.complain(span, format!("there is no {what} called {text:?}"), hint_for(&text, names));
            default
        })
    }

    pub(super) fn during(&mut self) -> Option<During> {
        self.name("during", "state of a cluster", During::NAMES, None, |text| {
            During::from_name(text).map(Some)
        })
    }

    pub(super) fn target(&mut self, members: u64, default: Target) -> Target {
        let Some((text, span)) = self.string("target", "\"leader\"") else { return default };
        let number = text.strip_prefix("member ").and_then(|number| number.trim().parse::<u64>().ok());
        match (text.as_str(), number) {
            ("leader", _) => Target::Leader,
            ("follower", _) => Target::Follower,
            ("random", _) => Target::Random,
            ("all", _) => Target::All,
            ("majority", _) => Target::Majority,
            ("minority", _) => Target::Minority,
            ("involved", _) if self.get("during").is_some() => Target::Involved,
            ("involved", _) => {
                self.complain(
                    span,
                    "nobody is involved in a fault that waits for nothing".to_owned(),
                    "add a line such as `during = \"snapshot\"`, or take another target".to_owned(),
                );
                default
            }
            (_, Some(number)) if (1..=members).contains(&number) => Target::Member(number),
            (_, Some(number)) => {
                self.complain(
                    span,
                    format!("there is no member {number}"),
                    format!("this scenario has members 1 to {members}"),
                );
                default
            }
            _ => {
                self.complain(
                    span,
                    format!("there is no target called {text:?}"),
                    hint_for(&text, Target::NAMES),
                );
                default
            }
        }
    }
}

fn an(kind: &str) -> String {
    match kind.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u') => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn read_scenario(name: &str, root: &Spanned<DeTable<'_>>, complaints: &mut Vec<Complaint>) -> Scenario {
    let table = root.get_ref();
    let mut top = Section::new(table, 0..0, "a scenario".to_owned(), TOP_KEYS, complaints);
    let title = top.required_text("title", "\"leader cut off\"");
    let why = top.required_text("why", "\"what this may break, in a sentence\"");
    let members = top.integer("members", 1..=9, 3);
    let time = top.duration("time", seconds(1)..=seconds(3600), seconds(30));
    if top.get("time").is_none() {
        top.missing("time", "\"30s\"");
    }
    let swarm = top.boolean("swarm", true);
    let priorities = top.boolean("priorities", true);
    let buggify = top.boolean("buggify", true);

    let knobs = match subtable(&mut top, "knobs") {
        Some((table, span)) => read_knobs(table, span, top.complaints),
        None => KnobChoices::default(),
    };
    let workloads: Vec<WorkloadSpec> = subtables(&mut top, "workload")
        .into_iter()
        .filter_map(|(table, span)| read_workload(table, span, top.complaints))
        .collect();
    if top.get("workload").is_none() {
        top.missing("workload", "… (as a heading: [[workload]] with name = \"kv\")");
    }
    let nemeses: Vec<NemesisSpec> = subtables(&mut top, "nemesis")
        .into_iter()
        .filter_map(|(table, span)| read_nemesis(table, span, members, time, top.complaints))
        .collect();
    let changes = workloads.iter().any(|workload| workload.kind == WorkloadKind::Membership);
    if nemeses.iter().any(|nemesis| nemesis.kind == NemesisKind::LostMajority) && !changes {
        top.complain(
            top.get("nemesis").map_or(0..0, Spanned::span),
            "\"lost-majority\" leaves a cluster of one, and nobody asks for new members".to_owned(),
            "add a workload with name = \"membership\"".to_owned(),
        );
    }
    let compares =
        knobs.initial_check.contains(&true) || knobs.corrupt_check.iter().any(|every| !every.is_zero());
    if nemeses.iter().any(|nemesis| nemesis.kind == NemesisKind::ValueDamage) && !compares {
        top.complain(
            top.get("nemesis").map_or(0..0, Spanned::span),
            "\"value-damage\" is found by members that compare, and these never do".to_owned(),
            "give [knobs] a `corrupt_check`, or `initial_check = true`".to_owned(),
        );
    }
    let damage = match subtable(&mut top, "damage") {
        Some((table, span)) => {
            let mut section =
                Section::new(table, span, "[damage]".to_owned(), &["beyond_quorum"], top.complaints);
            DamageSpec { beyond_quorum: section.boolean("beyond_quorum", false) }
        }
        None => DamageSpec::default(),
    };
    let damages = |nemesis: &&NemesisSpec| match nemesis.kind {
        NemesisKind::WalDamage => nemesis.options.place == DamagePlace::Middle,
        NemesisKind::ReadError => nemesis.options.files != Files::Store,
        NemesisKind::StoreRot | NemesisKind::MisdirectedWrite | NemesisKind::ValueDamage => true,
        _ => false,
    };
    if let Some(nemesis) = nemeses.iter().find(damages).filter(|_| changes && !damage.beyond_quorum) {
        top.complain(
            top.get("nemesis").map_or(0..0, Spanned::span),
            format!(
                "\"{}\" takes copies from members that come and go: nobody can say how many of them are enough",
                nemesis.kind
            ),
            "drop the workload \"membership\", or say `beyond_quorum = true` below [damage]".to_owned(),
        );
    }
    let loses_writes = |nemesis: &NemesisSpec| {
        nemesis.kind == NemesisKind::MisdirectedWrite && nemesis.options.files != Files::Store
    };
    if nemeses.iter().any(loses_writes) && !damage.beyond_quorum {
        top.complain(
            top.get("nemesis").map_or(0..0, Spanned::span),
            "the end of a log that lies elsewhere looks like a log that ends there, and no member can know better"
                .to_owned(),
            "take `files = \"store\"`, or say `beyond_quorum = true` below [damage]".to_owned(),
        );
    }
    let expect = match subtable(&mut top, "expect") {
        Some((table, span)) => read_expect(table, span, top.complaints),
        None => Expect {
            oracles: oracles::defaults(),
            heals_within: seconds(20),
            serves_within: None,
            verdict: VerdictKind::Pass,
            oracle: None,
        },
    };
    let goals = subtables(&mut top, "goal")
        .into_iter()
        .filter_map(|(table, span)| {
            let mut goal = Section::new(table, span, "a goal".to_owned(), &["name"], top.complaints);
            if goal.get("name").is_none() {
                goal.missing("name", "\"leader-changed\"");
                return None;
            }
            goal.name("name", "goal", GoalKind::NAMES, None, |text| GoalKind::from_name(text).map(Some))
        })
        .collect();
    let mut scenario = Scenario {
        name: name.to_owned(),
        title,
        why,
        members,
        time,
        swarm,
        priorities,
        buggify,
        knobs,
        workloads,
        nemeses,
        expect,
        goals,
        damage,
        script: None,
    };
    let script = subtable(&mut top, "script");
    scenario.script = read_script(&mut top, script, scenario.machines(), time, &scenario.workloads);
    scenario
}

fn subtable<'a, 'i>(top: &mut Section<'a, 'i>, key: &str) -> Option<(&'a DeTable<'i>, Range<usize>)> {
    let value = top.get(key)?;
    match value.get_ref().as_table() {
        Some(table) => Some((table, value.span())),
        None => {
            top.complain(value.span(), format!("{key:?} is a table"), format!("write it below `[{key}]`"));
            None
        }
    }
}

pub(super) fn subtables<'a, 'i>(
    top: &mut Section<'a, 'i>,
    key: &str,
) -> Vec<(&'a DeTable<'i>, Range<usize>)> {
    let Some(value) = top.get(key) else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        top.complain(
            value.span(),
            format!("{key:?} is a list of tables"),
            format!("write `[[{key}]]`, with two brackets, above each one"),
        );
        return Vec::new();
    };
    let mut tables = Vec::new();
    for item in list {
        match item.get_ref().as_table() {
            Some(table) => tables.push((table, item.span())),
            None => top.complain(
                item.span(),
                format!("a {key} is a table"),
                format!("write it below `[[{key}]]`"),
            ),
        }
    }
    tables
}

fn read_knobs(table: &DeTable<'_>, span: Range<usize>, complaints: &mut Vec<Complaint>) -> KnobChoices {
    let usual = KnobChoices::default();
    let mut knobs = Section::new(table, span, "[knobs]".to_owned(), KNOB_KEYS, complaints);
    let long = Duration::from_millis(1)..=seconds(60);
    let short = Duration::ZERO..=seconds(5);
    let size = 1..=(1_u64 << 30);
    let mut durations = |key: &str, usual: Vec<Duration>, range: &std::ops::RangeInclusive<Duration>| {
        knobs.choices(key, usual, |knobs, value| knobs.duration_in(key, value, range))
    };
    let election_timeout = durations("election_timeout", usual.election_timeout, &long);
    let heartbeat = durations("heartbeat", usual.heartbeat, &long);
    let net_latency = durations("net_latency", usual.net_latency, &short);
    let sync_latency = durations("sync_latency", usual.sync_latency, &short);
    let watch_progress =
        durations("watch_progress", usual.watch_progress, &(Duration::from_millis(10)..=seconds(3600)));
    let lease_checkpoint =
        durations("lease_checkpoint", usual.lease_checkpoint, &(Duration::ZERO..=seconds(3600)));
    let request_timeout =
        durations("request_timeout", usual.request_timeout, &(Duration::from_millis(100)..=seconds(60)));
    let corrupt_check = durations("corrupt_check", usual.corrupt_check, &(Duration::ZERO..=seconds(3600)));
    let mut sizes = |key: &str, usual: Vec<u64>| {
        knobs.choices(key, usual, |knobs, value| {
            let bytes = knobs.unit(key, value, "\"16KiB\"", units::bytes)?;
            if size.contains(&bytes) {
                return Some(bytes);
            }
            knobs.complain(
                value.span(),
                format!("{key:?} is {bytes} bytes, out of range"),
                "it lies between \"1B\" and \"1GiB\"".to_owned(),
            );
            None
        })
    };
    let segment_bytes = sizes("segment", usual.segment_bytes);
    let append_bytes = sizes("append", usual.append_bytes);
    let chunk_bytes = sizes("chunk", usual.chunk_bytes);
    let quota_bytes = sizes("quota", usual.quota_bytes);
    let uncommitted_bytes = sizes("uncommitted", usual.uncommitted_bytes);
    let mut counts = |key: &str, usual: Vec<u64>| {
        knobs.choices(key, usual, |knobs, value| knobs.integer_value(key, value, 1..=1_000_000))
    };
    let snapshot_entries = counts("snapshot_entries", usual.snapshot_entries);
    let keep_entries = counts("keep_entries", usual.keep_entries);
    let inflight = counts("inflight", usual.inflight);
    let watch_window = counts("watch_window", usual.watch_window);
    let mut switches = |key: &str, usual: Vec<bool>| {
        knobs.choices(key, usual, |knobs, value| {
            let is_on = value.get_ref().as_bool();
            if is_on.is_none() {
                knobs.wrong_type(value, key, "true or false", "[true, false]");
            }
            is_on
        })
    };
    let joint = switches("joint", usual.joint);
    let still = switches("still", usual.still);
    let initial_check = switches("initial_check", usual.initial_check);
    if let (Some(slowest), Some(shortest)) = (heartbeat.iter().max(), election_timeout.iter().min())
        && *slowest * 2 > *shortest
    {
        let span = knobs.get("heartbeat").or_else(|| knobs.get("election_timeout")).map(Spanned::span);
        let span = span.unwrap_or_else(|| knobs.span.clone());
        knobs.complain(
            span,
            format!("a heartbeat of {slowest:?} is too slow for an election timeout of {shortest:?}"),
            "an election timeout is at least two heartbeats".to_owned(),
        );
    }
    KnobChoices {
        election_timeout,
        heartbeat,
        segment_bytes,
        snapshot_entries,
        keep_entries,
        append_bytes,
        inflight,
        chunk_bytes,
        net_latency,
        sync_latency,
        watch_window,
        watch_progress,
        uncommitted_bytes,
        joint,
        still,
        lease_checkpoint,
        corrupt_check,
        initial_check,
        quota_bytes,
        request_timeout,
    }
}

/// The `name` of a workload or nemesis, which decides what else may stand in its table.
pub(super) fn read_kind<T: Copy>(
    table: &DeTable<'_>,
    span: &Range<usize>,
    what: &str,
    names: &[&str],
    complaints: &mut Vec<Complaint>,
    from_name: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    // Other keys are judged later, when it is known whose they are.
    let all: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
    let mut section = Section::new(table, span.clone(), format!("a {what}"), &all, complaints);
    if section.get("name").is_none() {
        section.missing("name", &format!("{:?}", names[0]));
        return None;
    }
    section.name("name", what, names, None, |text| from_name(text).map(Some))
}

fn read_nemesis(
    table: &DeTable<'_>,
    span: Range<usize>,
    members: u64,
    time: Duration,
    complaints: &mut Vec<Complaint>,
) -> Option<NemesisSpec> {
    let kind = read_kind(table, &span, "nemesis", NemesisKind::NAMES, complaints, NemesisKind::from_name)?;
    let mut keys = NEMESIS_COMMON.to_vec();
    keys.extend(options::keys_of(kind));
    let mut section = Section::new(table, span, format!("the nemesis \"{kind}\""), &keys, complaints);
    let ms = Duration::from_millis;
    let start = section.duration("start", Duration::ZERO..=seconds(3600), seconds(3));
    let every = section.duration("every", ms(50)..=seconds(3600), seconds(8));
    let lasts = section.duration("lasts", ms(1)..=seconds(3600), seconds(3).min(every / 2));
    if let Some(value) = section.get("start")
        && start >= time
    {
        section.complain(
            value.span(),
            format!("\"start\" is {start:?}, but the storm is over after {time:?}"),
            format!("let it start before \"{time:?}\""),
        );
    }
    #[allow(clippy::cast_possible_truncation, reason = "the range is small")]
    let times =
        section.integer("times", 1..=u64::from(TIMES_WITHOUT_LIMIT), u64::from(TIMES_WITHOUT_LIMIT)) as u32;
    if times > 1
        && lasts > every
        && let Some(value) = section.get("lasts").or_else(|| section.get("every"))
    {
        section.complain(
            value.span(),
            format!("the nemesis lasts {lasts:?} but begins anew every {every:?}"),
            "let it last less than `every`, or say `times = 1`".to_owned(),
        );
    }
    if kind == NemesisKind::LostMajority && times > 1 {
        let span = section.get("times").or_else(|| section.get("name")).map_or(0..0, Spanned::span);
        section.complain(
            span,
            "a majority is lost for good, and cannot be lost again".to_owned(),
            "say `times = 1`".to_owned(),
        );
    }
    let always = section.boolean("always", false);
    let during = section.during();
    let target = section.target(members, usual_target(kind));
    let has_one_way = section.get("shape").and_then(|shape| shape.get_ref().as_str()) == Some("one-way");
    if kind == NemesisKind::Partition
        && !has_one_way
        && let Some(value) = section.get("target")
    {
        section.complain(
            value.span(),
            "only the shape \"one-way\" asks for a target".to_owned(),
            "the other shapes say by their name whom they hit; drop the line".to_owned(),
        );
    }
    let options = options::read(&mut section, kind);
    if kind == NemesisKind::Partition && members < 2 {
        let span = section.get("name").map_or(0..0, Spanned::span);
        section.complain(
            span,
            "a single member cannot be partitioned".to_owned(),
            "give the scenario `members = 3` or more".to_owned(),
        );
    }
    let drift_ppm = match section.get("drift") {
        Some(value) => section.unit("drift", value, "\"500ppm\"", units::drift_ppm).unwrap_or(0).abs(),
        None => 500,
    };
    let step = section.duration("step", Duration::ZERO..=seconds(86_400), seconds(2));
    Some(NemesisSpec { kind, start, every, lasts, times, always, during, target, options, drift_ppm, step })
}

fn read_expect(table: &DeTable<'_>, span: Range<usize>, complaints: &mut Vec<Complaint>) -> Expect {
    let mut section = Section::new(table, span, "[expect]".to_owned(), EXPECT_KEYS, complaints);
    let oracle_name = |section: &mut Section<'_, '_>, key: &str, value: &Spanned<DeValue<'_>>| {
        let Some(text) = value.get_ref().as_str() else {
            section.wrong_type(value, key, "the name of an oracle", "\"linearizable\"");
            return None;
        };
        if !oracles::NAMES.contains(&text) {
            let message = format!("there is no oracle called {text:?}");
            section.complain(value.span(), message, hint_for(text, oracles::NAMES));
            return None;
        }
        Some(text.to_owned())
    };
    let oracles = section
        .choices("oracles", oracles::defaults(), |section, value| oracle_name(section, "oracles", value));
    let heals_within = section.duration("heals_within", seconds(1)..=seconds(600), seconds(20));
    let verdict =
        section.name("verdict", "expected verdict", &["pass", "violation"], VerdictKind::Pass, |text| {
            match text {
                "pass" => Some(VerdictKind::Pass),
                "violation" => Some(VerdictKind::Violation),
                _ => None,
            }
        });
    let oracle = section.get("oracle").and_then(|value| oracle_name(&mut section, "oracle", value));
    if let Some(value) = section.get("oracle")
        && verdict == VerdictKind::Pass
    {
        section.complain(
            value.span(),
            "\"oracle\" says who must find the violation, but none is expected".to_owned(),
            "add `verdict = \"violation\"`, or drop the line".to_owned(),
        );
    }
    let serves_within = section.get("serves_within").and_then(|value| {
        section.duration_in("serves_within", value, &(Duration::from_millis(100)..=seconds(600)))
    });
    Expect { oracles, heals_within, serves_within, verdict, oracle }
}
