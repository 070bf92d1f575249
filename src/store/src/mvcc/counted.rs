//! An ordered map that knows how many of its values count, in all and below any key.
//!
//! A B+ tree whose inner nodes carry the count of each child, so that the keys of a range are counted in the time of
//! a lookup. Nodes are shared: a clone costs nothing, and a change copies what lies on its path and is shared.

use super::key::Key;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Entries of a leaf, children of an inner node.
const WIDTH: usize = 32;

/// What the map asks of its values.
pub(super) trait Counted: Clone {
    /// Whether this value counts.
    fn counts(&self) -> bool;
}

#[derive(Clone)]
enum Node<V> {
    Leaf(Vec<(Key, V)>),
    Inner(Vec<Child<V>>),
}

#[derive(Clone)]
struct Child<V> {
    /// At or below every key in here, and above every key to the left. Of the first child it means nothing, for
    /// whatever is below the second goes there.
    from: Key,
    /// How many values in here count.
    counted: usize,
    node: Arc<Node<V>>,
}

fn place<V>(children: &[Child<V>], key: &[u8]) -> usize {
    children.partition_point(|child| *child.from <= *key).saturating_sub(1)
}

fn search<V>(entries: &[(Key, V)], key: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| (**other).cmp(key))
}

impl<V: Counted> Node<V> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }

    fn counted(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.iter().filter(|(_, value)| value.counts()).count(),
            Self::Inner(children) => children.iter().map(|child| child.counted).sum(),
        }
    }

    /// How many values at keys below `key` count.
    fn counted_below(&self, key: &[u8]) -> usize {
        match self {
            Self::Leaf(entries) => {
                let (Ok(end) | Err(end)) = search(entries, key);
                entries[..end].iter().filter(|(_, value)| value.counts()).count()
            }
            Self::Inner(children) => {
                let at = place(children, key);
                let left: usize = children[..at].iter().map(|child| child.counted).sum();
                left + children[at].node.counted_below(key)
            }
        }
    }

    /// The key that separates this node from what is left of it.
    fn from(&self) -> Key {
        match self {
            Self::Leaf(entries) => entries[0].0.clone(),
            Self::Inner(children) => children[0].from.clone(),
        }
    }

    fn into_child(self) -> Child<V> {
        Child { from: self.from(), counted: self.counted(), node: Arc::new(self) }
    }

    /// Changes the value of a key. `None` where there is no such key; else what `change` returns, and by how much the
    /// count has changed.
    fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut V) -> R) -> Option<(R, isize)> {
        match self {
            Self::Leaf(entries) => {
                let at = search(entries, key).ok()?;
                let value = &mut entries[at].1;
                let before = value.counts();
                let result = change(value);
                Some((result, isize::from(value.counts()) - isize::from(before)))
            }
            Self::Inner(children) => {
                let at = place(children, key);
                let child = &mut children[at];
                let (result, grown) = Arc::make_mut(&mut child.node).update(key, change)?;
                let counted = child.counted.checked_add_signed(grown);
                child.counted = counted.expect("what stops counting was counted");
                Some((result, grown))
            }
        }
    }

    /// Adds a key that is not there. Where this node had to be split: what is right of it now. `is_last` where nothing
    /// lies to the right of this node in the whole tree.
    fn insert(&mut self, key: Key, value: V, is_last: bool) -> Option<Self> {
        match self {
            Self::Leaf(entries) => {
                let at = search(entries, &key).expect_err("only keys that are not there are inserted");
                if entries.len() < WIDTH {
                    entries.insert(at, (key, value));
                    return None;
                }
                let mut right = split(entries, is_last && at == entries.len());
                match at.checked_sub(entries.len()) {
                    Some(at) if at > 0 || right.is_empty() => right.insert(at, (key, value)),
                    _ => entries.insert(at, (key, value)),
                }
                Some(Self::Leaf(right))
            }
            Self::Inner(children) => {
                let at = place(children, &key);
                let is_last = is_last && at + 1 == children.len();
                let child = &mut children[at];
                let grown = usize::from(value.counts());
                let split_off = Arc::make_mut(&mut child.node).insert(key, value, is_last);
                let Some(split_off) = split_off else {
                    child.counted += grown;
                    return None;
                };
                child.counted = child.node.counted();
                let new = split_off.into_child();
                if children.len() < WIDTH {
                    children.insert(at + 1, new);
                    return None;
                }
                let mut right = split(children, is_last);
                match (at + 1).checked_sub(children.len()) {
                    Some(at) if at > 0 || right.is_empty() => right.insert(at, new),
                    _ => children.insert(at + 1, new),
                }
                Some(Self::Inner(right))
            }
        }
    }

    /// Takes out a key that is there. The node may be left empty.
    fn remove(&mut self, key: &[u8]) {
        match self {
            Self::Leaf(entries) => {
                entries.remove(search(entries, key).expect("only keys that are there are removed"));
            }
            Self::Inner(children) => {
                let at = place(children, key);
                let child = &mut children[at];
                let node = Arc::make_mut(&mut child.node);
                node.remove(key);
                child.counted = node.counted();
                if node.len() == 0 {
                    children.remove(at);
                } else if node.len() < WIDTH / 4 {
                    join(children, at);
                }
            }
        }
    }
}

/// Takes the right half out, for a place to insert at. Keys that are added behind all others leave full nodes behind
/// them rather than half empty ones.
fn split<T>(items: &mut Vec<T>, keeps_all: bool) -> Vec<T> {
    if keeps_all {
        return Vec::new();
    }
    let right = items.split_off(items.len() / 2);
    items.shrink_to_fit();
    right
}

/// Puts a small child together with a neighbour where one node can hold both.
fn join<V: Counted>(children: &mut Vec<Child<V>>, at: usize) {
    let fits = |left: usize| {
        let pair = children.get(left..left + 2);
        pair.is_some_and(|pair| pair[0].node.len() + pair[1].node.len() <= WIDTH)
    };
    let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|left| fits(*left)) else {
        return;
    };
    let right = children.remove(left + 1);
    let child = &mut children[left];
    child.counted += right.counted;
    match (Arc::make_mut(&mut child.node), Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
        (Node::Inner(children), Node::Inner(mut more)) => {
            // Here it is the first child no more, so that its separator counts from now on.
            more[0].from = right.from;
            children.extend(more);
        }
        _ => unreachable!("all leaves are equally deep"),
    }
}

/// The map. Equal and hashed by what it holds, whatever the shape of the tree.
#[derive(Clone)]
pub(super) struct CountedMap<V> {
    root: Arc<Node<V>>,
    len: usize,
}

impl<V> Default for CountedMap<V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<V: Counted> CountedMap<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub(super) fn get_key_value(&self, key: &[u8]) -> Option<(&[u8], &V)> {
        let mut node = self.root.as_ref();
        loop {
            match node {
                Node::Leaf(entries) => {
                    let (key, value) = &entries[search(entries, key).ok()?];
                    return Some((key, value));
                }
                Node::Inner(children) => node = &children[place(children, key)].node,
            }
        }
    }

    /// Changes the value of a key and returns what `change` does; `None` where there is no such key. Its path
    /// is copied even then where it is shared: whoever misses the key is about to insert it.
    pub(super) fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut V) -> R) -> Option<R> {
        Arc::make_mut(&mut self.root).update(key, change).map(|(result, _)| result)
    }

    /// Adds a key that is not there.
    ///
    /// # Panics
    /// Where it is.
    pub(super) fn insert(&mut self, key: &[u8], value: V) {
        let root = Arc::make_mut(&mut self.root);
        if let Some(right) = root.insert(key.into(), value, true) {
            let left = std::mem::replace(root, Node::Inner(Vec::new()));
            *root = Node::Inner(vec![left.into_child(), right.into_child()]);
        }
        self.len += 1;
    }

    /// Takes out a key that is there.
    ///
    /// # Panics
    /// Where it is not.
    pub(super) fn remove(&mut self, key: &[u8]) {
        Arc::make_mut(&mut self.root).remove(key);
        self.len -= 1;
        while let Node::Inner(children) = self.root.as_ref() {
            match &children[..] {
                [] => self.root = Arc::new(Node::Leaf(Vec::new())),
                [only] => self.root = only.node.clone(),
                _ => break,
            }
        }
    }

    /// How many values count at keys from `start` (included) to `end` (excluded; `None`: to the last).
    pub(super) fn count(&self, start: &[u8], end: Option<&[u8]>) -> usize {
        let below_end = end.map_or_else(|| self.root.counted(), |end| self.root.counted_below(end));
        // Nothing where the end comes first.
        below_end.saturating_sub(self.root.counted_below(start))
    }

    /// Entries from `start` (included; `None`: from the first) to `end` (excluded; `None`: to the last), in order.
    pub(super) fn range<'a>(&'a self, start: Option<&[u8]>, end: Option<bytes::Bytes>) -> Entries<'a, V> {
        let mut entries = Entries { above: Vec::new(), leaf: [].iter(), end };
        entries.descend(&self.root, start);
        entries
    }
}

/// Entries in order of key.
pub(super) struct Entries<'a, V> {
    /// What is still to come of the nodes above the present leaf, topmost first.
    above: Vec<std::slice::Iter<'a, Child<V>>>,
    leaf: std::slice::Iter<'a, (Key, V)>,
    end: Option<bytes::Bytes>,
}

impl<'a, V> Entries<'a, V> {
    fn descend(&mut self, node: &'a Node<V>, start: Option<&[u8]>) {
        let mut node = node;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let (Ok(at) | Err(at)) = start.map_or(Ok(0), |key| search(entries, key));
                    self.leaf = entries[at..].iter();
                    return;
                }
                Node::Inner(children) => {
                    let at = start.map_or(0, |key| place(children, key));
                    self.above.push(children[at + 1..].iter());
                    node = &children[at].node;
                }
            }
        }
    }
}

impl<'a, V> Iterator for Entries<'a, V> {
    type Item = (&'a [u8], &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                if self.end.as_ref().is_some_and(|end| **key >= **end) {
                    self.above.clear();
                    self.leaf = [].iter();
                    return None;
                }
                return Some((key, value));
            }
            match self.above.last_mut()?.next() {
                Some(child) => self.descend(&child.node, None),
                None => {
                    self.above.pop();
                }
            }
        }
    }
}

impl<V: Counted + PartialEq> PartialEq for CountedMap<V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
            || (self.len == other.len && self.range(None, None).eq(other.range(None, None)))
    }
}

impl<V: Counted + Eq> Eq for CountedMap<V> {}

impl<V: Counted + Hash> Hash for CountedMap<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        for entry in self.range(None, None) {
            entry.hash(state);
        }
    }
}

impl<V: Counted + fmt::Debug> fmt::Debug for CountedMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.range(None, None)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::hash::DefaultHasher;
    use std::ops::{Bound, RangeBounds};

    impl Counted for i64 {
        fn counts(&self) -> bool {
            *self > 0
        }
    }

    impl<V: Counted> Node<V> {
        /// Holds the tree against its rules and returns its depth.
        fn check(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, is_root: bool) -> usize {
            assert!(self.len() <= WIDTH && (is_root || self.len() > 0), "a node of {}", self.len());
            match self {
                Self::Leaf(entries) => {
                    assert!(entries.is_sorted_by(|(a, _), (b, _)| **a < **b));
                    for (key, _) in entries {
                        let within: (Bound<&[u8]>, Bound<&[u8]>) = (from, to);
                        assert!(
                            RangeBounds::<[u8]>::contains(&within, &**key),
                            "{key:?} is not within {from:?} and {to:?}"
                        );
                    }
                    1
                }
                Self::Inner(children) => {
                    assert!(!is_root || children.len() > 1, "a root of one child");
                    let mut depths = Vec::new();
                    for (at, child) in children.iter().enumerate() {
                        assert_eq!(child.counted, child.node.counted());
                        let from = if at == 0 { from } else { Bound::Included(&*child.from) };
                        let to = children.get(at + 1).map_or(to, |right| Bound::Excluded(&*right.from));
                        depths.push(child.node.check(from, to, false));
                    }
                    assert!(depths.iter().all(|depth| *depth == depths[0]), "leaves at depths {depths:?}");
                    depths[0] + 1
                }
            }
        }
    }

    fn key(number: u16) -> Bytes {
        // Keys of several lengths, some a prefix of others, and one in four too long for its place.
        let tail = if number.is_multiple_of(4) { "-and-so-on-and-so-forth" } else { "" };
        Bytes::from(format!("{number:x}{tail}"))
    }

    fn hash(map: &CountedMap<i64>) -> u64 {
        let mut hasher = DefaultHasher::new();
        map.hash(&mut hasher);
        hasher.finish()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u16, i64),
        Remove(u16),
        /// Takes out so many keys from this one on.
        RemoveMany(u16, u16),
        Count(u16, Option<u16>),
        Fork,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let keys = 0..2500_u16;
        let step = prop_oneof![
            12 => (keys.clone(), -1..2_i64).prop_map(|(key, value)| Step::Set(key, value)),
            4 => keys.clone().prop_map(Step::Remove),
            1 => (keys.clone(), 0..300_u16).prop_map(|(from, count)| Step::RemoveMany(from, count)),
            4 => (keys.clone(), proptest::option::of(keys)).prop_map(|(from, to)| Step::Count(from, to)),
            1 => Just(Step::Fork),
        ];
        proptest::collection::vec(step, 0..400)
    }

    fn entries(map: &CountedMap<i64>) -> Vec<(Bytes, i64)> {
        map.range(None, None).map(|(key, value)| (Bytes::copy_from_slice(key), *value)).collect()
    }

    fn remove(map: &mut CountedMap<i64>, reference: &mut BTreeMap<Bytes, i64>, key: &Bytes) {
        assert_eq!(map.get(key), reference.get(key));
        if reference.remove(key).is_some() {
            map.remove(key);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn counts_and_entries_are_those_of_a_map_that_walks(filled in 0..2500_u16, descends: bool, steps in steps()) {
            let mut map = CountedMap::default();
            let mut reference = BTreeMap::new();
            let mut order: Vec<u16> = (0..filled).collect();
            if descends {
                order.reverse();
            }
            for number in order {
                map.insert(&key(number), i64::from(number % 3));
                reference.insert(key(number), i64::from(number % 3));
            }
            map.root.check(Bound::Unbounded, Bound::Unbounded, true);
            let mut forks = Vec::new();
            for step in steps {
                match step {
                    Step::Set(number, value) => {
                        let before = map.update(&key(number), |old| std::mem::replace(old, value));
                        if before.is_none() {
                            map.insert(&key(number), value);
                        }
                        prop_assert_eq!(before, reference.insert(key(number), value));
                    }
                    Step::Remove(number) => remove(&mut map, &mut reference, &key(number)),
                    Step::RemoveMany(from, count) => {
                        let keys: Vec<Bytes> =
                            reference.range(key(from)..).take(usize::from(count)).map(|(key, _)| key.clone()).collect();
                        for key in keys {
                            remove(&mut map, &mut reference, &key);
                        }
                    }
                    Step::Count(from, to) => {
                        let (from, to) = (key(from), to.map(key));
                        let within = |key: &Bytes| *key >= from && to.as_ref().is_none_or(|to| key < to);
                        let want: Vec<_> =
                            reference.iter().filter(|(key, _)| within(key)).map(|(key, value)| (&**key, value)).collect();
                        let counted = want.iter().filter(|(_, value)| value.counts()).count();
                        prop_assert_eq!(map.count(&from, to.as_deref()), counted);
                        prop_assert_eq!(map.range(Some(&from), to.clone()).collect::<Vec<_>>(), want);
                    }
                    Step::Fork => forks.push((map.clone(), entries(&map))),
                }
                map.root.check(Bound::Unbounded, Bound::Unbounded, true);
                prop_assert_eq!(map.len(), reference.len());
            }
            let want: Vec<(Bytes, i64)> = reference.into_iter().collect();
            prop_assert_eq!(entries(&map), want.clone());
            for (fork, then) in forks {
                prop_assert_eq!(entries(&fork), then);
            }
            // Built in another order, the same map.
            let mut again = CountedMap::default();
            for (key, value) in want.into_iter().rev() {
                again.insert(&key, value);
            }
            prop_assert_eq!(&again, &map);
            prop_assert_eq!(hash(&again), hash(&map));
        }
    }

    #[test]
    fn keys_added_in_order_leave_full_leaves() {
        let mut map = CountedMap::default();
        for number in 0..10_000 {
            map.insert(format!("{number:05}").as_bytes(), 1_i64);
        }
        let depth = map.root.check(Bound::Unbounded, Bound::Unbounded, true);
        // 32 to the third is enough for ten thousand, if the leaves are full.
        assert_eq!(depth, 3);
        let Node::Inner(children) = map.root.as_ref() else { panic!("a root that is a leaf") };
        assert_eq!(children[0].counted, WIDTH * WIDTH);
    }
}
