//! Every listener and dialer of the client protocols: gRPC and HTTP/1.1 on one port, and the gRPC client.
//!
//! Generic over the world only where connections are accepted or made; the handlers behind hold the plain
//! [`EtcdService`](seatrial_etcd::EtcdService) and are compiled once. Knows nothing of tokio's runtime, of
//! what requests mean (`etcd`) or of retries (`client`).
//!
//! Read first: [`serve_clients`], [`Channel`], [`GrpcEndpoint`].

mod client;
mod clock;
mod outside;
mod server;
mod status;
mod tls;

pub use client::{
    Channel, ChannelError, ChannelOptions, GrpcEndpoint, GrpcObserver, GrpcWatch, Leadership, connect,
    host_port, is_https,
};
pub use server::{Access, ClientCommonName, Metrics, ServeOptions, Serving, fuzz_json, serve_clients};
pub use status::{error_of_status, status_of_error};
pub use tls::{ReadFile, Tls, TlsFiles};
