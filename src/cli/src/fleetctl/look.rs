//! What only looks: lists, files, status, logs, the plan.

use super::args::{Listing, Looking};
use super::files;
use super::fleet::{Fleet, MachineView, StateView, UnitView, shown};
use super::table::{Column, lay_out, select};
use crate::fleetd::here::StatusView;
use seatrial_fleet::unit::UnitName;
use seatrial_world::World;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Writes to our output; a reader that went away ends us quietly.
pub(super) fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| String::new())
}

fn fields<'a>(args: &'a Listing, default: &'a str) -> &'a str {
    args.fields.as_deref().unwrap_or(default)
}

struct UnitRow {
    state: StateView,
    machine: String,
    is_full: bool,
}

pub(super) async fn list_units(fleet: &mut Fleet, args: &Listing) -> Result<(), String> {
    let (states, machines) = (fleet.states().await?, fleet.machines().await?);
    let mut rows: Vec<UnitRow> = states
        .into_iter()
        .map(|state| UnitRow {
            machine: MachineView::legend(&state.machine_id, &machines, args.full),
            is_full: args.full,
            state,
        })
        .collect();
    rows.sort_by(|a, b| (&a.state.name, &a.machine).cmp(&(&b.state.name, &b.machine)));
    let known: &[Column<UnitRow>] = &[
        ("unit", |row| row.state.name.clone()),
        ("machine", |row| row.machine.clone()),
        ("load", |row| dash(&row.state.systemd_load_state)),
        ("active", |row| dash(&row.state.systemd_active_state)),
        ("sub", |row| dash(&row.state.systemd_sub_state)),
        ("hash", |row| hash(&row.state.hash, row.is_full)),
    ];
    print(&select(&rows, fields(args, "unit,machine,active,sub"), known, !args.no_legend)?)
}

fn hash(hash: &str, is_full: bool) -> String {
    match hash.get(..7) {
        Some(short) if !is_full => short.to_owned(),
        _ => dash(hash),
    }
}

struct FileRow {
    unit: UnitView,
    target: String,
    is_global: bool,
    is_full: bool,
}

pub(super) async fn list_unit_files(fleet: &mut Fleet, args: &Listing) -> Result<(), String> {
    if fields(args, "").split(',').any(|field| field == "tmachine") {
        eprintln!("WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead");
    }
    let (units, machines) = (fleet.units().await?, fleet.machines().await?);
    let rows: Vec<FileRow> = units
        .into_iter()
        .map(|unit| FileRow {
            target: MachineView::legend(&unit.machine_id, &machines, args.full),
            is_global: unit.is_global(),
            is_full: args.full,
            unit,
        })
        .collect();
    let known: &[Column<FileRow>] = &[
        ("unit", |row| row.unit.name.clone()),
        ("hash", |row| hash(&row.unit.file().hash().to_string(), row.is_full)),
        ("dstate", |row| dash(&row.unit.desired_state)),
        ("state", |row| dash(&row.unit.current_state)),
        ("target", |row| if row.is_global { "global".to_owned() } else { row.target.clone() }),
        ("tmachine", |row| if row.is_global { "global".to_owned() } else { row.target.clone() }),
        ("global", |row| row.is_global.to_string()),
        ("desc", |row| dash(row.unit.file().description())),
    ];
    print(&select(&rows, fields(args, "unit,hash,dstate,state,target"), known, !args.no_legend)?)
}

pub(super) async fn list_machines(fleet: &mut Fleet, args: &Listing) -> Result<(), String> {
    struct Row {
        machine: MachineView,
        is_full: bool,
    }
    let machines = fleet.machines().await?.into_iter();
    let rows: Vec<Row> = machines.map(|machine| Row { machine, is_full: args.full }).collect();
    let known: &[Column<Row>] = &[
        ("machine", |row| shown(&row.machine.id, row.is_full)),
        ("ip", |row| dash(&row.machine.primary_ip)),
        ("metadata", |row| {
            let pairs = row.machine.metadata.iter().map(|(key, value)| format!("{key}={value}"));
            dash(&pairs.collect::<Vec<_>>().join(","))
        }),
    ];
    print(&select(&rows, fields(args, "machine,ip,metadata"), known, !args.no_legend)?)
}

pub(super) async fn cat(fleet: &mut Fleet, units: &[String]) -> Result<(), String> {
    if units.is_empty() {
        return Err("One unit file must be provided".to_owned());
    }
    for said in units {
        let name = files::name_of(said)?;
        let known = fleet.unit(name.as_str()).await?.ok_or_else(|| format!("Unit {name} not found"))?;
        print(&known.file().render())?;
    }
    Ok(())
}

/// The original's `verify` asked for signatures, which are gone.
pub(super) async fn verify(fleet: &mut Fleet, path: &Path) -> Result<(), String> {
    let said = path.to_string_lossy();
    let name = files::name_of(&said)?;
    // An instance is what the template beside it says.
    let path = &files::find(&said, &name).unwrap_or_else(|| path.to_owned());
    let (file, warnings) = files::read(path, &name)?;
    for warning in warnings {
        eprintln!("WARNING: {}: {warning}", path.display());
    }
    match fleet.unit(name.as_str()).await? {
        None => print(&format!("Unit {name} is fine; the fleet does not know it\n")),
        Some(known) if known.file().hash() == file.hash() => {
            print(&format!("Unit {name} is fine, and what the fleet knows\n"))
        }
        Some(_) => Err(format!(
            "Unit {name} in registry differs from local unit file {}\nhint: `fleetctl start --replace` puts it there",
            path.display()
        )),
    }
}

fn status_text(view: &StatusView, machine: &str) -> String {
    let mut text = format!("● {}", view.name);
    if !view.description.is_empty() {
        let _ = write!(text, " - {}", view.description);
    }
    let _ = write!(text, "\n   Loaded: {}\n   Active: {} ({})\n", view.load, view.active, view.sub);
    let _ = writeln!(text, "  Machine: {machine}");
    if let Some(problem) = &view.problem {
        let _ = writeln!(text, "  Problem: {}", problem.replace('\n', "\n           "));
    }
    if let Some(pid) = view.main_pid {
        let _ = writeln!(text, " Main PID: {pid}");
    }
    if let Some(exit) = view.main_exit.as_ref().filter(|_| view.main_pid.is_none()) {
        let _ = writeln!(text, "   Ended: {exit}");
    }
    if view.processes.len() > 1 {
        let pids: Vec<String> = view.processes.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "     PIDs: {}", pids.join(" "));
    }
    if view.restarts > 0 {
        let _ = writeln!(text, " Restarts: {}", view.restarts);
    }
    if let Some(said) = &view.status_text {
        let _ = writeln!(text, "   Status: {said:?}");
    }
    for warning in &view.warnings {
        let _ = writeln!(text, "  Warning: {warning}");
    }
    if !view.log.is_empty() {
        let _ = writeln!(text, "\n{}", view.log.join("\n"));
    }
    text
}

/// Refuses, in the original's words, a unit that is on no machine.
async fn on_a_machine(fleet: &mut Fleet, name: &UnitName, what: &str) -> Result<(), String> {
    let known = fleet.unit(name.as_str()).await?.ok_or_else(|| format!("Unit {name} does not exist."))?;
    if known.current_state == "inactive" && known.machine_id.is_empty() {
        return Err(format!("Unit {name} does not appear to be {what}.\nhint: `fleetctl plan` says why"));
    }
    Ok(())
}

/// As systemctl: 3 where a unit is not active.
pub(super) async fn status(fleet: &mut Fleet, units: &[String], machine: &str) -> Result<u8, String> {
    let machines = fleet.machines().await?;
    let mut code = 0;
    for (at, said) in units.iter().enumerate() {
        let name = files::name_of(said)?;
        on_a_machine(fleet, &name, "loaded").await?;
        let view: StatusView = fleet.status(name.as_str(), machine, 10).await?;
        if !["active", "reloading", "activating"].contains(&view.active.as_str()) {
            code = 3;
        }
        let legend = MachineView::legend(&view.machine_id, &machines, false);
        print(&format!("{}{}", if at > 0 { "\n" } else { "" }, status_text(&view, &legend)))?;
    }
    Ok(code)
}

pub(super) async fn journal(fleet: &mut Fleet, args: &Looking) -> Result<(), String> {
    let [unit] = args.units.as_slice() else { return Err("One unit file must be provided.".to_owned()) };
    let name = files::name_of(unit)?;
    on_a_machine(fleet, &name, "running").await?;
    let take = |data: &[u8]| print(&String::from_utf8_lossy(data));
    fleet.logs(name.as_str(), &args.machine, args.lines, args.follow, take).await
}

pub(super) async fn plan(fleet: &mut Fleet) -> Result<(), String> {
    let (plan, machines) = (fleet.plan().await?, fleet.machines().await?);
    let legend = |id: &str| MachineView::legend(id, &machines, false);
    for view in &plan.decisions {
        let way = match (&view.from, &view.to) {
            (None, Some(to)) => format!("to {}", legend(to)),
            (Some(from), Some(to)) => format!("from {} to {}", legend(from), legend(to)),
            (Some(from), None) => format!("away from {}", legend(from)),
            (None, None) => "nowhere".to_owned(),
        };
        print(&format!("Unit {} goes {way}: {}\n", view.unit, view.why))?;
    }
    for view in &plan.waiting {
        print(&format!("Unit {} waits: {}\n", view.unit, view.reason))?;
    }
    if plan.decisions.is_empty() && plan.waiting.is_empty() {
        print("Nothing is to be done, and nothing waits.\n")?;
    }
    Ok(())
}

async fn top_text(fleet: &mut Fleet) -> Result<String, String> {
    let (machines, states) = (fleet.machines().await?, fleet.states().await?);
    let mut rows = vec![["MACHINE", "UNITS", "ACTIVE", "FAILED", "METADATA"].map(str::to_owned).to_vec()];
    for machine in &machines {
        let here = || states.iter().filter(|state| state.machine_id == machine.id);
        let count =
            |word: &str| here().filter(|state| state.systemd_active_state == word).count().to_string();
        let metadata: Vec<String> =
            machine.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        rows.push(vec![
            MachineView::legend(&machine.id, &machines, false),
            here().count().to_string(),
            count("active"),
            count("failed"),
            dash(&metadata.join(",")),
        ]);
    }
    Ok(lay_out(&rows))
}

/// To a terminal again and again, to anything else once.
pub(super) async fn top(fleet: &mut Fleet, is_once: bool) -> Result<(), String> {
    if is_once || !std::io::stdout().is_terminal() {
        return print(&top_text(fleet).await?);
    }
    loop {
        let text = top_text(fleet).await?;
        print(&format!("\x1b[H\x1b[2J{text}"))?;
        fleet.world.sleep(Duration::from_secs(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_systemctls() {
        let view = StatusView {
            name: "web.service".into(),
            description: "Web".into(),
            load: "loaded".into(),
            active: "active".into(),
            sub: "running".into(),
            main_pid: Some(7),
            processes: vec![7],
            log: vec!["hello".into()],
            ..StatusView::default()
        };
        assert_eq!(
            status_text(&view, "113f16a7.../10.0.0.1"),
            "● web.service - Web\n   Loaded: loaded\n   Active: active (running)\n  Machine: 113f16a7.../10.0.0.1\n \
             Main PID: 7\n\nhello\n"
        );
    }
}
