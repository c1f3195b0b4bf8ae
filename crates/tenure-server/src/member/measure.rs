//! What the member counts. Sizes and positions are read when somebody asks for the metrics; only what passes by is counted as it
//! passes.

use super::Shared;
use crate::metrics::{Handles, Metrics, Operation};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::command::{AuthCommand, Command};
use tenure_core::state::{Effects, LeaseEvent, Response};
use tenure_core::types::Change;

/// Counts of one group of entries, added to the metrics at once.
#[derive(Debug, Default)]
pub struct Counts {
    puts: u64,
    deletes: u64,
    txns: u64,
    put_bytes: i64,
    granted: Vec<i64>,
    revoked: u64,
}

impl Counts {
    /// Counts what one entry did.
    pub fn note(&mut self, command: Option<&Command>, effects: &Effects) {
        for record in &effects.batch.records {
            match record.change {
                Change::Put { .. } => {
                    self.puts += 1;
                    self.put_bytes += record.kv.0.len() as i64;
                }
                Change::Delete => self.deletes += 1,
            }
        }
        self.txns += u64::from(matches!(command, Some(Command::Txn(_))));
        let granting = matches!(command, Some(Command::LeaseGrant(_)));
        for event in effects.batch.lease_events() {
            match event {
                LeaseEvent::Granted(lease) if granting => self.granted.push(lease.ttl_seconds),
                LeaseEvent::Granted(_) => {}
                LeaseEvent::Revoked(_) => self.revoked += 1,
            }
        }
    }

    /// Adds the counts.
    pub fn add_to(&self, metrics: &Handles) {
        metrics.mvcc_put.inc_by(self.puts);
        metrics.mvcc_delete.inc_by(self.deletes);
        metrics.mvcc_txn.inc_by(self.txns);
        metrics.mvcc_events.inc_by(self.puts + self.deletes);
        metrics.mvcc_put_bytes.add(self.put_bytes);
        metrics.lease_granted.inc_by(self.granted.len() as u64);
        metrics.lease_revoked.inc_by(self.revoked);
        self.granted.iter().for_each(|ttl| metrics.lease_ttl.observe(*ttl as f64));
    }
}

/// Notes how long one entry took.
pub fn applied(shared: &Shared, command: Option<&Command>, success: bool, took: Duration) {
    let Some(operation) = command.and_then(operation) else { return };
    shared.metrics.apply.observe(operation, success, took);
    if took > shared.config.warning_apply_duration {
        shared.metrics.handles.slow_apply.inc();
        let expected = shared.config.warning_apply_duration;
        tracing::warn!(?took, "expected-duration" = ?expected, request = operation.as_str(), "apply request took too long");
    }
}

/// Notes how long whoever proposed a command waited for its answer. As with etcd a refusal of the state machine is a success; what never
/// got to the log is not counted.
pub fn answered(
    shared: &Shared,
    operation: Option<Operation>,
    outcome: &Result<Response, EtcdError>,
    took: Duration,
) {
    let success = match outcome {
        Err(EtcdError::RequestTooManyRequests) => return,
        Err(EtcdError::Timeout | EtcdError::TimeoutDueToLeaderFail | EtcdError::LeaderChanged) => false,
        _ => true,
    };
    if let Some(operation) = operation {
        shared.metrics.request.observe(operation, success, took);
    }
}

/// What the metrics call a command.
pub fn operation(command: &Command) -> Option<Operation> {
    Some(match command {
        Command::Put(_) => Operation::Put,
        Command::DeleteRange(_) => Operation::DeleteRange,
        Command::Txn(_) => Operation::Txn,
        Command::Compact(_) => Operation::Compaction,
        Command::LeaseGrant(_) => Operation::LeaseGrant,
        Command::LeaseRevoke(_) => Operation::LeaseRevoke,
        Command::LeaseCheckpoint(_) => Operation::LeaseCheckpoint,
        Command::Alarm(_) => Operation::Alarm,
        Command::ClusterVersionSet(_) => Operation::ClusterVersionSet,
        Command::MemberAttributesSet(_) => Operation::ClusterMemberAttrSet,
        Command::DowngradeInfoSet(_) => Operation::DowngradeInfoSet,
        Command::Auth(command) => match command {
            AuthCommand::Authenticate(_) => Operation::Authenticate,
            AuthCommand::Enable => Operation::AuthEnable,
            AuthCommand::Disable => Operation::AuthDisable,
            AuthCommand::UserAdd(_) => Operation::AuthUserAdd,
            AuthCommand::UserDelete(_) => Operation::AuthUserDelete,
            AuthCommand::UserChangePassword(_) => Operation::AuthUserChangePassword,
            AuthCommand::UserGrantRole(_) => Operation::AuthUserGrantRole,
            AuthCommand::UserRevokeRole(_) => Operation::AuthUserRevokeRole,
            AuthCommand::RoleAdd(_) => Operation::AuthRoleAdd,
            AuthCommand::RoleDelete(_) => Operation::AuthRoleDelete,
            AuthCommand::RoleGrantPermission(_) => Operation::AuthRoleGrantPermission,
            AuthCommand::RoleRevokePermission(_) => Operation::AuthRoleRevokePermission,
        },
        Command::Nothing => return None,
    })
}

/// Has sizes and positions read at every scrape.
pub fn on_scrape(shared: &Arc<Shared>, metrics: &Metrics) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    metrics.on_scrape(move |handles| {
        if let Some(shared) = shared.upgrade() {
            read(&shared, handles);
        }
    });
}

fn read(shared: &Shared, handles: &Handles) {
    let node = shared.node_status.lock().clone();
    let sizes = shared.store.sizes();
    let (watchers, behind) = shared.hub.census();
    let state = shared.state.read();
    handles.proposals_applied.set(state.applied().0 as i64);
    handles.proposals_committed.set(node.commit.0 as i64);
    handles.proposals_pending.set(shared.pending.len() as i64);
    handles.quota_backend_bytes.set(shared.config.quota_backend_bytes.unwrap_or(0) as i64);
    handles.is_learner.set(i64::from(node.is_learner));
    handles.db_total_size.set(sizes.total_bytes as i64);
    handles.db_total_size_in_use.set(sizes.live_bytes as i64);
    handles.current_revision.set(state.mvcc.revision().0);
    handles.compact_revision.set(state.mvcc.compacted().0);
    handles.auth_revision.set(state.auth.revision() as i64);
    handles.mvcc_keys.set(state.mvcc.stats().live_keys as i64);
    handles.mvcc_watchers.set(watchers as i64);
    handles.mvcc_slow_watchers.set(behind as i64);
    let mut alarms = shared.alarms_shown.lock();
    let raised: Vec<_> = state.alarms.iter(None).collect();
    for (entry, value) in alarms.iter().map(|entry| (*entry, 0)).chain(raised.iter().map(|entry| (*entry, 1)))
    {
        let labels = [&format!("{:x}", entry.member.0), entry.alarm.to_wire().as_str_name()];
        handles.server_alarms.with_label_values(&labels).set(value);
    }
    *alarms = raised;
}
