//! Transactions: T4 to T8.

use super::{Model, contains};
use std::cmp::Ordering;
use std::collections::VecDeque;
use tenure_api::error::EtcdError;
use tenure_api::mvccpb;
use tenure_core::command::{Compare, CompareResult, CompareTarget, Op, Txn};
use tenure_core::state::{OpOutcome, TxnOutcome};
use tenure_core::types::Revision;

impl Model {
    /// What a transaction that only reads must answer.
    ///
    /// # Errors
    /// T6.
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnOutcome, EtcdError> {
        self.clone().txn(txn)
    }

    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnOutcome, EtcdError> {
        let mut path = VecDeque::new();
        self.choose(txn, &mut path);
        self.check(txn, &mut path.clone())?;
        // A key can be gone by the time that a put wants to keep its value or lease. etcd's process ends then; here the
        // transaction is refused.
        let before = self.clone();
        let outcome = self.run(txn, &mut path);
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }

    /// T4: all branches are chosen before anything is done.
    fn choose(&self, txn: &Txn, path: &mut VecDeque<bool>) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        path.push_back(succeeded);
        for op in if succeeded { &txn.success } else { &txn.failure } {
            if let Op::Txn(inner) = op {
                self.choose(inner, path);
            }
        }
    }

    /// T5.
    fn holds(&self, compare: &Compare) -> bool {
        let mut pairs = self
            .keys
            .iter()
            .filter(|(key, _)| contains(&compare.range, key))
            .filter_map(|(_, versions)| versions.last()?.pair.as_ref())
            .peekable();
        if pairs.peek().is_none() {
            let is_value = matches!(compare.target, CompareTarget::Value(_));
            return !is_value && holds_for(compare, &mvccpb::KeyValue::default());
        }
        pairs.all(|pair| holds_for(compare, pair))
    }

    /// T6: refusals come before any change.
    fn check(&self, txn: &Txn, path: &mut VecDeque<bool>) -> Result<(), EtcdError> {
        let succeeded = path.pop_front().unwrap_or(false);
        for op in if succeeded { &txn.success } else { &txn.failure } {
            match op {
                Op::Range(query) if query.revision > self.revision => return Err(EtcdError::FutureRev),
                Op::Range(query) if query.revision != 0 && query.revision < self.compacted => {
                    return Err(EtcdError::Compacted);
                }
                Op::Range(_) | Op::DeleteRange(_) => {}
                Op::Put(put) => self.check_put(put)?,
                Op::Txn(inner) => self.check(inner, path)?,
            }
        }
        Ok(())
    }

    fn run(&mut self, txn: &Txn, path: &mut VecDeque<bool>) -> Result<TxnOutcome, EtcdError> {
        let succeeded = path.pop_front().unwrap_or(false);
        let mut responses = Vec::new();
        for op in if succeeded { &txn.success } else { &txn.failure } {
            responses.push(match op {
                Op::Range(query) => OpOutcome::Range(self.read(query)),
                Op::Put(put) => {
                    self.check_put(put)?;
                    OpOutcome::Put(self.put(put))
                }
                Op::DeleteRange(delete) => OpOutcome::DeleteRange(self.delete_range(delete)),
                Op::Txn(inner) => OpOutcome::Txn(self.run(inner, path)?),
            });
        }
        Ok(TxnOutcome { revision: Revision(self.now()), succeeded, responses })
    }
}

fn holds_for(compare: &Compare, pair: &mvccpb::KeyValue) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(operand) => pair.version.cmp(operand),
        CompareTarget::Create(operand) => pair.create_revision.cmp(operand),
        CompareTarget::Mod(operand) => pair.mod_revision.cmp(operand),
        CompareTarget::Value(operand) => pair.value.cmp(operand),
        CompareTarget::Lease(operand) => pair.lease.cmp(operand),
        CompareTarget::Unknown => Ordering::Equal,
    };
    match compare.result {
        Some(CompareResult::Equal) => ordering == Ordering::Equal,
        Some(CompareResult::Greater) => ordering == Ordering::Greater,
        Some(CompareResult::Less) => ordering == Ordering::Less,
        Some(CompareResult::NotEqual) => ordering != Ordering::Equal,
        None => true,
    }
}
