//! From what is on disk to a running member.

use super::alone::{alone, end_of};
use super::{LogWrite, Member, MemberOptions, Output, Published, reads, snapshots};
use crate::cluster::Cluster;
use crate::observation::Observation;
use seatrial_raft::{Entry, HardState, PersistId, Raft, Restored, SnapshotMeta, SoftState};
use seatrial_store::{Backend, BackendError, HubOptions, Store};
use seatrial_types::LogIndex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Under which key the cluster's table lies in the store.
pub(crate) const CLUSTER_KEY: &[u8] = b"cluster";

/// What the write-ahead log gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The last hard state.
    pub hard_state: HardState,
    /// Where the log begins; `None` for a log that was never cut.
    pub start: Option<SnapshotMeta>,
    /// Consecutive from there on.
    pub entries: Vec<Entry>,
    /// The highest index of which this log may have lost an acknowledged entry.
    pub lost_up_to: Option<LogIndex>,
    /// What recovery found odd: a sentence, and whether something durable was lost.
    pub findings: Vec<(String, bool)>,
}

/// A member that cannot start from its disk.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The backend cannot be read.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] BackendError),
    /// The backend lacks what the log says was written to it.
    #[error(
        "the log begins behind entry {log} but the store has only applied {store}: they do not belong together\nhint: the data folder was mixed from two sources; remove it and let the member fetch everything from its peers"
    )]
    Mixed {
        /// Where the log begins.
        log: LogIndex,
        /// What the store has applied.
        store: LogIndex,
    },
    /// The folder belongs to another cluster.
    #[error(
        "the data folder belongs to cluster {found:x}, not to {want:x}\nhint: --initial-cluster or --initial-cluster-token differs from the first start; use another --data-dir for another cluster"
    )]
    OtherCluster {
        /// What is there.
        found: u64,
        /// What the flags say.
        want: u64,
    },
    /// The only member lost acknowledged entries, and nobody has them.
    #[error(
        "the write-ahead log is damaged and entries up to {lost} are lost; this is the only voter, so no peer has them\nhint: restore a snapshot of the data folder; to go on with what is left, up to entry {kept}, start once with --accept-data-loss"
    )]
    LostForGood {
        /// Entries up to here were acknowledged.
        lost: LogIndex,
        /// Entries up to here are intact.
        kept: LogIndex,
    },
    /// Only a member can go on alone.
    #[error(
        "--force-new-cluster: the data of member {0:x} do not know it as a member of its cluster: it had not caught up\nhint: force the member that has most of the data"
    )]
    NoMember(u64),
    /// The table of members in the store cannot be decoded.
    #[error("the table of members in the store cannot be decoded: {0}")]
    Cluster(String),
}

/// What an operator has decided about a member or a cluster that has lost something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rescue {
    /// Start a lone member even though acknowledged entries are gone.
    pub accept_data_loss: bool,
    /// The other members are lost for good: go on without them.
    pub force_new_cluster: bool,
}

impl<B: Backend> Member<B> {
    /// Starts a member from what its disk holds.
    ///
    /// `bootstrap` is the cluster that the flags describe; it counts only for an empty disk.
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn boot(
        options: MemberOptions,
        bootstrap: Cluster,
        backend: B,
        log: Durable,
        rescue: Rescue,
    ) -> Result<Self, BootError> {
        let hub = HubOptions { credit: options.watch_window.max(1) as u32, ..HubOptions::default() };
        let store = Store::open(backend, hub)?;
        let cluster = match store.meta(CLUSTER_KEY)? {
            None => bootstrap,
            Some(bytes) => {
                let kept: Cluster =
                    postcard::from_bytes(&bytes).map_err(|error| BootError::Cluster(error.to_string()))?;
                if kept.id != bootstrap.id {
                    return Err(BootError::OtherCluster { found: kept.id.0, want: bootstrap.id.0 });
                }
                kept
            }
        };
        let alarms = match store.meta(super::alarms::ALARMS_KEY)? {
            None => super::alarms::Alarms::default(),
            Some(bytes) => {
                postcard::from_bytes(&bytes).map_err(|error| BootError::Cluster(error.to_string()))?
            }
        };
        let (mut restored, restart) = restore(&store, &cluster, &log)?;
        let mut forced = None;
        if rescue.force_new_cluster {
            if !cluster.members.contains_key(&options.raft.id) {
                return Err(BootError::NoMember(options.raft.id.0));
            }
            forced = alone(options.raft.id, &cluster, &restored);
            if let Some(alone) = &forced {
                restored.hard_state = alone.hard_state;
                restored.entries.retain(|entry| entry.index < alone.entry.index);
                restored.entries.push(alone.entry.clone());
            }
        }
        let accept_loss = rescue.accept_data_loss || rescue.force_new_cluster;
        if let Some(lost) = restored.lost_up_to
            && cluster.config.voters.len() <= 1
            && cluster.config.is_voter(options.raft.id)
            && !accept_loss
        {
            let kept = end_of(&restored);
            return Err(BootError::LostForGood { lost, kept });
        }
        let forgiven = accept_loss && restored.lost_up_to.is_some();
        let restored = if forgiven { Restored { lost_up_to: None, ..restored } } else { restored };
        let started = Observation::Started {
            term: restored.hard_state.term,
            applied: store.applied(),
            last_index: end_of(&restored),
        };
        let term = restored.hard_state.term;
        let begin = (restored.snapshot.index, restored.snapshot.term);
        let held = Observation::Log { begin: Some(begin), entries: restored.entries.clone() };

        let mut member = Self {
            raft: Raft::new(options.raft.clone(), restored),
            checkpointed: store.applied(),
            sealed: VecDeque::new(),
            store,
            cluster,
            alarms,
            quota_alarm_due: Duration::ZERO,
            now: Duration::ZERO,
            soft: SoftState {
                leader: seatrial_types::MemberId::NONE,
                term,
                role: seatrial_raft::Role::Follower,
            },
            outputs: Vec::new(),
            held: VecDeque::new(),
            persist_issued: PersistId(0),
            persist_durable: PersistId(0),
            durable_marks: VecDeque::new(),
            waiting: BTreeMap::new(),
            proposals: Vec::new(),
            reads: reads::Reads::default(),
            forwards: BTreeMap::new(),
            heard: BTreeMap::new(),
            leaderless: BTreeSet::new(),
            next_forward: 0,
            next_lease: 0,
            revoking: BTreeMap::new(),
            leases_led: false,
            lease_timer: None,
            held_leases: super::lease_checkpoints::Held::default(),
            hash_check: super::hash_check::HashCheck::default(),
            v2: super::v2::Clock::default(),
            standing: super::standing::Standing::default(),
            applied_unsealed: 0,
            checkpoint_armed: false,
            background_armed: false,
            retry_armed: false,
            request_timer: None,
            physical: Vec::new(),
            defrag: super::maintenance::Defrag::default(),
            snapshots: snapshots::Snapshots::default(),
            client_snapshots: super::client_snapshots::ClientSnapshots::default(),
            history: super::auto_compact::History::default(),
            published: Published::No,
            tokens: super::auth::Tokens::default(),
            configs_told: Vec::new(),
            repairing: false,
            stopped: false,
            planted: super::planted::State::default(),
            tally: super::figures::Tally::default(),
            options,
        };
        member.repairing = member.raft.is_repairing();
        for (text, damage) in log.findings {
            member.observe(Observation::Finding { text, damage });
        }
        member.observe(started);
        member.observe(held);
        member.tell_configs();
        if let Some(meta) = restart {
            member.output(Output::Log(LogWrite::Restart(meta)));
        }
        if let Some(alone) = forced {
            member.observe(Observation::Finding { text: alone.text, damage: true });
            member.output(Output::Log(LogWrite::Alone(alone.entry, alone.hard_state)));
        } else if rescue.force_new_cluster {
            let text =
                "--force-new-cluster: this member is alone already; start it without the flag".to_owned();
            member.observe(Observation::Finding { text, damage: false });
        }
        if forgiven {
            member.output(Output::Log(LogWrite::ForgetLoss));
        }
        member.tell_peers();
        member.end_if_removed();
        member.arm_auto_compaction();
        member.arm_hash_check();
        let progress = member.options.watch_progress_interval;
        member.output(Output::SetTimer { timer: super::Timer::WatchProgress, min: progress, max: progress });
        Ok(member)
    }

    /// Reads the cluster's table and the alarms anew, after a snapshot has replaced the store.
    pub(super) fn load_cluster(&mut self) {
        match self.store.meta(CLUSTER_KEY) {
            Ok(Some(bytes)) => match postcard::from_bytes(&bytes) {
                Ok(cluster) => self.cluster = cluster,
                Err(error) => {
                    self.fatal(format!("the snapshot's table of members cannot be decoded: {error}"))
                }
            },
            // Nobody has told a name yet: the members are those of the bootstrap, here as there.
            Ok(None) => {}
            Err(error) => return self.fatal(format!("the store cannot be read: {error}")),
        }
        match self.store.meta(super::alarms::ALARMS_KEY) {
            Ok(Some(bytes)) => match postcard::from_bytes(&bytes) {
                Ok(alarms) => self.alarms = alarms,
                Err(error) => self.fatal(format!("the snapshot's alarms cannot be decoded: {error}")),
            },
            Ok(None) => self.alarms.clear(),
            Err(error) => self.fatal(format!("the store cannot be read: {error}")),
        }
    }
}

/// Joins log and store. They are written apart, so a crash may leave either ahead of the other.
fn restore<B: Backend>(
    store: &Store<B>,
    cluster: &Cluster,
    log: &Durable,
) -> Result<(Restored, Option<SnapshotMeta>), BootError> {
    let applied = store.applied();
    let start = log.start.clone().unwrap_or_else(|| SnapshotMeta {
        index: LogIndex::ZERO,
        config: cluster.config.clone(),
        ..SnapshotMeta::default()
    });
    if start.index > applied {
        return Err(BootError::Mixed { log: start.index, store: applied });
    }
    let last = log.entries.last().map_or(start.index, |entry| entry.index);
    let term_in_log = if applied == start.index {
        Some(start.term)
    } else {
        log.entries.iter().find(|entry| entry.index == applied).map(|entry| entry.term)
    };
    // What is applied is committed: where the log ends before it or disagrees with it, the store is right
    // and the log begins anew behind it. (The backend may become durable before the log's own write, and a
    // snapshot is installed in the backend first.)
    let store_ahead = applied > last || term_in_log != Some(store.applied_term());
    let (snapshot, entries) = if store_ahead {
        let meta =
            SnapshotMeta { index: applied, term: store.applied_term(), config: cluster.config.clone() };
        (meta, Vec::new())
    } else {
        (start, log.entries.clone())
    };
    let lost_up_to = log.lost_up_to.filter(|lost| *lost > applied);
    // The first thing in a log is where it begins, with the configuration there: later changes of it are in
    // the log, and after a restart the table of members is already ahead of them.
    let restart = (store_ahead || log.start.is_none()).then(|| snapshot.clone());
    Ok((Restored { hard_state: log.hard_state, snapshot, entries, applied, lost_up_to }, restart))
}
