//! The plain, non-generic face of a running member: channels to its loop.
//!
//! Handlers of gRPC and HTTP hold this and nothing else, so that they are compiled once and not once per
//! world.

use seatrial_types::v2::{V2Error, V2Event, V2Watch, V2WatchId, V2Watching};
use seatrial_types::watch::{StreamId, WatchRequest, WatchResponse};
use seatrial_types::{Error, Request, Response};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a stream may have in its channel before the member holds back (and catches up from the store later), in units
/// of [`WatchResponse::credit`]: bounds the memory of a reader that does not read to 4 MiB and one answer.
pub const WATCH_WINDOW: usize = 64;

/// Changes that gather for one who waits at the v2 key space and does not read; with more its stream ends (etcd: the
/// same).
const V2_WINDOW: usize = 100;

/// What callers hand to the loop.
#[derive(Debug)]
pub(crate) enum Call {
    /// One request, one answer.
    Request {
        /// What is asked.
        request: Request,
        /// Dropped by a caller that no longer waits.
        answer: oneshot::Sender<Result<Response, Error>>,
    },
    /// A new watch stream.
    WatchOpen {
        /// Where its answers go.
        responses: mpsc::UnboundedSender<WatchResponse>,
        /// Tells the caller the stream's id.
        opened: oneshot::Sender<StreamId>,
    },
    /// Something on a watch stream.
    Watch {
        /// Which stream.
        stream: StreamId,
        /// What.
        request: WatchRequest,
    },
    /// The reader took answers of so much credit.
    WatchCredit {
        /// Which stream.
        stream: StreamId,
        /// How much.
        count: usize,
    },
    /// The reader is gone.
    WatchClose {
        /// Which stream.
        stream: StreamId,
    },
    /// Somebody begins to wait for changes of the v2 key space.
    V2Watch {
        /// For what.
        watch: V2Watch,
        /// Whether that may be.
        answer: oneshot::Sender<Result<(V2WatchId, V2Watching), V2Error>>,
        /// Where the changes go.
        events: mpsc::Sender<Arc<V2Event>>,
    },
    /// Waits no longer.
    V2Close(V2WatchId),
    /// A peer has dialled us and told where it is heard.
    Dialled {
        /// Which.
        peer: seatrial_types::MemberId,
        /// Where.
        urls: Vec<String>,
    },
    /// Somebody who may want to join asks who the cluster is.
    Cluster {
        /// The cluster as this member has applied it.
        answer: oneshot::Sender<crate::Cluster>,
    },
    /// Somebody who watches over the member asks how it stands.
    Figures {
        /// How it stands.
        answer: oneshot::Sender<crate::Figures>,
    },
    /// Something that is not a call of a client.
    Input(crate::member::Input),
    /// The member cannot go on.
    Failed(String),
    /// Stop: answer what waits with [`Error::Stopped`] and end the loop.
    Stop,
}

/// A running member. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) calls: mpsc::UnboundedSender<Call>,
}

impl Handle {
    /// Asks the member. Dropping the future gives up the answer, not the request.
    ///
    /// # Errors
    /// Whatever the store says; [`Error::Stopped`] where the member has stopped, [`Error::Timeout`] after
    /// the member's own time limit.
    pub async fn call(&self, request: Request) -> Result<Response, Error> {
        let (answer, wait) = oneshot::channel();
        if self.calls.send(Call::Request { request, answer }).is_err() {
            return Err(Error::Stopped);
        }
        wait.await.unwrap_or(Err(Error::Stopped))
    }

    /// Opens a watch stream.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn watch(&self) -> Result<WatchSession, Error> {
        let (responses, receive) = mpsc::unbounded_channel();
        let (opened, wait) = oneshot::channel();
        if self.calls.send(Call::WatchOpen { responses, opened }).is_err() {
            return Err(Error::Stopped);
        }
        let stream = wait.await.map_err(|_| Error::Stopped)?;
        Ok(WatchSession { handle: self.clone(), stream, receive, taken: 0 })
    }

    /// Begins to wait for changes of the v2 key space.
    ///
    /// # Errors
    /// [`Error::Stopped`]; within, that what is asked for may have been forgotten.
    pub async fn v2_watch(&self, watch: V2Watch) -> Result<Result<V2Stream, V2Error>, Error> {
        let (events, receive) = mpsc::channel(V2_WINDOW);
        let (answer, wait) = oneshot::channel();
        if self.calls.send(Call::V2Watch { watch, answer, events }).is_err() {
            return Err(Error::Stopped);
        }
        let told = wait.await.map_err(|_| Error::Stopped)?;
        Ok(told.map(|(id, began)| V2Stream { handle: self.clone(), id, began, receive }))
    }

    /// How the member stands.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn figures(&self) -> Result<crate::Figures, Error> {
        let (answer, wait) = oneshot::channel();
        if self.calls.send(Call::Figures { answer }).is_err() {
            return Err(Error::Stopped);
        }
        wait.await.map_err(|_| Error::Stopped)
    }

    /// Ends the member in good order; what waits is answered with [`Error::Stopped`].
    pub fn stop(&self) {
        let _ = self.calls.send(Call::Stop);
    }
}

/// One watch stream. Dropping it cancels its watches.
#[derive(Debug)]
pub struct WatchSession {
    handle: Handle,
    stream: StreamId,
    receive: mpsc::UnboundedReceiver<WatchResponse>,
    taken: usize,
}

impl WatchSession {
    /// Creates, cancels, or asks for progress. The answer comes through [`WatchSession::next`].
    pub fn send(&self, request: WatchRequest) {
        let _ = self.handle.calls.send(Call::Watch { stream: self.stream, request });
    }

    /// The next answer; `None` once the member has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<WatchResponse> {
        let response = self.receive.recv().await?;
        self.taken += response.credit() as usize;
        // Handing credit back one by one would wake the member for every event.
        if self.taken >= WATCH_WINDOW / 4 || (self.taken > 0 && self.receive.is_empty()) {
            let count = std::mem::take(&mut self.taken);
            let _ = self.handle.calls.send(Call::WatchCredit { stream: self.stream, count });
        }
        Some(response)
    }

    /// A sender that lives apart from the receiving half.
    #[must_use]
    pub fn sender(&self) -> WatchSender {
        WatchSender { handle: self.handle.clone(), stream: self.stream }
    }
}

impl Drop for WatchSession {
    fn drop(&mut self) {
        let _ = self.handle.calls.send(Call::WatchClose { stream: self.stream });
    }
}

/// One who waits for changes of the v2 key space. Dropping it ends that.
#[derive(Debug)]
pub struct V2Stream {
    handle: Handle,
    id: V2WatchId,
    /// Where it began.
    pub began: V2Watching,
    receive: mpsc::Receiver<Arc<V2Event>>,
}

impl V2Stream {
    /// The next change; `None` where there is nothing more to come: the member has stopped, more had gathered than is
    /// kept for one who does not read, or what happened is forgotten. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<V2Event>> {
        self.receive.recv().await
    }
}

impl Drop for V2Stream {
    fn drop(&mut self) {
        let _ = self.handle.calls.send(Call::V2Close(self.id));
    }
}

/// The asking half of a [`WatchSession`].
#[derive(Clone, Debug)]
pub struct WatchSender {
    handle: Handle,
    stream: StreamId,
}

impl WatchSender {
    /// As [`WatchSession::send`].
    pub fn send(&self, request: WatchRequest) {
        let _ = self.handle.calls.send(Call::Watch { stream: self.stream, request });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_types::request::Header;
    use seatrial_types::watch::WatchId;
    use seatrial_types::{Event, EventKind, KeyValue, Revision};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Were less given back than was taken, a stream with large answers would stand still for ever.
    #[test]
    fn what_an_answer_took_of_the_credit_is_given_back_once_it_was_read() {
        let (calls, mut inbox) = mpsc::unbounded_channel();
        let (responses, receive) = mpsc::unbounded_channel();
        let handle = Handle { calls };
        let mut session = WatchSession { handle, stream: StreamId(1), receive, taken: 0 };
        let large = Event {
            kind: EventKind::Put,
            kv: KeyValue { key: "k".into(), value: vec![b'v'; 300 << 10].into(), ..KeyValue::default() },
            prev_kv: None,
        };
        let response = WatchResponse {
            header: Header::default(),
            watch_id: WatchId(0),
            created: false,
            canceled: false,
            cancel_reason: String::new(),
            compact_revision: Revision(0),
            fragment: false,
            events: vec![large],
        };
        assert_eq!(response.credit(), 5);
        responses.send(response.clone()).unwrap();
        let read = pin!(session.next()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(read, Poll::Ready(Some(response)));
        let call = inbox.try_recv().unwrap();
        assert!(matches!(call, Call::WatchCredit { stream: StreamId(1), count: 5 }), "{call:?}");
    }
}
