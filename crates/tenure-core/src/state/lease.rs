//! Lease commands.

use super::kv::outcome_of;
use super::{Halt, LeaseEntry, Outcome, Response, StateMachine, TableChange, WriteBatch};
use crate::command::{LeaseGrant, LeaseRemaining, LeaseRevoke};
use crate::lease::LEASE_TTL_SECONDS_MAX;
use crate::mvcc::WriteTxn;
use crate::types::{LeaseId, RecordSource};
use tenure_api::error::EtcdError;

/// Makes a lease (L1, L2). The edge has raised the life to the minimum of its member; a request that another
/// implementation has logged may hold any life, so it is raised here to what can be counted down at all.
pub(super) fn grant(
    state: &StateMachine,
    batch: &mut WriteBatch,
    grant: LeaseGrant,
) -> Result<Outcome, Halt> {
    if grant.id == LeaseId(0) {
        return Ok(Err(EtcdError::LeaseNotFound));
    }
    if grant.ttl_seconds > LEASE_TTL_SECONDS_MAX {
        return Ok(Err(EtcdError::LeaseTTLTooLarge));
    }
    if state.leases.contains(grant.id) {
        return Ok(Err(EtcdError::LeaseExist));
    }
    let lease = LeaseEntry { id: grant.id, ttl_seconds: grant.ttl_seconds.max(1), remaining_ttl_seconds: 0 };
    batch.tables.push(TableChange::LeasePut(lease));
    Ok(Ok(Response::LeaseGrant { lease, revision: state.mvcc.revision() }))
}

/// Ends a lease and deletes the keys attached to it, sorted, in one revision (L6).
pub(super) fn revoke(
    state: &StateMachine,
    records: &dyn RecordSource,
    batch: &mut WriteBatch,
    revoke: LeaseRevoke,
) -> Result<Outcome, Halt> {
    if !state.leases.contains(revoke.id) {
        return Ok(Err(EtcdError::LeaseNotFound));
    }
    let mut txn = WriteTxn::new(&state.mvcc, &state.leases, records);
    let deleted = txn.delete_keys(state.leases.keys_of(revoke.id));
    let revision = txn.revision();
    batch.records = txn.finish();
    batch.tables.push(TableChange::LeaseDelete(revoke.id));
    outcome_of(deleted.map(|_| Response::LeaseRevoke(revision)))
}

/// Notes how much life leases have left (L8). A lease that is gone meanwhile is passed over.
pub(super) fn checkpoint(
    state: &StateMachine,
    batch: &mut WriteBatch,
    remaining: &[LeaseRemaining],
) -> Result<Outcome, Halt> {
    let entries = remaining.iter().filter_map(|checkpoint| state.leases.checkpointed(*checkpoint));
    batch.tables.extend(entries.map(TableChange::LeasePut));
    Ok(Ok(Response::Done(state.mvcc.revision())))
}
