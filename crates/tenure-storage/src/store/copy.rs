//! Segments that are made of records that exist already.

use super::format::{RECORD_HEADER_BYTES, Row, encode_record};
use super::segment::{NewSegment, Segment};
use super::{Shared, StoreError, StoredRecord};
use std::path::Path;
use tenure_core::types::RecordRevision;

/// Bytes that are collected for one write to a new segment.
const WRITE_BYTES: usize = 1 << 20;

/// A segment that is being made of records that are elsewhere too, and that nobody reads yet.
#[derive(Debug)]
pub(super) struct Copy {
    segment: Segment,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    offset: u64,
}

impl Copy {
    pub fn begin(shared: &Shared, first: RecordRevision) -> Result<Self, StoreError> {
        let new = NewSegment::create(shared.disk.as_ref(), &shared.dir, shared.next_sequence(), first)?;
        let bytes = new.header.to_vec();
        Ok(Self { segment: Segment::new(new), bytes, rows: Vec::new(), offset: 0 })
    }

    /// Whether one more record of this size fits.
    pub fn has_room_for(&self, at: RecordRevision, pair_bytes: usize, segment_bytes_max: u32) -> bool {
        let end = self.offset + self.bytes.len() as u64 + (RECORD_HEADER_BYTES + pair_bytes) as u64;
        end <= u64::from(segment_bytes_max) && self.segment.main_delta(at.main).is_some()
    }

    pub fn push(&mut self, record: &StoredRecord) -> Result<(), StoreError> {
        let offset = self.offset + self.bytes.len() as u64;
        // Whoever copies has made sure of it.
        let row = self.segment.main_delta(record.at.main).zip(u32::try_from(offset).ok());
        let Some((main_delta, offset)) = row else {
            let fault = format!("record {} does not fit in a copy of its segment", record.at);
            return Err(StoreError::damaged(&self.segment.path, offset, fault));
        };
        let (seed, sub) = (self.segment.seed(), record.at.sub);
        encode_record(&mut self.bytes, seed, main_delta, sub, record.tombstone, &record.kv.0);
        self.rows.push(Row { main_delta, sub, offset });
        if self.bytes.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.segment.path
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.segment.append(&self.bytes, self.offset, &self.rows)?;
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
        self.rows.clear();
        Ok(())
    }

    /// The segment, whole and durable but for its name.
    pub fn finish(mut self) -> Result<Segment, StoreError> {
        self.write()?;
        self.segment.seal()?;
        self.segment.sync()?;
        Ok(self.segment)
    }
}
