//! A member of a cluster that has lost its majority for good becomes a cluster of one (etcd: `--force-new-cluster`).

use crate::cluster::{ChangeContext, Cluster, ClusterChange};
use crate::proposal::Proposal;
use seatrial_raft::{Config, ConfigEntry, Entry, HardState, Payload, Restored};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{LogIndex, MemberId, Term};

/// So many terms nobody has used up without this member: at an election a second they take eleven days.
const TERMS_LEFT_OUT: u64 = 1_000_000;

/// What makes a member alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Alone {
    /// The entry that removes all others, in a term of its own.
    pub(super) entry: Entry,
    pub(super) hard_state: HardState,
    /// What was done and what it costs, for people.
    pub(super) text: String,
}

/// The entry behind the log's last with which member `me` goes on without the others; `None` where it is alone
/// already. All that this member has is kept, also what it does not know to be committed: that may have been
/// acknowledged, and nobody else can tell any more.
pub(super) fn alone(me: MemberId, cluster: &Cluster, restored: &Restored) -> Option<Alone> {
    let mut unsure = is_planted(Planted::F01).then(|| restored.hard_state.commit.max(restored.applied));
    if is_planted(Planted::F04) {
        unsure = Some(restored.applied);
    }
    let sure = |entry: &&Entry| unsure.is_none_or(|known| entry.index <= known);
    let last = restored.entries.iter().rev().find(sure);
    let (index, term) =
        last.map_or((restored.snapshot.index, restored.snapshot.term), |entry| (entry.index, entry.term));
    let in_log = restored.entries.iter().rev().find_map(|entry| match &entry.payload {
        Payload::Config(change) => Some(&change.config),
        Payload::Noop | Payload::Data(_) => None,
    });
    let now = in_log.unwrap_or(&restored.snapshot.config);
    let only = Config { voters: [me].into(), ..Config::default() };
    let others: Vec<String> = cluster
        .members
        .values()
        .filter(|member| member.id != me)
        .map(|member| format!("{:x} ({})", member.id.0, member.name))
        .collect();
    if others.is_empty() && *now == only {
        return None;
    }
    // Not the last term, nor the next few: leaders of whom this member never heard may have written other entries in
    // them, which must not be taken for ours.
    let left_out = if is_planted(Planted::F03) { 1 } else { TERMS_LEFT_OUT };
    let term = Term(restored.hard_state.term.max(term).0 + left_out);
    let change = ClusterChange::Alone(me);
    let context = ChangeContext { origin: me, request: Proposal::NOBODY, change };
    let context = postcard::to_extend(&context, Vec::new()).expect("changes always encode");
    let entry = Entry {
        term,
        index: index.next(),
        payload: Payload::Config(ConfigEntry { config: only, context: context.into() }),
    };
    let known = restored.hard_state.commit.max(restored.applied);
    let unsure = index.0.saturating_sub(known.0);
    let lost = restored
        .lost_up_to
        .map_or(String::new(), |lost| format!("; its own log had lost entries up to {lost}"));
    let text = format!(
        "--force-new-cluster: this member goes on alone, with everything up to entry {index} of its log ({unsure} of them it did not know to be committed); removed for good: {}{lost}\nWhat the others had acknowledged and this member had not heard of is lost. Start it without the flag from now on, and add members with `member add`.",
        if others.is_empty() { "nobody".to_owned() } else { others.join(", ") },
    );
    let hard_state = HardState { term, vote: me, commit: restored.hard_state.commit.min(index) };
    Some(Alone { entry, hard_state, text })
}

/// The log's end, for a sentence.
pub(super) fn end_of(restored: &Restored) -> LogIndex {
    restored.entries.last().map_or(restored.snapshot.index, |entry| entry.index)
}
