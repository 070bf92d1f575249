//! The scenario file: one TOML file, read strictly.

pub mod options;
mod parse;
pub mod parts;
mod print;
mod rare;
pub mod script;
mod source;
pub mod spec;
mod units;
mod workloads;

pub use parse::parse;
pub use print::print;
pub use source::FormatError;

/// A duration as scenarios write it: `90s`, `1.5h`.
///
/// # Errors
/// What is wrong with it, with a hint on a second line.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text).map_err(|(what, hint)| format!("{what}\nhint: {hint}"))
}
