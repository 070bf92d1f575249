//! Goals around machines that reboot.

use super::Met;
use crate::format::spec::GoalKind;
use crate::machines::MachineDoes;
use crate::record::RunLog;

pub(super) fn reboots(log: &RunLog, met: &mut Met) {
    for machine in &log.machines {
        // Between the grant and the end of its giving back.
        let mut holds = false;
        for event in &machine.events {
            match &event.what {
                MachineDoes::Granted(_) => holds = true,
                MachineDoes::Released(true) => holds = false,
                MachineDoes::Reboots(_) if holds => met.at(GoalKind::MachineRebooted, event.at),
                MachineDoes::Crashes | MachineDoes::AgentDies if holds => {
                    met.at(GoalKind::HolderDied, event.at);
                }
                MachineDoes::Refused(why) if why.starts_with("the store would keep") => {
                    met.at(GoalKind::QuorumGuarded, event.at);
                }
                _ => {}
            }
        }
    }
}
