//! What a world as a value costs: to be cloned, and to be played, beside the simulation of the same plan.
//!
//! What counts are the ratios: a clone against the steps that it saves, the lab against the simulation.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use seatrial_lab::{Lab, LabOptions, Laboratory};
use seatrial_scenario::Plan;
use seatrial_scenario::batch::Stage;
use seatrial_sims::Simulation;
use seatrial_types::MemberId;
use seatrial_types::request::{PutRequest, Request};
use std::hint::black_box;
use std::time::Duration;

/// Five members, ten clients, everyday faults, for so many seconds.
fn plan(seconds: u64) -> Plan {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/slow/default-mix.toml");
    let mut scenarios = seatrial_scenario::files::load_scenarios(&[path]).expect("a shipped scenario");
    let mut scenario = scenarios.remove(0);
    scenario.time = Duration::from_secs(seconds);
    Plan::draw(&scenario, 1)
}

/// Five members that have taken so many writes.
fn lab(writes: u64) -> Lab {
    let knobs = plan(10).knobs;
    let mut lab =
        Lab::new(LabOptions { seed: 1, machines: 5, members: 5, clients: 10, knobs, packets: false });
    (1..=5).for_each(|machine| lab.start(MemberId(machine)));
    run_until(&mut lab, Duration::from_secs(5));
    for number in 0..writes {
        let key = format!("key {:03}", number % 100).into();
        let put = PutRequest { key, value: vec![b'v'; 64].into(), ..PutRequest::default() };
        let call = lab.ask(1, MemberId(number % 5 + 1), Request::Put(put), Duration::from_secs(1));
        let until = lab.now() + Duration::from_millis(20);
        run_until(&mut lab, until);
        // Who asked hears the answer; what nobody takes would be cloned for ever.
        lab.answer(call);
    }
    lab
}

fn run_until(lab: &mut Lab, time: Duration) {
    while lab.now() < time && lab.step() {}
    lab.take_told();
}

fn clone(c: &mut Criterion) {
    let mut group = c.benchmark_group("lab");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for writes in [100, 5000] {
        let world = lab(writes);
        group.bench_function(format!("clone of five members after {writes} writes"), |b| {
            b.iter(|| black_box(world.clone()));
        });
        // What is shared is copied by whoever changes it: that is a part of the price.
        group.bench_function(format!("clone and 100 steps, after {writes} writes"), |b| {
            b.iter_batched(
                || world.clone(),
                |mut world| {
                    for _ in 0..100 {
                        world.step();
                    }
                    world
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn worlds(c: &mut Criterion) {
    let mut group = c.benchmark_group("20 s of the default mix");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(5));
    let plan = plan(20);
    group.bench_function("lab", |b| b.iter(|| black_box(Laboratory.run(&plan))));
    group.bench_function("sim", |b| b.iter(|| black_box(Simulation::default().run(&plan))));
    group.finish();
}

criterion_group!(benches, clone, worlds);
criterion_main!(benches);
