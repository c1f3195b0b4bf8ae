//! Compactions: what one forgets is hashed, so that members can be compared (C6), and then forgotten, in steps that hold the state
//! for a moment only.

use super::Shared;
use super::apply::begin_checkpoint;
use super::upkeep::{checkpoint, stop};
use super::wal_thread::WalJob;
use crate::limits;
use parking_lot::{Mutex, RwLockWriteGuard};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tenure_core::mvcc::{CompactionHashes, HashScan, KvHash, Mvcc};
use tenure_core::state::{Halt, StateMachine};
use tenure_core::types::{Key, RecordRevision, Revision};
use tenure_storage::store::{ReclaimProgress, StoredRecord};

/// A compaction that is decided and not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compaction {
    revision: Revision,
    /// The revision of the one before, whose versions are all gone when this one's turn comes. Nothing if that is not known: then
    /// what this one finds is not what other members find, and its hash says nothing.
    previous: Option<Revision>,
}

/// The compactions that wait to be carried out, and the hashes of those that were.
#[derive(Debug)]
pub struct Compactions {
    desk: Mutex<Desk>,
}

#[derive(Debug)]
struct Desk {
    /// The last that was decided.
    last: Revision,
    waiting: VecDeque<Compaction>,
    hashes: CompactionHashes,
}

impl Desk {
    /// What a state begins with: all that it was to forget may still be there.
    fn new(compacted: Revision) -> Self {
        let again =
            (compacted > Mvcc::NEVER_COMPACTED).then_some(Compaction { revision: compacted, previous: None });
        Self { last: compacted, waiting: again.into_iter().collect(), hashes: CompactionHashes::default() }
    }

    fn decided(&mut self, revision: Revision) {
        let previous = Some(std::mem::replace(&mut self.last, revision));
        let mut next = Compaction { revision, previous };
        if self.waiting.len() >= limits::COMPACTIONS_WAITING_MAX {
            // Who compacts faster than is forgotten gets one compaction for many.
            self.waiting.pop_back();
            next.previous = None;
        }
        self.waiting.push_back(next);
    }
}

impl Compactions {
    /// Those of a member whose state was compacted up to `compacted`.
    pub fn new(compacted: Revision) -> Self {
        Self { desk: Mutex::new(Desk::new(compacted)) }
    }

    /// A compaction was decided.
    pub fn decided(&self, revision: Revision) {
        self.desk.lock().decided(revision);
    }

    /// The state is another one, compacted up to `compacted`: hashes of the old one say nothing any more.
    pub fn replaced(&self, compacted: Revision) {
        *self.desk.lock() = Desk::new(compacted);
    }

    /// The hash of the compaction at `revision`, if it is one of the last.
    pub fn hash_at(&self, revision: Revision) -> Option<KvHash> {
        self.desk.lock().hashes.at(revision)
    }

    /// The hashes of compactions after `revision`, the newest first.
    pub fn hashes_after(&self, revision: Revision) -> Vec<KvHash> {
        self.desk.lock().hashes.after(revision).collect()
    }

    /// The next that is to be carried out.
    fn next(&self) -> Option<Compaction> {
        self.desk.lock().waiting.pop_front()
    }
}

/// Carries out what waits, one after the other.
pub fn carry_out_all(shared: &Shared, wal: &SyncSender<WalJob>) -> Result<(), Halt> {
    while !shared.is_stopping()
        && let Some(compaction) = shared.compactions.next()
    {
        carry_out(shared, wal, compaction)?;
    }
    Ok(())
}

fn carry_out(shared: &Shared, wal: &SyncSender<WalJob>, compaction: Compaction) -> Result<(), Halt> {
    let installs = shared.installs.load(Ordering::Acquire);
    // The state may have become another one: then everything is to be done for that one.
    let is_overtaken = || shared.is_stopping() || shared.installs.load(Ordering::Acquire) != installs;
    let started = Instant::now();
    let hash = match compaction.previous {
        Some(previous) => hash(shared, wal, previous, compaction.revision, &is_overtaken)?,
        None => {
            tracing::info!("previous compaction was interrupted, skip storing compaction hash value");
            None
        }
    };
    let Some(removed) = forget(shared, compaction.revision, &is_overtaken) else { return Ok(()) };
    // What was marked dead can be given back once a checkpoint has noted it.
    begin_checkpoint(shared, &shared.applying.lock());
    checkpoint(shared, wal)?;
    while !shared.is_stopping() && shared.store.reclaim_step().map_err(stop)? != ReclaimProgress::Idle {}
    note(shared, &compaction, removed, hash, started);
    keep(shared, hash, installs);
    // Another member's state may have come meanwhile, of which nothing has been removed.
    shared.compacted.send_if_modified(|compacted| {
        let is_same = shared.installs.load(Ordering::Acquire) == installs;
        if is_same {
            *compacted = compaction.revision;
        }
        is_same
    });
    Ok(())
}

/// The hash of what a compaction finds; nothing if it was overtaken.
fn hash(
    shared: &Shared,
    wal: &SyncSender<WalJob>,
    previous: Revision,
    revision: Revision,
    is_overtaken: &impl Fn() -> bool,
) -> Result<Option<KvHash>, Halt> {
    let mut scan = HashScan::of_compaction(previous, revision);
    let records = shared.store.scan(RecordRevision::default(), revision);
    while !scan.step(&shared.state.read().mvcc, limits::SCAN_STEP_KEYS).map_err(stop)? {}
    let mut hasher = scan.finish();
    for (count, record) in (1_u64..).zip(records) {
        let record = match record {
            // The state and its records have become others meanwhile.
            Err(_) if is_overtaken() => return Ok(None),
            record => record.map_err(stop)?,
        };
        let StoredRecord { at, tombstone, kv } = record;
        hasher.add(at, tombstone, &kv);
        if count % u64::from(shared.config.compaction_batch_limit) == 0 {
            if is_overtaken() {
                return Ok(None);
            }
            // Nobody waits for this: what reads and writes goes first, and checkpoints are not held up.
            checkpoint(shared, wal)?;
            pause(shared);
        }
    }
    Ok((!is_overtaken()).then(|| hasher.finish()))
}

/// Removes the versions that a compaction has given up: how many. Nothing if it was overtaken.
fn forget(shared: &Shared, revision: Revision, is_overtaken: &impl Fn() -> bool) -> Option<usize> {
    let mut resume: Option<Key> = None;
    let mut removed = 0;
    loop {
        if is_overtaken() {
            return None;
        }
        let step =
            write_state(shared).mvcc.compact_step_to(revision, resume.as_ref(), limits::COMPACT_STEP_KEYS);
        shared.store.mark_dead(&step.removed);
        removed += step.removed.len();
        resume = step.resume;
        if resume.is_none() {
            return Some(removed);
        }
        // What a compaction writes to memory, readers have to fetch: they go first.
        pause(shared);
    }
}

fn pause(shared: &Shared) {
    std::thread::sleep(shared.config.compaction_sleep_interval.min(limits::COMPACT_PAUSE_MAX));
}

/// The state for a change that nobody waits for. It does not queue: readers would queue behind it while the apply thread reads.
fn write_state(shared: &Shared) -> RwLockWriteGuard<'_, StateMachine> {
    loop {
        if let Some(state) = shared.state.try_write() {
            return state;
        }
        std::thread::yield_now();
    }
}

fn note(shared: &Shared, compaction: &Compaction, removed: usize, hash: Option<KvHash>, started: Instant) {
    let took = started.elapsed();
    let metrics = &shared.metrics.handles;
    metrics.db_compaction_keys.inc_by(removed as u64);
    metrics.db_compaction_total_milliseconds.observe(took.as_millis() as f64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics.db_compaction_last.set(now.as_secs() as i64);
    let sizes = shared.store.sizes();
    tracing::info!(
        "compact-revision" = compaction.revision.0,
        ?took,
        "number-of-keys-compacted" = removed,
        hash = hash.map(|hash| hash.hash),
        "current-db-size-bytes" = sizes.total_bytes,
        "current-db-size-in-use-bytes" = sizes.live_bytes,
        "finished scheduled compaction"
    );
}

/// Keeps the hash of a compaction, unless it is of a state that was replaced.
fn keep(shared: &Shared, hash: Option<KvHash>, installs: u64) {
    let Some(hash) = hash else { return };
    let mut desk = shared.compactions.desk.lock();
    // A replacement counts before it clears the desk, so none is overlooked here.
    if shared.installs.load(Ordering::Acquire) != installs {
        return;
    }
    desk.hashes.keep(hash);
    drop(desk);
    tracing::info!(
        hash = hash.hash,
        revision = hash.revision.0,
        "compact-revision" = hash.compacted.0,
        "storing new hash"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(compactions: &Compactions) -> Vec<(i64, Option<i64>)> {
        let all = std::iter::from_fn(|| compactions.next());
        all.map(|next| (next.revision.0, next.previous.map(|previous| previous.0))).collect()
    }

    #[test]
    fn each_compaction_knows_the_one_before_unless_that_was_before_the_start() {
        let compactions = Compactions::new(Mvcc::NEVER_COMPACTED);
        compactions.decided(Revision(3));
        compactions.decided(Revision(7));
        assert_eq!(waiting(&compactions), [(3, Some(-1)), (7, Some(3))]);
        compactions.decided(Revision(9));
        assert_eq!(waiting(&compactions), [(9, Some(7))]);
        let restarted = Compactions::new(Revision(9));
        restarted.decided(Revision(12));
        assert_eq!(waiting(&restarted), [(9, None), (12, Some(9))]);
    }

    #[test]
    fn of_too_many_compactions_the_last_become_one() {
        let compactions = Compactions::new(Mvcc::NEVER_COMPACTED);
        let many = limits::COMPACTIONS_WAITING_MAX as i64 + 3;
        (1..=many).for_each(|revision| compactions.decided(Revision(revision)));
        let waiting = waiting(&compactions);
        assert_eq!(waiting.len(), limits::COMPACTIONS_WAITING_MAX);
        assert_eq!(waiting.last(), Some(&(many, None)));
    }

    #[test]
    fn a_state_that_is_replaced_takes_its_hashes_with_it() {
        let compactions = Compactions::new(Mvcc::NEVER_COMPACTED);
        compactions.decided(Revision(3));
        let hash = KvHash { hash: 1, compacted: Revision(-1), revision: Revision(3) };
        compactions.desk.lock().hashes.keep(hash);
        assert_eq!(compactions.hash_at(Revision(3)), Some(hash));
        assert_eq!(compactions.hashes_after(Revision(0)), [hash]);
        compactions.replaced(Revision(20));
        assert_eq!(compactions.hash_at(Revision(3)), None);
        assert_eq!(waiting(&compactions), [(20, None)]);
    }
}
