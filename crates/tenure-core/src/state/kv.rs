//! Put and delete.

use super::{Halt, Outcome, StateMachine, WriteBatch};
use crate::command::{DeleteRange, Put};
use crate::types::RecordSource;

pub(super) fn put(
    _state: &StateMachine,
    _records: &dyn RecordSource,
    _batch: &mut WriteBatch,
    _put: &Put,
) -> Result<Outcome, Halt> {
    Err(Halt("put is not built yet".into()))
}

pub(super) fn delete_range(
    _state: &StateMachine,
    _records: &dyn RecordSource,
    _batch: &mut WriteBatch,
    _delete: &DeleteRange,
) -> Result<Outcome, Halt> {
    Err(Halt("delete is not built yet".into()))
}
