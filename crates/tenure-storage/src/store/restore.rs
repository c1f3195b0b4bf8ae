//! From a store to a state machine.

use super::{Restored, Shared, Store, StoreError, StoredRecord};
use std::sync::mpsc;
use std::thread;
use tenure_core::state::StateMachine;
use tenure_core::types::{RecordRevision, Revision};

/// Chunks of records that are read ahead of the index.
const CHUNKS_AHEAD_MAX: usize = 4;

/// Takes up in `state`, which is fresh, what the checkpoint that `store` was opened at holds: the tables, every record, the position. What
/// is left to do is to apply the log after [`Restored::applied`], and to run the compaction of the key index from its
/// beginning.
///
/// Records are read and verified on one thread and indexed on this one.
///
/// # Errors
/// If a record is damaged or cannot be read. The store has stopped then, and `state` is of no use.
pub fn restore(store: &Store, restored: &Restored, state: &mut StateMachine) -> Result<(), StoreError> {
    restored.tables.iter().for_each(|row| state.load_table(row));
    let (sender, receiver) = mpsc::sync_channel(CHUNKS_AHEAD_MAX);
    thread::scope(|scope| {
        let mut scan = store.scan(RecordRevision::default(), Revision(i64::MAX));
        scope.spawn(move || {
            while let Some(chunk) = scan.next_chunk() {
                // The other end hangs up when it has met a malformed record.
                if sender.send(chunk).is_err() {
                    break;
                }
            }
        });
        receiver.into_iter().try_for_each(|chunk| load(&store.shared, &chunk?, state))
    })?;
    state.restored(restored.applied, restored.term);
    Ok(())
}

fn load(shared: &Shared, chunk: &[StoredRecord], state: &mut StateMachine) -> Result<(), StoreError> {
    for record in chunk {
        let loaded = state.load_record(record.at, record.tombstone, &record.kv);
        shared.guard(loaded.map_err(|fault| shared.damaged_record(record.at, &fault.to_string())))?;
    }
    Ok(())
}
