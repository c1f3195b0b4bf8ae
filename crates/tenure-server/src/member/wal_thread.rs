//! The WAL thread: everything that waits becomes durable with one write and one fdatasync.

use super::driver::Event;
use super::snapshots::{self, Received};
use super::{Shared, halting};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;
use tenure_core::node::Persist;
use tenure_core::state::Halt;
use tenure_core::types::{ConfState, HardState, LogIndex, Term};
use tenure_storage::wal::Wal;

/// Work for the WAL thread.
pub enum WalJob {
    /// Make entries and hard state durable.
    Persist(Persist),
    /// Put a snapshot of another member into the place of what is there.
    Install(Persist, Box<Received>),
    /// A checkpoint holds everything up to here: note it, and let go of the segments behind.
    Checkpointed {
        /// Index of the last entry that the checkpoint holds.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// The Raft configuration at that entry.
        conf_state: ConfState,
    },
}

/// Runs until the sender is gone or the log fails.
pub fn run(shared: &Arc<Shared>, mut wal: Wal, jobs: &Receiver<WalJob>) {
    halting(shared, "write-ahead log", || {
        while let Ok(first) = jobs.recv() {
            turn(shared, &mut wal, std::iter::once(first).chain(jobs.try_iter()))?;
        }
        Ok(())
    });
}

/// Does everything that waits.
pub(super) fn turn(shared: &Shared, wal: &mut Wal, jobs: impl Iterator<Item = WalJob>) -> Result<(), Halt> {
    let mut batch = Batch::default();
    let mut checkpoints = Vec::new();
    for job in jobs {
        match job {
            WalJob::Persist(persist) => batch.add(persist),
            WalJob::Install(persist, received) => {
                std::mem::take(&mut batch).write(shared, wal)?;
                let applied = snapshots::install(shared, wal, &persist, *received)?;
                batch.add(persist);
                std::mem::take(&mut batch).write(shared, wal)?;
                shared.inbox.send(Event::Applied(applied));
                shared.wake_hub();
            }
            WalJob::Checkpointed { index, term, conf_state } => {
                checkpoints.push((index, term, conf_state));
            }
        }
    }
    batch.write(shared, wal)?;
    for (index, term, conf_state) in checkpoints {
        // Who reads the log believes only snapshots that it says are committed. The node writes a commit index that moved with
        // its next batch or tick; what a checkpoint holds is committed in any case.
        let state = wal.hard_state();
        if state.commit < index {
            let state = HardState { commit: index, ..state };
            wal.save(Some(state), &[], false).map_err(stop)?;
        }
        wal.save_snapshot(index, term, &conf_state).map_err(stop)?;
        wal.release_to(index).map_err(stop)?;
    }
    Ok(())
}

#[derive(Default)]
struct Batch {
    persists: Vec<Persist>,
}

impl Batch {
    fn add(&mut self, persist: Persist) {
        self.persists.push(persist);
    }

    /// Writes all of it, then tells the driver: in this order, since the token is the proof.
    fn write(self, shared: &Shared, wal: &mut Wal) -> Result<(), Halt> {
        if self.persists.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::new();
        let mut hard_state = None;
        let mut must_sync = false;
        let mut last = None;
        for persist in self.persists {
            entries.extend(persist.entries);
            hard_state = persist.hard_state.or(hard_state);
            must_sync |= persist.must_sync;
            last = Some(persist.token);
        }
        let started = Instant::now();
        wal.save(hard_state, &entries, must_sync && shared.config.fsync).map_err(stop)?;
        shared.metrics.handles.wal_fsync.observe(started.elapsed().as_secs_f64());
        shared.metrics.handles.wal_write_bytes.set(wal.bytes_written() as i64);
        // It stands for those before it.
        if let Some(token) = last {
            shared.inbox.send(Event::Persisted(token));
        }
        Ok(())
    }
}

fn stop(error: impl std::fmt::Display) -> Halt {
    Halt(error.to_string())
}
