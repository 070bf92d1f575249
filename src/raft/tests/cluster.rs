//! Whole clusters under random faults; see `common/storm.rs`. `SEATRIAL_SEEDS=1000..2000` runs others.

mod common;

use common::storm::{self, Stats};

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("SEATRIAL_SEEDS") else { return 0..100 };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("SEATRIAL_SEEDS={text} is no range"));
    number(from)..number(to)
}

#[test]
fn a_cluster_in_a_storm_stays_safe_and_converges_when_it_is_healed() {
    let mut sum = Stats::default();
    let mut runs = 0;
    for seed in seeds() {
        sum.add(&storm::run(seed));
        runs += 1;
    }
    println!("{runs} runs: {sum:?}");
    // A storm in which nothing happens proves nothing.
    for (what, count) in [
        ("elections", sum.elections),
        ("committed entries", sum.committed),
        ("reads", sum.reads),
        ("crashes", sum.crashes),
        ("snapshots installed", sum.snapshots),
        ("changes of configuration", sum.config_changes),
    ] {
        assert!(count * 2 >= runs, "only {count} {what} in {runs} runs");
    }
}
