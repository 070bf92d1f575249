//! The same members on the worst of networks, without ways that tell nothing new.
//!
//! Whatever was said once may arrive at any later time, any number of times, or never: so what is on its way is the set of all
//! that was ever said, and nothing has to be bounded but terms, proposals, crashes and beats. A world is then a handful of numbers of
//! parts that are kept once: members with what they have said, and a rest. What follows a pair of parts is worked out once,
//! by the core that is shipped, and looked up ever after.
//!
//! Left out are worlds that differ in the members' names alone, and orders that make no difference; `docs/explore.md` says which,
//! and why none of them can hide a violation.

mod checkpoint;
mod dead;
mod growth;
mod member;
mod moves;
mod parts;
mod state;
mod table;
mod walk;
mod way;

pub use checkpoint::ResumeError;
pub use growth::Growth;
pub use walk::{Report, Walk, WalkLimits};

/// How large the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Members, all of them voters: 2 to 4.
    pub members: u8,
    /// No campaign leads beyond this term.
    pub terms: u8,
    /// Proposals, in all.
    pub entries: u8,
    /// Crashes, in all.
    pub crashes: u8,
    /// Heartbeats and quorum checks of leaders, in all.
    pub beats: u8,
    /// Reads that clients begin at whoever leads, in all. (What a follower passes on may arrive any number of times, and each copy
    /// begins a round of its own: of these worlds there is no end.)
    pub reads: u8,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { members: 3, terms: 2, entries: 1, crashes: 1, beats: 0, reads: 0 }
    }
}

/// What is left out. Without any of it, every order is a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reductions {
    /// Worlds which differ in the names of the members alone are one.
    pub symmetry: bool,
    /// Steps whose order with all others makes no difference are taken at once.
    pub order: bool,
}

impl Reductions {
    /// Everything that can be left out.
    pub const ALL: Self = Self { symmetry: true, order: true };
    /// Nothing is left out.
    pub const NONE: Self = Self { symmetry: false, order: false };
}
