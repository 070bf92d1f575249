//! The reboot lock: of a group of machines only so many reboot at a time, in their windows, one after the other, and never so
//! many that our own store loses its majority.
//!
//! One semaphore has three faces: locksmith's key in the v2 store, which its old programs read and change as ever; the
//! FleetLock protocol, as pure functions from request to action to response; and an agent that reboots its machine.
//! Locksmith's value alone says who holds a slot. What more there is to know (since when, how far, who waits, whether an
//! operator has paused it) lies in a key beside it that old programs neither see nor destroy.
//!
//! Knows nothing of HTTP, of how the keys of the v2 store are reached, nor of how a machine is rebooted: [`Keys`] and
//! [`Host`] answer that. A client that writes the semaphore itself, as locksmith does, is held to the number of slots and
//! to nothing else: not to windows, the queue, a pause, or the guard of the store's quorum.
//!
//! Read first: [`Semaphore`], [`Operation`], [`Agent`].

mod agent;
mod coordinator;
mod error;
pub mod fleetlock;
mod group;
mod guard;
mod host;
mod keys;
mod ledger;
mod memory;
mod operation;
mod plan;
mod semaphore;
mod stale;
pub mod text;
mod turn;
mod wall;
mod window;

pub use agent::{Action, Agent, Input, Moment, Settings, State, Strategy};
pub use coordinator::Coordinator;
pub use error::RebootError;
pub use group::{GROUPS, Group, ROOT, query_escape};
pub use guard::{Closed, Drain, Guards, Hosted, Quorum, Refusal, Shortage};
pub use host::{Host, Lock, MachineLock, coordinator_conf, run_agent};
pub use keys::{Entry, Found, Keys, KeysError};
pub use ledger::{Failure, Freed, Holder, Ledger, Pause, Phase, Policy, Waiter};
pub use memory::{Memory, Table, Trouble};
pub use operation::{ATTEMPTS_MAX, Done, Locksmith, Operation, Step, Verb};
pub use plan::{Plan, Planned, View};
pub use semaphore::{Malformed, Semaphore, SemaphoreError};
pub use stale::{Evidence, Held, Registration};
pub use turn::Turn;
pub use wall::{Age, Wall};
pub use window::{Day, LocksmithWindow, PeriodicWindow, Window, Windows, Zone, parse_go_duration};
