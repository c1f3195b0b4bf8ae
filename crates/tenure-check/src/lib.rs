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
//! * watchers saw every change once, in order ([`watches`]), and what single streams told of it was true when it was told
//!   ([`streams`]);
//! * leases ended neither early nor late ([`leases`]).

mod leases;
mod operations;
mod streams;
mod watches;

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

pub use leases::{Bounds, Lease, LeaseEvent, leases};
pub use operations::{order, reads, writes};
pub use streams::{ALL_WATCHERS, Event, Kind, Stream, Tidings, Told, Watcher, streams};
pub use watches::{Watch, WatchStep, watches};

use bytes::Bytes;
use std::collections::BTreeMap;

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// Where it stops.
    pub end: RangeEnd,
}

/// Where a range stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// It is one key.
    Single,
    /// Every key from the first on.
    Open,
    /// Keys below this one.
    Before(Bytes),
}

impl KeyRange {
    /// One key.
    #[must_use]
    pub fn single(key: Bytes) -> Self {
        Self { start: key, end: RangeEnd::Single }
    }

    /// All keys.
    #[must_use]
    pub fn everything() -> Self {
        Self { start: Bytes::new(), end: RangeEnd::Open }
    }

    /// Whether `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Open => key >= &*self.start,
            RangeEnd::Before(end) => &*self.start <= key && key < &**end,
        }
    }
}

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
    /// What single streams of watches told.
    pub streams: Vec<Stream>,
    /// The highest revision at which the history was compacted, or 0.
    pub compacted: i64,
    /// The leases there were.
    pub leases: Vec<Lease>,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision that it belongs to.
    pub revision: i64,
    /// The request that made it; none for what the cluster does by itself.
    pub by: Option<u64>,
    /// The key.
    pub key: Bytes,
    /// The wire bytes of what it holds from then on, an `mvccpb.KeyValue`; nothing if it is deleted.
    pub pair: Option<Bytes>,
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
        id: u64,
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
        saw: Option<(KeyRange, Vec<Bytes>)>,
    },
    /// What a plain read saw of a revision of the past. When it was asked does not matter.
    Past {
        /// The revision that was asked for.
        revision: i64,
        /// What was asked for.
        range: KeyRange,
        /// What was seen.
        saw: Vec<Bytes>,
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

    /// What a key held at a revision.
    fn of_key(&self, key: &Bytes, revision: i64) -> Option<&'a Bytes> {
        newest(self.0.get(key)?, revision)
    }

    fn at(&self, range: &KeyRange, revision: i64) -> Vec<&'a Bytes> {
        let inside = self.0.iter().filter(|(key, _)| range.contains(key));
        inside.filter_map(|(_, changes)| newest(changes, revision)).collect()
    }
}

fn newest<'a>(changes: &[&'a Change], revision: i64) -> Option<&'a Bytes> {
    let later = changes.partition_point(|change| change.revision <= revision);
    changes[..later].last()?.pair.as_ref()
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
    streams(history)?;
    leases(&history.leases, bounds)
}
