//! The store in the same process, as our client sees it: the services for locks and elections are clients themselves,
//! as etcd's are.

use seatrial_client::{ClientError, Store, Watching};
use seatrial_etcd::{Ask, EtcdService, WatchAnswers, WatchAsks};
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_types::{Error, Request, Response};
use std::future::Future;
use std::pin::Pin;

/// The member behind this server, asked in the name of whom the service speaks for.
pub(super) struct InProcess<A>(pub(super) EtcdService<A>);

impl<A: Ask> Clone for InProcess<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Ask> Store for InProcess<A> {
    type Watch = InProcessWatch<A>;

    async fn call(&self, request: Request) -> Result<Response, ClientError> {
        // Kept for the verdict on a failure; these requests are small.
        let asked = request.clone();
        self.0.call(request).await.map_err(|error| ClientError::answered(error, &asked))
    }

    fn watch(&self, create: WatchCreate) -> Self::Watch {
        let service = self.0.clone();
        let opening: Opening<A> = Box::pin(async move {
            let (asks, answers) = service.watch().await?;
            asks.send(WatchRequest::Create(create));
            Ok((asks, answers))
        });
        InProcessWatch { state: State::Opening(opening) }
    }
}

type Opened<A> = Result<(WatchAsks<A>, WatchAnswers<A>), Error>;
type Opening<A> = Pin<Box<dyn Future<Output = Opened<A>> + Send>>;

/// One watch on a stream of its own.
pub(super) struct InProcessWatch<A: Ask> {
    state: State<A>,
}

enum State<A: Ask> {
    Opening(Opening<A>),
    Open(WatchAsks<A>, WatchAnswers<A>),
    Ended,
}

impl<A: Ask> Watching for InProcessWatch<A> {
    async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        loop {
            match &mut self.state {
                State::Opening(opening) => match opening.as_mut().await {
                    Ok((asks, answers)) => self.state = State::Open(asks, answers),
                    Err(error) => {
                        self.state = State::Ended;
                        return Some(Err(ClientError::certain(error)));
                    }
                },
                State::Open(_, answers) => {
                    let answer = answers.next().await;
                    if answer.as_ref().is_none_or(|answer| answer.canceled) {
                        self.state = State::Ended;
                    }
                    return Some(answer.ok_or(ClientError::certain(Error::Stopped)));
                }
                State::Ended => return None,
            }
        }
    }

    fn request_progress(&mut self) {
        if let State::Open(asks, _) = &self.state {
            asks.send(WatchRequest::Progress);
        }
    }
}
