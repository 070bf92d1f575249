//! The network: what a link does to what passes, and what it holds back.

use crate::parcel::Parcel;
use seatrial_scenario::fault::LinkRule;
use std::sync::Arc;
use std::time::Duration;

/// After so long without a word of the other side a connection between members is given up, as their transport does.
pub(crate) const STALL: Duration = Duration::from_millis(1500);

/// A dialler gives up an attempt that nothing answers, …
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// … and pauses between attempts: at first, and at most.
pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How much later a packet arrives that had to be sent again.
const RESENT: Duration = Duration::from_millis(200);

/// One direction between two places. It is a stream: what was sent before arrives before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) rule: LinkRule,
    /// When the last thing on its way arrives.
    last: Duration,
    /// When the sender's end is free again, where the link is narrow.
    free: Duration,
    /// Since when nothing passes.
    pub(crate) cut_since: Option<Duration>,
    /// What waits for the link to come back.
    pub(crate) held: Vec<(Parcel, usize)>,
    /// Between members: there is no connection. It is dialled again and again.
    pub(crate) is_broken: bool,
    /// Since when the other side acknowledges nothing.
    pub(crate) unheard_since: Option<Duration>,
}

/// Draws a number below the given one.
pub(crate) type Below<'a> = &'a mut dyn FnMut(u64) -> u64;

impl Link {
    /// When something of so many bytes arrives that is sent now.
    pub(crate) fn arrival(
        &mut self,
        now: Duration,
        bytes: usize,
        latency: Duration,
        jitter: Duration,
        below: Below<'_>,
    ) -> Duration {
        let mut at = now + latency + self.rule.extra_latency;
        let jitter = jitter + self.rule.extra_jitter;
        if !jitter.is_zero() {
            at += Duration::from_nanos(below(jitter.as_nanos() as u64 + 1));
        }
        if self.rule.loss_ppm > 0 {
            while below(1_000_000) < u64::from(self.rule.loss_ppm.min(900_000)) {
                at += RESENT;
            }
        }
        if let Some(per_second) = self.rule.bandwidth {
            let takes = Duration::from_nanos(bytes as u64 * 1_000_000_000 / per_second.max(1));
            self.free = self.free.max(now) + takes;
            at += self.free.saturating_sub(now);
        }
        // Two things of one stream arrive one after the other.
        self.last = at.max(self.last + Duration::from_nanos(1));
        self.last
    }

    /// A new connection: what is still on its way on the old one may come later than what is sent on this.
    pub(crate) fn connect(&mut self, now: Duration) {
        (self.is_broken, self.unheard_since, self.last) = (false, None, now);
    }
}

/// All directed links. A clone shares the rows it does not change.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    rows: Vec<Arc<Vec<Link>>>,
}

impl Links {
    /// Between so many places, all of them healthy.
    pub(crate) fn new(places: usize) -> Self {
        let row = Arc::new(vec![Link::default(); places]);
        Self { rows: vec![row; places] }
    }

    pub(crate) fn get(&self, from: usize, to: usize) -> &Link {
        &self.rows[from][to]
    }

    pub(crate) fn get_mut(&mut self, from: usize, to: usize) -> &mut Link {
        &mut Arc::make_mut(&mut self.rows[from])[to]
    }

    /// Whether both directions are open.
    pub(crate) fn is_open(&self, one: usize, other: usize) -> bool {
        let is_cut = |from: usize, to: usize| self.get(from, to).cut_since.is_some();
        !is_cut(one, other) && !is_cut(other, one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn what_was_sent_before_arrives_before_whatever_is_drawn() {
        let mut link =
            Link { rule: LinkRule { loss_ppm: 300_000, ..LinkRule::default() }, ..Link::default() };
        let mut state = 7_u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        let mut last = Duration::ZERO;
        let mut lost = 0;
        for sent in 0..1000 {
            let at = link.arrival(MS(sent), 100, MS(1), MS(5), &mut below);
            assert!(at > last && at > MS(sent), "{at:?} {last:?}");
            lost += u32::from(at > MS(sent) + MS(100));
            last = at;
        }
        assert!(lost > 100, "a loss holds up what comes behind it: {lost}");
    }

    #[test]
    fn a_narrow_link_takes_one_thing_after_the_other() {
        let mut link =
            Link { rule: LinkRule { bandwidth: Some(1000), ..LinkRule::default() }, ..Link::default() };
        let mut none = |_: u64| 0;
        assert_eq!(link.arrival(MS(0), 500, MS(1), MS(0), &mut none), MS(501));
        assert_eq!(link.arrival(MS(0), 500, MS(1), MS(0), &mut none), MS(1001));
        assert_eq!(link.arrival(MS(5000), 500, MS(1), MS(0), &mut none), MS(5501), "it has come to rest");
    }

    #[test]
    fn a_clone_is_another_network() {
        let links = Links::new(3);
        let mut other = links.clone();
        other.get_mut(0, 1).cut_since = Some(MS(1));
        assert!(links.is_open(0, 1) && !other.is_open(1, 0) && other.is_open(0, 2));
    }
}
