//! What a fault may be told besides when it comes and whom it hits: the same words for one that is drawn (`[[nemesis]]`) and
//! for one that a script tells (`[[fault]]`).

use super::parse::{Section, seconds};
use super::spec::{DamagePlace, Files, LinkDown, NemesisKind, Shape, When};
use super::units;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// Options of faults. Each kind looks at its own only; the others stay as they usually are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultOptions {
    /// Which links (partition).
    pub shape: Shape,
    /// Clients on the far side are cut off as well (partition): each client sees one part only.
    pub clients_split: bool,
    /// Up and down once in this time (flapping); time between two members (rolling-restart).
    pub period: Duration,
    /// What a link that is down does (flapping).
    pub how: LinkDown,
    /// Share of packets (loss).
    pub rate_ppm: u32,
    /// Added latency (latency) or time of a sync (slow-disk).
    pub delay: Duration,
    /// Up to so much more.
    pub jitter: Duration,
    /// Bytes per second (bandwidth).
    #[serde(default = "usual_limit")]
    pub limit: u64,
    /// Where (wal-damage).
    pub place: DamagePlace,
    /// Which files (sync-error, read-error, misdirected-write).
    #[serde(default)]
    pub files: Files,
    /// Of a disk, before the power goes (power-loss): of a drawn fault the most of them, else how many.
    #[serde(default)]
    pub after_ops: Option<u64>,
    /// How many turn (store-rot).
    #[serde(default = "usual_bits")]
    pub bits: u32,
    /// While the member is down, or runs (store-rot).
    #[serde(default)]
    pub when: When,
}

fn usual_limit() -> u64 {
    16 << 10
}

fn usual_bits() -> u32 {
    3
}

impl FaultOptions {
    /// Where nothing is said.
    pub(crate) fn usual(kind: NemesisKind) -> Self {
        Self {
            shape: Shape::MajorityMinority,
            clients_split: false,
            period: Duration::from_millis(600),
            how: LinkDown::Cut,
            rate_ppm: 100_000,
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(25),
            limit: usual_limit(),
            place: DamagePlace::Tail,
            files: if kind == NemesisKind::MisdirectedWrite { Files::Store } else { Files::Any },
            after_ops: None,
            bits: usual_bits(),
            when: When::Down,
        }
    }
}

/// Which of them a kind of fault takes, its target among them.
pub(super) fn keys_of(kind: NemesisKind) -> &'static [&'static str] {
    match kind {
        NemesisKind::Partition => &["shape", "target", "clients"],
        NemesisKind::Flapping => &["target", "period", "how"],
        NemesisKind::RollingRestart | NemesisKind::RollingUpgrade => &["target", "period"],
        NemesisKind::Kill
        | NemesisKind::Pause
        | NemesisKind::LyingSync
        | NemesisKind::ValueDamage
        | NemesisKind::FullDisk
        | NemesisKind::DiskStall => &["target"],
        NemesisKind::PowerLoss => &["target", "after_ops"],
        NemesisKind::LostMajority => &[],
        NemesisKind::SyncError | NemesisKind::ReadError | NemesisKind::MisdirectedWrite => {
            &["target", "files"]
        }
        NemesisKind::Loss => &["target", "rate"],
        NemesisKind::Latency | NemesisKind::SlowDisk => &["target", "delay", "jitter"],
        NemesisKind::Bandwidth => &["target", "limit"],
        NemesisKind::WalDamage => &["target", "place"],
        NemesisKind::StoreRot => &["target", "bits", "when"],
        NemesisKind::Clock => &["target", "drift", "step"],
    }
}

/// All that [`read`] reads.
pub(super) const KEYS: &[&str] = &[
    "shape",
    "clients",
    "period",
    "how",
    "rate",
    "delay",
    "jitter",
    "limit",
    "place",
    "files",
    "after_ops",
    "bits",
    "when",
];

/// Reads them out of the table of a fault.
pub(super) fn read(section: &mut Section<'_, '_>, kind: NemesisKind) -> FaultOptions {
    let usual = FaultOptions::usual(kind);
    let shape = section.name("shape", "shape of a partition", Shape::NAMES, usual.shape, Shape::from_name);
    let clients_split =
        section.name("clients", "place of the clients", &["everywhere", "split"], false, |text| match text {
            "everywhere" => Some(false),
            "split" => Some(true),
            _ => None,
        });
    let period = section.duration("period", Duration::from_millis(1)..=seconds(600), usual.period);
    let how = section.name("how", "way to be down", LinkDown::NAMES, usual.how, LinkDown::from_name);
    let rate_ppm = match section.get("rate") {
        Some(value) => section.unit("rate", value, "\"10%\"", units::share_ppm).unwrap_or(0),
        None => usual.rate_ppm,
    };
    let delay = section.duration("delay", Duration::ZERO..=seconds(60), usual.delay);
    let jitter = section.duration("jitter", Duration::ZERO..=seconds(60), delay / 2);
    let limit = section.get("limit").and_then(|value| {
        let limit = section.unit("limit", value, "\"16KiB/s\"", units::bytes_per_second)?;
        if !(1024..=1 << 30).contains(&limit) {
            section.complain(
                value.span(),
                format!("\"limit\" is {limit} bytes per second, out of range"),
                "it lies between \"1KiB/s\" and \"1GiB/s\"".to_owned(),
            );
        }
        Some(limit)
    });
    let place =
        section.name("place", "place of damage", DamagePlace::NAMES, usual.place, DamagePlace::from_name);
    let files = section.name("files", "kind of files", Files::NAMES, usual.files, Files::from_name);
    let after_ops =
        section.get("after_ops").and_then(|value| section.integer_value("after_ops", value, 0..=1_000_000));
    #[allow(clippy::cast_possible_truncation, reason = "the range is small")]
    let bits = section.integer("bits", 1..=10_000, u64::from(usual.bits)) as u32;
    let when = section.name("when", "state of a member", When::NAMES, usual.when, When::from_name);
    FaultOptions {
        shape,
        clients_split,
        period,
        how,
        rate_ppm,
        delay,
        jitter,
        limit: limit.unwrap_or(usual.limit),
        place,
        files,
        after_ops,
        bits,
        when,
    }
}

/// Writes those that are not as usual, as [`read`] reads them.
pub(super) fn print(out: &mut String, options: &FaultOptions, kind: NemesisKind) {
    let usual = FaultOptions::usual(kind);
    let FaultOptions { shape, period, how, rate_ppm, delay, jitter, limit, place, files, .. } = options;
    let time = |time: &Duration| format!("\"{time:?}\"");
    let name = |name: &str| format!("\"{name}\"");
    let after_ops = options.after_ops.map_or(String::new(), |count| count.to_string());
    for (key, value, is_usual) in [
        ("shape", name(shape.name()), *shape == usual.shape),
        ("clients", name("split"), !options.clients_split),
        ("period", time(period), *period == usual.period),
        ("how", name(how.name()), *how == usual.how),
        ("rate", format!("\"{rate_ppm}ppm\""), *rate_ppm == usual.rate_ppm),
        ("delay", time(delay), *delay == usual.delay),
        ("jitter", time(jitter), *jitter == *delay / 2),
        ("limit", format!("\"{limit}B/s\""), *limit == usual.limit),
        ("place", name(place.name()), *place == usual.place),
        ("files", name(files.name()), *files == usual.files),
        ("after_ops", after_ops, options.after_ops.is_none()),
        ("bits", options.bits.to_string(), options.bits == usual.bits),
        ("when", name(options.when.name()), options.when == usual.when),
    ] {
        if !is_usual {
            let _ = writeln!(out, "{key} = {value}");
        }
    }
}
