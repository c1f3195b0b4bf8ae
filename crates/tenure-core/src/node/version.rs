//! The version that the cluster speaks: what is known of it, and to which one the leader brings it.

use crate::command::{ClusterVersionSet, Command};
use crate::types::{MinorVersion, Moment};
use std::time::Duration;

/// After this long a cluster version that has not been applied is proposed again.
const VERSION_RETRY: Duration = Duration::from_secs(4);

/// What is known about the cluster version.
pub(super) struct VersionDesk {
    own: &'static str,
    members_min: Option<String>,
    cluster: Option<String>,
    /// Of a downgrade that is under way.
    downgrade_target: Option<String>,
    retry_at: Moment,
}

impl VersionDesk {
    pub(super) fn new(
        now: Moment,
        own: &'static str,
        cluster: Option<String>,
        downgrade_target: Option<String>,
    ) -> Self {
        Self { own, members_min: None, cluster, downgrade_target, retry_at: now }
    }

    /// The oldest server among the members is known.
    pub(super) fn note_members_min(&mut self, version: String) {
        self.members_min = Some(version);
    }

    /// What was proposed may have been lost.
    pub(super) fn try_again(&mut self, now: Moment) {
        self.retry_at = now;
    }

    /// Takes up what was applied. Says whether the cluster now speaks an older version than before.
    pub(super) fn note_applied(
        &mut self,
        now: Moment,
        cluster: Option<String>,
        downgrade_target: Option<Option<String>>,
    ) -> bool {
        if let Some(target) = downgrade_target {
            self.downgrade_target = target;
            self.retry_at = now;
            // While a downgrade lasts servers of the older version take the place of members: who they are now is to be asked.
            self.members_min = None;
        }
        let Some(cluster) = cluster else { return false };
        let is_older = self.cluster.as_deref().and_then(parsed) > parsed(&cluster);
        self.cluster = Some(cluster);
        self.retry_at = now;
        is_older
    }

    /// What is to be proposed to bring the cluster to its version: that of the oldest member (M8), or the target of a downgrade (M10).
    ///
    /// * `is_alone`: there is no other member.
    pub(super) fn due(&mut self, now: Moment, is_alone: bool) -> Option<Command> {
        let oldest = self.members_min.as_deref().or(is_alone.then_some(self.own))?;
        let version = next(self.cluster.as_deref(), oldest, self.downgrade_target.as_deref())?;
        if self.retry_at > now {
            return None;
        }
        self.retry_at = now + VERSION_RETRY;
        Some(Command::ClusterVersionSet(ClusterVersionSet { version }))
    }
}

fn parsed(version: &str) -> Option<MinorVersion> {
    version.parse().ok()
}

/// `X.Y.0` of the next version on the way from `cluster`, if there is one: up to the oldest member's, one minor at a time; or, while
/// there is a downgrade, down to its target, which is one minor below both.
pub(super) fn next(cluster: Option<&str>, oldest: &str, downgrade_target: Option<&str>) -> Option<String> {
    let oldest = parsed(oldest)?;
    let Some(cluster) = cluster.and_then(parsed) else { return Some(oldest.to_string()) };
    match downgrade_target.map(parsed) {
        Some(target) => {
            let target = target?;
            let is_next = [cluster.previous(), oldest.previous()] == [Some(target); 2];
            is_next.then(|| target.to_string())
        }
        None if cluster.major == oldest.major && cluster < oldest => {
            Some(MinorVersion { minor: cluster.minor + 1, ..cluster }.to_string())
        }
        None => None,
    }
}
