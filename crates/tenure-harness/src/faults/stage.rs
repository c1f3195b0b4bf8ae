//! A cluster to several members of which something can happen at the same time.

use super::fault::Victim;
use super::operator::Operator;
use super::record::{Endpoints, Record};
use crate::cluster::Cluster;
use crate::disk::SmallDisk;
use crate::links::Links;
use crate::process::Server;
use crate::{LOOK_AGAIN, PATIENCE};
use anyhow::{Context, Result, ensure};
use rand::{RngExt, rngs::SmallRng, seq::IteratorRandom};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The pause before a member that could not join is started again.
const JOIN_AGAIN: Duration = Duration::from_millis(500);
/// The last words of a member that joins and was told of members that are not there any more.
const TOLD_THE_PAST: [&str; 2] = ["has already been bootstrapped", "member count is unequal"];

/// The cluster, and who is taken. A member to which something happens is taken until that is over, so that nothing else happens to it
/// and nobody asks it.
pub(super) struct Stage {
    cluster: Mutex<Cluster>,
    pub disk: Result<SmallDisk>,
    pub operator: Operator,
    pub endpoints: Arc<Endpoints>,
    pub record: Arc<Record>,
    /// The last revision that a watcher has seen.
    pub told: watch::Receiver<i64>,
    /// Where the history begins.
    pub compacted: AtomicI64,
    taken: Mutex<BTreeSet<usize>>,
}

/// Members that are taken, until it is dropped.
pub(super) struct Taken<'a> {
    stage: &'a Stage,
    pub places: Vec<usize>,
}

impl Taken<'_> {
    /// The first, or the only one.
    pub fn first(&self) -> usize {
        self.places[0]
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut taken = self.stage.taken();
        taken.retain(|place| !self.places.contains(place));
    }
}

impl Stage {
    pub fn new(
        cluster: Cluster,
        disk: Result<SmallDisk>,
        operator: Operator,
        record: Arc<Record>,
        endpoints: Arc<Endpoints>,
        told: watch::Receiver<i64>,
    ) -> Self {
        Self {
            cluster: Mutex::new(cluster),
            disk,
            operator,
            endpoints,
            record,
            told,
            compacted: AtomicI64::new(0),
            taken: Mutex::default(),
        }
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.operator.members()
    }

    /// Does something with the process at a place.
    pub fn with_server<T>(&self, at: usize, act: impl FnOnce(&mut Server) -> T) -> T {
        act(&mut self.cluster().members[at])
    }

    /// Does something with the links.
    pub fn with_links<T>(&self, act: impl FnOnce(&Links) -> T) -> Result<T> {
        Ok(act(self.cluster().links()?))
    }

    /// The places of those who are not taken.
    pub fn free(&self) -> Vec<usize> {
        let taken = self.taken();
        (0..self.members()).filter(|at| !taken.contains(at)).collect()
    }

    /// One of those who are not taken.
    pub fn somebody(&self) -> usize {
        self.free().into_iter().choose(&mut rand::rng()).unwrap_or_default()
    }

    /// Takes all of these, or none if one of them is taken.
    pub fn try_take(&self, places: &[usize]) -> Option<Taken<'_>> {
        let mut taken = self.taken();
        if places.iter().any(|place| taken.contains(place)) {
            return None;
        }
        taken.extend(places);
        Some(Taken { stage: self, places: places.to_vec() })
    }

    /// Who leads now, of those who are not taken.
    pub async fn leader(&self) -> Result<usize> {
        self.operator.leader(|| self.free()).await
    }

    /// Who leads now, or somebody who does not; of those who are not taken.
    pub async fn find(&self, victim: Victim, random: &mut SmallRng) -> Result<usize> {
        let leader = self.leader().await?;
        Ok(match victim {
            Victim::Leader => leader,
            Victim::Follower => self.other_than(leader, random)?,
        })
    }

    /// Somebody else who is not taken.
    pub fn other_than(&self, at: usize, random: &mut SmallRng) -> Result<usize> {
        let others = self.free().into_iter().filter(|other| *other != at);
        others.choose(random).context("everybody else is taken")
    }

    /// Takes a member, and begins to look how long nobody can write.
    pub async fn take(&self, victim: Victim, random: &mut SmallRng) -> Result<Taken<'_>> {
        loop {
            let at = self.find(victim, random).await?;
            // Something else that looked for one at the same time may have been first.
            if let Some(taken) = self.try_take(&[at]) {
                self.record.strike();
                return Ok(taken);
            }
        }
    }

    pub fn kill(&self, at: usize) -> Result<()> {
        self.endpoints.changed(at, false);
        self.with_server(at, Server::kill)
    }

    pub fn launch(&self, at: usize) -> Result<()> {
        self.endpoints.changed(at, true);
        self.with_server(at, Server::launch)
    }

    /// Makes a member that is down forget everything, and join anew when it is started.
    pub fn wipe(&self, at: usize) -> Result<()> {
        self.cluster().wipe(at)
    }

    /// Starts a member that was added, and waits until it is one.
    pub async fn join(&self, at: usize) -> Result<()> {
        // It must be told of exactly those that are there.
        let _alone = self.operator.membership.lock().await;
        let listed = self.operator.listed(|| self.somebody()).await?;
        self.cluster().tell(at, &listed);
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.launch(at)?;
            let Err(error) = self.ready(at, 0).await else { return Ok(()) };
            // It asked somebody who is cut off and does not know yet that there is another one at its place. Who looks after it
            // starts it again.
            let is_told_the_past = self.with_server(at, Server::has_ended)?
                && TOLD_THE_PAST.iter().any(|text| error.to_string().contains(text));
            if !is_told_the_past || Instant::now() > deadline {
                return Err(error);
            }
            self.outlive(at).await?;
            self.record.failure("a member that joins is told of the members of the past".to_owned());
            tokio::time::sleep(JOIN_AGAIN).await;
        }
    }

    /// Waits until a process has ended.
    pub async fn outlive(&self, at: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.with_server(at, Server::end)?.is_none() {
            ensure!(Instant::now() < deadline, "m{at} has not ended after {PATIENCE:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.endpoints.changed(at, false);
        Ok(())
    }

    /// Waits until a member answers, knows a leader, and has applied the entries up to `commit`.
    pub async fn ready(&self, at: usize, commit: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = || self.with_server(at, |server| server.log_tail());
            ensure!(!self.with_server(at, Server::has_ended)?, "m{at} has ended\n{}", log());
            if let Ok(status) = self.operator.status(at).await
                && status.leader != 0
                && status.raft_applied_index >= commit
            {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "m{at} does not come to entry {commit}\n{}", log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until every member runs, knows a leader, and has applied what the leader had committed.
    pub async fn recover(&self) -> Result<()> {
        let leader = self.leader().await?;
        let commit = self.operator.status(leader).await.map_or(0, |status| status.raft_index);
        for at in 0..self.members() {
            self.ready(at, commit).await?;
        }
        Ok(())
    }

    /// Some time of a range, in milliseconds.
    pub async fn pause(&self, millis: std::ops::Range<u64>, random: &mut SmallRng) {
        tokio::time::sleep(Duration::from_millis(random.random_range(millis))).await;
    }
}
