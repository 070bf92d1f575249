//! Elections among the clients of a cluster.

use crate::error::ClientError;
use crate::queue::{self, LockError, Place};
use crate::store::{Store, Watching};
use bytes::Bytes;
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::request::{DeleteRangeRequest, Header, PutRequest, RangeResponse, TxnOp};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{EventKind, KeyRange, KeyValue, LeaseId, Revision};
use std::collections::VecDeque;

/// An election of one leader at a time: a queue of keys below `name/`, the oldest of which leads (etcd:
/// `concurrency.Election`; both understand each other's keys). Each key's value is what its candidate proclaims.
///
/// As with [`crate::Mutex`], a leader whose lease has ended learns of it too late; see there about fencing.
#[derive(Clone, Debug)]
pub struct Election<S> {
    store: S,
    prefix: Bytes,
}

impl<S: Store> Election<S> {
    /// The election of this name.
    #[must_use]
    pub fn new(store: S, name: &[u8]) -> Self {
        Self { store, prefix: queue::prefix(name) }
    }

    /// Waits until this lease leads, with this value.
    ///
    /// Dropping the future leaves the candidacy standing, see [`Election::stand`].
    ///
    /// # Errors
    /// Whatever the store says; the candidacy stands then, and another call with the same lease goes on with it.
    pub async fn campaign(&self, lease: LeaseId, value: Bytes) -> Result<Place, LockError> {
        let place = self.stand(lease, value).await?;
        self.wait(&place).await?;
        Ok(place)
    }

    /// Stands for election without waiting for the outcome. A lease that stands already changes its value.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn stand(&self, lease: LeaseId, value: Bytes) -> Result<Place, LockError> {
        let joined = queue::join(&self.store, &self.prefix, lease, value.clone()).await?;
        if joined.found.is_some_and(|found| found.value != value)
            && let Err(error) = self.proclaim(&joined.place, value).await
        {
            // Standing with the wrong value would be worse than not to stand.
            let _ = self.resign(&joined.place).await;
            return Err(error);
        }
        Ok(joined.place)
    }

    /// Waits until a candidacy leads. Dropping the future keeps it.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn wait(&self, place: &Place) -> Result<(), LockError> {
        if is_planted(Planted::E01) {
            return queue::wait_for_first(&self.store, &self.prefix).await.map(|_| ());
        }
        queue::wait(&self.store, &self.prefix, place).await.map(|_| ())
    }

    /// Changes the value of our candidacy or leadership.
    ///
    /// # Errors
    /// [`LockError::NotLeader`] where it is over, and whatever the store says.
    pub async fn proclaim(&self, place: &Place, value: Bytes) -> Result<Header, LockError> {
        let put = PutRequest { key: place.key.clone(), value, lease: place.lease, ..PutRequest::default() };
        match queue::as_holder(&self.store, place, TxnOp::Put(put)).await? {
            (true, header) => Ok(header),
            (false, _) => Err(LockError::NotLeader),
        }
    }

    /// Ends our candidacy or leadership; nothing happens where it is over already.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn resign(&self, place: &Place) -> Result<Header, ClientError> {
        if is_planted(Planted::E02) {
            return queue::leave(&self.store, place.key.clone()).await;
        }
        let range = KeyRange::single(place.key.clone());
        let delete = TxnOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
        Ok(queue::as_holder(&self.store, place, delete).await?.1)
    }

    /// The leader's key, whose value it proclaimed.
    ///
    /// # Errors
    /// [`LockError::NoLeader`], and whatever the store says.
    pub async fn leader(&self) -> Result<(Header, KeyValue), LockError> {
        let RangeResponse { header, kvs, .. } = self.store.range(queue::oldest(&self.prefix)).await?;
        kvs.into_iter().next().map(|kv| (header, kv)).ok_or(LockError::NoLeader)
    }

    /// Follows the leaders and what they proclaim.
    #[must_use]
    pub fn observe(&self) -> Observer<S> {
        Observer { election: self.clone(), state: State::Asking, news: VecDeque::new() }
    }
}

/// Hands out leaders and their values, in order. Some may be skipped, the newest never.
pub struct Observer<S: Store> {
    election: Election<S>,
    state: State<S>,
    news: VecDeque<(Header, KeyValue)>,
}

enum State<S: Store> {
    /// Who leads is not known.
    Asking,
    /// Nobody leads: the next key below the prefix does.
    Vacant(S::Watch),
    /// Somebody leads, until the key goes.
    Led(S::Watch),
}

impl<S: Store> Observer<S> {
    /// The next leader or value. Cancel-safe.
    ///
    /// # Errors
    /// Whatever the store says, or why the watch ended. Asking again starts from the present leader.
    pub async fn next(&mut self) -> Result<(Header, KeyValue), LockError> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Ok(news);
            }
            let answer = match &mut self.state {
                State::Asking => {
                    self.ask().await?;
                    continue;
                }
                State::Vacant(watch) | State::Led(watch) => watch.next().await,
            };
            if let Err(error) = self.take(answer) {
                self.state = State::Asking;
                return Err(error);
            }
        }
    }

    async fn ask(&mut self) -> Result<(), LockError> {
        let RangeResponse { header, kvs, .. } =
            self.election.store.range(queue::oldest(&self.election.prefix)).await?;
        match kvs.into_iter().next() {
            Some(kv) => self.led(header, kv),
            None => {
                let range = KeyRange::prefix(self.election.prefix.clone());
                self.state = State::Vacant(self.watch(range, header.revision));
            }
        }
        Ok(())
    }

    /// This key leads, as of the header's revision.
    fn led(&mut self, header: Header, kv: KeyValue) {
        let range = KeyRange::single(kv.key.clone());
        self.state = State::Led(self.watch(range, header.revision.next()));
        self.news.push_back((header, kv));
    }

    fn watch(&self, range: KeyRange, start_revision: Revision) -> S::Watch {
        self.election.store.watch(WatchCreate { range, start_revision, ..WatchCreate::default() })
    }

    fn take(&mut self, answer: Option<Result<WatchResponse, ClientError>>) -> Result<(), LockError> {
        let answer = answer.ok_or(LockError::WatchLost)??;
        let vacant = matches!(self.state, State::Vacant(_));
        for event in &answer.events {
            match event.kind {
                EventKind::Put if vacant => {
                    // The answer may hold later changes of the key too: they are watched for anew.
                    let header = Header { revision: event.kv.mod_revision, ..answer.header.clone() };
                    self.led(header, event.kv.clone());
                    return Ok(());
                }
                EventKind::Put => self.news.push_back((answer.header.clone(), event.kv.clone())),
                EventKind::Delete if vacant => {}
                EventKind::Delete if is_planted(Planted::E03) => {
                    let range = KeyRange::prefix(self.election.prefix.clone());
                    self.state = State::Vacant(self.watch(range, answer.header.revision.next()));
                    return Ok(());
                }
                EventKind::Delete => {
                    self.state = State::Asking;
                    return Ok(());
                }
            }
        }
        queue::cancelled(&answer).map_or(Ok(()), Err)
    }
}
