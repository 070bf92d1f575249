//! Values that are kept once and named by a number, and results that are worked out once. Numbers are given in the order of first
//! need, which is the same in every run, so that nothing here tells how many threads there are.

use crate::check::fingerprint;
use hashbrown::HashTable;
use std::hash::Hash;

/// Values, each kept once. Two values of one hash are told apart: they are compared as a whole.
#[derive(Debug)]
pub(super) struct Table<T> {
    values: Vec<T>,
    places: HashTable<(u64, u32)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashTable::new() }
    }
}

impl<T: Hash + Eq> Table<T> {
    pub(super) fn find(&self, value: &T) -> Option<u32> {
        let hash = fingerprint(value);
        let is_it = |(there, at): &(u64, u32)| *there == hash && self.values[*at as usize] == *value;
        self.places.find(hash, is_it).map(|(_, at)| *at)
    }

    /// Its number, a new one where it is new.
    pub(super) fn keep(&mut self, value: T) -> u32 {
        if let Some(at) = self.find(&value) {
            return at;
        }
        let at = u32::try_from(self.values.len()).expect("four thousand million parts fit into no memory");
        let hash = fingerprint(&value);
        self.places.insert_unique(hash, (hash, at), |(there, _)| *there);
        self.values.push(value);
        at
    }

    pub(super) fn get(&self, at: u32) -> &T {
        &self.values[at as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

/// Results by two numbers.
#[derive(Debug)]
pub(super) struct Memo<V>(HashTable<(u64, V)>);

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<V> Memo<V> {
    pub(super) fn get(&self, one: u32, two: u32) -> Option<&V> {
        let key = u64::from(one) << 32 | u64::from(two);
        self.0.find(mix(key), |(there, _)| *there == key).map(|(_, value)| value)
    }

    pub(super) fn put(&mut self, one: u32, two: u32, value: V) {
        if self.get(one, two).is_some() {
            return;
        }
        let key = u64::from(one) << 32 | u64::from(two);
        self.0.insert_unique(mix(key), (key, value), |(there, _)| mix(*there));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Spreads a key over all bits: the table looks at the highest and at the lowest ones.
pub(super) fn mix(key: u64) -> u64 {
    let product = u128::from(key ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xa076_1d64_78bd_642f_u64);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of one hash.
    #[derive(Debug, PartialEq, Eq)]
    struct Alike(u8);

    impl Hash for Alike {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            state.write_u8(0);
        }
    }

    #[test]
    fn values_of_one_hash_keep_numbers_of_their_own() {
        let mut table = Table::default();
        let numbers: Vec<u32> = [7, 8, 7, 9, 8].map(|value| table.keep(Alike(value))).to_vec();
        assert_eq!(numbers, [0, 1, 0, 2, 1]);
        assert_eq!((table.len(), table.get(2), table.find(&Alike(6))), (3, &Alike(9), None));
    }

    #[test]
    fn a_result_is_found_by_both_of_its_numbers_in_their_order() {
        let mut memo = Memo::default();
        memo.put(1, 2, "a");
        memo.put(2, 1, "b");
        memo.put(1, 2, "c");
        assert_eq!((memo.get(1, 2), memo.get(2, 1), memo.get(2, 2)), (Some(&"a"), Some(&"b"), None));
    }
}
