//! etcd's v3 API on the wire: the generated messages and services, and their translation to and from the
//! values of `seatrial-types`.
//!
//! Every message has `From` or `TryFrom` in both directions, for servers and clients need them both. Knows
//! nothing of connections, and checks only the form of what it decodes (an enum out of range, a missing
//! part); what a request may ask for is the business of the room `etcd`.
//!
//! Read first: [`etcdserverpb`] (messages, clients and servers), `convert/kv.rs`, `convert/watch.rs`.

/// Keys, values and events.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Users, roles and permissions.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// Leases as etcd's database has them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod leasepb {
    include!(concat!(env!("OUT_DIR"), "/leasepb.rs"));
}

/// Services and their messages.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// The lock service and its messages.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// The election service and its messages.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// gRPC's protocol for asking after a server's health.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

/// gRPC's protocol for asking a server what it serves.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod reflection {
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1.rs"));
}

/// The same under its older name.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod reflection_alpha {
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1alpha.rs"));
}

pub use prost_reflect;

/// The descriptors of all messages and services of this crate.
#[must_use]
pub fn descriptors() -> &'static prost_reflect::DescriptorPool {
    // A constant that takes some work.
    static POOL: std::sync::LazyLock<prost_reflect::DescriptorPool> = std::sync::LazyLock::new(|| {
        let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
        prost_reflect::DescriptorPool::decode(bytes).expect("the compiler of these files wrote them")
    });
    &POOL
}

mod convert {
    mod auth;
    mod cluster;
    mod kv;
    mod lease;
    mod maintenance;
    mod watch;
}

use seatrial_types::{Code, Error};

/// A peer sent something that is not this API: the message names the part.
pub(crate) fn malformed(what: &str) -> Error {
    Error::Other(Code::InvalidArgument, format!("malformed message: {what}"))
}
