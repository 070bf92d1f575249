//! What systemd says of one unit, for a person who asks.

use crate::SystemdError;
use std::collections::BTreeMap;
use zbus::OwnedVariant;

/// How a unit does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitDetails {
    /// `[Unit] Description=`.
    pub description: String,
    /// `loaded`, `not-found`, `bad-setting`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `running`, `exited`, `dead`, …
    pub sub: String,
    /// Why it is not as it should be, in systemd's words.
    pub problem: Option<String>,
    /// The service's main process.
    pub main_pid: Option<u32>,
    /// How that process ended: `code=exited, status=3`.
    pub main_exit: Option<String>,
    /// How often systemd has started it anew by itself.
    pub restarts: u32,
    /// What the service says of itself.
    pub status_text: Option<String>,
    /// All of its processes.
    pub processes: Vec<u32>,
}

/// What the kernel calls the ways in which a child ends (`CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED`).
const ENDS: [(i32, &str, &str); 3] =
    [(1, "exited", "status"), (2, "killed", "signal"), (3, "dumped", "signal")];

/// The properties of one object, by name. What is missing or of another type is as good as not there: which properties there
/// are depends on the unit's type and on systemd's version.
#[derive(Debug, Default)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, OwnedVariant>);

impl Properties {
    pub(crate) fn text(&self, name: &str) -> String {
        let value = self.0.get(name).and_then(|value| <&str>::try_from(&**value).ok());
        value.unwrap_or_default().to_owned()
    }

    fn number<T>(&self, name: &str) -> Option<T>
    where
        T: for<'a> TryFrom<&'a zbus::Variant<'static>>,
    {
        self.0.get(name).and_then(|value| T::try_from(&**value).ok())
    }

    /// systemd's pair of an error's name and its words.
    fn error(&self, name: &str) -> Option<String> {
        let pair = self.0.get(name)?.try_clone().ok()?;
        let (_, message) = <(String, String)>::try_from(pair).ok()?;
        Some(message).filter(|message| !message.is_empty())
    }
}

fn ended(code: Option<i32>, status: Option<i32>) -> Option<String> {
    let (_, way, what) = ENDS.iter().find(|(known, ..)| Some(*known) == code)?;
    Some(format!("code={way}, {what}={}", status?))
}

impl UnitDetails {
    pub(crate) fn of(
        unit: &Properties,
        service: &Properties,
        job: Option<String>,
        processes: Vec<u32>,
    ) -> Self {
        let result = service.text("Result");
        let result = match result.as_str() {
            "" | "success" => None,
            other => Some(format!("the service ended with the result {other}")),
        };
        let text = |name: &str| Some(service.text(name)).filter(|text| !text.is_empty());
        Self {
            description: unit.text("Description"),
            load: unit.text("LoadState"),
            active: unit.text("ActiveState"),
            sub: unit.text("SubState"),
            problem: unit.error("LoadError").or(result).or(job),
            main_pid: service.number::<u32>("MainPID").filter(|pid| *pid != 0),
            main_exit: ended(service.number("ExecMainCode"), service.number("ExecMainStatus")),
            restarts: service.number("NRestarts").unwrap_or(0),
            status_text: text("StatusText"),
            processes,
        }
    }
}

pub(crate) fn unreadable(call: &str, error: &zbus::Error) -> SystemdError {
    SystemdError::Unreadable { call: call.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::Variant;

    fn properties<const N: usize>(rows: [(&str, Variant<'static>); N]) -> Properties {
        let rows = rows.map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()));
        Properties(rows.into())
    }

    #[test]
    fn a_service_that_runs_is_told_with_its_process() {
        let unit = properties([
            ("Description", Variant::from("A")),
            ("LoadState", Variant::from("loaded")),
            ("ActiveState", Variant::from("active")),
            ("SubState", Variant::from("running")),
            ("LoadError", Variant::from((String::new(), String::new()))),
        ]);
        let service = properties([
            ("MainPID", Variant::from(7_u32)),
            ("ExecMainCode", Variant::from(0_i32)),
            ("ExecMainStatus", Variant::from(0_i32)),
            ("NRestarts", Variant::from(2_u32)),
            ("StatusText", Variant::from("well")),
            ("Result", Variant::from("success")),
        ]);
        let details = UnitDetails::of(&unit, &service, None, vec![7, 8]);
        let expected = UnitDetails {
            description: "A".into(),
            load: "loaded".into(),
            active: "active".into(),
            sub: "running".into(),
            main_pid: Some(7),
            restarts: 2,
            status_text: Some("well".into()),
            processes: vec![7, 8],
            ..UnitDetails::default()
        };
        assert_eq!(details, expected);
    }

    #[test]
    fn what_went_wrong_is_told_the_files_own_fault_first() {
        let wrong = properties([(
            "LoadError",
            Variant::from(("org.x".to_owned(), "Unit a.service has a bad unit file setting.".to_owned())),
        )]);
        let failed = properties([
            ("Result", Variant::from("exit-code")),
            ("ExecMainCode", Variant::from(1_i32)),
            ("ExecMainStatus", Variant::from(3_i32)),
        ]);
        let job = || Some("its start ended with dependency".to_owned());
        let details = UnitDetails::of(&wrong, &failed, job(), vec![]);
        assert_eq!(details.problem.as_deref(), Some("Unit a.service has a bad unit file setting."));
        assert_eq!(details.main_exit.as_deref(), Some("code=exited, status=3"));
        let none = Properties::default();
        let details = UnitDetails::of(&none, &failed, job(), vec![]);
        assert_eq!(details.problem.as_deref(), Some("the service ended with the result exit-code"));
        assert_eq!(UnitDetails::of(&none, &none, job(), vec![]).problem, job());
        // Properties of another type than we know are as good as none.
        let odd = properties([("MainPID", Variant::from("7")), ("LoadError", Variant::from(1_u32))]);
        assert_eq!(UnitDetails::of(&odd, &odd, None, vec![]), UnitDetails::default());
    }

    #[test]
    fn the_end_of_a_process_is_told_in_the_words_of_status() {
        assert_eq!(ended(Some(2), Some(9)).as_deref(), Some("code=killed, signal=9"));
        assert_eq!(ended(Some(3), Some(11)).as_deref(), Some("code=dumped, signal=11"));
        assert_eq!(ended(Some(0), Some(0)), None);
        assert_eq!(ended(None, Some(1)), None);
    }
}
