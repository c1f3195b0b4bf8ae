//! Leases: the leader's clock answers, and members that do not lead ask it.

use super::Member;
use super::driver::{Event, LeaseQuestion};
use crate::auth::Caller;
use crate::limits;
use bytes::Bytes;
use http::{Method, StatusCode};
use prost::Message as _;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tenure_api::error::EtcdError;
use tenure_api::{etcdserverpb as pb, leasepb};
use tenure_core::node::{LeaseLife, LeaseRefusal};
use tenure_core::state::Access;
use tenure_core::types::{Key, LeaseId, MemberId};
use tokio::sync::oneshot;

/// What is known of a lease.
#[derive(Clone, Debug)]
pub struct LeaseFacts {
    /// Seconds until it ends.
    pub remaining_seconds: i64,
    /// Seconds it was granted.
    pub granted_seconds: i64,
    /// Keys attached to it, if they were asked for.
    pub keys: Vec<Key>,
}

/// Why a question about a lease has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseError {
    /// The member did not answer.
    Etcd(EtcdError),
    /// Only the leader knows.
    NotPrimary,
}

impl From<EtcdError> for LeaseError {
    fn from(error: EtcdError) -> Self {
        LeaseError::Etcd(error)
    }
}

impl Member {
    /// Renews a lease; answers its life in seconds, `None` if it does not exist. A member that does not lead asks the leader.
    ///
    /// # Errors
    /// [`LeaseError`]: `Timeout` if no leader answers, `NoLeader` if there is none,
    /// `PermissionDenied` for whom a key of the lease is not his to write (L12).
    pub async fn lease_renew(&self, caller: &Caller, id: LeaseId) -> Result<Option<i64>, LeaseError> {
        self.authorized(caller, &[Access::User, Access::WriteAttached(id)], |_| ()).await?;
        let deadline = Instant::now() + self.shared.config.request_timeout();
        loop {
            let leader = self.leader_by(deadline).await?;
            if leader == self.shared.id {
                match self.lease_renew_here(id).await {
                    // Another one leads by now, or soon.
                    Err(LeaseError::NotPrimary) => self.pause_before(deadline).await?,
                    outcome => return outcome,
                }
                continue;
            }
            let request = pb::LeaseKeepAliveRequest { id: id.0 }.encode_to_vec();
            match self.ask_leader(leader, "/leases", request, deadline).await? {
                Told::NotFound => return Ok(None),
                Told::Answer(bytes) => {
                    if let Ok(answer) = pb::LeaseKeepAliveResponse::decode(bytes) {
                        return Ok(Some(answer.ttl));
                    }
                }
                Told::NothingYet => {}
            }
            self.pause_before(deadline).await?;
        }
    }

    /// Renews a lease on the leader, which this member must be.
    ///
    /// # Errors
    /// [`LeaseError::NotPrimary`] on a member that does not lead, or cannot be sure that it still does (L11).
    pub async fn lease_renew_here(&self, id: LeaseId) -> Result<Option<i64>, LeaseError> {
        // Whoever was cut off may have a successor for whom the lease ends: a majority says that there is none.
        if !self.shared.leads_alone.load(Ordering::Acquire) {
            self.linearize().await.map_err(|_| LeaseError::NotPrimary)?;
        }
        let (reply, answer) = oneshot::channel();
        self.ask(LeaseQuestion::Renew(id, reply))?;
        found(self.within_deadline(answer).await?)
    }

    /// What is known of a lease; `None` if it does not exist. A member that does not lead asks the leader.
    ///
    /// # Errors
    /// [`LeaseError`]: `Timeout` if no leader answers, `NoLeader` if there is none;
    /// with `keys`, `PermissionDenied` for whom a key of the lease is not his to
    /// read (L9).
    pub async fn lease_facts(
        &self,
        caller: &Caller,
        id: LeaseId,
        keys: bool,
    ) -> Result<Option<LeaseFacts>, LeaseError> {
        self.authorized(caller, &[Access::User], |_| ()).await?;
        let facts = self.ask_facts(id, keys).await?;
        if keys && facts.is_some() {
            // What the leader knows of the lease this member must know too, to say whose it is to read.
            if !self.is_leader() {
                self.linearize().await?;
            }
            self.authorized(caller, &[Access::ReadAttached(id)], |_| ()).await?;
        }
        Ok(facts)
    }

    async fn ask_facts(&self, id: LeaseId, keys: bool) -> Result<Option<LeaseFacts>, LeaseError> {
        let deadline = Instant::now() + self.shared.config.request_timeout();
        loop {
            let leader = self.leader_by(deadline).await?;
            if leader == self.shared.id {
                match self.lease_facts_here(id, keys).await {
                    Err(LeaseError::NotPrimary) => self.pause_before(deadline).await?,
                    outcome => return outcome,
                }
                continue;
            }
            let request = pb::LeaseTimeToLiveRequest { id: id.0, keys };
            let request =
                leasepb::LeaseInternalRequest { lease_time_to_live_request: Some(request) }.encode_to_vec();
            match self.ask_leader(leader, "/leases/internal", request, deadline).await? {
                Told::NotFound => return Ok(None),
                Told::Answer(bytes) => {
                    if let Some(facts) = facts_of(bytes) {
                        return Ok(Some(facts));
                    }
                }
                Told::NothingYet => {}
            }
            self.pause_before(deadline).await?;
        }
    }

    /// What the leader knows of a lease, which this member must be.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease_facts_here(&self, id: LeaseId, keys: bool) -> Result<Option<LeaseFacts>, LeaseError> {
        let (reply, answer) = oneshot::channel();
        self.ask(LeaseQuestion::Life(id, reply))?;
        let life: Option<LeaseLife> = found(self.within_deadline(answer).await?)?;
        let Some(life) = life else { return Ok(None) };
        let state = self.shared.state.read();
        let keys = if keys {
            state.leases.keys_of(id).map(|key| Key(Bytes::copy_from_slice(key))).collect()
        } else {
            Vec::new()
        };
        let LeaseLife { ttl_seconds: granted_seconds, remaining_seconds } = life;
        Ok(Some(LeaseFacts { remaining_seconds, granted_seconds, keys }))
    }

    /// All leases, the next to end first (L10); on a member that does not lead by id.
    ///
    /// # Errors
    /// `Timeout`, `TooManyRequests`, `Stopped`; `PermissionDenied` for whom a key of any of them is not his to read.
    pub async fn leases(&self, caller: &Caller) -> Result<Vec<LeaseId>, EtcdError> {
        let (reply, answer) = oneshot::channel();
        self.ask(LeaseQuestion::List(reply))?;
        let leases = self.within_deadline(answer).await?;
        let attached = leases.iter().map(|id| Access::ReadAttached(*id));
        let access: Vec<_> = [Access::User].into_iter().chain(attached).collect();
        self.authorized(caller, &access, |_| ()).await?;
        Ok(leases)
    }

    fn ask(&self, question: LeaseQuestion) -> Result<(), EtcdError> {
        let sent = self.shared.inbox.try_send(Event::Lease(question));
        sent.map_err(|_| EtcdError::RequestTooManyRequests)
    }

    /// Waits a moment before the leader, whoever it is then, is asked again.
    async fn pause_before(&self, deadline: Instant) -> Result<(), EtcdError> {
        if Instant::now() >= deadline {
            return Err(EtcdError::Timeout);
        }
        tokio::time::sleep(limits::LEASE_RETRY_PAUSE).await;
        Ok(())
    }

    /// Asks the leader about a lease.
    async fn ask_leader(
        &self,
        leader: MemberId,
        path: &str,
        request: Vec<u8>,
        deadline: Instant,
    ) -> Result<Told, EtcdError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(EtcdError::Timeout);
        }
        let asking = self.shared.peers.ask(leader, Method::POST, path, request.into(), left);
        let Some(asked) = self.while_leading(leader, asking).await else { return Ok(Told::NothingYet) };
        match asked {
            Ok(answer) if answer.status == StatusCode::OK => return Ok(Told::Answer(answer.body)),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(Told::NotFound),
            Ok(answer) => {
                tracing::debug!(status = %answer.status, "the leader does not answer about a lease")
            }
            Err(error) => tracing::debug!(%error, "cannot ask the leader about a lease"),
        }
        Ok(Told::NothingYet)
    }
}

/// What the leader says of a lease.
enum Told {
    Answer(Bytes),
    NotFound,
    /// It cannot say, or cannot be reached.
    NothingYet,
}

fn facts_of(answer: Bytes) -> Option<LeaseFacts> {
    let answer = leasepb::LeaseInternalResponse::decode(answer).ok()?.lease_time_to_live_response?;
    Some(LeaseFacts {
        remaining_seconds: answer.ttl,
        granted_seconds: answer.granted_ttl,
        keys: answer.keys.into_iter().map(Key).collect(),
    })
}

fn found<T>(answer: Result<T, LeaseRefusal>) -> Result<Option<T>, LeaseError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(LeaseRefusal::NotFound) => Ok(None),
        Err(LeaseRefusal::NotPrimary) => Err(LeaseError::NotPrimary),
    }
}
