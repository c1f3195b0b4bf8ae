//! Compaction.

use super::{Halt, Outcome, StateMachine, WriteBatch};
use crate::command::Compact;

pub(super) fn compact(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _compact: Compact,
) -> Result<Outcome, Halt> {
    Err(Halt("compaction is not built yet".into()))
}
