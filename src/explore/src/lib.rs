//! All futures, up to a bound: the pure cores of the product, walked exhaustively.
//!
//! Simulation samples what may happen. Here a small world of a few machines is a value, everything that may happen next to it
//! is a list, and every world that can be reached is visited. The models are stateright's, its explorer shows them in a browser, and
//! its search counts the same states as ours. What runs in them are the types that run in production, not a second description of
//! them.
//!
//! Knows nothing of sockets, files, clocks or chance. What is not in a model's bounds is not proven.
//!
//! Read first: [`Exploration`], [`raft::Cluster`], [`reboot::Room`]; then [`raft::reduced`], where what tells nothing new is left out.

mod check;
pub mod engine_lease;
mod lasso;
pub mod lock;
pub mod raft;
pub mod reboot;
mod script;
mod server;
pub mod two_phase_commit;
mod walk;

pub use check::{Counterexample, Exploration, Limits, Outcome, Sight, check, count_with_stateright, serve};
pub use lasso::find_lasso;
