//! A key as the index keeps it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes of a key that lies in the index itself.
const SHORT_MAX: usize = 22;

/// A key of the index. A short one lies in its place: with millions of keys an allocation for each would take more than
/// the keys, and a search would fetch each from somewhere else. Long ones are shared by clones.
#[derive(Clone)]
pub(super) struct Key(Kept);

#[derive(Clone)]
enum Kept {
    Short { length: u8, bytes: [u8; SHORT_MAX] },
    Long(Arc<[u8]>),
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        Self(match <u8>::try_from(key.len()) {
            Ok(length) if key.len() <= SHORT_MAX => {
                let mut bytes = [0; SHORT_MAX];
                bytes[..key.len()].copy_from_slice(key);
                Kept::Short { length, bytes }
            }
            _ => Kept::Long(key.into()),
        })
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Short { length, bytes } => &bytes[..usize::from(*length)],
            Kept::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytes::Bytes::copy_from_slice(self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_length_comes_back_and_takes_three_words() {
        assert_eq!(size_of::<Key>(), 24);
        for length in [0, 1, SHORT_MAX, SHORT_MAX + 1, 255, 256, 10_000] {
            let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
            assert_eq!(*Key::from(&bytes[..]), bytes[..]);
        }
    }
}
