//! units
pub mod agent;
pub mod engine;
pub mod model;
pub mod registry;
pub mod unit;
