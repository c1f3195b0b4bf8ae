//! Transactions.

use super::{Halt, Outcome, StateMachine, WriteBatch};
use crate::command::Txn;
use crate::types::RecordSource;

pub(super) fn txn(
    _state: &StateMachine,
    _records: &dyn RecordSource,
    _batch: &mut WriteBatch,
    _txn: &Txn,
) -> Result<Outcome, Halt> {
    Err(Halt("txn is not built yet".into()))
}
