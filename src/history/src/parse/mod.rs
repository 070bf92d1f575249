//! Recorded histories of other tools.
//!
//! All of them list events, `:invoke` and one of `:ok`, `:fail`, `:info` per process in turn. Time is the
//! place of an event in the list. `:info`, or no completion, leaves the outcome unknown.

mod edn;
mod events;

pub use edn::{Edn, EdnError, read_all};
pub use events::{ParseError, jepsen_register, knossos_multi_register, knossos_register, porcupine_kv};
