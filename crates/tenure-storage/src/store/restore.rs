//! From a store to a state machine.

use super::{RecordScan, Restored, Store, StoreError};
use std::sync::mpsc;
use std::thread;
use tenure_core::state::{LoadRun, SortedRun, StateMachine};
use tenure_core::types::{RecordRevision, Revision};

/// Records that are sorted by their keys at a time: enough for neighbours among a million keys, few enough to
/// stay small.
const RUN_RECORDS: usize = 128 * 1024;
/// Bytes of their keys at most.
const RUN_KEY_BYTES: usize = 16 << 20;
/// Runs that are read ahead of the one that is loaded.
const RUNS_AHEAD_MAX: usize = 1;

/// Takes up in `state`, which is fresh, what the checkpoint that `store` was opened at holds: the tables,
/// every record, the position. What is left to do is to apply the log after [`Restored::applied`], and to run
/// the compaction of the key index from its beginning.
///
/// Records are read, verified and sorted on one thread and indexed on this one.
///
/// # Errors
/// If a record is damaged or cannot be read. The store has stopped then, and `state` is of no use.
pub fn restore(store: &Store, restored: &Restored, state: &mut StateMachine) -> Result<(), StoreError> {
    restored.tables.iter().for_each(|row| state.load_table(row));
    let (sender, receiver) = mpsc::sync_channel(RUNS_AHEAD_MAX);
    thread::scope(|scope| {
        let mut scan = store.scan(RecordRevision::default(), Revision(i64::MAX));
        scope.spawn(move || {
            while let Some(run) = next_run(&mut scan).transpose() {
                // The receiver goes only after an error, which is the last that is sent.
                if sender.send(run).is_err() {
                    break;
                }
            }
        });
        receiver.into_iter().try_for_each(|run| run.map(|run| state.load_run(&run)))
    })?;
    state.restored(restored.applied, restored.term);
    Ok(())
}

/// The next records, sorted; none at the end.
fn next_run(scan: &mut RecordScan) -> Result<Option<SortedRun>, StoreError> {
    let mut run = LoadRun::default();
    while run.len() < RUN_RECORDS && run.key_bytes() < RUN_KEY_BYTES {
        let Some(chunk) = scan.next_chunk() else { break };
        for record in chunk? {
            let pushed = run.push(record.at, record.tombstone, &record.kv);
            pushed.map_err(|fault| scan.damaged(record.at, &fault.to_string()))?;
        }
    }
    Ok((!run.is_empty()).then(|| run.sorted()))
}
