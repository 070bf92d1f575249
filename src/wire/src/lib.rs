//! Every listener and dialer of the client protocols: gRPC and HTTP/1.1 on one port, and the clients for gRPC and
//! for etcd's v2 API.
//!
//! Generic over the world only where connections are accepted or made; the handlers behind hold the plain
//! [`EtcdService`](seatrial_etcd::EtcdService) and are compiled once. Knows nothing of tokio's runtime, of
//! what requests mean (`etcd`) or of retries (`client`).
//!
//! Read first: [`serve_clients`], [`Channel`], [`GrpcEndpoint`].

mod client;
mod clock;
mod outside;
mod reboot;
mod server;
mod status;
mod tls;

pub use client::{
    Channel, ChannelError, ChannelOptions, GrpcEndpoint, GrpcObserver, GrpcWatch, Leadership, connect,
    host_port, is_https,
};
pub use client::{
    DiscoveryError, V2Client, V2ClientError, V2ClientOptions, V2Delete, V2Failure, V2Forwarded, V2Get,
    V2Member, V2Paths, V2Permissions, V2Put, V2Role, V2Stream, V2Tell, V2Told, V2User, V2UserOrder,
    V2Version, V2Watcher, discover, registry, v2_key,
};
pub use reboot::{FleetLock, FleetLockOptions, MEMBERS, Survey, V2Keys, place};
pub use server::RebootLock;
pub use server::discovery::{DiscoveryOptions, serve_discovery};
pub use server::{Access, ClientCommonName, Metrics, ServeOptions, Serving, fuzz_json, serve_clients};
pub use status::{error_of_status, status_of_error};
pub use tls::{ReadFile, Tls, TlsFiles};
