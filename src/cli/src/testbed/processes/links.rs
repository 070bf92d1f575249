//! The directed links of a run, and what each does to the bytes that pass it now.

use seatrial_scenario::fault::{LinkRule, Place};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// TCP waits at least so long before it sends again when nothing else tells it of a loss (RFC 6298, as Linux has it).
const RETRANSMIT_MIN: Duration = Duration::from_millis(200);
/// After so many losses in a row the stall grows no more: heavy loss is a very bad link and not none.
const RETRANSMITS_MAX: u32 = 6;
/// With so many segments on their way a loss is noticed after one round trip (RFC 5681).
const FAST_RETRANSMIT: usize = 3;
/// Bytes of payload in one packet.
const PACKET_BYTES: usize = 1448;

/// All links of a run; those that nobody has bent are healthy. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Links(Arc<Mutex<Table>>);

type Table = BTreeMap<(Place, Place), Arc<Link>>;

impl Links {
    pub(super) fn link(&self, from: Place, to: Place) -> Arc<Link> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.entry((from, to)).or_default().clone()
    }

    pub(super) fn set(&self, from: Place, to: Place, rule: LinkRule) {
        let link = self.link(from, to);
        *link.rule_mut() = rule;
        link.changed.notify_waiters();
    }
}

/// One direction between two places.
#[derive(Default)]
pub(super) struct Link {
    rule: Mutex<LinkRule>,
    changed: Notify,
    /// Until then earlier bytes occupy the line, where it is narrow.
    busy_until: Mutex<Option<Instant>>,
}

impl Link {
    fn rule_mut(&self) -> MutexGuard<'_, LinkRule> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rule(&self) -> LinkRule {
        *self.rule_mut()
    }

    /// Ready once the link is not cut.
    pub(super) async fn open(&self) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            if !self.rule().cut {
                return;
            }
            changed.await;
        }
    }

    /// Ready once the line has carried so many bytes, after all that it was given before; at once where it is wide, or becomes
    /// wider meanwhile.
    pub(super) async fn carry(&self, bytes: usize) {
        let Some(narrow) = self.rule().bandwidth else { return };
        let sending = Duration::from_secs_f64(bytes as f64 / narrow as f64);
        let until = {
            let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let until = busy_until.map_or(now, |busy| busy.max(now)) + sending;
            *busy_until = Some(until);
            until
        };
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.rule().bandwidth.is_none_or(|now| now > narrow) {
                *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return,
                () = changed => {}
            }
        }
    }

    /// How long bytes that are sent now take; `flight` segments are on their way before them. `draw` answers with chance.
    pub(super) fn delay(&self, bytes: usize, flight: usize, draw: impl Fn() -> u64) -> Duration {
        let rule = self.rule();
        let jitter = u64::try_from(rule.extra_jitter.as_nanos()).expect("at most a minute");
        let mut delay = rule.extra_latency + Duration::from_nanos(draw() % (jitter + 1));
        if rule.loss_ppm > 0 {
            delay += stall(&rule, bytes, flight, draw);
        }
        delay
    }
}

/// How much later a segment arrives because packets of it were lost: a stream never misses bytes, it stalls until they
/// were sent again.
fn stall(rule: &LinkRule, bytes: usize, flight: usize, draw: impl Fn() -> u64) -> Duration {
    let loss = f64::from(rule.loss_ppm) / 1e6;
    let packets = i32::try_from(bytes.div_ceil(PACKET_BYTES).max(1)).unwrap_or(i32::MAX);
    let round_trip = rule.extra_latency * 2 + rule.extra_jitter;
    let timeout = RETRANSMIT_MIN.max(round_trip * 2);
    let mut lost = 1.0 - (1.0 - loss).powi(packets);
    let (mut waited, mut times) = (Duration::ZERO, 0);
    while times < RETRANSMITS_MAX && (draw() as f64 / u64::MAX as f64) < lost {
        let fast = times == 0 && flight >= FAST_RETRANSMIT;
        waited += if fast { round_trip } else { timeout * (1 << times) };
        times += 1;
        // Only one packet is sent again.
        lost = loss;
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(rule: LinkRule) -> Link {
        let link = Link::default();
        *link.rule_mut() = rule;
        link
    }

    #[test]
    fn latency_is_added_and_jitter_drawn() {
        let ms = Duration::from_millis;
        let link = link(LinkRule { extra_latency: ms(50), extra_jitter: ms(10), ..LinkRule::default() });
        assert_eq!(link.delay(100, 0, || 0), ms(50));
        assert_eq!(link.delay(100, 0, || 10_000_000), ms(60));
    }

    #[test]
    fn a_lost_packet_is_a_stall_that_doubles_and_ends() {
        let link = link(LinkRule { loss_ppm: 100_000, ..LinkRule::default() });
        assert_eq!(link.delay(100, 0, || u64::MAX), Duration::ZERO, "it got through");
        assert_eq!(link.delay(100, 0, || 0), RETRANSMIT_MIN * 63, "lost as often as it may be");
        assert_eq!(link.delay(100, 3, || 0), RETRANSMIT_MIN * 62, "the first loss was noticed at once");
    }

    #[tokio::test]
    async fn a_narrow_line_carries_one_after_the_other_and_a_wide_one_all_at_once() {
        let (links, ends) = (Links::default(), (Place::Client(1), Place::Client(2)));
        let link = links.link(ends.0, ends.1);
        let begun = Instant::now();
        link.carry(1 << 30).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "nothing holds it up");
        links.set(ends.0, ends.1, LinkRule { bandwidth: Some(100_000), ..LinkRule::default() });
        let begun = Instant::now();
        tokio::join!(link.carry(10_000), link.carry(10_000));
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
        let waiting = tokio::spawn(async move { link.carry(1 << 30).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        links.set(ends.0, ends.1, LinkRule::default());
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_waits_for_a_cut_link_goes_on_when_it_is_healed() {
        let (links, ends) = (Links::default(), (Place::Client(1), Place::Client(2)));
        links.set(ends.0, ends.1, LinkRule { cut: true, ..LinkRule::default() });
        let link = links.link(ends.0, ends.1);
        let waiting = tokio::spawn(async move { link.open().await });
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!waiting.is_finished());
        links.link(ends.1, ends.0).open().await;
        links.set(ends.0, ends.1, LinkRule::default());
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }
}
