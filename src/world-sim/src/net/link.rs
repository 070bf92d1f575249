//! What a link between two nodes does to what passes over it.

use crate::chance::{Chance, nanos};
use std::fmt;
use std::time::Duration;

/// How one direction of a link behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkRule {
    /// The least time from one end to the other.
    pub latency: Duration,
    /// Up to so much is added, evenly drawn for each segment.
    pub jitter: Duration,
    /// The probability with which a packet of 1448 bytes is lost, 0 to 1. A stream never misses bytes: a loss is
    /// a stall until the packet was sent again. With 1 nothing passes.
    pub loss: f64,
    /// Bytes per second; `None` is as much as one likes.
    pub bandwidth: Option<u64>,
}

impl Default for LinkRule {
    /// A local network.
    fn default() -> Self {
        let micros = Duration::from_micros;
        Self { latency: micros(200), jitter: micros(200), loss: 0.0, bandwidth: None }
    }
}

impl LinkRule {
    /// As it is, with another latency.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// As it is, with another jitter.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// As it is, with another probability of loss.
    #[must_use]
    pub fn loss(mut self, loss: f64) -> Self {
        self.loss = loss;
        self
    }

    /// As it is, with so many bytes per second.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second);
        self
    }
}

impl fmt::Display for LinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}+{:?}", self.latency, self.jitter)?;
        if self.loss > 0.0 {
            write!(f, ", loss {}%", self.loss * 100.0)?;
        }
        if let Some(bandwidth) = self.bandwidth {
            write!(f, ", {bandwidth} B/s")?;
        }
        Ok(())
    }
}

/// What a cut link does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutKind {
    /// They vanish: who sends learns nothing, and goes on trying until the link is healed.
    BlackHole,
    /// They are answered with a reset, as by a firewall: who sends learns at once.
    Reset,
}

/// The state of one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// `None` follows the default rule.
    pub(crate) rule: Option<LinkRule>,
    pub(crate) cut: Option<CutKind>,
    /// Until then earlier bytes occupy the line.
    busy_until: u64,
}

/// Bytes of payload in one packet of the simulated wire.
const PACKET_BYTES: usize = 1448;
/// Headers and the like, which count against the bandwidth.
const OVERHEAD_BYTES: u64 = 60;
/// TCP waits at least so long before it sends again when nothing else tells it of a loss (RFC 6298, as Linux has it).
const RETRANSMIT_MIN: u64 = 200_000_000;
/// After so many losses in a row the stall grows no more, so that heavy loss stays a very bad link and not none.
const RETRANSMITS_MAX: u32 = 6;
/// With so many segments on their way, the receiver's repeated acknowledgements tell of a loss after one round
/// trip (RFC 5681).
const FAST_RETRANSMIT: usize = 3;

impl Link {
    /// Nothing occupies the line any more.
    pub(crate) fn vacate(&mut self, now: u64) {
        self.busy_until = self.busy_until.min(now);
    }

    /// When a segment sent now arrives; `flight` segments are on their way before it.
    pub(crate) fn arrival(
        &mut self,
        rule: &LinkRule,
        chance: &mut Chance,
        now: u64,
        bytes: usize,
        flight: usize,
    ) -> u64 {
        let mut start = now;
        if let Some(bandwidth) = rule.bandwidth {
            let sending = (bytes as u64 + OVERHEAD_BYTES).saturating_mul(1_000_000_000) / bandwidth.max(1);
            self.busy_until = self.busy_until.max(now) + sending;
            start = self.busy_until;
        }
        let latency = nanos(rule.latency);
        let mut delay = latency + chance.below(nanos(rule.jitter) + 1);
        if rule.loss > 0.0 {
            delay += stall(rule, chance, bytes, flight);
        }
        start + delay
    }
}

/// How much later a segment arrives because packets of it were lost.
fn stall(rule: &LinkRule, chance: &mut Chance, bytes: usize, flight: usize) -> u64 {
    let passes = 1.0 - rule.loss.clamp(0.0, 1.0);
    // Multiplied out rather than raised to a power: the result must be the same on every machine.
    let passes = (0..bytes.div_ceil(PACKET_BYTES).max(1)).fold(1.0, |all, _| all * passes);
    let round_trip = 2 * nanos(rule.latency) + nanos(rule.jitter);
    let timeout = RETRANSMIT_MIN.max(2 * round_trip);
    let mut waited = 0;
    let mut times = 0;
    let mut lost = 1.0 - passes;
    while times < RETRANSMITS_MAX && chance.bool(lost) {
        let fast = times == 0 && flight >= FAST_RETRANSMIT;
        waited += if fast { round_trip } else { timeout << times };
        times += 1;
        // Only one packet is sent again.
        lost = rule.loss;
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_delay(rule: &LinkRule, bytes: usize, flight: usize) -> u64 {
        let mut chance = Chance::new(1, "link");
        let mut link = Link::default();
        (0..2000u64)
            .map(|i| {
                let now = i * 10_000_000_000;
                link.arrival(rule, &mut chance, now, bytes, flight) - now
            })
            .sum::<u64>()
            / 2000
    }

    #[test]
    fn loss_stalls_and_heavy_loss_stalls_longer() {
        let rule = LinkRule::default();
        let clean = mean_delay(&rule, 100, 0);
        assert!(clean < 400_000, "{clean}");
        let light = mean_delay(&rule.clone().loss(0.01), 100, 0);
        let heavy = mean_delay(&rule.clone().loss(0.3), 100, 0);
        assert!(light > clean + 1_000_000, "1 % of 200 ms is 2 ms: {light}");
        assert!(heavy > 20 * light, "{heavy} against {light}");
        let busy = mean_delay(&rule.clone().loss(0.01), 100, 8);
        assert!(
            busy - clean < (light - clean) / 5,
            "with others on their way a loss is noticed soon: {busy}"
        );
        let large = mean_delay(&rule.loss(0.01), 100_000, 0);
        assert!(large > 10 * light, "a large segment is many packets: {large}");
    }

    #[test]
    fn bytes_queue_for_the_bandwidth() {
        let rule = LinkRule::default().bandwidth(1_000_000);
        let mut chance = Chance::new(1, "link");
        let mut link = Link::default();
        let first = link.arrival(&rule, &mut chance, 0, 100_000, 0);
        let second = link.arrival(&rule, &mut chance, 0, 100_000, 1);
        assert!(first > 100_000_000 && second > 200_000_000, "{first} {second}");
    }
}
