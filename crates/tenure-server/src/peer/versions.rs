//! Which version the cluster speaks: the leader asks all members and takes the oldest (M8); and when a downgrade is done (M10).

use super::Peers;
use super::join::{self, PeerVersions};
use crate::config::help::ETCD_VERSION;
use crate::limits;
use crate::member::Member;
use bytes::Bytes;
use http::{Method, StatusCode};
use std::fmt;
use std::time::Duration;
use tenure_core::types::{MemberId, MinorVersion};
use tokio::time::Instant;

/// How often members are asked while the cluster speaks an older version than this member, and while all is well.
const HURRIED: Duration = Duration::from_millis(200);
const SETTLED: Duration = Duration::from_secs(4);

/// A cluster whose version is not decided speaks this one while not all members can be asked.
const OLDEST_VERSION: &str = "3.0.0";

/// Asks again and again while this member leads.
pub async fn watch_versions(member: Member, peers: Peers) {
    let mut leads_since = None;
    let mut changes = member.changes();
    loop {
        changes.mark_unchanged();
        let mut pause = SETTLED;
        if member.is_leader() {
            let since = *leads_since.get_or_insert_with(Instant::now);
            let is_decided = member.cluster_version().is_some();
            match oldest(&member, &peers).await {
                Some(version) => member.tell_server_version_min(version),
                None if !is_decided && since.elapsed() >= member.election_timeout() => {
                    member.tell_server_version_min(OLDEST_VERSION.to_owned());
                }
                None => {}
            }
            if !is_decided {
                pause = HURRIED;
            }
        } else {
            leads_since = None;
        }
        // A new leader and a new membership are looked at without delay.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// The oldest server among the members, if all answer.
async fn oldest(member: &Member, peers: &Peers) -> Option<String> {
    let versions = all(member, peers).await?;
    versions.into_iter().map(|(_, version)| version).min_by_key(|version| numbers(version))
}

/// The servers of all members, if all answer.
async fn all(member: &Member, peers: &Peers) -> Option<Vec<(MemberId, String)>> {
    let asking = member.members().into_iter().map(|other| async move {
        let version = match other.id == member.id() {
            true => Some(ETCD_VERSION.to_owned()),
            false => version_of(peers, other.id).await,
        };
        version.map(|version| (other.id, version))
    });
    futures::future::join_all(asking).await.into_iter().collect()
}

async fn version_of(peers: &Peers, id: MemberId) -> Option<String> {
    let asked = peers.ask(id, Method::GET, join::VERSION_PATH, Bytes::new(), limits::PEER_VERSION_TIMEOUT);
    let failed = |error: &dyn fmt::Display| {
        tracing::warn!("remote-member-id" = format!("{:x}", id.0), %error, "failed to get version");
    };
    let answer = asked.await.inspect_err(|error| failed(error)).ok()?;
    if answer.status != StatusCode::OK {
        failed(&answer.status);
        return None;
    }
    let versions = serde_json::from_slice::<PeerVersions>(&answer.body).inspect_err(|error| failed(error));
    versions.ok().map(|versions| versions.etcdserver)
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map(|number| number.parse().unwrap_or(0)).collect()
}

/// Ends a downgrade that has come to its end, again and again while this member leads.
///
/// * `interval`: between two looks; none are taken if it is zero.
pub async fn watch_downgrade(member: Member, peers: Peers, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(interval).await;
        let Some(target) = member.downgrade_target().filter(|_| member.is_leader()) else { continue };
        if !all_are(&member, &peers, &target).await {
            continue;
        }
        tracing::info!("cluster-version" = target, "the cluster has been downgraded");
        if let Err(error) = member.downgrade_cancel().await {
            tracing::warn!(%error, "failed to cancel downgrade");
        }
    }
}

/// Whether all members are servers of one minor version.
async fn all_are(member: &Member, peers: &Peers, target: &str) -> bool {
    let target = target.parse::<MinorVersion>().ok();
    let Some(versions) = all(member, peers).await else { return false };
    let other = versions.into_iter().find(|(_, version)| version.parse().ok() != target);
    if let Some((id, version)) = &other {
        tracing::warn!(
            "remote-member-id" = format!("{:x}", id.0),
            "current-server-version" = version,
            "target-version" = target.map(MinorVersion::short),
            "remotes server has mismatching etcd version"
        );
    }
    target.is_some() && other.is_none()
}
