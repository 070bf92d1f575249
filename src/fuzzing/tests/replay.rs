//! Every input of the corpus, and some changes of each, given to its decoder.

use seatrial_fuzzing::{Mutator, TARGETS, corpus, samples};
use std::collections::BTreeSet;

/// Changes of each input in every run of the tests; the program `fuzz` makes more.
const CHANGES: u64 = 60;

#[test]
fn no_decoder_falls_over_the_corpus_or_small_changes_of_it() {
    for target in TARGETS {
        let inputs = corpus::of(target.name).unwrap_or_else(|error| panic!("{}: {error}", target.name));
        assert!(!inputs.is_empty(), "{} has no inputs", target.name);
        let mut mutator = Mutator::new(0);
        for (name, bytes) in &inputs {
            println!("{}/{name}", target.name);
            (target.run)(bytes);
            for _ in 0..CHANGES {
                let (_, other) = mutator.pick(&inputs).clone();
                let changed = mutator.mutate(bytes, &other, target.text);
                println!("  {}", changed.escape_ascii());
                (target.run)(&changed);
            }
        }
    }
}

#[test]
fn the_corpus_has_a_folder_for_each_target_and_its_samples_are_those_that_the_code_makes() {
    let named: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    for (target, name, bytes) in samples::all() {
        assert!(named.contains(target), "{target} is no target");
        let kept = corpus::of(target).unwrap().into_iter().find(|(kept, _)| *kept == name);
        let (_, kept) = kept.unwrap_or_else(|| {
            panic!("{target}/{name} is missing\nhint: cargo run -p seatrial-fuzzing --bin fuzz -- samples")
        });
        assert_eq!(kept, bytes, "{target}/{name} is old: the format has changed, so must the corpus");
    }
}
