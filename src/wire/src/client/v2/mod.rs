//! etcd's v2 API as its clients use it: HTTP/1.1 on streams of any world.

mod answer;
mod auth;
mod client;
mod discovery;
mod error;
mod forward;
mod keys;
mod line;
mod members;
mod watch;

pub use answer::{V2Told, v2_key};
pub use auth::{V2Paths, V2Permissions, V2Role, V2User, V2UserOrder};
pub use client::{V2Client, V2ClientOptions, V2Tell};
pub use discovery::{DiscoveryError, discover, registry};
pub use error::{V2ClientError, V2Failure};
pub use forward::V2Forwarded;
pub use keys::{V2Delete, V2Get, V2Put};
pub(crate) use line::{Begun, Endpoint, Line, Outgoing};
pub use members::{V2Member, V2Version};
pub use watch::{V2Stream, V2Watcher};
