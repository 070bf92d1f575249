//! The scenario file: one TOML file, read strictly.

mod parse;
mod source;
pub mod spec;
mod units;

pub use parse::parse;
pub use source::FormatError;
