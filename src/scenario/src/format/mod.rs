//! The scenario file: one TOML file, read strictly.

mod parse;
mod source;
pub mod spec;
mod units;
mod workloads;

pub use parse::parse;
pub use source::FormatError;
