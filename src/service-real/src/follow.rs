//! Between a log and one who reads it as it grows: what waits for him, which is bounded. A unit never waits for its readers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// So much memory is taken by what waits for one reader; of what would be more, the oldest is left out. One line is kept,
/// however long.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// What a line takes besides its bytes. Without it a megabyte of empty lines would be dozens.
const LINE_OVERHEAD_BYTES: usize = 64;

/// What a reader of a log that goes on is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Followed {
    /// A line, without its end.
    Line(String),
    /// Here something is missing: the reader was too slow, or the unit wrote faster than its log is read.
    LeftOut(LeftOut),
}

/// How much is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeftOut {
    /// Lines.
    pub lines: u64,
    /// Bytes of these lines, ends included.
    pub bytes: u64,
}

impl LeftOut {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// In the order in which it is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Waiting {
    /// Was there before `pieces`.
    missing: LeftOut,
    pieces: VecDeque<Followed>,
    /// What the lines in `pieces` take.
    weight: usize,
    /// Nothing more will come.
    is_over: bool,
}

fn weight(line: &str) -> usize {
    line.len() + LINE_OVERHEAD_BYTES
}

impl Waiting {
    fn push(&mut self, line: &str) {
        self.weight += weight(line);
        self.pieces.push_back(Followed::Line(line.to_owned()));
        while self.weight > WAITING_BYTES_MAX && self.pieces.len() > 1 {
            match self.pieces.pop_front() {
                Some(Followed::Line(line)) => {
                    self.weight -= weight(&line);
                    self.missing.add(LeftOut { lines: 1, bytes: line.len() as u64 + 1 });
                }
                Some(Followed::LeftOut(missing)) => self.missing.add(missing),
                None => {}
            }
        }
    }

    fn leave_out(&mut self, missing: LeftOut) {
        match self.pieces.back_mut() {
            None => self.missing.add(missing),
            Some(Followed::LeftOut(known)) => known.add(missing),
            Some(Followed::Line(_)) => self.pieces.push_back(Followed::LeftOut(missing)),
        }
    }

    fn take(&mut self) -> Option<Followed> {
        if self.missing != LeftOut::default() {
            return Some(Followed::LeftOut(std::mem::take(&mut self.missing)));
        }
        let piece = self.pieces.pop_front();
        if let Some(Followed::Line(line)) = &piece {
            self.weight -= weight(line);
        }
        piece
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Notify,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic in between leaves the queue as whole as before.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log's end.
pub(crate) struct Feed(Arc<Shared>);

/// The reader's end: lines of a unit as they come.
#[derive(Debug)]
pub struct Follow(Arc<Shared>);

/// A new pair.
pub(crate) fn follow() -> (Feed, Follow) {
    let shared = Arc::new(Shared::default());
    (Feed(shared.clone()), Follow(shared))
}

impl Feed {
    /// Whether anybody reads it.
    pub(crate) fn is_read(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn line(&self, line: &str) {
        self.0.waiting().push(line);
        self.0.more.notify_one();
    }

    pub(crate) fn leave_out(&self, missing: LeftOut) {
        self.0.waiting().leave_out(missing);
        self.0.more.notify_one();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.waiting().is_over = true;
        self.0.more.notify_one();
    }
}

impl Follow {
    /// What comes next; `None` where nothing will. Cancel-safe.
    pub async fn next(&mut self) -> Option<Followed> {
        loop {
            {
                let mut waiting = self.0.waiting();
                if let Some(piece) = waiting.take() {
                    return Some(piece);
                }
                if waiting.is_over {
                    return None;
                }
            }
            // What came since is remembered by it: no wake is lost.
            self.0.more.notified().await;
        }
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Option<Followed> {
        self.0.waiting().take()
    }

    /// What waits now takes so many bytes.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.0.waiting().weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn line(text: &str) -> Followed {
        Followed::Line(text.to_owned())
    }

    #[test]
    fn of_more_than_may_wait_the_oldest_is_left_out_and_counted() {
        let (feed, mut follow) = follow();
        let long = "x".repeat(WAITING_BYTES_MAX / 4 - LINE_OVERHEAD_BYTES);
        for _ in 0..4 {
            feed.line(&long);
        }
        assert_eq!(follow.waiting_bytes(), WAITING_BYTES_MAX, "it may be full");
        feed.line("new");
        let missing = LeftOut { lines: 1, bytes: long.len() as u64 + 1 };
        assert_eq!(follow.try_next(), Some(Followed::LeftOut(missing)));
        for _ in 0..3 {
            assert_eq!(follow.try_next(), Some(line(&long)));
        }
        assert_eq!((follow.try_next(), follow.try_next()), (Some(line("new")), None));
        assert_eq!(follow.waiting_bytes(), 0);
    }

    #[test]
    fn lines_without_a_byte_take_memory_too() {
        let (feed, mut follow) = follow();
        for _ in 0..100_000 {
            feed.line("");
        }
        let kept = WAITING_BYTES_MAX / LINE_OVERHEAD_BYTES;
        let missing = 100_000 - kept as u64;
        assert_eq!(follow.try_next(), Some(Followed::LeftOut(LeftOut { lines: missing, bytes: missing })));
        assert_eq!(std::iter::from_fn(|| follow.try_next()).count(), kept);
    }

    #[test]
    fn a_line_longer_than_all_that_may_wait_is_kept_until_another_comes() {
        let (feed, mut follow) = follow();
        let long = "x".repeat(2 * WAITING_BYTES_MAX);
        feed.line(&long);
        feed.line("short");
        let missing = LeftOut { lines: 1, bytes: 2 * WAITING_BYTES_MAX as u64 + 1 };
        assert_eq!(follow.try_next(), Some(Followed::LeftOut(missing)));
        assert_eq!(follow.try_next(), Some(line("short")));
    }

    #[test]
    fn what_the_log_never_read_is_missing_at_its_place() {
        let (feed, mut follow) = follow();
        let missing = LeftOut { lines: 2, bytes: 9 };
        feed.line("a");
        feed.leave_out(missing);
        feed.leave_out(missing);
        feed.line("b");
        let all: Vec<Followed> = std::iter::from_fn(|| follow.try_next()).collect();
        let both = LeftOut { lines: 4, bytes: 18 };
        assert_eq!(all, [line("a"), Followed::LeftOut(both), line("b")]);
        // Where lines around it are left out as well, it is one number.
        feed.line("a");
        feed.leave_out(missing);
        feed.line(&"x".repeat(WAITING_BYTES_MAX));
        let all = LeftOut { lines: 3, bytes: 11 };
        assert_eq!(follow.try_next(), Some(Followed::LeftOut(all)));
    }

    #[test]
    fn a_reader_that_goes_is_known_to_be_gone_and_a_log_that_ends_ends_its_readers() {
        let (feed, mut follow) = follow();
        assert!(feed.is_read());
        feed.line("last");
        drop(feed);
        assert_eq!(follow.try_next(), Some(line("last")));
        let next = std::pin::pin!(follow.next());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(next.poll(&mut context), Poll::Ready(None));
        let (feed, gone) = super::follow();
        drop(gone);
        assert!(!feed.is_read());
    }
}
