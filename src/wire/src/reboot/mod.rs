//! The reboot lock over this room's wires: its keys in process and over the v2 API, a machine that asks over FleetLock, and the
//! store's members as the guard of their quorum wants to see them.

mod asking;
mod hosts;
mod in_process;
mod over_http;

pub use asking::{FleetLock, FleetLockOptions};
pub use hosts::{MEMBERS, Survey, place};
pub(crate) use in_process::StoreKeys;
pub use over_http::V2Keys;

use crate::client::v2_key;
use seatrial_reboot::KeysError;
use seatrial_types::v2::{V2Code, V2Error};

/// What the key space says, as the lock reads it.
fn refused(error: &V2Error) -> KeysError {
    let (index, key) = (error.index, v2_key(&error.cause).to_owned());
    match error.code {
        V2Code::KeyNotFound => KeysError::NotFound { key, index },
        V2Code::KeyExists => KeysError::Exists { key, index },
        V2Code::EventIndexCleared => KeysError::HistoryCleared { index },
        V2Code::CompareFailed => match compared(&error.cause) {
            Some((wanted, found)) => KeysError::CompareFailed { wanted, found, index },
            None => other(error),
        },
        _ => other(error),
    }
}

fn other(error: &V2Error) -> KeysError {
    let message = format!("{} ({}) [{}]", error.code.message(), v2_key(&error.cause), error.index);
    KeysError::Refused { code: error.code.number(), message }
}

/// The two indexes in `[7 != 8]`.
fn compared(cause: &str) -> Option<(u64, u64)> {
    let (wanted, found) = cause.strip_prefix('[')?.strip_suffix(']')?.split_once(" != ")?;
    Some((wanted.parse().ok()?, found.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_key_space_is_read_so_that_it_prints_the_same() {
        let text = |code, cause: &str| refused(&V2Error { code, cause: cause.into(), index: 9 }).to_string();
        for (code, cause, want) in [
            (V2Code::KeyNotFound, "/1/a", "100: Key not found (/a) [9]"),
            (V2Code::CompareFailed, "[7 != 8]", "101: Compare failed ([7 != 8]) [9]"),
            (V2Code::KeyExists, "/1/a", "105: Key already exists (/a) [9]"),
            (V2Code::NotAFile, "/1/a", "102: Not a file (/a) [9]"),
        ] {
            assert_eq!(text(code, cause), want);
        }
        assert!(refused(&V2Error { code: V2Code::KeyExists, cause: "/1/a".into(), index: 1 }).is_lost_race());
        assert!(!refused(&V2Error { code: V2Code::NotAFile, cause: "/1/a".into(), index: 1 }).is_lost_race());
    }
}
