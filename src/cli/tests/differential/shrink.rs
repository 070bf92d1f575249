//! The shortest list of requests that still shows a difference, as far as it is found in bounded time.

use crate::episode::{self, Difference, Tally};
use crate::support::server::Pair;
use std::time::{Duration, Instant};

const TIME_MAX: Duration = Duration::from_secs(60);

/// Shorter than in the first run: most attempts end with this wait.
const DELIVERY: Duration = Duration::from_millis(700);

/// Leaves out ever smaller parts while a difference remains (delta debugging).
pub(crate) fn shrink(
    runtime: &tokio::runtime::Runtime,
    program: &str,
    seeds: &[u64],
) -> (Vec<u64>, Option<Difference>) {
    let begun = Instant::now();
    let differs = |seeds: &[u64]| {
        let pair = Pair::start(program);
        runtime.block_on(episode::run(&pair, seeds, DELIVERY, &mut Tally::default())).err()
    };
    let Some(mut found) = differs(seeds) else { return (seeds.to_vec(), None) };
    let mut left = seeds[..=found.step].to_vec();
    // What went before just now matters most.
    for last in [3, 10, 30, 100, 300] {
        let fewer = &left[left.len().saturating_sub(last)..];
        if let Some(again) = differs(fewer) {
            (left, found) = (fewer[..=again.step].to_vec(), again);
            break;
        }
    }
    let mut part = left.len().div_ceil(2);
    while part > 0 && begun.elapsed() < TIME_MAX {
        let mut at = 0;
        while at < left.len() && begun.elapsed() < TIME_MAX {
            let mut fewer = left.clone();
            fewer.drain(at..(at + part).min(left.len()));
            match differs(&fewer) {
                Some(again) => {
                    fewer.truncate(again.step + 1);
                    (left, found) = (fewer, again);
                }
                None => at += part,
            }
        }
        part /= 2;
    }
    (left, Some(found))
}
