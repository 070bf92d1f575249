//! Walks through three members with the bounds given: `members terms entries crashes beats reads threads seconds reductions`.
use seatrial_explore::raft::reduced::{Bounds, Reductions, Walk, WalkLimits};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

#[allow(clippy::disallowed_methods)]
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let b = Bounds { members: a[0] as u8, terms: a[1] as u8, entries: a[2] as u8, crashes: a[3] as u8, beats: a[4] as u8, reads: a[5] as u8 };
    let r = Reductions { symmetry: a[8] & 1 != 0, order: a[8] & 2 != 0 };
    #[cfg(feature = "mutants")]
    if let Ok(bug) = std::env::var("PLANT") { seatrial_types::planted::plant(&[bug.parse().unwrap()]); }
    let mut walk = Walk::new(b, r);
    let begun = Instant::now();
    let mut told = begun;
    let limits = WalkLimits { threads: NonZeroUsize::new(a[6] as usize).unwrap(), time_max: Some(Duration::from_secs(a[7])), ..WalkLimits::default() };
    let mem = || { let s = std::fs::read_to_string("/proc/self/statm").unwrap(); s.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096 };
    let report = walk.go(limits, || (begun.elapsed(), mem()), |s| if told.elapsed().as_secs() >= 5 { told = Instant::now(); eprintln!("{s:?} {} MiB {:.0}/s", mem() >> 20, s.unique as f64 / begun.elapsed().as_secs_f64()) });
    let t = begun.elapsed().as_secs_f64();
    println!("{}", report.growth);
    match &report.outcome { seatrial_explore::Outcome::Violated(s, e) => println!("violated {s:?}\n{e}"), o => println!("{o:?}") }
    if a.len() > 9 {
        let mut full = Walk::new(b, Reductions::NONE);
        let r = full.go(limits, || (begun.elapsed(), mem()), |_| ());
        println!("full {:?}", r.outcome);
        let (one, two) = (walk.outlines(), full.outlines());
        println!("outlines {} {}, only in reduced {}, only in full {}", one.len(), two.len(), one.difference(&two).count(), two.difference(&one).count());
        for t in one.difference(&two).take(2) { println!("R {t}"); }
        for t in two.difference(&one).take(3) { println!("F {t}"); }
    }
    let s = report.outcome.sight();
    println!("{t:.1}s {:.0}/s {} MiB, {:.1} B/state, {} core steps", s.unique as f64 / t, mem() >> 20, report.state_bytes, report.steps_of_cores);
}
