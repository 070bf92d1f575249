//! How members serve the lock, and what they tell of its keys.

use seatrial_node::Handle;
use seatrial_reboot::Group;
use seatrial_scenario::Plan;
use seatrial_scenario::machines::SemaphoreChange;
use seatrial_scenario::record::Notebook;
use seatrial_types::MemberId;
use seatrial_types::v2::{KEYS, V2Watch};
use seatrial_wire::RebootLock;
use seatrial_world::World;
use seatrial_world_sim::{Sim, SimWorld};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two attempts to watch.
const PAUSE: Duration = Duration::from_millis(50);

/// The locks of a plan.
#[derive(Debug)]
pub(crate) struct Locks {
    groups: Vec<String>,
    /// On which machines members run.
    homes: BTreeMap<MemberId, String>,
}

impl Locks {
    pub(crate) fn of(plan: &Plan) -> Self {
        let homes = plan.machines().map(|member| (member, plan.machine_of(member))).collect();
        Self { groups: plan.reboot_groups(), homes }
    }

    /// How a member serves FleetLock; `None` where no machine reboots.
    pub(crate) fn served(&self, member: MemberId) -> Option<RebootLock> {
        (!self.groups.is_empty()).then(|| RebootLock {
            guards_quorum: true,
            machine: self.homes.get(&member).cloned(),
            ..RebootLock::default()
        })
    }

    /// Takes down every change of the locks' keys as this member applies it. No network lies between, so that nothing is
    /// missed that any member has applied.
    pub(crate) fn record(&self, world: &SimWorld, sim: &Sim, handle: &Handle, notebook: &Notebook) {
        for group in &self.groups {
            for ledger in [false, true] {
                let told = Teller {
                    world: world.clone(),
                    sim: sim.clone(),
                    handle: handle.clone(),
                    notebook: notebook.clone(),
                    group: group.clone(),
                    ledger,
                };
                world.spawn(told.tell());
            }
        }
    }
}

struct Teller {
    world: SimWorld,
    sim: Sim,
    handle: Handle,
    notebook: Notebook,
    group: String,
    ledger: bool,
}

impl Teller {
    async fn tell(self) {
        let group = Group::new(self.group.clone());
        let key = if self.ledger { group.ledger_key() } else { group.semaphore_key() };
        let mut since = self.notebook.semaphore_known(&self.group, self.ledger) + 1;
        loop {
            let watch = V2Watch { path: format!("{KEYS}{key}"), recursive: false, stream: true, since };
            match self.handle.v2_watch(watch).await {
                Ok(Ok(mut changes)) => {
                    while let Some(event) = changes.next().await {
                        since = event.index() + 1;
                        self.notebook.semaphore(SemaphoreChange {
                            at: self.sim.now(),
                            index: event.index(),
                            before: event.prev.as_ref().map(|node| node.modified),
                            group: self.group.clone(),
                            ledger: self.ledger,
                            value: event.node.value.as_deref().map(str::to_owned),
                        });
                    }
                }
                // Forgotten here; others have told it.
                Ok(Err(error)) => since = error.index + 1,
                // The member ends.
                Err(_) => return,
            }
            self.world.sleep(PAUSE).await;
        }
    }
}
