//! What changes the fleet: submit, load, start, stop, unload, restart, destroy.

use super::args::{Named, Submitting};
use super::files;
use super::fleet::{Fleet, MachineView, UnitView};
use seatrial_fleet::unit::{UnitFile, UnitHash, UnitName};
use seatrial_world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// How often it is looked whether an order is carried out.
const PACE: Duration = Duration::from_millis(250);

/// Every so many looks it is asked why units wait.
const LOOKS_UNTIL_WHY: u32 = 8;

const SIGN: &str =
    "Error: --sign: signed units are gone, here and in the original\nhint: say who may reach fleetd instead";

/// What the original says where it is given no name, and ends well.
pub(super) const NO_UNITS: &str = "No units given";

fn missing(name: &UnitName) -> String {
    let why = match name.template() {
        Some(template) => format!(
            "failed getting Unit({name}) from template: unable to find template Unit({template}) in Registry or on \
             filesystem"
        ),
        None => format!("unable to find Unit({name}) in Registry or on filesystem"),
    };
    format!("Error creating units: {why}\nhint: give the path of its file")
}

fn not_found(name: &UnitName) -> String {
    format!("Unit {name} not found.")
}

/// A unit that is to come to a state.
struct Awaited {
    name: UnitName,
    /// What must have become of it: with this file, where it was replaced.
    hash: Option<UnitHash>,
}

/// Makes sure that the fleet knows a unit. Answers whether it is global, and the hash where its file is a new one.
async fn submit_one(
    fleet: &mut Fleet,
    said: &str,
    wanted: &str,
    replace: bool,
) -> Result<(Awaited, bool), String> {
    let name = files::name_of(said)?;
    let local = match files::find(said, &name) {
        Some(path) => {
            let (file, warnings) = files::read(&path, &name)?;
            for warning in warnings {
                eprintln!("WARNING: {}: {warning}", path.display());
            }
            Some((path, file))
        }
        None => None,
    };
    let known = fleet.unit(name.as_str()).await?;
    let Some(known) = known else {
        let file = file_of_new(fleet, said, &name, local).await?;
        // In one go: nobody sees it in between.
        let is_global = seatrial_fleet::unit::Requirements::of(&name, &file).is_ok_and(|asks| asks.is_global);
        fleet.put(name.as_str(), wanted, Some(&file)).await?;
        println!("Unit {name} inactive");
        return Ok((Awaited { name, hash: None }, is_global));
    };
    let mut awaited = Awaited { name, hash: None };
    let name = &awaited.name;
    if replace && local.as_ref().is_some_and(|(_, file)| file.hash() == known.file().hash()) {
        println!("Found same Unit({name}) in Registry, nothing to do");
    }
    if let Some((path, file)) = local
        && file.hash() != known.file().hash()
    {
        let is_beyond = match wanted {
            "inactive" => known.desired_state != "inactive",
            "loaded" => known.desired_state == "launched",
            _ => false,
        };
        if !replace {
            eprintln!(
                "WARNING: Unit {name} in registry differs from local unit file {}. Add --replace to override.",
                path.display()
            );
        } else if is_beyond {
            return Err(format!(
                "Warning: can not replace Unit({name}) in state '{}', use the appropriate command",
                known.desired_state
            ));
        } else {
            fleet.put(name.as_str(), wanted, Some(&file)).await?;
            awaited.hash = Some(file.hash());
            return Ok((awaited, UnitView::is_global(&known)));
        }
    }
    // To submit what is known changes nothing.
    if wanted != "inactive" && known.desired_state != wanted {
        fleet.put(name.as_str(), wanted, None).await?;
    }
    let is_global = known.is_global();
    Ok((awaited, is_global))
}

/// The file of a unit that the fleet does not know: its own, else the template that the fleet knows, else the one beside it.
/// All instances are to be alike, whoever begins them from where.
async fn file_of_new(
    fleet: &mut Fleet,
    said: &str,
    name: &UnitName,
    local: Option<(PathBuf, UnitFile)>,
) -> Result<UnitFile, String> {
    let is_own = local.as_ref().is_some_and(|(path, _)| path.file_name() == Some(OsStr::new(name.as_str())));
    let template = match name.template().filter(|_| !is_own) {
        Some(template) => fleet.unit(template.as_str()).await?.map(|unit| (template, unit.file())),
        None => None,
    };
    match (template, local) {
        (Some((template, known)), Some((_, file))) if known.hash() != file.hash() => {
            eprintln!(
                "WARNING: Unit {template} in registry differs from local template unit file {said}. Add --replace to \
                 override."
            );
            Ok(known)
        }
        (Some((_, known)), _) => Ok(known),
        (None, Some((_, file))) => Ok(file),
        (None, None) => Err(missing(name)),
    }
}

/// The units that the fleet knows. The others are named and passed over, as in the original: scripts take away what may be
/// gone already.
async fn known(fleet: &mut Fleet, args: &Named) -> Result<Vec<(UnitName, UnitView)>, String> {
    if args.units.is_empty() {
        eprintln!("{NO_UNITS}");
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for said in &args.units {
        let name = files::name_of(said)?;
        match fleet.unit(name.as_str()).await? {
            Some(view) => found.push((name, view)),
            None => unknown.push(name),
        }
    }
    match found.is_empty() {
        true => eprintln!("Units not found in registry"),
        false => unknown.iter().for_each(|name| eprintln!("{}", not_found(name))),
    }
    Ok(found)
}

pub(super) async fn submit(fleet: &mut Fleet, args: &Submitting, wanted: &str) -> Result<(), String> {
    if args.sign {
        return Err(SIGN.into());
    }
    if args.units.is_empty() {
        eprintln!("{NO_UNITS}");
        return Ok(());
    }
    let verb = if wanted == "launched" { "start" } else { "load" };
    let mut awaited = Vec::new();
    for said in &args.units {
        let (unit, is_global) = submit_one(fleet, said, wanted, args.replace).await?;
        match (wanted, is_global) {
            ("inactive", _) => {}
            (_, true) => println!("Triggered global unit {} {verb}", unit.name),
            (_, false) if args.waiting.no_block => println!("Triggered unit {} {verb}", unit.name),
            (_, false) => awaited.push(unit),
        }
    }
    wait(fleet, awaited, wanted, args.waiting.block_attempts).await
}

/// Stop (`loaded`) and unload (`inactive`).
pub(super) async fn lower(fleet: &mut Fleet, args: &Named, wanted: &str) -> Result<(), String> {
    let (verb, done) = if wanted == "loaded" { ("stop", "stopped") } else { ("unload", "unloaded") };
    let mut awaited = Vec::new();
    let mut lowered = Vec::new();
    for (name, known) in known(fleet, args).await? {
        if wanted == "loaded" && known.desired_state == "inactive" {
            return Err(format!("Unable to stop unit {name} in state {}", known.desired_state));
        }
        if known.desired_state != wanted {
            fleet.put(name.as_str(), wanted, None).await?;
        }
        if known.is_global() {
            println!("Triggered global unit {name} {verb}");
        } else if args.waiting.no_block {
            println!("Triggered unit {name} {verb}");
        } else {
            lowered.push(name.to_string());
            awaited.push(Awaited { name, hash: None });
        }
    }
    if !awaited.is_empty() {
        wait(fleet, awaited, wanted, args.waiting.block_attempts).await?;
        eprintln!("Successfully {done} units [{}].", lowered.join(" "));
    }
    Ok(())
}

pub(super) async fn restart(fleet: &mut Fleet, args: &Named) -> Result<(), String> {
    if args.units.is_empty() {
        eprintln!("{NO_UNITS}");
    }
    let mut awaited = Vec::new();
    for said in &args.units {
        let name = files::name_of(said)?;
        let known = fleet.unit(name.as_str()).await?.ok_or_else(|| missing(&name))?;
        if known.desired_state == "inactive" {
            return Err(format!("Unable to restart unit {name} in state {}", known.desired_state));
        }
        fleet.put(name.as_str(), "loaded", None).await?;
        if known.is_global() {
            rest(fleet, &name).await?;
            fleet.put(name.as_str(), "launched", None).await?;
            println!("Triggered global unit {name} restart");
        } else {
            awaited.push(Awaited { name, hash: None });
        }
    }
    let names: Vec<UnitName> = awaited.iter().map(|unit| unit.name.clone()).collect();
    wait(fleet, awaited, "loaded", args.waiting.block_attempts).await?;
    let mut awaited = Vec::new();
    for name in names {
        fleet.put(name.as_str(), "launched", None).await?;
        if args.waiting.no_block {
            println!("Triggered unit {name} start");
        } else {
            awaited.push(Awaited { name, hash: None });
        }
    }
    wait(fleet, awaited, "launched", args.waiting.block_attempts).await
}

/// Waits until a global unit stands still everywhere.
async fn rest(fleet: &mut Fleet, name: &UnitName) -> Result<(), String> {
    let stands = |state: &str| ["inactive", "failed"].contains(&state);
    loop {
        let states = fleet.states().await?;
        let mut here = states.iter().filter(|state| state.name == name.as_str());
        if here.all(|state| stands(&state.systemd_active_state)) {
            return Ok(());
        }
        fleet.world.sleep(PACE).await;
    }
}

pub(super) async fn destroy(fleet: &mut Fleet, args: &Named) -> Result<(), String> {
    for (name, _) in known(fleet, args).await? {
        // Another one may have been faster: gone is gone.
        if fleet.delete(name.as_str()).await? {
            println!("Destroyed {name}");
        }
    }
    Ok(())
}

async fn looked_at(
    fleet: &mut Fleet,
    awaited: &BTreeMap<UnitName, Option<UnitHash>>,
) -> Result<BTreeMap<String, UnitView>, String> {
    // A few one by one; many at once.
    if awaited.len() > 4 {
        return Ok(fleet.units().await?.into_iter().map(|unit| (unit.name.clone(), unit)).collect());
    }
    let mut found = BTreeMap::new();
    for name in awaited.keys() {
        if let Some(unit) = fleet.unit(name.as_str()).await? {
            found.insert(name.to_string(), unit);
        }
    }
    Ok(found)
}

/// Waits until units are what they are to be, and says where. Meanwhile says why they are not.
async fn wait(fleet: &mut Fleet, awaited: Vec<Awaited>, wanted: &str, attempts: u32) -> Result<(), String> {
    let mut waiting: BTreeMap<UnitName, Option<UnitHash>> =
        awaited.into_iter().map(|unit| (unit.name, unit.hash)).collect();
    let mut said = BTreeSet::new();
    let mut look = 0_u32;
    while !waiting.is_empty() {
        let found = looked_at(fleet, &waiting).await?;
        let states = if waiting.values().any(Option::is_some) { fleet.states().await? } else { Vec::new() };
        let is_done = |name: &UnitName, hash: &Option<UnitHash>| {
            // Somebody has taken it away: that is not ours to wait for.
            let Some(unit) = found.get(name.as_str()) else { return Some(None) };
            let has_file = hash.is_none_or(|hash| {
                let mut of_unit = states.iter().filter(|state| state.name == name.as_str());
                of_unit.any(|state| state.machine_id == unit.machine_id && state.hash == hash.to_string())
            });
            // What is on no machine need not be stopped there.
            let stands = wanted == "loaded" && unit.machine_id.is_empty() && unit.desired_state == "loaded";
            ((unit.current_state == wanted && has_file) || (stands && said.contains(name.as_str())))
                .then(|| Some(unit.clone()))
        };
        let done: Vec<_> =
            waiting.iter().filter_map(|(name, hash)| Some((name.clone(), is_done(name, hash)?))).collect();
        if !done.is_empty() {
            let machines = fleet.machines().await?;
            for (name, unit) in done {
                waiting.remove(&name);
                match unit {
                    None => return Err(not_found(&name)),
                    Some(unit) if unit.machine_id.is_empty() => println!("Unit {name} inactive"),
                    Some(unit) => {
                        let legend = MachineView::legend(&unit.machine_id, &machines, false);
                        match wanted {
                            "inactive" => println!("Unit {name} inactive"),
                            _ => println!("Unit {name} {wanted} on {legend}"),
                        }
                    }
                }
            }
            continue;
        }
        look += 1;
        let is_last = attempts != 0 && look >= attempts;
        if look.is_multiple_of(LOOKS_UNTIL_WHY) || is_last {
            let plan = fleet.plan().await?;
            for view in plan.waiting.iter().filter(|view| waiting.contains_key(view.unit.as_str())) {
                said.insert(view.unit.clone());
                if said.insert(format!("{}: {}", view.unit, view.reason)) {
                    eprintln!("Unit {} waits: {}", view.unit, view.reason);
                }
            }
        }
        if is_last {
            let name = waiting.keys().next().map(ToString::to_string).unwrap_or_default();
            return Err(format!(
                "Error waiting for units: timed out waiting for unit {name} to report state {wanted}"
            ));
        }
        fleet.world.sleep(PACE).await;
    }
    Ok(())
}
