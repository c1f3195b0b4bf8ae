//! Reading records in order.

use super::dead::DeadSet;
use super::segment::{CHUNK_BYTES, Segment};
use super::{Shared, Store, StoreError, StoredRecord};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::vec;
use tenure_core::types::{RecordRevision, Revision};

/// A scan of at most so many records that are all in memory does not go to the disk.
const MEMORY_RECORDS_MAX: usize = 1024;

/// The records of a range of revisions, in order, as they were when the scan began: appends, compactions and
/// rewritten segments do not change what it returns. It holds one chunk of a segment in memory, and keeps the
/// files that it has to read from being given back to the file system, so it should not be kept idle. After
/// an error it ends.
#[derive(Debug)]
pub struct RecordScan {
    shared: Arc<Shared>,
    parts: VecDeque<Part>,
    chunk: vec::IntoIter<StoredRecord>,
}

/// What is to be read of one segment.
#[derive(Debug)]
pub(super) struct Part {
    pub segment: Arc<Segment>,
    /// The indices of the records.
    pub range: Range<usize>,
    /// Records that are passed over.
    pub dead: Arc<DeadSet>,
}

impl Part {
    /// Reads the next live records, as many as fit in a chunk; none if there are no more.
    pub fn next_chunk(&mut self) -> Result<Vec<StoredRecord>, StoreError> {
        let mut records = Vec::new();
        while records.is_empty() && self.skip_dead() {
            let places = self.segment.places(self.range.clone(), CHUNK_BYTES);
            let (Some(first), Some(last)) = (places.first(), places.last()) else { break };
            let span = first.span().start..last.span().end;
            let bytes = self.segment.read_span(&span)?;
            records.reserve(places.len());
            for place in places.iter().filter(|place| !self.dead.contains(place.index)) {
                records.push(self.segment.decode(&bytes, span.start, place)?);
            }
            self.range.start = last.index + 1;
        }
        Ok(records)
    }

    /// Goes to the next live record. Says whether there is one.
    fn skip_dead(&mut self) -> bool {
        while !self.range.is_empty() && self.dead.contains(self.range.start) {
            self.range.start += 1;
        }
        !self.range.is_empty()
    }
}

impl RecordScan {
    /// The next records, at least one, in order; `None` at the end. For those who work on whole chunks.
    pub(super) fn next_chunk(&mut self) -> Option<Result<Vec<StoredRecord>, StoreError>> {
        loop {
            let part = self.parts.front_mut()?;
            let chunk = match self.shared.check() {
                Ok(()) => self.shared.guard(part.next_chunk()),
                Err(error) => Err(error),
            };
            match chunk {
                Ok(records) if records.is_empty() => drop(self.parts.pop_front()),
                Ok(records) => return Some(Ok(records)),
                Err(error) => {
                    self.parts.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl RecordScan {
    /// Stops the store because of `fault` in the record `at`.
    pub(super) fn damaged(&self, at: RecordRevision, fault: &str) -> StoreError {
        let error = self.shared.damaged_record(at, fault);
        self.shared.stop(&error);
        error
    }
}

impl Iterator for RecordScan {
    type Item = Result<StoredRecord, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.chunk.next() {
                return Some(Ok(record));
            }
            match self.next_chunk()? {
                Ok(records) => self.chunk = records.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Store {
    /// The records that are not dead, from `from` on, up to and with revision `to_inclusive`, in order.
    #[must_use]
    pub fn scan(&self, from: RecordRevision, to_inclusive: Revision) -> RecordScan {
        let shared = self.shared.clone();
        let parts = shared.parts(from, to_inclusive);
        match shared.in_memory(from, to_inclusive, &parts) {
            Some(records) => RecordScan { shared, parts: VecDeque::new(), chunk: records.into_iter() },
            None => RecordScan { shared, parts, chunk: Vec::new().into_iter() },
        }
    }
}

impl Shared {
    /// What `parts` have to return, if memory has exactly that: nothing of it is dead, and nothing was taken
    /// away, which memory does not know of.
    fn in_memory(
        &self,
        from: RecordRevision,
        to_inclusive: Revision,
        parts: &VecDeque<Part>,
    ) -> Option<Vec<StoredRecord>> {
        let count: usize = parts.iter().map(|part| part.range.len()).sum();
        if count > MEMORY_RECORDS_MAX || parts.iter().any(|part| !part.dead.is_empty()) {
            return None;
        }
        let records = self.recent.read().range(from, to_inclusive, MEMORY_RECORDS_MAX)?;
        (records.len() == count).then_some(records)
    }

    fn parts(&self, from: RecordRevision, to_inclusive: Revision) -> VecDeque<Part> {
        // No record may be marked, and no segment replaced, between the first and the last that is looked at.
        let _marking = self.marking.lock();
        let list = self.list();
        let start = list.partition_point(|segment| segment.first <= from).saturating_sub(1);
        let overlapping = list[start..].iter().take_while(|segment| segment.first.main <= to_inclusive);
        overlapping
            .map(|segment| Part {
                segment: segment.clone(),
                range: segment.range(from, to_inclusive),
                dead: segment.marks().dead.clone(),
            })
            .filter(|part| !part.range.is_empty())
            .collect()
    }
}
