//! The reboot lock in a simulation: agents as on real machines, an operator, and what members tell of the lock's keys.

mod agent;
mod record;

pub(crate) use agent::{order, run_agent};
pub(crate) use record::Locks;
