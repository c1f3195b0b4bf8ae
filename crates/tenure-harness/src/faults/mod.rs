//! A cluster of processes under constant load, to which every few seconds something happens.
//!
//! Several clients write, read, compare and set, hold leases and watch, each through one member after the other. What they see is
//! written down and judged at the end by `tenure-check`, the checkers of the simulator: no acknowledged write is lost or
//! repeated, reads are linearizable, watchers see every change once and in order, leases end neither early nor late. In the end
//! all members must have the same hash at every revision. How long nobody's write was acknowledged is measured for each fault.

mod admin;
mod client;
mod fault;
mod judge;
mod leases;
mod load;
mod record;
mod run;
mod watches;

pub use fault::{Fault, Victim};

use crate::cluster::Cluster;
use anyhow::{Context, Result, ensure};
use client::Client;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use record::{Endpoints, Record};
use run::Run;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watches::{History, Wanted};

/// Clients of each kind.
const WRITERS: u32 = 9;
const LEASE_HOLDERS: u32 = 4;
const WATCHERS: usize = 4;

/// What a run is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's program.
    pub program: PathBuf,
    /// Flags for all members.
    pub flags: Vec<String>,
    /// How many members there are; one of them may be down at any time.
    pub members: usize,
    /// Seed of what happens when. What clients ask for follows from it too, but not when.
    pub seed: u64,
    /// How long it goes on.
    pub duration: Duration,
    /// What may happen; all of [`Fault::ALL`] if it is empty.
    pub faults: Vec<Fault>,
    /// The longest time without an acknowledged write that a fault of a minority may cause.
    pub gap_max: Duration,
    /// The longest that a SIGTERM of the leader may.
    pub hand_over_gap_max: Duration,
}

/// How long no write was acknowledged because of one kind of fault.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// Each time: from the fault until all was well again, and a moment after.
    pub longest: Vec<Duration>,
    /// How often it could not be done, and why.
    pub skipped: Option<String>,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The gaps of each kind of fault.
    pub gaps: BTreeMap<Fault, Gaps>,
    /// The longest gap while nothing happened.
    pub quiet_gap: Duration,
    /// Acknowledged writes.
    pub writes: u64,
    /// Operations that were judged.
    pub operations: usize,
    /// Events that watchers saw.
    pub events: usize,
    /// The last revision.
    pub revision: i64,
    /// How often requests failed, by status.
    pub errors: BTreeMap<String, u64>,
}

/// The clients of a run.
struct Load {
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<()>>,
    recorder: JoinHandle<History>,
    /// Tells watchers the last revision.
    end: watch::Sender<Option<i64>>,
    /// The last revision that the recorder has seen.
    told: watch::Receiver<i64>,
}

/// Runs a cluster in `directory` as `plan` says. What is known when it fails is in `report` all the same.
///
/// # Errors
/// Something that must not be was seen, a member ended or did not come back, or nobody wrote for longer than the plan allows.
pub async fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let flags: Vec<&str> = plan.flags.iter().map(String::as_str).collect();
    let mut random = SmallRng::seed_from_u64(plan.seed);
    let mut cluster = Cluster::with_links(&plan.program, directory, plan.members, &flags)?;
    let disk = Run::small_disk(&cluster);
    cluster.launch().await?;
    let (record, endpoints) = (Arc::new(Record::new()), Arc::new(Endpoints::default()));
    cluster.members.iter().for_each(|member| endpoints.add(member.url()));
    let load = Load::start(&record, &endpoints, plan.members, &mut random);
    let mut run = Run::new(cluster, disk, record.clone(), endpoints, load.told.clone(), random);
    let deadline = Instant::now() + plan.duration;
    run.observe_quiet(report).await?;
    while Instant::now() < deadline {
        run.next_fault(plan, report).await?;
    }
    run.recover().await?;
    run.observe_quiet(report).await?;
    finish(run, load, &record, report).await?;
    verify_gaps(plan, report)
}

async fn finish(run: Run, load: Load, record: &Record, report: &mut Report) -> Result<()> {
    let (cluster, compacted) = run.into_cluster();
    load.stop.cancel();
    for worker in load.workers {
        worker.await?;
    }
    judge::outlive_leases(&cluster, record).await?;
    let last = judge::last_revision(&cluster).await?;
    load.end.send_replace(Some(last));
    let patience = Duration::from_secs(60);
    let recorder = tokio::time::timeout(patience, load.recorder).await;
    let history = recorder.with_context(|| format!("a watcher of everything does not come to {last}"))??;
    for watcher in load.watchers {
        let watched = tokio::time::timeout(patience, watcher).await;
        watched.with_context(|| format!("a watcher does not come to revision {last}"))??;
    }
    judge::equal(&cluster, &history, compacted, last).await?;
    report.revision = last;
    report.writes = record.writes();
    (report.operations, report.events, report.errors) = judge::judge(record, history)?;
    Ok(())
}

fn verify_gaps(plan: &Plan, report: &Report) -> Result<()> {
    for (fault, gaps) in &report.gaps {
        let limit = match fault {
            Fault::Terminate(Victim::Leader) => plan.hand_over_gap_max,
            fault if fault.is_of_minority() => plan.gap_max,
            _ => continue,
        };
        let longest = gaps.longest.iter().max().copied().unwrap_or_default();
        ensure!(
            longest <= limit,
            "{fault}: no write was acknowledged for {longest:?}, and {limit:?} is the most"
        );
    }
    Ok(())
}

impl Load {
    fn start(
        record: &Arc<Record>,
        endpoints: &Arc<Endpoints>,
        members: usize,
        random: &mut SmallRng,
    ) -> Self {
        let (end, told) = (watch::Sender::new(None), watch::Sender::new(1));
        let stop = CancellationToken::new();
        let told_to = told.subscribe();
        let mut client = |home: usize| {
            let random = SmallRng::seed_from_u64(random.random());
            Client::new(record.clone(), endpoints.clone(), home % members, random)
        };
        let recorder = tokio::spawn(watches::record_all(client(0), end.subscribe(), told));
        let mut workers = Vec::new();
        for number in 0..WRITERS {
            workers.push(tokio::spawn(load::run(client(number as usize), number, stop.clone())));
        }
        for number in 0..LEASE_HOLDERS {
            workers.push(tokio::spawn(leases::run(client(number as usize), number, stop.clone())));
        }
        let ranges = [("\0", "\0"), ("c00/", "c030"), ("shared/0", ""), ("lease/", "n")];
        let mut watchers = Vec::new();
        for (number, (key, range_end)) in ranges.into_iter().cycle().take(WATCHERS).enumerate() {
            let wanted = Wanted { key: key.into(), range_end: range_end.into(), from: 1 };
            watchers.push(tokio::spawn(watches::run(client(number), wanted, end.subscribe())));
        }
        Self { stop, workers, watchers, recorder, end, told: told_to }
    }
}
