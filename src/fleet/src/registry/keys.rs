//! The keys. Below `spec/` lies what decisions are made of, below `state/` what machines say: an engine or an agent
//! that watches the one is not woken by the other.

use crate::unit::{MachineId, UnitName};
use bytes::Bytes;

/// Everything of ours.
pub const PREFIX: &str = "/_seatrial/fleet/";

/// What decisions are made of.
pub const SPEC: &str = "/_seatrial/fleet/spec/";

/// What machines say of their units.
pub const STATE: &str = "/_seatrial/fleet/state/";

/// The election of the engine that leads (`seatrial_client::Election`).
pub const ENGINE: &str = "/_seatrial/fleet/engine";

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `spec/unit/<name>`: a unit's file.
    Unit(UnitName),
    /// `spec/desired/<name>`: what it is meant to be.
    Desired(UnitName),
    /// `spec/target/<name>`: its machine. One key for each unit, so that it never has two.
    Target(UnitName),
    /// `spec/machine/<id>`: a machine, with its lease.
    Machine(MachineId),
    /// `spec/metadata/<id>/<key>`: metadata that was set from outside.
    Metadata(MachineId, String),
    /// `spec/lost/<id>`: an operator has given the machine up.
    Lost(MachineId),
    /// `state/<id>/<name>`: how a unit does on a machine, with the machine's lease.
    State(MachineId, UnitName),
}

impl Key {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Unit(name) => format!("{SPEC}unit/{name}"),
            Self::Desired(name) => format!("{SPEC}desired/{name}"),
            Self::Target(name) => format!("{SPEC}target/{name}"),
            Self::Machine(id) => format!("{SPEC}machine/{id}"),
            Self::Metadata(id, key) => format!("{SPEC}metadata/{id}/{key}"),
            Self::Lost(id) => format!("{SPEC}lost/{id}"),
            Self::State(id, name) => format!("{STATE}{id}/{name}"),
        }
        .into()
    }

    /// Reads a key; `None` for one that is none of ours.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if let Some(rest) = text.strip_prefix(STATE) {
            let (id, name) = rest.split_once('/')?;
            return Some(Self::State(MachineId::parse(id).ok()?, UnitName::parse(name).ok()?));
        }
        let (kind, rest) = text.strip_prefix(SPEC)?.split_once('/')?;
        let name = || UnitName::parse(rest).ok();
        let id = || MachineId::parse(rest).ok();
        match kind {
            "unit" => name().map(Self::Unit),
            "desired" => name().map(Self::Desired),
            "target" => name().map(Self::Target),
            "machine" => id().map(Self::Machine),
            "lost" => id().map(Self::Lost),
            "metadata" => {
                let (id, key) = rest.split_once('/')?;
                Some(Self::Metadata(MachineId::parse(id).ok()?, key.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::*;

    #[test]
    fn a_key_is_read_back() {
        let (unit, machine) = (name("web@1.service"), id("113f16a7"));
        for key in [
            Key::Unit(unit.clone()),
            Key::Desired(unit.clone()),
            Key::Target(unit.clone()),
            Key::Machine(machine.clone()),
            Key::Metadata(machine.clone(), "region".into()),
            Key::Lost(machine.clone()),
            Key::State(machine, unit),
        ] {
            assert_eq!(Key::parse(&key.bytes()), Some(key.clone()), "{key:?}");
        }
    }

    #[test]
    fn a_foreign_key_is_none() {
        for key in [
            "",
            "/_seatrial/fleet/spec/unit/web",
            "/_seatrial/fleet/spec/other/a.service",
            "/a",
            "/_seatrial/fleet/engine/7",
        ] {
            assert_eq!(Key::parse(key.as_bytes()), None, "{key}");
        }
        assert_eq!(Key::parse(&[0xff]), None);
    }
}
