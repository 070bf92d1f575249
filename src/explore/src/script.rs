//! Asynchronous functions of the product as values. Such a function depends on nothing but the answers that it gets; so where one
//! stands is said by the answers that it got so far, and it comes there again when it is run from its beginning with these. They can be
//! cloned, compared and hashed, which a future cannot.

use seatrial_client::{ClientError, Store, Watching};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{Error, Request, Response};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a function waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Call(Request),
    Watch(WatchCreate),
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Answered(Result<Response, Error>),
    Watched(WatchResponse),
    /// Nobody knows whether it was done.
    Unknown,
}

/// Where a function stands.
#[derive(Debug)]
pub(crate) enum Stand<T> {
    Asks(Ask),
    Ended(T),
}

/// Runs a function up to where these answers lead.
pub(crate) fn resume<T, F: Future<Output = T>>(
    replies: &[Reply],
    function: impl FnOnce(Prompter) -> F,
) -> Stand<T> {
    let prompter = Prompter::default();
    prompter.inner(|inner| inner.replies = replies.iter().cloned().collect());
    let mut future = pin!(function(prompter.clone()));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Stand::Ended(value),
        Poll::Pending => {
            let ask = prompter.inner(|inner| inner.ask.take());
            Stand::Asks(ask.expect("it waits for nothing but the store"))
        }
    }
}

/// A store that answers from a list, and then waits for ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompter(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    replies: VecDeque<Reply>,
    ask: Option<Ask>,
}

impl Prompter {
    fn inner<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reply(&self, ask: Ask) -> Poll<Reply> {
        self.inner(|inner| match inner.replies.pop_front() {
            Some(reply) => Poll::Ready(reply),
            None => {
                inner.ask = Some(ask);
                Poll::Pending
            }
        })
    }
}

impl Store for Prompter {
    type Watch = Prompted;

    async fn call(&self, request: Request) -> Result<Response, ClientError> {
        match poll_fn(|_| self.reply(Ask::Call(request.clone()))).await {
            Reply::Answered(answer) => answer.map_err(|error| ClientError::answered(error, &request)),
            Reply::Unknown => Err(ClientError::unknown(Error::TimeoutLeaderFail, &request)),
            Reply::Watched(answer) => unreachable!("{answer:?} for {request:?}"),
        }
    }

    fn watch(&self, create: WatchCreate) -> Prompted {
        Prompted { prompter: self.clone(), create }
    }
}

pub(crate) struct Prompted {
    prompter: Prompter,
    create: WatchCreate,
}

impl Watching for Prompted {
    async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        match poll_fn(|_| self.prompter.reply(Ask::Watch(self.create.clone()))).await {
            Reply::Watched(answer) => Some(Ok(answer)),
            other => unreachable!("{other:?} for {:?}", self.create),
        }
    }

    fn request_progress(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_client::Mutex as Lock;
    use seatrial_types::LeaseId;

    #[test]
    fn a_function_goes_on_where_its_answers_end() {
        let lock = |store| async move { Lock::new(store, b"lock", LeaseId(7)).lock().await };
        let mut server = crate::server::Server::new();
        server.grant(LeaseId(7));
        let Stand::Asks(ask) = resume(&[], lock) else { panic!("it asks first") };
        assert!(matches!(ask, Ask::Call(Request::Txn(_))), "{ask:?}");
        let reply = server.serve(&ask).unwrap();
        let Stand::Ended(Ok(place)) = resume(&[reply], lock) else { panic!("nobody else is there") };
        assert_eq!(server.get(&place.key).unwrap().create_revision, place.revision);
        let Stand::Ended(Err(_)) = resume(&[Reply::Unknown], lock) else { panic!("nobody knows") };
    }
}
