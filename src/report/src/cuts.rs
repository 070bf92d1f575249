//! What is left out so that a page stays small: the choice, and the sentence that says so.

use crate::record::RunRecord;

/// How many of each kind a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) operations: usize,
    pub(crate) messages: usize,
    pub(crate) bands: usize,
    pub(crate) faults: usize,
    pub(crate) logs: usize,
    pub(crate) points: usize,
    pub(crate) rows: usize,
    pub(crate) lanes: usize,
    pub(crate) text: usize,
}

impl Limits {
    /// What fits for a normal run.
    pub(crate) const FULL: Self = Self {
        operations: 1_000,
        messages: 2_000,
        bands: 400,
        faults: 240,
        logs: 350,
        points: 240,
        rows: 250,
        lanes: 24,
        text: 240,
    };

    /// Three quarters of everything, for a run whose texts are long.
    pub(crate) fn smaller(self) -> Self {
        let less = |limit: usize| (limit * 3 / 4).max(4);
        Self {
            operations: less(self.operations),
            messages: less(self.messages),
            bands: less(self.bands),
            faults: less(self.faults),
            logs: less(self.logs),
            points: less(self.points),
            rows: less(self.rows),
            lanes: less(self.lanes),
            text: less(self.text).max(24),
        }
    }
}

/// Collects what was cut.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    notes: Vec<String>,
}

impl Cuts {
    pub(crate) fn note(&mut self, shown: usize, of: usize, what: &str, how: &str) {
        if shown < of {
            self.notes.push(format!("{shown} of {of} {what} are shown ({how})."));
        }
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The moment a page is about: the first bad event, or the end of the run.
pub(crate) fn focus(record: &RunRecord) -> Option<u64> {
    record.first_bad.as_ref().map(|bad| bad.at)
}

/// Places of the items to show, in their order: those that `keep` names, then those nearest to the focus;
/// evenly spread where there is none.
pub(crate) fn choose(
    count: usize,
    max: usize,
    focus: Option<u64>,
    time: impl Fn(usize) -> u64,
    keep: impl Fn(usize) -> bool,
) -> Vec<usize> {
    if count <= max {
        return (0..count).collect();
    }
    let mut places: Vec<usize> = (0..count).collect();
    match focus {
        Some(focus) => places.sort_by_key(|&place| (!keep(place), time(place).abs_diff(focus), place)),
        None => {
            // The even spread: those whose share of the whole steps over to the next place.
            places.sort_by_key(|&place| {
                let taken = (place + 1) * max / count > place * max / count;
                (!keep(place), !taken, place)
            });
        }
    }
    places.truncate(max);
    places.sort_unstable();
    places
}

/// How a choice is told.
pub(crate) fn how(focus: Option<u64>) -> &'static str {
    if focus.is_some() { "those nearest to the first bad event" } else { "evenly spread" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evidence_and_what_is_near_it_stay() {
        let chosen = choose(1_000, 10, Some(500), |place| place as u64, |place| place == 3);
        assert_eq!(chosen, [3, 496, 497, 498, 499, 500, 501, 502, 503, 504]);
    }

    #[test]
    fn without_a_focus_the_choice_is_spread_evenly() {
        let chosen = choose(1_000, 10, None, |place| place as u64, |_| false);
        assert_eq!(chosen.len(), 10);
        assert!(chosen.windows(2).all(|pair| pair[1] - pair[0] == 100), "{chosen:?}");
        assert_eq!(choose(3, 10, None, |_| 0, |_| false), [0, 1, 2]);
    }
}
