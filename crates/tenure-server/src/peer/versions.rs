//! Which version the cluster speaks: the leader asks all members and takes the oldest (M8).

use super::Peers;
use crate::config::help::ETCD_VERSION;
use crate::limits;
use crate::member::Member;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use tenure_core::types::MemberId;
use tokio::time::Instant;

/// How often members are asked while the cluster speaks an older version than this member, and while all is well.
const HURRIED: Duration = Duration::from_millis(200);
const SETTLED: Duration = Duration::from_secs(4);

/// A cluster whose version is not decided speaks this one while not all members can be asked.
const OLDEST_VERSION: &str = "3.0.0";

#[derive(Deserialize)]
struct Versions {
    etcdserver: String,
}

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
    let others: Vec<MemberId> =
        member.members().into_iter().map(|other| other.id).filter(|id| *id != member.id()).collect();
    let asking = others.into_iter().map(|id| version_of(peers, id));
    let versions: Option<Vec<String>> = futures::future::join_all(asking).await.into_iter().collect();
    let own = std::iter::once(ETCD_VERSION.to_owned());
    versions?.into_iter().chain(own).min_by_key(|version| numbers(version))
}

async fn version_of(peers: &Peers, id: MemberId) -> Option<String> {
    let asked = peers.ask(id, Method::GET, "/version", Bytes::new(), limits::PEER_VERSION_TIMEOUT).await;
    let answer = asked.ok().filter(|answer| answer.status == StatusCode::OK)?;
    serde_json::from_slice::<Versions>(&answer.body).ok().map(|versions| versions.etcdserver)
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map(|number| number.parse().unwrap_or(0)).collect()
}
