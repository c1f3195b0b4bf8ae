//! Alarm commands, and what a raised alarm refuses.

use super::{AlarmEntry, Halt, Outcome, Response, StateMachine, TableChange, WriteBatch};
use crate::command::{AlarmAction, AlarmCommand, AlarmType, Command, Op, Txn};
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

/// Why the raised alarms refuse `command`, if they do: Q5 for CORRUPT, Q3 for NOSPACE.
pub(super) fn refusal(state: &StateMachine, command: &Command) -> Option<EtcdError> {
    if state.alarms.is_raised(AlarmType::Corrupt) && touches_data(command) {
        return Some(EtcdError::Corrupt);
    }
    if state.alarms.is_raised(AlarmType::NoSpace) && needs_space(command) {
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
        | Command::Nothing => false,
    }
}

fn needs_space(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant(_) => true,
        Command::Txn(txn) => has_put(txn),
        _ => false,
    }
}

/// Whether any branch puts, also one that will not run.
fn has_put(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Put(_) => true,
        Op::Txn(txn) => has_put(txn),
        Op::Range(_) | Op::DeleteRange(_) => false,
    })
}
