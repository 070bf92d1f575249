//! Why a reboot is not granted, and the guard that keeps our own store's quorum.

use crate::wall::Age;
use seatrial_types::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Why a machine may not reboot now. A bounded set: each has a word of its own, which FleetLock's clients get as `kind`,
/// and which metrics may count by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Every slot is taken.
    Full {
        /// How many slots there are.
        slots: i64,
    },
    /// Slots are free, and belong to machines that asked earlier.
    Queued {
        /// How many stand before this one.
        ahead: u32,
    },
    /// An operator has paused the group.
    Paused {
        /// What the operator wrote.
        why: String,
    },
    /// Too many machines did not come back.
    Stopped {
        /// How many.
        failed: u32,
        /// The limit that was reached.
        limit: u32,
    },
    /// It is not time.
    OutsideWindow {
        /// How long until the next window begins, where one does.
        opens_in: Option<Duration>,
    },
    /// An alert says that something is wrong.
    Alert {
        /// The first of them.
        name: String,
        /// How many others there are.
        more: u32,
    },
    /// The store's Raft group would have no majority of healthy voters.
    Quorum(Shortage),
    /// The slot is taken, and what ran on the machine is still being moved.
    Draining {
        /// For how long already.
        since: Duration,
    },
    /// The slot is taken, and what ran on the machine could not be moved.
    DrainFailed {
        /// What the hook said.
        why: String,
    },
}

impl Refusal {
    /// The word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            // Airlock's word, which clients know.
            Self::Full { .. } => "failed_lock",
            Self::Queued { .. } => "waiting_turn",
            Self::Paused { .. } => "rollout_paused",
            Self::Stopped { .. } => "rollout_stopped",
            Self::OutsideWindow { .. } => "outside_window",
            Self::Alert { .. } => "blocking_alert",
            Self::Quorum(_) => "quorum_guard",
            Self::Draining { .. } => "draining",
            Self::DrainFailed { .. } => "drain_failed",
        }
    }

    /// The machine itself is what it waits for, so that those behind it need not wait as well.
    #[must_use]
    pub fn is_its_own(&self) -> bool {
        match self {
            Self::OutsideWindow { .. }
            | Self::Quorum(_)
            | Self::Draining { .. }
            | Self::DrainFailed { .. } => true,
            Self::Full { .. }
            | Self::Queued { .. }
            | Self::Paused { .. }
            | Self::Stopped { .. }
            | Self::Alert { .. } => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { slots } => write!(f, "all {slots} semaphore slots currently locked"),
            Self::Queued { ahead: 1 } => write!(f, "a machine that asked earlier is before this one"),
            Self::Queued { ahead } => write!(f, "{ahead} machines that asked earlier are before this one"),
            Self::Paused { why } if why.is_empty() => write!(f, "reboots of this group are paused"),
            Self::Paused { why } => write!(f, "reboots of this group are paused: {why}"),
            Self::Stopped { failed, limit } => write!(
                f,
                "{failed} machines did not come back from their reboot (limit {limit}); an operator must resume the group"
            ),
            Self::OutsideWindow { opens_in: Some(span) } => {
                write!(f, "outside of the reboot window, which opens in {}", Age(*span))
            }
            Self::OutsideWindow { opens_in: None } => write!(f, "outside of the reboot window"),
            Self::Alert { name, more: 0 } => write!(f, "alert {name} blocks reboots"),
            Self::Alert { name, more } => write!(f, "alert {name} and {more} more block reboots"),
            Self::Quorum(shortage) => shortage.fmt(f),
            Self::Draining { since } => {
                write!(f, "the slot is held; the machine is being drained for {}", Age(*since))
            }
            Self::DrainFailed { why } => write!(f, "the slot is held; draining the machine failed: {why}"),
        }
    }
}

/// How many voters would be left, and how many it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shortage {
    /// Voters of the Raft group.
    pub voters: u32,
    /// Healthy ones that would be left.
    pub left: u32,
    /// A majority of the voters.
    pub majority: u32,
    /// Healthy voters of which nobody said where they run, and which were counted as if on machines that are away.
    pub homeless: u32,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voters, left, majority, homeless } = self;
        write!(f, "the store would keep {left} healthy voters of {voters}, and needs {majority}")?;
        if *homeless > 0 {
            write!(f, "; of {homeless} nobody said on which machine they run")?;
        }
        Ok(())
    }
}

/// One member of the store's Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hosted {
    /// It votes; learners do not count.
    pub voter: bool,
    /// It answers and is not far behind.
    pub healthy: bool,
    /// The machine it runs on, by the id with which that machine asks for the lock; `None`: nobody said.
    pub machine: Option<String>,
}

/// The store's Raft group as the guard sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// Its members.
    pub members: BTreeMap<MemberId, Hosted>,
}

impl Quorum {
    /// Whether this machine may be away together with all that are, or are about to be: then at least a majority of all
    /// voters is left, healthy (K5). Voters nobody placed are counted against machines that host none we know of, one
    /// each: a guard that guesses in our favour is none.
    ///
    /// A machine that can host no voter changes nothing and may always go.
    ///
    /// # Errors
    /// [`Shortage`].
    pub fn spares(&self, machine: &str, away: &BTreeSet<String>) -> Result<(), Shortage> {
        let voters: Vec<&Hosted> = self.members.values().filter(|member| member.voter).collect();
        let healthy = || voters.iter().filter(|voter| voter.healthy);
        let homeless = healthy().filter(|voter| voter.machine.is_none()).count();
        let hosts: BTreeSet<&str> = voters.iter().filter_map(|voter| voter.machine.as_deref()).collect();
        if !hosts.contains(machine) && homeless == 0 {
            return Ok(());
        }
        let gone = |id: &str| id == machine || away.contains(id);
        let at_home =
            healthy().filter(|voter| voter.machine.as_deref().is_some_and(|host| !gone(host))).count();
        let strangers = away.iter().map(String::as_str).chain([machine]).collect::<BTreeSet<_>>();
        let strangers = strangers.iter().filter(|id| !hosts.contains(*id)).count();
        let left = count(at_home + homeless.saturating_sub(strangers));
        let voters = count(voters.len());
        let majority = voters / 2 + 1;
        if left < majority {
            return Err(Shortage { voters, left, majority, homeless: count(homeless.min(strangers)) });
        }
        Ok(())
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// How far the machine's work has been moved elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Drain {
    /// Nothing is moved before a reboot.
    #[default]
    NotAsked,
    /// The hook runs.
    Running {
        /// For how long.
        since: Duration,
    },
    /// It has ended well.
    Done,
    /// It has not.
    Failed {
        /// What it said.
        why: String,
    },
}

impl Drain {
    /// Whether the machine may go.
    ///
    /// # Errors
    /// [`Refusal::Draining`], [`Refusal::DrainFailed`].
    pub fn allows(&self) -> Result<(), Refusal> {
        match self {
            Self::NotAsked | Self::Done => Ok(()),
            Self::Running { since } => Err(Refusal::Draining { since: *since }),
            Self::Failed { why } => Err(Refusal::DrainFailed { why: why.clone() }),
        }
    }
}

/// What speaks against a reboot from outside of the semaphore, at the moment of the question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guards {
    /// The window is closed.
    pub closed: Option<Closed>,
    /// Alerts that fire and block.
    pub alerts: BTreeSet<String>,
    /// The store's members, where the guard of its quorum is on.
    pub quorum: Option<Quorum>,
}

/// A closed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Closed {
    /// How long until it opens, where it does.
    pub opens_in: Option<Duration>,
}

impl Guards {
    /// Window and alerts; the quorum is looked at once the slot is reserved.
    ///
    /// # Errors
    /// [`Refusal::OutsideWindow`], [`Refusal::Alert`].
    pub fn allow(&self) -> Result<(), Refusal> {
        if let Some(Closed { opens_in }) = self.closed {
            return Err(Refusal::OutsideWindow { opens_in });
        }
        match self.alerts.first() {
            Some(name) => Err(Refusal::Alert { name: name.clone(), more: count(self.alerts.len() - 1) }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(members: &[(bool, bool, Option<&str>)]) -> Quorum {
        let members = members.iter().zip(1..).map(|(&(voter, healthy, machine), id)| {
            (MemberId(id), Hosted { voter, healthy, machine: machine.map(str::to_owned) })
        });
        Quorum { members: members.collect() }
    }

    fn away(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn of_three_voters_one_may_go_and_no_second() {
        let three = group(&[(true, true, Some("a")), (true, true, Some("b")), (true, true, Some("c"))]);
        assert_eq!(three.spares("a", &away(&[])), Ok(()));
        assert_eq!(three.spares("a", &away(&["a"])), Ok(()), "it is away only once");
        let shortage = three.spares("a", &away(&["b"])).unwrap_err();
        assert_eq!(shortage, Shortage { voters: 3, left: 1, majority: 2, homeless: 0 });
        assert_eq!(three.spares("worker", &away(&["b"])), Ok(()), "who hosts no voter takes none along");
    }

    #[test]
    fn a_sick_voter_counts_as_gone_and_its_own_machine_may_reboot() {
        let sick = group(&[(true, false, Some("a")), (true, true, Some("b")), (true, true, Some("c"))]);
        assert_eq!(sick.spares("a", &away(&[])), Ok(()));
        assert!(sick.spares("b", &away(&[])).is_err());
    }

    #[test]
    fn learners_help_nobody() {
        let one = group(&[(true, true, Some("a")), (false, true, Some("b")), (false, true, Some("c"))]);
        assert!(one.spares("a", &away(&[])).is_err(), "the only voter stays");
        assert_eq!(one.spares("b", &away(&["c"])), Ok(()));
    }

    #[test]
    fn a_voter_nobody_placed_may_be_on_any_machine_that_hosts_none() {
        let group = group(&[(true, true, Some("a")), (true, true, None), (true, true, None)]);
        assert_eq!(group.spares("x", &away(&[])), Ok(()));
        let shortage = group.spares("x", &away(&["y"])).unwrap_err();
        assert_eq!((shortage.left, shortage.homeless), (1, 2));
        assert!(group.spares("a", &away(&["x"])).is_err());
    }

    #[test]
    fn the_words_of_refusals_are_few_and_each_its_own() {
        let all = [
            Refusal::Full { slots: 2 },
            Refusal::Queued { ahead: 1 },
            Refusal::Paused { why: String::new() },
            Refusal::Stopped { failed: 1, limit: 1 },
            Refusal::OutsideWindow { opens_in: None },
            Refusal::Alert { name: "a".into(), more: 0 },
            Refusal::Quorum(Shortage { voters: 3, left: 1, majority: 2, homeless: 0 }),
            Refusal::Draining { since: Duration::ZERO },
            Refusal::DrainFailed { why: "x".into() },
        ];
        let kinds: BTreeSet<_> = all.iter().map(Refusal::kind).collect();
        assert_eq!(kinds.len(), all.len());
        assert!(all.iter().all(|refusal| !refusal.to_string().is_empty()));
        assert_eq!(all[0].to_string(), "all 2 semaphore slots currently locked");
    }

    #[test]
    fn an_alert_is_named_and_the_window_comes_first() {
        let alerts = away(&["disk", "fire"]);
        let mut guards = Guards { alerts, ..Guards::default() };
        assert_eq!(guards.allow(), Err(Refusal::Alert { name: "disk".into(), more: 1 }));
        guards.closed = Some(Closed { opens_in: None });
        assert_eq!(guards.allow().unwrap_err().kind(), "outside_window");
        assert_eq!(Guards::default().allow(), Ok(()));
    }

    proptest! {
        /// Against the plain statement of K5: wherever the voters nobody placed may be, one to a machine, a majority stays.
        #[test]
        fn whatever_is_granted_leaves_a_majority(
            members in prop::collection::vec((any::<bool>(), any::<bool>(), prop::option::of(0u8..4)), 1..6),
            away in prop::collection::btree_set(0u8..6, 0..4),
            machine in 0u8..6,
        ) {
            let name = |id: u8| format!("m{id}");
            let quorum = Quorum {
                members: members.iter().zip(1..).map(|(&(voter, healthy, host), id)| {
                    (MemberId(id), Hosted { voter, healthy, machine: host.map(name) })
                }).collect(),
            };
            let away: BTreeSet<String> = away.into_iter().map(name).collect();
            let gone: BTreeSet<String> = away.iter().cloned().chain([name(machine)]).collect();
            let voters: Vec<_> = quorum.members.values().filter(|member| member.voter).collect();
            let hosts: BTreeSet<_> = voters.iter().filter_map(|voter| voter.machine.clone()).collect();
            // The worst case: each machine that is gone and hosts none we know of takes one of the unplaced along.
            let mut takers = gone.iter().filter(|id| !hosts.contains(*id)).count();
            let mut left = 0;
            for voter in voters.iter().filter(|voter| voter.healthy) {
                match &voter.machine {
                    Some(host) if gone.contains(host) => {}
                    Some(_) => left += 1,
                    None if takers > 0 => takers -= 1,
                    None => left += 1,
                }
            }
            let harmless = !hosts.contains(&name(machine))
                && voters.iter().all(|voter| !voter.healthy || voter.machine.is_some());
            let allowed = quorum.spares(&name(machine), &away).is_ok();
            prop_assert_eq!(allowed, harmless || left > voters.len() / 2);
        }
    }
}
