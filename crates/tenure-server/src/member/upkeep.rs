//! Upkeep: what must be done but nobody waits for. Checkpoints, removing compacted versions, reclaiming space.

use super::apply::begin_checkpoint;
use super::wal_thread::WalJob;
use super::{Shared, halting};
use crate::limits;
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use tenure_core::state::{Halt, StateMachine};
use tenure_core::types::{ConfState, Key, Term};
use tenure_storage::store::{Checkpoint, ReclaimProgress};

/// A checkpoint that has begun, with what the log must know of it.
#[derive(Debug)]
pub struct CheckpointJob {
    /// The slow part.
    pub checkpoint: Checkpoint,
    /// The term of its last entry.
    pub term: Term,
    /// The Raft configuration at that entry.
    pub conf_state: ConfState,
    /// [`Shared::installs`] when it began.
    pub installs: u64,
}

/// Runs until the member stops; unless it had to, it leaves a checkpoint behind, so that the next start is quick.
pub fn run(shared: &Arc<Shared>, wal: &SyncSender<WalJob>) {
    halting(shared, "upkeep", || {
        while !shared.is_stopping() {
            shared.upkeep_bell.wait();
            checkpoint(shared, wal)?;
            compact(shared, wal)?;
        }
        if shared.halted.borrow().is_none() {
            begin_checkpoint(shared, &shared.applying.lock());
            checkpoint(shared, wal)?;
        }
        Ok(())
    });
}

/// Makes a checkpoint that has begun durable, then lets go of the log behind it.
fn checkpoint(shared: &Shared, wal: &SyncSender<WalJob>) -> Result<(), Halt> {
    let Some(CheckpointJob { checkpoint, term, conf_state, installs }) = shared.checkpoint.lock().take()
    else {
        return Ok(());
    };
    let started = Instant::now();
    let index = checkpoint.applied();
    checkpoint.run().map_err(stop)?;
    shared.metrics.handles.backend_commit.observe(started.elapsed().as_secs_f64());
    // The WAL thread is gone only when the member stops.
    if shared.installs.load(Ordering::Acquire) == installs {
        wal.send(WalJob::Checkpointed { index, term, conf_state }).ok();
    }
    tracing::debug!("snapshot-index" = index.0, "saved snapshot");
    Ok(())
}

/// Removes the versions that compactions have given up, in steps that hold the state for a moment only.
fn compact(shared: &Shared, wal: &SyncSender<WalJob>) -> Result<(), Halt> {
    let installs = shared.installs.load(Ordering::Acquire);
    let target = shared.state.read().mvcc.compacted();
    if target <= *shared.compacted.borrow() {
        return Ok(());
    }
    let started = Instant::now();
    let mut resume: Option<Key> = None;
    let mut removed = 0;
    loop {
        let step = write_state(shared).mvcc.compact_step(resume.as_ref(), limits::COMPACT_STEP_KEYS);
        shared.store.mark_dead(&step.removed);
        removed += step.removed.len();
        resume = step.resume;
        if resume.is_none() {
            break;
        }
        if shared.is_stopping() {
            // Not through: the next start goes on, and nobody is told that it is finished.
            return Ok(());
        }
        if shared.installs.load(Ordering::Acquire) != installs {
            // The state is another one: from the beginning.
            shared.upkeep_bell.ring();
            return Ok(());
        }
        // What a compaction writes to memory, readers have to fetch: they go first.
        std::thread::sleep(shared.config.compaction_sleep_interval.min(limits::COMPACT_PAUSE_MAX));
    }
    // What was marked dead can be given back once a checkpoint has noted it.
    begin_checkpoint(shared, &shared.applying.lock());
    checkpoint(shared, wal)?;
    while !shared.is_stopping() && shared.store.reclaim_step().map_err(stop)? != ReclaimProgress::Idle {}
    tracing::info!(
        "scheduled-compact-revision" = target.0,
        removed,
        took = ?started.elapsed(),
        "finished scheduled compaction"
    );
    // Another member's state may have come meanwhile, of which nothing has been removed.
    shared.compacted.send_if_modified(|compacted| {
        let is_same = shared.installs.load(Ordering::Acquire) == installs;
        if is_same {
            *compacted = target;
        }
        is_same
    });
    Ok(())
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

fn stop(error: impl std::fmt::Display) -> Halt {
    Halt(error.to_string())
}
