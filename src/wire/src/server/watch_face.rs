//! The watch service: one stream in each direction, many watches on it.

use super::auth::service_for;
use super::phases as watch;
use super::{Phase, reached};
use crate::server::metrics::Metrics;
use crate::status::status_of_error;
use futures::Stream;
use prost::Message;
use seatrial_etcd::{Ask, EtcdService, WatchAnswers, WatchAsks};
use seatrial_proto::etcdserverpb as pb;
use seatrial_types::Error;
use seatrial_types::watch::{WatchId, WatchRequest, WatchResponse};
use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub(super) struct WatchFace<A> {
    service: EtcdService<A>,
    metrics: Arc<Metrics>,
    phases: watch::Receiver<Phase>,
}

impl<A> WatchFace<A> {
    pub(super) fn new(
        service: EtcdService<A>,
        metrics: Arc<Metrics>,
        phases: watch::Receiver<Phase>,
    ) -> Self {
        Self { service, metrics, phases }
    }
}

#[tonic::async_trait]
impl<A: Ask> pb::watch_server::Watch for WatchFace<A> {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = service_for(&self.service, &request);
        let (asks, answers) = service.watch().await.map_err(|error| status_of_error(&error))?;
        let stream = WatchStream {
            input: Some(request.into_inner()),
            asks,
            fragments: Fragments { bytes_max: answers.fragment_bytes(), ..Fragments::default() },
            answers,
            outbox: VecDeque::new(),
            phases: self.phases.clone(),
            ended: false,
            _counted: Counted::new(self.metrics.clone()),
        };
        let stream = futures::stream::unfold(stream, |mut stream| async move {
            let item = stream.next().await?;
            stream.ended = item.is_err();
            Some((item, stream))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// One client's stream. Dropped with its connection, and its watches with it.
struct WatchStream<A: Ask> {
    /// `None` once the client has said all it wanted to say; it may go on listening.
    input: Option<Streaming<pb::WatchRequest>>,
    asks: WatchAsks<A>,
    answers: WatchAnswers<A>,
    fragments: Fragments,
    outbox: VecDeque<pb::WatchResponse>,
    phases: watch::Receiver<Phase>,
    ended: bool,
    _counted: Counted,
}

impl<A: Ask> WatchStream<A> {
    async fn next(&mut self) -> Option<Result<pb::WatchResponse, Status>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(response) = self.outbox.pop_front() {
                return Some(Ok(response));
            }
            tokio::select! {
                biased;
                () = reached(&mut self.phases, Phase::Draining) => {
                    return Some(Err(status_of_error(&Error::Stopped)));
                }
                message = read(&mut self.input) => match message {
                    Ok(Some(message)) => {
                        if let Err(error) = self.ask(message) {
                            return Some(Err(status_of_error(&error)));
                        }
                    }
                    Ok(None) => self.input = None,
                    Err(status) => return Some(Err(super::dispatch::too_large(&status).unwrap_or(status))),
                },
                answer = self.answers.next() => match answer {
                    Some(answer) => self.fragments.split(answer, &mut self.outbox),
                    None => return Some(Err(status_of_error(&Error::Stopped))),
                },
            }
        }
    }

    fn ask(&mut self, message: pb::WatchRequest) -> Result<(), Error> {
        // A kind of request that only newer clients know is passed over, as etcd does.
        if message.request_union.is_none() {
            return Ok(());
        }
        let request = WatchRequest::try_from(message)?;
        if let WatchRequest::Create(create) = &request {
            self.fragments.asked(create.fragment);
        }
        self.asks.send(request);
        Ok(())
    }
}

/// The next message; never ready after the last.
async fn read(input: &mut Option<Streaming<pb::WatchRequest>>) -> Result<Option<pb::WatchRequest>, Status> {
    match input {
        Some(input) => input.message().await,
        None => futures::future::pending().await,
    }
}

/// Splits the large answers of those watches that asked for it.
#[derive(Default)]
struct Fragments {
    bytes_max: usize,
    /// Whether the watches not confirmed yet asked for it, in order: they are confirmed in this order.
    asked: VecDeque<bool>,
    watches: BTreeSet<WatchId>,
}

impl Fragments {
    fn asked(&mut self, fragment: bool) {
        self.asked.push_back(fragment);
    }

    fn split(&mut self, answer: WatchResponse, outbox: &mut VecDeque<pb::WatchResponse>) {
        let id = answer.watch_id;
        if answer.created && self.asked.pop_front() == Some(true) && !answer.canceled {
            self.watches.insert(id);
        }
        if answer.canceled {
            self.watches.remove(&id);
        }
        let wanted = self.watches.contains(&id);
        let mut message = pb::WatchResponse::from(answer);
        if !wanted || message.events.len() < 2 || message.encoded_len() < self.bytes_max {
            outbox.push_back(message);
            return;
        }
        let last_is_fragment = message.fragment;
        let events = std::mem::take(&mut message.events);
        let empty_bytes = message.encoded_len();
        let mut piece = message.clone();
        let mut piece_bytes = empty_bytes;
        for event in events {
            // Key of the field, length, and the event; the length takes five bytes at the most.
            let event_bytes = event.encoded_len() + 6;
            if !piece.events.is_empty() && piece_bytes + event_bytes > self.bytes_max {
                piece.fragment = true;
                outbox.push_back(std::mem::replace(&mut piece, message.clone()));
                piece_bytes = empty_bytes;
            }
            piece_bytes += event_bytes;
            piece.events.push(event);
        }
        piece.fragment = last_is_fragment;
        outbox.push_back(piece);
    }
}

/// Counts a stream for as long as it lives.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.watch_stream(1);
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.watch_stream(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_types::request::Header;
    use seatrial_types::{Event, EventKind, KeyValue, Revision};

    fn answer(created: bool, sizes: &[usize]) -> WatchResponse {
        let event = |(index, size): (usize, &usize)| Event {
            kind: EventKind::Put,
            kv: KeyValue {
                key: format!("k{index}").into(),
                value: vec![b'v'; *size].into(),
                mod_revision: Revision(7),
                ..KeyValue::default()
            },
            prev_kv: None,
        };
        WatchResponse {
            header: Header { revision: Revision(7), ..Header::default() },
            watch_id: WatchId(3),
            created,
            canceled: false,
            cancel_reason: String::new(),
            compact_revision: Revision(0),
            fragment: false,
            events: sizes.iter().enumerate().map(event).collect(),
        }
    }

    fn split(asked: bool, sizes: &[usize]) -> Vec<pb::WatchResponse> {
        let mut fragments = Fragments { bytes_max: 1000, ..Fragments::default() };
        let mut outbox = VecDeque::new();
        fragments.asked(asked);
        fragments.split(answer(true, &[]), &mut outbox);
        outbox.clear();
        fragments.split(answer(false, sizes), &mut outbox);
        outbox.into()
    }

    #[test]
    fn a_large_answer_is_split_below_the_limit_and_only_the_last_piece_says_so() {
        let pieces = split(true, &[300, 300, 300, 300, 2000, 10]);
        let flags: Vec<_> = pieces.iter().map(|piece| piece.fragment).collect();
        let counts: Vec<_> = pieces.iter().map(|piece| piece.events.len()).collect();
        assert_eq!(counts, [3, 1, 1, 1]);
        assert_eq!(flags, [true, true, true, false]);
        for piece in pieces.iter().filter(|piece| piece.events.len() > 1) {
            assert!(piece.encoded_len() <= 1000, "{}", piece.encoded_len());
        }
        let keys: Vec<_> = pieces.iter().flat_map(|p| &p.events).map(|e| e.kv.clone().unwrap().key).collect();
        assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4", "k5"]);
    }

    #[test]
    fn a_watch_that_did_not_ask_gets_everything_in_one_piece() {
        assert_eq!(split(false, &[600, 600, 600]).len(), 1);
        assert_eq!(split(true, &[100, 100]).len(), 1);
    }
}
