//! Keys and values: bytes that read as text wherever they are text.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A key or a value. In JSON a string where the bytes are UTF-8, otherwise `{"hex":"00ff"}`: lossless both
/// ways, and a person can read the usual case.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Bytes);

impl Blob {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The range end which, with this as key, means "every key that starts with it", in etcd's notation.
    #[must_use]
    pub fn prefix_end(&self) -> Self {
        Self(seatrial_types::KeyRange::prefix(self.0.clone()).end)
    }
}

/// For people: quoted, shortened after 48 characters, odd bytes escaped.
impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 48;
        let shown = &self.0[..self.0.len().min(SHOWN_MAX)];
        let rest = self.0.len() - shown.len();
        match std::str::from_utf8(&self.0) {
            Ok(text) => {
                let short: String = text.chars().take(SHOWN_MAX).collect();
                let more = if short.len() < text.len() { "…" } else { "" };
                write!(f, "\"{}{more}\"", short.escape_debug())
            }
            Err(_) => write!(f, "\"{}{}\"", shown.escape_ascii(), if rest > 0 { "…" } else { "" }),
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Hex { hex: String },
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let hex = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                Form::Hex { hex }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(text.into()),
            Form::Hex { hex } => from_hex(&hex).ok_or_else(|| {
                serde::de::Error::custom(format!("{hex:?} is not an even number of hexadecimal digits"))
            }),
        }
    }
}

fn from_hex(hex: &str) -> Option<Blob> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect();
    bytes.map(Blob::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_json_and_text_stays_readable() {
        for bytes in [&b""[..], b"plain", "gr\u{fc}n \"q\" \n".as_bytes(), b"\xff\x00\x80", b"a\xc3"] {
            let blob = Blob::from(bytes.to_vec());
            let json = serde_json::to_string(&blob).unwrap();
            assert_eq!(serde_json::from_str::<Blob>(&json).unwrap(), blob, "{json}");
        }
        assert_eq!(serde_json::to_string(&Blob::from("plain")).unwrap(), "\"plain\"");
        assert_eq!(serde_json::to_string(&Blob::from(vec![0xff, 0])).unwrap(), r#"{"hex":"ff00"}"#);
    }

    #[test]
    fn broken_hex_is_refused() {
        for json in [r#"{"hex":"f"}"#, r#"{"hex":"zz"}"#, r#"{"hex":"ü"}"#, "3"] {
            assert!(serde_json::from_str::<Blob>(json).is_err(), "{json}");
        }
    }
}
