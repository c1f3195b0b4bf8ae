//! Alarm commands.

use super::{Halt, Outcome, StateMachine, WriteBatch};
use crate::command::AlarmCommand;

pub(super) fn alarm(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _alarm: AlarmCommand,
) -> Result<Outcome, Halt> {
    Err(Halt("alarm is not built yet".into()))
}
