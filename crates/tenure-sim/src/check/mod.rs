//! Whether what clients saw can be: judged from their history alone, without a look into any member.
//!
//! Revisions make it cheap. Every write answers with the revision that it made, every read with the one that it saw, and all
//! members agree on what each revision changed. So the order in which everything took effect is given, and what is left to check
//! takes a sweep over the operations in the order of time instead of a search:
//!
//! * revisions follow each other without a gap, a request makes at most one, and an acknowledged write made the one it was
//!   told ([`writes`]);
//! * whoever was called after something had been answered saw it ([`order`]);
//! * a read saw exactly what its revision holds ([`reads`]);
//! * watchers saw every change once, in order ([`mod@watches`]);
//! * leases ended neither early nor late ([`mod@leases`]).

pub mod leases;
pub mod operations;
pub mod watches;

#[cfg(test)]
mod tests;

pub use leases::{Bounds, Lease, LeaseEvent, leases};
pub use operations::{order, reads, writes};
pub use watches::{Watch, WatchStep, watches};

use bytes::Bytes;
use std::collections::BTreeMap;
use tenure_core::types::{KeyRange, KvBytes, RangeEnd, RequestId};

/// What is wrong with a history.
pub type Violation = String;

/// What clients saw, and what was changed.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every change of a key that members have agreed on, by revision.
    pub changes: Vec<Change>,
    /// What clients asked for.
    pub operations: Vec<Operation>,
    /// What watchers saw.
    pub watches: Vec<Watch>,
    /// The leases there were.
    pub leases: Vec<Lease>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision that it belongs to.
    pub revision: i64,
    /// Who asked for it; nobody for what the cluster does by itself.
    pub by: Option<RequestId>,
    /// The key.
    pub key: Bytes,
    /// What it holds from then on; nothing if it is deleted.
    pub pair: Option<KvBytes>,
}

/// What a client asked for. Moments are numbers of which none is used twice.
#[derive(Clone, Debug)]
pub struct Operation {
    /// When it was called.
    pub called: u64,
    /// When it was answered, if it was.
    pub returned: Option<u64>,
    /// What it is.
    pub what: What,
}

/// An operation.
#[derive(Clone, Debug)]
pub enum What {
    /// A request that may change something.
    Write {
        /// Its id.
        id: RequestId,
        /// Its answer.
        answer: Answer,
    },
    /// A read that was answered. What it saw is only looked at if it was a plain one.
    Read {
        /// Which run of which member answered, for a serializable read; a linearizable one may be answered by any.
        server: Option<(usize, u64)>,
        /// The revision in the header.
        revision: i64,
        /// What a plain read asked for, and saw.
        saw: Option<(KeyRange, Vec<KvBytes>)>,
    },
}

/// How a write was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not at all, or with an error that says nothing.
    Unknown,
    /// It changed nothing and never will.
    Refused,
    /// It took effect.
    At {
        /// The revision in the header.
        revision: i64,
        /// Whether that revision must be one that it made.
        writes: bool,
    },
}

/// What every key held at every revision.
#[derive(Debug, Default)]
struct Versions<'a>(BTreeMap<&'a Bytes, Vec<&'a Change>>);

impl<'a> Versions<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let mut versions = Self::default();
        for change in changes {
            versions.0.entry(&change.key).or_default().push(change);
        }
        versions
    }

    fn at(&self, range: &KeyRange, revision: i64) -> Vec<&'a KvBytes> {
        let inside = self.0.iter().filter(|(key, _)| contains(range, key));
        let newest = inside.filter_map(|(_, changes)| {
            let later = changes.partition_point(|change| change.revision <= revision);
            changes[..later].last()?.pair.as_ref()
        });
        newest.collect()
    }
}

/// Whether `key` is in `range`.
#[must_use]
pub fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let start = range.start.as_slice();
    match &range.end {
        RangeEnd::Single => key == start,
        RangeEnd::Open => key >= start,
        RangeEnd::Before(end) => start <= key && key < end.as_slice(),
    }
}

/// Everything.
///
/// # Errors
/// What is wrong.
pub fn all(history: &History, bounds: Bounds) -> Result<(), Violation> {
    writes(history)?;
    order(&history.operations)?;
    reads(history)?;
    watches(history)?;
    leases(&history.leases, bounds)
}
