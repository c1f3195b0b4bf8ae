//! Put and delete.

use super::{Halt, Outcome, Response, StateMachine, WriteBatch};
use crate::command::{DeleteRange, Put};
use crate::mvcc::{WriteError, WriteTxn};
use crate::types::RecordSource;

pub(super) fn put(
    state: &StateMachine,
    records: &dyn RecordSource,
    batch: &mut WriteBatch,
    put: &Put,
) -> Result<Outcome, Halt> {
    let mut txn = WriteTxn::new(&state.mvcc, &state.leases, records);
    let outcome = txn.put(put).map(Response::Put);
    batch.records = txn.finish();
    outcome_of(outcome)
}

pub(super) fn delete_range(
    state: &StateMachine,
    records: &dyn RecordSource,
    batch: &mut WriteBatch,
    delete: &DeleteRange,
) -> Result<Outcome, Halt> {
    let mut txn = WriteTxn::new(&state.mvcc, &state.leases, records);
    let outcome = txn.delete_range(delete).map(Response::DeleteRange);
    batch.records = txn.finish();
    outcome_of(outcome)
}

/// A refusal is an answer; what cannot be read stops the member.
pub(super) fn outcome_of(result: Result<Response, WriteError>) -> Result<Outcome, Halt> {
    match result {
        Ok(response) => Ok(Ok(response)),
        Err(WriteError::Refused(error)) => Ok(Err(error)),
        Err(error @ WriteError::Unreadable(_)) => Err(Halt(error.to_string())),
    }
}
