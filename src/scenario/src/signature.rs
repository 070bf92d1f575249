//! What makes two failures one: the property, and its sentence without what differs from seed to seed.

use serde::{Deserialize, Serialize};

/// The same for failures that a person would call the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// The oracle that saw it.
    pub oracle: String,
    /// Its sentence, with `#` for every number and `…` for what stands in quotes.
    pub shape: String,
}

impl Signature {
    /// Of an oracle's sentence.
    #[must_use]
    pub fn of(oracle: &str, sentence: &str) -> Self {
        Self { oracle: oracle.to_owned(), shape: shape(sentence) }
    }

    /// A short name that may stand in file names: the oracle, and a digest of the shape.
    #[must_use]
    pub fn id(&self) -> String {
        // FNV-1a, folded: the name of a failure must be the same in every build.
        let hash = self
            .shape
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        format!("{}-{:06x}", self.oracle, (hash ^ hash >> 24 ^ hash >> 48) & 0xff_ffff)
    }
}

/// How long the word is that begins here, where it is a checksum in hexadecimal: six digits or more, of which some are
/// decimal.
fn checksum(first: char, rest: std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let word: Vec<char> =
        std::iter::once(first).chain(rest.take_while(|c| c.is_alphanumeric() || *c == '_')).collect();
    let is_hex = word.iter().all(char::is_ascii_hexdigit) && word.iter().any(char::is_ascii_digit);
    (is_hex && word.len() >= 6).then_some(word.len())
}

/// Lists of numbers count as one, whatever their length: how many members, keys or revisions are named differs from
/// seed to seed.
fn shape(sentence: &str) -> String {
    let mut out = String::new();
    let mut letters = sentence.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if letter == '"' {
            let mut escaped = false;
            for inner in letters.by_ref() {
                if inner == '"' && !escaped {
                    break;
                }
                escaped = inner == '\\' && !escaped;
            }
            out.push('…');
        } else if letter.is_ascii_digit() && !is_word(before) {
            // Numbers with fractions, units and hexadecimal digits: `1.25`, `3ms`, `0x1f`, `7af3`.
            while letters.peek().is_some_and(|next| is_word(*next) || *next == '.') {
                let dot = letters.peek() == Some(&'.');
                let mut ahead = letters.clone();
                ahead.next();
                if dot && !ahead.peek().is_some_and(char::is_ascii_digit) {
                    break;
                }
                letters.next();
            }
            out.push('#');
        } else if !is_word(before)
            && let Some(length) = checksum(letter, letters.clone())
        {
            letters.by_ref().take(length - 1).for_each(drop);
            out.push('#');
        } else if letter.is_ascii_digit() {
            // The number in `m2`, `k07`: the digits only.
            while letters.peek().is_some_and(char::is_ascii_digit) {
                letters.next();
            }
            out.push('#');
        } else {
            out.push(letter);
        }
        before = letter;
    }
    for (long, short) in
        [("# #", "#"), ("#, #", "#"), ("# and #", "#"), ("#µs", "#"), ("#..#", "#"), ("…, …", "…")]
    {
        while out.contains(long) {
            out = out.replace(long, short);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_seed_to_seed_is_left_out() {
        let one = "member 2 was elected in term 17 (at 3.25 s), and so was member 3: keys k07, \"a\\\"1\"";
        let two = "member 1 was elected in term 4 (at 12.5 s), and so was member 12: keys k1, \"bc\"";
        assert_eq!(shape(one), "member # was elected in term # (at # s), and so was member #: keys k#, …");
        assert_eq!(Signature::of("election-safety", one), Signature::of("election-safety", two));
        assert_eq!(shape("after 300ms, 0x1f3a and 12µs."), "after #, # and #.".replace("#, # and #", "#"));
    }

    #[test]
    fn checksums_are_numbers_whatever_they_begin_with() {
        let hash =
            |one: &str, two: &str| shape(&format!("member 1 has the hash {one} and member 2 the hash {two}"));
        assert_eq!(hash("f3a91b02", "b9acf325"), hash("0f215d3a", "12345678"));
        assert_eq!(hash("f3a91b02", "b9acf325"), "member # has the hash # and member # the hash #");
        assert_eq!(shape("faced decade a1 x"), "faced decade a# x", "words are none");
        assert_eq!(shape("that members 1 2 were asked"), shape("that members 1 2 3 were asked"));
    }

    #[test]
    fn lists_of_other_lengths_are_the_same() {
        assert_eq!(shape("revisions 4, 5, 6 and 7 are gone"), shape("revisions 12 and 13 are gone"));
        assert_eq!(shape("revisions 4, 5, 6 and 7 are gone"), shape("revisions 9 are gone"));
    }

    #[test]
    fn other_words_and_other_oracles_are_another_failure() {
        let of = Signature::of;
        assert_ne!(of("lease", "lease 7 ended early").id(), of("lease", "lease 7 ended late").id());
        assert_ne!(of("lease", "gone").id(), of("lock", "gone").id());
        assert_eq!(of("lease", "lease 7 ended").id(), of("lease", "lease 8 ended").id());
        assert!(of("no-panic", "src/raft/src/log.rs:12: x").id().starts_with("no-panic-"));
    }
}
