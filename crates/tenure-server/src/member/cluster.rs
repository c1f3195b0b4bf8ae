//! Changes of the cluster: members, leadership, version. The checks of the member that is asked; those that every
//! member makes alike are the state machine's.

use super::Member;
use super::driver::Event;
use crate::limits;
use bytes::Bytes;
use http::{Method, StatusCode};
use std::time::{Duration, Instant};
use tenure_api::error::EtcdError;
use tenure_core::membership;
use tenure_core::types::{ConfChange, ConfChangeKind, LogIndex, MemberId};

/// Members must have been connected for so long before the cluster may change (M1).
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// Bytes that a change of a member counts while it is under way.
const CHANGE_BYTES: usize = 4 << 10;

impl Member {
    /// Adds a member: its JSON says what it is.
    ///
    /// # Errors
    /// M1: `MemberNotEnoughStarted`, `Unhealthy`; `TooManyLearners`, `PeerURLExist` and `MemberExist` of the state machine; those of
    /// [`Member::propose`].
    pub async fn member_add(
        &self,
        member: &membership::Member,
    ) -> Result<Vec<membership::Member>, EtcdError> {
        self.may_add(member)?;
        let kind = if member.is_learner { ConfChangeKind::AddLearner } else { ConfChangeKind::AddVoter };
        self.change(kind, member.id, member.to_change_context(false).into()).await
    }

    fn may_add(&self, member: &membership::Member) -> Result<(), EtcdError> {
        let members = self.members();
        if !self.shared.config.strict_reconfig_check {
            return Ok(());
        }
        if !member.is_learner && !may_grow(&members) {
            return Err(EtcdError::MemberNotEnoughStarted);
        }
        let voters = voters(&members);
        if !keeps_quorum(voters.len(), self.connected(&voters)) {
            return Err(EtcdError::Unhealthy);
        }
        Ok(())
    }

    /// Removes a member.
    ///
    /// # Errors
    /// M2: `MemberNotFound`, `MemberNotEnoughStarted`, `Unhealthy`; those of [`Member::propose`].
    pub async fn member_remove(&self, id: MemberId) -> Result<Vec<membership::Member>, EtcdError> {
        self.may_remove(id)?;
        self.change(ConfChangeKind::Remove, id, Bytes::new()).await
    }

    fn may_remove(&self, id: MemberId) -> Result<(), EtcdError> {
        let members = self.members();
        let is_learner = members.iter().any(|member| member.id == id && member.is_learner);
        if !self.shared.config.strict_reconfig_check || is_learner {
            return Ok(());
        }
        let voters = voters(&members);
        let left: Vec<_> = voters.iter().filter(|member| member.id != id).collect();
        let started = left.iter().filter(|member| member.is_started()).count();
        if started < left.len() / 2 + 1 {
            return Err(EtcdError::MemberNotEnoughStarted);
        }
        // Who is down is no part of the majority that works.
        if id != self.shared.id && self.shared.peers.active_since(id).is_none() {
            return Ok(());
        }
        if self.connected(&voters) < 2 + (voters.len() - 1) / 2 {
            return Err(EtcdError::Unhealthy);
        }
        Ok(())
    }

    /// Gives a member other peer URLs.
    ///
    /// # Errors
    /// M3: `MemberNotFound`, `PeerURLExist`; those of [`Member::propose`].
    pub async fn member_update(
        &self,
        id: MemberId,
        peer_urls: Vec<String>,
    ) -> Result<Vec<membership::Member>, EtcdError> {
        let member = membership::Member { id, peer_urls, ..membership::Member::default() };
        self.change(ConfChangeKind::Update, id, member.to_change_context(false).into()).await
    }

    /// Gives a learner a vote. A member that does not lead asks the leader, who knows how far the learner is.
    ///
    /// # Errors
    /// M3: `MemberNotFound`, `MemberNotLearner`, `LearnerNotReady`, `MemberNotEnoughStarted`; `Timeout`.
    pub async fn member_promote(&self, id: MemberId) -> Result<Vec<membership::Member>, EtcdError> {
        let deadline = Instant::now() + self.shared.config.request_timeout();
        loop {
            let leader = self.leader_by(deadline).await?;
            let outcome = if leader == self.shared.id {
                self.promote_here(id).await
            } else {
                self.promote_at(leader, id, deadline).await
            };
            match outcome {
                Err(EtcdError::NotLeader | EtcdError::NoLeader) => {}
                outcome => return outcome,
            }
            if Instant::now() >= deadline {
                return Err(EtcdError::Timeout);
            }
            tokio::time::sleep(limits::LEASE_RETRY_PAUSE).await;
        }
    }

    /// Gives a learner a vote, on the leader.
    ///
    /// # Errors
    /// As [`Member::member_promote`], and `NotLeader`.
    pub async fn promote_here(&self, id: MemberId) -> Result<Vec<membership::Member>, EtcdError> {
        let outcome = self.try_to_promote(id).await;
        let metrics = &self.shared.metrics.handles;
        match &outcome {
            Ok(_) => metrics.learner_promote_successes.inc(),
            Err(EtcdError::NotLeader) => {}
            Err(error) => metrics.learner_promote_failures.with_label_values(&[error.text()]).inc(),
        }
        outcome
    }

    async fn try_to_promote(&self, id: MemberId) -> Result<Vec<membership::Member>, EtcdError> {
        self.linearize().await?;
        let status = self.shared.node_status.lock().clone();
        if status.leader != Some(self.shared.id) {
            return Err(EtcdError::NotLeader);
        }
        let progress = status.progress.iter().find(|progress| progress.member == id);
        let matched = match progress {
            Some(progress) => progress.matched,
            None if id == self.shared.id => status.last,
            // Added just now: the node has not taken it up yet.
            None if self.members().iter().any(|member| member.id == id) => LogIndex(0),
            None => return Err(EtcdError::MemberNotFound),
        };
        if !is_ready(matched, status.last) {
            return Err(EtcdError::LearnerNotReady);
        }
        let members = self.members();
        if self.shared.config.strict_reconfig_check && !may_promote(&members) {
            return Err(EtcdError::MemberNotEnoughStarted);
        }
        let member = membership::Member { id, ..membership::Member::default() };
        self.change(ConfChangeKind::AddVoter, id, member.to_change_context(true).into()).await
    }

    async fn promote_at(
        &self,
        leader: MemberId,
        id: MemberId,
        deadline: Instant,
    ) -> Result<Vec<membership::Member>, EtcdError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let path = format!("/members/promote/{}", id.0);
        let asking = self.shared.peers.ask(leader, Method::POST, &path, Bytes::new(), left);
        let asked = self.while_leading(leader, asking).await.ok_or(EtcdError::NotLeader)?;
        let answer = asked.map_err(|error| {
            tracing::debug!(%error, "cannot ask the leader to promote a member");
            EtcdError::NotLeader
        })?;
        let says = |error: EtcdError| answer.text().contains(error.text().trim_start_matches("etcdserver: "));
        match answer.status {
            // The leader has applied the change; this member may still be about to.
            StatusCode::OK => {
                self.linearize().await?;
                Ok(self.members())
            }
            StatusCode::NOT_FOUND => Err(EtcdError::MemberNotFound),
            StatusCode::REQUEST_TIMEOUT => Err(EtcdError::Timeout),
            StatusCode::PRECONDITION_FAILED if says(EtcdError::LearnerNotReady) => {
                Err(EtcdError::LearnerNotReady)
            }
            StatusCode::PRECONDITION_FAILED => Err(EtcdError::MemberNotLearner),
            _ if says(EtcdError::MemberNotEnoughStarted) => Err(EtcdError::MemberNotEnoughStarted),
            _ => Err(EtcdError::NotLeader),
        }
    }

    /// Proposes a change and waits until this member has applied it: the members then.
    async fn change(
        &self,
        kind: ConfChangeKind,
        member: MemberId,
        context: Bytes,
    ) -> Result<Vec<membership::Member>, EtcdError> {
        let id = self.request_ids.lock().next_id();
        let permit = self.shared.admission.admit(CHANGE_BYTES).ok_or(EtcdError::RequestTooManyRequests)?;
        let answer = self.shared.pending.wait(id, permit)?;
        let change = ConfChange { id, kind, member, context };
        if self.shared.inbox.try_send(Event::ConfChange(change)).is_err() {
            self.shared.pending.answer(vec![(id, Err(EtcdError::RequestTooManyRequests))]);
        }
        answer.await.map_err(|_| EtcdError::Stopped)??;
        Ok(self.members())
    }

    /// How many of the voters have been connected long enough, this member among them.
    fn connected(&self, voters: &[&membership::Member]) -> usize {
        let Some(since) = Instant::now().checked_sub(HEALTH_INTERVAL) else { return 0 };
        let is_connected = |id| id == self.shared.id || self.is_connected_since(id, since);
        voters.iter().filter(|member| is_connected(member.id)).count()
    }

    /// Hands the leadership to another voter, and waits until it leads.
    ///
    /// # Errors
    /// M6: `NotLeader`, `BadLeaderTransferee`, `TimeoutLeaderTransfer` as `Err(None)`.
    pub async fn move_leader(&self, to: MemberId) -> Result<(), MoveLeaderError> {
        if !self.is_leader() {
            return Err(EtcdError::NotLeader.into());
        }
        if !self.members().iter().any(|member| member.id == to && !member.is_learner) {
            return Err(EtcdError::BadLeaderTransferee.into());
        }
        let mut lead = self.lead();
        if to != self.shared.id {
            self.shared.inbox.send(Event::TransferLeader(to));
        }
        let leads = lead.wait_for(|lead| lead.leader == Some(to));
        let waiting = tokio::time::timeout(self.shared.config.request_timeout(), leads);
        match self.shared.stopped.run_until_cancelled(waiting).await {
            Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(_))) | None => Err(EtcdError::Stopped.into()),
            Some(Err(_)) => Err(MoveLeaderError::TimedOut),
        }
    }

    /// Before this member stops: hands the leadership to the voter that has been connected longest (M7).
    pub(crate) async fn hand_over(&self) {
        if !self.is_leader() {
            return;
        }
        let members = self.members();
        let others = members.iter().filter(|member| !member.is_learner && member.id != self.shared.id);
        let active = others
            .filter_map(|member| self.shared.peers.active_since(member.id).map(|since| (since, member.id)));
        let Some((_, to)) = active.min() else { return };
        tracing::info!("transferee-member-id" = format!("{:x}", to.0), "leadership transfer starting");
        match self.move_leader(to).await {
            Ok(()) => {
                tracing::info!(
                    "transferee-member-id" = format!("{:x}", to.0),
                    "leadership transfer finished"
                );
            }
            Err(error) => tracing::warn!(%error, "leadership transfer failed"),
        }
    }

    /// Tells the node which version all members have.
    pub(crate) fn tell_server_version_min(&self, version: String) {
        self.shared.inbox.send(Event::ServerVersionMin(version));
    }

    /// Whether this member only follows and does not vote.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        self.shared.is_learner.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whether this member has been removed from its cluster.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.shared.is_removed.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Why the leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveLeaderError {
    /// It was not tried.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The other member does not lead yet.
    #[error("the other member did not take over in time")]
    TimedOut,
}

fn voters(members: &[membership::Member]) -> Vec<&membership::Member> {
    members.iter().filter(|member| !member.is_learner).collect()
}

/// Whether enough voters have started to take one more. A lone member that was restored may always take a second.
fn may_grow(members: &[membership::Member]) -> bool {
    let voters = voters(members);
    let started = voters.iter().filter(|member| member.is_started()).count();
    let grown = voters.len() + 1;
    (started == 1 && grown == 2) || started > grown / 2
}

/// Whether so many connected ones of the voters are still a quorum if one more joins and never starts. (A learner counts alike: it is to
/// vote one day.) A lone member may always take a second.
fn keeps_quorum(voters: usize, connected: usize) -> bool {
    let grown = voters + 1;
    voters == 1 || connected > grown / 2
}

/// Whether enough voters have started for a learner to become one: it has.
fn may_promote(members: &[membership::Member]) -> bool {
    let voters = voters(members);
    let started = voters.iter().filter(|member| member.is_started()).count() + 1;
    started > voters.len().div_ceil(2)
}

/// A learner has nine tenths of the leader's log.
fn is_ready(matched: LogIndex, last: LogIndex) -> bool {
    matched.0 as f64 >= last.0 as f64 * 0.9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(started: usize, unstarted: usize, learners: usize) -> Vec<membership::Member> {
        let member = |name: &str, is_learner| membership::Member {
            name: name.to_owned(),
            is_learner,
            ..membership::Member::default()
        };
        let mut members = vec![member("m", false); started];
        members.extend(vec![member("", false); unstarted]);
        members.extend(vec![member("", true); learners]);
        members
    }

    #[test]
    fn a_cluster_grows_only_if_it_keeps_its_majority() {
        for (started, unstarted, may) in [
            (1, 0, true),
            (1, 1, false),
            (2, 0, true),
            (3, 0, true),
            (2, 1, false),
            (3, 1, true),
            (2, 2, false),
        ] {
            assert_eq!(may_grow(&members(started, unstarted, 1)), may, "{started} and {unstarted}");
        }
        assert!(may_promote(&members(1, 0, 1)) && may_promote(&members(2, 1, 1)));
        assert!(!may_promote(&members(1, 2, 1)));
    }

    #[test]
    fn a_cluster_grows_only_if_who_is_connected_stays_a_quorum() {
        for (voters, connected_min) in [(1, 0), (2, 2), (3, 3), (4, 3), (5, 4), (6, 4), (7, 5)] {
            for connected in 0..=voters {
                let may = connected >= connected_min;
                assert_eq!(keeps_quorum(voters, connected), may, "{connected} of {voters}");
            }
        }
    }

    #[test]
    fn a_learner_is_ready_with_nine_tenths() {
        assert!(is_ready(LogIndex(90), LogIndex(100)) && !is_ready(LogIndex(89), LogIndex(100)));
    }
}
