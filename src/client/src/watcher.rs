//! A watch that survives its connection.

use crate::balance::Client;
use crate::endpoint::{Endpoint, WatchChannel};
use crate::error::ClientError;
use crate::store::Watching;
use seatrial_types::Revision;
use seatrial_types::watch::{WatchCreate, WatchRequest, WatchResponse};
use seatrial_world::{Backoff, World};
use std::pin::Pin;

/// A watch over a [`Client`]: when the stream breaks it goes on at another endpoint, right after the last
/// revision it has handed out, so that no event is lost or seen twice. Fragments come out in one piece.
pub struct Watcher<W: World, E: Endpoint> {
    client: Client<W, E>,
    create: WatchCreate,
    state: State<W, E>,
    backoff: Backoff,
    /// The first revision not yet handed out; 0 while a watch "from now on" has not been confirmed.
    next: Revision,
    /// The first confirmation was handed out; those of later streams are nobody's business.
    confirmed: bool,
    /// Beginning of an answer that comes in fragments.
    begun: Option<WatchResponse>,
    resumed: u64,
}

enum State<W: World, E: Endpoint> {
    /// Not connected; wait first, where there is a reason to.
    Pausing(Option<Pin<Box<W::Sleep>>>),
    Streaming {
        at: usize,
        channel: E::Watch,
    },
    Ended,
}

impl<W: World, E: Endpoint> Watcher<W, E> {
    pub(crate) fn new(client: Client<W, E>, create: WatchCreate) -> Self {
        let backoff = client.options.backoff();
        let next = create.start_revision;
        Self {
            client,
            create,
            state: State::Pausing(None),
            backoff,
            next,
            confirmed: false,
            begun: None,
            resumed: 0,
        }
    }

    /// The first revision not yet handed out; 0 while a watch "from now on" has not been confirmed.
    #[must_use]
    pub fn next_revision(&self) -> Revision {
        self.next
    }

    /// How often the watch went on over a new stream.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    fn connect(&mut self) {
        let (at, endpoint) = self.client.pick();
        let mut channel = endpoint.watch();
        let create = WatchCreate { start_revision: self.next, ..self.create.clone() };
        channel.send(WatchRequest::Create(create));
        self.state = State::Streaming { at, channel };
    }

    /// The stream at `at` broke.
    fn broken(&mut self, at: usize, error: &ClientError) {
        tracing::debug!(endpoint = self.client.endpoints[at].address(), %error, "watch stream broke");
        // What is left of the broken answer comes again, for its revision was not handed out.
        self.begun = None;
        self.resumed += 1;
        self.client.move_on(at);
        let nap = self.backoff.next(self.client.world.rand());
        self.state = State::Pausing(Some(Box::pin(self.client.world.sleep(nap))));
    }

    /// Takes one message of the stream; gives what is to be handed out.
    fn take(&mut self, response: WatchResponse) -> Option<WatchResponse> {
        self.backoff.reset();
        if response.created && !response.canceled {
            // From here on the watch is anchored: a break before the first event loses nothing.
            if self.next.0 == 0 {
                self.next = response.header.revision.next();
            }
            if std::mem::replace(&mut self.confirmed, true) {
                return None;
            }
            return Some(response);
        }
        if response.canceled {
            self.state = State::Ended;
            return Some(response);
        }
        let whole = match self.begun.take() {
            None => response,
            Some(mut begun) => {
                begun.events.extend(response.events);
                begun.header = response.header;
                begun.fragment = response.fragment;
                begun
            }
        };
        if whole.fragment {
            self.begun = Some(whole);
            return None;
        }
        let seen = match whole.events.last() {
            Some(event) => event.kv.mod_revision,
            // A message without events tells how far the member has come, of this watch or of all.
            None => whole.header.revision,
        };
        self.next = self.next.max(seen.next());
        Some(whole)
    }
}

impl<W: World, E: Endpoint> Watching for Watcher<W, E> {
    async fn next(&mut self) -> Option<Result<WatchResponse, ClientError>> {
        loop {
            match &mut self.state {
                State::Ended => return None,
                State::Pausing(nap) => {
                    if let Some(nap) = nap {
                        nap.as_mut().await;
                    }
                    self.connect();
                }
                State::Streaming { at, channel } => {
                    let at = *at;
                    match channel.next().await {
                        Ok(response) => {
                            if let Some(response) = self.take(response) {
                                return Some(Ok(response));
                            }
                        }
                        Err(error) if error.is_unavailable() => self.broken(at, &error),
                        Err(error) => {
                            self.state = State::Ended;
                            return Some(Err(error));
                        }
                    }
                }
            }
        }
    }

    fn request_progress(&mut self) {
        if let State::Streaming { channel, .. } = &mut self.state {
            channel.send(WatchRequest::Progress);
        }
    }
}

impl<W: World, E: Endpoint> std::fmt::Debug for Watcher<W, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher")
            .field("create", &self.create)
            .field("next", &self.next)
            .field("resumed", &self.resumed)
            .finish_non_exhaustive()
    }
}
