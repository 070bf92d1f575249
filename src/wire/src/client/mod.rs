//! Dialing: one channel to one address, and the requests of the store over it.

mod channel;
mod elections;
mod endpoint;
mod line;
mod locks;
mod v2;

pub use channel::{Channel, ChannelError, ChannelOptions};
pub use elections::{GrpcObserver, Leadership};
pub use endpoint::{GrpcEndpoint, GrpcWatch};
pub use v2::*;
pub(crate) use v2::{Begun, Endpoint, Line, Outgoing};

use seatrial_client::{Client, ClientOptions};
use seatrial_world::World;

/// A client of the cluster at these endpoints (`http://host:port` or `host:port`). Nothing is dialed yet.
///
/// # Errors
/// A sentence about the first endpoint that cannot be one, or about there being none.
pub fn connect<W: World>(
    world: &W,
    endpoints: &[impl AsRef<str>],
    channel: &ChannelOptions,
    client: ClientOptions,
) -> Result<Client<W, GrpcEndpoint<W>>, String> {
    if endpoints.is_empty() {
        return Err("no endpoints given".to_owned());
    }
    let endpoints = endpoints
        .iter()
        .map(|endpoint| GrpcEndpoint::new(world.clone(), endpoint.as_ref(), channel.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Client::new(world.clone(), endpoints, client))
}

/// Whether an endpoint says that it speaks TLS.
#[must_use]
pub fn is_https(endpoint: &str) -> bool {
    endpoint.starts_with("https://")
}

/// The `host:port` of an endpoint as people write it.
///
/// # Errors
/// A sentence that names the endpoint.
pub fn host_port(endpoint: &str) -> Result<String, String> {
    let rest = match endpoint.split_once("://") {
        None => endpoint,
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => return Err(format!("endpoint {endpoint:?}: unknown scheme {scheme:?}")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| format!("endpoint {endpoint:?}: no port"))?;
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
        return Err(format!("endpoint {endpoint:?}: host {host:?} is none"));
    }
    port.parse::<u16>()
        .map_err(|_| format!("endpoint {endpoint:?}: port {port:?} is no number up to 65535"))?;
    Ok(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::host_port;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        assert_eq!(host_port("http://a:1").unwrap(), "a:1");
        assert_eq!(host_port("https://a:1").unwrap(), "a:1");
        assert_eq!(host_port("a.b:65535").unwrap(), "a.b:65535");
        assert_eq!(host_port("http://[::1]:2379/").unwrap(), "[::1]:2379");
        for wrong in ["a", "http://a", "https://a", "ftp://a:1", ":1", "a:65536", "a b:1", "http://a/b:1", ""]
        {
            assert!(host_port(wrong).unwrap_err().contains(&format!("{wrong:?}")), "{wrong}");
        }
    }
}
