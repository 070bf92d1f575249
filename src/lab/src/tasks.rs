//! The clients of a run, and its nemesis: tasks that are polled one after the other, in the order in which they were woken.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

/// A task.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who is to be polled next, and who has come in meanwhile.
#[derive(Default)]
struct Queue {
    woken: VecDeque<u64>,
    new: Vec<Task>,
}

/// Where tasks are spawned, and where they are woken.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Arc<Mutex<Queue>>);

impl Spawner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().expect("no panic while held")
    }

    /// Runs a task beside the others.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.queue().new.push(Box::pin(task));
    }
}

struct Bell {
    spawner: Spawner,
    task: u64,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.spawner.queue().woken.push_back(self.task);
    }
}

/// All tasks of a run.
#[derive(Default)]
pub(crate) struct Tasks {
    spawner: Spawner,
    tasks: BTreeMap<u64, (Task, Waker)>,
    next: u64,
}

impl Tasks {
    pub(crate) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Polls whoever was woken, until nobody is; how many polls that took.
    pub(crate) fn settle(&mut self) -> u64 {
        let mut polls = 0;
        loop {
            let new = std::mem::take(&mut self.spawner.queue().new);
            for task in new {
                let bell = Arc::new(Bell { spawner: self.spawner.clone(), task: self.next });
                self.tasks.insert(self.next, (task, Waker::from(bell)));
                self.spawner.queue().woken.push_back(self.next);
                self.next += 1;
            }
            let Some(woken) = self.spawner.queue().woken.pop_front() else { return polls };
            let Some((task, waker)) = self.tasks.get_mut(&woken) else { continue };
            polls += 1;
            if let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(waker)) {
                self.tasks.remove(&woken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::oneshot;

    #[test]
    fn tasks_are_polled_in_the_order_in_which_they_were_woken_until_nobody_is() {
        let mut tasks = Tasks::default();
        let spawner = tasks.spawner();
        let said: Arc<Mutex<Vec<u32>>> = Arc::default();
        let say = |number| {
            let said = Arc::clone(&said);
            move || said.lock().unwrap().push(number)
        };
        let (go, wait) = oneshot::channel::<()>();
        let (first, last, inner) = (say(1), say(3), say(4));
        let (second, again) = (say(2), spawner.clone());
        spawner.spawn(async move {
            first();
            wait.await.unwrap();
            last();
            again.spawn(async move { inner() });
        });
        spawner.spawn(async move {
            second();
            go.send(()).unwrap();
        });
        assert_eq!(tasks.settle(), 4);
        assert_eq!(*said.lock().unwrap(), [1, 2, 3, 4]);
        assert_eq!(tasks.settle(), 0);
    }
}
