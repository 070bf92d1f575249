//! etcd's semantics, those of v3 and of v2, in front of a member: every request is checked to the letter before the member
//! sees it, and refused with etcd's own error.
//!
//! Knows nothing of sockets or wire formats, and nothing of what is stored: whether a key, a lease or a
//! revision exists is the member's answer. Faces hold an [`EtcdService`] and translate.
//!
//! Read first: [`EtcdService`], [`Ask`], [`validate::check`].

mod ask;
pub mod auth;
mod metrics;
mod service;
pub mod v2;
pub mod validate;

pub use ask::{Ask, AskSend, AskV2, AskWatch};
pub use auth::fuzz_token;
pub use auth::{AuthOptions, Outside, TokenOptions};
pub use metrics::{Kind, MemberMetrics, Page, member_metrics};
pub use seatrial_node::{API_VERSION, Histogram};
pub use service::{EtcdService, WatchAnswers, WatchAsks};
pub use validate::Limits;
