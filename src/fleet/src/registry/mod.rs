//! Where everything is kept: keys and values of the v3 store, a mirror of them, and the transactions that change them.

pub mod keys;
mod mirror;
mod records;
mod restore;
pub mod v2;
pub mod view;
mod write;

pub use keys::Key;
pub use mirror::{Mirror, Touched};
pub use records::{LeaderRecord, MetadataRecord, RecordError, Target};
pub use restore::restore;
pub use write::{Batch, Fence, OPS_MAX, Write, agent, fenced, schedule, write};
