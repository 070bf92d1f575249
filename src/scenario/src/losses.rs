//! Which members' copies are damaged and were not made whole again: logs that have lost entries, and stores. Who lost a part of
//! its log does not vote: with too many of them there is no majority, and it is right that nobody is served.

use crate::observation::Observation;
use seatrial_types::{LogIndex, MemberId};
use std::collections::{BTreeMap, BTreeSet};

/// Told of everything members tell, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    /// The highest entry that a member ever had.
    newest: BTreeMap<MemberId, LogIndex>,
    /// What a member has to apply before it is whole.
    wanted: BTreeMap<MemberId, LogIndex>,
    /// Whose store was damaged, and is no other since.
    stores: BTreeSet<MemberId>,
}

impl Losses {
    pub(crate) fn observe(&mut self, member: MemberId, what: &Observation) {
        match what {
            Observation::Durable { index } => self.had(member, *index),
            Observation::Applied { index, .. } => {
                self.had(member, *index);
                if self.wanted.get(&member).is_some_and(|wanted| index >= wanted) {
                    self.wanted.remove(&member);
                }
            }
            Observation::Finding { damage: true, .. } => self.harm(member),
            // The whole state is another's, or put right.
            Observation::SnapshotInstalled { .. } | Observation::Repaired => {
                self.stores.remove(&member);
            }
            _ => {}
        }
    }

    fn had(&mut self, member: MemberId, index: LogIndex) {
        let newest = self.newest.entry(member).or_default();
        *newest = (*newest).max(index);
    }

    /// Its log loses entries just now.
    pub(crate) fn harm(&mut self, member: MemberId) {
        // What comes next is in no log yet.
        let newest = self.newest.get(&member).copied().unwrap_or_default();
        self.wanted.insert(member, newest.next());
    }

    /// Something in its store is not what it wrote.
    pub(crate) fn harm_store(&mut self, member: MemberId) {
        self.stores.insert(member);
    }

    /// It begins anew, with nothing.
    pub(crate) fn emptied(&mut self, member: MemberId) {
        self.stores.remove(&member);
        self.wanted.remove(&member);
        self.newest.remove(&member);
    }

    pub(crate) fn has_harmed_store(&self, member: MemberId) -> bool {
        self.stores.contains(&member)
    }

    /// Those whose log or store is not whole.
    pub(crate) fn all(&self) -> BTreeSet<MemberId> {
        self.harmed().chain(self.stores.iter().copied()).collect()
    }

    /// Those whose logs are not whole.
    pub(crate) fn harmed(&self) -> impl Iterator<Item = MemberId> {
        self.wanted.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_types::{Revision, Term};

    const ONE: MemberId = MemberId(1);

    fn applied(index: u64) -> Observation {
        Observation::Applied { index: LogIndex(index), term: Term(1), checksum: 0, revision: Revision(1) }
    }

    fn harmed(what: &[Observation]) -> bool {
        let mut losses = Losses::default();
        what.iter().for_each(|what| losses.observe(ONE, what));
        losses.harmed().next().is_some()
    }

    #[test]
    fn a_member_is_whole_once_it_has_applied_more_than_it_ever_had() {
        let durable = Observation::Durable { index: LogIndex(9) };
        let damage = |damage| Observation::Finding { text: String::new(), damage };
        assert!(!harmed(&[applied(5), durable.clone(), damage(false)]), "a torn tail is none");
        assert!(harmed(&[applied(5), durable.clone(), damage(true)]));
        assert!(harmed(&[applied(5), durable.clone(), damage(true), applied(9)]));
        assert!(!harmed(&[applied(5), durable.clone(), damage(true), applied(9), applied(10)]));
        assert!(harmed(&[durable, damage(true), applied(10), damage(true)]), "again");
    }
}
