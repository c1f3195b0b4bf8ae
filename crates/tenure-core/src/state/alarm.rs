//! Alarm commands, and what a raised alarm refuses.

use super::{AlarmEntry, Halt, Outcome, Response, StateMachine, TableChange, WriteBatch, quota};
use crate::command::{AlarmAction, AlarmCommand, AlarmType, Command};
use tenure_api::error::EtcdError;

/// Reads, raises or clears alarms (Q6). Whatever does not name an alarm changes nothing and answers with none.
pub(super) fn alarm(
    state: &StateMachine,
    batch: &mut WriteBatch,
    command: AlarmCommand,
) -> Result<Outcome, Halt> {
    let named = command.alarm.map(|alarm| AlarmEntry { member: command.member, alarm });
    let answer = match (command.action, named) {
        (AlarmAction::Get, _) => state.alarms.iter(command.alarm).collect(),
        (AlarmAction::Activate, Some(entry)) => {
            if !state.alarms.contains(entry) {
                batch.tables.push(TableChange::AlarmPut(entry));
            }
            vec![entry]
        }
        (AlarmAction::Deactivate, Some(entry)) if state.alarms.contains(entry) => {
            batch.tables.push(TableChange::AlarmDelete(entry));
            vec![entry]
        }
        (AlarmAction::Activate | AlarmAction::Deactivate, _) => Vec::new(),
    };
    Ok(Ok(Response::Alarm(answer, state.mvcc.revision())))
}

/// Why the raised alarms refuse `command`, if they do: Q5 for CORRUPT, Q3 for NOSPACE, which looks at what a command would cost
/// in either branch.
pub(super) fn refusal(state: &StateMachine, command: &Command) -> Option<EtcdError> {
    if state.alarms.is_raised(AlarmType::Corrupt) && touches_data(command) {
        return Some(EtcdError::Corrupt);
    }
    if state.alarms.is_raised(AlarmType::NoSpace) && quota::cost(command) > 0 {
        return Some(EtcdError::NoSpace);
    }
    None
}

fn touches_data(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact(_)
        | Command::LeaseGrant(_)
        | Command::LeaseRevoke(_) => true,
        Command::LeaseCheckpoint(_)
        | Command::Alarm(_)
        | Command::ClusterVersionSet(_)
        | Command::MemberAttributesSet(_)
        | Command::DowngradeInfoSet(_)
        | Command::Auth(_)
        | Command::Nothing => false,
    }
}
