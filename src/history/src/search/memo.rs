//! The configurations that were tried before: Lowe's memory.
//!
//! A set of short sequences of words, with a fixed hash: the std sets draw their seed from the system, and
//! a verdict must not hang on that. Memory is counted, so that a search can stop before the machine does.

/// A set of word sequences. Never forgets.
pub(crate) struct Memo {
    /// The sequences, end to end, each after a word with its length.
    words: Vec<u64>,
    /// Open addressing with linear steps; 0 is free, otherwise place in `words` plus 1.
    slots: Vec<u32>,
    len: usize,
}

impl Memo {
    pub(crate) fn new() -> Self {
        Self { words: Vec::new(), slots: vec![0; 256], len: 0 }
    }

    /// Adds a sequence; whether it is new.
    pub(crate) fn insert(&mut self, key: &[u64]) -> bool {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash(key) as usize & mask;
        while self.slots[slot] != 0 {
            if self.at(self.slots[slot]) == key {
                return false;
            }
            slot = (slot + 1) & mask;
        }
        let place = u32::try_from(self.words.len() + 1).expect("the budget ends a search before 32 GiB");
        self.slots[slot] = place;
        self.words.push(key.len() as u64);
        self.words.extend_from_slice(key);
        self.len += 1;
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8 + self.slots.len() * 4
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn at(&self, place: u32) -> &[u64] {
        let start = place as usize;
        let len = self.words[start - 1] as usize;
        &self.words[start..start + len]
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![0; size]);
        for place in old.into_iter().filter(|&place| place != 0) {
            let mut slot = hash(self.at(place)) as usize & (size - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = place;
        }
    }
}

/// Multiply and fold, word by word; the high half carries the mixture down.
fn hash(key: &[u64]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = ODD ^ key.len() as u64;
    for &word in key {
        let product = u128::from(state ^ word) * u128::from(ODD | 1);
        state = (product as u64) ^ ((product >> 64) as u64).rotate_left(23) ^ word.rotate_left(41);
    }
    let product = u128::from(state) * u128::from(0xd6e8_feb8_6659_fd93_u64);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_new_once_and_neighbours_are_told_apart() {
        let mut memo = Memo::new();
        for word in 0..5_000u64 {
            assert!(memo.insert(&[word, 1]));
            assert!(memo.insert(&[word]));
        }
        for word in 0..5_000u64 {
            assert!(!memo.insert(&[word, 1]) && !memo.insert(&[word]));
        }
        assert!(memo.insert(&[]) && !memo.insert(&[]));
        assert_eq!(memo.len(), 10_001);
        assert!(memo.bytes() > 10_000 * 20);
    }
}
