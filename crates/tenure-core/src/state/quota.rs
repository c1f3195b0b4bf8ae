//! What a command costs (reference Q1).

use crate::command::{Command, Op, Put, Txn};

/// What a pair costs besides its key and value.
const PAIR_OVERHEAD_BYTES: u64 = 256;
/// What a lease costs.
const LEASE_BYTES: u64 = 64;

/// How many bytes a command may add to the store, as etcd estimates it (Q1); 0 for what adds nothing.
#[must_use]
pub fn cost(command: &Command) -> u64 {
    match command {
        Command::Put(put) => put_cost(put),
        Command::Txn(txn) => txn_cost(txn),
        Command::LeaseGrant(_) => LEASE_BYTES,
        _ => 0,
    }
}

fn put_cost(put: &Put) -> u64 {
    PAIR_OVERHEAD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

fn txn_cost(txn: &Txn) -> u64 {
    ops_cost(&txn.success).max(ops_cost(&txn.failure))
}

fn ops_cost(ops: &[Op]) -> u64 {
    let cost = |op: &Op| match op {
        Op::Put(put) => put_cost(put),
        Op::Txn(txn) => txn_cost(txn),
        Op::Range(_) | Op::DeleteRange(_) => 0,
    };
    ops.iter().map(cost).sum()
}
