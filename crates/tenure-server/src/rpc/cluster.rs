//! The Cluster service.

use crate::auth::Caller;
use crate::member::Member;
use tenure_api::etcdserverpb as pb;
use tenure_api::server::etcdserverpb::cluster_server::Cluster;
use tenure_core::state::Access;
use tenure_core::types::Revision;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct ClusterService {
    member: Member,
}

impl ClusterService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }

    async fn one_member_only<Q, T>(&self, request: Request<Q>) -> Result<Response<T>, Status> {
        self.member.authorize(&Caller::of(&request), Access::Admin).await?;
        Err(Status::unimplemented(
            "this version of Tenure runs as a single member; members cannot be changed",
        ))
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let caller = Caller::of(&request);
        if request.into_inner().linearizable {
            self.member.linearize().await?;
        }
        self.member.authorize(&caller, Access::User).await?;
        let members = self.member.members().into_iter().map(|member| pb::Member {
            id: member.id.0,
            name: member.name,
            peer_ur_ls: member.peer_urls,
            client_ur_ls: member.client_urls,
            is_learner: member.is_learner,
        });
        // Headers of this service carry no revision.
        let header = Some(self.member.headers().at(Revision(0)));
        Ok(Response::new(pb::MemberListResponse { header, members: members.collect() }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.one_member_only(request).await
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.one_member_only(request).await
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.one_member_only(request).await
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.one_member_only(request).await
    }
}
