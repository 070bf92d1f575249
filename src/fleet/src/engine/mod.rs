//! Which machine gets which unit: decisions of the engine as functions over a cluster.

mod board;
mod decide;
pub mod pace;
pub mod reason;

pub use decide::{Limits, Outcome, decide, gone_machines};
pub use pace::{Pace, Policy};
pub use reason::{Decision, Obstacle, Reason, Why};
