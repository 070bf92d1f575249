//! etcd's v2 API (last served by etcd 3.5): what a request means, and what an answer looks like.

pub mod auth;
mod form;
mod keys;
mod show;

pub use form::{Form, escape};
pub use keys::{KeysAsk, KeysRequest, parse};
pub use show::{event, json, refusal, status, unavailable, when};
