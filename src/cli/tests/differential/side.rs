//! One server as a client sees it. Answers become text without what must differ.

use crate::generate::{STREAMS, Step};
use crate::support::server::Servers;
use crate::watches::WatchStream;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use seatrial_proto::etcdserverpb as pb;
use seatrial_proto::v3electionpb as el;
use seatrial_proto::v3electionpb::election_client::ElectionClient;
use seatrial_proto::v3lockpb::lock_client::LockClient;
use seatrial_wire::{Channel, ChannelOptions};
use seatrial_world_real::RealWorld;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;
use tonic::Status;

pub(crate) struct Side {
    address: String,
    channel: Channel<RealWorld>,
    kv: KvClient<Channel<RealWorld>>,
    lease: LeaseClient<Channel<RealWorld>>,
    maintenance: MaintenanceClient<Channel<RealWorld>>,
    cluster: ClusterClient<Channel<RealWorld>>,
    locks: LockClient<Channel<RealWorld>>,
    elections: ElectionClient<Channel<RealWorld>>,
    pub(crate) streams: Vec<WatchStream>,
}

/// What a server said, without ids, and at which revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) revision: Option<i64>,
}

/// Who is first in a queue.
enum Place {
    Free,
    Ours,
    Taken,
}

impl Answer {
    /// About members nothing is said of the store.
    fn without_revision(self) -> Self {
        Self { revision: None, ..self }
    }

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
    match tokio::time::timeout(crate::DELIVERY, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(Answer::error(format!("{:?}: {}", status.code(), status.message()))),
        Err(_) => Err(Answer::error(format!("no answer in {} s", crate::DELIVERY.as_secs()))),
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

fn members(called: Result<tonic::Response<pb::MemberListResponse>, Answer>) -> Answer {
    let all = answer(called, |m| {
        for member in &mut m.members {
            assert!(member.id != 0 && !member.peer_ur_ls.is_empty() && !member.client_ur_ls.is_empty());
            member.id = 0;
            (member.peer_ur_ls, member.client_ur_ls) = (Vec::new(), Vec::new());
        }
        &mut m.header
    });
    all.without_revision()
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
    /// What the server counts of watches: slow ones are still behind.
    pub(crate) async fn watch_metrics(&self) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let asked = async {
            let mut stream = tokio::net::TcpStream::connect(&self.address).await?;
            let request =
                format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
            stream.write_all(request.as_bytes()).await?;
            let mut page = String::new();
            stream.read_to_string(&mut page).await?;
            std::io::Result::Ok(page)
        };
        match asked.await {
            Ok(page) => page
                .lines()
                .filter(|line| {
                    line.starts_with("etcd_debugging_mvcc")
                        && (line.contains("watch") || line.contains("event"))
                })
                .map(|line| format!("\n           {line}"))
                .collect(),
            Err(error) => format!("\n           no metrics: {error}"),
        }
    }

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
            address: servers.clients[0].clone(),
            kv,
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            locks: LockClient::new(channel.clone()),
            elections: ElectionClient::new(channel.clone()),
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
                // New in 3.6.
                m.hash_revision = 0;
                &mut m.header
            }),
            Step::Lock(r) => match self.place(&r.name, r.lease).await {
                Ok(Place::Taken) => Answer::error("somebody else holds it".to_owned()),
                Ok(_) => answer(patiently(self.locks.lock(r)).await, |m| &mut m.header),
                Err(error) => error,
            },
            Step::Unlock(r) => answer(patiently(self.locks.unlock(r)).await, |m| &mut m.header),
            Step::Campaign { name, lease, value } => match self.place(name.as_bytes(), lease).await {
                Ok(Place::Taken) => Answer::error("somebody else leads".to_owned()),
                Ok(_) => {
                    let ask = el::CampaignRequest { name: name.into(), lease, value };
                    answer(patiently(self.elections.campaign(ask)).await, |m| &mut m.header)
                }
                Err(error) => error,
            },
            Step::Proclaim { name, value } => {
                let ask = el::ProclaimRequest { leader: self.leader_key(name).await, value };
                answer(patiently(self.elections.proclaim(ask)).await, |m| &mut m.header)
            }
            Step::Resign { name } => {
                let ask = el::ResignRequest { leader: self.leader_key(name).await };
                answer(patiently(self.elections.resign(ask)).await, |m| &mut m.header)
            }
            Step::Leader { name } => {
                let ask = el::LeaderRequest { name: name.into() };
                answer(patiently(self.elections.leader(ask)).await, |m| &mut m.header)
            }
            Step::Status => answer(patiently(self.maintenance.status(pb::StatusRequest {})).await, |m| {
                assert!(
                    m.leader != 0 && m.db_size >= m.db_size_in_use && m.raft_index >= m.raft_applied_index
                );
                // Each server's own, and what later versions tell besides.
                let kept = (m.header.take(), std::mem::take(&mut m.errors), m.is_learner);
                *m = pb::StatusResponse {
                    header: kept.0,
                    errors: kept.1,
                    is_learner: kept.2,
                    ..pb::StatusResponse::default()
                };
                &mut m.header
            }),
            Step::Alarm(r) => answer(patiently(self.maintenance.alarm(r)).await, |m| {
                // etcd's answer to a question has none.
                m.header = Some(pb::ResponseHeader::default());
                &mut m.header
            })
            .without_revision(),
            Step::MemberList(r) => members(patiently(self.cluster.member_list(r)).await),
            Step::MemberAdd(r) => {
                let called = patiently(self.cluster.member_add(r)).await;
                answer(called, |m| &mut m.header).without_revision()
            }
            Step::MemberRemove(r) => {
                let called = patiently(self.cluster.member_remove(r)).await;
                answer(called, |m| &mut m.header).without_revision()
            }
            Step::MemberUpdate(r) => {
                let called = patiently(self.cluster.member_update(r)).await;
                answer(called, |m| &mut m.header).without_revision()
            }
            Step::MemberPromote(r) => {
                let called = patiently(self.cluster.member_promote(r)).await;
                answer(called, |m| &mut m.header).without_revision()
            }
            Step::MoveLeader(r) => {
                answer(patiently(self.maintenance.move_leader(r)).await, |m| &mut m.header).without_revision()
            }
            Step::Pages { limit } => self.pages(limit).await,
            Step::Watch(..) | Step::WatchCancel(..) | Step::WatchProgress(_) | Step::WatchCheck => {
                unreachable!("watches are not calls")
            }
        }
    }

    /// Who is first below a name, as locks and elections count.
    async fn place(&mut self, name: &[u8], lease: i64) -> Result<Place, Answer> {
        let prefix = [name, b"/"].concat();
        let first = pb::RangeRequest {
            key: prefix.clone().into(),
            range_end: [name, b"0"].concat().into(),
            limit: 1,
            sort_order: pb::range_request::SortOrder::Ascend as i32,
            sort_target: pb::range_request::SortTarget::Create as i32,
            ..pb::RangeRequest::default()
        };
        let found = patiently(self.kv.range(first)).await?.into_inner().kvs.into_iter().next();
        let ours = [prefix, format!("{lease:x}").into_bytes()].concat();
        Ok(match found {
            None => Place::Free,
            Some(kv) if kv.key == ours => Place::Ours,
            Some(_) => Place::Taken,
        })
    }

    /// What proves the leadership of whoever leads, made from the key there is.
    async fn leader_key(&mut self, name: &'static str) -> Option<el::LeaderKey> {
        let kv = patiently(self.elections.leader(el::LeaderRequest { name: name.into() })).await;
        let kv = kv.ok()?.into_inner().kv?;
        Some(el::LeaderKey { name: name.into(), key: kv.key, rev: kv.create_revision, lease: kv.lease })
    }

    /// All keys, so many at a time, at one revision, as large ranges are read.
    async fn pages(&mut self, limit: i64) -> Answer {
        let mut ask = pb::RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            limit,
            ..pb::RangeRequest::default()
        };
        let mut all = Answer::error(String::new());
        loop {
            let mut page = match patiently(self.kv.range(ask.clone())).await {
                Ok(page) => page.into_inner(),
                Err(error) => return error,
            };
            let revision = plain(&mut page.header);
            all.text += &format!("{page:?}\n");
            all.revision = all.revision.max(revision);
            ask.revision = all.revision.unwrap_or_default();
            match page.kvs.last() {
                Some(last) if page.more => ask.key = [&last.key[..], b"\0"].concat().into(),
                _ => return all,
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
