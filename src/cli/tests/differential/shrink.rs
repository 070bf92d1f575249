//! The shortest list of requests that still shows a difference, as far as it is found in bounded time.

use crate::episode::{self, Difference, Tally};
use crate::servers::Pair;
use std::time::{Duration, Instant};

const TIME_MAX: Duration = Duration::from_secs(150);

/// Leaves out ever smaller parts while a difference remains (delta debugging).
pub(crate) fn shrink(
    runtime: &tokio::runtime::Runtime,
    program: &str,
    version: &str,
    seeds: &[u64],
) -> (Vec<u64>, Option<Difference>) {
    let begun = Instant::now();
    let differs = |seeds: &[u64]| {
        let pair = Pair::start(program);
        runtime.block_on(episode::run(&pair, version, seeds, &mut Tally::default())).err()
    };
    let Some(mut found) = differs(seeds) else { return (seeds.to_vec(), None) };
    let mut left = seeds[..=found.step].to_vec();
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
