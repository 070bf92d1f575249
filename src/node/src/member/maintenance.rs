//! What an operator asks of one member: to write its file anew, for a hash of all it keeps, for an older version.

use super::{Member, Output};
use crate::observation::Observation;
use crate::proposal::RequestId;
use seatrial_store::Backend;
use seatrial_types::request::{DowngradeAction, DowngradeRequest, DowngradeResponse};
use seatrial_types::{Code, Error, Response};

/// The version of etcd whose data a member's files hold.
pub(super) const STORAGE_VERSION: &str = "3.5.0";

/// Who waits for the file to be written anew. They have no deadline: a large file takes its time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Defrag {
    waiting: Vec<RequestId>,
    /// Those for whom it is being done now, and how large the file was.
    running: Option<(Vec<RequestId>, u64)>,
}

impl Defrag {
    pub(super) fn take_all(&mut self) -> Vec<RequestId> {
        let running = self.running.take().map(|(ids, _)| ids).unwrap_or_default();
        running.into_iter().chain(std::mem::take(&mut self.waiting)).collect()
    }
}

impl<B: Backend> Member<B> {
    pub(super) fn ask_defrag(&mut self, id: RequestId) {
        self.waiting.remove(&id);
        self.defrag.waiting.push(id);
    }

    /// Begins where somebody waits. Rows that a compaction has yet to remove would only be copied, so it goes first; and
    /// what was deleted while a copy was made is the matter of the next one.
    pub(super) fn begin_defrag(&mut self) {
        let nobody = self.defrag.waiting.is_empty();
        if nobody || self.defrag.running.is_some() || self.snapshots.is_installing() {
            return;
        }
        if self.store.is_compacting() {
            return;
        }
        self.checkpoint();
        let before = self.store.size().total_bytes;
        self.defrag.running = Some((std::mem::take(&mut self.defrag.waiting), before));
        // Behind the batch: the rewriting finds in the file what this member shows now.
        self.output(Output::Defragment);
    }

    /// The file was written anew, or there was no room for the new one beside the old.
    pub(super) fn step_defragmented(&mut self, result: Result<(), String>) {
        let Some((ids, before)) = self.defrag.running.take() else { return };
        if let Err(error) = self.store.rewritten() {
            return self.broken(&error);
        }
        if result.is_ok() {
            let after = self.store.size().total_bytes;
            self.observe(Observation::Defragmented { before, after });
        }
        for id in ids {
            let result = match &result {
                Ok(()) => Ok(Response::Defragment(self.header())),
                Err(why) => Err(Error::Other(Code::Unknown, why.clone())),
            };
            self.output(Output::Answer { id, result });
        }
    }
}

/// What is said to the wish for another version. There is none to which the files of a member could be taken back.
pub(super) fn downgrade(ask: &DowngradeRequest) -> Result<DowngradeResponse, Error> {
    match ask.action {
        DowngradeAction::Cancel => Err(Error::NoInflightDowngrade),
        DowngradeAction::Validate | DowngradeAction::Enable => {
            if is_version(&ask.version) || is_version(&format!("{}.0", ask.version)) {
                Err(Error::InvalidDowngradeTarget)
            } else {
                Err(Error::WrongVersionFormat)
            }
        }
    }
}

/// Three numbers with dots between, and perhaps a pre-release or build behind (semver, as etcd reads it).
fn is_version(text: &str) -> bool {
    let core = text.split_once('+').map_or(text, |(core, _)| core);
    let core = core.split_once('-').map_or(core, |(core, _)| core);
    let parts: Vec<&str> = core.splitn(3, '.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<i64>().is_ok_and(|number| number >= 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_can_be_gone_back_to_and_what_is_none_is_told_apart() {
        let ask =
            |action, version: &str| downgrade(&DowngradeRequest { action, version: version.to_owned() });
        for action in [DowngradeAction::Validate, DowngradeAction::Enable] {
            for version in ["3.4.0", "3.4", "3.5.0", "9.9.9", "3.4.0-rc.1", "3.4.0+git"] {
                assert_eq!(ask(action, version), Err(Error::InvalidDowngradeTarget), "{version}");
            }
            for version in ["", "3", "three", "3.4.0.1", "v3.4.0", "3.x.0", "3.4.-1"] {
                assert_eq!(ask(action, version), Err(Error::WrongVersionFormat), "{version}");
            }
        }
        assert_eq!(ask(DowngradeAction::Cancel, ""), Err(Error::NoInflightDowngrade));
    }
}
