//! Compaction.

use super::{Halt, Outcome, Response, StateMachine, TableChange, WriteBatch};
use crate::command::Compact;
use tenure_api::error::EtcdError;

/// C1. The versions themselves are removed behind the scenes: [`crate::mvcc::Mvcc::compact_step`].
pub(super) fn compact(
    state: &StateMachine,
    batch: &mut WriteBatch,
    compact: Compact,
) -> Result<Outcome, Halt> {
    if compact.revision <= state.mvcc.compacted() {
        return Ok(Err(EtcdError::Compacted));
    }
    if compact.revision > state.mvcc.revision() {
        return Ok(Err(EtcdError::FutureRev));
    }
    batch.tables.push(TableChange::CompactRevision(compact.revision));
    Ok(Ok(Response::Compact(state.mvcc.revision())))
}
