//! The Lock service: locks that live as long as a lease.

use super::line::Line;
use crate::member::Member;
use tenure_api::error::UnlistedError;
use tenure_api::server::v3lockpb::lock_server::Lock;
use tenure_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct LockService {
    member: Member,
}

impl LockService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Lock for LockService {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let line = Line::new(&self.member, &request);
        let LockRequest { name, lease } = request.into_inner();
        let session = line.session(lease).await?;
        let place = line.line_up(&name, session, Vec::new().into()).await?;
        line.wait_first(&place, session).await?;
        let mut revision = place.revision;
        if !place.is_first {
            // The lease may have ended while others held the lock.
            let (now, pair) = line.pair(place.key.clone()).await?;
            if pair.is_none_or(|pair| pair.create_revision != place.created.0) {
                return Err(UnlistedError::MutexSessionExpired.into());
            }
            revision = now;
        }
        let header = Some(self.member.headers().at(revision));
        Ok(Response::new(LockResponse { header, key: place.key }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let line = Line::new(&self.member, &request);
        let deleted = line.delete(request.into_inner().key).await?;
        let header = Some(self.member.headers().at(deleted.revision));
        Ok(Response::new(UnlockResponse { header }))
    }
}
