//! A cluster of processes under constant load, to which every few seconds something happens.
//!
//! Several clients write, read, compare and set, hold leases and watch, each through one member after the other. What they see is
//! written down and judged at the end by `tenure-check`, the checkers of the simulator: no acknowledged write is lost or
//! repeated, reads are linearizable, watchers see every change once and in order, leases end neither early nor late. Others keep to
//! one member each, and every answer of their watches is judged, progresses included. In the end all members must have the same
//! hashes and tell the same history, and no log may tell of a panic.
//!
//! What happens is a scene: one thing, or several in the time of each other that hurt no more than a minority. How long nobody's
//! write was acknowledged is measured for each scene, from the last thing that happened in it.

mod act;
mod client;
mod fault;
mod judge;
mod leases;
mod load;
mod operator;
mod record;
mod run;
mod scene;
mod session;
mod settings;
mod stage;
mod streams;
mod watches;

pub use fault::{Fault, Victim, minority};
pub use scene::Together;
pub use settings::{PeerTls, Tokens};

use crate::PATIENCE;
use crate::cluster::Cluster;
use crate::disk::SmallDisk;
use anyhow::{Context, Result, ensure};
use client::Client;
use operator::Operator;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use record::{Endpoints, Record};
use run::Run;
use scene::Repertoire;
use stage::Stage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use streams::Observer;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watches::{History, Wanted};

/// Clients of each kind.
const WRITERS: u32 = 9;
const LEASE_HOLDERS: u32 = 4;
const WATCHERS: usize = 4;
/// The small disk: a log of two segments and what a run writes.
const DISK_BYTES: u64 = 400 << 20;

/// What a run is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's program.
    pub program: PathBuf,
    /// Flags for all members.
    pub flags: Vec<String>,
    /// How many members there are.
    pub members: usize,
    /// The most things that happen together, at least 1; those that hurt somebody hurt no more than a minority all together.
    pub together_max: usize,
    /// Seed of what happens when. What clients ask for follows from it too, but not when.
    pub seed: u64,
    /// How long it goes on.
    pub duration: Duration,
    /// What may happen.
    pub faults: Vec<Fault>,
    /// Whether clients have to log in, and what tokens they get.
    pub auth: Option<Tokens>,
    /// Whether members speak TLS with each other.
    pub peer_tls: Option<PeerTls>,
    /// Whether each member has settings of its own, drawn from the seed.
    pub is_varied: bool,
    /// The longest time without an acknowledged write that a fault of a minority may cause.
    pub gap_max: Duration,
    /// The longest that a SIGTERM of the leader may.
    pub hand_over_gap_max: Duration,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How long no write was acknowledged, for each kind of scene every time: from what happened last in it until all was well again,
    /// and a moment after.
    pub gaps: BTreeMap<Together, Vec<Duration>>,
    /// What cannot happen here, and why.
    pub skipped: BTreeMap<Fault, String>,
    /// The longest gap while nothing happened.
    pub quiet_gap: Duration,
    /// Acknowledged writes.
    pub writes: u64,
    /// Operations that were judged.
    pub operations: usize,
    /// Events that watchers saw.
    pub events: usize,
    /// By member, streams of watches that were judged answer by answer, and the progresses they told to single watchers and to all.
    pub streams: BTreeMap<usize, (usize, usize, usize)>,
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
    ensure!(plan.together_max > 0, "nothing is to happen");
    let mut random = SmallRng::seed_from_u64(plan.seed);
    let mut cluster = settings::cluster(plan, directory, &mut random)?;
    let disk = small_disk(&cluster);
    let faults = possible(plan, &disk, report);
    ensure!(!faults.is_empty(), "nothing of what is to happen can: {:?}", report.skipped);
    cluster.launch().await?;
    if plan.auth.is_some() {
        session::enable(cluster.channel(0).await?).await.context("turn authentication on")?;
    }
    let (record, endpoints) = (Arc::new(Record::new()), Arc::new(Endpoints::default()));
    cluster.members.iter().for_each(|member| endpoints.add(member.url()));
    let load = Load::start(&record, &endpoints, plan, &mut random);
    let operator = Operator::new(&cluster, plan.auth.is_some());
    let stage = Stage::new(cluster, disk, operator, record, endpoints, load.told.clone());
    let repertoire = Repertoire::new(faults, plan.members, plan.together_max);
    let mut run = Run { stage, repertoire, random };
    run.observe_quiet(report).await?;
    let deadline = Instant::now() + plan.duration;
    while Instant::now() < deadline {
        run.next_scene(report).await?;
    }
    run.observe_quiet(report).await?;
    finish(&run.stage, load, report).await?;
    verify_gaps(plan, report)
}

/// A small disk for the last member, if the system allows one.
fn small_disk(cluster: &Cluster) -> Result<SmallDisk> {
    let last = cluster.members.last().context("a cluster has members")?;
    SmallDisk::mount(last.data(), DISK_BYTES)
}

/// What can happen here; the rest is named in the report.
fn possible(plan: &Plan, disk: &Result<SmallDisk>, report: &mut Report) -> Vec<Fault> {
    let mut possible = plan.faults.clone();
    possible.retain(|fault| {
        let (Fault::FillDisk, Err(error)) = (*fault, disk) else { return true };
        report.skipped.insert(*fault, format!("{error:#}"));
        false
    });
    possible
}

async fn finish(stage: &Stage, load: Load, report: &mut Report) -> Result<()> {
    let (operator, record) = (&stage.operator, &stage.record);
    load.stop.cancel();
    for worker in load.workers {
        worker.await?;
    }
    operator.log_out();
    judge::outlive_leases(operator, record).await?;
    let last = judge::last_revision(operator, 0).await?;
    load.end.send_replace(Some(last));
    let recorder = tokio::time::timeout(PATIENCE, load.recorder).await;
    let history = recorder.with_context(|| format!("a watcher of everything does not come to {last}"))??;
    for watcher in load.watchers {
        let watched = tokio::time::timeout(PATIENCE, watcher).await;
        watched.with_context(|| format!("a watcher is not told everything up to revision {last}"))??;
    }
    let compacted = stage.compacted.load(Ordering::Relaxed);
    judge::equal(operator, &history, compacted, last).await?;
    for at in 0..operator.members() {
        let panic = stage.with_server(at, |server| server.panic())?;
        ensure!(panic.is_none(), "m{at} has panicked: {}", panic.unwrap_or_default());
    }
    report.revision = last;
    report.writes = record.writes();
    let judged = judge::judge(record, history, compacted, operator.members())?;
    (report.operations, report.events) = (judged.operations, judged.events);
    (report.streams, report.errors) = (judged.tally, judged.errors);
    Ok(())
}

/// How long nobody may be able to write because of these; no bound where a majority was hurt.
fn gap_max(plan: &Plan, together: &Together) -> Option<Duration> {
    match together.faults() {
        [Fault::Terminate(Victim::Leader)] => Some(plan.hand_over_gap_max),
        faults if faults.iter().any(|fault| fault.hurts(plan.members) > minority(plan.members)) => None,
        _ => Some(plan.gap_max),
    }
}

fn verify_gaps(plan: &Plan, report: &Report) -> Result<()> {
    for (together, gaps) in &report.gaps {
        let Some(limit) = gap_max(plan, together) else { continue };
        let longest = gaps.iter().max().copied().unwrap_or_default();
        ensure!(
            longest <= limit,
            "{together}: no write was acknowledged for {longest:?}, and {limit:?} is the most"
        );
    }
    Ok(())
}

impl Load {
    fn start(record: &Arc<Record>, endpoints: &Arc<Endpoints>, plan: &Plan, random: &mut SmallRng) -> Self {
        let (end, told) = (watch::Sender::new(None), watch::Sender::new(1));
        let stop = CancellationToken::new();
        let told_to = told.subscribe();
        let mut client = |home: usize| {
            let random = SmallRng::seed_from_u64(random.random());
            Client::new(record.clone(), endpoints.clone(), home % plan.members, plan.auth.is_some(), random)
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
        for at in 0..plan.members {
            let (told, end) = (told_to.clone(), end.subscribe());
            watchers.push(tokio::spawn(streams::run(Observer { client: client(at), at, told, end })));
        }
        Self { stop, workers, watchers, recorder, end, told: told_to }
    }
}
