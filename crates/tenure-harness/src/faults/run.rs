//! Makes things happen, one after the other.

use super::admin;
use super::fault::{Fault, Victim};
use super::record::{Endpoints, Record};
use super::{Plan, Report};
use crate::cluster::{Cluster, until};
use crate::disk::SmallDisk;
use crate::links::Way;
use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt, rngs::SmallRng};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a fault lasts.
const LAST_MILLIS: std::ops::Range<u64> = 1_500..6_000;
/// How long is looked for a gap after everything is well again.
const AFTERMATH: Duration = Duration::from_millis(500);
/// The pause between two faults.
const PAUSE_MILLIS: std::ops::Range<u64> = 300..1_500;
/// The small disk: a log of two segments and what a run writes.
const DISK_BYTES: u64 = 400 << 20;
/// A compaction leaves so many revisions for watchers that are behind.
const REVISIONS_KEPT: i64 = 3_000;

/// A cluster and what is done to it.
pub(super) struct Run {
    cluster: Cluster,
    disk: Result<SmallDisk>,
    record: Arc<Record>,
    endpoints: Arc<Endpoints>,
    told: watch::Receiver<i64>,
    random: SmallRng,
    compacted: i64,
}

impl Run {
    /// A small disk for the last member, if the system allows one.
    pub fn small_disk(cluster: &Cluster) -> Result<SmallDisk> {
        let last = cluster.members.last().context("a cluster has members")?;
        SmallDisk::mount(last.data(), DISK_BYTES)
    }

    pub fn new(
        cluster: Cluster,
        disk: Result<SmallDisk>,
        record: Arc<Record>,
        endpoints: Arc<Endpoints>,
        told: watch::Receiver<i64>,
        random: SmallRng,
    ) -> Self {
        Self { cluster, disk, record, endpoints, told, random, compacted: 0 }
    }

    /// The cluster, and where its history begins.
    pub fn into_cluster(self) -> (ClusterOnDisk, i64) {
        (ClusterOnDisk { cluster: self.cluster, _disk: self.disk }, self.compacted)
    }

    /// Measures the longest gap while nothing happens.
    pub async fn observe_quiet(&self, report: &mut Report) -> Result<()> {
        self.record.begin_gap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        report.quiet_gap = report.quiet_gap.max(self.record.longest_gap());
        Ok(())
    }

    /// Lets one thing happen, waits until all is well again, and writes down for how long nobody could write.
    pub async fn next_fault(&mut self, plan: &Plan, report: &mut Report) -> Result<()> {
        let all = if plan.faults.is_empty() { &Fault::ALL[..] } else { &plan.faults };
        let fault = all[self.random.random_range(0..all.len())];
        if let (Fault::FillDisk, Err(error)) = (fault, &self.disk) {
            report.gaps.entry(fault).or_default().skipped = Some(format!("{error:#}"));
            return Ok(());
        }
        let at = self.record.time();
        self.record.begin_gap();
        self.happen(fault)
            .await
            .with_context(|| format!("{fault}, {:.1} s after the begin", at.as_secs_f64()))?;
        self.recover().await.with_context(|| format!("after {fault}"))?;
        tokio::time::sleep(AFTERMATH).await;
        let gap = self.record.longest_gap();
        println!("{:7.1} s  {:5} ms  {fault}", at.as_secs_f64(), gap.as_millis());
        report.gaps.entry(fault).or_default().longest.push(gap);
        if let Some(wrong) = self.record.first_wrong() {
            bail!("{wrong}");
        }
        let pause = self.random.random_range(PAUSE_MILLIS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        Ok(())
    }

    async fn last(&mut self) {
        let millis = self.random.random_range(LAST_MILLIS);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    async fn place(&mut self, victim: Victim) -> Result<usize> {
        let leader = self.cluster.leader().await?;
        Ok(match victim {
            Victim::Leader => leader,
            Victim::Follower => self.other_than(leader),
        })
    }

    fn other_than(&mut self, at: usize) -> usize {
        let count = self.cluster.members.len();
        (at + self.random.random_range(1..count)) % count
    }

    fn kill(&mut self, at: usize) -> Result<()> {
        self.endpoints.changed(at, false);
        self.cluster.members[at].kill()
    }

    fn launch(&mut self, at: usize) -> Result<()> {
        self.endpoints.changed(at, true);
        self.cluster.members[at].launch()
    }

    async fn happen(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill(victim) => {
                let at = self.place(victim).await?;
                self.kill(at)?;
                self.last().await;
                self.launch(at)
            }
            Fault::KillTwice(victim) => self.kill_twice(victim).await,
            Fault::KillAll => {
                (0..self.cluster.members.len()).try_for_each(|at| self.kill(at))?;
                (0..self.cluster.members.len()).try_for_each(|at| self.launch(at))
            }
            Fault::Freeze(victim) => {
                let at = self.place(victim).await?;
                self.cluster.members[at].freeze()?;
                self.last().await;
                self.cluster.members[at].thaw()
            }
            Fault::Stutter(victim) => self.stutter(victim).await,
            Fault::Terminate(victim) => {
                let at = self.place(victim).await?;
                let ended = self.cluster.members[at].terminate().await;
                self.endpoints.changed(at, false);
                ended?;
                self.last().await;
                self.launch(at)
            }
            Fault::Cut(_)
            | Fault::BlackHole(_)
            | Fault::Mute(_)
            | Fault::Deafen(_)
            | Fault::PartPair
            | Fault::Delay => self.cut(fault).await,
            Fault::Wipe => self.wipe().await,
            Fault::Replace(victim) => self.replace(victim).await,
            Fault::MoveLeader => {
                let from = self.place(Victim::Leader).await?;
                let to = self.other_than(from);
                admin::move_leader(&self.cluster, from, to).await
            }
            Fault::Compact => self.compact().await,
            Fault::Defragment(victim) => {
                let at = self.place(victim).await?;
                admin::defragment(&self.cluster, at).await
            }
            Fault::SaveSnapshot(victim) => {
                let at = self.place(victim).await?;
                admin::save_snapshot(&self.cluster, at).await
            }
            Fault::FillDisk => self.fill_disk().await,
        }
    }

    async fn kill_twice(&mut self, victim: Victim) -> Result<()> {
        let at = self.place(victim).await?;
        self.kill(at)?;
        self.last().await;
        for _ in 0..2 {
            self.launch(at)?;
            let millis = self.random.random_range(0..800);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.kill(at)?;
        }
        self.launch(at)
    }

    async fn stutter(&mut self, victim: Victim) -> Result<()> {
        let at = self.place(victim).await?;
        let end = Instant::now() + Duration::from_millis(self.random.random_range(LAST_MILLIS));
        while Instant::now() < end {
            let (still, going) = (self.random.random_range(20..400), self.random.random_range(5..100));
            self.cluster.members[at].freeze()?;
            tokio::time::sleep(Duration::from_millis(still)).await;
            self.cluster.members[at].thaw()?;
            tokio::time::sleep(Duration::from_millis(going)).await;
        }
        Ok(())
    }

    async fn cut(&mut self, fault: Fault) -> Result<()> {
        let at = match fault {
            Fault::Cut(victim) | Fault::BlackHole(victim) | Fault::Mute(victim) | Fault::Deafen(victim) => {
                self.place(victim).await?
            }
            _ => self.place(Victim::Leader).await?,
        };
        let other = self.other_than(at);
        let links = self.cluster.links()?;
        match fault {
            Fault::Cut(_) => links.isolate(at, Way::Reset),
            Fault::BlackHole(_) => links.isolate(at, Way::Silent),
            Fault::Mute(_) => links.mute(at),
            Fault::Deafen(_) => links.deafen(at),
            Fault::PartPair => links.part(at, other, Way::Silent),
            _ => links.delay(Duration::from_millis(25), Duration::from_millis(50)),
        }
        self.last().await;
        self.cluster.links()?.restore();
        Ok(())
    }

    async fn wipe(&mut self) -> Result<()> {
        let at = self.place(Victim::Follower).await?;
        let asked = self.other_than(at);
        self.kill(at)?;
        self.cluster.wipe(at)?;
        admin::remove(&self.cluster, at, asked).await?;
        admin::add(&self.cluster, at, asked, false).await?;
        self.launch(at)
    }

    async fn replace(&mut self, victim: Victim) -> Result<()> {
        let at = self.place(victim).await?;
        let asked = self.other_than(at);
        admin::remove(&self.cluster, at, asked).await?;
        let ended = self.cluster.members[at].wait_end().await;
        self.endpoints.changed(at, false);
        ended.context("a member that was removed does not end")?;
        self.cluster.wipe(at)?;
        admin::add(&self.cluster, at, asked, true).await?;
        self.launch(at)?;
        self.cluster.ready(at).await?;
        admin::promote(&self.cluster, at, asked).await
    }

    async fn compact(&mut self) -> Result<()> {
        let revision = *self.told.borrow() - REVISIONS_KEPT;
        if revision <= self.compacted {
            return Ok(());
        }
        let (asked, physical) =
            (self.random.random_range(0..self.cluster.members.len()), self.random.random());
        admin::compact(&self.cluster, asked, revision, physical).await?;
        self.compacted = revision;
        Ok(())
    }

    async fn fill_disk(&mut self) -> Result<()> {
        let at = self.cluster.members.len() - 1;
        let disk = self.disk.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        disk.fill()?;
        let millis = self.random.random_range(LAST_MILLIS);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        disk.free()?;
        // It may have found nothing to write in that time.
        if self.cluster.members[at].has_ended()? {
            self.cluster.members[at].wait_end().await?;
            self.endpoints.changed(at, false);
            self.launch(at)?;
        }
        Ok(())
    }

    /// Waits until every member runs, knows a leader, and has applied what the leader had committed.
    pub async fn recover(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let commit = self.cluster.status(leader).await.map_or(0, |status| status.raft_index);
        for at in 0..self.cluster.members.len() {
            self.cluster.ready(at).await?;
            let cluster = &self.cluster;
            let caught_up = until("a member catches up", || async {
                let asked = tokio::time::timeout(Duration::from_secs(2), cluster.status(at)).await;
                let applied = asked.ok().and_then(Result::ok).map(|status| status.raft_applied_index);
                Ok(applied.filter(|applied| *applied >= commit))
            });
            caught_up.await.with_context(|| {
                format!("m{at} does not come to entry {commit}\n{}", cluster.members[at].log_tail())
            })?;
        }
        ensure!(!self.cluster.members.is_empty(), "nobody is left");
        Ok(())
    }
}

/// A cluster whose last member may be on a disk of its own, which must outlive it.
pub(super) struct ClusterOnDisk {
    cluster: Cluster,
    _disk: Result<SmallDisk>,
}

impl std::ops::Deref for ClusterOnDisk {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}
