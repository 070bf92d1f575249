//! A client of the lab: it asks members themselves, over a network that loses and delays what it says.

use crate::calls::{CallId, WatchId};
use crate::theatre::LabTheatre;
use futures::future::{Either, select};
use seatrial_scenario::theatre::{CallError, Client, LeaderKey, Leaders, LockHeld, LockWish, Theatre, Watch};
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{Code, Error, KeyValue, LeaseId, MemberId, Request, Response};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// A client on a machine of its own.
#[derive(Clone)]
pub struct LabClient {
    pub(crate) theatre: LabTheatre,
    pub(crate) machine: u32,
}

impl LabClient {
    pub(crate) fn new(theatre: LabTheatre, machine: u32) -> Self {
        Self { theatre, machine }
    }
}

/// An answer that is waited for.
pub(crate) struct Answer {
    theatre: LabTheatre,
    call: CallId,
    is_told: bool,
}

impl Answer {
    pub(crate) fn new(theatre: LabTheatre, call: CallId) -> Self {
        Self { theatre, call, is_told: false }
    }
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
        Answer::new(theatre, call).await
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
        let said = match select(pin!(Said::new(&theatre, id)), pin!(theatre.sleep_until(deadline))).await {
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

    async fn lock(
        &mut self,
        member: MemberId,
        wish: LockWish,
        timeout: Duration,
    ) -> Result<LockHeld, CallError> {
        self.take_lock(member, wish, timeout).await
    }

    async fn unlock(&mut self, member: MemberId, key: String, timeout: Duration) -> Result<(), CallError> {
        self.free_lock(member, key, timeout).await
    }

    async fn campaign(
        &mut self,
        member: MemberId,
        name: String,
        lease: LeaseId,
        value: String,
        timeout: Duration,
    ) -> Result<LeaderKey, CallError> {
        self.stand(member, name, lease, value, timeout).await
    }

    async fn proclaim(
        &mut self,
        member: MemberId,
        leader: LeaderKey,
        value: String,
        timeout: Duration,
    ) -> Result<i64, CallError> {
        self.say(member, leader, value, timeout).await
    }

    async fn resign(
        &mut self,
        member: MemberId,
        leader: LeaderKey,
        timeout: Duration,
    ) -> Result<(), CallError> {
        self.step_down(member, leader, timeout).await
    }

    async fn leader(
        &mut self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> Result<(i64, KeyValue), CallError> {
        self.who_leads(member, name, timeout).await
    }

    async fn observe(
        &mut self,
        member: MemberId,
        name: String,
        timeout: Duration,
    ) -> Result<Leaders, CallError> {
        Ok(self.follow(member, &name, timeout))
    }
}

/// The next answer on a stream; `None` once it has ended.
pub(crate) struct Said<'a> {
    theatre: &'a LabTheatre,
    id: WatchId,
}

impl<'a> Said<'a> {
    pub(crate) fn new(theatre: &'a LabTheatre, id: WatchId) -> Self {
        Self { theatre, id }
    }
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
        Said::new(&self.theatre, self.id).await
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
