//! A scenario as it was written: what may happen, not yet what does.

pub use super::parts::{Fate, MachineFault, RebootSpec, UnitAct, UnitsSpec, V2Op, WatchSpec};

use super::options::FaultOptions;
use super::script::Script;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An enum whose variants have names in scenario files.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// Their names in scenario files.
            pub const NAMES: &'static [&'static str] = &[$($text,)*];

            /// Its name in scenario files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The variant of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(super) use named;

named! {
    /// What clients do.
    WorkloadKind {
        /// Puts, gets, deletes, ranges and compare-and-swap on a few keys.
        Kv = "kv",
        /// Watchers of the same keys, which resume where a stream broke.
        Watch = "watch",
        /// Leases that are kept alive for a while and then left alone.
        Lease = "lease",
        /// Compares the members' hashes of keys and values.
        Hash = "hash",
        /// Takes locks, holds them for a while, and writes what they guard.
        Locks = "locks",
        /// Stands for election, leads for a while, and resigns; and looks who leads.
        Elections = "elections",
        /// Looks for alarms of the quota, and frees space where there are any.
        Space = "space",
        /// Adds, removes, promotes and replaces members.
        Membership = "membership",
        /// Users who may do now this and now that, and one who decides it.
        Users = "users",
        /// Changes and reads of etcd's v2 keys, and clients who wait for changes of them.
        V2 = "v2",
        /// Machines that reboot, one after the other, under the reboot lock.
        Reboots = "reboots",
        /// Machines of a fleet, what runs on them, and operators who want this and that.
        Units = "units",
    }
}

named! {
    /// Operations of the workload `kv`.
    OpKind {
        /// Writes a value never written before.
        Put = "put",
        /// Reads one key.
        Get = "get",
        /// Reads all keys.
        Range = "range",
        /// Deletes one key.
        Delete = "delete",
        /// Writes if the key is as this client saw it last.
        Cas = "cas",
        /// Forgets old versions.
        Compact = "compact",
        /// Writes two keys in one transaction.
        Pair = "pair",
        /// Writes a key and reads it as it was a while ago, in one transaction.
        Past = "past",
    }
}

named! {
    /// Ways to change the cluster (workload `membership`).
    ChangeKind {
        /// A new voter comes on a spare machine, and a drawn other goes.
        Replace = "replace",
        /// The same, but the new one listens first and is promoted by hand.
        Promote = "promote",
        /// A new voter comes on a spare machine, where there is one.
        Grow = "grow",
        /// A drawn member goes, where at least two are left.
        Shrink = "shrink",
        /// A drawn member goes, its disk is emptied, and its machine joins again.
        Return = "return",
        /// Two voters are asked for that will never start; then they go again.
        Phantom = "phantom",
    }
}

named! {
    /// Kinds of faults a scenario may ask for.
    NemesisKind {
        /// Links between members are cut; see [`Shape`].
        Partition = "partition",
        /// A member's links go down and up in quick succession.
        Flapping = "flapping",
        /// A process dies and comes back.
        Kill = "kill",
        /// One member after the other is stopped and started.
        RollingRestart = "rolling-restart",
        /// One member after the other is stopped, and started as the next build of the program; the time after, as the
        /// build before.
        RollingUpgrade = "rolling-upgrade",
        /// A machine loses power, with what was not synced.
        PowerLoss = "power-loss",
        /// A process stands still for a while.
        Pause = "pause",
        /// Packets get lost.
        Loss = "loss",
        /// Packets take longer.
        Latency = "latency",
        /// Links carry so many bytes per second and no more.
        Bandwidth = "bandwidth",
        /// Syncs take longer.
        SlowDisk = "slow-disk",
        /// Nothing is read from a disk, written to it or synced.
        DiskStall = "disk-stall",
        /// A sync fails; the member must stop. It is started again at the end.
        SyncError = "sync-error",
        /// What is not in the page cache cannot be read; a member that needs it must stop. It is started again at the end.
        ReadError = "read-error",
        /// The disk has no room left; the member must stop. It is started again at the end.
        FullDisk = "full-disk",
        /// Syncs answer well and do nothing.
        LyingSync = "lying-sync",
        /// The log of a stopped member is damaged before it starts again.
        WalDamage = "wal-damage",
        /// A stored value of a stopped member is another before it starts again, its checksum too.
        ValueDamage = "value-damage",
        /// Bits turn in the file of a member's store.
        StoreRot = "store-rot",
        /// A sector that is written lands at the place of another one of the same file.
        MisdirectedWrite = "misdirected-write",
        /// All machines but one are lost for good; that one goes on alone.
        LostMajority = "lost-majority",
        /// A clock runs too fast or too slow, or jumps.
        Clock = "clock",
    }
}

named! {
    /// Which links a partition cuts.
    Shape {
        /// The leader hears no member and no member hears it; clients still reach it.
        LeaderAlone = "leader-alone",
        /// One follower likewise.
        FollowerAlone = "follower-alone",
        /// A minority, which has the leader in it, against the rest.
        LeaderMinority = "leader-minority",
        /// Two drawn parts, one of them a majority.
        MajorityMinority = "majority-minority",
        /// The target is heard but hears nothing, or the other way round.
        OneWay = "one-way",
        /// Two halves which only one member in the middle reaches both of.
        Bridge = "bridge",
        /// Every member sees two neighbours only.
        Ring = "ring",
        /// Drawn members are cut off one after the other, and come back one after the other in another order.
        Swizzle = "swizzle",
    }
}

named! {
    /// What a fault may wait for.
    During {
        /// A member asks for votes.
        Election = "election",
        /// A member was elected.
        LeaderChange = "leader-change",
        /// A snapshot is begun for a member.
        Snapshot = "snapshot",
        /// A member compacts its log.
        Compaction = "compaction",
        /// A leader puts another configuration into its log.
        MembershipChange = "membership-change",
        /// A lease runs out on the leader.
        LeaseExpiry = "lease-expiry",
        /// A member has started again.
        Restart = "restart",
    }
}

named! {
    /// What becomes of packets on a link that is down.
    LinkDown {
        /// They wait, and so does their sender.
        Cut = "cut",
        /// They break their connection; the link itself is up again at once.
        Reset = "reset",
    }
}

named! {
    /// What a watcher does not want to hear of.
    #[derive(Default)]
    Without {
        /// It wants everything.
        #[default]
        Nothing = "nothing",
        /// No puts.
        Puts = "puts",
        /// No deletes.
        Deletes = "deletes",
    }
}

named! {
    /// Which files are hit.
    #[derive(Default)]
    Files {
        /// Whichever comes first.
        #[default]
        Any = "any",
        /// The write-ahead log's.
        Log = "log",
        /// The store's.
        Store = "store",
    }
}

named! {
    /// What a member does while its store is damaged.
    #[derive(Default)]
    When {
        /// Its machine has lost its power.
        #[default]
        Down = "down",
        /// It runs.
        Up = "up",
    }
}

named! {
    /// Where a log is damaged.
    DamagePlace {
        /// Its last record is torn.
        Tail = "tail",
        /// Bits turn in the middle.
        Middle = "middle",
    }
}

named! {
    /// Things that must be reached at least once over a batch, or the batch proves nothing.
    GoalKind {
        /// A write was acknowledged.
        WriteAcknowledged = "write-acknowledged",
        /// A read was answered.
        ReadAnswered = "read-answered",
        /// A write's outcome stayed unknown.
        WriteAmbiguous = "write-ambiguous",
        /// A second leader was elected.
        LeaderChanged = "leader-changed",
        /// A fault was active while a write was acknowledged.
        ServedDuringFault = "served-during-fault",
        /// A member was started a second time.
        MemberRestarted = "member-restarted",
        /// A member stopped by itself.
        MemberStopped = "member-stopped",
        /// A leader began to send a snapshot.
        SnapshotSent = "snapshot-sent",
        /// A member installed a snapshot.
        SnapshotInstalled = "snapshot-installed",
        /// A member compacted its log.
        LogCompacted = "log-compacted",
        /// Recovery cut a torn end of the log.
        WalTailCut = "wal-tail-cut",
        /// A member stopped or did not start, for it found its store damaged.
        StoreDamageFound = "store-damage-found",
        /// A member stopped or did not start, for its disk could not be read.
        ReadRefused = "read-refused",
        /// Recovery found damage in the middle of the log.
        WalDamageFound = "wal-damage-found",
        /// A watcher resumed a broken watch.
        WatchResumed = "watch-resumed",
        /// A watcher saw an event.
        WatchEvent = "watch-event",
        /// A lease expired.
        LeaseExpired = "lease-expired",
        /// A lease was kept alive past its first deadline.
        LeaseKept = "lease-kept",
        /// A lease with checkpoints ended that had lived under three leaders since it was last renewed.
        LeaseOverLeaders = "lease-over-leaders",
        /// A lock was held.
        LockHeld = "lock-held",
        /// A lock was held by somebody who had waited for it.
        LockWaited = "lock-waited",
        /// A fenced write was refused: its writer's lock was another's by then.
        WriteFenced = "write-fenced",
        /// A client was told that it leads an election.
        ElectionWon = "election-won",
        /// An observer heard of a second leader on one stream.
        ElectionObserved = "election-observed",
        /// A member joined that had not been there at first.
        MemberJoined = "member-joined",
        /// A member was removed, heard of it, and ended.
        MemberRemoved = "member-removed",
        /// A learner was promoted.
        MemberPromoted = "member-promoted",
        /// A joint configuration was in force.
        JointConfig = "joint-config",
        /// An operator was told of the alarm NOSPACE.
        SpaceAlarm = "space-alarm",
        /// A key was put after the alarm NOSPACE had been taken back.
        SpaceFreed = "space-freed",
        /// A comparison named a member whose data are damaged.
        CorruptionNamed = "corruption-named",
        /// A member did not start, for its peers hold something else.
        StartRefused = "start-refused",
        /// A user was let in.
        UserAllowed = "user-allowed",
        /// A user was turned away for lack of permission.
        UserDenied = "user-denied",
        /// A member asked for votes before an election, after there had been a leader.
        PreVoteAsked = "pre-vote-asked",
        /// A member that asked for votes before an election got none, and followed.
        PreVoteLost = "pre-vote-lost",
        /// A candidate lost, and followed.
        CandidacyLost = "candidacy-lost",
        /// Two members were candidates in one term.
        ElectionSplit = "election-split",
        /// A third leader was elected.
        ThirdLeader = "third-leader",
        /// A fifth leader was elected.
        FifthLeader = "fifth-leader",
        /// A member led again after another had led.
        LeaderAgain = "leader-again",
        /// A leader followed without having been restarted.
        LeaderSteppedDown = "leader-stepped-down",
        /// A member was elected while an older leader still believed to lead.
        TwoBelieveToLead = "two-believe-to-lead",
        /// Nobody led for a second, after somebody had.
        LeaderlessSecond = "leaderless-second",
        /// The tenth term began.
        TermTen = "term-ten",
        /// A member that had led followed another.
        OldLeaderFollows = "old-leader-follows",
        /// The leader's process was killed.
        LeaderKilled = "leader-killed",
        /// The leader's machine lost power.
        LeaderLostPower = "leader-lost-power",
        /// The leader stood still.
        LeaderPaused = "leader-paused",
        /// The leader stopped by itself.
        LeaderStopped = "leader-stopped",
        /// A candidate died, or one that asked for votes before.
        CandidateDied = "candidate-died",
        /// A majority was down at one time.
        MajorityDown = "majority-down",
        /// All members were down at one time.
        AllDown = "all-down",
        /// A member went down a second time.
        DiedTwice = "died-twice",
        /// A member went down within a second after it had started again.
        DiedAfterStart = "died-after-start",
        /// A member went down while a snapshot was on its way to it.
        DiedWhileInstalling = "died-while-installing",
        /// A leader went down while it sent a snapshot.
        SenderDied = "sender-died",
        /// A member went down within half a second after it had compacted its log.
        DiedAfterCompaction = "died-after-compaction",
        /// A member started on a log that it had compacted.
        StartedCompacted = "started-compacted",
        /// A member started 50 entries or more behind another.
        StartedBehind = "started-behind",
        /// A running member was 50 entries behind.
        LaggedFifty = "lagged-fifty",
        /// A running member was 500 entries behind.
        LaggedFiveHundred = "lagged-five-hundred",
        /// A member that was 50 entries behind caught up without a snapshot.
        CaughtUpByLog = "caught-up-by-log",
        /// A member installed a second snapshot.
        SecondSnapshot = "second-snapshot",
        /// A member compacted its log a third time.
        ThirdCompaction = "third-compaction",
        /// The thousandth entry was applied.
        ThousandEntries = "thousand-entries",
        /// Two faults were active at one time.
        TwoFaults = "two-faults",
        /// Three faults were active at one time.
        ThreeFaults = "three-faults",
        /// A fault hit the leader.
        FaultHitLeader = "fault-hit-leader",
        /// A fault began while nobody led, after somebody had.
        FaultDuringElection = "fault-during-election",
        /// A fault began while a snapshot was on its way.
        FaultDuringSnapshot = "fault-during-snapshot",
        /// A fault began while a joint configuration was in force.
        FaultDuringJoint = "fault-during-joint",
        /// A write was acknowledged that was asked for and answered during a fault `partition`.
        ServedDuringPartition = "served-during-partition",
        /// A write was acknowledged that was asked for and answered during a fault `flapping`.
        ServedDuringFlapping = "served-during-flapping",
        /// A write was acknowledged that was asked for and answered during a fault `kill`.
        ServedDuringKill = "served-during-kill",
        /// A write was acknowledged that was asked for and answered during a fault `rolling-restart`.
        ServedDuringRollingRestart = "served-during-rolling-restart",
        /// A write was acknowledged that was asked for and answered during a fault `rolling-upgrade`.
        ServedDuringRollingUpgrade = "served-during-rolling-upgrade",
        /// A write was acknowledged that was asked for and answered during a fault `power-loss`.
        ServedDuringPowerLoss = "served-during-power-loss",
        /// A write was acknowledged that was asked for and answered during a fault `pause`.
        ServedDuringPause = "served-during-pause",
        /// A write was acknowledged that was asked for and answered during a fault `loss`.
        ServedDuringLoss = "served-during-loss",
        /// A write was acknowledged that was asked for and answered during a fault `latency`.
        ServedDuringLatency = "served-during-latency",
        /// A write was acknowledged that was asked for and answered during a fault `slow-disk`.
        ServedDuringSlowDisk = "served-during-slow-disk",
        /// A write was acknowledged that was asked for and answered during a fault `sync-error`.
        ServedDuringSyncError = "served-during-sync-error",
        /// A write was acknowledged that was asked for and answered during a fault `full-disk`.
        ServedDuringFullDisk = "served-during-full-disk",
        /// A write was acknowledged that was asked for and answered during a fault `wal-damage`.
        ServedDuringWalDamage = "served-during-wal-damage",
        /// A write was acknowledged that was asked for and answered during a fault `value-damage`.
        ServedDuringValueDamage = "served-during-value-damage",
        /// A write was acknowledged that was asked for and answered during a fault `clock`.
        ServedDuringClock = "served-during-clock",
        /// A write was acknowledged that was asked for and answered during a fault `disk-stall`.
        ServedDuringDiskStall = "served-during-disk-stall",
        /// A write was acknowledged that was asked for and answered during a fault `bandwidth`.
        ServedDuringBandwidth = "served-during-bandwidth",
        /// A write was acknowledged that was asked for and answered during a fault `read-error`.
        ServedDuringReadError = "served-during-read-error",
        /// A write was acknowledged that was asked for and answered during a fault `store-rot`.
        ServedDuringStoreRot = "served-during-store-rot",
        /// A write was acknowledged that was asked for and answered during a fault `misdirected-write`.
        ServedDuringMisdirectedWrite = "served-during-misdirected-write",
        /// A leader was elected during a fault `partition`, and not the first.
        ElectedDuringPartition = "elected-during-partition",
        /// A leader was elected during a fault `flapping`, and not the first.
        ElectedDuringFlapping = "elected-during-flapping",
        /// A leader was elected during a fault `loss`, and not the first.
        ElectedDuringLoss = "elected-during-loss",
        /// A leader was elected during a fault `latency`, and not the first.
        ElectedDuringLatency = "elected-during-latency",
        /// A leader was elected during a fault `slow-disk`, and not the first.
        ElectedDuringSlowDisk = "elected-during-slow-disk",
        /// A leader was elected during a fault `clock`, and not the first.
        ElectedDuringClock = "elected-during-clock",
        /// A leader was elected during a fault `pause`, and not the first.
        ElectedDuringPause = "elected-during-pause",
        /// A leader was elected during a fault `disk-stall`, and not the first.
        ElectedDuringDiskStall = "elected-during-disk-stall",
        /// A leader was elected during a fault `bandwidth`, and not the first.
        ElectedDuringBandwidth = "elected-during-bandwidth",
        /// A comparison held, and the write was done.
        CasWon = "cas-won",
        /// A comparison did not hold.
        CasLost = "cas-lost",
        /// A key was deleted.
        DeleteHit = "delete-hit",
        /// A key was to be deleted that was not there.
        DeleteMissed = "delete-missed",
        /// A range of keys was read.
        RangeAnswered = "range-answered",
        /// A key was read as it had been.
        PastRead = "past-read",
        /// Two keys were written in one transaction.
        TwoKeysWritten = "two-keys-written",
        /// A member answered from its own state.
        SerializableAnswered = "serializable-answered",
        /// A member answered from its own state, and lagged behind what had been acknowledged.
        SerializableLagged = "serializable-lagged",
        /// A member answered from its own state while nobody led.
        ReadWithoutLeader = "read-without-leader",
        /// A write was refused for certain.
        WriteRefused = "write-refused",
        /// A read was not answered.
        ReadFailed = "read-failed",
        /// A write waited for a second, and was acknowledged.
        WriteWaited = "write-waited",
        /// A linearizable read waited for a second, and was answered.
        ReadWaited = "read-waited",
        /// A write was acknowledged that was asked for before a leader was elected and answered after.
        WriteOverLeaders = "write-over-leaders",
        /// A read of a revision was refused that had been compacted away.
        CompactedRead = "compacted-read",
        /// A client was told that there is no leader.
        ErrorNoLeader = "error-no-leader",
        /// A client was told by a member that its request timed out.
        ErrorTimedOut = "error-timed-out",
        /// A client was told that there are too many requests.
        ErrorTooMany = "error-too-many",
        /// A watcher was told how far the stream is, without an event.
        WatchProgress = "watch-progress",
        /// A revision came to a watcher in parts.
        WatchFragment = "watch-fragment",
        /// A watch ended since its beginning had been compacted away.
        WatchCompacted = "watch-compacted",
        /// A watcher saw a key go.
        WatchDelete = "watch-delete",
        /// A watcher resumed at another member.
        WatchElsewhere = "watch-elsewhere",
        /// A watch that began in the past was told what had been.
        WatchCaughtUp = "watch-caught-up",
        /// A lease was granted.
        LeaseGranted = "lease-granted",
        /// A keepalive was not answered.
        LeaseUnanswered = "lease-unanswered",
        /// A lease ran out under another leader than the one under which it was last renewed.
        LeaseOutlivedLeader = "lease-outlived-leader",
        /// A learner was in force.
        LearnerThere = "learner-there",
        /// A joint configuration was left.
        JointLeft = "joint-left",
        /// There were more voters than at first.
        VotersGrew = "voters-grew",
        /// There were fewer voters than at first.
        VotersShrank = "voters-shrank",
        /// A member that had led was removed, and heard of it.
        LeaderRemoved = "leader-removed",
        /// The members were changed a third time.
        ThirdChange = "third-change",
        /// A change of the members was refused.
        ChangeRefused = "change-refused",
        /// A link lost its priority.
        PriorityFell = "priority-fell",
        /// Members were told to at the site `append-one`.
        BuggifyAppendOne = "buggify-append-one",
        /// Members were told to at the site `chunk-small`.
        BuggifyChunkSmall = "buggify-chunk-small",
        /// Members were told to at the site `timer-soonest`.
        BuggifyTimerSoonest = "buggify-timer-soonest",
        /// Members were told to at the site `batch-one`.
        BuggifyBatchOne = "buggify-batch-one",
        /// Members were told to at the site `loop-stalls`.
        BuggifyLoopStalls = "buggify-loop-stalls",
        /// Members were told to at the site `answer-late`.
        BuggifyAnswerLate = "buggify-answer-late",
        /// Members were told to at the site `proposal-refused`.
        BuggifyProposalRefused = "buggify-proposal-refused",
        /// Members were told to at the site `forward-lost`.
        BuggifyForwardLost = "buggify-forward-lost",
        /// Members were told to at the site `read-away`.
        BuggifyReadAway = "buggify-read-away",
        /// Members were told to at the site `read-page-small`.
        BuggifyReadPageSmall = "buggify-read-page-small",
        /// Members were told to at the site `watch-window-one`.
        BuggifyWatchWindowOne = "buggify-watch-window-one",
        /// Members were told to at the site `watch-step-small`.
        BuggifyWatchStepSmall = "buggify-watch-step-small",
        /// Members were told to at the site `compaction-small`.
        BuggifyCompactionSmall = "buggify-compaction-small",
        /// Members were told to at the site `commit-each`.
        BuggifyCommitEach = "buggify-commit-each",
        /// Members were told to at the site `commit-skipped`.
        BuggifyCommitSkipped = "buggify-commit-skipped",
        /// Members were told to at the site `commit-late`.
        BuggifyCommitLate = "buggify-commit-late",
        /// Members were told to at the site `log-cut-close`.
        BuggifyLogCutClose = "buggify-log-cut-close",
        /// Members were told to at the site `log-write-one`.
        BuggifyLogWriteOne = "buggify-log-write-one",
        /// Members were told to at the site `sync-late`.
        BuggifySyncLate = "buggify-sync-late",
        /// Members were told to at the site `durable-late`.
        BuggifyDurableLate = "buggify-durable-late",
        /// Members were told to at the site `segment-rolled`.
        BuggifySegmentRolled = "buggify-segment-rolled",
        /// Members were told to at the site `lease-noted-early`.
        BuggifyLeaseNotedEarly = "buggify-lease-noted-early",
        /// Members were told to at the site `frame-one`.
        BuggifyFrameOne = "buggify-frame-one",
        /// Members were told to at the site `peer-hangs-up`.
        BuggifyPeerHangsUp = "buggify-peer-hangs-up",
        /// A v2 key ran out.
        V2Expired = "v2-expired",
        /// A comparison of v2 keys did not hold.
        V2CompareFailed = "v2-compare-failed",
        /// Somebody who waits for v2 keys was told of what had happened before it asked.
        V2ToldLater = "v2-told-later",
        /// A cluster was formed through a discovery directory.
        V2Joined = "v2-joined",
        /// Somebody waited for v2 keys at a member to which a snapshot came meanwhile.
        V2WaitedOverSnapshot = "v2-waited-over-snapshot",
        /// A machine rebooted that had been granted a slot.
        MachineRebooted = "machine-rebooted",
        /// A reboot was refused since the store would have lost its majority.
        QuorumGuarded = "quorum-guarded",
        /// A machine that held a slot went down, or its agent did, before it rebooted or before it gave the slot back.
        HolderDied = "holder-died",
        /// A process of a unit ran on a machine.
        UnitRan = "unit-ran",
        /// A unit ran on a second machine.
        UnitMoved = "unit-moved",
        /// A machine's agent noticed that it is cut off from the store.
        MachineCutOff = "machine-cut-off",
        /// A machine's agent took over processes that an earlier one had left running.
        UnitsAdopted = "units-adopted",
    }
}

named! {
    /// How a run ended.
    VerdictKind {
        /// Every oracle is content.
        Pass = "pass",
        /// An oracle saw a violation.
        Violation = "violation",
        /// An oracle could not decide, or a goal was missed.
        Inconclusive = "inconclusive",
        /// The harness failed.
        HarnessError = "harness-error",
    }
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Who leads when the fault begins; where nobody does, a drawn member.
    Leader,
    /// A drawn member that does not lead then.
    Follower,
    /// A drawn member.
    Random,
    /// All of them.
    All,
    /// A drawn majority.
    Majority,
    /// A drawn minority of as many as may fail at once.
    Minority,
    /// This one.
    Member(u64),
    /// Whom the state is about that the fault has waited for ([`During`]).
    Involved,
}

impl Target {
    /// The plain names; `member N` comes beside them.
    pub const NAMES: &'static [&'static str] =
        &["leader", "follower", "random", "all", "majority", "minority", "member N", "involved"];
}

/// A scenario file, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The file's name without folder and ending.
    pub name: String,
    /// A few words.
    pub title: String,
    /// Why it is worth running.
    pub why: String,
    /// Voters.
    pub members: u64,
    /// The storm's length.
    pub time: Duration,
    /// Each seed drops a random part of nemeses and operations.
    pub swarm: bool,
    /// In some seeds' storms links have priorities ([`crate::priorities`]).
    #[serde(default = "yes")]
    pub priorities: bool,
    /// In some seeds' storms members do what is allowed and rare ([`crate::sites`]).
    #[serde(default = "yes")]
    pub buggify: bool,
    /// What each seed draws its settings from.
    pub knobs: KnobChoices,
    /// What clients do.
    pub workloads: Vec<WorkloadSpec>,
    /// What goes wrong.
    pub nemeses: Vec<NemesisSpec>,
    /// What must hold.
    pub expect: Expect,
    /// What must be reached.
    pub goals: Vec<GoalKind>,
    /// How far damage may go.
    #[serde(default)]
    pub damage: DamageSpec,
    /// Nothing is drawn: every step and fault stands here.
    #[serde(default)]
    pub script: Option<Script>,
}

impl Scenario {
    /// Machines that may have a member on them: those of the first members, and the spare ones behind them.
    #[must_use]
    pub fn machines(&self) -> u64 {
        let spares = self.workloads.iter().filter(|workload| workload.kind == WorkloadKind::Membership);
        self.members + spares.map(|workload| workload.fleet.spares).max().unwrap_or(0)
    }
}

/// The `[damage]` table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageSpec {
    /// More copies may be damaged at one time than a cluster promises to outlive.
    pub beyond_quorum: bool,
}

/// Settings of the members; each seed draws one of each list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnobChoices {
    /// Silence before a campaign.
    pub election_timeout: Vec<Duration>,
    /// Between heartbeats.
    pub heartbeat: Vec<Duration>,
    /// Bytes in one segment of the log.
    pub segment_bytes: Vec<u64>,
    /// Applied entries between two compactions of the log.
    pub snapshot_entries: Vec<u64>,
    /// Entries kept behind a compaction for slow followers.
    pub keep_entries: Vec<u64>,
    /// Bytes in one append.
    pub append_bytes: Vec<u64>,
    /// Appends on the way to one follower.
    pub inflight: Vec<u64>,
    /// Bytes in one chunk of a snapshot.
    pub chunk_bytes: Vec<u64>,
    /// One-way latency between machines.
    pub net_latency: Vec<Duration>,
    /// Time of an ordinary sync.
    pub sync_latency: Vec<Duration>,
    /// Answers on a watch stream that may wait to be read.
    #[serde(default = "usual_watch_window")]
    pub watch_window: Vec<u64>,
    /// Between progress notifications.
    #[serde(default = "usual_watch_progress")]
    pub watch_progress: Vec<Duration>,
    /// Bytes of proposals a leader has on their way before it refuses more.
    #[serde(default = "usual_uncommitted_bytes")]
    pub uncommitted_bytes: Vec<u64>,
    /// Every change of the configuration goes through a joint one.
    #[serde(default = "usual_joint")]
    pub joint: Vec<bool>,
    /// Delays do not vary: each packet and each sync takes its time exactly.
    #[serde(default = "usual_joint")]
    pub still: Vec<bool>,
    /// After how long what is left of a lease is written into the log; zero: never.
    #[serde(default = "usual_off")]
    pub lease_checkpoint: Vec<Duration>,
    /// Between comparisons of what the members hold; zero: never.
    #[serde(default = "usual_off")]
    pub corrupt_check: Vec<Duration>,
    /// Bytes a member's store may take; 0 is no limit.
    #[serde(default = "usual_quota")]
    pub quota_bytes: Vec<u64>,
    /// Members compare what they hold with their peers before they serve.
    #[serde(default = "usual_joint")]
    pub initial_check: Vec<bool>,
    /// How long a member waits for the answer to a request before it says that there is none.
    #[serde(default = "usual_request_timeout")]
    pub request_timeout: Vec<Duration>,
}

/// Of an interval: never.
fn yes() -> bool {
    true
}

fn usual_off() -> Vec<Duration> {
    vec![Duration::ZERO]
}

fn usual_request_timeout() -> Vec<Duration> {
    vec![Duration::from_secs(7)]
}

fn usual_quota() -> Vec<u64> {
    vec![0]
}

fn usual_joint() -> Vec<bool> {
    vec![false]
}

fn usual_watch_window() -> Vec<u64> {
    vec![64]
}

fn usual_watch_progress() -> Vec<Duration> {
    vec![Duration::from_secs(600)]
}

fn usual_uncommitted_bytes() -> Vec<u64> {
    vec![1 << 30]
}

impl Default for KnobChoices {
    fn default() -> Self {
        let ms = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        Self {
            election_timeout: ms(&[500, 1000]),
            heartbeat: ms(&[100]),
            // Small, so that rotation, compaction and chunks happen within seconds of load.
            segment_bytes: vec![16 << 10, 64 << 10],
            snapshot_entries: vec![50, 200, 1000],
            keep_entries: vec![10, 50],
            append_bytes: vec![4 << 10, 64 << 10],
            inflight: vec![4, 256],
            chunk_bytes: vec![1 << 10, 16 << 10],
            net_latency: vec![Duration::from_micros(300), Duration::from_millis(1), Duration::from_millis(5)],
            sync_latency: vec![
                Duration::from_micros(500),
                Duration::from_millis(2),
                Duration::from_millis(10),
            ],
            watch_window: usual_watch_window(),
            watch_progress: usual_watch_progress(),
            uncommitted_bytes: usual_uncommitted_bytes(),
            joint: usual_joint(),
            still: usual_joint(),
            lease_checkpoint: usual_off(),
            corrupt_check: usual_off(),
            initial_check: usual_joint(),
            quota_bytes: usual_quota(),
            request_timeout: usual_request_timeout(),
        }
    }
}

/// One `[[workload]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// Which.
    pub kind: WorkloadKind,
    /// How many clients, each on a machine of its own.
    pub clients: u32,
    /// Mean time between two operations of one client.
    pub think: Duration,
    /// How many keys.
    pub keys: u32,
    /// Bytes of a value.
    pub value_bytes: u64,
    /// Weights of the operations (workload `kv`).
    pub mix: Vec<(OpKind, u32)>,
    /// Share of reads that ask the member's own state.
    pub serializable_ppm: u32,
    /// Time to live (workload `lease`).
    pub ttl: Duration,
    /// Keepalives before a lease is left alone (workload `lease`).
    pub keepalives: u32,
    /// Mean time after which a watcher drops its stream and resumes (workload `watch`).
    pub reopen: Duration,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// How far behind the newest revision a client compacts (workload `kv`).
    #[serde(default = "usual_compact_behind")]
    pub compact_behind: u32,
    /// What a watcher asks for, and how fast it reads (workload `watch`).
    #[serde(default)]
    pub watch: WatchSpec,
    /// How locks are used (workload `locks`).
    #[serde(default)]
    pub locks: LockSpec,
    /// How the cluster changes (workload `membership`).
    #[serde(default)]
    pub fleet: FleetSpec,
    /// How machines reboot (workload `reboots`).
    #[serde(default)]
    pub reboots: RebootSpec,
    /// What there is of machines and units (workload `units`).
    #[serde(default)]
    pub units: UnitsSpec,
}

/// How locks are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSpec {
    /// How many locks, or elections, there are.
    pub locks: u32,
    /// Mean time for which one is held.
    pub hold: Duration,
    /// One in so many times its client stands still while it waits or holds, for about its time to live.
    pub pause_one_in: u32,
}

/// How the cluster changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSpec {
    /// Machines beside those of the first members.
    pub spares: u64,
    /// What is done: drawn from these, or one after the other where `in_order`.
    pub changes: Vec<ChangeKind>,
    /// See `changes`.
    pub in_order: bool,
}

/// See [`WorkloadSpec::compact_behind`].
pub(super) fn usual_compact_behind() -> u32 {
    100
}

/// [`NemesisSpec::times`] where a scenario sets no limit.
pub const TIMES_WITHOUT_LIMIT: u32 = 100_000;

/// One `[[nemesis]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NemesisSpec {
    /// Which.
    pub kind: NemesisKind,
    /// Not before.
    pub start: Duration,
    /// Mean time between two beginnings.
    pub every: Duration,
    /// Mean time until it ends.
    pub lasts: Duration,
    /// At most so many times.
    pub times: u32,
    /// Never dropped by the swarm.
    pub always: bool,
    /// From its drawn beginning on it waits for this.
    #[serde(default)]
    pub during: Option<During>,
    /// Whom it hits.
    pub target: Target,
    /// What else it is told.
    #[serde(flatten)]
    pub options: FaultOptions,
    /// Largest drift, either way (clock).
    pub drift_ppm: i64,
    /// Largest jump of the wall clock, either way (clock).
    pub step: Duration,
}

/// The `[expect]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expect {
    /// Names of oracles; see [`crate::oracles::NAMES`].
    pub oracles: Vec<String>,
    /// After the storm: the bound until all is well again.
    pub heals_within: Duration,
    /// During the storm: while a majority hears each other for longer than this, it serves, and its leader stays.
    #[serde(default)]
    pub serves_within: Option<Duration>,
    /// A negative scenario expects a violation.
    pub verdict: VerdictKind,
    /// Of this oracle.
    pub oracle: Option<String>,
}
