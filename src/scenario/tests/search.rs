//! What docs/search.md says is what the code does.

#![allow(clippy::disallowed_methods, reason = "reads a document of the tree")]

use seatrial_scenario::format::parse;
use seatrial_scenario::format::spec::GoalKind;
use seatrial_scenario::techniques::Technique;
use seatrial_scenario::{Plan, format};
use seatrial_types::buggify::Site;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_site_has_its_row_and_every_row_its_site() {
    let page = read("search.md");
    let (_, rest) = page.split_once("| site | what happens | at most |\n|---|---|---|\n").expect("the table");
    let rows: Vec<&str> = rest.lines().take_while(|line| line.starts_with('|')).collect();
    let wanted: Vec<String> = Site::ALL
        .iter()
        .map(|site| format!("| `{site}` | {} | {} % |", site.text(), f64::from(site.most_ppm()) / 10_000.0))
        .collect();
    assert_eq!(rows, wanted);
    let goals = read("scenario-format.md");
    for site in Site::ALL {
        assert!(goals.contains(&format!("| `buggify-{site}` | {} |", site.text())), "{site}");
    }
    for technique in Technique::ALL {
        assert!(page.contains(&format!("| `{technique}` |")), "{technique}");
    }
}

#[test]
fn every_goal_is_in_the_list() {
    let page = read("scenario-format.md");
    for goal in GoalKind::NAMES {
        assert!(page.contains(&format!("| `{goal}` |")), "docs/scenario-format.md does not tell of {goal}");
    }
}

#[test]
fn the_example_is_a_script_that_is_printed_as_it_was_read() {
    let page = read("search.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("one");
    let scenario = parse("example.toml", example).unwrap_or_else(|error| panic!("{error}"));
    let plan = Plan::draw(&scenario, 7);
    let (priorities, sites) = (plan.priorities.clone().expect("some"), plan.sites.clone());
    assert_eq!((priorities.order.len(), priorities.falls.len(), sites.len()), (6, 1, 2));
    let again = parse("again.toml", &format::print(&plan, "")).unwrap_or_else(|error| panic!("{error}"));
    let again = Plan::draw(&again, 7);
    assert_eq!((again.priorities, again.sites), (Some(priorities), sites));
}
