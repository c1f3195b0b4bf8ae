//! Tests of the store.

mod basic;
mod crash;
mod crash_disk;
mod damage;
mod install;
mod model;
mod random;
mod reclaim;
mod restart;

use super::{ReclaimProgress, Restored, Store, StoreError, StoreOptions, StoredRecord};
use crate::disk::{Disk, MemoryDisk};
use std::path::Path;
use std::sync::Arc;
use tenure_core::state::{TableChange, WriteBatch};
use tenure_core::types::{Change, KvBytes, LogIndex, Record, RecordRevision, Revision, Term, Version};

const DIR: &str = "member/store";

/// Segments of few records, and little memory, so that a test reaches the disk.
fn small() -> StoreOptions {
    StoreOptions { segment_bytes_max: 1024, recent_bytes_max: 0, tables_cache_bytes_max: 1 << 20 }
}

fn open(disk: &MemoryDisk, options: StoreOptions) -> (Store, Restored) {
    try_open(Arc::new(disk.clone()), options).expect("the store opens")
}

fn try_open(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<(Store, Restored), StoreError> {
    Store::open(disk, Path::new(DIR), options)
}

fn at(main: i64, sub: u32) -> RecordRevision {
    RecordRevision { main: Revision(main), sub }
}

fn put(at: RecordRevision, key: &str, value: &[u8]) -> Record {
    let version = Version { at, created: at.main, version: 1 };
    let kv = KvBytes::encode(key.as_bytes(), &version, value, None);
    let key = bytes::Bytes::copy_from_slice(key.as_bytes()).into();
    Record { key, version, change: Change::Put { lease: None }, kv }
}

fn tombstone(at: RecordRevision, key: &str) -> Record {
    let version = Version { at, created: Revision(0), version: 0 };
    let kv = KvBytes::encode_tombstone(key.as_bytes());
    let key = bytes::Bytes::copy_from_slice(key.as_bytes()).into();
    Record { key, version, change: Change::Delete, kv }
}

fn batch(applied: u64, records: Vec<Record>, tables: Vec<TableChange>) -> WriteBatch {
    let mut batch = WriteBatch::new(LogIndex(applied), Term(3));
    batch.records = records;
    batch.tables = tables;
    batch
}

fn stored(record: &Record) -> StoredRecord {
    StoredRecord { at: record.at(), tombstone: record.version.is_tombstone(), kv: record.kv.clone() }
}

/// Everything that a scan returns.
fn everything(store: &Store) -> Vec<StoredRecord> {
    let scan = store.scan(RecordRevision::default(), Revision(i64::MAX));
    scan.collect::<Result<_, _>>().expect("the scan reads")
}

fn checkpoint(store: &Store) -> LogIndex {
    store.checkpoint_begin().run().expect("the checkpoint runs")
}
