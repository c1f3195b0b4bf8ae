//! What looks at everything a member holds: hashes and backups. Each runs on a thread that may block.

use super::handle::HashKvAnswer;
use super::{Shared, v2_members};
use crate::limits;
use bytes::Bytes;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_core::membership::conf_state_from_json;
use tenure_core::mvcc::{HashScan, KvHash, Mvcc, ReadError};
use tenure_core::node::Snapshot;
use tenure_core::state::TableChange;
use tenure_core::types::{LogPosition, RecordRevision, Revision};
use tenure_storage::snapshot::{SnapshotError, SnapshotFile, SnapshotView, content_hash};
use tenure_storage::store::{RecordScan, StoreError, StoredRecord};

/// HashKV. The last compactions are answered with what they hashed themselves, whatever has been compacted since. One at revision 0 is
/// among them for as long as etcd has it: until then revision 0 is not the newest one.
pub fn hash_kv(shared: &Shared, revision: i64) -> Result<HashKvAnswer, ReadError> {
    match shared.compactions.hash_at(Revision(revision)) {
        Some(hash) => Ok(answer(hash, shared.state.read().mvcc.revision())),
        None => hash_records(shared, revision),
    }
}

/// The hash of the newest revision.
pub fn hash_newest(shared: &Shared) -> Result<HashKvAnswer, ReadError> {
    hash_records(shared, 0)
}

/// The hash of what a compaction at revision 0 found.
pub fn hash_of_nothing(shared: &Shared) -> HashKvAnswer {
    answer(KvHash::of_nothing(), shared.state.read().mvcc.revision())
}

fn hash_records(shared: &Shared, revision: i64) -> Result<HashKvAnswer, ReadError> {
    let (mut scan, records, current) = {
        let state = shared.state.read();
        let current = state.mvcc.revision();
        let scan = HashScan::new(&state.mvcc, revision).map_err(ReadError::Refused)?;
        (scan, shared.store.scan(RecordRevision::default(), current), current)
    };
    while !scan.step(&shared.state.read().mvcc, limits::SCAN_STEP_KEYS).map_err(ReadError::Refused)? {}
    let mut hasher = scan.finish();
    for record in records {
        let StoredRecord { at, tombstone, kv } = record.map_err(damaged)?;
        hasher.add(at, tombstone, &kv);
    }
    Ok(answer(hasher.finish(), current))
}

fn answer(hash: KvHash, current: Revision) -> HashKvAnswer {
    HashKvAnswer {
        hash: hash.hash,
        compact_revision: hash.compacted,
        hash_revision: hash.revision,
        revision: current,
    }
}

/// Hash of the database that a snapshot would make.
pub fn hash(shared: &Shared) -> Result<(u32, Revision), SnapshotError> {
    let (view, revision) = view(shared);
    Ok((content_hash(view)?, revision))
}

/// The database of a backup.
pub fn snapshot(shared: &Shared) -> Result<SnapshotFile, SnapshotError> {
    let (view, _) = view(shared);
    write(shared, view)
}

fn write(shared: &Shared, view: SnapshotView<RecordScan>) -> Result<SnapshotFile, SnapshotError> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let name = format!("snapshot-{}.tmp", SERIAL.fetch_add(1, Ordering::Relaxed));
    let path = Path::new("member").join(name);
    SnapshotFile::write(&*shared.disk, &path, view)
}

/// The state of this member for another one.
pub struct MemberSnapshot {
    /// The database.
    pub file: SnapshotFile,
    /// What it stands for.
    pub snapshot: Snapshot,
    /// What members up to etcd 3.6 want to have beside it.
    pub v2_members: Bytes,
}

/// Makes [`MemberSnapshot`].
pub fn snapshot_for_member(shared: &Shared) -> Result<MemberSnapshot, SnapshotError> {
    let (view, _) = view(shared);
    let position = LogPosition { index: view.applied, term: view.term };
    let conf_state = view.tables.iter().rev().find_map(|change| match change {
        TableChange::ConfState(json) => conf_state_from_json(json).ok(),
        _ => None,
    });
    let snapshot = Snapshot { position, conf_state: conf_state.unwrap_or_default() };
    let v2_members = v2_members::encode(&view.tables);
    Ok(MemberSnapshot { file: write(shared, view)?, snapshot, v2_members })
}

/// Everything at one index.
fn view(shared: &Shared) -> (SnapshotView<RecordScan>, Revision) {
    let state = shared.state.read();
    // At revision 0 there is nothing to remove, and an etcd that takes up the snapshot would not go on with it.
    let finished = match state.mvcc.compacted() {
        Revision(0) => Revision(0),
        _ => *shared.compacted.borrow(),
    };
    let mut view = SnapshotView::capture(&state, &shared.store);
    view.finished_compaction = (finished > Mvcc::NEVER_COMPACTED).then_some(finished);
    (view, state.mvcc.revision())
}

fn damaged(error: StoreError) -> ReadError {
    ReadError::Damaged(error.to_string())
}
