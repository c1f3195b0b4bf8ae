//! The Maintenance service.

use crate::auth::Caller;
use crate::limits;
use crate::member::{Member, MoveLeaderError};
use tenure_api::error::{EtcdError, UnlistedError};
use tenure_api::etcdserverpb::{self as pb, downgrade_request::DowngradeAction};
use tenure_api::server::etcdserverpb::maintenance_server::Maintenance;
use tenure_core::command::{AlarmAction, AlarmCommand, Command};
use tenure_core::state::{self, Access};
use tenure_core::types::MemberId;
use tenure_storage::snapshot::{SnapshotBlob, SnapshotError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct MaintenanceService {
    member: Member,
}

impl MaintenanceService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }

    async fn permit<T>(&self, request: &Request<T>, access: Access<'_>) -> Result<(), EtcdError> {
        self.member.authorize(&Caller::of(request), access).await.map(drop)
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let caller = Caller::of(&request);
        let command = AlarmCommand::from_wire(request.into_inner()).ok_or(UnlistedError::UnknownMethod)?;
        let (alarms, revision) = if command.action == AlarmAction::Get {
            self.member.authorize(&caller, Access::User).await?;
            (self.member.alarms(command.alarm), self.member.revision())
        } else {
            match self.member.propose(&caller, Command::Alarm(command)).await? {
                state::Response::Alarm(alarms, revision) => (alarms, revision),
                other => return Err(super::unexpected(&other)),
            }
        };
        let alarms = alarms
            .into_iter()
            .map(|entry| pb::AlarmMember { member_id: entry.member.0, alarm: entry.alarm.to_wire() as i32 });
        let header = Some(self.member.headers().at(revision));
        Ok(Response::new(pb::AlarmResponse { header, alarms: alarms.collect() }))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        self.permit(&request, Access::User).await?;
        let status = self.member.status();
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.member.headers().at(status.revision)),
            version: crate::config::help::ETCD_VERSION.to_owned(),
            db_size: status.total_bytes as i64,
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.commit.0,
            raft_term: status.term.0,
            raft_applied_index: status.applied.0,
            errors: status.errors,
            db_size_in_use: status.live_bytes as i64,
            is_learner: status.is_learner,
            storage_version: status.storage_version,
            db_size_quota: status.quota_bytes as i64,
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: status.downgrade_target.is_some(),
                target_version: status.downgrade_target.unwrap_or_default(),
            }),
        }))
    }

    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.permit(&request, Access::Admin).await?;
        self.member.defragment().await?;
        Ok(Response::new(pb::DefragmentResponse { header: None }))
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        self.permit(&request, Access::Admin).await?;
        let (hash, revision) = self.member.hash().await.map_err(|error| unreadable(&error))?;
        Ok(Response::new(pb::HashResponse { header: Some(self.member.headers().at(revision)), hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        self.permit(&request, Access::Admin).await?;
        let answer = self.member.hash_kv(request.into_inner().revision).await?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(self.member.headers().at(answer.revision)),
            hash: answer.hash,
            compact_revision: answer.compact_revision.0,
            hash_revision: answer.hash_revision.0,
        }))
    }

    type SnapshotStream = ReceiverStream<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.permit(&request, Access::Admin).await?;
        let (out, responses) = mpsc::channel(limits::SNAPSHOT_CHUNKS_QUEUED_MAX);
        let snapshot = self.member.snapshot().await.map_err(|error| unreadable(&error))?;
        let version = snapshot.storage_version().to_owned();
        self.member.tasks().spawn_blocking(move || {
            for blob in snapshot.blobs() {
                let answer = match blob {
                    Ok(SnapshotBlob { blob, remaining_bytes }) => Ok(pb::SnapshotResponse {
                        header: None,
                        remaining_bytes,
                        blob,
                        version: version.clone(),
                    }),
                    Err(error) => Err(Status::internal(format!("reading the snapshot: {error}"))),
                };
                if out.blocking_send(answer).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        self.permit(&request, Access::Admin).await?;
        // To itself: done at once, with an empty answer (reference 11, M6).
        self.member.move_leader(MemberId(request.into_inner().target_id)).await?;
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        self.permit(&request, Access::Admin).await?;
        let request = request.into_inner();
        let version = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => self.member.downgrade_validate(&request.version).await?,
            Ok(DowngradeAction::Enable) => self.member.downgrade_enable(&request.version).await?,
            Ok(DowngradeAction::Cancel) => self.member.downgrade_cancel().await?,
            Err(_) => return Err(UnlistedError::UnknownMethod.into()),
        };
        let header = Some(self.member.headers().at(self.member.revision()));
        Ok(Response::new(pb::DowngradeResponse { header, version }))
    }
}

fn unreadable(error: &SnapshotError) -> Status {
    Status::internal(error.to_string())
}

impl From<MoveLeaderError> for Status {
    fn from(error: MoveLeaderError) -> Self {
        match error {
            MoveLeaderError::Etcd(error) => error.into(),
            MoveLeaderError::TimedOut => UnlistedError::TimeoutLeaderTransfer.into(),
        }
    }
}
