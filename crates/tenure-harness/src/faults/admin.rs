//! What an operator asks of a cluster.

use crate::cluster::{Cluster, until};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_api::etcdserverpb as pb;
use tokio::time::timeout;
use tonic::transport::Channel;

/// The longest that one question may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Members = pb::cluster_client::ClusterClient<Channel>;
type Maintenance = pb::maintenance_client::MaintenanceClient<Channel>;

/// The id of the member at a place, asked of another one.
pub(super) async fn member_id(cluster: &Cluster, at: usize, asked: usize) -> Result<u64> {
    let mut members = Members::new(cluster.channel(asked).await?);
    let request = pb::MemberListRequest { linearizable: true };
    let list = timeout(PATIENCE, members.member_list(request)).await??.into_inner().members;
    let url = cluster.members[at].peer_url();
    let member = list.iter().find(|member| member.peer_ur_ls.contains(&url));
    Ok(member.with_context(|| format!("no member at {url} among {list:?}"))?.id)
}

/// Removes the member at a place, once the cluster has been healthy for long enough.
pub(super) async fn remove(cluster: &Cluster, at: usize, asked: usize) -> Result<()> {
    let id = member_id(cluster, at, asked).await?;
    until("a member is removed", || async {
        let Ok(channel) = cluster.channel(asked).await else { return Ok(None) };
        let request = pb::MemberRemoveRequest { id };
        match timeout(PATIENCE, Members::new(channel).member_remove(request)).await? {
            Ok(_) => Ok(Some(())),
            // An earlier attempt that was not answered has done it.
            Err(status) if EtcdError::from_status(&status) == Some(EtcdError::MemberNotFound) => Ok(Some(())),
            Err(_) => Ok(None),
        }
    })
    .await
}

/// Adds the member at a place, once the cluster has been healthy for long enough.
pub(super) async fn add(cluster: &Cluster, at: usize, asked: usize, is_learner: bool) -> Result<()> {
    let url = cluster.members[at].peer_url();
    until("a member is added", || async {
        let Ok(channel) = cluster.channel(asked).await else { return Ok(None) };
        let request = pb::MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner };
        match timeout(PATIENCE, Members::new(channel).member_add(request)).await? {
            Ok(_) => Ok(Some(())),
            Err(status) if EtcdError::from_status(&status) == Some(EtcdError::PeerURLExist) => Ok(Some(())),
            Err(_) => Ok(None),
        }
    })
    .await
}

/// Gives the learner at a place a vote, once it is ready.
pub(super) async fn promote(cluster: &Cluster, at: usize, asked: usize) -> Result<()> {
    let id = member_id(cluster, at, asked).await?;
    until("a learner is promoted", || async {
        let Ok(channel) = cluster.channel(asked).await else { return Ok(None) };
        let request = pb::MemberPromoteRequest { id };
        match timeout(PATIENCE, Members::new(channel).member_promote(request)).await? {
            Ok(_) => Ok(Some(())),
            Err(status) if EtcdError::from_status(&status) == Some(EtcdError::MemberNotLearner) => {
                Ok(Some(()))
            }
            Err(_) => Ok(None),
        }
    })
    .await
}

/// Hands the leadership from one place to another.
pub(super) async fn move_leader(cluster: &Cluster, from: usize, to: usize) -> Result<()> {
    let target_id = member_id(cluster, to, from).await?;
    let mut maintenance = Maintenance::new(cluster.channel(from).await?);
    timeout(PATIENCE, maintenance.move_leader(pb::MoveLeaderRequest { target_id })).await??;
    Ok(())
}

/// Compacts the history at a revision.
pub(super) async fn compact(cluster: &Cluster, asked: usize, revision: i64, physical: bool) -> Result<()> {
    let mut kv = pb::kv_client::KvClient::new(cluster.channel(asked).await?);
    match timeout(PATIENCE, kv.compact(pb::CompactionRequest { revision, physical })).await? {
        Err(status) if EtcdError::from_status(&status) != Some(EtcdError::Compacted) => Err(status.into()),
        _ => Ok(()),
    }
}

/// Defragments the member at a place.
pub(super) async fn defragment(cluster: &Cluster, at: usize) -> Result<()> {
    let mut maintenance = Maintenance::new(cluster.channel(at).await?);
    timeout(PATIENCE, maintenance.defragment(pb::DefragmentRequest {})).await??;
    Ok(())
}

/// Reads a backup of the member at a place to its end.
pub(super) async fn save_snapshot(cluster: &Cluster, at: usize) -> Result<()> {
    let mut maintenance = Maintenance::new(cluster.channel(at).await?);
    let mut chunks = timeout(PATIENCE, maintenance.snapshot(pb::SnapshotRequest {})).await??.into_inner();
    let (mut bytes, mut left) = (0, u64::MAX);
    while let Some(chunk) = timeout(PATIENCE, chunks.message()).await?? {
        bytes += chunk.blob.len();
        left = chunk.remaining_bytes;
    }
    ensure!(bytes > 0 && left == 0, "a backup ends after {bytes} bytes, and {left} are missing");
    Ok(())
}
