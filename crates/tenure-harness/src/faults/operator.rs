//! What an operator asks of a cluster.

use super::session::{self, ROOT, Token, Wire};
use crate::PATIENCE;
use crate::cluster::{Cluster, until};
use anyhow::{Context, Result, ensure};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb as pb;
use tokio::time::timeout;
use tonic::{Response, Status};

/// The longest that a question may take which is asked again.
const ONE_ATTEMPT: Duration = Duration::from_secs(20);
/// The longest that somebody may take of whom it is not known whether all is well there.
const GLANCE: Duration = Duration::from_secs(2);

type Members = pb::cluster_client::ClusterClient<Wire>;
type Maintenance = pb::maintenance_client::MaintenanceClient<Wire>;

/// An operator, who knows where the members are; members are named by their places.
#[derive(Debug)]
pub(super) struct Operator {
    sites: Vec<Site>,
    has_auth: bool,
    token: Mutex<Option<Token>>,
    /// Held while the membership changes, and by whoever needs that it does not.
    pub membership: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Site {
    url: String,
    peer_url: String,
}

impl Operator {
    /// * `has_auth`: whether he has to log in.
    pub fn new(cluster: &Cluster, has_auth: bool) -> Self {
        let site = |member: &crate::process::Server| Site { url: member.url(), peer_url: member.peer_url() };
        Self {
            sites: cluster.members.iter().map(site).collect(),
            has_auth,
            token: Mutex::default(),
            membership: tokio::sync::Mutex::default(),
        }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.sites.len()
    }

    fn set_token(&self, token: Option<Token>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Forgets what he is known by: he logs in again when he next asks.
    pub fn log_out(&self) {
        self.set_token(None);
    }

    async fn token(&self, at: usize) -> Result<Token, Status> {
        if !self.has_auth {
            return Ok(Token::default());
        }
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(token);
        }
        let mut failed = Status::unavailable("nobody is there to log in");
        // A learner lets nobody in.
        for at in [at].into_iter().chain((0..self.members()).filter(|other| *other != at)) {
            let logging_in =
                async { session::log_in(session::connect(&self.sites[at].url, GLANCE).await?, ROOT).await };
            match timeout(GLANCE, logging_in).await {
                Ok(Ok(token)) => {
                    self.set_token(Some(token.clone()));
                    return Ok(token);
                }
                Ok(Err(status)) => failed = status,
                Err(_) => {}
            }
        }
        Err(failed)
    }

    /// A new connection to a member.
    pub async fn wire(&self, at: usize) -> Result<Wire, Status> {
        let token = self.token(at).await?;
        Ok(Wire::new(session::connect(&self.sites[at].url, PATIENCE).await?, token))
    }

    /// One question to one member.
    pub async fn ask<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        at: usize,
        patience: Duration,
        call: impl FnOnce(Wire) -> F,
    ) -> Result<T, Status> {
        let asking = async { call(self.wire(at).await?).await };
        let outcome = timeout(patience, asking).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Status::deadline_exceeded("the operator gives up")));
        if outcome.as_ref().is_err_and(session::is_forgotten) {
            self.log_out();
        }
        outcome.map(Response::into_inner)
    }

    /// Asks again and again, every time one of those whom `whom` names at that moment, until it is done or `is_done` says of the
    /// refusal that an earlier attempt did it.
    async fn insist<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        what: &str,
        whom: impl Fn() -> usize,
        is_done: impl Fn(EtcdError) -> bool,
        call: impl Fn(Wire) -> F,
    ) -> Result<()> {
        until(what, || async {
            let outcome = self.ask(whom(), ONE_ATTEMPT, &call).await;
            let is_done = match outcome {
                Ok(_) => true,
                Err(status) => EtcdError::from_status(&status).is_some_and(&is_done),
            };
            Ok(is_done.then_some(()))
        })
        .await
    }

    /// What a member says of itself, if it does soon.
    pub async fn status(&self, at: usize) -> Result<pb::StatusResponse, Status> {
        self.ask(at, GLANCE, |wire| async { Maintenance::new(wire).status(pb::StatusRequest {}).await }).await
    }

    /// Waits until one of those whom `among` names leads and says so: its place.
    pub async fn leader(&self, among: impl Fn() -> Vec<usize>) -> Result<usize> {
        until("a leader", || async {
            for at in among() {
                if let Ok(status) = self.status(at).await
                    && status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
                {
                    return Ok(Some(at));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The members, as one of those says whom `whom` names.
    async fn list(&self, whom: impl Fn() -> usize) -> Result<Vec<pb::Member>> {
        until("members are listed", || async {
            let request = pb::MemberListRequest { linearizable: true };
            let list = |wire| async { Members::new(wire).member_list(request).await };
            Ok(self.ask(whom(), ONE_ATTEMPT, list).await.ok().map(|list| list.members))
        })
        .await
    }

    /// The places of the members that there are.
    pub async fn listed(&self, whom: impl Fn() -> usize) -> Result<Vec<usize>> {
        let list = self.list(whom).await?;
        let is_listed = |site: &Site| list.iter().any(|member| member.peer_ur_ls.contains(&site.peer_url));
        Ok((0..self.members()).filter(|at| is_listed(&self.sites[*at])).collect())
    }

    /// The id of the member at a place.
    async fn member_id(&self, at: usize, whom: impl Fn() -> usize) -> Result<u64> {
        let url = &self.sites[at].peer_url;
        let list = self.list(whom).await?;
        let member = list.iter().find(|member| member.peer_ur_ls.contains(url));
        Ok(member.with_context(|| format!("no member at {url} among {list:?}"))?.id)
    }

    /// Removes the member at a place, once the cluster has been healthy for long enough.
    pub async fn remove(&self, at: usize, whom: impl Fn() -> usize) -> Result<()> {
        let id = self.member_id(at, &whom).await?;
        let is_done = |error| error == EtcdError::MemberNotFound;
        self.insist("a member is removed", whom, is_done, |wire| async move {
            let _alone = self.membership.lock().await;
            Members::new(wire).member_remove(pb::MemberRemoveRequest { id }).await
        })
        .await
    }

    /// Adds the member at a place, once the cluster has been healthy for long enough.
    pub async fn add(&self, at: usize, whom: impl Fn() -> usize, is_learner: bool) -> Result<()> {
        let url = &self.sites[at].peer_url;
        let is_done = |error| error == EtcdError::PeerURLExist;
        self.insist("a member is added", whom, is_done, |wire| async move {
            let request = pb::MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner };
            let _alone = self.membership.lock().await;
            Members::new(wire).member_add(request).await
        })
        .await
    }

    /// Gives the learner at a place a vote, once it is ready.
    pub async fn promote(&self, at: usize, whom: impl Fn() -> usize) -> Result<()> {
        let id = self.member_id(at, &whom).await?;
        let is_done = |error| error == EtcdError::MemberNotLearner;
        self.insist("a learner is promoted", whom, is_done, |wire| async move {
            Members::new(wire).member_promote(pb::MemberPromoteRequest { id }).await
        })
        .await
    }

    /// Hands the leadership from one place to another.
    pub async fn move_leader(&self, from: usize, to: usize, whom: impl Fn() -> usize) -> Result<()> {
        let target_id = self.member_id(to, whom).await?;
        let request = pb::MoveLeaderRequest { target_id };
        self.ask(from, PATIENCE, |wire| async { Maintenance::new(wire).move_leader(request).await }).await?;
        Ok(())
    }

    /// Compacts the history at a revision.
    pub async fn compact(&self, revision: i64, physical: bool, whom: impl Fn() -> usize) -> Result<()> {
        let is_done = |error| error == EtcdError::Compacted;
        self.insist("the history is compacted", whom, is_done, |wire| async move {
            let request = pb::CompactionRequest { revision, physical };
            pb::kv_client::KvClient::new(wire).compact(request).await
        })
        .await
    }

    /// Defragments the member at a place.
    pub async fn defragment(&self, at: usize) -> Result<()> {
        let request = pb::DefragmentRequest {};
        self.ask(at, PATIENCE, |wire| async { Maintenance::new(wire).defragment(request).await }).await?;
        Ok(())
    }

    /// Reads a backup of the member at a place to its end.
    pub async fn save_snapshot(&self, at: usize) -> Result<()> {
        let request = pb::SnapshotRequest {};
        let mut chunks =
            self.ask(at, PATIENCE, |wire| async { Maintenance::new(wire).snapshot(request).await }).await?;
        let (mut bytes, mut left) = (0, u64::MAX);
        while let Some(chunk) = timeout(PATIENCE, chunks.message()).await?? {
            bytes += chunk.blob.len();
            left = chunk.remaining_bytes;
        }
        ensure!(bytes > 0 && left == 0, "a backup ends after {bytes} bytes, and {left} are missing");
        Ok(())
    }
}
