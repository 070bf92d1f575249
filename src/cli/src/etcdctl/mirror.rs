//! make-mirror: copies keys into another cluster, and goes on with their changes.

use super::args::{text, value, words};
use super::{Fail, Session, code, error_text};
use bytes::Bytes;
use clap::ArgMatches;
use seatrial_client::{ClientError, Store, Watching};
use seatrial_types::request::{DeleteRangeRequest, PutRequest, RangeRequest, TxnOp, TxnRequest};
use seatrial_types::watch::{WatchCreate, WatchResponse};
use seatrial_types::{Error, EventKind, KeyRange, Revision};
use seatrial_wire::TlsFiles;
use seatrial_world::World;
use std::cell::Cell;
use std::time::Duration;

/// Between two words about how far it has come.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// Keys read at once.
const BATCH: i64 = 1000;
/// Operations in one transaction; what one revision changed beyond it arrives in more than one.
const OPS_MAX: usize = 128;

fn failed(error: ClientError) -> Fail {
    Fail::new(code::ERROR, error_text(&error.error))
}

/// What is copied, from where to where.
struct Mirror<S> {
    source: S,
    destination: S,
    prefix: Bytes,
    destination_prefix: Vec<u8>,
    /// Changes carried over so far.
    total: Cell<u64>,
}

impl<S: Store> Mirror<S> {
    /// Where a key with the prefix goes.
    fn renamed(&self, key: &[u8]) -> Bytes {
        let rest = key.strip_prefix(&self.prefix[..]).unwrap_or(key);
        [&self.destination_prefix, rest].concat().into()
    }

    fn count(&self) {
        self.total.set(self.total.get() + 1);
    }

    /// Copies all there is, then every change, until one of both fails.
    async fn run(&self) -> Result<(), Fail> {
        let revision = self.base().await?;
        let mut watch = self.source.watch(WatchCreate {
            range: KeyRange::prefix(self.prefix.clone()),
            start_revision: revision.next(),
            ..WatchCreate::default()
        });
        while let Some(answer) = watch.next().await {
            let answer = answer.map_err(failed)?;
            if answer.compact_revision.0 != 0 {
                return Err(failed(ClientError::certain(Error::Compacted)));
            }
            self.follow(&answer).await?;
        }
        Err(Fail::new(code::ERROR, "the watch has ended"))
    }

    /// Copies all there is at one revision, and says at which.
    async fn base(&self) -> Result<Revision, Fail> {
        let KeyRange { mut key, end } = KeyRange::prefix(self.prefix.clone());
        let mut revision = Revision(0);
        loop {
            let range = KeyRange { key: key.clone(), end: end.clone() };
            let read = RangeRequest { range, limit: BATCH, revision, ..RangeRequest::default() };
            let answer = self.source.range(read).await.map_err(failed)?;
            if revision.0 == 0 {
                revision = answer.header.revision;
            }
            for kv in &answer.kvs {
                let put = PutRequest {
                    key: self.renamed(&kv.key),
                    value: kv.value.clone(),
                    ..PutRequest::default()
                };
                self.destination.put(put).await.map_err(failed)?;
                self.count();
            }
            match answer.kvs.last() {
                Some(last) if answer.more => key = [&last.key[..], b"\0"].concat().into(),
                _ => return Ok(revision),
            }
        }
    }

    /// Makes the changes of each revision in one transaction.
    async fn follow(&self, answer: &WatchResponse) -> Result<(), Fail> {
        let mut operations = Vec::new();
        let mut at = Revision(0);
        for event in &answer.events {
            if event.kv.mod_revision != at || operations.len() == OPS_MAX {
                self.commit(std::mem::take(&mut operations)).await?;
            }
            at = event.kv.mod_revision;
            let key = self.renamed(&event.kv.key);
            operations.push(match event.kind {
                EventKind::Put => {
                    let value = event.kv.value.clone();
                    TxnOp::Put(PutRequest { key, value, ..PutRequest::default() })
                }
                EventKind::Delete => {
                    TxnOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false })
                }
            });
            self.count();
        }
        self.commit(operations).await
    }

    async fn commit(&self, success: Vec<TxnOp>) -> Result<(), Fail> {
        if !success.is_empty() {
            let request = TxnRequest { success, ..TxnRequest::default() };
            self.destination.txn(request).await.map_err(failed)?;
        }
        Ok(())
    }
}

impl Session<'_> {
    pub(super) async fn make_mirror(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        let words = words(matches);
        let [destination] = words.as_slice() else {
            return Err(Fail::args("make-mirror takes one destination argument"));
        };
        let (prefix, no_prefix) = (value(matches, "prefix"), matches.get_flag("no-dest-prefix"));
        let destination_prefix = match (value(matches, "dest-prefix"), no_prefix) {
            ("", true) => "",
            ("", false) => prefix,
            (given, false) => given,
            (_, true) => {
                return Err(Fail::args(
                    "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
                ));
            }
        };
        let tls = TlsFiles {
            cert: value(matches, "dest-cert").to_owned(),
            key: value(matches, "dest-key").to_owned(),
            trusted_ca: value(matches, "dest-cacert").to_owned(),
            ..TlsFiles::default()
        };
        let mirror = Mirror {
            source: self.client()?,
            // Whoever we are to the source, the destination is told nothing of it.
            destination: self.client_with(&[text(destination)], tls, None)?,
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            destination_prefix: destination_prefix.as_bytes().to_vec(),
            total: Cell::new(0),
        };
        let world = self.world.clone();
        let mut running = std::pin::pin!(mirror.run());
        loop {
            tokio::select! {
                biased;
                ended = running.as_mut() => return ended,
                () = world.sleep(REPORT_EVERY) => self.out(format!("{}\n", mirror.total.get()).as_bytes())?,
            }
        }
    }
}
