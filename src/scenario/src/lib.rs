//! Room `scenario`: what may go wrong, written in a file; drawn into a plan; played in a theatre; judged by
//! oracles.
//!
//! A scenario is read from TOML ([`format`]), a seed turns it into a [`Plan`] in which every choice is made,
//! the [`runner`] plays it (storm, then heal) in any [`theatre::Theatre`], everything seen is taken down in a
//! [`record::RunLog`], and the [`oracles`] judge that log as a plain value.
//!
//! Deliberately knows nothing of a concrete world: neither the simulator nor real processes. Whoever has a
//! world with a cluster in it implements the theatre and hands the log to [`judge`].
//!
//! Read first: [`format::spec::Scenario`] (what is asked for), [`Plan`] (what is done), [`record::RunLog`]
//! (what came of it).

pub mod alone;
mod atlas;
pub mod batch;
pub mod branch;
pub mod campaign;
mod chance;
mod clients;
pub mod damage;
pub mod fault;
pub mod files;
pub mod format;
mod goals;
mod judge;
#[cfg(feature = "mutants")]
mod kin;
mod losses;
pub mod machines;
pub mod mutants;
mod nemesis;
pub mod novelty;
pub mod observation;
pub mod oracles;
mod plan;
pub mod priorities;
pub mod record;
pub mod runner;
pub mod shrink;
pub mod signature;
pub mod sites;
pub mod table;
pub mod techniques;
pub mod theatre;
mod to_report;
pub mod vary;
#[cfg(feature = "mutants")]
pub mod yields;

pub use judge::{Judgement, judge};
pub use plan::{ClientPlan, Knobs, LockStep, MachineStep, PLAN_FORMAT, Plan, PlannedFault, Step, StepKind};
