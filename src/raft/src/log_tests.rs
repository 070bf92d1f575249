//! The log against a plain vector of everything that ever stood in it.

use crate::log::Log;
use crate::message::{Config, ConfigEntry, Entry, Payload, SnapshotMeta};
use bytes::Bytes;
use proptest::prelude::*;
use seatrial_types::{LogIndex, MemberId, Term};

/// The reference: a vector from index 1 on, nothing ever compacted.
#[derive(Clone, Debug)]
struct Naive {
    entries: Vec<Entry>,
    base: usize,
    handed: usize,
    durable: usize,
}

impl Naive {
    fn term(&self, index: usize) -> Option<Term> {
        match index {
            _ if index < self.base => None,
            0 => Some(Term(0)),
            _ => self.entries.get(index - 1).map(|entry| entry.term),
        }
    }

    fn config(&self, upto: usize) -> Config {
        let configs = self.entries[..upto].iter().rev().find_map(|entry| match &entry.payload {
            Payload::Config(entry) => Some(entry.config.clone()),
            _ => None,
        });
        configs.unwrap_or_else(|| Config::of([MemberId(1)]))
    }

    fn config_index(&self) -> usize {
        let is_config = |entry: &Entry| matches!(entry.payload, Payload::Config(_));
        self.entries.iter().rposition(is_config).map_or(0, |place| place + 1)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { newer_term: bool, config: bool, bytes: usize },
    Truncate(prop::sample::Index),
    Compact(prop::sample::Index),
    HandOut,
    Durable(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<bool>(), prop::bool::weighted(0.15), 0..40usize)
            .prop_map(|(newer_term, config, bytes)| Step::Push { newer_term, config, bytes }),
        1 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        1 => any::<prop::sample::Index>().prop_map(Step::Compact),
        2 => Just(Step::HandOut),
        2 => any::<prop::sample::Index>().prop_map(Step::Durable),
    ];
    prop::collection::vec(step, 0..120)
}

fn payload(index: usize, config: bool, bytes: usize) -> Payload {
    if config {
        let config = Config::of([MemberId(1), MemberId(1 + index as u64)]);
        Payload::Config(ConfigEntry { config, context: Bytes::from(vec![0; bytes]) })
    } else {
        Payload::Data(Bytes::from(vec![index as u8; bytes]))
    }
}

fn compare(log: &Log, naive: &Naive, guess: (usize, u64), bytes_max: usize) {
    log.check();
    let last = naive.entries.len();
    let bytes =
        |from: usize| naive.entries[from..].iter().map(|entry| entry.payload.bytes() + 12).sum::<usize>();
    assert_eq!(log.bytes(), bytes(naive.base));
    let fits = (naive.base..=last).find(|from| bytes(*from) <= bytes_max).expect("nothing at all fits");
    assert_eq!(log.excess(bytes_max), LogIndex(fits as u64));
    assert_eq!(log.last_index(), LogIndex(last as u64));
    assert_eq!(log.base(), LogIndex(naive.base as u64));
    assert_eq!(log.durable(), LogIndex(naive.durable as u64));
    assert_eq!(log.config(), &naive.config(last));
    assert_eq!(log.has_unhanded(), naive.handed < last);
    for index in 0..last + 2 {
        assert_eq!(log.term(LogIndex(index as u64)), naive.term(index), "term of entry {index}");
        let here = if index > naive.base { naive.entries.get(index.wrapping_sub(1)) } else { None };
        assert_eq!(log.entry(LogIndex(index as u64)), here, "entry {index}");
        if index >= naive.base && index <= last {
            let meta = log.meta_at(LogIndex(index as u64)).expect("in the log");
            assert_eq!(meta.config, naive.config(index), "configuration at {index}");
            // Who may have to vote: the configuration at `index`, and each one behind it.
            let pending = naive.entries[index..].iter();
            let pending = pending.filter(|entry| matches!(entry.payload, Payload::Config(_))).count();
            assert_eq!(log.configs_from(LogIndex(index as u64)).count(), 1 + pending);
        }
    }
    if naive.config_index() > naive.base {
        assert_eq!(log.config_index(), LogIndex(naive.config_index() as u64));
    } else {
        assert!(log.config_index() <= log.base(), "a compacted configuration");
    }
    // Where could another log agree, of which we know that it has nothing newer than `term` at `at`?
    let (at, term) = (guess.0 % (last + 1), Term(guess.1));
    if at >= naive.base && naive.term(naive.base) <= Some(term) {
        let expected = (naive.base..=at).rev().find(|index| naive.term(*index) <= Some(term));
        let (found, found_term) = log.agreement_guess(LogIndex(at as u64), term);
        assert_eq!(Some(found.0 as usize), expected, "agreement at or below {at} of term {term}");
        assert_eq!(found_term, naive.term(found.0 as usize));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_a_plain_vector_says(steps in steps(), guess in (0..100usize, 0..60u64), from in 0..100usize, bytes_max in 0..300usize) {
        let start = SnapshotMeta { config: Config::of([MemberId(1)]), ..SnapshotMeta::default() };
        let mut log = Log::restored(start, Vec::new());
        let mut naive = Naive { entries: Vec::new(), base: 0, handed: 0, durable: 0 };
        for step in steps {
            let last = naive.entries.len();
            match step {
                Step::Push { newer_term, config, bytes } => {
                    let term = naive.entries.last().map_or(1, |entry| entry.term.0) + u64::from(newer_term);
                    let entry = Entry {
                        term: Term(term),
                        index: LogIndex(last as u64 + 1),
                        payload: payload(last + 1, config, bytes),
                    };
                    naive.entries.push(entry.clone());
                    log.push(entry);
                }
                Step::Truncate(place) if last > naive.base => {
                    let from = naive.base + 1 + place.index(last - naive.base);
                    naive.entries.truncate(from - 1);
                    naive.handed = naive.handed.min(from - 1);
                    naive.durable = naive.durable.min(from - 1);
                    log.truncate(LogIndex(from as u64));
                }
                Step::Compact(place) if naive.durable > naive.base => {
                    naive.base += 1 + place.index(naive.durable - naive.base);
                    log.compact(LogIndex(naive.base as u64));
                }
                Step::HandOut => {
                    prop_assert_eq!(log.hand_out(), naive.entries[naive.handed..].to_vec());
                    naive.handed = last;
                }
                Step::Durable(place) => {
                    let index = place.index(naive.handed + 1);
                    naive.durable = naive.durable.max(index);
                    log.mark_durable(LogIndex(index as u64));
                }
                Step::Truncate(_) | Step::Compact(_) => {}
            }
            compare(&log, &naive, guess, bytes_max);
        }
        // A batch is the longest beginning that fits, and never empty where there is something.
        let last = naive.entries.len();
        let from = naive.base + 1 + from % (last - naive.base + 1);
        let batch = log.batch(LogIndex(from as u64), bytes_max);
        let rest = &naive.entries[from - 1..];
        prop_assert_eq!(&batch[..], &rest[..batch.len()]);
        prop_assert!(!batch.is_empty() || rest.is_empty());
        let size = |entries: &[Entry]| -> usize { entries.iter().map(|e| e.payload.bytes() + 12).sum() };
        prop_assert!(batch.len() <= 1 || size(&batch) <= bytes_max);
        prop_assert!(batch.len() == rest.len() || size(&rest[..=batch.len()]) > bytes_max);
        // What comes back from the disk is the same log.
        let again = Log::restored(log.meta_at(log.base()).expect("its start"), naive.entries[naive.base..].to_vec());
        prop_assert_eq!(again.config(), log.config());
        prop_assert_eq!(again.last_term(), log.last_term());
        again.check();
    }
}

#[test]
#[should_panic(expected = "does not follow")]
fn an_entry_with_a_gap_before_it_is_refused() {
    let mut log = Log::restored(SnapshotMeta::default(), Vec::new());
    log.push(Entry { term: Term(1), index: LogIndex(2), payload: Payload::Noop });
}

#[test]
fn a_log_replaced_by_a_snapshot_begins_behind_it() {
    let mut log = Log::restored(SnapshotMeta::default(), Vec::new());
    log.push(Entry { term: Term(1), index: LogIndex(1), payload: Payload::Noop });
    let meta = SnapshotMeta { index: LogIndex(9), term: Term(3), config: Config::of([MemberId(5)]) };
    log.replace(meta.clone());
    assert_eq!((log.first_index(), log.last_index(), log.last_term()), (LogIndex(10), LogIndex(9), Term(3)));
    assert_eq!(log.durable(), LogIndex(9));
    assert_eq!(log.meta_at(LogIndex(9)), Some(meta));
    assert_eq!(log.term(LogIndex(1)), None);
    log.check();
}
