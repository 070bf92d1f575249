//! Plays scenario files in the lab.
use seatrial_lab::{Laboratory, why_not};
use seatrial_scenario::Plan;
use seatrial_scenario::batch::run_one;
use seatrial_scenario::files::load_scenarios;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (from, to): (u64, u64) = (args[2].parse().unwrap(), args[3].parse().unwrap());
    let scenarios = load_scenarios(&[args[1].clone().into()]).unwrap();
    let quiet = args.len() > 4;
    let (mut sim, mut cpu, mut runs, mut red) = (0.0, 0.0, 0, 0);
    for scenario in &scenarios {
        if let Some(why) = why_not(scenario) {
            if !quiet {
                println!("left out {}: {}", scenario.name, why.lines().next().unwrap());
            }
            continue;
        }
        let (mut s, mut c, mut o) = (0.0, 0.0, std::time::Duration::ZERO);
        for seed in from..=to {
            let plan = Plan::draw(scenario, seed);
            let t = std::time::Instant::now();
            let (summary, log, _) = run_one(&Laboratory, &plan);
            o += t.elapsed();
            runs += 1;
            s += summary.simulated_seconds;
            c += summary.cpu_seconds;
            if format!("{:?}", summary.verdict) != "Pass" {
                red += 1;
                println!(
                    "{} {} {:?} {:?}: {}",
                    scenario.name, seed, summary.verdict, summary.violated, summary.sentence
                );
            }
            if let Some(log) = log {
                if !quiet && seed == from {
                    println!(
                        "   ops {} packets {} observed {}",
                        log.history.operations.len(),
                        log.packets_total,
                        log.observed.len()
                    );
                }
            }
        }
        if !quiet {
            println!("{}: {:.0} sim s/cpu s, with judging {:.0}", scenario.name, s / c, s / o.as_secs_f64());
        }
        sim += s;
        cpu += c;
    }
    println!("{runs} runs, {red} not passed, {:.0} sim s/cpu s", sim / cpu);
}
