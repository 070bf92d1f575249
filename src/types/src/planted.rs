//! Planted bugs ("mutants"): named switches that re-create real bugs of other systems, so that the
//! testbed can be seen to find them.
//!
//! Without the feature `mutants` the question is a constant `false` and the wrong branch is compiled
//! away. With it, one process-wide mask says which bugs are on: a campaign plants one bug at a time, in
//! every thread, so a process-wide value is what is wanted here (and nowhere else).

use std::fmt;
use std::str::FromStr;

macro_rules! planted {
    ($($(#[$doc:meta])* $id:ident = $text:literal;)*) => {
        /// The bugs that can be planted; ids as in `docs/planted-bugs.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted {
            $(#[doc = $text] $id,)*
        }

        impl Planted {
            /// Every bug, in the order of its id.
            pub const ALL: &'static [Planted] = &[$(Planted::$id,)*];

            /// What the bug does, in one sentence.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Planted::$id => $text,)* }
            }
        }

        impl fmt::Display for Planted {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Planted::$id => stringify!($id),)* })
            }
        }

        impl FromStr for Planted {
            type Err = UnknownPlanted;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s { $(stringify!($id) => Ok(Planted::$id),)* _ => Err(UnknownPlanted(s.to_owned())) }
            }
        }
    };
}

planted! {
    R01 = "a leader commits an entry of an older term by counting its replicas (Raft figure 8)";
    R02 = "a vote is answered before it is durable";
    R04 = "a vote is given to the longer log, whatever the terms of their last entries are";
    R05 = "a follower truncates its log at every append, also at stale ones";
    R07 = "a follower acknowledges an append before it is durable";
    R08 = "a leader counts its own copy before it is durable";
    R18 = "a pre-vote of a lower term is ignored instead of answered, so a lagging term never catches up";
    R25 = "a new leader answers reads before it committed an entry of its own term";
    R27 = "a leader answers reads without asking a quorum whether it still leads";
    D01 = "a torn record at the end of the write-ahead log refuses to boot";
    D02 = "damage in the middle of the write-ahead log is cut off silently";
    R26 = "answers to heartbeats sent before a read arrived count for it";
    R30 = "a leader that a quorum answered lately answers reads at once, also after it stood still";
    R32 = "a member goes on from a received snapshot before that is durable";
    R34 = "a leader whose log no longer reaches back to a follower keeps probing and sends no snapshot";
    R36 = "a proposal without an answer is proposed again, and may be applied twice";
    D04 = "a failed sync of the write-ahead log is tried again, and the second one's success believed";
    D07 = "the applied index becomes durable before what it covers";
    D09 = "a member that starts again has forgotten up to where revisions were compacted";
    D11 = "what a transaction may read of the past depends on how far the member has come with removing it";
    L03 = "a lease whose end could not be proposed is never ended";
    W01 = "a watcher that is behind is told the newest revision as its progress";
    W03 = "events for a watcher that reads slowly are dropped";
    W06 = "each change is told in an answer of its own, also where one revision made several";
    W02 = "a watch that begins in a member's future is told what lies before its beginning";
    L01 = "a leader that steps down goes on to end leases by its own clock";
    L05 = "a new leader gives leases no time of their own";
    K01 = "a lock is told to be held although its lease ended in the queue";
    K03 = "all who wait for a lock get in when its holder's lease runs out";
    R10 = "a new leader changes the configuration before it committed an entry of its own term";
    R12 = "a member that was removed comes back under its old id";
    R14 = "a learner campaigns";
    R16 = "a joint configuration is never left";
    R20 = "who misses its leader and asks for votes goes on taking it for the leader, and refuses others their votes";
    R23 = "no pre-vote, no lease against votes, and a leader nobody answers goes on leading";
    A01 = "a member that starts again has forgotten what users may do";
    A02 = "what a role loses, its users keep until the member starts again";
    L06 = "a new leader gives a lease its whole time, whatever a checkpoint says is left";
    L07 = "a lease is renewed and its checkpoint stays, so that the next leader counts from it";
    C01 = "a leader takes its own data for right when it compares hashes";
    C02 = "hashes taken at different entries are held against each other";
    C03 = "a member that starts compares its hash with its peers' newest, whatever revision they are at";
    F01 = "a member that goes on alone drops what it does not know to be committed";
    F02 = "a member that goes on alone keeps the others in its list of members";
    F03 = "a member that goes on alone does so in the next term, in which others may have had a leader";
    E01 = "a candidate waits for the leader's key alone, and not for those between";
    E02 = "resigning deletes the key of a candidacy whoever has created it since";
    E03 = "who observes an election waits for the next candidacy where the leader goes, and asks nobody who leads";
    Q01 = "the alarm of the quota is raised, and only members whose own file is full refuse writes";
    Q02 = "an alarm that was taken back is on again at a member that starts again";
    Q03 = "a member whose file is full refuses writes and raises no alarm";
    R40 = "a leader steps down as soon as one follower is not heard";
    R41 = "a member that is added votes before it has started, and is counted on";
    R28 = "a leader answers reads at once for an election timeout after a quorum answered, by the machine's calendar";
    R42 = "who votes for a candidate takes it for the leader at once";
    R43 = "a vote looks at the last entries' terms alone, and not at how long the logs are";
    R44 = "a member whose log lost what it had acknowledged votes and campaigns all the same";
    R45 = "entries are written into the log with the term of the append that brings them";
    R46 = "of entries that replace others only those beyond the log's old end are written";
    R47 = "an applied entry is taken down with the term of now instead of its own";
    R48 = "an entry that was replaced in the log is still applied from a cache";
    R50 = "a vote is given to the log that is no longer than the voter's: the comparison is the wrong way round";
    R51 = "a vote is refused to whom has entries that the voter has never seen";
    D21 = "a torn end of the log is cut, and this start fails all the same";
    D22 = "damage in the log is set aside, and this start fails all the same";
    D23 = "a transaction that reads a revision which is compacted stops whoever applies it";
    D24 = "a compaction takes along the newest version of a key where that was made at its very revision";
    D25 = "where one revision changed several keys, a member that starts again finds only the first of them";
    D26 = "a hash of the keys counts old versions which a compaction has not removed yet";
    D27 = "asked for the hash at a revision that it has not reached, a member stops";
    D28 = "a hash of the keys at a revision takes in what is newer";
    F04 = "a member that goes on alone begins with what its store holds, and drops the end of its log";
    A04 = "whether a read is allowed is looked up when it is asked and not when it is answered";
    W07 = "a watch that begins beyond a member's newest revision stops that member";
    A03 = "a read is refused by what its member knew when it was asked, which may lag";
    Q04 = "under the alarm of the quota deletions are refused as well";
    V01 = "a member's own read misses the newest change, and says that it has it";
    V02 = "a member's own read of several keys takes some of them as they were before the newest change";
    D06 = "a segment of the log that a full disk left half made stays, and refuses to boot";
    D20 = "a write of the log that finds the disk full counts as done";
    U01 = "a member speaks its newest version of the peer protocol, whatever the other one knows";
    U02 = "a member refuses every peer that does not speak exactly the versions that it speaks itself";
    T01 = "what is written in the v2 keys for a time lives from where the clock of the log stood before";
    T02 = "a new leader counts the whole time that it runs as time that has passed for the v2 keys";
    T03 = "who waits for changes of v2 keys at a member that is sent a snapshot is not told what it brought";
    T04 = "a quorum read of v2 keys is answered as the member happens to know";
    T05 = "who waits from an index of the v2 keys on misses the change of that very index";
    T06 = "the last changes of the v2 keys are not kept on disk";
    T07 = "a comparison of v2 keys looks at the index at which the key was made";
    T08 = "when a v2 key runs out is not kept on disk, so that its time begins anew at a member that starts again";
    K05 = "an agent that starts again does not give back what its machine held before";
    K11 = "the window is looked at before a slot is asked for, and not again before the reboot";
    K12 = "a reservation is forgotten once it is old, and its late swap is not made to fail";
    K13 = "a member of the store that does not answer counts as healthy";
    K14 = "a holder that asks again is refused, for there is no free slot";
    K15 = "a holder that asks again takes a second slot";
    K16 = "to change the number of slots forgets who holds one";
    K17 = "who gives back a slot that it does not hold frees the first one there is";
    K18 = "a free slot goes to whoever asks next, whatever the queue says";
    K19 = "the guard of the store's majority looks at its own group alone";
    K20 = "an agent reboots although it was told in the last step that its slot was taken back";
    F11 = "a new engine takes every placement for unknown, and places all units anew";
    F12 = "an agent stops units only when its lease is over, and not before";
    F13 = "what an engine schedules is not held against who leads";
    F14 = "an agent that is cut off from the store takes its units away";
    F15 = "a conflict counts for the unit that names it, and not for the one it names";
    F16 = "a unit whose file is taken away is forgotten at once, also while it runs";
    F17 = "whoever takes over running units takes their processes for ended";
    F18 = "a global unit stays on a machine whose metadata do not fit any more";
    F19 = "units of lost machines are moved as fast as it goes";
    F20 = "units of lost machines are moved however many machines are lost at once";
    F21 = "an agent that comes back acts by what it knew before it was gone";
    F22 = "what an engine schedules is not held against the unit's file and target";
    F23 = "an agent that starts again does not look at what is there";
    F24 = "a watch of the registry begins one revision too late";
    F25 = "units of the first machine that is missed are moved before it is known how many are gone";
}

/// The name is not the id of a planted bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no planted bug is called {0:?}; hint: `seatrial mutants --list` names them all")]
pub struct UnknownPlanted(pub String);

#[cfg(feature = "mutants")]
mod mask {
    use super::Planted;
    use std::sync::atomic::{AtomicU64, Ordering};

    const WORDS: usize = Planted::ALL.len().div_ceil(64);

    static MASK: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

    /// Plants exactly these bugs, in the whole process.
    pub fn plant(bugs: &[Planted]) {
        for (at, word) in MASK.iter().enumerate() {
            let here = bugs.iter().filter(|bug| **bug as usize / 64 == at);
            word.store(here.fold(0, |mask, bug| mask | (1 << (*bug as u64 % 64))), Ordering::SeqCst);
        }
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn is_planted(bug: Planted) -> bool {
        MASK[bug as usize / 64].load(Ordering::Relaxed) & (1 << (bug as u64 % 64)) != 0
    }
}

#[cfg(feature = "mutants")]
pub use mask::{is_planted, plant};

/// Whether this bug is planted: never, in a build without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is_planted(_bug: Planted) -> bool {
    false
}
