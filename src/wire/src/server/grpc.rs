//! The unary services: KV, Lease, Cluster, Maintenance.

use super::auth::service_for;
use crate::status::status_of_error;
use futures::Stream;
use seatrial_backup::{Export, Measure, SnapshotError};
use seatrial_etcd::{Ask, EtcdService};
use seatrial_proto::etcdserverpb as pb;
use seatrial_types::request::{AlarmChangeRequest, AlarmKind, SnapshotPiece, SnapshotReadRequest};
use seatrial_types::{Error, LeaseId, MemberId, Revision};
use std::pin::Pin;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The services that pass requests to the member.
pub(super) struct Grpc<A> {
    service: EtcdService<A>,
}

impl<A> Grpc<A> {
    pub(super) fn new(service: EtcdService<A>) -> Self {
        Self { service }
    }

    pub(super) fn service(&self) -> &EtcdService<A> {
        &self.service
    }
}

pub(super) fn refused(error: Error) -> Status {
    status_of_error(&error)
}

/// One method: the message as request, the service's method, its answer as message.
macro_rules! unary {
    ($($name:ident($message:ty) -> $answer:ty = |$service:ident, $r:ident| $ask:expr;)*) => {
        // What `async_trait` makes of an async method, so that a table can hold them.
        $(fn $name<'a, 'b>(
            &'a self,
            request: Request<$message>,
        ) -> Pin<Box<dyn Future<Output = Answer<$answer>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async move {
                let $service = &service_for(&self.service, &request);
                let $r = request.into_inner();
                let answered: Result<_, Error> = $ask.await;
                answered.map(|answer| Response::new(answer.into())).map_err(refused)
            })
        })*
    };
}

#[tonic::async_trait]
impl<A: Ask> pb::kv_server::Kv for Grpc<A> {
    unary! {
        range(pb::RangeRequest) -> pb::RangeResponse =
            |service, r| async { service.range(r.try_into()?).await };
        put(pb::PutRequest) -> pb::PutResponse = |service, r| service.put(r.into());
        delete_range(pb::DeleteRangeRequest) -> pb::DeleteRangeResponse =
            |service, r| service.delete_range(r.into());
        txn(pb::TxnRequest) -> pb::TxnResponse = |service, r| async { service.txn(r.try_into()?).await };
        compact(pb::CompactionRequest) -> pb::CompactionResponse = |service, r| service.compact(r.into());
    }
}

#[tonic::async_trait]
impl<A: Ask> pb::lease_server::Lease for Grpc<A> {
    unary! {
        lease_grant(pb::LeaseGrantRequest) -> pb::LeaseGrantResponse =
            |service, r| service.lease_grant(r.into());
        lease_revoke(pb::LeaseRevokeRequest) -> pb::LeaseRevokeResponse =
            |service, r| service.lease_revoke(LeaseId(r.id));
        lease_time_to_live(pb::LeaseTimeToLiveRequest) -> pb::LeaseTimeToLiveResponse =
            |service, r| service.lease_time_to_live(r.into());
        lease_leases(pb::LeaseLeasesRequest) -> pb::LeaseLeasesResponse =
            |service, _r| service.lease_leases();
    }

    type LeaseKeepAliveStream = Answers<pb::LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let state = (service_for(&self.service, &request), Some(request.into_inner()));
        // Ends with the client's stream, or with the first error, which is the stream's status then.
        let answers = futures::stream::unfold(state, |(service, asks)| async move {
            let mut asks = asks?;
            let ask = match asks.message().await {
                Ok(Some(ask)) => ask,
                Ok(None) => return None,
                Err(status) => return Some((Err(status), (service, None))),
            };
            match service.lease_keep_alive(LeaseId(ask.id)).await {
                Ok(answer) => Some((Ok(answer.into()), (service, Some(asks)))),
                Err(error) => Some((Err(refused(error)), (service, None))),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl<A: Ask> pb::cluster_server::Cluster for Grpc<A> {
    unary! {
        member_add(pb::MemberAddRequest) -> pb::MemberAddResponse = |service, r| service.member_add(r.into());
        member_remove(pb::MemberRemoveRequest) -> pb::MemberRemoveResponse =
            |service, r| service.member_remove(MemberId(r.id));
        member_update(pb::MemberUpdateRequest) -> pb::MemberUpdateResponse =
            |service, r| service.member_update(r.into());
        member_list(pb::MemberListRequest) -> pb::MemberListResponse =
            |service, r| service.member_list(r.linearizable);
        member_promote(pb::MemberPromoteRequest) -> pb::MemberPromoteResponse =
            |service, r| service.member_promote(MemberId(r.id));
    }
}

#[tonic::async_trait]
impl<A: Ask> pb::maintenance_server::Maintenance for Grpc<A> {
    unary! {
        status(pb::StatusRequest) -> pb::StatusResponse = |service, _r| service.status();
        hash_kv(pb::HashKvRequest) -> pb::HashKvResponse = |service, r| service.hash_kv(Revision(r.revision));
        move_leader(pb::MoveLeaderRequest) -> pb::MoveLeaderResponse =
            |service, r| service.move_leader(MemberId(r.target_id));
        defragment(pb::DefragmentRequest) -> pb::DefragmentResponse = |service, _r| service.defragment();
        hash(pb::HashRequest) -> pb::HashResponse = |service, _r| service.hash();
        downgrade(pb::DowngradeRequest) -> pb::DowngradeResponse =
            |service, r| async { service.downgrade(r.try_into()?).await };
    }

    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Answer<pb::AlarmResponse> {
        use pb::alarm_request::AlarmAction;
        let service = service_for(&self.service, &request);
        let request = request.into_inner();
        let raise = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => None,
            Ok(AlarmAction::Activate) => Some(true),
            Ok(AlarmAction::Deactivate) => Some(false),
            Err(_) => {
                return Err(Status::invalid_argument(format!("unknown alarm action {}", request.action)));
            }
        };
        if let Some(raise) = raise {
            let kind = match pb::AlarmType::try_from(request.alarm) {
                Ok(pb::AlarmType::Nospace) => AlarmKind::NoSpace,
                Ok(pb::AlarmType::Corrupt) => AlarmKind::Corrupt,
                // No alarm is of this kind; to clear it is to clear nothing.
                Ok(pb::AlarmType::None) if !raise => {
                    let mut answer = pb::AlarmResponse::from(service.alarm_list().await.map_err(refused)?);
                    answer.alarms.clear();
                    return Ok(Response::new(answer));
                }
                _ => return Err(Status::invalid_argument(format!("unknown alarm {}", request.alarm))),
            };
            let change = AlarmChangeRequest { raise, member: MemberId(request.member_id), kind };
            let answer = service.alarm_change(change).await.map_err(refused)?;
            return Ok(Response::new(answer.into()));
        }
        let mut answer = pb::AlarmResponse::from(service.alarm_list().await.map_err(refused)?);
        if request.alarm != pb::AlarmType::None as i32 {
            answer.alarms.retain(|alarm| alarm.alarm == request.alarm);
        }
        Ok(Response::new(answer))
    }

    type SnapshotStream = Answers<pb::SnapshotResponse>;

    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        let service = service_for(&self.service, &request);
        let pieces = futures::stream::unfold(Some(Snapshot::new(service)), |snapshot| async move {
            let mut snapshot = snapshot?;
            match snapshot.next().await {
                Ok(answer) => {
                    let more = answer.remaining_bytes > 0;
                    Some((Ok(answer), more.then_some(snapshot)))
                }
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

/// A snapshot on its way to a client, as a database file.
struct Snapshot<A> {
    service: EtcdService<A>,
    ask: SnapshotReadRequest,
    /// `None` until the member's stream was read for the first time.
    export: Option<Export>,
}

impl<A: Ask> Snapshot<A> {
    fn new(service: EtcdService<A>) -> Self {
        Self { service, ask: SnapshotReadRequest { again: true, ..Default::default() }, export: None }
    }

    /// The next piece of the member's stream.
    async fn read(&mut self) -> Result<SnapshotPiece, Status> {
        let piece = self.service.snapshot_read(self.ask.clone()).await.map_err(refused)?;
        self.ask.id = piece.id;
        self.ask.offset += piece.data.len() as u64;
        Ok(piece)
    }

    async fn next(&mut self) -> Result<pb::SnapshotResponse, Status> {
        let damaged =
            |error: SnapshotError| Status::internal(format!("the snapshot cannot be written: {error}"));
        let mut export = match self.export.take() {
            Some(export) => export,
            None => {
                let mut measure = Measure::default();
                loop {
                    let piece = self.read().await?;
                    measure.push(&piece.data).map_err(damaged)?;
                    if piece.done {
                        break;
                    }
                }
                (self.ask.offset, self.ask.again) = (0, false);
                measure.finish().map_err(damaged)?
            }
        };
        loop {
            let piece = self.read().await?;
            let blob = export.push(&piece.data).map_err(damaged)?;
            let answer = |blob, remaining_bytes| pb::SnapshotResponse {
                header: Some(piece.header.clone().into()),
                remaining_bytes,
                blob,
                version: seatrial_etcd::API_VERSION.to_owned(),
            };
            if piece.done {
                let (rest, sum) = export.finish().map_err(damaged)?;
                // Some clients stop where nothing remains: that is where the sum ends.
                return Ok(answer([blob, rest, sum].concat().into(), 0));
            }
            // A piece may end within a leaf.
            if !blob.is_empty() {
                let left = export.left();
                self.export = Some(export);
                return Ok(answer(blob, left));
            }
        }
    }
}
