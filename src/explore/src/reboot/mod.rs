//! The reboot lock: machines with the agent that is shipped, and a table of keys. A machine may lose its power or have its
//! agent killed at every step; an answer may be lost; a write of one that died may arrive late; an operator may change the
//! number of slots.
//!
//! Time stands still but for a few ticks, each longer than a reservation is waited for and all of them shorter than a waiter's
//! patience. What an agent's pauses last does not matter: any of those that wait may go on next.

mod calm;
mod model;
mod room;
mod table;

pub use model::{Bounds, Step};
pub use room::{Late, Machine, Power, Room};
pub use table::Fate;
