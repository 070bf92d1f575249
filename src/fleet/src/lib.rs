//! units
pub mod engine;
pub mod model;
pub mod unit;
