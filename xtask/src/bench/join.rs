//! How long a member takes that joins a loaded cluster with an empty disk.

use super::{Arguments, subject::Subject};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    time::{Duration, Instant},
};
use tenure_api::etcdserverpb::{
    MemberAddRequest, MemberRemoveRequest, RangeRequest, cluster_client::ClusterClient, kv_client::KvClient,
};
use tenure_harness::cluster::Cluster;

/// How long a joiner may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Loads the keys, and adds a member again and again: the time from the answer to `MemberAdd` until the new member, started at once,
/// has counted all keys in a linearizable read and has applied what the cluster had applied when it was added.
pub async fn measure(subject: &mut Subject, arguments: &Arguments) -> Result<()> {
    subject.fill(arguments).await?;
    let name = subject.name.clone();
    for _ in 0..arguments.rounds {
        let cpu = subject.cpu().await?;
        let cluster = subject.cluster.as_mut().context("who joins needs a cluster that the bench started")?;
        let (took, at) = join(cluster, arguments.keys).await?;
        let joiner = &cluster.members[at];
        let (joiner_cpu, resident) = (joiner.cpu_time()?, joiner.resident_bytes()?);
        let others = subject.cpu().await?.saturating_sub(cpu).saturating_sub(joiner_cpu);
        println!(
            "join              {name:<14} {} keys of {} B: ready after {:.2} s, \
             cpu {:.2} s of its own and {:.2} s of the others, resident {:.0} MB",
            arguments.keys,
            arguments.value_bytes,
            took.as_secs_f64(),
            joiner_cpu.as_secs_f64(),
            others.as_secs_f64(),
            resident as f64 / 1e6,
        );
        let cluster = subject.cluster.as_mut().context("it is still there")?;
        leave(cluster, at).await?;
    }
    Ok(())
}

async fn join(cluster: &mut Cluster, keys: u64) -> Result<(Duration, usize)> {
    let leader = cluster.leader().await?;
    let at = cluster.make_joiner()?;
    let peer_urls = vec![format!("http://{}", cluster.members[at].peer_address())];
    let mut members = ClusterClient::new(cluster.channel(leader).await?);
    let deadline = Instant::now() + PATIENCE;
    // Right after a start, or after another has left, etcd may ask for patience.
    while let Err(refusal) =
        members.member_add(MemberAddRequest { peer_ur_ls: peer_urls.clone(), is_learner: false }).await
    {
        ensure!(Instant::now() < deadline, "the member is not added: {refusal}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let wanted = cluster.status(leader).await.map_or(0, |status| status.raft_applied_index);
    let started = Instant::now();
    cluster.members[at].launch()?;
    while !is_ready(cluster, at, wanted, keys).await {
        let member = &mut cluster.members[at];
        ensure!(!member.has_ended()?, "the member has ended\n{}", member.log_tail());
        ensure!(started.elapsed() < PATIENCE, "the member is not ready\n{}", member.log_tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((started.elapsed(), at))
}

async fn is_ready(cluster: &Cluster, at: usize, wanted: u64, keys: u64) -> bool {
    let asking = async {
        let mut kv = KvClient::new(cluster.channel(at).await?);
        let all = RangeRequest {
            key: "bench/".into(),
            range_end: "bench0".into(),
            count_only: true,
            ..Default::default()
        };
        let found = kv.range(all).await?.into_inner().count;
        anyhow::Ok(found as u64 == keys && cluster.status(at).await?.raft_applied_index >= wanted)
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), asking).await, Ok(Ok(true)))
}

/// The cluster is again what it was.
async fn leave(cluster: &mut Cluster, at: usize) -> Result<()> {
    let id = cluster.status(at).await?.header.context("every answer has a header")?.member_id;
    let mut members = ClusterClient::new(cluster.channel(cluster.leader().await?).await?);
    let deadline = Instant::now() + PATIENCE;
    while let Err(refusal) = members.member_remove(MemberRemoveRequest { id }).await {
        ensure!(Instant::now() < deadline, "the member is not removed: {refusal}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let gone = cluster.members.pop().context("it is the last one")?;
    let data = gone.data().to_path_buf();
    drop(gone);
    Ok(fs::remove_dir_all(data)?)
}
