//! Which calls and which changes of files follow from what an agent wishes, and what systemd's rows mean: functions over
//! values.

use crate::SystemdError;
use seatrial_fleet::run::SystemdState;
use seatrial_fleet::unit::{UnitFile, UnitName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The longest name that systemd takes, in bytes; the fleet takes one more.
const NAME_BYTES_MAX: usize = 255;

/// Types that the fleet still takes and systemd does not any more.
const GONE_TYPES: [&str; 2] = ["busname", "snapshot"];

/// Types of which no file can be written: the kernel's, and programs', own.
const TYPES_WITHOUT_FILE: [&str; 2] = ["device", "scope"];

/// Options of `[Install]` that ask for more links than the one that every unit gets.
const INSTALL_OPTIONS: [&str; 5] = ["Alias", "Also", "RequiredBy", "UpheldBy", "WantedBy"];

/// One thing to ask of systemd's manager.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Makes systemd see these files, by links that a boot takes away.
    LinkUnitFiles(Vec<String>),
    /// As that, and makes the links that `[Install]` asks for.
    EnableUnitFiles(Vec<String>),
    /// Takes all links of these units away.
    DisableUnitFiles(Vec<String>),
    /// Reads all files anew.
    Reload,
    /// Puts a job to start a unit into the queue, in place of another one.
    StartUnit(String),
    /// Likewise, to stop it.
    StopUnit(String),
    /// Forgets that a unit has failed, and how often it was started.
    ResetFailedUnit(String),
}

impl Call {
    /// The method's name.
    #[must_use]
    pub fn member(&self) -> &'static str {
        match self {
            Self::LinkUnitFiles(_) => "LinkUnitFiles",
            Self::EnableUnitFiles(_) => "EnableUnitFiles",
            Self::DisableUnitFiles(_) => "DisableUnitFiles",
            Self::Reload => "Reload",
            Self::StartUnit(_) => "StartUnit",
            Self::StopUnit(_) => "StopUnit",
            Self::ResetFailedUnit(_) => "ResetFailedUnit",
        }
    }

    /// How long it is waited for the answer. None waits for a unit; but systemd reads every file of the machine in a reload,
    /// and answers nobody meanwhile.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::Reload => Duration::from_secs(25),
            _ => Duration::from_secs(10),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.member())?;
        match self {
            Self::LinkUnitFiles(names) | Self::EnableUnitFiles(names) | Self::DisableUnitFiles(names) => {
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::StartUnit(name) | Self::StopUnit(name) | Self::ResetFailedUnit(name) => {
                write!(f, " {name}")
            }
            Self::Reload => Ok(()),
        }
    }
}

/// One step towards what is wished. Steps are carried out in order, and the first that fails ends them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Writes the unit's file, as a whole or not at all.
    Write(UnitName, String),
    /// Takes its file away.
    Remove(UnitName),
    /// Notes that it was started.
    NoteStarted(UnitName),
    /// Notes that it was not, or that it was stopped.
    NoteStopped(UnitName),
    /// Asks systemd.
    Ask(Call),
    /// Asks systemd; that it does not know the unit is as good as done.
    AskIfKnown(Call),
}

/// Whether systemd can have a unit of this name. A template is no unit to it, but a file that can be linked.
///
/// # Errors
/// What is wrong with the name.
pub fn check_name(name: &UnitName) -> Result<(), SystemdError> {
    let why = if name.as_str().len() > NAME_BYTES_MAX {
        "its name has more than 255 bytes"
    } else if GONE_TYPES.contains(&name.kind()) {
        "there are no units of this type any more"
    } else if TYPES_WITHOUT_FILE.contains(&name.kind()) {
        "units of this type have no file"
    } else {
        return Ok(());
    };
    Err(SystemdError::Name { unit: name.to_string(), why })
}

fn asks_for_links(file: &UnitFile) -> bool {
    let mut options = file.options().iter();
    options.any(|option| option.section == "Install" && INSTALL_OPTIONS.contains(&option.name.as_str()))
}

/// The other names that a file asks for: they go before those of the machine's own units, as the unit's own does.
pub fn aliases(file: &UnitFile) -> impl Iterator<Item = &str> {
    let names = file.values("Install", "Alias").flat_map(str::split_ascii_whitespace);
    // What systemd is to fill in is no name yet.
    names.filter(|name| UnitName::parse(name).is_ok())
}

/// How systemd is made to see a file that lies there.
fn link(file: &UnitFile, path: String) -> Vec<Step> {
    let mut steps = vec![Step::Ask(Call::LinkUnitFiles(vec![path.clone()]))];
    if asks_for_links(file) {
        steps.push(Step::Ask(Call::EnableUnitFiles(vec![path])));
    }
    steps
}

/// To load a unit from a file; `path` is where it is to lie. systemd reads it with the next [`Call::Reload`].
#[must_use]
pub fn load(name: &UnitName, file: &UnitFile, path: String) -> Vec<Step> {
    let mut steps = vec![Step::Write(name.clone(), file.render())];
    steps.extend(link(file, path));
    steps
}

/// To start a unit.
///
/// An order is no crash: a unit that was stopped and started often, for its machine was cut off again and again, would meet its
/// limit of starts, and nobody would start it any more. So that count begins anew. The note comes last: what was noted and never
/// started would stay down, while what is started twice over does nothing.
#[must_use]
pub fn start(name: &UnitName) -> Vec<Step> {
    vec![
        Step::AskIfKnown(Call::ResetFailedUnit(name.to_string())),
        Step::Ask(Call::StartUnit(name.to_string())),
        Step::NoteStarted(name.clone()),
    ]
}

/// To stop a unit. The note comes first, for a unit that is up counts as started in any case. A template never runs, and systemd
/// does not take its name.
#[must_use]
pub fn stop(name: &UnitName) -> Vec<Step> {
    let mut steps = vec![Step::NoteStopped(name.clone())];
    if !name.is_template() {
        steps.push(Step::AskIfKnown(Call::StopUnit(name.to_string())));
    }
    steps
}

/// To take a unit's file away, once it is down: a unit whose file is gone has lost the commands by which it is stopped.
#[must_use]
pub fn forget(name: &UnitName) -> Vec<Step> {
    let mut steps = vec![Step::AskIfKnown(Call::DisableUnitFiles(vec![name.to_string()]))];
    if !name.is_template() {
        steps.push(Step::AskIfKnown(Call::ResetFailedUnit(name.to_string())));
    }
    steps.extend([Step::NoteStopped(name.clone()), Step::Remove(name.clone())]);
    steps
}

/// What becomes of files that lie there when we first speak to a systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The systemd of which they were linked: a fleetd ended in between, at whatever moment.
    Same,
    /// Another one, and we have just begun: the machine has booted. What was there is of yesterday, and the cluster decides
    /// anew.
    Yesterday,
    /// Another one, while we were there: a user's systemd was started anew and took the units with it.
    Replaced,
}

/// What to do with the files that are there: `(name, file, path, was started)`.
#[must_use]
pub fn settle(finding: Finding, there: &[(UnitName, UnitFile, String, bool)]) -> Vec<Step> {
    if there.is_empty() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if finding == Finding::Yesterday {
        steps.extend(there.iter().flat_map(|(name, ..)| forget(name)));
    } else {
        steps.extend(there.iter().flat_map(|(_, file, path, _)| link(file, path.clone())));
    }
    // Whoever was before us may have ended just before this.
    steps.push(Step::Ask(Call::Reload));
    if finding == Finding::Replaced {
        let started = there.iter().filter(|(.., is_started)| *is_started);
        steps.extend(started.flat_map(|(name, ..)| start(name)));
    }
    steps
}

/// Rows of systemd's list, by name.
pub type Rows = BTreeMap<String, SystemdState>;

/// A unit that has nothing to stop any more. One that is not in the list is not in memory.
#[must_use]
pub fn is_down(state: Option<&SystemdState>) -> bool {
    state.is_none_or(|state| matches!(state.active.as_str(), "inactive" | "failed"))
}

/// Whether a unit counts as started: it was ordered, or it is up all the same, for whoever gave the order had no time to note
/// it. One that goes down without a note was stopped.
#[must_use]
pub fn is_started(is_noted: bool, state: Option<&SystemdState>) -> bool {
    is_noted || !is_down(state) && state.is_some_and(|state| state.active != "deactivating")
}

/// Those of the units on their way out whose file may go now.
#[must_use]
pub fn gone<'a>(leaving: &'a BTreeSet<UnitName>, rows: &Rows) -> Vec<&'a UnitName> {
    leaving.iter().filter(|name| is_down(rows.get(name.as_str()))).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
