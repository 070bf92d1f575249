//! What happened, as a rolling hash and, where wanted, as a list: two runs of one seed must agree on both.
//!
//! The hash is our own and not the standard library's, whose keys differ from thread to thread.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd1b5_4a32_d192_ed03;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A fast hash of bytes, the same on every machine. Not for adversaries.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut state = fold(bytes.len() as u64 ^ K0, K1);
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        let (low, high) = chunk.split_at(8);
        state = fold(state ^ word(low), word(high) ^ K1);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut padded = [0; 16];
        padded[..rest.len()].copy_from_slice(rest);
        let (low, high) = padded.split_at(8);
        state = fold(state ^ word(low), word(high) ^ K1);
    }
    fold(state ^ K0, K1)
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The kind of a traced event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum What {
    /// Bytes that arrived: from, to, how many.
    Packet,
    /// A file was opened.
    Open,
    /// Bytes written: where, how many.
    Write,
    /// A file was cut or grown.
    SetLen,
    /// A file was made durable.
    Sync,
    /// A name given, taken or made durable.
    Name,
    /// Something about connections, nodes or faults; the text tells.
    Event,
    /// A mark of the application's.
    Mark,
}

/// One event of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// True time, in nanoseconds.
    pub at: u64,
    /// Its kind.
    pub what: What,
    /// The node, or where it came from.
    pub from: u32,
    /// The node it went to; the same where only one is concerned.
    pub to: u32,
    /// The number of a label: a path or a text.
    label: u32,
    /// An offset or length.
    pub place: u64,
    /// How many bytes.
    pub size: u64,
    /// The hash of the bytes.
    pub content: u64,
    /// The rolling hash after this event.
    pub rolling: u64,
}

/// The rolling hash and the latest events.
#[derive(Debug)]
pub(crate) struct Trace {
    rolling: u64,
    count: u64,
    kept: VecDeque<TraceEvent>,
    keep_max: usize,
    labels: Vec<String>,
    numbers: BTreeMap<String, u32>,
    /// Texts of events, of which there are only as many as are recorded; apart from the labels, whose numbers
    /// must not depend on whether a recording is made.
    texts: VecDeque<String>,
}

/// The label of an event whose text lies among the texts.
const TEXT: u32 = u32::MAX;

/// A label that stands for nothing.
pub(crate) const NO_LABEL: u32 = 0;

impl Trace {
    pub(crate) fn new(seed: u64, keep_max: usize) -> Self {
        Self {
            rolling: fold(seed ^ K0, K1),
            count: 0,
            kept: VecDeque::new(),
            keep_max,
            labels: vec![String::new()],
            numbers: BTreeMap::new(),
            texts: VecDeque::new(),
        }
    }

    /// The number of a text that recurs, such as a path.
    pub(crate) fn label(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.labels.len() as u32;
        self.labels.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        self.rolling = fold(self.rolling ^ hash(text.as_bytes()), K1);
        number
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of an event, in their order")]
    pub(crate) fn push(
        &mut self,
        at: u64,
        what: What,
        (from, to): (u32, u32),
        label: u32,
        place: u64,
        size: u64,
        content: u64,
    ) {
        let nodes = u64::from(from) << 32 | u64::from(to);
        let kind = u64::from(what as u8) << 32 | u64::from(label);
        let mut rolling = fold(self.rolling ^ at, kind ^ K0);
        rolling = fold(rolling ^ nodes, place ^ K1);
        self.rolling = fold(rolling ^ size, content ^ K0) ^ rolling.rotate_left(17);
        self.count += 1;
        if self.keep_max > 0 {
            if self.kept.len() == self.keep_max {
                let oldest = self.kept.pop_front();
                if oldest.is_some_and(|event| event.label == TEXT) {
                    self.texts.pop_front();
                }
            }
            let rolling = self.rolling;
            self.kept.push_back(TraceEvent { at, what, from, to, label, place, size, content, rolling });
        }
    }

    /// An event told by a text that hardly recurs.
    pub(crate) fn text(&mut self, at: u64, what: What, node: u32, text: &str) {
        self.push(at, what, (node, node), TEXT, 0, text.len() as u64, hash(text.as_bytes()));
        if self.keep_max > 0 {
            self.texts.push_back(text.to_owned());
        }
    }

    pub(crate) fn rolling(&self) -> u64 {
        self.rolling
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn recording(&mut self, nodes: Vec<String>) -> Recording {
        let mut labels = std::mem::take(&mut self.labels);
        let mut events: Vec<TraceEvent> = std::mem::take(&mut self.kept).into();
        let texts = std::mem::take(&mut self.texts);
        for (event, text) in events.iter_mut().filter(|event| event.label == TEXT).zip(texts) {
            event.label = labels.len() as u32;
            labels.push(text);
        }
        Recording { first: self.count - events.len() as u64, events, labels, nodes }
    }
}

/// The latest events of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// How many events came before those kept.
    pub first: u64,
    /// The events, oldest first.
    pub events: Vec<TraceEvent>,
    labels: Vec<String>,
    nodes: Vec<String>,
}

impl Recording {
    /// One event in a line, without its number.
    #[must_use]
    pub fn line(&self, event: &TraceEvent) -> String {
        let unknown = String::new();
        let node = |number: u32| self.nodes.get(number as usize).unwrap_or(&unknown);
        let label = self.labels.get(event.label as usize).unwrap_or(&unknown);
        let at = Duration::from_nanos(event.at);
        let (size, content) = (event.size, event.content);
        match event.what {
            What::Packet => {
                format!("{at:?} {} -> {} {size} bytes #{content:016x}", node(event.from), node(event.to))
            }
            What::Write => format!(
                "{at:?} {} wrote {label} at {}, {size} bytes #{content:016x}",
                node(event.from),
                event.place
            ),
            What::Open => format!("{at:?} {} opened {label}", node(event.from)),
            What::SetLen => format!("{at:?} {} sized {label} to {size}", node(event.from)),
            What::Sync => format!("{at:?} {} synced {label}", node(event.from)),
            What::Name => format!("{at:?} {} named {label}", node(event.from)),
            What::Event | What::Mark => format!("{at:?} {label}"),
        }
    }
}

/// The first point at which two runs of one seed went apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The seed.
    pub seed: u64,
    /// How many events both runs had in common.
    pub common: u64,
    /// What the first run did then; `None` where it had ended.
    pub first: Option<String>,
    /// What the second did.
    pub second: Option<String>,
    /// The last events in common, oldest first.
    pub context: Vec<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} is not deterministic: two runs agree on {} events", self.seed, self.common)?;
        for line in &self.context {
            writeln!(f, "    {line}")?;
        }
        let ended = "(ended)".to_owned();
        writeln!(f, "  1 {}", self.first.as_ref().unwrap_or(&ended))?;
        write!(f, "  2 {}", self.second.as_ref().unwrap_or(&ended))
    }
}

impl std::error::Error for Divergence {}

/// Compares two whole recordings.
pub(crate) fn divergence(seed: u64, first: &Recording, second: &Recording) -> Option<Divergence> {
    let same = first.events.iter().zip(&second.events).take_while(|(a, b)| a.rolling == b.rolling).count();
    if same == first.events.len() && same == second.events.len() {
        return None;
    }
    let line = |of: &Recording, index: usize| of.events.get(index).map(|event| of.line(event));
    Some(Divergence {
        seed,
        common: first.first + same as u64,
        first: line(first, same),
        second: line(second, same),
        context: (same.saturating_sub(8)..same).filter_map(|index| line(first, index)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sees_every_byte_and_the_length() {
        let bytes = [0u8; 40];
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..=40 {
            assert!(seen.insert(hash(&bytes[..len])), "length {len}");
        }
        for index in 0..40 {
            let mut changed = bytes;
            changed[index] = 1;
            assert!(seen.insert(hash(&changed)), "byte {index}");
        }
    }

    #[test]
    fn the_rolling_hash_does_not_depend_on_the_recording() {
        let run = |keep| {
            let mut trace = Trace::new(1, keep);
            let path = trace.label("wal/1");
            trace.push(5, What::Write, (1, 1), path, 0, 10, 77);
            trace.text(6, What::Mark, 1, "leader elected");
            let other = trace.label("wal/2");
            trace.push(6, What::Write, (1, 1), other, 0, 10, 78);
            trace.push(7, What::Sync, (1, 1), path, 0, 0, 0);
            trace.rolling()
        };
        assert_eq!(run(0), run(1000));
        assert_eq!(run(1), run(1000));
    }

    #[test]
    fn texts_stay_with_their_events_when_old_ones_are_forgotten() {
        let mut trace = Trace::new(1, 2);
        for text in ["one", "two", "three"] {
            trace.text(1, What::Mark, 0, text);
            trace.push(2, What::Sync, (0, 0), NO_LABEL, 0, 0, 0);
        }
        let recording = trace.recording(vec![]);
        assert_eq!((recording.first, recording.line(&recording.events[0]).as_str()), (4, "1ns three"));
    }

    #[test]
    fn the_first_difference_is_found_with_its_context() {
        let run = |odd: u64| {
            let mut trace = Trace::new(1, usize::MAX);
            for at in 0..20 {
                trace.push(at, What::Packet, (0, 1), NO_LABEL, 0, 10, if at == 12 { odd } else { 0 });
            }
            trace.recording(vec!["a".into(), "b".into()])
        };
        assert_eq!(divergence(1, &run(0), &run(0)), None);
        let found = divergence(1, &run(0), &run(9)).expect("they differ");
        assert_eq!((found.common, found.context.len()), (12, 8));
        assert_eq!(found.second.as_deref(), Some("12ns a -> b 10 bytes #0000000000000009"));
    }
}
