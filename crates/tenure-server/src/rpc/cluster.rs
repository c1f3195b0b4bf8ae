//! The Cluster service.

use crate::auth::Caller;
use crate::config::EndpointUrl;
use crate::member::Member;
use std::time::{SystemTime, UNIX_EPOCH};
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb as pb;
use tenure_api::server::etcdserverpb::cluster_server::Cluster;
use tenure_core::membership;
use tenure_core::state::Access;
use tenure_core::types::{MemberId, Revision};
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

    /// Headers of this service carry no revision.
    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.member.headers().at(Revision(0)))
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
        let members = to_wire(self.member.members());
        Ok(Response::new(pb::MemberListResponse { header: self.header(), members }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.member.authorize(&Caller::of(&request), Access::Admin).await?;
        let pb::MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let peer_urls = urls(&peer_ur_ls)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = membership::member_id(&peer_urls, "", Some(now.as_secs() as i64));
        let member = membership::Member { id, peer_urls, is_learner, ..membership::Member::default() };
        let members = to_wire(self.member.member_add(&member).await?);
        let member = to_wire(vec![member]).pop();
        Ok(Response::new(pb::MemberAddResponse { header: self.header(), member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.member.authorize(&Caller::of(&request), Access::Admin).await?;
        let members = to_wire(self.member.member_remove(MemberId(request.into_inner().id)).await?);
        Ok(Response::new(pb::MemberRemoveResponse { header: self.header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.member.authorize(&Caller::of(&request), Access::Admin).await?;
        let pb::MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let members = to_wire(self.member.member_update(MemberId(id), urls(&peer_ur_ls)?).await?);
        Ok(Response::new(pb::MemberUpdateResponse { header: self.header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.member.authorize(&Caller::of(&request), Access::Admin).await?;
        let members = to_wire(self.member.member_promote(MemberId(request.into_inner().id)).await?);
        Ok(Response::new(pb::MemberPromoteResponse { header: self.header(), members }))
    }
}

/// Peer URLs as etcd keeps them: sorted.
fn urls(texts: &[String]) -> Result<Vec<String>, EtcdError> {
    let parsed: Result<Vec<EndpointUrl>, _> = texts.iter().map(|text| text.parse()).collect();
    let mut urls: Vec<String> = match parsed {
        Ok(urls) if !urls.is_empty() => urls.iter().map(ToString::to_string).collect(),
        _ => return Err(EtcdError::MemberBadURLs),
    };
    urls.sort_unstable();
    Ok(urls)
}

fn to_wire(members: Vec<membership::Member>) -> Vec<pb::Member> {
    let members = members.into_iter().map(|member| pb::Member {
        id: member.id.0,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    });
    members.collect()
}
