//! Mutates the corpus for as long as it is told, and keeps what a decoder fell over.
//!
//! `cargo run --release -p seatrial-fuzzing --bin fuzz -- [--seconds N] [--seed N] [TARGET…]`, or `-- samples` to write
//! the corpus' first inputs anew.
#![allow(clippy::disallowed_methods, reason = "a program of its own, beside the product")]

use seatrial_fuzzing::{Mutator, TARGETS, Target, corpus, samples};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A decoder that takes longer than this for a few kilobytes hangs, as good as.
const SLOW: Duration = Duration::from_secs(2);

/// Inputs that grew from the corpus and are mutated further.
const GROWN_MAX: usize = 256;

fn main() -> ExitCode {
    let mut seconds = 10;
    let mut seed = 1;
    let mut names = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = |name: &str| match args.next().and_then(|value| value.parse().ok()) {
            Some(value) => value,
            None => {
                eprintln!("{name} takes a number");
                std::process::exit(2)
            }
        };
        match arg.as_str() {
            "--seconds" => seconds = number("--seconds"),
            "--seed" => seed = number("--seed"),
            "samples" => return write_samples(),
            name => names.push(name.to_owned()),
        }
    }
    if let Some(unknown) = names.iter().find(|name| !TARGETS.iter().any(|target| target.name == **name)) {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("there is no target {unknown:?}\nhint: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |target: &&Target| names.is_empty() || names.iter().any(|name| name == target.name);
    let mut fallen = 0;
    for target in TARGETS.iter().filter(wanted) {
        fallen += run(target, Duration::from_secs(seconds), seed);
    }
    if fallen == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_samples() -> ExitCode {
    for (target, name, bytes) in samples::all() {
        if let Err(error) = corpus::keep(target, &name, &bytes) {
            eprintln!("{target}/{name} cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// How many inputs the target fell over; it goes on until there are a few.
fn run(target: &Target, time: Duration, seed: u64) -> usize {
    let inputs: Vec<Vec<u8>> = match corpus::of(target.name) {
        Ok(inputs) => inputs.into_iter().map(|(_, bytes)| bytes).collect(),
        Err(error) => {
            eprintln!("{}: the corpus cannot be read: {error}", target.name);
            return 1;
        }
    };
    let mut mutator = Mutator::new(seed);
    let mut grown = inputs.clone();
    let (start, mut runs, mut fallen) = (Instant::now(), 0u64, 0);
    while start.elapsed() < time && fallen < 5 {
        let (base, other) = (mutator.pick(&grown).clone(), mutator.pick(&inputs).clone());
        let bytes = mutator.mutate(&base, &other, target.text);
        let began = Instant::now();
        let fell = catch_unwind(|| (target.run)(&bytes)).is_err();
        let took = began.elapsed();
        runs += 1;
        if fell || took > SLOW {
            fallen += 1;
            let name = format!("fell-{seed}-{runs}.bin");
            let kept = corpus::keep(target.name, &name, &bytes);
            println!("{}: {name} after {took:?}, kept: {kept:?}: {}", target.name, bytes.escape_ascii());
        } else if runs.is_multiple_of(16) {
            // Without a measure of what is new, a few are taken along at random.
            if grown.len() < GROWN_MAX {
                grown.push(bytes);
            } else {
                let at = inputs.len() + (runs as usize / 16) % (GROWN_MAX - inputs.len()).max(1);
                grown[at.min(GROWN_MAX - 1)] = bytes;
            }
        }
    }
    println!("{}: {runs} inputs, {fallen} fell over", target.name);
    fallen
}
