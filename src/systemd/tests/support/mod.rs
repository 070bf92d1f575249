//! Two systemds to test against: the machine's own program, in a room of its own, and one that is played.

pub mod fake;
pub mod real;
