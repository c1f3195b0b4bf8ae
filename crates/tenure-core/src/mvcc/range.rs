//! Reading, in two phases: addresses from the key index in bounded steps, then records without any lock.

use super::Mvcc;
use super::select::Selection;
use crate::command::RangeQuery;
use crate::effects::RangeOutcome;
use crate::types::{RangeEnd, RecordSource, Revision, SourceError};
use tenure_api::error::EtcdError;
use thiserror::Error;

/// Why a read has no answer.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The request is refused.
    #[error("{0}")]
    Refused(EtcdError),
    /// A compaction removed records between the two phases of a read of the newest revision: read again.
    #[error("a compaction overtook the read")]
    Again,
    /// A record cannot be read: the member must stop.
    #[error("{0}")]
    Damaged(String),
}

impl From<SourceError> for ReadError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Gone(_) => ReadError::Again,
            SourceError::Damaged(what) => ReadError::Damaged(what),
        }
    }
}

/// Whether a scan is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanProgress {
    /// There may be more: step again.
    More,
    /// Every address is known: [`RangeScan::finish`].
    Done,
}

/// A read on its way.
///
/// It reads one revision, the one that was current when it began or the one that the query names, however often the
/// lock is released between its steps.
#[derive(Debug)]
pub struct RangeScan {
    query: RangeQuery,
    /// The revision that is read.
    pinned: Revision,
    /// The current revision when the read began, for the header (R3).
    current: Revision,
    /// Where the next step begins.
    from: Box<[u8]>,
    selection: Selection,
    collecting: bool,
    count: Count,
}

/// How the number of keys in the range is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Known(i64),
    /// By looking at every key; so many were seen.
    Scanning(i64),
}

impl RangeScan {
    /// Begins a read.
    ///
    /// # Errors
    /// [`EtcdError::FutureRev`] and [`EtcdError::Compacted`] by R2.
    pub fn new(mvcc: &Mvcc, query: &RangeQuery) -> Result<Self, EtcdError> {
        let current = mvcc.revision();
        let pinned = if query.revision > 0 { Revision(query.revision) } else { current };
        if pinned > current {
            return Err(EtcdError::FutureRev);
        }
        if pinned < mvcc.compacted() {
            return Err(EtcdError::Compacted);
        }
        let mut scan = Self {
            pinned,
            current,
            from: query.range.start.as_slice().into(),
            selection: Selection::new(query),
            collecting: !query.count_only,
            count: Count::Scanning(0),
            query: query.clone(),
        };
        scan.begin(mvcc);
        Ok(scan)
    }

    /// Finds out what can be known without a scan.
    fn begin(&mut self, mvcc: &Mvcc) {
        let range = &self.query.range;
        if range.is_empty() {
            self.count = Count::Known(0);
            self.collecting = false;
        } else if range.end == RangeEnd::Single {
            let version = mvcc.at(range.start.as_slice(), self.pinned);
            self.count = Count::Known(i64::from(version.is_some()));
            if let Some(version) = version
                && self.collecting
            {
                self.selection.offer(range.start.as_slice(), version);
            }
            self.collecting = false;
        } else if let Some(count) = mvcc.count_at(range, self.pinned) {
            self.count = Count::Known(count);
            self.collecting &= count > 0;
            self.skip_to_last_keys(mvcc, count);
        }
    }

    /// A read that wants the last keys only begins at them.
    fn skip_to_last_keys(&mut self, mvcc: &Mvcc, count: i64) {
        let Some(last_keys) = self.selection.last_keys(&self.query) else { return };
        let Some(skipped) = usize::try_from(count).ok().and_then(|count| count.checked_sub(last_keys)) else {
            return;
        };
        if self.pinned == mvcc.revision() {
            let rank = mvcc.index.live_before(&self.from) + skipped;
            if let Some(first) = mvcc.index.seek_live_rank(rank).next_live() {
                self.from = first.key().into();
            }
        }
    }

    /// Looks at `keys_max` further keys at most.
    ///
    /// # Errors
    /// [`EtcdError::Compacted`] if since the last step a compaction went past the revision that the query names. A read of the
    /// newest revision begins again instead.
    pub fn step(&mut self, mvcc: &Mvcc, keys_max: usize) -> Result<ScanProgress, EtcdError> {
        if self.pinned < mvcc.compacted() {
            if self.query.revision > 0 {
                return Err(EtcdError::Compacted);
            }
            *self = RangeScan::new(mvcc, &self.query)?;
        }
        if self.is_done() {
            return Ok(ScanProgress::Done);
        }
        let live_only = self.pinned == mvcc.revision();
        let mut cursor = mvcc.index.seek(&self.from);
        let mut last = None;
        for _ in 0..keys_max.max(1) {
            let entry = if live_only { cursor.next_live() } else { cursor.next() };
            let Some(entry) = entry.filter(|entry| self.query.range.contains(entry.key())) else {
                self.end();
                return Ok(ScanProgress::Done);
            };
            last = Some(entry.key());
            let Some(version) = entry.live_at(self.pinned) else { continue };
            if let Count::Scanning(seen) = &mut self.count {
                *seen += 1;
            }
            if self.collecting {
                self.selection.offer(entry.key(), version);
                self.collecting = !self.selection.is_full();
                if self.is_done() {
                    return Ok(ScanProgress::Done);
                }
            }
        }
        if let Some(last) = last {
            self.from = [last, &[0]].concat().into();
        }
        Ok(ScanProgress::More)
    }

    fn is_done(&self) -> bool {
        !self.collecting && matches!(self.count, Count::Known(_))
    }

    fn end(&mut self) {
        self.collecting = false;
        if let Count::Scanning(seen) = self.count {
            self.count = Count::Known(seen);
        }
    }

    /// The revision that is read.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.pinned
    }

    /// Reads the records, filters, sorts and trims. Call it once a step said [`ScanProgress::Done`]; it needs no lock.
    ///
    /// # Errors
    /// [`ReadError::Refused`] with [`EtcdError::Compacted`] if a compaction took away a record of the revision that the
    /// query names, [`ReadError::Again`] if it took one of a read of the newest revision, and
    /// [`ReadError::Damaged`].
    pub fn finish(self, records: &dyn RecordSource) -> Result<RangeOutcome, ReadError> {
        debug_assert!(self.is_done(), "a scan is finished after its last step");
        let (Count::Known(count) | Count::Scanning(count)) = self.count;
        let (kvs, more) = self.selection.finish(records).map_err(|error| match error {
            ReadError::Again if self.query.revision > 0 => ReadError::Refused(EtcdError::Compacted),
            other => other,
        })?;
        Ok(RangeOutcome { revision: self.current, kvs, more, count })
    }
}

/// The whole of a read in one go.
///
/// # Errors
/// As [`RangeScan::new`] and [`RangeScan::finish`].
pub fn range(mvcc: &Mvcc, records: &dyn RecordSource, query: &RangeQuery) -> Result<RangeOutcome, ReadError> {
    let mut scan = RangeScan::new(mvcc, query).map_err(ReadError::Refused)?;
    while scan.step(mvcc, usize::MAX).map_err(ReadError::Refused)? == ScanProgress::More {}
    scan.finish(records)
}
