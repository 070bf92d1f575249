//! A member's disk: opening what is there, and the tasks that write the log and the store's file.

use crate::handle::Call;
use crate::member::{Durable, Input, LogWrite};
use crate::meters::Meters;
use seatrial_raft::{Config, Entry, HardState, Payload, PersistId, SnapshotMeta};
use seatrial_store::wal::{self, Record, Recovered, SnapshotMark};
use seatrial_store::{
    BackendError, Batch, Commit, RedbBackend, RedbCommitter, RedbOptions, Wal, WalError, WalOptions,
};
use seatrial_types::buggify::{Site, amount, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::{ClusterId, MemberId};
use seatrial_world::{Disk, DiskWork, World};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// A disk from which no member can start.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The write-ahead log.
    #[error("the write-ahead log cannot be opened: {0}")]
    Wal(#[from] WalError),
    /// The store's file.
    #[error("the store cannot be opened: {0}")]
    Backend(#[from] BackendError),
    /// A record of the log passes its checksum but makes no sense.
    #[error(
        "the write-ahead log holds {what} that cannot be decoded: {error}\nhint: run the version that wrote it"
    )]
    Decode {
        /// Which record.
        what: String,
        /// Why.
        error: postcard::Error,
    },
}

/// What was found on the disk.
pub(crate) struct Opened<D: Disk> {
    pub(crate) wal: Wal<D>,
    pub(crate) durable: Durable,
    pub(crate) backend: RedbBackend<D>,
    pub(crate) committer: RedbCommitter<D>,
}

/// The write-ahead log's settings for a member.
#[must_use]
pub fn wal_options(cluster: ClusterId, member: MemberId, segment_bytes: u64) -> WalOptions {
    WalOptions { segment_bytes, ..WalOptions::new(cluster, member) }
}

/// Opens log and store. Blocking.
pub(crate) fn open<D: Disk>(disk: &D, wal: WalOptions, redb: RedbOptions) -> Result<Opened<D>, DiskError> {
    let (wal, recovered) = Wal::open(disk.clone(), wal)?;
    let durable = decode(recovered)?;
    let (backend, committer) = RedbBackend::open(disk.clone(), redb)?;
    Ok(Opened { wal, durable, backend, committer })
}

fn decode(recovered: Recovered) -> Result<Durable, DiskError> {
    let mut findings: Vec<(String, bool)> =
        recovered.report.iter().map(|finding| (finding.to_string(), finding.is_damage())).collect();
    // The start that found the damage may not have come so far as to tell of it.
    if let Some(lost) = recovered.lost_up_to
        && !findings.iter().any(|(_, damage)| *damage)
    {
        let text = format!(
            "an earlier start found damage in the log: entries up to {lost} may be missing until the peers have given them back; until then this member neither votes nor campaigns"
        );
        findings.push((text, true));
    }
    let start = match recovered.snapshot {
        None => None,
        Some(mark) => {
            let config: Config = postcard::from_bytes(&mark.config).map_err(|error| DiskError::Decode {
                what: format!("a mark at entry {}", mark.index),
                error,
            })?;
            Some(SnapshotMeta { index: mark.index, term: mark.term, config })
        }
    };
    let begin = start.as_ref().map_or(0, |start| start.index.0);
    let mut entries = Vec::with_capacity(recovered.entries.len());
    for entry in recovered.entries {
        // Whole segments are released, so entries below the mark may still lie there.
        if entry.index.0 <= begin {
            continue;
        }
        let payload: Payload = postcard::from_bytes(&entry.payload)
            .map_err(|error| DiskError::Decode { what: format!("entry {}", entry.index), error })?;
        entries.push(Entry { term: entry.term, index: entry.index, payload });
    }
    let wal::HardState { term, vote, commit } = recovered.hard_state;
    Ok(Durable {
        hard_state: HardState { term, vote, commit },
        start,
        entries,
        lost_up_to: recovered.lost_up_to,
        findings,
    })
}

/// The records of one write, appended to `records`.
fn encode(write: &LogWrite, records: &mut Vec<Record>) {
    match write {
        LogWrite::Append(persist) => {
            for entry in &persist.entries {
                let payload = postcard::to_extend(&entry.payload, Vec::new()).expect("entries always encode");
                records.push(Record::Entry { index: entry.index, term: entry.term, payload: payload.into() });
            }
            if let Some(HardState { term, vote, commit }) = persist.hard_state {
                records.push(Record::HardState(wal::HardState { term, vote, commit }));
            }
        }
        LogWrite::Release(meta) | LogWrite::Restart(meta) => {
            let config = postcard::to_extend(&meta.config, Vec::new()).expect("configurations always encode");
            records.push(Record::SnapshotMark(SnapshotMark {
                index: meta.index,
                term: meta.term,
                config: config.into(),
            }));
        }
        LogWrite::Alone(entry, hard_state) => {
            let payload = postcard::to_extend(&entry.payload, Vec::new()).expect("entries always encode");
            records.push(Record::Entry { index: entry.index, term: entry.term, payload: payload.into() });
            let HardState { term, vote, commit } = *hard_state;
            records.push(Record::HardState(wal::HardState { term, vote, commit }));
        }
        LogWrite::ForgetLoss => records.push(Record::LostUpTo(seatrial_types::LogIndex::ZERO)),
    }
}

/// Writes the log: everything that queued behind the last write becomes one write and one sync.
pub(crate) async fn write_log<W: World>(
    world: W,
    mut log: Wal<W::Disk>,
    mut work: mpsc::UnboundedReceiver<LogWrite>,
    inbox: mpsc::UnboundedSender<Call>,
    meters: Arc<Meters>,
) {
    while let Some(first) = work.recv().await {
        let mut records = Vec::new();
        let mut persisted: Option<PersistId> = None;
        let mut release = None;
        let mut next = Some(first);
        while let Some(write) = next {
            encode(&write, &mut records);
            match &write {
                LogWrite::Append(persist) => persisted = Some(persist.id),
                LogWrite::Release(meta) | LogWrite::Restart(meta) => release = Some(meta.index),
                LogWrite::ForgetLoss | LogWrite::Alone(..) => {}
            }
            next = if hits(Site::LogWriteOne) { None } else { work.try_recv().ok() };
        }
        let bytes = records.iter().map(Record::written_bytes).sum();
        meters.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        let (back, appended) = world
            .work(DiskWork::Write, move || {
                let appended = log.append(&records);
                (log, appended)
            })
            .await;
        log = back;
        let is_full =
            |error: &WalError| matches!(error, WalError::Io { kind: std::io::ErrorKind::StorageFull, .. });
        let result = match appended {
            Err(error) if is_full(&error) && is_planted(Planted::D20) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                if let Some(late) = amount(Site::SyncLate, 20) {
                    world.sleep(Duration::from_millis(late)).await;
                }
                let began = world.now();
                let (back, synced) = world
                    .work(DiskWork::Sync, move || {
                        let synced = log.sync();
                        (log, synced)
                    })
                    .await;
                meters.log_sync.observe(world.now().saturating_sub(began));
                log = back;
                synced
            }
        };
        // A failed sync is never tried again: the kernel may have dropped the pages, and a second sync would
        // report success for bytes that are nowhere (fsyncgate).
        if let Err(error) = result {
            let _ = inbox.send(Call::Failed(format!("the write-ahead log cannot be written: {error}")));
            return;
        }
        if let Some(late) = amount(Site::DurableLate, 20) {
            world.sleep(Duration::from_millis(late)).await;
        }
        if let Some(id) = persisted
            && inbox.send(Call::Input(Input::Persisted(id))).is_err()
        {
            return;
        }
        if let Some(index) = release {
            let (back, released) = world
                .work(DiskWork::Sync, move || {
                    let released = log.release(index);
                    (log, released)
                })
                .await;
            log = back;
            if let Err(error) = released {
                let _ = inbox.send(Call::Failed(format!("the write-ahead log cannot be cut: {error}")));
                return;
            }
        }
    }
}

/// What is done to the backend's file, in order.
pub(crate) enum BackendWork {
    Batch(Batch),
    Rewrite,
}

/// Writes batches into the backend, one transaction each, in order.
pub(crate) async fn write_backend<W: World>(
    world: W,
    mut committer: RedbCommitter<W::Disk>,
    mut work: mpsc::UnboundedReceiver<BackendWork>,
    inbox: mpsc::UnboundedSender<Call>,
    meters: Arc<Meters>,
) {
    while let Some(next) = work.recv().await {
        let batch = match next {
            BackendWork::Batch(batch) => batch,
            BackendWork::Rewrite => {
                let (back, result) = world
                    .work(DiskWork::Sync, move || {
                        let result = committer.rewrite();
                        (committer, result)
                    })
                    .await;
                committer = back;
                let call = match result {
                    Ok(()) => Call::Input(Input::Defragmented(Ok(()))),
                    Err(error) if error.is_disk_full() => Call::Input(Input::Defragmented(Err(format!(
                        "the store's file cannot be written anew, there is no room for both on the disk: {error}"
                    )))),
                    Err(error) => Call::Failed(format!("the store cannot be written anew: {error}")),
                };
                let failed = matches!(call, Call::Failed(_));
                if inbox.send(call).is_err() || failed {
                    return;
                }
                continue;
            }
        };
        if is_planted(Planted::D07) && batch.replace.is_none() {
            let state = batch.clone();
            let (back, _) = world
                .work(DiskWork::Sync, move || {
                    let result = committer.commit_state_ahead(&state);
                    (committer, result)
                })
                .await;
            committer = back;
        }
        if let Some(late) = amount(Site::CommitLate, 100) {
            world.sleep(Duration::from_millis(late)).await;
        }
        let began = world.now();
        let (back, result) = world
            .work(DiskWork::Sync, move || {
                let result = committer.commit(&batch);
                (committer, result)
            })
            .await;
        meters.backend_commit.observe(world.now().saturating_sub(began));
        committer = back;
        let call = match result {
            Ok(id) => Call::Input(Input::Committed(id)),
            Err(error) => Call::Failed(format!("the store cannot be written: {error}")),
        };
        let failed = matches!(call, Call::Failed(_));
        if inbox.send(call).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_store::wal::Finding;
    use seatrial_types::LogIndex;

    fn told(report: Vec<Finding>, lost_up_to: Option<LogIndex>) -> Vec<(String, bool)> {
        let recovered = Recovered {
            hard_state: wal::HardState::default(),
            snapshot: None,
            entries: Vec::new(),
            report,
            lost_up_to,
        };
        decode(recovered).unwrap().findings
    }

    /// The start that found the damage may have failed for another reason, and told nobody.
    #[test]
    fn each_start_tells_what_the_log_has_lost_and_not_got_back() {
        let torn = || Finding::TornTail { segment: "a.wal".to_owned(), offset: 512, bytes: 9 };
        assert_eq!(told(Vec::new(), None), Vec::new());
        assert_eq!(told(vec![torn()], None).len(), 1, "a torn end is no loss");
        let later = told(vec![torn()], Some(LogIndex(7)));
        assert_eq!(later.len(), 2, "{later:?}");
        assert!(later[1].1 && later[1].0.contains("entries up to 7"), "{later:?}");
        let header = Finding::Damage {
            segment: "a.wal".to_owned(),
            offset: 512,
            last_intact: LogIndex(3),
            lost_up_to: LogIndex(7),
            what: "x".to_owned(),
        };
        assert_eq!(told(vec![header], Some(LogIndex(7))).len(), 1, "it is told once");
    }
}
