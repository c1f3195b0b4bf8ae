//! Lease commands.

use super::{Halt, Outcome, StateMachine, WriteBatch};
use crate::command::{LeaseGrant, LeaseRemaining, LeaseRevoke};
use crate::types::RecordSource;

pub(super) fn grant(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _grant: LeaseGrant,
) -> Result<Outcome, Halt> {
    Err(Halt("lease grant is not built yet".into()))
}

pub(super) fn revoke(
    _state: &StateMachine,
    _records: &dyn RecordSource,
    _batch: &mut WriteBatch,
    _revoke: LeaseRevoke,
) -> Result<Outcome, Halt> {
    Err(Halt("lease revoke is not built yet".into()))
}

pub(super) fn checkpoint(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _remaining: &[LeaseRemaining],
) -> Result<Outcome, Halt> {
    Err(Halt("lease checkpoint is not built yet".into()))
}
