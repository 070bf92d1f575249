//! etcd's v2 key space as a state machine: a tree of directories and files, the last changes to it, and who waits for
//! the next.
//!
//! Every member applies the same changes in the same order and so holds the same [`Tree`], history and index included.
//! What runs out does so by a clock that the leader moves through the log ([`Tree::tick`]): no member's calendar decides,
//! and a change of leader lets things live longer, never shorter. Who waits ([`Hub`]) is each member's own affair.
//!
//! Knows nothing of HTTP, of the log, or of disks: changes come in as values, and rows to be kept go out as values.
//!
//! Read first: [`Tree`], [`Effect`], [`Hub`].

mod history;
mod hub;
mod node;
mod path;
mod rows;
mod show;
mod tree;

pub use history::HISTORY_MAX;
pub use hub::{Hub, Told};
pub use path::{clean, is_hidden};
pub use rows::{ROWS, Row, RowError};
pub use tree::{Effect, Tree};
