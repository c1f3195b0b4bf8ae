//! The KV service.

use super::encode;
use super::range_stream::{self, Chunks};
use crate::auth::Caller;
use crate::member::Member;
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
};
use tenure_api::server::etcdserverpb::kv_server::Kv;
use tenure_api::wire;
use tenure_core::command::{Command, Compact, DeleteRange, Put, RangeQuery, Txn};
use tenure_core::mvcc::check;
use tenure_core::state;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct KvService {
    member: Member,
}

impl KvService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<wire::RangeResponse>, Status> {
        let caller = Caller::of(&request);
        let query = RangeQuery::from_wire(request.into_inner())?;
        check::range(&query)?;
        if self.member.is_learner() && !query.serializable {
            return Err(EtcdError::NotSupportedForLearner.into());
        }
        let outcome = self.member.range(&caller, query).await?;
        Ok(Response::new(encode::range(self.member.headers(), outcome)))
    }

    type RangeStreamStream = Chunks;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let caller = Caller::of(&request);
        let query = RangeQuery::from_wire(request.into_inner())?;
        check::range(&query)?;
        range_stream::start(&self.member, caller, query).map(Response::new)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<wire::PutResponse>, Status> {
        let caller = Caller::of(&request);
        let put = Put::from_wire(request.into_inner());
        check::put(&put)?;
        match self.member.propose(&caller, Command::Put(put)).await? {
            state::Response::Put(outcome) => Ok(Response::new(encode::put(self.member.headers(), outcome))),
            other => Err(super::unexpected(&other)),
        }
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<wire::DeleteRangeResponse>, Status> {
        let caller = Caller::of(&request);
        let delete = DeleteRange::from_wire(request.into_inner());
        check::delete_range(&delete)?;
        match self.member.propose(&caller, Command::DeleteRange(delete)).await? {
            state::Response::DeleteRange(outcome) => {
                Ok(Response::new(encode::delete_range(self.member.headers(), outcome)))
            }
            other => Err(super::unexpected(&other)),
        }
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<wire::TxnResponse>, Status> {
        let caller = Caller::of(&request);
        let txn = Txn::from_wire(request.into_inner())?;
        check::txn(&txn, self.member.txn_ops_max())?;
        let outcome = if state::txn_is_read_only(&txn) {
            self.member.read_txn(&caller, txn).await?
        } else {
            match self.member.propose(&caller, Command::Txn(txn)).await? {
                state::Response::Txn(outcome) => outcome,
                other => return Err(super::unexpected(&other)),
            }
        };
        Ok(Response::new(encode::txn(self.member.headers(), outcome)))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let caller = Caller::of(&request);
        let compact = Compact::from_wire(request.into_inner());
        match self.member.propose(&caller, Command::Compact(compact)).await? {
            state::Response::Compact(revision) => {
                if compact.physical {
                    self.member.compacted(compact.revision).await?;
                }
                let header = Some(self.member.headers().at(revision));
                Ok(Response::new(CompactionResponse { header }))
            }
            other => Err(super::unexpected(&other)),
        }
    }
}
