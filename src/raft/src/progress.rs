//! What a leader knows of one follower, and how fast it may send to it.

use seatrial_types::LogIndex;
use std::collections::VecDeque;

/// How entries travel to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgressState {
    /// Where its log agrees is unknown: one append at a time.
    Probe {
        /// One is on its way; the next goes when it is answered, or with the answer to a heartbeat.
        paused: bool,
    },
    /// The logs agree up to `matched`: appends follow one another without waiting, up to the window.
    Replicate,
    /// It needs what was compacted: a snapshot travels in chunks.
    Snapshot {
        /// Which one; `None` until the driver took it.
        index: Option<LogIndex>,
        /// The next byte the follower wants.
        offset: u64,
        /// The driver was asked for that chunk and has not answered. Else the chunk is on its way.
        asked: bool,
    },
}

/// What a leader knows of one follower (Raft figure 2: `nextIndex` and `matchIndex`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// It holds the leader's log up to here, durably. Invariant: `matched < next`.
    pub matched: LogIndex,
    /// The next entry to send.
    pub next: LogIndex,
    /// How entries travel.
    pub state: ProgressState,
    /// The last entry of each append on its way, oldest first; only in `Replicate`.
    pub inflight: VecDeque<LogIndex>,
    /// It answered since the last look (thesis §6.2).
    pub active: bool,
    /// The newest round of heartbeats it answered (thesis §6.4).
    pub acked_round: u64,
    /// The commit index last sent to it.
    pub commit_sent: LogIndex,
    /// Heartbeats since it last answered an append or a chunk with something new.
    pub(crate) beats: u8,
    /// Send an append at the next turn even if it is empty and the window is full.
    pub(crate) reprobe: bool,
}

impl Progress {
    pub(crate) fn new(next: LogIndex) -> Self {
        Self {
            matched: LogIndex::ZERO,
            next,
            state: ProgressState::Probe { paused: false },
            inflight: VecDeque::new(),
            active: false,
            acked_round: 0,
            commit_sent: LogIndex::ZERO,
            beats: 0,
            reprobe: false,
        }
    }

    pub(crate) fn become_probe(&mut self) {
        self.state = ProgressState::Probe { paused: false };
        self.next = self.matched.next();
        self.inflight.clear();
        self.reprobe = false;
    }

    pub(crate) fn become_replicate(&mut self) {
        self.state = ProgressState::Replicate;
        self.next = self.matched.next();
        self.inflight.clear();
        self.reprobe = false;
    }

    pub(crate) fn become_snapshot(&mut self) {
        self.state = ProgressState::Snapshot { index: None, offset: 0, asked: true };
        self.inflight.clear();
        self.reprobe = false;
    }

    /// Entries up to `last` leave now.
    pub(crate) fn sent(&mut self, last: LogIndex) {
        match &mut self.state {
            ProgressState::Replicate => {
                self.inflight.push_back(last);
                self.next = last.next();
            }
            ProgressState::Probe { paused } => *paused = true,
            state @ ProgressState::Snapshot { .. } => panic!("entries up to {last} sent in {state:?}"),
        }
    }

    /// It acknowledged everything up to `matched`; whether that was news.
    pub(crate) fn acknowledged(&mut self, matched: LogIndex, first_index: LogIndex) -> bool {
        let news = matched > self.matched;
        if news {
            self.matched = matched;
        }
        self.next = self.next.max(self.matched.next());
        match self.state {
            // An answer to the probe, even if it brings nothing new: the logs agree at `matched`.
            ProgressState::Probe { .. } if matched == self.matched => self.become_replicate(),
            ProgressState::Probe { .. } => {}
            ProgressState::Replicate => {
                while self.inflight.front().is_some_and(|last| *last <= matched) {
                    self.inflight.pop_front();
                }
            }
            // What it now wants is here again, however it came to that.
            ProgressState::Snapshot { .. } if self.matched.next() >= first_index => self.become_replicate(),
            // It has the snapshot (the word of it was lost), but the log has gone on without it: the next
            // probe finds that out, and another snapshot follows.
            ProgressState::Snapshot { index: Some(index), .. } if self.matched >= index => {
                self.become_probe()
            }
            ProgressState::Snapshot { .. } => {}
        }
        news
    }

    /// It has no entry `rejected` of the term we said; `guess` is where both logs might agree. Whether
    /// to try again now.
    pub(crate) fn rejected(&mut self, rejected: LogIndex, guess: LogIndex) -> bool {
        if matches!(self.state, ProgressState::Snapshot { .. }) {
            return false;
        }
        if rejected <= self.matched {
            // Either the answer is older than what we know, or the follower's disk lost what it had
            // acknowledged and it is being repaired. We cannot tell, and need not: to find the place
            // again costs one round, while a repaired follower would else be stuck until the next leader.
            self.matched = LogIndex::ZERO;
            self.become_probe();
            self.next = rejected.min(guess.next()).max(LogIndex(1));
            return true;
        }
        match &mut self.state {
            ProgressState::Replicate => {
                self.become_probe();
                true
            }
            ProgressState::Probe { paused } => {
                // An answer to something else than the last probe is old.
                if self.next.prev() != rejected {
                    return false;
                }
                *paused = false;
                self.next = rejected.min(guess.next()).max(self.matched.next());
                true
            }
            ProgressState::Snapshot { .. } => false,
        }
    }

    pub(crate) fn check(&self, last: LogIndex, inflight_max: usize) {
        assert!(self.matched < self.next, "matched {} not below next {}", self.matched, self.next);
        assert!(self.matched <= last, "matched {} beyond last {last}", self.matched);
        assert!(self.next <= last.next(), "next {} beyond the end, {last}", self.next);
        let inflight = self.inflight.len();
        assert!(inflight <= inflight_max.max(1), "{inflight} appends on the way, at most {inflight_max}");
        assert!(
            inflight == 0 || self.state == ProgressState::Replicate,
            "{inflight} appends on the way in {:?}",
            self.state
        );
    }
}
