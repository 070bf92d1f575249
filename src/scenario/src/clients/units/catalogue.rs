//! The units that operators know, by their numbers, and what is asked for them; and requests that make little sense.

use crate::format::spec::UnitAct;
use crate::theatre::{FleetAsk, machine_id};
use serde_json::{Value, json};

/// How many odd requests there are.
pub(crate) const POISONS: u32 = 14;

/// What the names of units begin with that odd requests make.
const ODD: &str = "odd-";

/// Whether an odd request has made this unit.
pub(super) fn is_odd(name: &str) -> bool {
    name.starts_with(ODD)
}

/// One request of a kind for each twelve units: alone, in conflict, everywhere, beside another, …
fn unit(number: u32) -> (String, Vec<(&'static str, String)>) {
    let plain = |number: u32| format!("app-{number}.service");
    let fleet = |option: &'static str, value: &str| (option, value.to_owned());
    match number % 12 {
        1 | 8 => (plain(number), vec![fleet("OnPartition", "stop")]),
        2 | 3 => (format!("web@{number}.service"), vec![fleet("Conflicts", "web@*.service")]),
        // Only one of the two says so.
        7 => (format!("jealous-{number}.service"), vec![fleet("Conflicts", &plain(number - 7))]),
        4 => (
            format!("everywhere-{number}.service"),
            vec![fleet("Global", "true"), fleet("MachineMetadata", "region=eu")],
        ),
        5 => {
            // Beside the first of its twelve.
            (format!("beside-{number}.service"), vec![fleet("MachineOf", &plain(number - 5))])
        }
        6 => (plain(number), vec![fleet("MachineMetadata", "region=us")]),
        9 => (format!("log-{number}.service"), vec![fleet("Global", "true")]),
        10 => (format!("better-{number}.service"), vec![fleet("Replaces", &plain(number - 2))]),
        11 => (format!("nowhere-{number}.service"), vec![fleet("MachineMetadata", "region=mars")]),
        _ => (plain(number), Vec::new()),
    }
}

/// The body that makes a unit or gives it another file. Its processes run until they are told to stop, and take their time
/// then: which differs from unit to unit.
fn body(number: u32, file: u32, desired: &str) -> (String, String) {
    let (name, asks) = unit(number);
    // Those that must not run twice take as long as a margin before the end of a lease just has room for.
    let must_not_run_twice = asks.contains(&("OnPartition", "stop".to_owned()));
    let stops = if must_not_run_twice { 500 } else { 20 + 60 * u64::from(number % 5) };
    let mut options = vec![
        option("Unit", "Description", &format!("unit {number}, file {file}")),
        option("Service", "ExecStart", &format!("/bin/app stops={stops}")),
        option("Service", "Restart", "always"),
        option("Service", "RestartSec", "200ms"),
    ];
    options.extend(asks.iter().map(|(key, value)| option("X-Fleet", key, value)));
    let body = json!({ "name": name, "desiredState": desired, "options": options });
    (name, body.to_string())
}

fn option(section: &str, name: &str, value: &str) -> Value {
    json!({ "section": section, "name": name, "value": value })
}

/// What an operator asks for; `turn` counts how often it did.
pub(super) fn ask(act: UnitAct, number: u32, turn: u32, machines: u32) -> FleetAsk {
    let (name, _) = unit(number);
    let path = format!("/fleet/v1/units/{name}");
    let ask = |method, path: String, body: String| FleetAsk { method, path, query: Vec::new(), body };
    let state = |desired: &str| {
        let body = json!({ "name": name, "desiredState": desired }).to_string();
        ask("PUT", path.clone(), body)
    };
    match act {
        UnitAct::Start => ask("PUT", path, body(number, 0, "launched").1),
        UnitAct::Stop => state("loaded"),
        UnitAct::Unload => state("inactive"),
        UnitAct::Destroy => ask("DELETE", path, String::new()),
        UnitAct::Replace => ask("PUT", path, body(number, turn, "launched").1),
        UnitAct::Tag => {
            let machine = machine_id(1 + number % machines);
            let place = format!("/{machine}/metadata/region");
            let change = match turn % 3 {
                1 => json!([{ "op": "replace", "path": place, "value": "us" }]),
                2 => json!([{ "op": "replace", "path": place, "value": "eu" }]),
                _ => json!([{ "op": "remove", "path": place }]),
            };
            ask("PATCH", "/fleet/v1/machines".to_owned(), change.to_string())
        }
        UnitAct::Poison => poison(number),
    }
}

fn poison(number: u32) -> FleetAsk {
    let plain = vec![option("Service", "ExecStart", "/bin/app stops=10")];
    let with = |more: Value| [plain.clone(), vec![more]].concat();
    let usual = format!("{ODD}{number}.service");
    let (name, state, options) = match number {
        0 => ("odd-ä b.service".to_owned(), "launched", plain.clone()),
        1 => (usual, "launched", Vec::new()),
        2 => (usual, "launched", with(option("X-Fleet", "Bogus", "1"))),
        3 => (usual, "inactive", with(option("Unit", "Description", &"x".repeat(60_000)))),
        4 => (usual, "nonsense", plain.clone()),
        5 => (usual, "launched", with(option("Unit", "Description", "a\nb\n[Service]\nUser=x"))),
        6 => (usual, "launched", with(option("X-Fleet", "Global", "maybe"))),
        7 => (usual, "launched", with(option("", "", "x"))),
        8 => (usual, "launched", with(option("Unit", "Description", "nul \0 and \u{7f} and \u{fffd}"))),
        9 => (usual, "launched", with(option("Service", "Type", "no-such-type"))),
        10 => (format!("{ODD}a@b@c.service"), "launched", plain.clone()),
        11 => (format!("{ODD}template@.service"), "launched", plain.clone()),
        12 => (format!("{ODD}{}.service", "y".repeat(250)), "launched", plain.clone()),
        _ => {
            let path = format!("/fleet/v1/units/{usual}");
            return FleetAsk { method: "PUT", path, query: Vec::new(), body: "{\"name\":".to_owned() };
        }
    };
    let body = json!({ "name": name, "desiredState": state, "options": options }).to_string();
    FleetAsk { method: "PUT", path: format!("/fleet/v1/units/{name}"), query: Vec::new(), body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_unit_has_a_name_of_its_own_and_its_files_differ() {
        let names: BTreeSet<String> = (0..100).map(|number| unit(number).0).collect();
        assert_eq!(names.len(), 100);
        assert_ne!(body(3, 0, "launched"), body(3, 1, "launched"));
    }

    #[test]
    fn odd_requests_make_units_that_are_told_apart() {
        for number in 0..POISONS {
            let ask = poison(number);
            let name = ask.path.strip_prefix("/fleet/v1/units/").unwrap();
            assert!(is_odd(name), "{name}");
        }
        assert!((0..100).all(|number| !is_odd(&unit(number).0)));
    }

    #[test]
    fn metadata_are_changed_twice_and_then_as_they_were() {
        let bodies: Vec<String> = (1..=4).map(|turn| ask(UnitAct::Tag, 1, turn, 3).body).collect();
        assert!(bodies[0].contains("us") && bodies[1].contains("eu") && bodies[2].contains("remove"));
        assert_eq!(bodies[0], bodies[3]);
    }
}
