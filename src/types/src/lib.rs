//! The words that every room shares: ids and counters, requests and answers as values, errors with
//! etcd's texts, and the switches of the planted bugs and of what is rare.
//!
//! Knows nothing of I/O, time or async, nor of any wire format; `proto` and `wire` translate.
//!
//! Read first: [`ids`] (what is counted), [`request::Request`] (what can be asked of the store),
//! [`error::Error`] (what can go wrong, with etcd's code and text).

pub mod auth;
pub mod buggify;
pub mod error;
pub mod ids;
pub mod kv;
pub mod planted;
pub mod request;
pub mod v2;
pub mod watch;

pub use error::{Code, Error};
pub use ids::{ClusterId, LeaseId, LogIndex, MemberId, Revision, Term};
pub use kv::{Event, EventKind, KeyRange, KeyValue};
pub use request::{Request, Response};
