//! What a user writes: files, names, and what a unit asks of the machine it runs on.

pub mod file;
pub mod glob;
pub mod name;
pub mod requirements;

pub use file::{FileError, UnitFile, UnitHash, UnitOption};
pub use glob::{Glob, GlobError};
pub use name::{MachineId, NameError, UnitName};
pub use requirements::{OnPartition, OptionError, Requirements};
