//! All futures, up to a bound: the pure cores of the product, walked exhaustively.
//!
//! Simulation samples what may happen. Here a small world of a few machines is a value, everything that may happen next to it
//! is a list, and stateright visits every world that can be reached. What runs in it are the types that run in production,
//! not a second description of them.
//!
//! Knows nothing of sockets, files, clocks or threads of its own. What is not in a model's bounds is not proven.
//!
//! Read first: [`Exploration`], [`reboot::Room`], [`reboot::Bounds`].

mod check;
pub mod reboot;

pub use check::{Counterexample, Exploration, Limits, Outcome, Sight, check};
