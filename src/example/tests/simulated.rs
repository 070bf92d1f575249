//! The register in the simulation: clients read and write, the primary dies, and the history is judged.

use seatrial_example::{Config, Copying, ask, serve};
use seatrial_history::search::{CasRegister, RegisterOp, Timed, check};
use seatrial_history::{Budget, Verdict};
use seatrial_world::{World, timeout};
use seatrial_world_sim::{LinkRule, Options, Sim, SimWorld, check_determinism, run_seed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

type History = Arc<Mutex<Vec<Timed<RegisterOp>>>>;

/// One client: asks the primary as long as it lives, then the backup.
async fn client(world: SimWorld, number: u64, history: History) {
    let mut address = "primary:1";
    for round in 0..40 {
        world.sleep(MS * (world.rand() % 60) as u32).await;
        let value = (number * 1000 + round) as i64;
        let write = world.rand().is_multiple_of(3);
        let line = if write { format!("write {value}") } else { "read".to_owned() };
        let call = world.now().as_nanos() as u64;
        let answer = timeout(&world, 500 * MS, ask(&world, address, &line)).await;
        let ret = world.now().as_nanos() as u64;
        let (ret, op) = match answer {
            Ok(Ok(answer)) if write && answer == "ok" => (Some(ret), RegisterOp::Write(value)),
            Ok(Ok(answer)) if !write => (Some(ret), RegisterOp::Read(answer.parse().ok())),
            _ => {
                // Nobody knows whether a write that was not answered was done; a read leaves nothing behind.
                address = "backup:1";
                if !write {
                    continue;
                }
                (None, RegisterOp::Write(value))
            }
        };
        let mut history = history.lock().unwrap();
        let id = history.len();
        history.push(Timed { id, client: number, call, ret, op });
    }
}

async fn scenario(sim: Sim, copying: Copying) -> Vec<Timed<RegisterOp>> {
    sim.net().set_default(LinkRule::default().latency(2 * MS).jitter(8 * MS));
    let process = |name: &str, backup: Option<&str>| {
        let config = Config { listen: "0.0.0.0:1".to_owned(), backup: backup.map(str::to_owned), copying };
        sim.node(name)
            .init(move |world| {
                let config = config.clone();
                async move { serve(world, config).await.expect("it serves") }
            })
            .build()
    };
    process("backup", None);
    let primary = process("primary", Some("backup:1"));
    let history = History::default();
    for number in 1..=5 {
        let node = sim.node(&format!("client-{number}")).build();
        let world = sim.world_of(node);
        world.spawn(client(world.clone(), number, history.clone()));
    }
    let mut chance = sim.chance("nemesis");
    sim.sleep(chance.duration(200 * MS, 1200 * MS)).await;
    sim.kill(primary);
    sim.sleep(Duration::from_secs(4)).await;
    let history = history.lock().unwrap();
    history.clone()
}

fn judge(seed: u64, copying: Copying) -> Verdict {
    let outcome = run_seed(seed, Options::default(), move |sim| scenario(sim, copying));
    let history = outcome.result.expect("the run ends");
    assert!(history.len() > 40, "seed {seed}: clients did next to nothing");
    check(&CasRegister::default(), &history, Budget::default())
}

/// The first seed that shows a violation, and what it says.
fn first_violation(copying: Copying, seeds: u64) -> Option<(u64, String)> {
    (1..=seeds).find_map(|seed| {
        let verdict = judge(seed, copying);
        assert!(!matches!(verdict, Verdict::Unknown { .. }), "seed {seed}: {verdict}");
        verdict.violation().map(|violation| (seed, violation.to_string()))
    })
}

#[test]
fn a_copy_in_the_background_loses_what_was_acknowledged() {
    let (seed, text) = first_violation(Copying::InBackground, 100).expect("a lost write");
    println!("seed {seed}: {text}");
}

#[test]
fn a_copy_before_the_answer_lets_others_read_what_is_lost() {
    let (seed, text) = first_violation(Copying::BeforeAnswering, 1000).expect("a read that was taken back");
    println!("seed {seed}: {text}");
}

#[test]
fn a_copy_before_anybody_sees_it_is_linearizable() {
    assert_eq!(first_violation(Copying::BeforeApplying, 200), None);
}

#[test]
fn a_seed_says_everything() {
    let run = |sim| scenario(sim, Copying::BeforeApplying);
    check_determinism(7, &Options { record_max: 100, ..Options::default() }, run).expect("twice the same");
}
