//! Upkeep: what must be done but nobody waits for. Checkpoints, and what `compaction` does.

use super::apply::begin_checkpoint;
use super::wal_thread::WalJob;
use super::{Shared, compaction, halting};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use tenure_core::state::Halt;
use tenure_core::types::{ConfState, Term};
use tenure_storage::store::Checkpoint;

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
            compaction::carry_out_all(shared, wal)?;
        }
        if shared.halted.borrow().is_none() {
            begin_checkpoint(shared, &shared.applying.lock());
            checkpoint(shared, wal)?;
        }
        Ok(())
    });
}

/// Makes a checkpoint that has begun durable, then lets go of the log behind it.
pub fn checkpoint(shared: &Shared, wal: &SyncSender<WalJob>) -> Result<(), Halt> {
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
    tracing::info!("snapshot-index" = index.0, "saved snapshot to disk");
    Ok(())
}

pub fn stop(error: impl std::fmt::Display) -> Halt {
    Halt(error.to_string())
}
