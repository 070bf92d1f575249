//! One request over HTTP/1.1, to an address of the world, with TLS or without, or to a socket file.

use crate::fleetd::first_token;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use seatrial_wire::ReadFile;
use seatrial_world::{Secure, World, host_of};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where a fleet is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `host:port`.
    Tcp(String),
    /// The same, by https.
    Tls(String),
    /// A socket file.
    Unix(PathBuf),
}

impl Place {
    /// Reads an endpoint: `http://host:port`, `https://host:port`, `unix:///path`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("file://")) {
            return Ok(Self::Unix(path.into()));
        }
        let (place, usual, rest) = match text.strip_prefix("https://") {
            Some(rest) => (Self::Tls as fn(String) -> Self, 443, rest),
            None => (Self::Tcp as fn(String) -> Self, 80, text.strip_prefix("http://").unwrap_or(text)),
        };
        let address = rest.trim_end_matches('/');
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(place(address.to_owned()))
            }
            _ if !address.is_empty() && !address.contains([':', '/']) => {
                Ok(place(format!("{address}:{usual}")))
            }
            _ => Err(format!(
                "--endpoint {text} is no place\nhint: http://host:49153, https://host:49153, or unix:///var/run/fleet.sock"
            )),
        }
    }
}

/// With what one shows who one is.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// Certificates, for https.
    pub(crate) layer: Option<Arc<dyn Secure>>,
    /// A file whose first token is shown over the network. Empty: none.
    pub(crate) token_file: String,
    pub(crate) read: ReadFile,
}

/// A connection on which requests go out one after the other.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

async fn shake<W: World>(
    world: &W,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    world.spawn(async move {
        // What becomes of it, whoever asks on it hears.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Connects.
pub(crate) async fn connect<W: World>(
    world: &W,
    place: &Place,
    credentials: &Credentials,
) -> Result<Connection, String> {
    match place {
        Place::Tcp(address) => {
            let stream = world.connect(address).await.map_err(|error| error.to_string())?;
            shake(world, stream).await
        }
        Place::Tls(address) => {
            let layer = credentials
                .layer
                .as_ref()
                .ok_or("it is to be reached by https, and no certificates are known")?;
            let stream = world.connect(address).await.map_err(|error| error.to_string())?;
            let secured = layer.connect(Box::new(stream), host_of(address)).await;
            shake(world, secured.map_err(|error| error.to_string())?.stream).await
        }
        Place::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await;
            shake(world, stream.map_err(|error| format!("{}: {error}", path.display()))?).await
        }
    }
}

/// A request as it goes out.
pub(crate) fn request(
    place: &Place,
    credentials: &Credentials,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let host = match place {
        Place::Tcp(address) | Place::Tls(address) => address.as_str(),
        Place::Unix(_) => "localhost",
    };
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
    if !credentials.token_file.is_empty() && !matches!(place, Place::Unix(_)) {
        let token = first_token(&credentials.read, &credentials.token_file)?;
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

/// Asks on a connection of its own.
pub(crate) async fn open<W: World>(
    world: &W,
    place: &Place,
    credentials: &Credentials,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, String> {
    let request = request(place, credentials, method, path, body)?;
    let mut connection = connect(world, place, credentials).await?;
    connection.send_request(request).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_or_a_file() {
        let tcp = |text: &str| Ok(Place::Tcp(text.into()));
        assert_eq!(Place::parse("http://127.0.0.1:49153/"), tcp("127.0.0.1:49153"));
        assert_eq!(Place::parse("127.0.0.1:4001"), tcp("127.0.0.1:4001"));
        assert_eq!(Place::parse("http://fleet"), tcp("fleet:80"));
        assert_eq!(Place::parse("https://fleet"), Ok(Place::Tls("fleet:443".into())));
        assert_eq!(Place::parse("https://a:1/"), Ok(Place::Tls("a:1".into())));
        assert_eq!(Place::parse("unix:///run/f.sock"), Ok(Place::Unix("/run/f.sock".into())));
        for wrong in ["", "http://", "host:port", "https://", "ftp://a:1/b"] {
            assert!(Place::parse(wrong).unwrap_err().contains("hint:"), "{wrong}");
        }
    }
}
