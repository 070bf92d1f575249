//! The log in memory: what follows the last compaction, and the configurations in it.

use crate::message::{Config, Entry, Payload, SnapshotMeta};
use crate::relabel::{Label, relabel_config, relabel_entry};
use imbl::Vector;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, Term};

/// Entries since the last compaction. A clone costs next to nothing: the entries are shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    /// The last compacted entry, 0 where none was.
    base: LogIndex,
    base_term: Term,
    /// Invariant: `entries[i].index == base + 1 + i`; terms never fall.
    entries: Vector<Entry>,
    /// What they take, by [`cost`].
    bytes: usize,
    /// The configuration in force at `base`, then one for each configuration entry, by index.
    /// Invariant: not empty.
    configs: Vec<(LogIndex, Config)>,
    /// Everything up to here has been handed out to be made durable.
    handed: LogIndex,
    /// Everything up to here is durable, exactly as it stands here. Invariant: `durable <= handed`.
    durable: LogIndex,
}

impl Log {
    /// A log found on a disk. Panics where `entries` do not follow `snapshot`.
    #[must_use]
    pub(crate) fn restored(snapshot: SnapshotMeta, entries: Vec<Entry>) -> Self {
        let mut log = Self {
            base: snapshot.index,
            base_term: snapshot.term,
            entries: Vector::new(),
            bytes: 0,
            configs: vec![(snapshot.index, snapshot.config)],
            handed: snapshot.index,
            durable: snapshot.index,
        };
        for entry in entries {
            log.push(entry);
        }
        log.handed = log.last_index();
        log.durable = log.last_index();
        log
    }

    /// The last compacted entry; the first one here is the next.
    #[must_use]
    pub(crate) fn base(&self) -> LogIndex {
        self.base
    }

    /// Where the log begins (it may be empty).
    #[must_use]
    pub(crate) fn first_index(&self) -> LogIndex {
        self.base.next()
    }

    /// Where it ends.
    #[must_use]
    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.base.0 + self.entries.len() as u64)
    }

    /// The term of the last entry.
    #[must_use]
    pub(crate) fn last_term(&self) -> Term {
        self.entries.last().map_or(self.base_term, |entry| entry.term)
    }

    /// Up to where all is durable.
    #[must_use]
    pub(crate) fn durable(&self) -> LogIndex {
        self.durable
    }

    /// The term of the entry at `index`: `None` below `base` (compacted) and beyond the end.
    #[must_use]
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.base { Some(self.base_term) } else { self.entry(index).map(|entry| entry.term) }
    }

    /// The entry at `index`.
    #[must_use]
    pub(crate) fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let place = index.0.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Whether the entry at `index` is here with this term (Raft §5.3: then all before it agree too).
    #[must_use]
    pub(crate) fn matches(&self, index: LogIndex, term: Term) -> bool {
        self.term(index) == Some(term)
    }

    /// Whether a log that ends so is at least as good as this one (Raft §5.4.1).
    #[must_use]
    pub(crate) fn is_covered_by(&self, last_index: LogIndex, last_term: Term) -> bool {
        if is_planted(Planted::R04) {
            return (last_index, last_term) >= (self.last_index(), self.last_term());
        }
        if is_planted(Planted::R50) {
            return (last_term, last_index) <= (self.last_term(), self.last_index());
        }
        if is_planted(Planted::R51) {
            return last_index <= self.last_index();
        }
        if is_planted(Planted::R43) {
            return last_term >= self.last_term();
        }
        (last_term, last_index) >= (self.last_term(), self.last_index())
    }

    /// The entries from `from` to `to`, both included; panics where they are not all here.
    pub(crate) fn range(&self, from: LogIndex, to: LogIndex) -> impl Iterator<Item = &Entry> {
        assert!(from > self.base, "entry {from} was compacted; the log begins after {}", self.base);
        assert!(to <= self.last_index(), "entry {to} is beyond the last, {}", self.last_index());
        let (from, to) = ((from.0 - self.base.0 - 1) as usize, (to.0 - self.base.0) as usize);
        // `focus` walks the tree once instead of once per entry.
        self.entries.focus().narrow(from.min(to)..to).into_iter()
    }

    /// Entries from `from` on, at most `bytes_max` of them by [`Payload::bytes`], but one at least.
    #[must_use]
    pub(crate) fn batch(&self, from: LogIndex, bytes_max: usize) -> Vec<Entry> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        if from > self.last_index() {
            return batch;
        }
        for entry in self.range(from, self.last_index()) {
            bytes += cost(entry);
            if bytes > bytes_max && !batch.is_empty() {
                break;
            }
            batch.push(entry.clone());
        }
        batch
    }

    /// The largest index at or below `index` whose term is at or below `term`: where two logs might
    /// agree, given what the other one has (Raft §5.3, the backtracking by terms). `None` as term where
    /// that entry was compacted.
    #[must_use]
    pub(crate) fn agreement_guess(&self, index: LogIndex, term: Term) -> (LogIndex, Option<Term>) {
        let mut guess = index;
        loop {
            match self.term(guess) {
                Some(here) if here > term => guess = guess.prev(),
                here => return (guess, here),
            }
        }
    }

    /// Appends one entry; panics where it does not follow the last one.
    pub(crate) fn push(&mut self, entry: Entry) {
        assert!(
            entry.index == self.last_index().next(),
            "entry {} does not follow the last, {}",
            entry.index,
            self.last_index()
        );
        assert!(
            entry.term >= self.last_term(),
            "entry {} of term {} follows one of term {}",
            entry.index,
            entry.term,
            self.last_term()
        );
        if let Payload::Config(config) = &entry.payload {
            self.configs.push((entry.index, config.config.clone()));
        }
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
    }

    /// Drops the entries from `from` on, with their configurations; panics where they were compacted.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.base, "cut at {from}, but the log begins after {}", self.base);
        let rest = self.entries.split_off((from.0 - self.base.0 - 1) as usize);
        self.bytes -= rest.iter().map(cost).sum::<usize>();
        while self.configs.len() > 1 && self.config_index() >= from {
            self.configs.pop();
        }
        self.handed = self.handed.min(from.prev());
        self.durable = self.durable.min(from.prev());
    }

    /// Forgets everything up to `index`, but for its term and configuration.
    pub(crate) fn compact(&mut self, index: LogIndex) {
        let Some(term) = self.term(index) else {
            panic!("compaction to {index}, but the log holds {}..={}", self.base, self.last_index());
        };
        assert!(index <= self.durable, "compaction to {index}, but only {} is durable", self.durable);
        let kept = self.entries.split_off((index.0 - self.base.0) as usize);
        let dropped = std::mem::replace(&mut self.entries, kept);
        self.bytes -= dropped.iter().map(cost).sum::<usize>();
        let keep_from = self.configs.iter().rposition(|(at, _)| *at <= index).unwrap_or(0);
        self.configs.drain(..keep_from);
        self.base = index;
        self.base_term = term;
    }

    /// What the entries take in memory, about.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Up to where the log would have to be compacted to take no more than `bytes_max`.
    #[must_use]
    pub(crate) fn excess(&self, bytes_max: usize) -> LogIndex {
        let mut bytes = self.bytes;
        let mut up_to = self.base;
        for entry in &self.entries {
            if bytes <= bytes_max {
                break;
            }
            bytes -= cost(entry);
            up_to = entry.index;
        }
        up_to
    }

    /// Puts a snapshot, which is durable, in the place of everything.
    pub(crate) fn replace(&mut self, snapshot: SnapshotMeta) {
        *self = Self::restored(snapshot, Vec::new());
    }

    /// The configuration in force: the newest in the log, committed or not (Raft §6).
    #[must_use]
    pub(crate) fn config(&self) -> &Config {
        &self.configs.last().expect("a log always has a configuration").1
    }

    /// The entry of [`Self::config`] (or an older place, at or before `base`).
    #[must_use]
    pub(crate) fn config_index(&self) -> LogIndex {
        self.configs.last().expect("a log always has a configuration").0
    }

    /// The configuration at the log's beginning and all behind it, each with its entry (see [`Self::config_index`]).
    pub(crate) fn configs(&self) -> impl Iterator<Item = (LogIndex, &Config)> {
        self.configs.iter().map(|(at, config)| (*at, config))
    }

    /// The configurations that may be in force for somebody, oldest first, where `commit` is committed:
    /// the one there and all behind it.
    pub(crate) fn configs_from(&self, commit: LogIndex) -> impl Iterator<Item = &Config> {
        let first = self.configs.iter().rposition(|(at, _)| *at <= commit).unwrap_or(0);
        self.configs[first..].iter().map(|(_, config)| config)
    }

    /// What a snapshot at `index` has to say: `None` where `index` is compacted or beyond the end.
    #[must_use]
    pub(crate) fn meta_at(&self, index: LogIndex) -> Option<SnapshotMeta> {
        let term = self.term(index)?;
        let config = self.configs_from(index).next()?.clone();
        Some(SnapshotMeta { index, term, config })
    }

    /// The entries nobody was asked to make durable yet; from now on somebody was.
    pub(crate) fn hand_out(&mut self) -> Vec<Entry> {
        let last = self.last_index();
        if self.handed == last {
            return Vec::new();
        }
        let entries = self.range(self.handed.next(), last).cloned().collect();
        self.handed = last;
        entries
    }

    /// Whether [`Self::hand_out`] would give something.
    #[must_use]
    pub(crate) fn has_unhanded(&self) -> bool {
        self.handed < self.last_index()
    }

    /// Everything up to `index`, as it stands here, is durable.
    pub(crate) fn mark_durable(&mut self, index: LogIndex) {
        assert!(index <= self.handed, "{index} durable, but only {} was handed out", self.handed);
        self.durable = self.durable.max(index);
    }

    /// See [`crate::Raft::relabelled`].
    pub(crate) fn relabel(&mut self, label: Label<'_>) {
        for entry in self.entries.iter_mut() {
            relabel_entry(entry, label);
        }
        for (_, config) in &mut self.configs {
            relabel_config(config, label);
        }
    }

    /// Panics where an invariant is broken.
    pub(crate) fn check(&self) {
        assert!(self.durable <= self.handed, "durable {} beyond handed {}", self.durable, self.handed);
        let last = self.last_index();
        assert!(self.handed <= last, "handed {} beyond last {last}", self.handed);
        assert!(self.base <= self.durable, "base {} beyond durable {}", self.base, self.durable);
        let (mut index, mut term) = (self.base, self.base_term);
        let mut configs = self.configs.iter().skip(1);
        for entry in &self.entries {
            assert!(entry.index == index.next(), "entry {} follows {index}", entry.index);
            assert!(entry.term >= term, "entry {index} of term {} after term {term}", entry.term);
            if let Payload::Config(config) = &entry.payload {
                let tracked = configs.next().map(|(at, config)| (*at, config));
                assert!(
                    tracked == Some((entry.index, &config.config)),
                    "configuration at {} is tracked as {tracked:?}",
                    entry.index
                );
            }
            (index, term) = (entry.index, entry.term);
        }
        let bytes = self.entries.iter().map(cost).sum::<usize>();
        assert!(self.bytes == bytes, "{bytes} bytes of entries are counted as {}", self.bytes);
        let left = configs.next();
        assert!(left.is_none(), "configuration without an entry: {left:?}");
        self.config().check();
    }
}

/// What an entry costs in a message beside its data: term, index and kind.
const ENTRY_OVERHEAD_BYTES: usize = 12;

fn cost(entry: &Entry) -> usize {
    entry.payload.bytes() + ENTRY_OVERHEAD_BYTES
}

impl Payload {
    /// Bytes of data, for limits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Noop => 0,
            Self::Data(data) => data.len(),
            Self::Config(config) => config.context.len(),
        }
    }
}
