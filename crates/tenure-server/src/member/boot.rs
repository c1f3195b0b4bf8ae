//! From a data directory, or none, to a running member.
//!
//! The order of a start: lock the directory, open the log, open the store, restore the state from the store, hand what the log has
//! beyond it to the node, start the threads. The first start makes the log complete before anything else, so a crash in between
//! leaves either nothing or a member that can go on.

use super::birth::{self, Birth};
use super::compaction::Compactions;
use super::driver::Driver;
use super::history::Tail;
use super::inbound::ToDriver;
use super::inbox::Inbox;
use super::lead::Lead;
use super::pending::{Admission, Pending};
use super::version::Newer;
use super::wal_thread::WalJob;
use super::{Bell, Member, Shared, apply, hub_thread, measure, upkeep, version, wal_thread, whole};
use crate::auth::{Authenticator, KeyError};
use crate::config::help::ETCD_VERSION;
use crate::config::{Feature, ServerConfig, Storage};
use crate::corruption::{self, Inconsistent};
use crate::discovery::DiscoveryError;
use crate::limits;
use crate::metrics::Metrics;
use crate::peer::join::JoinError;
use crate::peer::{Identity, Network, Peers};
use crate::rpc::header::Headers;
use crate::watch::hub::Hub;
use parking_lot::{Mutex, RwLock};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tenure_core::membership::{self, BootstrapError};
use tenure_core::mvcc::ReadError;
use tenure_core::node::{self, Node, NodeConfig, Output, Restart, StartError};
use tenure_core::state::StateMachine;
use tenure_core::types::{LogEntry, LogIndex, LogPosition, MemberId, Moment, RequestIds};
use tenure_storage::disk::{Disk, DiskLock, MemoryDisk, OsDisk};
use tenure_storage::snapshot::{ForeignDataDir, foreign_data_dir};
use tenure_storage::store::{self, Restored, Store, StoreError, StoreOptions};
use tenure_storage::wal::{self, Replay, Wal, WalError, WalOptions};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a member does not start. Nothing was changed unless the disk failed.
#[derive(Debug, Error)]
pub enum BootError {
    /// The directory belongs to etcd.
    #[error("{0}")]
    Foreign(ForeignDataDir),
    /// The directory is in use.
    #[error("data directory {} is in use by another process; stop that one first", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be used.
    #[error("data directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// There is a store, but not the log that it came from.
    #[error(
        "{} holds a store but no write-ahead log: put the log back (was --wal-dir given before?), or restore a backup",
        .0.display()
    )]
    NoLog(PathBuf),
    /// The log cannot be used.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log and the store do not belong together.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The cluster that the flags describe contradicts itself.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A key for tokens cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The cluster that is to be joined does not fit, or does not answer.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The other founders of the cluster cannot be found.
    #[error("failed to join discovery cluster ({0})")]
    Discovery(#[from] DiscoveryError),
    /// The cluster speaks a newer version.
    #[error(transparent)]
    Newer(#[from] Newer),
    /// The data are not those of the other members.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    /// The data cannot be read to be compared with those of the other members.
    #[error("cannot hash the data to compare them with the other members: {0}")]
    NotHashed(ReadError),
    /// The member has left its cluster.
    #[error(
        "member {:x} has been permanently removed from its cluster; add a new member, with an empty data directory", .0.0
    )]
    Removed(MemberId),
    /// A thread could not be started.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
}

/// A member that runs.
pub struct Running {
    /// The handle.
    pub member: Member,
    /// Its threads, in the order in which they end.
    pub threads: Vec<JoinHandle<()>>,
}

/// Where in the data directory things are.
const STORE: &str = "member/store";
pub(super) const WAL: &str = "member/wal";
const LOCK: &str = "member/lock";

struct Opened {
    disk: Arc<dyn Disk>,
    lock: Box<dyn DiskLock>,
    wal: Wal,
    replay: Replay,
    store: Store,
    state: StateMachine,
    restored: Restored,
    /// Whether there was nothing before.
    is_new: bool,
    /// Members that are known before the log says who they are.
    acquaintances: Vec<membership::Member>,
}

/// Starts a member.
///
/// * `network`: how it talks to other members.
///
/// # Errors
/// [`BootError`].
pub fn boot(
    config: Arc<ServerConfig>,
    metrics: Arc<Metrics>,
    network: &Network,
) -> Result<Running, BootError> {
    // What is wrong with its keys is told before anything is made.
    let authenticator = Authenticator::new(&config)?;
    let disks = disks(&config)?;
    let Prepared { shared, node, wal, request_ids } =
        prepare(config, metrics.clone(), network, authenticator, disks)?;
    measure::on_scrape(&shared, &metrics);
    // A compaction that was not through when the member stopped goes on.
    shared.upkeep_bell.ring();
    let threads = start_threads(&shared, node, wal)?;
    shared.peers.receive_with(Arc::new(ToDriver::new(&shared)));
    let member = Member { shared, tasks: TaskTracker::new(), request_ids: Arc::new(Mutex::new(request_ids)) };
    Ok(Running { member, threads })
}

/// A member without its threads.
pub(super) struct Prepared {
    pub(super) shared: Arc<Shared>,
    /// The node, and what it asked for when it was made.
    pub(super) node: (Node, Vec<Output>),
    pub(super) wal: Wal,
    /// Ids for what clients propose.
    pub(super) request_ids: RequestIds,
}

/// Reads what is on the disks, or makes what is to be there, and everything that the threads share.
pub(super) fn prepare(
    config: Arc<ServerConfig>,
    metrics: Arc<Metrics>,
    network: &Network,
    authenticator: Authenticator,
    disks: Disks,
) -> Result<Prepared, BootError> {
    let started = Instant::now();
    let opened = open(&config, network, disks)?;
    check_version(&opened.state, &metrics)?;
    let metadata = opened.wal.metadata();
    let unix_millis = since_epoch().as_millis() as u64;
    let (node_ids, request_ids) = RequestIds::pair(metadata.member, unix_millis);
    let (node, first) = make_node(&config, &opened, node_ids)?;
    let revision = opened.state.mvcc.revision();
    opened.tell(started);
    let log_end = opened.replay.entries.last().map_or(opened.restored.applied, |entry| entry.index);
    if opened.state.membership.is_removed(metadata.member) {
        return Err(BootError::Removed(metadata.member));
    }
    let peers = peers(&config, &opened, network, metrics.clone());
    let authenticator = authenticator.resuming_behind(log_end);
    let shared = Arc::new_cyclic(|me| Shared {
        me: me.clone(),
        peers,
        lead: watch::Sender::new(Lead::new(None, node.status().term)),
        changes: watch::Sender::new(()),
        receiving: Semaphore::new(1),
        sending: Arc::new(Semaphore::new(limits::PEER_SNAPSHOTS_MAX)),
        installs: AtomicU64::new(0),
        is_removed: AtomicBool::new(false),
        is_learner: AtomicBool::new(false),
        id: metadata.member,
        headers: Headers::new(metadata.cluster, metadata.member),
        tail: Tail::new(revision),
        hub: Arc::new(Hub::new(revision)),
        pending: Pending::new(limits::PROPOSALS_MAX, wait_ticks(&config)),
        authenticator,
        auth_enabled: AtomicBool::new(opened.state.auth.is_enabled()),
        admission: Admission::new(limits::PROPOSAL_BYTES_MAX),
        inbox: Inbox::new(limits::PROPOSALS_MAX),
        applied: super::reads::AppliedIndex::new(opened.restored.applied),
        node_status: Mutex::new(node.status()),
        leads_alone: AtomicBool::new(false),
        checkpoint: Mutex::new(None),
        applying: Mutex::new(()),
        compacted: watch::Sender::new(tenure_core::mvcc::Mvcc::NEVER_COMPACTED),
        compactions: Compactions::new(opened.state.mvcc.compacted()),
        cluster_version: watch::Sender::new(opened.state.membership.cluster_version().map(str::to_owned)),
        hub_bell: Bell::default(),
        upkeep_bell: Bell::default(),
        stopping: AtomicBool::new(false),
        stopped: CancellationToken::new(),
        halted: watch::Sender::new(None),
        state: RwLock::new(opened.state),
        store: opened.store,
        disk: opened.disk,
        _lock: opened.lock,
        alarms_shown: Mutex::default(),
        metrics,
        config,
    });
    shared.follow_members();
    if !opened.is_new && shared.config.features.enabled(Feature::InitialCorruptCheck) {
        // Before anything else: whoever has other data must not send or answer a word.
        check_data(&shared, network).inspect_err(|_| shared.peers.stop())?;
    }
    Ok(Prepared { shared, node: (node, first), wal: opened.wal, request_ids })
}

impl Opened {
    fn tell(&self, started: Instant) {
        tracing::info!(
            "applied-index" = self.restored.applied.0,
            "log-entries" = self.replay.entries.len(),
            records = self.restored.records,
            revision = self.state.mvcc.revision().0,
            took = ?started.elapsed(),
            "restored the store"
        );
    }
}

/// Whether this server is new enough for the cluster whose state it has.
fn check_version(state: &StateMachine, metrics: &Metrics) -> Result<(), BootError> {
    let membership = &state.membership;
    if let Some(target) = membership.downgrade_target() {
        tracing::info!(
            "target-cluster-version" = target,
            "current-server-version" = ETCD_VERSION,
            "cluster is downgrading to target version"
        );
    }
    if let Some(version) = membership.cluster_version() {
        version::check_known(version)?;
        metrics.set_cluster_version(&version::short(version));
    }
    Ok(())
}

fn open(
    config: &ServerConfig,
    network: &Network,
    (disk, wal_disk, wal_dir): Disks,
) -> Result<Opened, BootError> {
    let root = directory(config);
    // Before anything is made: who cannot begin leaves nothing behind.
    let birth = match wal::exists(&*wal_disk, &wal_dir)? {
        true => {
            if config.discovery.is_some() {
                let text =
                    "discovery token is ignored since cluster already initialized; valid logs are found";
                tracing::warn!("wal-dir" = %root.join(&wal_dir).display(), "{text}");
            }
            None
        }
        false if disk.exists(Path::new(STORE)).map_err(io_error(&root))? => {
            return Err(BootError::NoLog(root));
        }
        false => Some(Birth::of(config, network)?),
    };
    let made = disk.create_dir_all(Path::new("member")).and_then(|()| disk.sync_dir(Path::new("")));
    made.map_err(io_error(&root))?;
    let lock = lock(&*disk, config)?;
    let mut acquaintances = Vec::new();
    let is_new = birth.is_some();
    if let Some(birth) = birth {
        tracing::info!(
            "local-member-id" = %format_args!("{:x}", birth.metadata.member.0),
            "cluster-id" = %format_args!("{:x}", birth.metadata.cluster.0),
            "starting a new member"
        );
        Wal::create(wal_disk.clone(), &wal_dir, birth.metadata, WalOptions::default())?;
        acquaintances = birth.others;
    }
    let (store, restored) = Store::open(disk.clone(), Path::new(STORE), StoreOptions::default())?;
    let mut state = StateMachine::new(config.learners_max);
    store::restore(&store, &restored, &mut state)?;
    let position = LogPosition { index: restored.applied, term: restored.term };
    let (mut wal, mut replay) = if restored.is_installed {
        let conf_state = state.membership.conf_state();
        Wal::open_installed(wal_disk, wal_dir, position, conf_state, WalOptions::default())?
    } else {
        Wal::open(wal_disk, wal_dir, position.index, WalOptions::default())?
    };
    if let Some(repair) = &replay.repair {
        tracing::warn!(
            ?repair,
            "cut the torn end of the write-ahead log; nothing that was acknowledged was in it"
        );
    }
    if replay.last_index == LogIndex(0)
        && let Some(founders) = birth::founders_of(config, replay.metadata, network)?
    {
        let (hard_state, entries) = node::bootstrap(&founders);
        wal.save(Some(hard_state), &entries, true)?;
        replay.hard_state = hard_state;
        replay.entries = entries;
    }
    if config.force_new_cluster && replay.last_index > LogIndex(0) {
        let forced = birth::forced(&state.membership, &replay);
        wal.save(Some(forced.hard_state), &forced.added, true)?;
        replay.entries.extend(forced.added);
        replay.hard_state = forced.hard_state;
    }
    Ok(Opened { disk, lock, wal, replay, store, state, restored, is_new, acquaintances })
}

/// The disk of the data directory, the disk of the log, and where on it the log is.
pub(super) type Disks = (Arc<dyn Disk>, Arc<dyn Disk>, PathBuf);

fn disks(config: &ServerConfig) -> Result<Disks, BootError> {
    let disk: Arc<dyn Disk> = match &config.storage {
        Storage::Memory => Arc::new(MemoryDisk::new()),
        Storage::Directory(path) => {
            if let Some(foreign) = foreign_data_dir(path) {
                return Err(BootError::Foreign(foreign));
            }
            Arc::new(OsDisk::new(path))
        }
    };
    match &config.wal_directory {
        Some(path) if config.storage != Storage::Memory => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let name = path.file_name().map_or_else(|| PathBuf::from(WAL), PathBuf::from);
            Ok((disk, Arc::new(OsDisk::new(parent)), name))
        }
        _ => Ok((disk.clone(), disk, PathBuf::from(WAL))),
    }
}

fn lock(disk: &dyn Disk, config: &ServerConfig) -> Result<Box<dyn DiskLock>, BootError> {
    let root = directory(config);
    let path = Path::new(LOCK);
    if !disk.exists(path).map_err(io_error(&root))? {
        disk.create(path).map_err(io_error(&root))?;
    }
    disk.lock(path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => BootError::InUse(root.clone()),
        _ => io_error(&root)(error),
    })
}

/// The others, as far as they are known.
fn peers(config: &ServerConfig, opened: &Opened, network: &Network, metrics: Arc<Metrics>) -> Peers {
    let metadata = opened.wal.metadata();
    let identity = Identity {
        member: metadata.member,
        cluster: metadata.cluster,
        peer_urls: config.initial_advertise_peer_urls.iter().map(ToString::to_string).collect(),
    };
    let peers = Peers::new(identity, network.clone(), config.raft_read_timeout, metrics);
    for other in &opened.acquaintances {
        peers.add(other.id, &other.peer_urls);
    }
    peers
}

fn make_node(
    config: &ServerConfig,
    opened: &Opened,
    ids: RequestIds,
) -> Result<(Node, Vec<Output>), BootError> {
    let state = &opened.state;
    let restart = Restart {
        hard_state: opened.replay.hard_state,
        start: LogPosition { index: opened.restored.applied, term: opened.restored.term },
        entries: opened.replay.entries.clone(),
        applied: opened.restored.applied,
        conf_state: state.membership.conf_state().clone(),
        leases: state.leases.iter().collect(),
        cluster_version: state.membership.cluster_version().map(str::to_owned),
        downgrade_target: state.membership.downgrade_target().map(str::to_owned),
    };
    let mut node = NodeConfig::new(opened.wal.metadata().member, ids, rand::random());
    node.tick = config.heartbeat_interval;
    node.election_ticks =
        (config.election_timeout.as_millis() / config.heartbeat_interval.as_millis().max(1)).max(2) as usize;
    node.pre_vote = config.pre_vote;
    node.catchup_entries_max = usize::try_from(config.snapshot_catchup_entries).unwrap_or(usize::MAX);
    node.request_timeout = config.request_timeout();
    Ok(Node::new(Moment::default(), node, restart)?)
}

/// Compares the data with those of the other members.
fn check_data(shared: &Shared, network: &Network) -> Result<(), BootError> {
    let local_id = format!("{:x}", shared.id.0);
    let timeout = shared.config.request_timeout();
    tracing::info!("local-member-id" = local_id, ?timeout, "starting initial corruption check");
    let own = whole::hash_newest(shared).map_err(BootError::NotHashed)?;
    let members: Vec<MemberId> = shared.state.read().membership.members().map(|member| member.id).collect();
    let others = members.into_iter().filter(|id| *id != shared.id);
    let checking = corruption::check_initially(&shared.peers, others, &own, timeout);
    network.runtime.block_on(checking).inspect_err(|error| {
        tracing::error!(%error, "checkInitialHashKV failed");
    })?;
    Ok(())
}

fn start_threads(
    shared: &Arc<Shared>,
    node: (Node, Vec<Output>),
    wal: Wal,
) -> Result<Vec<JoinHandle<()>>, BootError> {
    let (wal_sender, wal_jobs): (SyncSender<WalJob>, Receiver<WalJob>) = sync_channel(limits::WAL_JOBS_MAX);
    let (committed_sender, committed): (SyncSender<Vec<LogEntry>>, _) = sync_channel(limits::APPLY_JOBS_MAX);
    let driver = Driver::new(shared.clone(), node, wal_sender.clone(), committed_sender);
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        Builder::new().name(name.to_owned()).spawn(work).map_err(BootError::Thread)
    };
    let (a, b, c, d) = (shared.clone(), shared.clone(), shared.clone(), shared.clone());
    Ok(vec![
        spawn("driver", Box::new(move || driver.run()))?,
        spawn("apply", Box::new(move || apply::run(&a, &committed)))?,
        spawn("watch", Box::new(move || hub_thread::run(&b)))?,
        spawn("upkeep", Box::new(move || upkeep::run(&c, &wal_sender)))?,
        spawn("wal", Box::new(move || wal_thread::run(&d, wal, &wal_jobs)))?,
    ])
}

/// Ticks of the driver that make up the time that a request may take.
fn wait_ticks(config: &ServerConfig) -> u64 {
    let tick = config.heartbeat_interval.as_millis().max(1);
    u64::try_from(config.request_timeout().as_millis().div_ceil(tick)).unwrap_or(u64::MAX)
}

fn directory(config: &ServerConfig) -> PathBuf {
    match &config.storage {
        Storage::Directory(path) => path.clone(),
        Storage::Memory => PathBuf::from("(memory)"),
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> BootError + '_ {
    move |source| BootError::Io { path: path.to_path_buf(), source }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
