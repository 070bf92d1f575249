//! Room `history`: what clients did and heard, and whether that can be right.
//!
//! Two independent checkers judge linearizability. [`check_revisions`] follows the revisions which every
//! etcd answer carries and needs no search; [`search::check`] tries orders (Wing and Gong, with Lowe's
//! memory) and serves any model, with or without revisions. [`watch`] judges what watches delivered,
//! [`parse`] reads recorded histories of other tools, and [`examine`] judges them and explains what fails.
//!
//! Deliberately knows nothing of I/O, clocks or clusters: a history is a value, made by whoever ran the
//! clients. Times in it are numbers whose order alone counts. A verdict is a function of its input: where a
//! budget runs out it is [`Verdict::Unknown`], which never counts as a pass.
//!
//! Read first: [`History`] (what is judged), [`Verdict`] (what is said), [`Explained`] (why it holds).

// The tests within this crate share their histories with those outside of it.
#[cfg(test)]
extern crate self as seatrial_history;

mod blob;
mod budget;
mod eval;
pub mod examine;
mod gaps;
pub mod jsonl;
mod op;
mod order;
pub mod parse;
mod recorder;
mod replay;
mod revisions;
pub mod search;
mod verdict;
pub mod watch;

pub use blob::Blob;
pub use budget::Budget;
pub use op::{
    Action, Answer, Compare, Delete, Found, Get, History, Input, Kv, Operation, Outcome, Put, Relation,
    Snapshot, Target, Txn, seconds,
};
pub use recorder::Recorder;
pub use replay::{Replay, Step};
pub use revisions::{Change, Explained, Final, check_revisions, explain};
pub use verdict::{Rule, Verdict, Violation};
