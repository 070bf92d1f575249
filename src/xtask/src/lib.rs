//! The house rules as checks, run by `cargo test`: arrows between rooms, words that do not belong, data
//! files that must be well-formed, and sizes that must not grow.
//!
//! Knows nothing of what the rooms do: it reads their text and their manifests, and it depends on none of
//! them, so that a broken room cannot silence the check that would say so.
//!
//! Every check is a function from text to complaints, each a full sentence which names the place and the
//! way out; an empty list is a pass. That makes every check testable on a sample made to offend.
//!
//! Read first: [`tree::Tree`] (what is looked at), [`arrows::complaints`] and [`words::complaints`].

#![allow(clippy::disallowed_methods, reason = "a development tool reads files and starts cargo")]

pub mod arrows;
pub mod code;
pub mod data;
pub mod names;
pub mod pages;
pub mod planted;
pub mod proofs;
pub mod ratchet;
pub mod rooms;
pub mod tree;
pub mod words;

/// Fails a test with all complaints at once: one run should show everything that is to be mended.
///
/// # Panics
/// Where there is a complaint.
pub fn expect_none(what: &str, complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "{what}: {} complaint(s)\n- {}\n",
        complaints.len(),
        complaints.join("\n- ")
    );
}
