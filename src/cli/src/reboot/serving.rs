//! The server's flags for the reboot lock.

use crate::server::{Failure, usage};
use clap::Args;
use seatrial_reboot::Group;
use seatrial_wire::RebootLock;
use seatrial_world::Secure;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Flags of the server around the reboot lock.
#[derive(Debug, Args)]
pub(crate) struct ServingArgs {
    /// Serve the reboot lock to FleetLock's clients at the addresses for clients: /v1/pre-reboot and /v1/steady-state.
    /// The protocol knows no credentials.
    #[arg(long, env = "SEATRIAL_REBOOT_LOCK", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true,
        action = clap::ArgAction::Set)]
    reboot_lock: bool,
    /// The groups that are served; `default` is the one without a name [default: any].
    #[arg(long, env = "SEATRIAL_REBOOT_LOCK_GROUPS", value_delimiter = ',')]
    reboot_lock_groups: Vec<String>,
    /// Grant no reboot that would leave the store without a majority of healthy voters.
    #[arg(long, env = "SEATRIAL_REBOOT_LOCK_QUORUM_GUARD", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    reboot_lock_quorum_guard: bool,
    /// The machine on which this member runs, by the id with which it asks for the lock.
    #[arg(long, env = "SEATRIAL_REBOOT_LOCK_MACHINE_ID")]
    reboot_lock_machine_id: Option<String>,
    /// On which machines members run, before what they say themselves: MEMBER=MACHINE, by name or id.
    #[arg(long, env = "SEATRIAL_REBOOT_LOCK_MEMBERS", value_delimiter = ',')]
    reboot_lock_members: Vec<String>,
}

impl ServingArgs {
    /// How the lock is served, where it is.
    pub(crate) fn options(&self, layer: Option<Arc<dyn Secure>>) -> Result<Option<RebootLock>, Failure> {
        let given = self.reboot_lock_groups.iter().filter(|name| !name.is_empty());
        let groups: BTreeSet<Group> = given
            .map(|name| {
                Group::fleetlock(name).map_err(|error| usage(format!("--reboot-lock-groups: {error}")))
            })
            .collect::<Result<_, _>>()?;
        let mut placed = BTreeMap::new();
        for part in self.reboot_lock_members.iter().filter(|part| !part.is_empty()) {
            let pair =
                part.split_once('=').filter(|(member, machine)| !member.is_empty() && !machine.is_empty());
            let (member, machine) = pair.ok_or_else(|| {
                usage(format!(
                    "--reboot-lock-members {part:?} is not of the form MEMBER=MACHINE\nhint: --reboot-lock-members m1=3d5e…,m2=77ab…"
                ))
            })?;
            placed.insert(member.to_owned(), machine.to_owned());
        }
        Ok(self.reboot_lock.then(|| RebootLock {
            groups: (!groups.is_empty()).then_some(groups),
            guards_quorum: self.reboot_lock_quorum_guard,
            machine: self.reboot_lock_machine_id.clone().filter(|machine| !machine.is_empty()),
            placed,
            layer,
            metrics: Arc::default(),
        }))
    }
}
