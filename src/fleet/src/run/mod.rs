//! The loops: an engine and an agent over any world and any store.

mod agent;
mod engine;
mod following;
mod keeper;
mod kept;
mod manager;
mod publisher;
mod view;

pub use agent::{AgentNews, AgentOptions, run_agent};
pub use engine::{EngineNews, EngineOptions, run_engine};
pub use following::{Change, Following};
pub use kept::{Bench, KeptUnits, Record, Records, UnitRunner};
pub use manager::{LoadedUnit, ManagerError, SystemdState, UnitManager};
pub use view::{OldRegistry, ViewError, ViewNews, ViewOptions, run_view};
