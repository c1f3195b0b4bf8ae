//! The revision log and the tables: everything the log has decided, on disk.
//!
//! Values live in a *revision log*: records (revision, wire bytes of the pair, checksum) appended to segments
//! in the order of their revisions. It is the value store, the watch history and the source of snapshots at
//! once. Small tables, the applied index and the manifest of the segments are in a `redb` database, with one
//! durable transaction a checkpoint. `docs/format/store.md` says byte by byte what is on disk, and why.
//!
//! * [`Store::append`] adds a batch; from then on its records can be read.
//! * [`Store::checkpoint_begin`] and [`Checkpoint::run`] make durable what was appended. What is newer comes
//!   back from the WAL, so WAL segments go only behind the index that `run` returned.
//! * [`Store::install_begin`] and [`Installation::finish`] put another member's content in the place of this
//!   store's.
//! * [`Store::mark_dead`] and [`Store::reclaim_step`] give room back, a segment at a time.
//!
//! Readers take no lock that is held across IO, and never wait for a sync.

mod append;
mod checkpoint;
mod copy;
mod dead;
mod error;
mod format;
mod install;
mod open;
mod read;
mod recent;
mod reclaim;
mod restore;
mod scan;
mod segment;
mod tables;
#[cfg(test)]
mod tests;
mod unwritten;

pub use checkpoint::Checkpoint;
pub use error::StoreError;
pub use install::Installation;
pub use open::Restored;
pub use reclaim::ReclaimProgress;
pub use restore::restore;
pub use scan::RecordScan;
pub use segment::StoredRecord;

use crate::disk::Disk;
use append::Writer;
use parking_lot::{Mutex, RwLock};
use recent::Recent;
use segment::Segment;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tables::Tables;
use tenure_core::state::TableChange;
use tenure_core::types::{LogIndex, RecordRevision};

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Longest segment in bytes, its table not counted; at most `u32::MAX`. A longer record has a segment of
    /// its own.
    pub segment_bytes_max: u32,
    /// Bytes of the newest records that stay in memory.
    pub recent_bytes_max: usize,
    /// Bytes of the tables that stay in memory.
    pub tables_cache_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { segment_bytes_max: 64 << 20, recent_bytes_max: 32 << 20, tables_cache_bytes_max: 4 << 20 }
    }
}

/// How much room the store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSizes {
    /// Bytes of all files (etcd's `dbSize`).
    pub total_bytes: u64,
    /// Bytes that are not of dead records (etcd's `dbSizeInUse`).
    pub live_bytes: u64,
}

/// What was appended and no checkpoint has begun to make durable: what a restart would have to apply again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Entries of the log.
    pub entries: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Changes of tables, which wait in memory.
    pub table_changes: usize,
}

/// The store. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the handles of a store share. Locks are taken in the order `maintenance`, `writer`, `marking`, a
/// segment's marks, its table; `segments`, `recent`, `started` and what a segment has not written are taken last and alone.
/// Only the first two are held across IO, and what only those who write take.
#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: StoreOptions,
    /// In the order of the revisions. A reader takes the list as it is and keeps what it reads from alive.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    recent: RwLock<Recent>,
    writer: Mutex<Writer>,
    /// Held while records are marked dead and while marks move to another segment.
    marking: Mutex<()>,
    /// Changes of tables that a checkpoint has begun with, in the order of their entries.
    started: Mutex<VecDeque<(LogIndex, TableChange)>>,
    maintenance: Mutex<Maintenance>,
    next_sequence: AtomicU64,
    segments_bytes: AtomicU64,
    dead_bytes: AtomicU64,
    tables_bytes: Arc<AtomicU64>,
    /// Why nothing works any more.
    stopped: OnceLock<String>,
}

/// What only one of checkpoint, reclaim and defragment has at a time.
#[derive(Debug)]
struct Maintenance {
    tables: Tables,
    /// The index up to which everything is durable.
    durable: LogIndex,
    /// The number of the last checkpoint that was committed.
    checkpoint: u64,
}

impl Shared {
    /// Refuses once the store has failed.
    fn check(&self) -> Result<(), StoreError> {
        match self.stopped.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Stopped(cause.clone())),
        }
    }

    /// Remembers a failure: nothing works from now on.
    fn guard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.stop(error);
        }
        result
    }

    fn stop(&self, cause: &StoreError) {
        self.stopped.get_or_init(|| cause.to_string());
    }

    /// The list of segments as it is now.
    fn list(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().clone()
    }

    /// The segment that has the record `at`, if any has.
    fn segment_of(&self, at: RecordRevision) -> Option<Arc<Segment>> {
        let list = self.segments.read();
        let next = list.partition_point(|segment| segment.first <= at);
        list.get(next.checked_sub(1)?).cloned()
    }

    fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }
}

impl Store {
    /// How much room the store takes.
    #[must_use]
    pub fn sizes(&self) -> StoreSizes {
        let shared = &self.shared;
        let total_bytes =
            shared.segments_bytes.load(Ordering::Relaxed) + shared.tables_bytes.load(Ordering::Relaxed);
        let live_bytes = total_bytes.saturating_sub(shared.dead_bytes.load(Ordering::Relaxed));
        StoreSizes { total_bytes, live_bytes }
    }

    /// The index of the last entry that was appended.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.shared.writer.lock().applied()
    }

    /// What no checkpoint has begun to make durable. A driver that begins one at a bound of each number keeps
    /// the restart short and the memory bounded.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.shared.writer.lock().backlog()
    }
}
