//! Cluster version, member attributes, downgrade, and changes of the membership.

use super::{Effects, Halt, Outcome, Response, StateMachine, TableChange, WriteBatch};
use crate::command::{ClusterVersionSet, DowngradeInfoSet, MemberAttributesSet};
use crate::membership::{Downgrade, Member, conf_state_to_json};
use crate::types::{ConfChange, ConfChangeKind, ConfState, EntryKind, LogEntry, MemberId, MinorVersion};

/// Sets the version that the cluster speaks. The storage version follows it at once (M9), up and down, but not to what a cluster
/// speaks before its members are known.
pub(super) fn version_set(
    state: &StateMachine,
    batch: &mut WriteBatch,
    set: &ClusterVersionSet,
) -> Result<Outcome, Halt> {
    if state.membership.cluster_version() != Some(&set.version) {
        batch.tables.push(TableChange::ClusterVersion(set.version.clone()));
    }
    let is_known = set.version.parse() != Ok(MinorVersion::OLDEST);
    if is_known && state.membership.storage_version() != Some(&set.version) {
        batch.tables.push(TableChange::StorageVersion(set.version.clone()));
    }
    Ok(done(state))
}

/// A member says its name and client URLs (M4). One that has left meanwhile is passed over.
pub(super) fn attributes_set(
    state: &StateMachine,
    batch: &mut WriteBatch,
    set: &MemberAttributesSet,
) -> Result<Outcome, Halt> {
    if let Some(member) = state.membership.member(set.member) {
        let member =
            Member { name: set.name.clone(), client_urls: set.client_urls.clone(), ..member.clone() };
        batch.tables.push(member.table_change());
    }
    Ok(done(state))
}

/// Starts or ends a downgrade (M10).
pub(super) fn downgrade_set(
    state: &StateMachine,
    batch: &mut WriteBatch,
    set: &DowngradeInfoSet,
) -> Result<Outcome, Halt> {
    let target_version = if set.enabled { set.version.clone() } else { String::new() };
    let downgrade = Downgrade { enabled: set.enabled, target_version };
    batch.tables.push(TableChange::Downgrade(downgrade.to_json().into()));
    Ok(done(state))
}

fn done(state: &StateMachine) -> Outcome {
    Ok(Response::Done(state.mvcc.revision()))
}

/// What a configuration change does. See [`StateMachine::apply_conf_change`].
pub(super) fn conf_change(state: &StateMachine, entry: &LogEntry) -> Result<Effects, Halt> {
    let halt = |text: String| Halt(format!("configuration change at log entry {}: {text}", entry.index));
    if entry.kind != EntryKind::ConfChange {
        return Err(halt("of a kind that no member proposes".into()));
    }
    let change = ConfChange::decode(entry.data.clone()).map_err(|error| halt(error.to_string()))?;
    let mut batch = WriteBatch::new(entry.index, entry.term);
    let (member, is_promote) = match change.kind {
        ConfChangeKind::Remove => (Member { id: change.member, ..Member::default() }, false),
        _ => Member::from_change_context(&change.context).map_err(|error| halt(error.to_string()))?,
    };
    if member.id != change.member {
        return Err(halt(format!(
            "it is about member {:x}, but describes {:x}",
            change.member.0, member.id.0
        )));
    }
    if let Err(refusal) = state.membership.check_change(change.kind, &member, is_promote) {
        return Ok(Effects { batch, outcome: Err(refusal) });
    }
    let mut conf_state = state.membership.conf_state().clone();
    batch.tables.push(match change.kind {
        ConfChangeKind::Remove => {
            leave(&mut conf_state, change.member);
            TableChange::MemberRemove(change.member)
        }
        ConfChangeKind::Update => updated(state, &member)?.table_change(),
        ConfChangeKind::AddVoter | ConfChangeKind::AddLearner => {
            leave(&mut conf_state, change.member);
            let is_learner = change.kind == ConfChangeKind::AddLearner;
            let list = if is_learner { &mut conf_state.learners } else { &mut conf_state.voters };
            list.push(change.member);
            list.sort_unstable();
            let known = state.membership.member(member.id).filter(|_| is_promote).cloned();
            Member { is_learner, ..known.unwrap_or(member) }.table_change()
        }
    });
    if &conf_state != state.membership.conf_state() {
        batch.tables.push(TableChange::ConfState(conf_state_to_json(&conf_state).into()));
    }
    Ok(Effects { batch, outcome: done(state) })
}

fn leave(conf_state: &mut ConfState, member: MemberId) {
    conf_state.voters.retain(|id| *id != member);
    conf_state.learners.retain(|id| *id != member);
}

/// The member with its new peer URLs. Whether it votes stays as it was, whatever the proposer said (M3).
fn updated(state: &StateMachine, update: &Member) -> Result<Member, Halt> {
    let known = state.membership.member(update.id).ok_or_else(|| Halt("updates an unknown member".into()))?;
    Ok(Member { peer_urls: update.peer_urls.clone(), ..known.clone() })
}
