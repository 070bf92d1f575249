//! `/v2/keys`: files and directories.

use super::auth::credentials;
use super::body::{growing, held, json, whole};
use super::{ETCD_INDEX, Face, RAFT_INDEX, RAFT_TERM, only};
use crate::server::unread::Reader;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use seatrial_etcd::v2::{Form, KeysAsk, KeysRequest, event, parse, refusal, status, unavailable};
use seatrial_etcd::{Ask, AskV2};
use seatrial_types::request::Header;
use seatrial_types::v2::{V2Answer, V2Code, V2Error, V2Request, V2Watch};
use tonic::body::Body;

/// How far the member was.
struct Place<'a> {
    header: &'a Header,
    raft_index: u64,
    index: u64,
}

fn number(response: &mut Response<Body>, name: HeaderName, number: u64) {
    response.headers_mut().insert(name, HeaderValue::from(number));
}

fn placed(mut response: Response<Body>, place: &Place<'_>) -> Response<Body> {
    number(&mut response, ETCD_INDEX, place.index);
    number(&mut response, RAFT_INDEX, place.raft_index);
    number(&mut response, RAFT_TERM, place.header.raft_term.0);
    response
}

/// An error.
pub(super) fn refused(error: &V2Error) -> Response<Body> {
    let code = StatusCode::from_u16(status(error.code)).expect("they are statuses of HTTP");
    let mut response = json(code, refusal(error));
    number(&mut response, ETCD_INDEX, error.index);
    response
}

impl<A: Ask> Face<A> {
    pub(super) async fn keys(
        &self,
        key: &str,
        request: Request<Incoming>,
        reader: &Reader,
    ) -> Response<Body> {
        let methods = [Method::HEAD, Method::GET, Method::PUT, Method::POST, Method::DELETE];
        if let Some(response) = only(&methods, request.method()) {
            return response;
        }
        let mut response = self.keys_answer(key, request, reader).await;
        self.cluster_id(&mut response).await;
        response
    }

    async fn keys_answer(&self, key: &str, request: Request<Incoming>, reader: &Reader) -> Response<Body> {
        let (head, body) = request.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_form = kind.is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        // Another body is read past and means nothing, as in etcd.
        let body = match whole(body, self.request_bytes_max.saturating_mul(3)).await {
            Ok(body) if is_form && matches!(head.method, Method::PUT | Method::POST) => body,
            Ok(_) => bytes::Bytes::new(),
            Err(response) => return response,
        };
        let parsed = Form::parse(&body, head.uri.query().unwrap_or_default())
            .and_then(|form| parse(&head.method, key, &form, self.wall_ns()));
        let asked = match parsed {
            Ok(asked) => asked,
            Err(error) => return refused(&error),
        };
        let (reach, recursive) = asked.reach();
        let write = !matches!(head.method, Method::GET | Method::HEAD);
        let is_allowed = match credentials(&head.headers) {
            Ok(shown) => self.users.may(shown.as_ref(), reach, write, recursive).await,
            Err(()) => matches!(self.users.is_enabled().await, Ok(false)),
        };
        if !is_allowed {
            let cause = "Insufficient credentials".to_owned();
            return refused(&V2Error { code: V2Code::Unauthorized, cause, index: 0 });
        }
        let KeysRequest { ask, no_value_on_success } = asked;
        match ask {
            KeysAsk::Request(request) => self.ask_keys(request, no_value_on_success, reader).await,
            KeysAsk::Watch(watch) => self.watch_keys(watch).await,
        }
    }

    async fn ask_keys(&self, request: V2Request, no_value: bool, reader: &Reader) -> Response<Body> {
        let answer = match self.service.v2(request).await {
            Ok(answer) => answer,
            Err(error) => return refused(&unavailable(&error)),
        };
        let place = Place { header: &answer.header, raft_index: answer.raft_index, index: answer.index };
        match &answer.result {
            Err(error) => refused(error),
            Ok(other @ (V2Answer::Stats(_) | V2Answer::Standing(_))) => {
                unreachable!("nobody asked for figures: {other:?}")
            }
            Ok(V2Answer::Event(told)) => {
                let status = if told.is_created() { StatusCode::CREATED } else { StatusCode::OK };
                placed(held(status, event(told, no_value, self.wall_ns()), reader), &place)
            }
        }
    }

    async fn watch_keys(&self, watch: V2Watch) -> Response<Body> {
        let is_stream = watch.stream;
        let waiting = match self.service.v2_watch(watch).await {
            Ok(Ok(waiting)) => waiting,
            Ok(Err(error)) => return refused(&error),
            Err(error) => return refused(&unavailable(&error)),
        };
        let began = waiting.began().clone();
        let place = Place { header: &began.header, raft_index: began.raft_index, index: began.index };
        let outside = self.outside.clone();
        let pieces = futures::stream::unfold(Some(waiting), move |waiting| {
            let outside = outside.clone();
            async move {
                let mut waiting = waiting?;
                let told = waiting.next().await?;
                let wall_ns = i64::try_from(outside.wall().as_nanos()).unwrap_or(i64::MAX);
                Some((event(&told, false, wall_ns), is_stream.then_some(waiting)))
            }
        });
        placed(growing(Box::pin(pieces), self.phases.clone()), &place)
    }
}
