//! The Lease service.

use crate::auth::Caller;
use crate::limits;
use crate::member::{LeaseError, Member};
use tenure_api::error::{EtcdError, UnlistedError};
use tenure_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use tenure_api::server::etcdserverpb::lease_server::Lease;
use tenure_core::command::{Command, LeaseGrant, LeaseRevoke};
use tenure_core::lease::LEASE_TTL_SECONDS_MAX;
use tenure_core::state;
use tenure_core::types::LeaseId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Clone)]
pub struct LeaseService {
    member: Member,
}

impl LeaseService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }

    async fn keep_alive(
        self,
        caller: Caller,
        mut requests: Streaming<LeaseKeepAliveRequest>,
        out: mpsc::Sender<Result<LeaseKeepAliveResponse, Status>>,
    ) {
        loop {
            let request = tokio::select! {
                () = out.closed() => return,
                request = requests.message() => request,
            };
            // The header says where the store was before the renewal (L3).
            let header = Some(self.member.headers().at(self.member.revision()));
            let answer = match request {
                Ok(Some(request)) => match self.member.lease_renew(&caller, LeaseId(request.id)).await {
                    Ok(ttl) => Ok(LeaseKeepAliveResponse { header, id: request.id, ttl: ttl.unwrap_or(0) }),
                    Err(error) => Err(error.into()),
                },
                Ok(None) => return,
                Err(status) => Err(status),
            };
            let over = answer.is_err();
            if out.send(answer).await.is_err() || over {
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let caller = Caller::of(&request);
        let LeaseGrantRequest { ttl, id } = request.into_inner();
        if ttl > LEASE_TTL_SECONDS_MAX {
            return Err(EtcdError::LeaseTTLTooLarge.into());
        }
        let id = if id == 0 { self.member.choose_lease_id() } else { LeaseId(id) };
        let ttl_seconds = ttl.max(self.member.lease_ttl_seconds_min());
        match self.member.propose(&caller, Command::LeaseGrant(LeaseGrant { id, ttl_seconds })).await? {
            state::Response::LeaseGrant { lease, revision } => Ok(Response::new(LeaseGrantResponse {
                header: Some(self.member.headers().at(revision)),
                id: lease.id.0,
                ttl: lease.ttl_seconds,
                error: String::new(),
            })),
            other => Err(super::unexpected(&other)),
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let caller = Caller::of(&request);
        let id = LeaseId(request.into_inner().id);
        match self.member.propose(&caller, Command::LeaseRevoke(LeaseRevoke { id })).await? {
            state::Response::LeaseRevoke(revision) => {
                let header = Some(self.member.headers().at(revision));
                Ok(Response::new(LeaseRevokeResponse { header }))
            }
            other => Err(super::unexpected(&other)),
        }
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (out, responses) = mpsc::channel(limits::KEEP_ALIVE_RESPONSES_QUEUED_MAX);
        let caller = Caller::of(&request);
        self.member.tasks().spawn(self.clone().keep_alive(caller, request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let caller = Caller::of(&request);
        let LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let life = self.member.lease_facts(&caller, LeaseId(id), keys).await?;
        let header = Some(self.member.headers().at(self.member.revision()));
        // An unknown lease is an answer, not an error (L9).
        Ok(Response::new(match life {
            None => LeaseTimeToLiveResponse { header, id, ttl: -1, granted_ttl: 0, keys: Vec::new() },
            Some(life) => LeaseTimeToLiveResponse {
                header,
                id,
                ttl: life.remaining_seconds,
                granted_ttl: life.granted_seconds,
                keys: life.keys.into_iter().map(|key| key.0).collect(),
            },
        }))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let leases = self.member.leases(&Caller::of(&request)).await?;
        Ok(Response::new(LeaseLeasesResponse {
            header: Some(self.member.headers().at(self.member.revision())),
            leases: leases.into_iter().map(|id| LeaseStatus { id: id.0 }).collect(),
        }))
    }
}

impl From<LeaseError> for Status {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Etcd(error) => error.into(),
            LeaseError::NotPrimary => UnlistedError::NotPrimaryLessor.into(),
        }
    }
}
