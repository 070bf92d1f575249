//! Two systemds to test against: the machine's own program, in a room of its own, and one that is played.
#![allow(dead_code, reason = "each test program uses its part of it")]

pub(crate) mod fake;
pub(crate) mod real;
