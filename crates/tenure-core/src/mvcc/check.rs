//! What a request must satisfy before it is proposed (reference R1, P1, T1-T3).

use crate::command::{DeleteRange, Op, Put, RangeQuery, Txn};
use crate::types::{Key, KeyRange, RangeEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use tenure_api::error::EtcdError;

/// R1: a range needs a key. (Unknown sort options do not survive the decoding.)
///
/// # Errors
/// [`EtcdError::EmptyKey`].
pub fn range(query: &RangeQuery) -> Result<(), EtcdError> {
    key(&query.range)
}

/// P1.
///
/// # Errors
/// [`EtcdError::EmptyKey`], [`EtcdError::ValueProvided`], [`EtcdError::LeaseProvided`].
pub fn put(put: &Put) -> Result<(), EtcdError> {
    if put.key.is_empty() {
        return Err(EtcdError::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(EtcdError::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(EtcdError::LeaseProvided);
    }
    Ok(())
}

/// P1: a deletion needs a key.
///
/// # Errors
/// [`EtcdError::EmptyKey`].
pub fn delete_range(delete: &DeleteRange) -> Result<(), EtcdError> {
    key(&delete.range)
}

/// T1-T3. `ops_max` is `--max-txn-ops`.
///
/// # Errors
/// [`EtcdError::TooManyOps`], [`EtcdError::EmptyKey`], [`EtcdError::DuplicateKey`] and those of the operations.
pub fn txn(txn: &Txn, ops_max: usize) -> Result<(), EtcdError> {
    shape(txn, ops_max)?;
    Touched::of(&txn.success)?;
    Touched::of(&txn.failure)?;
    Ok(())
}

fn key(range: &KeyRange) -> Result<(), EtcdError> {
    if range.start.as_slice().is_empty() { Err(EtcdError::EmptyKey) } else { Ok(()) }
}

/// T1, T2. A transaction within may hold what its parent's longest list left over; siblings do not share.
fn shape(txn: &Txn, ops_max: usize) -> Result<(), EtcdError> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let ops_left = ops_max.checked_sub(ops).ok_or(EtcdError::TooManyOps)?;
    txn.compare.iter().try_for_each(|compare| key(&compare.range))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
        Op::Range(query) => range(query),
        Op::Put(inner) => put(inner),
        Op::DeleteRange(delete) => delete_range(delete),
        Op::Txn(inner) => shape(inner, ops_left),
    })
}

/// T3: what the operations of a branch put and delete.
#[derive(Debug, Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Intervals<'a>,
}

impl<'a> Touched<'a> {
    /// What `ops` touch, or the refusal if a key is put twice or put inside a range that is deleted.
    fn of(ops: &'a [Op]) -> Result<Self, EtcdError> {
        let mut touched = Self::default();
        for op in ops {
            if let Op::DeleteRange(delete) = op {
                touched.deletes.add(&delete.range);
            }
        }
        for op in ops {
            if let Op::Txn(txn) = op {
                touched.take_up(Self::of(&txn.success)?, Self::of(&txn.failure)?)?;
            }
        }
        for op in ops {
            if let Op::Put(put) = op {
                touched.put(&put.key)?;
            }
        }
        Ok(touched)
    }

    /// The two branches of a transaction within exclude each other, so both may put the same key. Their deletions
    /// count for later siblings only: etcd accepts `{put a} {del a}` and refuses `{del a} {put a}`.
    fn take_up(&mut self, success: Self, failure: Self) -> Result<(), EtcdError> {
        for key in &success.puts {
            self.put(key)?;
        }
        for key in failure.puts {
            if !success.puts.contains(key) {
                self.put(key)?;
            }
        }
        self.deletes.add_all(success.deletes);
        self.deletes.add_all(failure.deletes);
        Ok(())
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), EtcdError> {
        if self.deletes.contain(key) || !self.puts.insert(key) {
            return Err(EtcdError::DuplicateKey);
        }
        Ok(())
    }
}

/// A set of keys made of ranges.
#[derive(Debug, Default)]
struct Intervals<'a> {
    points: BTreeSet<&'a [u8]>,
    /// From the start of each interval to its end, which is not in it. They do not overlap.
    spans: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Intervals<'a> {
    fn add(&mut self, range: &'a KeyRange) {
        match &range.end {
            RangeEnd::Single => {
                self.points.insert(range.start.as_slice());
            }
            // etcd takes the end of an open range, one zero byte, for a key like any other. No key of the
            // range lies below it, so an open deletion conflicts with no put.
            RangeEnd::Open => {}
            RangeEnd::Before(end) => self.add_span(range.start.as_slice(), Key::as_slice(end)),
        }
    }

    fn add_span(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        if end <= start {
            return;
        }
        // Everything that begins before the end and ends after the start melts into the new interval.
        let upto = (Bound::Unbounded, Bound::Included(end));
        while let Some((&other_start, &other_end)) = self.spans.range::<[u8], _>(upto).next_back() {
            if other_end < start {
                break;
            }
            self.spans.remove(other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.spans.insert(start, end);
    }

    fn add_all(&mut self, other: Self) {
        self.points.extend(other.points);
        for (start, end) in other.spans {
            self.add_span(start, end);
        }
    }

    fn contain(&self, key: &[u8]) -> bool {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let before = self.spans.range::<[u8], _>(upto).next_back();
        self.points.contains(key) || before.is_some_and(|(_, end)| key < *end)
    }
}
