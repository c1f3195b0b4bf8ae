//! A running member: the threads that carry the core's outputs out, and the handle that services use.
//!
//! * `driver`: owns the `Node`; takes everything from the inbox at once.
//! * `wal_thread`: one write and one fdatasync for all that waits.
//! * `apply`: entries become state, then visible, then answers and events.
//! * `hub_thread`: hands new revisions to watchers.
//! * `upkeep`: checkpoints; `compaction`: what is forgotten, and reclaiming its space.
//! * `boot`: from a data directory (or none) to a running member; `birth`: what a member without one begins with.
//! * `inbound`: what other members say; `snapshots`: states that travel between members.

mod apply;
mod audit;
mod birth;
mod boot;
mod cluster;
mod compaction;
mod driver;
mod guard;
mod handle;
mod health;
mod history;
mod hub_thread;
mod inbound;
mod inbox;
mod lead;
mod leases;
mod log_in;
mod measure;
mod pending;
mod reads;
mod snapshots;
mod upkeep;
mod v2_members;
mod version;
mod wal_thread;
mod whole;

#[cfg(test)]
mod tests;

pub use boot::{BootError, Running, boot};
pub use cluster::MoveLeaderError;
pub use guard::Permit;
pub use handle::{HashKvAnswer, Member, MemberStatus};
pub use lead::Lead;
pub use leases::{LeaseError, LeaseFacts};
pub use log_in::LogInError;
pub use snapshots::ReceiveError;
pub use version::Newer;

use crate::auth::Authenticator;
use crate::config::ServerConfig;
use crate::limits;
use crate::metrics::Metrics;
use crate::peer::Peers;
use crate::rpc::header::Headers;
use crate::watch::hub::Hub;
use compaction::Compactions;
use driver::Event;
use history::Tail;
use inbox::Inbox;
use parking_lot::{Condvar, Mutex, RwLock};
use pending::{Admission, Pending};
use reads::AppliedIndex;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tenure_core::node;
use tenure_core::state::{AlarmEntry, Halt, StateMachine};
use tenure_core::types::{MemberId, Revision};
use tenure_storage::disk::{Disk, DiskLock};
use tenure_storage::store::Store;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// What the threads of a member share.
pub(crate) struct Shared {
    me: Weak<Shared>,
    id: MemberId,
    headers: Headers,
    config: Arc<ServerConfig>,
    peers: Peers,
    state: RwLock<StateMachine>,
    store: Store,
    disk: Arc<dyn Disk>,
    _lock: Box<dyn DiskLock>,
    tail: Tail,
    hub: Arc<Hub>,
    pending: Pending,
    admission: Admission,
    authenticator: Authenticator,
    /// Whether authentication is on, so that as long as it is off nobody has to look into the state for it.
    auth_enabled: AtomicBool,
    inbox: Inbox<Event>,
    applied: AppliedIndex,
    node_status: Mutex<node::Status>,
    /// Who leads, and since when.
    lead: watch::Sender<Lead>,
    /// Rings when somebody else leads or the members have changed.
    changes: watch::Sender<()>,
    /// Snapshots of other members that are received: one at a time.
    receiving: Semaphore,
    /// Snapshots that are sent to other members.
    sending: Arc<Semaphore>,
    /// How often another member's state has taken the place of this one's.
    installs: AtomicU64,
    /// This member has left its cluster.
    is_removed: AtomicBool,
    /// This member only follows and does not vote.
    is_learner: AtomicBool,
    /// [`node::Node::leads_alone`]: reads need not ask.
    leads_alone: AtomicBool,
    /// A checkpoint that waits for the upkeep thread.
    checkpoint: Mutex<Option<upkeep::CheckpointJob>>,
    /// Held while entries are applied: between two groups store and state are at the same entry.
    applying: Mutex<()>,
    /// The revision of the last compaction that is through.
    compacted: watch::Sender<Revision>,
    /// Compactions that are to be carried out, and what was hashed by those that were.
    compactions: Compactions,
    cluster_version: watch::Sender<Option<String>>,
    hub_bell: Bell,
    upkeep_bell: Bell,
    stopping: AtomicBool,
    stopped: CancellationToken,
    halted: watch::Sender<Option<Halt>>,
    metrics: Arc<Metrics>,
    /// The alarms that the last scrape showed.
    alarms_shown: Mutex<Vec<AlarmEntry>>,
}

impl Shared {
    /// Stops the member for good: it cannot vouch for what it would answer.
    fn halt(&self, what: &str, halt: &Halt) {
        self.halted.send_if_modified(|halted| {
            let first = halted.is_none();
            if first {
                tracing::error!(error = %halt, "{what} failed; the member stops");
                *halted = Some(halt.clone());
            }
            first
        });
        self.stop_waiting();
    }

    /// Answers everybody who waits, and sees that nobody waits from now on.
    fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::Release);
        self.peers.stop();
        self.stopped.cancel();
        self.pending.close();
        self.applied.close();
        self.hub.close();
        self.hub_bell.ring();
        self.upkeep_bell.ring();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn wake_hub(&self) {
        if self.hub.has_work() {
            self.hub_bell.ring();
        }
    }

    /// Whether a restart would have to apply so much again that a checkpoint is worth it.
    fn checkpoint_due(&self) -> bool {
        let backlog = self.store.backlog();
        backlog.entries >= self.config.snapshot_count_entries
            || backlog.bytes >= limits::BACKLOG_BYTES_MAX
            || backlog.table_changes >= limits::BACKLOG_TABLE_CHANGES_MAX
    }
}

/// Runs a thread's work; an error stops the member, and so does a panic: without one of its threads it would answer nobody any more, and
/// tell nobody so.
fn halting(shared: &Arc<Shared>, what: &str, work: impl FnOnce() -> Result<(), Halt>) {
    // Nothing that the thread had in hand is looked at again.
    let worked = catch_unwind(AssertUnwindSafe(work));
    let panicked = |panic: Box<dyn Any + Send>| Err(Halt(format!("it panicked: {}", text_of(&*panic))));
    if let Err(halt) = worked.unwrap_or_else(panicked) {
        shared.halt(what, &halt);
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// Wakes one thread. Rings before the thread listens are not lost, and many rings are one.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.changed.notify_one();
        }
    }

    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !*rung {
            self.changed.wait(&mut rung);
        }
        *rung = false;
    }
}
