//! Members of the cluster, the version they speak together, the Raft configuration.

mod id;
mod json;

pub use id::{cluster_id, member_id};
pub use json::{MalformedJson, conf_state_from_json, conf_state_to_json};

use crate::effects::TableChange;
use crate::types::{ClusterId, ConfChangeKind, ConfState, MemberId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tenure_api::error::EtcdError;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Members, cluster version, Raft configuration: what the cluster has agreed on about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
    cluster_version: Option<String>,
    storage_version: Option<String>,
    downgrade: Downgrade,
    conf_state: ConfState,
    /// The most learners that a change may make; `None`: as many as one likes.
    learners_max: Option<u32>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its name, empty until it has started and said so (M4).
    pub name: String,
    /// Where the other members find it.
    pub peer_urls: Vec<String>,
    /// Where clients find it, empty until it has said so.
    pub client_urls: Vec<String>,
    /// Whether it only follows and does not vote.
    pub is_learner: bool,
}

/// Whether the cluster is on its way to an older version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downgrade {
    /// Whether it is.
    pub enabled: bool,
    /// The older version, `X.Y.0`; empty if not.
    pub target_version: String,
}

/// The list of the first members makes no cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootstrapError {
    /// Two members share a URL.
    #[error("duplicate URL {0:?} in cluster config")]
    DuplicateUrl(String),
    /// Two members have the same id, so the same URLs.
    #[error("member exists with identical ID {0:x}")]
    DuplicateId(u64),
    /// A member has no URL.
    #[error("member {0:?} has no peer URL")]
    NoUrl(String),
}

impl Membership {
    /// The members of a new cluster, by ascending id, from `--initial-cluster` (name and peer URLs of each) and
    /// `--initial-cluster-token`.
    ///
    /// # Errors
    /// [`BootstrapError`] if the list contradicts itself.
    pub fn bootstrap(
        initial_cluster: &BTreeMap<String, Vec<String>>,
        token: &str,
    ) -> Result<Vec<Member>, BootstrapError> {
        let mut urls_seen = BTreeSet::new();
        let mut members = BTreeMap::new();
        for (name, urls) in initial_cluster {
            if urls.is_empty() {
                return Err(BootstrapError::NoUrl(name.clone()));
            }
            if let Some(url) = urls.iter().find(|url| !urls_seen.insert(*url)) {
                return Err(BootstrapError::DuplicateUrl(url.clone()));
            }
            let mut peer_urls = urls.clone();
            peer_urls.sort();
            let id = member_id(&peer_urls, token, None);
            let member = Member { id, name: name.clone(), peer_urls, ..Member::default() };
            if members.insert(id, member).is_some() {
                return Err(BootstrapError::DuplicateId(id.0));
            }
        }
        Ok(members.into_values().collect())
    }

    /// Bounds the learners. It is no part of what the cluster has agreed on: all members must be started with the same bound, as in etcd.
    pub fn bound_learners(&mut self, learners_max: u32) {
        self.learners_max = Some(learners_max);
    }

    /// The rows of its tables, as the changes that make it out of nothing.
    pub(crate) fn tables(&self) -> Vec<TableChange> {
        let members = self.members.values();
        let mut rows: Vec<TableChange> =
            members.map(|member| TableChange::MemberPut(member.id, member.to_json().into())).collect();
        rows.extend(self.removed.iter().copied().map(TableChange::MemberRemove));
        rows.extend(self.cluster_version.clone().map(TableChange::ClusterVersion));
        rows.extend(self.storage_version.clone().map(TableChange::StorageVersion));
        if self.downgrade != Downgrade::default() {
            rows.push(TableChange::Downgrade(self.downgrade.to_json().into()));
        }
        if self.conf_state != ConfState::default() {
            rows.push(TableChange::ConfState(conf_state_to_json(&self.conf_state).into()));
        }
        rows
    }

    /// All members by ascending id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> + '_ {
        self.members.values()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether this member has left; its id never comes back.
    #[must_use]
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// Those who have left, by ascending id.
    pub fn removed(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.removed.iter().copied()
    }

    /// The cluster's id, from the members it has now. It is only right at the start of a cluster: later ones come
    /// from the log's metadata.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        cluster_id(self.members.keys().copied())
    }

    /// The version that the cluster as a whole speaks, `X.Y.0`; `None` until the first leader has decided it.
    #[must_use]
    pub fn cluster_version(&self) -> Option<&str> {
        self.cluster_version.as_deref()
    }

    /// The version of the stored data, `X.Y.0`, which follows the cluster version (M9).
    #[must_use]
    pub fn storage_version(&self) -> Option<&str> {
        self.storage_version.as_deref()
    }

    /// Whether the cluster is on its way to an older version.
    #[must_use]
    pub fn downgrade(&self) -> &Downgrade {
        &self.downgrade
    }

    /// The version that a downgrade which is under way leads to, `X.Y.0`.
    #[must_use]
    pub fn downgrade_target(&self) -> Option<&str> {
        self.downgrade.enabled.then_some(self.downgrade.target_version.as_str())
    }

    /// Who takes part in Raft.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// Why a change of a member is refused, if it is: the same on every member (M1 to M3).
    ///
    /// # Errors
    /// * [`EtcdError::MemberNotFound`] for one that has been removed, or is not there;
    /// * [`EtcdError::MemberExist`], [`EtcdError::PeerURLExist`] for a new one that is there;
    /// * [`EtcdError::TooManyLearners`] for a new learner beyond [`Membership::bound_learners`];
    /// * [`EtcdError::MemberNotLearner`] for the promotion of a voter;
    /// * [`EtcdError::MemberNotEnoughStarted`] for the removal of the last voter.
    pub fn check_change(
        &self,
        kind: ConfChangeKind,
        member: &Member,
        is_promote: bool,
    ) -> Result<(), EtcdError> {
        if self.is_removed(member.id) {
            return Err(EtcdError::MemberNotFound);
        }
        let known = self.member(member.id);
        let is_last_voter = self.conf_state.voters == [member.id];
        match kind {
            ConfChangeKind::AddVoter | ConfChangeKind::AddLearner if is_promote => match known {
                None => Err(EtcdError::MemberNotFound),
                Some(member) if !member.is_learner => Err(EtcdError::MemberNotLearner),
                Some(_) => Ok(()),
            },
            ConfChangeKind::AddVoter | ConfChangeKind::AddLearner => match known {
                Some(_) => Err(EtcdError::MemberExist),
                None => self.check_urls(member).and_then(|()| self.check_learners(kind)),
            },
            ConfChangeKind::Remove | ConfChangeKind::Update if known.is_none() => {
                Err(EtcdError::MemberNotFound)
            }
            ConfChangeKind::Remove if is_last_voter => Err(EtcdError::MemberNotEnoughStarted),
            ConfChangeKind::Remove => Ok(()),
            ConfChangeKind::Update => self.check_urls(member),
        }
    }

    fn check_learners(&self, kind: ConfChangeKind) -> Result<(), EtcdError> {
        let learners = self.members().filter(|member| member.is_learner).count();
        match self.learners_max {
            Some(max) if kind == ConfChangeKind::AddLearner && learners >= max as usize => {
                Err(EtcdError::TooManyLearners)
            }
            _ => Ok(()),
        }
    }

    fn check_urls(&self, member: &Member) -> Result<(), EtcdError> {
        let others = self.members().filter(|other| other.id != member.id);
        let taken: BTreeSet<&String> = others.flat_map(|other| &other.peer_urls).collect();
        if member.peer_urls.iter().any(|url| taken.contains(url)) {
            return Err(EtcdError::PeerURLExist);
        }
        Ok(())
    }

    pub(crate) fn install_table(&mut self, change: &TableChange) {
        const OWN: &str = "what this member has encoded it can decode";
        match change {
            TableChange::MemberPut(id, json) => {
                let member = Member::from_json(json).expect(OWN);
                self.members.insert(*id, member);
            }
            TableChange::MemberRemove(id) => {
                self.members.remove(id);
                self.removed.insert(*id);
            }
            TableChange::ClusterVersion(version) => self.cluster_version = Some(version.clone()),
            TableChange::StorageVersion(version) => self.storage_version = Some(version.clone()),
            TableChange::Downgrade(json) => self.downgrade = Downgrade::from_json(json).expect(OWN),
            TableChange::ConfState(json) => self.conf_state = conf_state_from_json(json).expect(OWN),
            _ => {}
        }
    }
}

impl Member {
    /// Whether the member has said its name, which it does once it runs (M4).
    #[must_use]
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// The change of the `members` table that sets this member.
    pub(crate) fn table_change(&self) -> TableChange {
        TableChange::MemberPut(self.id, Bytes::from(self.to_json()))
    }
}
