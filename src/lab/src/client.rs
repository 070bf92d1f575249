//! A client of the lab: it asks members themselves, over a network that loses and delays what it says.

use crate::calls::{CallId, WatchId};
use crate::theatre::LabTheatre;
use futures::future::{Either, select};
use seatrial_scenario::theatre::{CallError, Client, Theatre, Watch};
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, MemberId, Request, Response};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// A client on a machine of its own.
#[derive(Clone)]
pub struct LabClient {
    theatre: LabTheatre,
    machine: u32,
}

impl LabClient {
    pub(crate) fn new(theatre: LabTheatre, machine: u32) -> Self {
        Self { theatre, machine }
    }
}

/// An answer that is waited for.
struct Answer {
    theatre: LabTheatre,
    call: CallId,
    is_told: bool,
}

impl Future for Answer {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let theatre = self.theatre.clone();
        let mut shared = theatre.shared();
        if let Some(answer) = shared.lab.answer(self.call) {
            self.is_told = true;
            return Poll::Ready(answer);
        }
        shared.wait_for_call(self.call, context.waker());
        Poll::Pending
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_told {
            self.theatre.shared().forget_call(self.call);
        }
    }
}

impl Client for LabClient {
    type Watch = LabWatch;

    async fn call(
        &mut self,
        member: MemberId,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let theatre = self.theatre.clone();
        let call = theatre.shared().lab.ask(self.machine, member, request, timeout);
        Answer { theatre, call, is_told: false }.await
    }

    async fn watch(
        &mut self,
        member: MemberId,
        create: WatchCreate,
        timeout: Duration,
    ) -> Result<LabWatch, CallError> {
        let theatre = self.theatre.clone();
        let (id, deadline) = {
            let mut shared = theatre.shared();
            let id = shared.lab.watch(self.machine, member);
            shared.lab.watch_ask(id, WatchRequest::Create(create));
            (id, shared.lab.now() + timeout)
        };
        let mut watch = LabWatch { theatre: theatre.clone(), id, first: None };
        // The first answer says that the watch stands; without one in time there is none.
        let said = match select(pin!(Said { theatre: &theatre, id }), pin!(theatre.sleep_until(deadline))).await {
            Either::Left((said, _)) => said,
            Either::Right(_) => None,
        };
        match said {
            Some(said) => {
                watch.first = Some(said);
                Ok(watch)
            }
            None => {
                let error = Error::Other(Code::DeadlineExceeded, "the watch was not answered".to_owned());
                Err(CallError { error, ambiguous: false })
            }
        }
    }
}

/// The next answer on a stream; `None` once it has ended.
struct Said<'a> {
    theatre: &'a LabTheatre,
    id: WatchId,
}

impl Future for Said<'_> {
    type Output = Option<WatchResponse>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.theatre.shared();
        match shared.lab.watch_read(self.id) {
            Some(said) => Poll::Ready(said),
            None => {
                shared.wait_for_stream(self.id, context.waker());
                Poll::Pending
            }
        }
    }
}

/// An open watch. Dropping it ends it.
pub struct LabWatch {
    theatre: LabTheatre,
    id: WatchId,
    first: Option<WatchResponse>,
}

impl Watch for LabWatch {
    async fn next(&mut self) -> Option<WatchResponse> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        Said { theatre: &self.theatre, id: self.id }.await
    }

    fn ask_progress(&mut self) {
        self.theatre.shared().lab.watch_ask(self.id, WatchRequest::Progress);
    }
}

impl Drop for LabWatch {
    fn drop(&mut self) {
        self.theatre.shared().close_stream(self.id);
    }
}
