//! Bytes from anywhere, given to every decoder we have: none may panic, hang, or take memory without bound, and what was
//! read and written again must be the same.
//!
//! A target is a plain function over bytes, so that three things can drive it: the tests, which replay the corpus and mutate
//! it a little; the program `fuzz`, which mutates for as long as it is told; and libFuzzer, where a nightly compiler is at
//! hand (see `docs/fuzzing.md`). Knows nothing of what the bytes mean, and decides nothing.
//!
//! Read first: [`TARGETS`], [`Mutator`], [`corpus`].

pub mod corpus;
mod mutator;
pub mod samples;
mod targets;

pub use mutator::Mutator;
pub use targets::{TARGETS, Target};
