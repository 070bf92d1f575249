//! What clients do: ask, watch, and wait.

use crate::calls::{Call, CallId, Stream, WatchId};
use crate::lab::{Event, Lab};
use crate::parcel::Parcel;
use crate::told::Told;
use seatrial_client::{ClientError, has_effect};
use seatrial_scenario::fault::Place;
use seatrial_scenario::theatre::CallError;
use seatrial_types::watch::{WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, MemberId, Request, Response};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

fn failed(error: ClientError) -> CallError {
    CallError { error: error.error, ambiguous: error.ambiguous }
}

impl Lab {
    /// A client asks a member. It is told [`Told::Answered`] once there is an answer, or it has waited for `timeout`.
    pub fn ask(&mut self, client: u32, machine: MemberId, request: Request, timeout: Duration) -> CallId {
        self.drawn += 1;
        let id = CallId(self.drawn);
        let (client, machine) = (self.place(Place::Client(client)), self.place(Place::Member(machine)));
        let call = Call { client, has_effect: has_effect(&request), answer: None };
        self.calls.insert(id, call);
        self.agenda.add(self.now + timeout, Event::Late(id));
        self.send(client, machine, Parcel::Ask { call: id, request: Arc::new(request) }, 128);
        id
    }

    /// The answer of a call, where it has come. It is told once.
    pub fn answer(&mut self, id: CallId) -> Option<Result<Response, CallError>> {
        self.calls.get(&id)?.answer.as_ref()?;
        self.calls.remove(&id)?.answer
    }

    /// Nobody waits for it any longer.
    pub fn forget(&mut self, id: CallId) {
        self.calls.remove(&id);
    }

    fn settle(&mut self, id: CallId, answer: impl FnOnce(&Call) -> Result<Response, CallError>) {
        if let Some(call) = self.calls.get_mut(&id).filter(|call| call.answer.is_none()) {
            call.answer = Some(answer(call));
            self.told.push(Told::Answered(id));
        }
    }

    /// A call has taken all the time it has.
    pub(crate) fn late(&mut self, id: CallId) {
        self.settle(id, |call| Err(failed(ClientError::deadline(call.has_effect))));
    }

    /// The connection of a call is gone.
    pub(crate) fn broke(&mut self, id: CallId) {
        self.settle(id, |call| {
            let error = Error::Other(Code::Unavailable, "the connection was reset".to_owned());
            Err(CallError { error, ambiguous: call.has_effect })
        });
    }

    /// A client opens a watch stream at a member.
    pub fn watch(&mut self, client: u32, machine: MemberId) -> WatchId {
        self.drawn += 1;
        let id = WatchId(self.drawn);
        let (client, machine) = (self.place(Place::Client(client)), self.place(Place::Member(machine)));
        let stream = Stream { client, machine, at: None, unread: VecDeque::new(), has_ended: false };
        self.streams.insert(id, stream);
        id
    }

    /// It says something on it.
    pub fn watch_ask(&mut self, id: WatchId, request: WatchRequest) {
        if let Some(stream) = self.streams.get(&id) {
            let (client, machine) = (stream.client, stream.machine);
            self.send(client, machine, Parcel::WatchAsk { watch: id, request: Arc::new(request) }, 64);
        }
    }

    /// It reads the next answer: `None` where none has come yet, and then none where the stream has ended.
    pub fn watch_read(&mut self, id: WatchId) -> Option<Option<WatchResponse>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Some(None) };
        let Some(response) = stream.unread.pop_front() else {
            return stream.has_ended.then_some(None);
        };
        let (client, machine, credit) = (stream.client, stream.machine, response.credit());
        if credit > 0 {
            self.send(client, machine, Parcel::WatchTaken { watch: id, credit }, 16);
        }
        Some(Some(Arc::unwrap_or_clone(response)))
    }

    /// It reads no more.
    pub fn watch_close(&mut self, id: WatchId) {
        if let Some(stream) = self.streams.remove(&id)
            && !stream.has_ended
        {
            self.send(stream.client, stream.machine, Parcel::WatchClosed { watch: id }, 16);
        }
    }

    pub(crate) fn stream_ended(&mut self, id: WatchId) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.has_ended) {
            stream.has_ended = true;
            self.told.push(Told::Said(id));
        }
    }

    /// Something comes back to a client.
    pub(crate) fn come_back(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Answer { call, result } => {
                let result = Arc::unwrap_or_clone(result);
                self.settle(call, |call| {
                    result.map_err(|error| {
                        let ambiguous = call.has_effect && error.is_ambiguous();
                        CallError { error, ambiguous }
                    })
                });
            }
            Parcel::Refused { call } => {
                self.settle(call, |_| Err(failed(ClientError::unreachable("connection refused"))));
            }
            Parcel::Broken { call } => self.broke(call),
            Parcel::WatchSaid { watch, response } => {
                if let Some(stream) = self.streams.get_mut(&watch).filter(|stream| !stream.has_ended) {
                    stream.unread.push_back(response);
                    self.told.push(Told::Said(watch));
                }
            }
            Parcel::WatchEnded { watch } => self.stream_ended(watch),
            Parcel::Peer { .. }
            | Parcel::Ask { .. }
            | Parcel::WatchAsk { .. }
            | Parcel::WatchTaken { .. }
            | Parcel::WatchClosed { .. } => {}
        }
    }
}
