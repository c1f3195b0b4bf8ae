//! One segment of the revision log: a file, the table of its records, and which of them are dead.

use super::StoreError;
use super::dead::DeadSet;
use super::format::{
    Fault, HEADER_BYTES, Header, ManifestRow, RECORD_HEADER_BYTES, RecordHeader, Row, decode_footer,
    decode_record, encode_footer, footer_bytes, segment_file_name,
};
use super::unwritten::Unwritten;
use crate::disk::{Disk, DiskFile};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenure_core::types::{KvBytes, RecordRevision, Revision};

/// Bytes that one read of a sequential pass asks for, unless a record is longer.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// A record as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it is.
    pub at: RecordRevision,
    /// Whether it deletes its key.
    pub tombstone: bool,
    /// The wire bytes of the pair. They may share a buffer with their neighbours: copy what is to be kept for
    /// long.
    pub kv: KvBytes,
}

/// A file of records in ascending order. Found by readers from its first record on.
#[derive(Debug)]
pub(super) struct Segment {
    pub sequence: u64,
    /// Address of the first record: no record of the store between the segment before and this one is below
    /// it.
    pub first: RecordRevision,
    pub path: PathBuf,
    base: Revision,
    seed: u32,
    file: Arc<dyn DiskFile>,
    unwritten: Unwritten,
    table: RwLock<Table>,
    marks: Mutex<Marks>,
}

/// Where the records are. Grows at its end until the segment is sealed.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<Row>,
    end_of_records: u64,
    sealed: bool,
}

/// What a checkpoint has to make durable, and what it has made durable.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Dead records.
    pub dead: Arc<DeadSet>,
    /// Those of them that the last checkpoint made durable. The same `Arc` if there are no others.
    pub dead_durable: Arc<DeadSet>,
    /// The row of the manifest as the last checkpoint wrote it.
    pub manifest: Option<ManifestRow>,
}

/// Where a record is in its segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its row in the table.
    pub index: usize,
    pub row: Row,
    /// Length of the record.
    pub bytes: usize,
}

impl Place {
    /// Where the record begins and ends in the file.
    pub fn span(&self) -> Range<u64> {
        let start = u64::from(self.row.offset);
        start..start + self.bytes as u64
    }
}

impl Table {
    fn bytes_of(&self, index: usize) -> usize {
        let end = self.rows.get(index + 1).map_or(self.end_of_records, |row| u64::from(row.offset));
        (end - u64::from(self.rows[index].offset)) as usize
    }

    fn find(&self, main_delta: u32, sub: u32) -> Result<usize, usize> {
        // In a segment that nothing was taken from and that has one record a revision, the distance is the
        // index.
        let guess = main_delta as usize;
        if self.rows.get(guess).is_some_and(|row| (row.main_delta, row.sub) == (main_delta, sub)) {
            return Ok(guess);
        }
        self.rows.binary_search_by_key(&(main_delta, sub), |row| (row.main_delta, row.sub))
    }

    fn place(&self, index: usize) -> Place {
        Place { index, row: self.rows[index], bytes: self.bytes_of(index) }
    }
}

/// What a new segment is made of.
pub(super) struct NewSegment {
    /// The first record that will be in it.
    pub first: RecordRevision,
    pub sequence: u64,
    pub path: PathBuf,
    /// The bytes that the file must begin with; the caller writes them.
    pub header: [u8; HEADER_BYTES],
    pub seed: u32,
    pub file: Arc<dyn DiskFile>,
}

impl NewSegment {
    /// Creates the file, empty.
    pub fn create(
        disk: &dyn Disk,
        dir: &Path,
        sequence: u64,
        first: RecordRevision,
    ) -> Result<Self, StoreError> {
        let path = dir.join(segment_file_name(sequence));
        let file = disk.create(&path).map_err(StoreError::io("create", &path))?;
        let (header, seed) = Header { sequence, base: first.main }.encode();
        Ok(Self { first, sequence, path, header, seed, file })
    }
}

impl Segment {
    /// The segment of a file that the caller has just begun to write, without records for now.
    pub fn new(new: NewSegment) -> Self {
        Self {
            sequence: new.sequence,
            first: new.first,
            path: new.path,
            base: new.first.main,
            seed: new.seed,
            file: new.file,
            unwritten: Unwritten::behind(0),
            table: RwLock::new(Table { end_of_records: HEADER_BYTES as u64, ..Table::default() }),
            marks: Mutex::new(Marks::default()),
        }
    }

    /// Opens the file of a row of the manifest and verifies header and table. An unsealed file is cut to the
    /// length of the manifest and read through.
    pub fn open(disk: &dyn Disk, dir: &Path, row: &ManifestRow) -> Result<Self, StoreError> {
        let path = dir.join(segment_file_name(row.sequence));
        let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
        let bytes = file.len().map_err(StoreError::io("stat", &path))?;
        let wanted = row.file_bytes();
        if bytes < wanted || row.sealed && bytes > wanted {
            let fault = format!("the file has {bytes} bytes, and the manifest says {wanted}");
            return Err(StoreError::damaged(&path, bytes.min(wanted), fault));
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(StoreError::io("read", &path))?;
        let (header, seed) =
            Header::decode(&header, row.sequence).map_err(|fault| StoreError::damaged(&path, 0, fault))?;
        let segment = Self {
            sequence: row.sequence,
            first: row.first,
            path,
            base: header.base,
            seed,
            file,
            unwritten: Unwritten::behind(wanted),
            table: RwLock::new(Table::default()),
            marks: Mutex::new(Marks { manifest: Some(*row), ..Marks::default() }),
        };
        let rows = if row.sealed { segment.load_table(row)? } else { segment.rebuild_table(row, bytes)? };
        segment.check_table(&rows, row)?;
        *segment.table.write() = Table { rows, end_of_records: row.end_of_records, sealed: row.sealed };
        Ok(segment)
    }

    fn load_table(&self, row: &ManifestRow) -> Result<Vec<Row>, StoreError> {
        let mut footer = vec![0; footer_bytes(row.records as usize) as usize];
        self.read_into(&mut footer, row.end_of_records)?;
        decode_footer(&footer, row.end_of_records, row.records, self.seed)
            .map_err(|fault| self.damaged(row.end_of_records, fault))
    }

    /// Reads all records of an unsealed file, and cuts what came after the checkpoint.
    fn rebuild_table(&self, row: &ManifestRow, file_bytes: u64) -> Result<Vec<Row>, StoreError> {
        if file_bytes > row.end_of_records {
            self.file.set_len(row.end_of_records).map_err(StoreError::io("cut", &self.path))?;
        }
        let records_max = row.end_of_records / RECORD_HEADER_BYTES as u64;
        let mut rows = Vec::with_capacity(u64::from(row.records).min(records_max) as usize);
        let mut offset = HEADER_BYTES as u64;
        let mut chunk = Vec::new();
        while offset < row.end_of_records {
            let left = row.end_of_records - offset;
            let mut bytes = left.min(CHUNK_BYTES as u64) as usize;
            self.read_chunk(&mut chunk, bytes, offset)?;
            let mut used = self.take_rows(&chunk, offset, &mut rows)?;
            if used == 0 {
                if bytes < RECORD_HEADER_BYTES {
                    return Err(self.damaged(offset, "a record is cut off by the end of the records"));
                }
                bytes = RecordHeader::decode(&chunk).record_bytes();
                if bytes as u64 > left {
                    return Err(self.damaged(offset, "a record reaches beyond the end of the records"));
                }
                self.read_chunk(&mut chunk, bytes, offset)?;
                used = self.take_rows(&chunk, offset, &mut rows)?;
            }
            offset += used as u64;
        }
        Ok(rows)
    }

    fn read_chunk(&self, chunk: &mut Vec<u8>, bytes: usize, offset: u64) -> Result<(), StoreError> {
        chunk.resize(bytes, 0);
        self.read_into(chunk, offset)
    }

    /// The rows of the records that are whole in `chunk`, which was read at `offset`. Returns how many bytes
    /// they are.
    fn take_rows(&self, chunk: &[u8], offset: u64, rows: &mut Vec<Row>) -> Result<usize, StoreError> {
        let mut used = 0;
        while chunk.len() - used >= RECORD_HEADER_BYTES {
            let header = RecordHeader::decode(&chunk[used..]);
            let end = used + header.record_bytes();
            if end > chunk.len() {
                break;
            }
            let at = offset + used as u64;
            let offset = u32::try_from(at).map_err(|_| self.damaged(at, "a record begins beyond 4 GiB"))?;
            let row = Row { main_delta: header.main_delta, sub: header.sub, offset };
            decode_record(&chunk[used..end], self.seed, row).map_err(|fault| self.damaged(at, fault))?;
            rows.push(row);
            used = end;
        }
        Ok(used)
    }

    /// The rows ascend, and are as many as the manifest says, between the revisions it says.
    fn check_table(&self, rows: &[Row], row: &ManifestRow) -> Result<(), StoreError> {
        let ascending = rows.windows(2).all(|pair| {
            (pair[0].main_delta, pair[0].sub) < (pair[1].main_delta, pair[1].sub)
                && u64::from(pair[0].offset) + RECORD_HEADER_BYTES as u64 <= u64::from(pair[1].offset)
        });
        if !ascending {
            return Err(self.damaged(row.end_of_records, "the records are not in ascending order"));
        }
        let ends = rows.first().zip(rows.last());
        let ends = ends.map(|(first, last)| (self.address(*first), self.address(*last)));
        let inside = rows.last().is_some_and(|last| u64::from(last.offset) < row.end_of_records);
        if rows.len() != row.records as usize || ends != Some((row.first, row.last)) || !inside {
            return Err(self.damaged(row.end_of_records, "the records are not those of the manifest"));
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, fault: Fault) -> StoreError {
        StoreError::damaged(&self.path, offset, fault)
    }

    /// The distance of a main revision from the base, if the segment can hold it.
    pub fn main_delta(&self, main: Revision) -> Option<u32> {
        u32::try_from(main.0.checked_sub(self.base.0)?).ok()
    }

    fn address(&self, row: Row) -> RecordRevision {
        RecordRevision { main: Revision(self.base.0 + i64::from(row.main_delta)), sub: row.sub }
    }

    /// What the checksums of the file continue.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Where the record `at` is, if it is here.
    pub fn find(&self, at: RecordRevision) -> Option<Place> {
        let main_delta = self.main_delta(at.main)?;
        let table = self.table.read();
        table.find(main_delta, at.sub).ok().map(|index| table.place(index))
    }

    /// The address of the record at `index`, if there are so many.
    pub fn address_of(&self, index: usize) -> Option<RecordRevision> {
        self.table.read().rows.get(index).map(|row| self.address(*row))
    }

    /// Where the record at `index` is, if there are so many.
    pub fn place(&self, index: usize) -> Option<Place> {
        let table = self.table.read();
        (index < table.rows.len()).then(|| table.place(index))
    }

    /// The indices of the records from `from` on, up to and with the main revision `to_inclusive`.
    pub fn range(&self, from: RecordRevision, to_inclusive: Revision) -> Range<usize> {
        let table = self.table.read();
        let start = table.rows.partition_point(|row| self.address(*row) < from);
        let end = table.rows.partition_point(|row| self.address(*row).main <= to_inclusive);
        start..end.max(start)
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.table.read().rows.len()
    }

    /// Where the records end, which is where the next one goes.
    pub fn end_of_records(&self) -> u64 {
        self.table.read().end_of_records
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        let table = self.table.read();
        table.end_of_records + if table.sealed { footer_bytes(table.rows.len()) } else { 0 }
    }

    /// The row of the manifest that says what is here now. There is at least one record.
    pub fn manifest_row(&self) -> ManifestRow {
        let table = self.table.read();
        ManifestRow {
            sequence: self.sequence,
            sealed: table.sealed,
            end_of_records: table.end_of_records,
            records: table.rows.len() as u32,
            first: self.first,
            last: table.rows.last().map_or(self.first, |row| self.address(*row)),
        }
    }

    /// The places of the records from index `range.start` on that fit in `bytes_max` bytes together, at least
    /// one, none at or beyond `range.end`.
    pub fn places(&self, range: Range<usize>, bytes_max: usize) -> Vec<Place> {
        let table = self.table.read();
        let mut places = Vec::new();
        let mut bytes = 0;
        for index in range {
            let place = table.place(index);
            bytes += place.bytes;
            if bytes > bytes_max && !places.is_empty() {
                break;
            }
            places.push(place);
        }
        places
    }

    /// Reads the bytes of `span`, which may be several records.
    pub fn read_span(&self, span: &Range<u64>) -> Result<Bytes, StoreError> {
        let mut bytes = vec![0; (span.end - span.start) as usize];
        self.read_into(&mut bytes, span.start)?;
        Ok(bytes.into())
    }

    fn read_into(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let read = self.unwritten.fill(buffer, offset).and_then(|in_file| match in_file {
            0 => Ok(()),
            _ => self.file.read_exact_at(&mut buffer[..in_file], offset),
        });
        match read {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(offset, "the file ends before the bytes that are looked for"))
            }
            Err(error) => Err(StoreError::io("read", &self.path)(error)),
        }
    }

    /// The record at `place`, out of the bytes that were read at `offset`.
    pub fn decode(&self, bytes: &Bytes, offset: u64, place: &Place) -> Result<StoredRecord, StoreError> {
        let start = (u64::from(place.row.offset) - offset) as usize;
        let record = &bytes[start..start + place.bytes];
        let header = decode_record(record, self.seed, place.row)
            .map_err(|fault| self.damaged(u64::from(place.row.offset), fault))?;
        Ok(StoredRecord {
            at: self.address(place.row),
            tombstone: header.tombstone,
            kv: KvBytes(bytes.slice(start + RECORD_HEADER_BYTES..start + place.bytes)),
        })
    }

    /// Adds records (and the header, if they are the first) at `offset`, where the others end, and then lets readers find them. They
    /// are written when there are more, and with [`Segment::seal`] and [`Segment::sync`].
    pub fn append(&self, bytes: &[u8], offset: u64, rows: &[Row]) -> Result<(), StoreError> {
        self.unwritten.push(bytes, &*self.file).map_err(StoreError::io("write", &self.path))?;
        let mut table = self.table.write();
        table.rows.extend_from_slice(rows);
        table.end_of_records = offset + bytes.len() as u64;
        Ok(())
    }

    /// Writes table and trailer: no record comes any more. Returns their length.
    pub fn seal(&self) -> Result<u64, StoreError> {
        let footer = {
            let table = self.table.read();
            encode_footer(&table.rows, table.end_of_records, self.seed)
        };
        self.unwritten.push(&footer, &*self.file).map_err(StoreError::io("write", &self.path))?;
        self.write()?;
        let mut table = self.table.write();
        table.rows.shrink_to_fit();
        table.sealed = true;
        Ok(footer.len() as u64)
    }

    fn write(&self) -> Result<(), StoreError> {
        self.unwritten.write(&*self.file).map_err(StoreError::io("write", &self.path))
    }

    /// Makes durable what was appended.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.write()?;
        self.file.sync_data().map_err(StoreError::io("sync", &self.path))
    }

    /// Marks records dead. Returns how many bytes have died by that.
    pub fn mark(&self, records: &[RecordRevision]) -> u64 {
        let mut marks = self.marks.lock();
        let found = records.iter().filter_map(|at| self.find(*at));
        let places: Vec<Place> = found.filter(|place| !marks.dead.contains(place.index)).collect();
        if places.is_empty() {
            return 0;
        }
        let before = marks.dead.bytes();
        let dead = Arc::make_mut(&mut marks.dead);
        for place in places {
            dead.insert(place.index, place.bytes as u64);
        }
        dead.bytes() - before
    }

    /// Dead records and what of the segment is durable.
    pub fn marks(&self) -> parking_lot::MutexGuard<'_, Marks> {
        self.marks.lock()
    }
}
