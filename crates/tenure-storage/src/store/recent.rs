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
        let place = self.place(at)?;
        Some(self.records[place].kv.clone())
    }

    /// Where a record is. Most revisions have one record, so it is looked for where it is if all have: a search in so many
    /// records is a miss of the cache with every step.
    fn place(&self, at: RecordRevision) -> Option<usize> {
        let oldest = self.records.front()?.at;
        let revisions = usize::try_from(at.main.0.checked_sub(oldest.main.0)?).ok()?;
        if self.records.get(revisions).is_some_and(|record| record.at == at) {
            return Some(revisions);
        }
        self.records.binary_search_by_key(&at, |record| record.at).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many records in each of these revisions.
    fn recent(revisions: &[(i64, u32)]) -> Recent {
        let mut recent = Recent::new(1 << 20);
        for &(main, records) in revisions {
            for sub in 0..records {
                let at = RecordRevision { main: Revision(main), sub };
                let kv = KvBytes(format!("{main}/{sub}").into_bytes().into());
                recent.push(StoredRecord { at, tombstone: false, kv });
            }
        }
        recent
    }

    /// Finds each record, and none beside them.
    fn check(recent: &Recent) {
        for main in 0..20 {
            for sub in 0..5 {
                let at = RecordRevision { main: Revision(main), sub };
                let known = recent.records.iter().find(|record| record.at == at);
                assert_eq!(recent.find(at), known.map(|record| record.kv.clone()), "{at:?}");
            }
        }
    }

    #[test]
    fn records_are_found_wherever_they_are() {
        check(&recent(&[]));
        check(&recent(&[(3, 1), (4, 1), (5, 1), (6, 1)]));
        check(&recent(&[(2, 1), (3, 4), (4, 1), (5, 2), (6, 1)]));
        // Revisions that have left no record behind.
        check(&recent(&[(2, 1), (9, 3), (10, 1), (17, 1)]));
        // The oldest that are left begin in the middle of a revision.
        let mut shortened = recent(&[(2, 4), (3, 1), (4, 3), (6, 1)]);
        shortened.bytes_max = shortened.bytes * 4 / 5;
        shortened.push(StoredRecord {
            at: RecordRevision { main: Revision(7), sub: 0 },
            tombstone: true,
            kv: KvBytes(b"last".as_slice().into()),
        });
        assert!(shortened.records.front().is_some_and(|oldest| oldest.at.sub > 0));
        check(&shortened);
    }
}
