//! Appending batches.

use super::format::{HEADER_BYTES, PAIR_BYTES_MAX, RECORD_HEADER_BYTES, Row, encode_record};
use super::segment::{NewSegment, Segment};
use super::{Backlog, Shared, Store, StoreError, StoredRecord};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tenure_core::state::{TableChange, WriteBatch};
use tenure_core::types::{LogIndex, Record, RecordRevision, Term};

/// Capacity of the write buffer that is kept from one append to the next.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The end of the revision log.
#[derive(Debug)]
pub(super) struct Writer {
    /// The segment that takes records.
    active: Option<Active>,
    /// The last record.
    last: RecordRevision,
    applied: LogIndex,
    term: Term,
    /// Changes of tables that no checkpoint has begun with.
    pending: VecDeque<(LogIndex, TableChange)>,
    backlog: Backlog,
    /// Number of the last checkpoint that was begun.
    checkpoint: u64,
    staged: Staged,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    /// Whether readers know of it.
    listed: bool,
}

/// Records that are encoded and not written yet.
#[derive(Debug, Default)]
struct Staged {
    /// Where in the file they go.
    offset: u64,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    records: Vec<StoredRecord>,
}

/// Where a checkpoint begins.
pub(super) struct Position {
    pub applied: LogIndex,
    pub term: Term,
    pub checkpoint: u64,
}

impl Writer {
    /// The writer of a store that was opened: `active` takes records after `last`.
    pub fn new(active: Option<Arc<Segment>>, last: RecordRevision, applied: LogIndex, term: Term) -> Self {
        let offset = active.as_ref().map_or(0, |segment| segment.end_of_records());
        Self {
            active: active.map(|segment| Active { segment, listed: true }),
            last,
            applied,
            term,
            pending: VecDeque::new(),
            backlog: Backlog::default(),
            checkpoint: 0,
            staged: Staged { offset, ..Staged::default() },
        }
    }

    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    pub fn backlog(&self) -> Backlog {
        Backlog { table_changes: self.pending.len(), ..self.backlog }
    }

    /// Numbers a checkpoint at the end of what was appended, and hands over the changes of tables that go
    /// with it.
    pub fn begin_checkpoint(&mut self, started: &mut VecDeque<(LogIndex, TableChange)>) -> Position {
        started.append(&mut self.pending);
        self.backlog = Backlog::default();
        self.checkpoint += 1;
        Position { applied: self.applied, term: self.term, checkpoint: self.checkpoint }
    }

    /// The end of the log of another member, which has taken the place of this one's: everything that was begun
    /// before counts for nothing. Returns the number of the last checkpoint that was begun.
    pub fn replace(&mut self, last: RecordRevision, applied: LogIndex, term: Term) -> u64 {
        *self = Self { checkpoint: self.checkpoint, ..Self::new(None, last, applied, term) };
        self.checkpoint
    }

    fn append(&mut self, shared: &Shared, batch: &WriteBatch) -> Result<(), StoreError> {
        if batch.applied() <= self.applied {
            return Err(StoreError::BatchOutOfOrder { applied: batch.applied(), last: self.applied });
        }
        for record in &batch.records {
            self.stage(shared, record)?;
        }
        let entries = batch.tables.iter().map(|change| (batch.applied(), change.clone()));
        self.pending.extend(entries);
        self.applied = batch.applied();
        self.term = batch.term();
        self.backlog.entries += 1;
        Ok(())
    }

    fn stage(&mut self, shared: &Shared, record: &Record) -> Result<(), StoreError> {
        let at = record.at();
        let pair = &record.kv.0;
        if at <= self.last {
            return Err(StoreError::RecordOutOfOrder { at, last: self.last });
        }
        if pair.len() > PAIR_BYTES_MAX {
            return Err(StoreError::PairTooLong { at, bytes: pair.len() });
        }
        let (segment, main_delta, offset) = self.room_for(shared, at, pair.len())?;
        let tombstone = record.version.is_tombstone();
        encode_record(&mut self.staged.bytes, segment.seed(), main_delta, at.sub, tombstone, pair);
        self.staged.rows.push(Row { main_delta, sub: at.sub, offset });
        self.staged.records.push(StoredRecord { at, tombstone, kv: record.kv.clone() });
        self.last = at;
        Ok(())
    }

    /// The segment that takes the next record, its distance from the base and its offset. Seals the active
    /// segment and begins a new one if the record does not fit.
    fn room_for(
        &mut self,
        shared: &Shared,
        at: RecordRevision,
        pair_bytes: usize,
    ) -> Result<(Arc<Segment>, u32, u32), StoreError> {
        let record_bytes = (RECORD_HEADER_BYTES + pair_bytes) as u64;
        if let Some(active) = &self.active {
            let offset = self.staged.offset + self.staged.bytes.len() as u64;
            let fits = offset + record_bytes <= u64::from(shared.options.segment_bytes_max);
            let delta = active.segment.main_delta(at.main);
            if let (true, Some(delta), Ok(offset)) = (fits, delta, u32::try_from(offset)) {
                return Ok((active.segment.clone(), delta, offset));
            }
            self.seal(shared)?;
        }
        let new = NewSegment::create(shared.disk.as_ref(), &shared.dir, shared.next_sequence(), at)?;
        self.staged.offset = 0;
        self.staged.bytes.extend_from_slice(&new.header);
        let segment = Arc::new(Segment::new(new));
        self.active = Some(Active { segment: segment.clone(), listed: false });
        Ok((segment, 0, HEADER_BYTES as u32))
    }

    /// Writes what is staged and ends the active segment, if there is one. The next record begins another.
    pub fn seal(&mut self, shared: &Shared) -> Result<(), StoreError> {
        self.flush(shared)?;
        if let Some(active) = self.active.take() {
            let footer_bytes = active.segment.seal()?;
            shared.segments_bytes.fetch_add(footer_bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// [`Writer::seal`] if the active segment has dead records, so that they can be taken from it.
    pub fn seal_if_dead(&mut self, shared: &Shared) -> Result<(), StoreError> {
        match &self.active {
            Some(active) if !active.segment.marks().dead.is_empty() => self.seal(shared),
            _ => Ok(()),
        }
    }

    /// Writes what is staged and makes it readable.
    fn flush(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let staged = &mut self.staged;
        let Some(active) = self.active.as_mut().filter(|_| !staged.rows.is_empty()) else {
            return Ok(());
        };
        active.segment.append(&staged.bytes, staged.offset, &staged.rows)?;
        if !active.listed {
            let mut list = shared.segments.write();
            Arc::make_mut(&mut list).push(active.segment.clone());
            active.listed = true;
        }
        let bytes = staged.bytes.len() as u64;
        staged.offset += bytes;
        self.backlog.bytes += bytes;
        shared.segments_bytes.fetch_add(bytes, Ordering::Relaxed);
        staged.bytes.clear();
        staged.bytes.shrink_to(KEPT_BYTES_MAX);
        staged.rows.clear();
        let mut recent = shared.recent.write();
        staged.records.drain(..).for_each(|record| recent.push(record));
        Ok(())
    }
}

impl Store {
    /// Adds a batch; from then on its records can be read. Many of them are written at once (`unwritten.rs`). It is durable after
    /// a checkpoint; until then the WAL has it.
    ///
    /// # Errors
    /// If the disk fails or is full, if the batch is not newer than all before it, or if the store has
    /// stopped. The store has stopped after any of these.
    pub fn append(&self, batch: &WriteBatch) -> Result<(), StoreError> {
        self.append_all([batch])
    }

    /// [`Store::append`] of several batches, oldest first, with one write.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_all<'a>(
        &self,
        batches: impl IntoIterator<Item = &'a WriteBatch>,
    ) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.check()?;
        let mut writer = shared.writer.lock();
        let append = || {
            for batch in batches {
                writer.append(shared, batch)?;
            }
            writer.flush(shared)
        };
        shared.guard(append())
    }
}
