//! Who leads, and what follows from it for those who wait.

use super::{Member, Shared};
use std::time::{Duration, Instant};
use tenure_api::error::EtcdError;
use tenure_core::types::{MemberId, Term};
use tokio::sync::watch;

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The leader, if one is known.
    pub leader: Option<MemberId>,
    /// The term.
    pub term: Term,
    /// Since when this is so.
    pub since: Instant,
}

impl Lead {
    /// From now on.
    #[must_use]
    pub fn new(leader: Option<MemberId>, term: Term) -> Self {
        Self { leader, term, since: Instant::now() }
    }
}

impl Shared {
    pub(super) fn leader(&self) -> Option<MemberId> {
        self.lead.borrow().leader
    }
}

impl Member {
    /// Who leads, and when that changes.
    #[must_use]
    pub fn lead(&self) -> watch::Receiver<Lead> {
        self.shared.lead.subscribe()
    }

    /// Whether a leader is known.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.shared.leader().is_some()
    }

    /// Rings when somebody else leads or the members have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.shared.changes.subscribe()
    }

    /// Time without a leader until an election starts.
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.shared.config.election_timeout
    }

    /// Comes back when there has been no leader for three election timeouts: then a stream that asked for one ends.
    pub async fn leader_is_lost(&self) {
        let mut lead = self.lead();
        loop {
            // It ends with the member.
            if lead.wait_for(|lead| lead.leader.is_none()).await.is_err() {
                return;
            }
            let patience = 3 * self.election_timeout();
            let found = lead.wait_for(|lead| lead.leader.is_some());
            match tokio::time::timeout(patience, found).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Does something that only `leader` can answer; `None` once somebody else leads. A leader that stands still answers nothing, and
    /// there is no point in waiting for him when he has a successor.
    pub(super) async fn while_leading<T>(
        &self,
        leader: MemberId,
        asking: impl Future<Output = T>,
    ) -> Option<T> {
        let mut lead = self.lead();
        let replaced = lead.wait_for(|lead| lead.leader.is_some_and(|other| other != leader));
        tokio::select! {
            answer = asking => Some(answer),
            _ = replaced => None,
        }
    }

    /// Waits for a leader.
    ///
    /// # Errors
    /// `NoLeader` after `deadline`, `Stopped`.
    pub(super) async fn leader_by(&self, deadline: Instant) -> Result<MemberId, EtcdError> {
        let mut lead = self.lead();
        let found = lead.wait_for(|lead| lead.leader.is_some());
        let waiting = tokio::time::timeout_at(deadline.into(), found);
        match self.shared.stopped.run_until_cancelled(waiting).await {
            Some(Ok(Ok(lead))) => lead.leader.ok_or(EtcdError::NoLeader),
            Some(Ok(Err(_))) | None => Err(EtcdError::Stopped),
            Some(Err(_)) => Err(EtcdError::NoLeader),
        }
    }

    /// Why a proposal of `since` has had no answer in time, as far as it can be told.
    pub(super) fn why_late(&self, since: Instant) -> EtcdError {
        let lead = *self.shared.lead.borrow();
        let Some(leader) = lead.leader else { return EtcdError::Timeout };
        let earlier_lost = lead.since.checked_sub(2 * self.election_timeout());
        if earlier_lost.is_some_and(|lost| since > lost) && since < lead.since {
            return EtcdError::TimeoutDueToLeaderFail;
        }
        let is_connected = if leader == self.shared.id {
            self.is_connected_to_quorum_since(since)
        } else {
            self.is_connected_since(leader, since)
        };
        if is_connected { EtcdError::Timeout } else { EtcdError::TimeoutDueToConnectionLost }
    }

    /// Whether another member has been reached all the time since then.
    pub(super) fn is_connected_since(&self, member: MemberId, since: Instant) -> bool {
        self.shared.peers.active_since(member).is_some_and(|active| active <= since)
    }

    fn is_connected_to_quorum_since(&self, since: Instant) -> bool {
        let members = self.members();
        let voters = members.iter().filter(|member| !member.is_learner);
        let connected = voters
            .clone()
            .filter(|member| member.id == self.shared.id || self.is_connected_since(member.id, since));
        connected.count() > voters.count() / 2
    }
}
