//! One request over HTTP/1.1, to an address of the world or to a socket file.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use seatrial_world::World;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where a fleet is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `host:port`.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl Place {
    /// Reads an endpoint: `http://host:port`, `unix:///path`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("file://")) {
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with("https://") {
            return Err(format!(
                "--endpoint {text}: fleet's interface is plain HTTP\nhint: http://host:49153"
            ));
        }
        let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(address.to_owned()))
            }
            _ if !address.is_empty() && !address.contains([':', '/']) => {
                Ok(Self::Tcp(format!("{address}:80")))
            }
            _ => Err(format!(
                "--endpoint {text} is no place\nhint: http://host:49153, or unix:///var/run/fleet.sock"
            )),
        }
    }
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
pub(crate) async fn connect<W: World>(world: &W, place: &Place) -> Result<Connection, String> {
    match place {
        Place::Tcp(address) => {
            let stream = world.connect(address).await.map_err(|error| error.to_string())?;
            shake(world, stream).await
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
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let host = match place {
        Place::Tcp(address) => address.as_str(),
        Place::Unix(_) => "localhost",
    };
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

/// Asks on a connection of its own.
pub(crate) async fn open<W: World>(
    world: &W,
    place: &Place,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<Response<Incoming>, String> {
    let request = request(place, method, path, body)?;
    let mut connection = connect(world, place).await?;
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
        assert_eq!(Place::parse("unix:///run/f.sock"), Ok(Place::Unix("/run/f.sock".into())));
        for wrong in ["", "http://", "host:port", "https://a:1", "ftp://a:1/b"] {
            assert!(Place::parse(wrong).unwrap_err().contains("hint:"), "{wrong}");
        }
    }
}
