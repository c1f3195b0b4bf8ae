//! The apply thread: committed entries become state, then visible, then answers and events. In this order.

use super::driver::Event;
use super::measure::{self, Counts};
use super::upkeep::CheckpointJob;
use super::{Shared, audit, halting, version};
use crate::limits;
use crate::watch::event::RevisionEvents;
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Instant;
use tenure_core::command::{Command, Request};
use tenure_core::node::Applied;
use tenure_core::state::{Effects, Halt, Outcome, TableChange, WriteBatch};
use tenure_core::types::{ConfChange, EntryKind, LogEntry, LogIndex, RequestId, Term};

/// Runs until the sender is gone or an entry cannot be applied.
pub fn run(shared: &Arc<Shared>, committed: &Receiver<Vec<LogEntry>>) {
    halting(shared, "apply", || {
        while let Ok(mut entries) = committed.recv() {
            while entries.len() < limits::APPLY_GROUP_ENTRIES {
                let Ok(more) = committed.try_recv() else { break };
                entries.extend(more);
            }
            apply_group(shared, entries)?;
        }
        Ok(())
    });
}

/// Applies entries one after the other and tells of all of them at the end.
pub fn apply_group(shared: &Shared, entries: Vec<LogEntry>) -> Result<(), Halt> {
    let applying = shared.applying.lock();
    let mut group = Group::default();
    // What a snapshot of another member has overtaken is in the state already.
    let applied = shared.state.read().applied();
    for entry in entries.into_iter().filter(|entry| entry.index > applied) {
        let started = Instant::now();
        let request = decode(&entry)?;
        if let Some(Command::ClusterVersionSet(set)) = request.as_ref().map(|request| &request.command) {
            version::check_known(&set.version).map_err(|error| Halt(error.to_string()))?;
        }
        let effects = effects_of(shared, &entry, request.as_ref())?;
        install(shared, &effects.batch)?;
        let command = request.as_ref().map(|request| &request.command);
        measure::applied(shared, command, effects.outcome.is_ok(), started.elapsed());
        if let (Some(Command::Auth(command)), Ok(_)) = (command, &effects.outcome) {
            audit::note(command);
            shared.authenticator.applied(entry.index, command);
        }
        group.counts.note(command, &effects);
        group.term = entry.term;
        group.add(proposal_of(&entry, request.as_ref()), effects);
    }
    if group.applied > applied {
        publish(shared, group, applying);
    }
    Ok(())
}

/// The command of an entry that has one.
fn decode(entry: &LogEntry) -> Result<Option<Request>, Halt> {
    if entry.kind != EntryKind::Normal || entry.data.is_empty() {
        return Ok(None);
    }
    let request = Request::decode(entry.data.clone());
    request.map(Some).map_err(|error| Halt(format!("log entry {} cannot be read: {error}", entry.index)))
}

/// The proposal that an entry comes from, if somebody may wait for it.
fn proposal_of(entry: &LogEntry, request: Option<&Request>) -> Option<RequestId> {
    match entry.kind {
        EntryKind::Normal => request.map(|request| request.header.id),
        EntryKind::ConfChange | EntryKind::ConfChangeV2 => {
            ConfChange::decode(entry.data.clone()).ok().map(|change| change.id)
        }
    }
}

fn effects_of(shared: &Shared, entry: &LogEntry, request: Option<&Request>) -> Result<Effects, Halt> {
    // This thread alone installs, so what it reads here is what it will change.
    let state = shared.state.read();
    match (entry.kind, request) {
        (EntryKind::Normal, Some(request)) => state.apply(&shared.store, entry.index, entry.term, request),
        (EntryKind::Normal, None) => state.apply_empty(entry.index, entry.term),
        (EntryKind::ConfChange | EntryKind::ConfChangeV2, _) => state.apply_conf_change(entry),
    }
}

fn install(shared: &Shared, batch: &WriteBatch) -> Result<(), Halt> {
    // Records first: an address must not be found before its record can be read.
    shared.store.append(batch).map_err(|error| Halt(error.to_string()))?;
    shared.state.write().install(batch);
    for change in &batch.tables {
        match change {
            TableChange::AuthEnabled(enabled) => shared.auth_enabled.store(*enabled, Ordering::Release),
            TableChange::CompactRevision(revision) => shared.compactions.decided(*revision),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct Group {
    applied: LogIndex,
    term: Term,
    answers: Vec<(RequestId, Outcome)>,
    events: Vec<RevisionEvents>,
    report: Applied,
    counts: Counts,
    compacted: bool,
    members_changed: bool,
    downgrade_changed: bool,
    cluster_version: Option<String>,
}

impl Group {
    fn add(&mut self, id: Option<RequestId>, effects: Effects) {
        let Effects { batch, outcome } = effects;
        self.applied = batch.applied();
        self.report.note(&batch);
        for change in &batch.tables {
            match change {
                TableChange::CompactRevision(_) => self.compacted = true,
                TableChange::ClusterVersion(version) => self.cluster_version = Some(version.clone()),
                TableChange::MemberPut(..) | TableChange::MemberRemove(_) => self.members_changed = true,
                TableChange::Downgrade(_) => self.downgrade_changed = true,
                _ => {}
            }
        }
        self.events.extend(RevisionEvents::of_batch(&batch));
        if let Some(id) = id {
            self.answers.push((id, outcome));
        }
    }
}

/// The one place where the outside learns of what was applied.
fn publish(shared: &Shared, group: Group, applying: MutexGuard<'_, ()>) {
    group.counts.add_to(&shared.metrics.handles);
    if group.members_changed {
        // Before anybody is told that a member is there, it can be sent to.
        shared.follow_members();
    }
    shared.tail.publish(group.events);
    shared.applied.advance(group.applied);
    // The node knows a lease before its client can renew it.
    shared.inbox.send(Event::Applied(group.report));
    if group.downgrade_changed {
        // The node wants to hear anew which versions the members have.
        shared.changes.send_replace(());
    }
    shared.pending.answer(group.answers);
    shared.pending.applied(group.term);
    // What set the newer version is not to be met again.
    let is_older = group.cluster_version.is_some_and(|version| shared.follow_cluster_version(&version));
    shared.wake_hub();
    if shared.checkpoint_due() || is_older {
        begin_checkpoint(shared, &applying);
    }
    if group.compacted {
        shared.upkeep_bell.ring();
    }
}

/// Begins a checkpoint unless one waits already. `applying` is [`Shared::applying`]: between two groups store and state are at the
/// same entry.
pub fn begin_checkpoint(shared: &Shared, _applying: &MutexGuard<'_, ()>) {
    let mut slot = shared.checkpoint.lock();
    if slot.is_some() {
        return;
    }
    let state = shared.state.read();
    *slot = Some(CheckpointJob {
        checkpoint: shared.store.checkpoint_begin(),
        term: state.applied_term(),
        conf_state: state.membership.conf_state().clone(),
        installs: shared.installs.load(Ordering::Acquire),
    });
    shared.upkeep_bell.ring();
}
