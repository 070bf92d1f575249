//! The JSON gateway: the API for those who have nothing but HTTP, as etcd 3.5 offers it.
//!
//! A request is turned into the bytes of its message and goes the way every call over gRPC goes; what comes back is
//! written as JSON.

mod message;
mod routes;
mod scan;
mod stream;

use super::dispatch::Dispatch;
use super::held::Held;
use super::unread::Reader;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use prost::Message;
use scan::First;
use seatrial_etcd::Ask;
use seatrial_proto::prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use std::time::Duration;
use stream::{Messages, Uploads};
use tonic::body::Body;
use tonic::{Code, Status};

/// The method which the request's path stands for.
pub(super) enum Target {
    /// Not a path of the gateway.
    Elsewhere,
    /// A path of the gateway for which there is no method.
    Unknown,
    /// This one.
    Method(MethodDescriptor),
}

pub(super) fn target(path: &str) -> Target {
    match routes::below_prefix(path) {
        None => Target::Elsewhere,
        Some(below) => routes::method(below).map_or(Target::Unknown, Target::Method),
    }
}

/// A short answer in plain text, as Go's HTTP server gives it.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(format!("{text}\n")))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Answers a request at a method's path.
pub(super) async fn answer<A: Ask>(
    dispatch: &Dispatch<A>,
    reader: &Reader,
    method: &MethodDescriptor,
    request: Request<Incoming>,
) -> Response<Body> {
    if request.method() != http::Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    let (head, body) = request.into_parts();
    let (metadata, timeout) = match metadata(&head.headers) {
        Ok(found) => found,
        Err(status) => return refused(&status),
    };
    let uri = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let call = |body: Body| {
        let mut call = Request::new(body);
        *call.method_mut() = http::Method::POST;
        *call.uri_mut() = uri.parse().expect("names of methods make a path");
        *call.headers_mut() = metadata;
        call
    };
    let text_bytes_max = dispatch.request_bytes_max().saturating_mul(4).saturating_add(1 << 16);
    if method.is_client_streaming() {
        let mut uploads = Uploads::new(body, method.input(), text_bytes_max);
        let first = match uploads.next().await {
            Ok(first) => first,
            // As in etcd, where this one error has no code.
            Err(status) => return refused(&Status::unknown(status.message())),
        };
        let answered = dispatch.grpc(call(uploads.into_body(first)), timeout, None).await;
        return streamed(answered, method.output()).await;
    }
    let message = match whole(body, &method.input(), text_bytes_max).await {
        Ok(message) => message,
        Err(status) => return refused(&status),
    };
    let answered = dispatch.grpc(call(Body::new(Full::new(framed(&message)))), timeout, None).await;
    if method.is_server_streaming() {
        return streamed(answered, method.output()).await;
    }
    single(dispatch, reader, answered, method.output()).await
}

/// What of an HTTP request's head goes along with the call, and its time limit.
fn metadata(headers: &HeaderMap) -> Result<(HeaderMap, Option<Duration>), Status> {
    let mut metadata = HeaderMap::new();
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("grpc-metadata-") {
            if let Ok(name) = HeaderName::try_from(name) {
                metadata.append(name, value.clone());
            }
        } else if *name == header::AUTHORIZATION {
            metadata.append(name, value.clone());
        }
    }
    let timeout = headers.get("grpc-timeout").map(|value| {
        let value = String::from_utf8_lossy(value.as_bytes());
        timeout(&value).ok_or_else(|| Status::invalid_argument(format!("invalid grpc-timeout: {value}")))
    });
    Ok((metadata, timeout.transpose()?))
}

/// A number and a unit; unlike in gRPC of any length.
fn timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = number.parse::<i64>().ok()?;
    let nanos_each: u128 = match unit {
        "H" => 3_600_000_000_000,
        "M" => 60_000_000_000,
        "S" => 1_000_000_000,
        "m" => 1_000_000,
        "u" => 1_000,
        "n" => 1,
        _ => return None,
    };
    let nanos = u128::from(u64::try_from(number).unwrap_or(0)) * nanos_each;
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// The one message of a request; none at all is one with nothing set.
async fn whole(mut body: Incoming, input: &MessageDescriptor, bytes_max: usize) -> Result<Bytes, Status> {
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if text.len() + data.len() > bytes_max {
            return Err(too_large(text.len() + data.len(), bytes_max));
        }
        text.extend_from_slice(&data);
    }
    let found = match scan::first(&text, true) {
        First::Nothing => return Ok(Bytes::new()),
        First::Value(at) => message::decode(input, &text[at]),
        First::Part => Err("unexpected EOF".to_owned()),
        First::Wrong(error) => Err(error),
    };
    found.map(|message| message.encode_to_vec().into()).map_err(Status::invalid_argument)
}

fn too_large(bytes: usize, bytes_max: usize) -> Status {
    Status::resource_exhausted(format!("grpc: received message larger than max ({bytes} vs. {bytes_max})"))
}

/// A message as gRPC sends it: a flag (not compressed), its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}

fn json(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The mark of an answer that came with a head of its own.
fn from_grpc(mut response: Response<Body>) -> Response<Body> {
    let name = HeaderName::from_static("grpc-metadata-content-type");
    response.headers_mut().insert(name, HeaderValue::from_static("application/grpc"));
    response
}

/// An error before anything was answered, in the form of etcd 3.5.
fn refused(status: &Status) -> Response<Body> {
    let mut message = String::new();
    message::string(status.message(), &mut message);
    let code = status.code() as i32;
    let text = format!(r#"{{"error":{message},"code":{code},"message":{message}}}"#);
    json(http_status(status.code()), Body::new(Full::new(Bytes::from(text))))
}

/// Answers larger than this are written by a thread that may be slow.
const SLOW_BYTES: usize = 256 << 10;

async fn single<A: Ask>(
    dispatch: &Dispatch<A>,
    reader: &Reader,
    answered: Response<Body>,
    output: MessageDescriptor,
) -> Response<Body> {
    let mut messages = Messages::new(answered);
    let bytes = match messages.next().await {
        Some(Ok(bytes)) => bytes,
        Some(Err(status)) => return refused(&status),
        None => return refused(&Status::internal("the call ended without an answer")),
    };
    // The message, its parts, and the text.
    let mut share = match reader.take(bytes.len().saturating_mul(3)) {
        Ok(share) => share,
        Err(refusal) => return refused(&refusal),
    };
    let text = if bytes.len() < SLOW_BYTES {
        to_json(&bytes, &output)
    } else {
        let (give, take) = tokio::sync::oneshot::channel();
        let writing = move || drop(give.send(to_json(&bytes, &output)));
        dispatch.outside().work(Box::new(writing)).await;
        take.await.unwrap_or_else(|_| Err(Status::internal("the answer could not be written")))
    };
    match text {
        Ok(text) => {
            share.shrink(text.len());
            from_grpc(json(StatusCode::OK, Body::new(Held::new(Bytes::from(text), share))))
        }
        Err(status) => refused(&status),
    }
}

/// A line for each message. The head waits for the first, for an error would change it.
async fn streamed(answered: Response<Body>, output: MessageDescriptor) -> Response<Body> {
    let mut messages = Messages::new(answered);
    let mut has_head = messages.has_head();
    let (status, body) = match messages.next().await {
        None => {
            has_head = false;
            (StatusCode::OK, Body::empty())
        }
        Some(Ok(first)) => (StatusCode::OK, messages.into_lines(first, output)),
        Some(Err(error)) => {
            (http_status(error.code()), Body::new(Full::new(Bytes::from(stream_error(&error)))))
        }
    };
    let response = json(status, body);
    if has_head { from_grpc(response) } else { response }
}

fn line(bytes: &[u8], output: &MessageDescriptor) -> Result<String, Status> {
    Ok(format!("{{\"result\":{}}}\n", to_json(bytes, output)?))
}

fn stream_error(status: &Status) -> String {
    let mut message = String::new();
    message::string(status.message(), &mut message);
    let http = http_status(status.code());
    format!(
        r#"{{"error":{{"grpc_code":{},"http_code":{},"message":{message},"http_status":"{}"}}}}"#,
        status.code() as i32,
        http.as_u16(),
        http.canonical_reason().unwrap_or_default(),
    )
}

fn to_json(bytes: &[u8], output: &MessageDescriptor) -> Result<String, Status> {
    let message = DynamicMessage::decode(output.clone(), bytes)
        .map_err(|error| Status::internal(format!("the answer cannot be read: {error}")))?;
    let mut text = String::with_capacity(bytes.len() * 2);
    message::encode(&message, &mut text);
    Ok(text)
}

/// The HTTP status that goes with a code.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// For the fuzz targets: reads a request's text as every method would.
#[doc(hidden)]
pub fn fuzz_json(text: &[u8]) {
    for ended in [false, true] {
        let First::Value(at) = scan::first(text, ended) else { continue };
        for message in seatrial_proto::descriptors().all_messages() {
            if let Ok(decoded) = message::decode(&message, &text[at.clone()]) {
                let mut out = String::new();
                message::encode(&decoded, &mut out);
                let again = message::decode(&message, out.as_bytes()).expect("what was written can be read");
                // By their bytes: a field set to its default is as good as none.
                let equal = again.encode_to_vec() == decoded.encode_to_vec();
                assert!(equal, "{} changed on its way through JSON: {out}", message.full_name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        assert_eq!(timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(timeout("1234567890m"), Some(Duration::from_millis(1_234_567_890)));
        assert_eq!(timeout("-5S"), Some(Duration::ZERO));
        assert_eq!(timeout("9223372036854775807H"), Some(Duration::from_nanos(u64::MAX)));
        for wrong in ["", "S", "abc", "5", "5s", "5\u{e4}"] {
            assert_eq!(timeout(wrong), None, "{wrong:?}");
        }
    }
}
