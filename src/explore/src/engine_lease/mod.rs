//! Fleet's scheduler: engines of which one leads, agents, and the store's state machine between them. An engine stands for election by
//! `client::Election`, decides and fences by `fleet::lead::Lead`; an agent acts by `fleet::duty::Duty`. Each request to the store is a
//! step of its own, so an engine may stand still between what it saw and what it writes for as long as you like.
//!
//! One assumption about clocks is the product's own: a machine's lease does not end in the store before its agent has had a turn
//! within the last half of its margin. All else may happen at any time.

mod fleet;
mod machine;
mod model;
mod rules;

pub use fleet::{Engine, Fleet, Late, Phase};
pub use machine::Machine;
pub use model::{Bounds, Fate, Step};
