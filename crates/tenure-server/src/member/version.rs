//! The version that the cluster speaks: what a change of it does to this member, and downgrades (M8 to M10).

use super::{Member, Shared};
use crate::auth::Caller;
use crate::config::help::ETCD_VERSION;
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, DowngradeInfoSet};
use tenure_core::types::MinorVersion;

/// The cluster speaks a version that this server does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid downgrade; server version is lower than determined cluster version: this server follows etcd {ETCD_VERSION}, the cluster \
     speaks {0}; run a newer server here, or downgrade the cluster first"
)]
pub struct Newer(String);

/// Refuses a cluster version that is newer than this server.
///
/// # Errors
/// [`Newer`].
pub fn check_known(cluster: &str) -> Result<(), Newer> {
    let own = ETCD_VERSION.parse::<MinorVersion>();
    match (own, cluster.parse::<MinorVersion>()) {
        (Ok(own), Ok(spoken)) if spoken > own => Err(Newer(cluster.to_owned())),
        _ => Ok(()),
    }
}

impl Shared {
    /// Tells everybody who has to know which version the cluster speaks now. Says whether it is an older one than before.
    pub(super) fn follow_cluster_version(&self, to: &str) -> bool {
        let from = self.cluster_version.send_replace(Some(to.to_owned()));
        self.metrics.set_cluster_version(&short(to));
        let from = match from {
            None => {
                tracing::info!("cluster-version" = short(to), "set initial cluster version");
                return false;
            }
            Some(from) if from == to => return false,
            Some(from) => from,
        };
        tracing::info!(from = short(&from), to = short(to), "updated cluster version");
        let is_older = to.parse::<MinorVersion>().ok() < from.parse().ok();
        if is_older {
            tracing::info!(
                "prev-cluster-version" = from,
                "new-cluster-version" = to,
                "Cluster version downgrade detected, forcing snapshot"
            );
        }
        if self.state.read().membership.downgrade_target() == Some(to) {
            tracing::info!(
                "target-version" = to,
                "server-version" = ETCD_VERSION,
                "The server is ready to downgrade"
            );
        }
        is_older
    }
}

/// `X.Y` of a version, for people.
pub fn short(version: &str) -> String {
    version.parse::<MinorVersion>().map_or_else(|_| version.to_owned(), MinorVersion::short)
}

impl Member {
    /// Asks whether a downgrade to `target` (`X.Y`) could begin. Returns the version that the cluster speaks, `X.Y`.
    ///
    /// # Errors
    /// M10: `WrongDowngradeVersionFormat`, `ClusterVersionUnavailable`, `InvalidDowngradeTargetVersion`, `DowngradeInProcess`; those
    /// of [`Member::linearize`].
    pub async fn downgrade_validate(&self, target: &str) -> Result<String, EtcdError> {
        let spoken = self.spoken_version();
        self.check_downgrade(target).await?;
        Ok(spoken?.short())
    }

    /// Begins a downgrade to `target` (`X.Y`): the cluster will speak that version, and servers of it may take the place of its
    /// members. Returns the version that the cluster speaks, `X.Y`.
    ///
    /// # Errors
    /// As [`Member::downgrade_validate`], and those of [`Member::propose`].
    pub async fn downgrade_enable(&self, target: &str) -> Result<String, EtcdError> {
        let begun = async {
            let version = self.check_downgrade(target).await?.to_string();
            self.set_downgrade(DowngradeInfoSet { enabled: true, version }).await
        };
        begun.await.inspect_err(|error| tracing::warn!(%error, "reject downgrade request"))?;
        Ok(self.spoken_version()?.short())
    }

    /// Ends a downgrade: the cluster comes back to the version of its oldest member. That there is none is only logged, as etcd
    /// 3.7 does. Returns the version that the cluster speaks, `X.Y`.
    ///
    /// # Errors
    /// `ClusterVersionUnavailable`; those of [`Member::linearize`] and [`Member::propose`].
    pub async fn downgrade_cancel(&self) -> Result<String, EtcdError> {
        self.linearize().await?;
        if self.downgrade_target().is_some() {
            self.set_downgrade(DowngradeInfoSet { enabled: false, version: String::new() }).await?;
        } else {
            tracing::warn!(error = EtcdError::NoInflightDowngrade.text(), "failed to cancel downgrade");
        }
        Ok(self.spoken_version()?.short())
    }

    async fn check_downgrade(&self, target: &str) -> Result<MinorVersion, EtcdError> {
        let target = MinorVersion::from_user(target).map_err(|_| EtcdError::WrongDowngradeVersionFormat)?;
        self.spoken_version()?;
        self.linearize().await?;
        let under_way = self.downgrade_target();
        allow(self.spoken_version()?, under_way.as_deref(), target)?;
        Ok(target)
    }

    async fn set_downgrade(&self, set: DowngradeInfoSet) -> Result<(), EtcdError> {
        self.propose(&Caller::Member, Command::DowngradeInfoSet(set)).await.map(drop)
    }

    fn spoken_version(&self) -> Result<MinorVersion, EtcdError> {
        let version = self.cluster_version().and_then(|version| version.parse().ok());
        version.ok_or(EtcdError::ClusterVersionUnavailable)
    }

    /// The version that a downgrade which is under way leads to, `X.Y.0`.
    #[must_use]
    pub fn downgrade_target(&self) -> Option<String> {
        self.shared.state.read().membership.downgrade_target().map(str::to_owned)
    }

    /// What members that want to join are told of a downgrade: whether the cluster has still to come to its target. etcd says
    /// whether there is a downgrade at all. Its joiners of the older version then expect the newer one to be spoken, which is
    /// so for a moment only, and do not join.
    #[must_use]
    pub fn is_downgrade_ahead(&self) -> bool {
        let state = self.shared.state.read();
        let target = state.membership.downgrade_target();
        target.is_some() && target != state.membership.cluster_version()
    }
}

/// Whether a downgrade may begin.
///
/// * `spoken`: the version that the cluster speaks;
/// * `under_way`: the target of the downgrade that is under way.
fn allow(spoken: MinorVersion, under_way: Option<&str>, target: MinorVersion) -> Result<(), EtcdError> {
    let is_next = spoken.previous() == Some(target);
    match under_way {
        // etcd calls the target invalid once the cluster has come to it: whoever asks again shall hear that it is under way.
        Some(already) if already.parse() == Ok(target) => Err(EtcdError::DowngradeInProcess),
        _ if !is_next => Err(EtcdError::InvalidDowngradeTargetVersion),
        Some(_) => Err(EtcdError::DowngradeInProcess),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_downgrade_goes_one_minor_back_and_there_is_one_at_a_time() {
        use EtcdError::{DowngradeInProcess, InvalidDowngradeTargetVersion};
        let version = |text: &str| MinorVersion::from_user(text).unwrap();
        for (spoken, under_way, target, outcome) in [
            ("3.7", None, "3.6", Ok(())),
            ("3.7", None, "3.7", Err(InvalidDowngradeTargetVersion)),
            ("3.7", None, "3.5", Err(InvalidDowngradeTargetVersion)),
            ("3.7", None, "3.8", Err(InvalidDowngradeTargetVersion)),
            ("4.0", None, "3.9", Err(InvalidDowngradeTargetVersion)),
            ("3.7", Some("3.6.0"), "3.6", Err(DowngradeInProcess)),
            ("3.6", Some("3.6.0"), "3.6", Err(DowngradeInProcess)),
            ("3.6", Some("3.6.0"), "3.5", Err(DowngradeInProcess)),
            ("3.6", Some("3.6.0"), "3.4", Err(InvalidDowngradeTargetVersion)),
        ] {
            assert_eq!(
                allow(version(spoken), under_way, version(target)),
                outcome,
                "{spoken} {under_way:?} {target}"
            );
        }
    }

    #[test]
    fn a_cluster_of_a_newer_version_is_not_known() {
        for known in ["3.0.0", "3.6.0", "3.7.0", "no version"] {
            assert_eq!(check_known(known), Ok(()));
        }
        let newer = check_known("3.8.0").unwrap_err().to_string();
        assert!(
            newer.starts_with("invalid downgrade; server version is lower than determined cluster version")
        );
        assert!(newer.contains("the cluster speaks 3.8.0"), "{newer}");
    }
}
