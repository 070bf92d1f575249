//! What the engine decides, and why; and why it could not.

use crate::model::JobState;
use crate::unit::{MachineId, UnitName};
use std::collections::BTreeMap;
use std::fmt;

/// Another target for one unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    /// Which unit.
    pub unit: UnitName,
    /// The machine it is scheduled to now.
    pub from: Option<MachineId>,
    /// The machine it is to go to; none: it is to be on no machine.
    pub to: Option<MachineId>,
    /// Why.
    pub why: Why,
}

impl Decision {
    /// Whether it takes a unit off a machine that is gone.
    #[must_use]
    pub fn is_eviction(&self) -> bool {
        matches!(self.why, Why::MachineGone(_))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, from, to, why } = self;
        match (from, to) {
            (None, Some(to)) => write!(f, "{unit}: schedule to {}", to.short())?,
            (Some(from), Some(to)) => write!(f, "{unit}: move from {} to {}", from.short(), to.short())?,
            (Some(from), None) => write!(f, "{unit}: unschedule from {}", from.short())?,
            (None, None) => write!(f, "{unit}: stays off")?,
        }
        write!(f, " ({why})")
    }
}

/// Why a unit gets another target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It is meant to be so and is on no machine.
    NotScheduled(JobState),
    /// It is meant to be inactive.
    DesiredInactive,
    /// Every fitting machine runs it, so none is its target.
    IsGlobal,
    /// Its machine is not there any more.
    MachineGone(MachineId),
    /// Its machine may not run it any more.
    NotAble(Obstacle),
    /// Another unit that came to its machine replaces it.
    Replaced(UnitName),
}

impl Why {
    /// One word for what is counted together.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotScheduled(_) => "not_scheduled",
            Self::DesiredInactive => "desired_inactive",
            Self::IsGlobal => "global",
            Self::MachineGone(_) => "machine_gone",
            Self::NotAble(_) => "not_able",
            Self::Replaced(_) => "replaced",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotScheduled(desired) => write!(f, "desired state {desired} and not scheduled"),
            Self::DesiredInactive => f.write_str("desired state inactive"),
            Self::IsGlobal => f.write_str("global units have no target"),
            Self::MachineGone(id) => write!(f, "machine {} went away", id.short()),
            Self::NotAble(obstacle) => write!(f, "its machine cannot run it any more: {obstacle}"),
            Self::Replaced(by) => write!(f, "replaced by {by}"),
        }
    }
}

/// What keeps one unit off one machine, or off all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obstacle {
    /// There are no machines.
    NoMachines,
    /// `MachineID` names a machine that is not there.
    NoSuchMachine(String),
    /// Not the machine that `MachineID` names.
    OtherMachine(String),
    /// The machine's metadata is not such.
    Metadata(String),
    /// There is no unit of the name in `MachineOf`.
    NoSuchPeer(UnitName),
    /// The unit in `MachineOf` is on no machine.
    PeerNotScheduled(UnitName),
    /// The unit in `MachineOf` is on another machine.
    PeerElsewhere(UnitName),
    /// The units in `MachineOf` are on different machines.
    PeersApart(UnitName, UnitName),
    /// A unit there and this one do not want each other.
    Conflict {
        /// The other one.
        with: UnitName,
        /// Where.
        on: MachineId,
    },
    /// A unit there replaces this one.
    Replacer {
        /// The other one.
        by: UnitName,
        /// Where.
        on: MachineId,
    },
    /// Less memory is left than is set aside for the unit, in megabytes.
    Memory {
        /// What it wants.
        wants: u64,
        /// The most that one of the machines has left.
        left: u64,
    },
    /// Fewer processor shares are left.
    Cpu {
        /// What it wants.
        wants: u64,
        /// The most that one of the machines has left.
        left: u64,
    },
    /// The file was not taken.
    Refused(String),
    /// A template never runs itself.
    Template,
    /// It would be moved away, and no other machine can take it.
    NowhereElse(UnitName),
    /// Too many machines went away at once.
    MassLoss {
        /// So many are gone.
        gone: usize,
        /// Of so many.
        of: usize,
        /// More than so many of a hundred are too many.
        percent: u8,
    },
    /// Units of lost machines are moved a few at a time.
    InTurn,
    /// The machine has only just gone: whether others went with it is not known yet.
    JustGone,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMachines => f.write_str("there are no machines"),
            Self::NoSuchMachine(id) => write!(f, "there is no machine {id}"),
            Self::OtherMachine(id) => write!(f, "not machine {id}"),
            Self::Metadata(text) => write!(f, "no {text}"),
            Self::NoSuchPeer(peer) => write!(f, "there is no unit {peer}"),
            Self::PeerNotScheduled(peer) => write!(f, "{peer} is on no machine"),
            Self::PeerElsewhere(peer) => write!(f, "{peer} is elsewhere"),
            Self::PeersApart(one, other) => write!(f, "{one} and {other} are on different machines"),
            Self::Conflict { with, on } => write!(f, "conflict with {with} on {}", on.short()),
            Self::Replacer { by, on } => write!(f, "replaced by {by} on {}", on.short()),
            Self::Memory { wants, left } => write!(f, "wants {wants} MB of memory, at most {left} are left"),
            Self::Cpu { wants, left } => {
                write!(f, "wants {wants} shares of processors, at most {left} are left")
            }
            Self::Refused(text) => write!(f, "{}", text.lines().next().unwrap_or_default()),
            Self::Template => f.write_str("a template is never placed, only its instances are"),
            Self::NowhereElse(by) => write!(f, "{by} replaces it, and no other machine can take it"),
            Self::MassLoss { gone, of, percent } => write!(
                f,
                "held: {gone} of {of} machines went away at once, which is more than {percent} %; its machine may only be cut off"
            ),
            Self::InTurn => f.write_str("held: units of lost machines are moved a few at a time"),
            Self::JustGone => f.write_str(
                "held: its machine has only just gone, and it is not known yet how many went with it",
            ),
        }
    }
}

impl Obstacle {
    /// One word for what is counted together.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoMachines => "no_machines",
            Self::NoSuchMachine(_) => "no_such_machine",
            Self::OtherMachine(_) => "other_machine",
            Self::Metadata(_) => "metadata",
            Self::NoSuchPeer(_) => "no_such_peer",
            Self::PeerNotScheduled(_) => "peer_not_scheduled",
            Self::PeerElsewhere(_) => "peer_elsewhere",
            Self::PeersApart(..) => "peers_apart",
            Self::Conflict { .. } => "conflict",
            Self::Replacer { .. } => "replacer",
            Self::Memory { .. } => "memory",
            Self::Cpu { .. } => "cpu",
            Self::Refused(_) => "refused",
            Self::Template => "template",
            Self::NowhereElse(_) => "nowhere_else",
            Self::MassLoss { .. } => "mass_loss",
            Self::InTurn => "in_turn",
            Self::JustGone => "just_gone",
        }
    }

    /// Whether it is that the unit's machine is gone, and the unit is not moved yet.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::MassLoss { .. } | Self::InTurn | Self::JustGone)
    }

    /// The kind and what distinguishes it for a reader: many machines with the same obstacle are one line.
    fn group(&self) -> (u8, String) {
        let of = |number, text: &str| (number, text.to_owned());
        match self {
            Self::Conflict { .. } => of(1, ""),
            Self::Memory { .. } => of(2, ""),
            Self::Cpu { .. } => of(3, ""),
            Self::Replacer { .. } => of(4, ""),
            Self::Metadata(text) => of(5, text),
            other => of(6, &other.to_string()),
        }
    }

    /// Takes in another of the same group.
    fn join(&mut self, other: &Self) {
        match (self, other) {
            (Self::Memory { left, .. }, Self::Memory { left: more, .. })
            | (Self::Cpu { left, .. }, Self::Cpu { left: more, .. }) => *left = (*left).max(*more),
            _ => {}
        }
    }
}

/// Why a unit is where it is and not where it should be: on no machine, or on one that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    /// Each obstacle with the number of machines it stands on; 0 where it is none of a machine's. Of several conflicts
    /// the first is named.
    pub obstacles: Vec<(Obstacle, usize)>,
}

impl Reason {
    /// One obstacle that is none of a machine's.
    #[must_use]
    pub fn of(obstacle: Obstacle) -> Self {
        Self { obstacles: vec![(obstacle, 0)] }
    }

    /// What each of some machines says.
    pub(crate) fn sum(each: impl IntoIterator<Item = (Obstacle, usize)>) -> Self {
        let mut groups: BTreeMap<(u8, String), (Obstacle, usize)> = BTreeMap::new();
        for (obstacle, machines) in each {
            match groups.entry(obstacle.group()) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert((obstacle, machines));
                }
                std::collections::btree_map::Entry::Occupied(mut taken) => {
                    let (known, count) = taken.get_mut();
                    known.join(&obstacle);
                    *count += machines;
                }
            }
        }
        Self { obstacles: groups.into_values().collect() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(Obstacle::Metadata(text), _)] = self.obstacles.as_slice() {
            return write!(f, "no machine with {text}");
        }
        let machines: usize = self.obstacles.iter().map(|(_, count)| count).sum();
        for (at, (obstacle, count)) in self.obstacles.iter().enumerate() {
            let comma = if at == 0 { "" } else { "; " };
            match count {
                0 => write!(f, "{comma}{obstacle}")?,
                1 if machines == 1 => write!(f, "{comma}{obstacle}")?,
                count => write!(f, "{comma}{obstacle} ({count} of {machines} machines)")?,
            }
        }
        Ok(())
    }
}
