//! Small changes to bytes, drawn from a seed.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What decoders trip over.
const NUMBERS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x40",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
];

/// The same for text.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b":",
    b",",
    b"null",
    b"true",
    b"-",
    b"1e999",
    b"0.5",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"\\u0000",
    b"\\ud800",
    b"=",
    b"\n",
    b"[[",
    b"(",
    b")",
    b"\xc3\xa4",
    b"\xf0\x9f\x98\x80",
    b"'",
    b"#",
    b"AAAA",
    b".",
];

/// No input grows beyond this.
const BYTES_MAX: usize = 4096;

/// Draws changes.
#[derive(Debug)]
pub struct Mutator {
    rng: ChaCha8Rng,
}

impl Mutator {
    /// The same seed gives the same changes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound.max(1) as u64) as usize
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len());
        &of[at]
    }

    /// The bytes with a few changes; `other` lends parts.
    #[must_use]
    pub fn mutate(&mut self, bytes: &[u8], other: &[u8], text: bool) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, other, text);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8], text: bool) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(16)).min(bytes.len());
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() && !text => bytes[at] = self.rng.next_u32() as u8,
            2 if at < end => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 if at < end => {
                let again = bytes[at..end].to_vec();
                for _ in 0..=self.below(4) {
                    bytes.splice(at..at, again.iter().copied());
                }
            }
            5 if !other.is_empty() => {
                let from = self.below(other.len());
                let to = (from + 1 + self.below(32)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            6 => {
                let word = *self.pick(if text { WORDS } else { NUMBERS });
                bytes.splice(at..at, word.iter().copied());
            }
            _ => {
                let word = *self.pick(if text { WORDS } else { NUMBERS });
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_changes_and_bytes_stay_few() {
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            let mut bytes = b"{\"key\":\"Zm9v\"}".to_vec();
            for _ in 0..500 {
                bytes = mutator.mutate(&bytes, b"other", false);
                assert!(bytes.len() <= BYTES_MAX);
            }
            bytes
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
