//! Bodies: those of requests within their limit, those of answers, and those that grow as things happen.

use super::super::held::Held;
use super::super::phases as watch;
use super::super::unread::{Reader, SMALL_BYTES};
use super::super::{Phase, gateway::plain, reached};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use std::convert::Infallible;
use tonic::body::Body;

/// The whole body of a request.
///
/// # Errors
/// The answer to give, where it is too long or breaks off.
pub(in crate::server) async fn whole(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Response<Body>> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| plain(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            let text =
                format!("the body has more than {bytes_max} bytes\nhint: --max-request-bytes is the limit");
            return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, &text));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer in JSON that may be long: it is held for its reader.
pub(super) fn held(status: StatusCode, text: String, reader: &Reader) -> Response<Body> {
    if text.len() < SMALL_BYTES {
        return json(status, text);
    }
    match reader.take(text.len()) {
        Ok(share) => {
            let mut response = json(status, String::new());
            *response.body_mut() = Body::new(Held::new(Bytes::from(text), share));
            response
        }
        Err(refusal) => plain(StatusCode::SERVICE_UNAVAILABLE, refusal.message()),
    }
}

/// An answer in JSON that grows as things happen; it ends with them, or with the server.
pub(super) fn growing<S>(pieces: S, phases: watch::Receiver<Phase>) -> Response<Body>
where
    S: Stream<Item = String> + Send + Unpin + 'static,
{
    let frames = futures::stream::unfold((pieces, phases), |(mut pieces, mut phases)| async move {
        let piece = tokio::select! {
            biased;
            piece = futures::StreamExt::next(&mut pieces) => piece?,
            () = reached(&mut phases, Phase::Draining) => return None,
        };
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(piece))), (pieces, phases)))
    });
    let mut response = Response::new(Body::new(StreamBody::new(Box::pin(frames))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
