//! A value that changes and that many wait for.
//!
//! Not tokio's `watch`: that one spreads its waiters over buckets by a generator whose seed counts up over the whole
//! process, and wakes them bucket by bucket. In a simulation the order of waking is part of the run, so the second run of
//! a seed in one process would differ from the first.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

struct State<T> {
    value: T,
    /// In the order in which they began to wait.
    waiting: BTreeMap<u64, Waker>,
    began: u64,
}

type Shared<T> = Arc<Mutex<State<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, State<T>> {
    shared.lock().expect("no holder panics")
}

/// Who changes it.
pub(crate) struct Sender<T>(Shared<T>);

/// Who waits.
pub(crate) struct Receiver<T>(Shared<T>);

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The value as it is first.
pub(crate) fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(State { value, waiting: BTreeMap::new(), began: 0 }));
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Everybody who waits looks at it, in the order in which they began to wait.
    pub(crate) fn send_replace(&self, value: T) {
        let waiting = {
            let mut state = lock(&self.0);
            state.value = value;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// How many there are that may wait.
    pub(crate) fn receivers(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Forgets a waiter that waits no longer.
struct Waiting<'a, T> {
    shared: &'a Shared<T>,
    number: u64,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        lock(self.shared).waiting.remove(&self.number);
    }
}

impl<T: Copy> Receiver<T> {
    /// The value as it is now.
    pub(crate) fn get(&self) -> T {
        lock(&self.0).value
    }
}

impl<T> Receiver<T> {
    /// Ready once the value is as wanted; never, where nobody is left to change it.
    pub(crate) async fn wait_for(&mut self, is_wanted: impl Fn(&T) -> bool) {
        let number = {
            let mut state = lock(&self.0);
            state.began += 1;
            state.began
        };
        let waiting = Waiting { shared: &self.0, number };
        poll_fn(|context| {
            let mut state = lock(waiting.shared);
            if is_wanted(&state.value) {
                return Poll::Ready(());
            }
            state.waiting.insert(number, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::task::{ArcWake, waker};
    use std::task::Context;

    struct Noted(usize, Arc<Mutex<Vec<usize>>>);

    impl ArcWake for Noted {
        fn wake_by_ref(this: &Arc<Self>) {
            this.1.lock().unwrap().push(this.0);
        }
    }

    #[test]
    fn waiters_are_woken_in_the_order_in_which_they_began_and_who_left_is_not() {
        let (sender, receiver) = channel(0);
        let woken: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut waits: Vec<_> = (0..20)
            .map(|number| {
                let mut receiver = receiver.clone();
                let mut wait = Box::pin(async move { receiver.wait_for(|value| *value >= 2).await });
                let noted = waker(Arc::new(Noted(number, woken.clone())));
                assert!(wait.poll_unpin(&mut Context::from_waker(&noted)).is_pending());
                wait
            })
            .collect();
        drop(waits.remove(7));
        sender.send_replace(2);
        let expected: Vec<usize> = (0..20).filter(|number| *number != 7).collect();
        assert_eq!(*woken.lock().unwrap(), expected);
        assert!(waits.into_iter().all(|wait| wait.now_or_never().is_some()));
    }

    #[test]
    fn a_value_that_is_not_wanted_wakes_and_is_waited_on() {
        let (sender, mut receiver) = channel(0);
        assert!(receiver.wait_for(|value| *value == 0).now_or_never().is_some());
        sender.send_replace(1);
        assert!(receiver.wait_for(|value| *value == 2).now_or_never().is_none());
        drop(sender);
        assert!(receiver.wait_for(|value| *value == 2).now_or_never().is_none());
    }
}
