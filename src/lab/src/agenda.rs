//! What is to happen, and when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Events in the order of their time; those of one moment in the order in which they were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Entry<E>>,
    asked: u64,
}

#[derive(Clone, Debug)]
struct Entry<E> {
    at: Duration,
    asked: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap has the greatest on top: that is the soonest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.asked).cmp(&(self.at, self.asked))
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), asked: 0 }
    }
}

impl<E> Agenda<E> {
    pub(crate) fn add(&mut self, at: Duration, event: E) {
        self.asked += 1;
        self.heap.push(Entry { at, asked: self.asked, event });
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// The next event, where there is one.
    pub(crate) fn peek(&self) -> Option<(Duration, &E)> {
        self.heap.peek().map(|entry| (entry.at, &entry.event))
    }

    pub(crate) fn pop(&mut self) -> Option<(Duration, E)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_time_and_then_of_their_asking() {
        let mut agenda = Agenda::default();
        for (at, event) in [(3, 'd'), (1, 'a'), (2, 'c'), (1, 'b')] {
            agenda.add(Duration::from_millis(at), event);
        }
        let mut other = agenda.clone();
        other.add(Duration::from_millis(1), 'x');
        let order = |mut agenda: Agenda<char>| -> String {
            std::iter::from_fn(|| agenda.pop()).map(|(_, event)| event).collect()
        };
        assert_eq!(order(agenda), "abcd");
        assert_eq!(order(other), "abxcd", "a clone is another future");
    }
}
