//! Transactions (reference T4-T8).
//!
//! First every compare on the way is evaluated, those of transactions within included, all against the state
//! before. That chooses the path. Then everything on the path is checked, and only then is it carried out.

use super::kv::outcome_of;
use super::{Halt, OpOutcome, Outcome, Response, StateMachine, TxnOutcome, WriteBatch};
use crate::command::{Compare, CompareResult, CompareTarget, Op, Put, RangeQuery, Txn};
use crate::lease::Leases;
use crate::mvcc::{Mvcc, RangeScan, ReadError, ScanProgress, WriteError, WriteTxn};
use crate::types::{KvView, LeaseId, RecordSource, Revision, Version};
use std::cmp::Ordering;
use tenure_api::error::EtcdError;

pub(super) fn txn(
    state: &StateMachine,
    records: &dyn RecordSource,
    batch: &mut WriteBatch,
    txn: &Txn,
) -> Result<Outcome, Halt> {
    let before = Before { mvcc: &state.mvcc, leases: &state.leases, records };
    let mut write = WriteTxn::new(&state.mvcc, &state.leases, records);
    let outcome = before.path(txn).map_err(WriteError::from).and_then(|path| {
        before.check(txn, &mut path.iter().copied()).map_err(WriteError::Refused)?;
        let mut outcome = execute(&mut write, txn, &mut path.iter().copied())?;
        outcome.revision = write.revision();
        Ok(Response::Txn(outcome))
    });
    batch.records = write.finish();
    outcome_of(outcome)
}

/// Whether a transaction only reads, and so needs no entry of the log (T7). A transaction within counts as a write.
#[must_use]
pub fn txn_is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, Op::Range(_)))
}

/// Whether a transaction that only reads may do so without asking the cluster (T7): every range of both branches says so.
#[must_use]
pub fn txn_is_serializable(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, Op::Range(query) if query.serializable))
}

/// Carries out a transaction for which [`txn_is_read_only`] holds, in one go.
///
/// # Errors
/// As [`ReadTxn`].
pub fn read_txn(
    mvcc: &Mvcc,
    leases: &Leases,
    records: &dyn RecordSource,
    txn: &Txn,
) -> Result<TxnOutcome, ReadError> {
    let mut read = ReadTxn::new(mvcc, leases, records, txn)?;
    while read.step(mvcc, usize::MAX)? == ScanProgress::More {}
    read.finish(records)
}

/// A transaction that only reads, on its way: like a [`RangeScan`], it can release its lock between its steps and needs none at
/// the end. All its ranges see the state in which its compares were evaluated.
#[derive(Debug)]
pub struct ReadTxn {
    revision: Revision,
    succeeded: bool,
    scans: Vec<RangeScan>,
    /// Those before this one are done.
    at: usize,
}

impl ReadTxn {
    /// Evaluates the compares, reading records only for those of a value or a lease, and begins the ranges of the branch that
    /// they choose. `txn` must satisfy [`txn_is_read_only`].
    ///
    /// # Errors
    /// [`ReadError::Refused`] as a range does, but only for ranges of the branch that runs (T6).
    pub fn new(
        mvcc: &Mvcc,
        leases: &Leases,
        records: &dyn RecordSource,
        txn: &Txn,
    ) -> Result<Self, ReadError> {
        debug_assert!(txn_is_read_only(txn));
        let before = Before { mvcc, leases, records };
        let path = before.path(txn)?;
        before.check(txn, &mut path.iter().copied()).map_err(ReadError::Refused)?;
        let succeeded = path.first().copied().unwrap_or_default();
        let scans = branch(txn, succeeded).iter().filter_map(|op| match op {
            Op::Range(query) => Some(RangeScan::new(mvcc, query).map_err(ReadError::Refused)),
            _ => None,
        });
        Ok(Self { revision: mvcc.revision(), succeeded, scans: scans.collect::<Result<_, _>>()?, at: 0 })
    }

    /// Looks at `keys_max` further keys at most.
    ///
    /// # Errors
    /// [`ReadError::Refused`] with [`EtcdError::Compacted`] if a compaction went past a revision that a range names,
    /// [`ReadError::Again`] if it went past the one that the compares saw.
    pub fn step(&mut self, mvcc: &Mvcc, keys_max: usize) -> Result<ScanProgress, ReadError> {
        if mvcc.compacted() > self.revision {
            return Err(ReadError::Again);
        }
        let Some(scan) = self.scans.get_mut(self.at) else { return Ok(ScanProgress::Done) };
        if scan.step(mvcc, keys_max).map_err(ReadError::Refused)? == ScanProgress::Done {
            self.at += 1;
        }
        Ok(if self.at < self.scans.len() { ScanProgress::More } else { ScanProgress::Done })
    }

    /// Reads the records. Call it once a step said [`ScanProgress::Done`]; it needs no lock.
    ///
    /// # Errors
    /// As [`RangeScan::finish`].
    pub fn finish(self, records: &dyn RecordSource) -> Result<TxnOutcome, ReadError> {
        let responses = self.scans.into_iter().map(|scan| Ok(OpOutcome::Range(scan.finish(records)?)));
        Ok(TxnOutcome {
            revision: self.revision,
            succeeded: self.succeeded,
            responses: responses.collect::<Result<_, ReadError>>()?,
        })
    }
}

fn branch(txn: &Txn, succeeded: bool) -> &[Op] {
    if succeeded { &txn.success } else { &txn.failure }
}

/// The state before the transaction.
struct Before<'a> {
    mvcc: &'a Mvcc,
    leases: &'a Leases,
    records: &'a dyn RecordSource,
}

impl Before<'_> {
    /// Whether the compares hold, of the transaction itself and of every transaction on the branch that this
    /// chooses, each followed by those within it (T4).
    fn path(&self, txn: &Txn) -> Result<Vec<bool>, ReadError> {
        let mut path = Vec::with_capacity(1);
        self.extend_path(txn, &mut path)?;
        Ok(path)
    }

    fn extend_path(&self, txn: &Txn, path: &mut Vec<bool>) -> Result<(), ReadError> {
        let mut succeeded = true;
        for compare in &txn.compare {
            if !self.holds(compare)? {
                succeeded = false;
                break;
            }
        }
        path.push(succeeded);
        for op in branch(txn, succeeded) {
            if let Op::Txn(inner) = op {
                self.extend_path(inner, path)?;
            }
        }
        Ok(())
    }

    /// T5. Every key of the range must satisfy the compare; with none there, the value of a missing key never does, and
    /// everything else of it is 0.
    fn holds(&self, compare: &Compare) -> Result<bool, ReadError> {
        let mut missing = true;
        for version in self.mvcc.live(&compare.range) {
            missing = false;
            if !self.pair_holds(compare, version)? {
                return Ok(false);
            }
        }
        if !missing {
            return Ok(true);
        }
        let ordering = match &compare.target {
            CompareTarget::Value(_) => return Ok(false),
            CompareTarget::Version(operand)
            | CompareTarget::Create(operand)
            | CompareTarget::Mod(operand)
            | CompareTarget::Lease(operand) => 0.cmp(operand),
            CompareTarget::Unknown => Ordering::Equal,
        };
        Ok(satisfies(compare.result, ordering))
    }

    fn pair_holds(&self, compare: &Compare, version: Version) -> Result<bool, ReadError> {
        let ordering = match &compare.target {
            CompareTarget::Version(operand) => version.version.cmp(operand),
            CompareTarget::Create(operand) => version.created.0.cmp(operand),
            CompareTarget::Mod(operand) => version.at.main.0.cmp(operand),
            CompareTarget::Value(operand) => self.view(version)?.value.cmp(operand),
            CompareTarget::Lease(operand) => self.view(version)?.lease.cmp(operand),
            CompareTarget::Unknown => Ordering::Equal,
        };
        Ok(satisfies(compare.result, ordering))
    }

    fn view(&self, version: Version) -> Result<KvView, ReadError> {
        let view = self.records.record(version.at)?.view();
        view.map_err(|error| ReadError::Damaged(format!("record {}: {error}", version.at)))
    }

    /// T6: whether everything on the path can be carried out.
    fn check(&self, txn: &Txn, path: &mut dyn Iterator<Item = bool>) -> Result<(), EtcdError> {
        let succeeded = path.next().unwrap_or_default();
        branch(txn, succeeded).iter().try_for_each(|op| match op {
            Op::Range(query) => self.check_range(query),
            Op::Put(put) => self.check_put(put),
            Op::DeleteRange(_) => Ok(()),
            Op::Txn(inner) => self.check(inner, path),
        })
    }

    /// T6: unlike a range on its own, a range here may not name a negative revision below the compacted one.
    fn check_range(&self, query: &RangeQuery) -> Result<(), EtcdError> {
        match query.revision {
            0 => Ok(()),
            revision if revision > self.mvcc.revision().0 => Err(EtcdError::FutureRev),
            revision if revision < self.mvcc.compacted().0 => Err(EtcdError::Compacted),
            _ => Ok(()),
        }
    }

    fn check_put(&self, put: &Put) -> Result<(), EtcdError> {
        if put.lease != 0 && !self.leases.contains(LeaseId(put.lease)) {
            return Err(EtcdError::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && self.mvcc.newest(&put.key).is_none() {
            return Err(EtcdError::KeyNotFound);
        }
        Ok(())
    }
}

/// T5: a result that this version does not know holds.
fn satisfies(result: Option<CompareResult>, ordering: Ordering) -> bool {
    match result {
        Some(CompareResult::Equal) => ordering.is_eq(),
        Some(CompareResult::NotEqual) => ordering.is_ne(),
        Some(CompareResult::Greater) => ordering.is_gt(),
        Some(CompareResult::Less) => ordering.is_lt(),
        None => true,
    }
}

/// Carries out the operations on the path, in order (T6).
fn execute(
    write: &mut WriteTxn<'_>,
    txn: &Txn,
    path: &mut dyn Iterator<Item = bool>,
) -> Result<TxnOutcome, WriteError> {
    let succeeded = path.next().unwrap_or_default();
    let ops = branch(txn, succeeded);
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        responses.push(match op {
            Op::Range(query) => OpOutcome::Range(write.range(query)?),
            Op::Put(put) => OpOutcome::Put(write.put(put)?),
            Op::DeleteRange(delete) => OpOutcome::DeleteRange(write.delete_range(delete)?),
            Op::Txn(inner) => OpOutcome::Txn(execute(write, inner, path)?),
        });
    }
    Ok(TxnOutcome { revision: write.revision(), succeeded, responses })
}
