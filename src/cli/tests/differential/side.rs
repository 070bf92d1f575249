//! One server as a client sees it. Answers become text without what must differ.

use crate::generate::{STREAMS, Step};
use crate::support::server::Servers;
use crate::watches::WatchStream;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use seatrial_proto::etcdserverpb as pb;
use seatrial_wire::{Channel, ChannelOptions};
use seatrial_world_real::RealWorld;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;
use tonic::Status;

/// Nothing here takes long; a server that needs more than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Side {
    channel: Channel<RealWorld>,
    kv: KvClient<Channel<RealWorld>>,
    lease: LeaseClient<Channel<RealWorld>>,
    maintenance: MaintenanceClient<Channel<RealWorld>>,
    pub(crate) streams: Vec<WatchStream>,
}

/// What a server said, without ids, and at which revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) revision: Option<i64>,
}

impl Answer {
    fn error(text: String) -> Self {
        Self { text, revision: None }
    }
}

/// Ids and terms are each server's own.
pub(crate) fn plain(header: &mut Option<pb::ResponseHeader>) -> Option<i64> {
    let header = header.as_mut()?;
    (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    Some(header.revision)
}

async fn patiently<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Answer> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(Answer::error(format!("{:?}: {}", status.code(), status.message()))),
        Err(_) => Err(Answer::error(format!("no answer in {} s", PATIENCE.as_secs()))),
    }
}

fn answer<T: Debug>(
    called: Result<tonic::Response<T>, Answer>,
    header: impl FnOnce(&mut T) -> &mut Option<pb::ResponseHeader>,
) -> Answer {
    match called {
        Ok(answer) => {
            let mut message = answer.into_inner();
            let revision = plain(header(&mut message));
            Answer { text: format!("{message:?}"), revision }
        }
        Err(error) => error,
    }
}

/// The answers inside a transaction have headers of their own.
fn plain_ops(ops: &mut [pb::ResponseOp]) {
    use pb::response_op::Response;
    for op in ops {
        match &mut op.response {
            Some(Response::ResponseRange(r)) => _ = plain(&mut r.header),
            Some(Response::ResponsePut(r)) => _ = plain(&mut r.header),
            Some(Response::ResponseDeleteRange(r)) => _ = plain(&mut r.header),
            Some(Response::ResponseTxn(r)) => {
                plain(&mut r.header);
                plain_ops(&mut r.responses);
            }
            None => {}
        }
    }
}

impl Side {
    pub(crate) async fn connect(servers: &Servers) -> Self {
        let runtime = tokio::runtime::Handle::current();
        // etcd closes connections that ping more often than every 5 s.
        let options = ChannelOptions { keepalive_interval: None, ..ChannelOptions::default() };
        let channel = Channel::new(RealWorld::on(runtime), &servers.clients[0], options);
        let size = 64 << 20;
        let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(size);
        // Until it is up.
        let begun = std::time::Instant::now();
        loop {
            let probe = pb::RangeRequest { key: "k".into(), ..pb::RangeRequest::default() };
            match tokio::time::timeout(Duration::from_secs(2), kv.range(probe)).await {
                Ok(Ok(_)) => break,
                failed => {
                    assert!(
                        begun.elapsed() < Duration::from_secs(30),
                        "the server does not come up: {failed:?}"
                    );
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            }
        }
        let mut side = Self {
            kv,
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            channel,
            streams: Vec::new(),
        };
        side.open_streams();
        side
    }

    fn open_streams(&mut self) {
        self.streams = (0..STREAMS).map(|_| WatchStream::open(self.channel.clone())).collect();
    }

    /// Nothing is left but revisions: no key, no lease, no history, no watch. The revision then.
    pub(crate) async fn wipe(&mut self) -> Result<i64, Answer> {
        self.open_streams();
        let everything = Bytes::from_static(b"\0");
        let all = pb::DeleteRangeRequest {
            key: everything.clone(),
            range_end: everything,
            ..pb::DeleteRangeRequest::default()
        };
        patiently(self.kv.delete_range(all)).await?;
        let leases = patiently(self.lease.lease_leases(pb::LeaseLeasesRequest {})).await?.into_inner();
        for lease in leases.leases {
            patiently(self.lease.lease_revoke(pb::LeaseRevokeRequest { id: lease.id })).await?;
        }
        let probe = pb::RangeRequest { key: "k".into(), ..pb::RangeRequest::default() };
        let revision =
            patiently(self.kv.range(probe)).await?.into_inner().header.unwrap_or_default().revision;
        let compaction = pb::CompactionRequest { revision, physical: true };
        // Refused where the last episode ended with a compaction of its own.
        let _ = patiently(self.kv.compact(compaction)).await;
        Ok(revision)
    }

    /// Carries out what is no watch.
    pub(crate) async fn call(&mut self, step: Step) -> Answer {
        match step {
            Step::Range(r) => answer(patiently(self.kv.range(r)).await, |m| &mut m.header),
            Step::Put(r) => answer(patiently(self.kv.put(r)).await, |m| &mut m.header),
            Step::Delete(r) => answer(patiently(self.kv.delete_range(r)).await, |m| &mut m.header),
            Step::Txn(r) => answer(patiently(self.kv.txn(r)).await, |m| {
                plain_ops(&mut m.responses);
                &mut m.header
            }),
            Step::Compact(r) => answer(patiently(self.kv.compact(r)).await, |m| &mut m.header),
            Step::Grant(r) => answer(patiently(self.lease.lease_grant(r)).await, |m| &mut m.header),
            Step::GrantAny(r) => self.grant_any(r).await,
            Step::Revoke(r) => answer(patiently(self.lease.lease_revoke(r)).await, |m| &mut m.header),
            Step::KeepAlive(r) => {
                let mut lease = self.lease.clone();
                let call = async move {
                    let mut answers = lease.lease_keep_alive(futures::stream::iter([r])).await?.into_inner();
                    let first = answers.message().await?;
                    first.map(tonic::Response::new).ok_or_else(|| Status::aborted("the stream ends"))
                };
                answer(patiently(call).await, |m| &mut m.header)
            }
            Step::TimeToLive(r) => answer(patiently(self.lease.lease_time_to_live(r)).await, |m| {
                // The seconds that went by are not the same on both sides.
                m.ttl = if m.ttl > 0 { m.granted_ttl - (m.granted_ttl - m.ttl).max(100) } else { m.ttl };
                // In no order there.
                m.keys.sort();
                &mut m.header
            }),
            Step::Leases => {
                answer(patiently(self.lease.lease_leases(pb::LeaseLeasesRequest {})).await, |m| {
                    // By expiry there.
                    m.leases.sort_by_key(|lease| lease.id);
                    &mut m.header
                })
            }
            Step::HashKv(r) => answer(patiently(self.maintenance.hash_kv(r)).await, |m| {
                m.hash = 0;
                // New in 3.6.
                m.hash_revision = 0;
                &mut m.header
            }),
            Step::Watch(..) | Step::WatchCancel(..) | Step::WatchProgress(_) | Step::WatchCheck => {
                unreachable!("watches are not calls")
            }
        }
    }

    async fn grant_any(&mut self, request: pb::LeaseGrantRequest) -> Answer {
        let mut granted = match patiently(self.lease.lease_grant(request)).await {
            Ok(granted) => granted.into_inner(),
            Err(error) => return error,
        };
        let id = std::mem::take(&mut granted.id);
        let revision = plain(&mut granted.header);
        let revoked = patiently(self.lease.lease_revoke(pb::LeaseRevokeRequest { id })).await;
        let revoked = answer(revoked, |m| &mut m.header);
        Answer {
            text: format!("id {}, {granted:?}, {}", if id > 0 { "chosen" } else { "odd" }, revoked.text),
            revision,
        }
    }
}

use bytes::Bytes;
