//! A set of keys made of ranges: what all permissions of a user allow together.

use bytes::Bytes;
use seatrial_types::KeyRange;
use std::collections::BTreeMap;

/// Half-open spans which neither overlap nor touch, by their first key; `None` as end is "to the last key".
///
/// Two permissions side by side allow a request across both, so they must be one span here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ranges {
    spans: BTreeMap<Bytes, Option<Bytes>>,
}

/// Whether a span that ends at `end` reaches `key`: lies over it or touches it.
fn reaches(end: Option<&Bytes>, key: &[u8]) -> bool {
    end.is_none_or(|end| end.as_ref() >= key)
}

/// Whether a span that ends at `end` ends at `other` or behind it.
fn ends_behind(end: Option<&Bytes>, other: Option<&Bytes>) -> bool {
    match (end, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(end), Some(other)) => end >= other,
    }
}

impl Ranges {
    /// Adds the keys of a range; an empty one (its end before its start) adds nothing.
    pub(super) fn add(&mut self, range: &KeyRange) {
        let (mut start, mut end) = range.bounds();
        if end.as_ref().is_some_and(|end| *end <= start) {
            return;
        }
        // Swallow every span that overlaps or touches, from the right to the left.
        while let Some((key, last)) = self.before(end.as_ref()) {
            if !reaches(last.as_ref(), &start) {
                break;
            }
            self.spans.remove(&key);
            start = start.min(key);
            if ends_behind(last.as_ref(), end.as_ref()) {
                end = last;
            }
        }
        self.spans.insert(start, end);
    }

    /// The last span that begins at `end` or before it.
    fn before(&self, end: Option<&Bytes>) -> Option<(Bytes, Option<Bytes>)> {
        let found = match end {
            None => self.spans.iter().next_back(),
            Some(end) => self.spans.range::<Bytes, _>(..=end).next_back(),
        };
        found.map(|(key, last)| (key.clone(), last.clone()))
    }

    /// Whether every key of the range is in the set. A range without any key never is.
    pub(super) fn contains(&self, range: &KeyRange) -> bool {
        let (start, end) = range.bounds();
        if end.as_ref().is_some_and(|end| *end <= start) {
            return false;
        }
        // No two spans touch: a covered range lies in a single one.
        let span = self.spans.range::<Bytes, _>(..=&start).next_back();
        span.is_some_and(|(_, last)| ends_behind(last.as_ref(), end.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(key: &str, end: &str) -> KeyRange {
        KeyRange { key: key.to_owned().into(), end: end.to_owned().into() }
    }

    #[test]
    fn ranges_that_touch_allow_what_crosses_them() {
        let mut ranges = Ranges::default();
        ranges.add(&range("a", "c"));
        ranges.add(&range("e", "f"));
        assert!(!ranges.contains(&range("a", "f")));
        ranges.add(&range("c", "e"));
        assert!(ranges.contains(&range("a", "f")));
        assert!(!ranges.contains(&range("a", "\0")));
        assert!(!ranges.contains(&range("a", "g")));
        ranges.add(&range("f", "\0"));
        assert!(ranges.contains(&range("b", "\0")));
        assert_eq!(ranges.spans.len(), 1);
    }

    #[test]
    fn a_single_key_is_no_more_than_itself() {
        let mut ranges = Ranges::default();
        ranges.add(&range("k", ""));
        assert!(ranges.contains(&range("k", "")));
        assert!(!ranges.contains(&range("k\0", "")));
        assert!(!ranges.contains(&range("k", "l")));
        assert!(!ranges.contains(&range("k", "k")), "a range without keys is in no set");
    }

    /// All keys of up to two letters out of three, in order, and the empty one.
    fn keys() -> Vec<Vec<u8>> {
        let letters = [0_u8, b'a', b'b'];
        let mut all = vec![Vec::new()];
        for first in letters {
            all.push(vec![first]);
            all.extend(letters.map(|second| vec![first, second]));
        }
        // Between and behind all of them.
        all.extend(letters.map(|third| vec![b'b', b'b', third]));
        all.sort();
        all
    }

    fn some_range() -> impl Strategy<Value = KeyRange> {
        (prop::sample::select(keys()), prop::sample::select(keys()))
            .prop_map(|(key, end)| KeyRange { key: key.into(), end: end.into() })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_set_holds_what_its_ranges_hold_one_by_one(
            given in prop::collection::vec(some_range(), 0..6),
            asked in some_range(),
        ) {
            let mut ranges = Ranges::default();
            for range in &given {
                ranges.add(range);
            }
            // Ends are among these keys or one of them with a zero behind it, so that a few more stand for all.
            let mut points = keys();
            points.extend(keys().into_iter().map(|mut key| { key.push(0); key }));
            points.push(vec![0xff]);
            let wanted: Vec<_> = points.iter().filter(|key| asked.contains(key)).collect();
            let covered = wanted.iter().all(|key| given.iter().any(|range| range.contains(key)));
            prop_assert_eq!(ranges.contains(&asked), !wanted.is_empty() && covered, "{:?}", ranges);
        }
    }
}
