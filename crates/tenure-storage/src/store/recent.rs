//! The records that were appended last, in memory: what is read most, and by every watch.

use super::StoredRecord;
use std::collections::VecDeque;
use tenure_core::types::{KvBytes, RecordRevision, Revision};

/// What a record takes in memory beside the bytes of its pair.
const OVERHEAD_BYTES: usize = 96;

/// The end of the revision log, as much of it as fits.
#[derive(Debug)]
pub(super) struct Recent {
    records: VecDeque<StoredRecord>,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    pub fn new(bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds a record that is newer than all others; the oldest make room.
    pub fn push(&mut self, record: StoredRecord) {
        self.bytes += record.kv.0.len() + OVERHEAD_BYTES;
        self.records.push_back(record);
        while self.bytes > self.bytes_max {
            match self.records.pop_front() {
                Some(oldest) => self.bytes -= oldest.kv.0.len() + OVERHEAD_BYTES,
                None => break,
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    pub fn find(&self, at: RecordRevision) -> Option<KvBytes> {
        if self.records.front().is_none_or(|oldest| at < oldest.at) {
            return None;
        }
        let place = self.records.binary_search_by_key(&at, |record| record.at).ok()?;
        Some(self.records[place].kv.clone())
    }

    /// The records from `from` on up to and with revision `to_inclusive`, if every one of them is here and
    /// they are at most `records_max`.
    pub fn range(
        &self,
        from: RecordRevision,
        to_inclusive: Revision,
        records_max: usize,
    ) -> Option<Vec<StoredRecord>> {
        if self.records.front().is_none_or(|oldest| from < oldest.at) {
            return None;
        }
        let start = self.records.partition_point(|record| record.at < from);
        let end = self.records.partition_point(|record| record.at.main <= to_inclusive).max(start);
        (end - start <= records_max).then(|| self.records.range(start..end).cloned().collect())
    }
}
