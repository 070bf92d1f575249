//! A stream of generated requests goes to a real etcd and to a server of ours: answers, errors, revisions and the
//! events of watches must be equal, ids of members and clusters aside.
//!
//! Which etcd: the programs named by `SEATRIAL_ETCD` (separated by `:`), else `etcd` of the `PATH`. How many requests:
//! `SEATRIAL_DIFF_REQUESTS`. Another stream: `SEATRIAL_DIFF_SEED`. A difference is printed with the shortest list of
//! requests that was found to show it.
//!
//! What is ours on purpose stands in `explained.rs` and in docs/differences-from-etcd.md.

#![allow(clippy::disallowed_methods, reason = "tests of processes talk to the machine itself")]
#![allow(clippy::disallowed_types, reason = "tests of processes talk to the machine itself")]

mod episode;
mod explained;
mod generate;
mod shrink;
mod side;
#[path = "../support/mod.rs"]
mod support;
mod users;
mod watches;

use episode::{Difference, Tally};
use std::time::Duration;
use support::server::{self as servers, Pair};

/// Requests of one episode. Each begins with nothing but revisions, so that it can be repeated alone.
const EPISODE: u64 = 2_000;

/// Events and answers may be so long under way: a sync of a disk that others write to as well takes many seconds now and
/// then.
const DELIVERY: Duration = Duration::from_secs(60);

/// One in so many is followed by one about users, of so many requests.
const USERS_EVERY: u64 = 5;
const USERS_REQUESTS: u64 = 1_000;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a whole number is wanted")),
        Err(_) => default,
    }
}

#[test]
fn the_real_etcd_and_ours_answer_alike() {
    let requests = number("SEATRIAL_DIFF_REQUESTS", 10_000);
    let seed = number("SEATRIAL_DIFF_SEED", 1);
    let programs = servers::etcds();
    if programs.is_empty() {
        eprintln!(
            "SKIPPED: no real etcd to compare with (Debian package etcd-server, or SEATRIAL_ETCD=path:path)"
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for program in programs {
        let begun = std::time::Instant::now();
        let version = servers::version(&program);
        let mut tally = Tally::default();
        let mut pair = Pair::start(&program);
        for index in 0..requests.div_ceil(EPISODE) {
            // Far apart, so that two seeds share no episode.
            let first = seed * 1_000_000_000_000 + index * generate::EPISODES_APART;
            let seeds: Vec<u64> = (first..first + EPISODE.min(requests)).collect();
            let found = runtime.block_on(episode::run(&pair, &seeds, DELIVERY, &mut tally));
            if let Err(difference) = found {
                drop(pair);
                report(&runtime, &program, &version, &seeds, &difference);
            }
            if index % USERS_EVERY == 0 {
                let asked = users::run(&program, first, USERS_REQUESTS.min(requests), &mut tally);
                if let Err(difference) = runtime.block_on(asked) {
                    panic!("{version} and Seatrial differ: {difference}");
                }
            }
            if index % 50 == 49 {
                // New files now and then: neither side is to win by what it has in memory.
                drop(pair);
                pair = Pair::start(&program);
                println!("{version}: {} requests, {} s", tally.requests(), begun.elapsed().as_secs());
            }
        }
        println!("{version}: {} requests in {} s\n{tally}", tally.requests(), begun.elapsed().as_secs());
        if requests >= 10_000 {
            tally.expect_variety();
        }
    }
}

fn report(
    runtime: &tokio::runtime::Runtime,
    program: &str,
    version: &str,
    seeds: &[u64],
    difference: &Difference,
) -> ! {
    eprintln!("{version} and Seatrial differ; looking for the shortest way there\n{difference}");
    let (steps, shortest) = shrink::shrink(runtime, program, &seeds[..=difference.step]);
    if let Some(shortest) = shortest {
        panic!("{} requests show it (their seeds: {steps:?})\n{shortest}", steps.len());
    }
    panic!("it does not show again with the same requests (seeds {}..): see above", seeds[0]);
}
