//! The bytes of a segment: header, records, table, trailer. `docs/format/store.md` has the diagrams.

use tenure_core::types::{RecordRevision, Revision};

/// The version of the format that this code reads and writes.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a record before its pair.
pub(super) const RECORD_HEADER_BYTES: usize = 16;
/// Bytes of one row of the table.
pub(super) const ROW_BYTES: usize = 12;
/// Bytes of the trailer.
pub(super) const TRAILER_BYTES: usize = 32;
/// Longest pair that a record can hold.
pub(super) const PAIR_BYTES_MAX: usize = (1 << 31) - 1;

const HEADER_MAGIC: &[u8; 8] = b"tnr-rev\n";
const TRAILER_MAGIC: &[u8; 8] = b"tnr-end\n";
const TOMBSTONE_BIT: u32 = 1 << 31;

/// What is wrong with bytes that were read; the caller knows the file and the offset.
pub(super) type Fault = &'static str;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The sequence number, which is also the name of the file.
    pub sequence: u64,
    /// The main revision that the records count from.
    pub base: Revision,
}

impl Header {
    /// The bytes, and the seed of the file's checksums.
    pub fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(HEADER_MAGIC);
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..24].copy_from_slice(&self.base.0.to_le_bytes());
        out[24..28].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let seed = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&seed.to_le_bytes());
        (out, seed)
    }

    /// The header of the segment `sequence`, and the seed.
    pub fn decode(bytes: &[u8; HEADER_BYTES], sequence: u64) -> Result<(Self, u32), Fault> {
        if &bytes[..8] != HEADER_MAGIC {
            return Err("this is not a segment of the revision log");
        }
        let seed = crc32c::crc32c(&bytes[..28]);
        if u32_at(bytes, 28) != seed {
            return Err("the checksum of the segment's header is wrong");
        }
        if u32_at(bytes, 24) != FORMAT_VERSION {
            return Err("the segment has a format that this version does not know");
        }
        if u64_at(bytes, 8) != sequence {
            return Err("the segment's header has another sequence number than its name");
        }
        let base = Revision(i64::from_le_bytes(u64_at(bytes, 16).to_le_bytes()));
        Ok((Self { sequence, base }, seed))
    }
}

/// One row of a segment's table: where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Main revision minus the segment's base.
    pub main_delta: u32,
    /// Place in the revision.
    pub sub: u32,
    /// Offset in the file.
    pub offset: u32,
}

/// What the header of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// The checksum of the rest.
    pub crc: u32,
    /// Bytes of the pair.
    pub pair_bytes: u32,
    /// Whether the record deletes its key.
    pub tombstone: bool,
    /// Main revision minus the segment's base.
    pub main_delta: u32,
    /// Place in the revision.
    pub sub: u32,
}

impl RecordHeader {
    /// Reads the first [`RECORD_HEADER_BYTES`] of `bytes`, which are there.
    pub fn decode(bytes: &[u8]) -> Self {
        let length = u32_at(bytes, 4);
        Self {
            crc: u32_at(bytes, 0),
            pair_bytes: length & !TOMBSTONE_BIT,
            tombstone: length & TOMBSTONE_BIT != 0,
            main_delta: u32_at(bytes, 8),
            sub: u32_at(bytes, 12),
        }
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.pair_bytes as usize
    }
}

/// Appends the bytes of a record to `out`. The pair is at most [`PAIR_BYTES_MAX`] long.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    seed: u32,
    main_delta: u32,
    sub: u32,
    tombstone: bool,
    pair: &[u8],
) {
    let start = out.len();
    let length = pair.len() as u32 | if tombstone { TOMBSTONE_BIT } else { 0 };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&main_delta.to_le_bytes());
    out.extend_from_slice(&sub.to_le_bytes());
    out.extend_from_slice(pair);
    let crc = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Verifies that `bytes` are exactly one record, and the one that `row` speaks of.
pub(super) fn decode_record(bytes: &[u8], seed: u32, row: Row) -> Result<RecordHeader, Fault> {
    if bytes.len() < RECORD_HEADER_BYTES {
        return Err("a record is shorter than its header");
    }
    let header = RecordHeader::decode(bytes);
    if header.record_bytes() != bytes.len() {
        return Err("a record has another length than the table says");
    }
    if crc32c::crc32c_append(seed, &bytes[4..]) != header.crc {
        return Err("the checksum of a record is wrong");
    }
    if (header.main_delta, header.sub) != (row.main_delta, row.sub) {
        return Err("a record has another revision than the table says");
    }
    Ok(header)
}

/// The table and the trailer of a sealed segment.
pub(super) fn encode_footer(rows: &[Row], end_of_records: u64, seed: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * ROW_BYTES + TRAILER_BYTES);
    for row in rows {
        out.extend_from_slice(&row.main_delta.to_le_bytes());
        out.extend_from_slice(&row.sub.to_le_bytes());
        out.extend_from_slice(&row.offset.to_le_bytes());
    }
    let table_crc = crc32c::crc32c_append(seed, &out);
    let trailer = out.len();
    out.extend_from_slice(TRAILER_MAGIC);
    out.extend_from_slice(&end_of_records.to_le_bytes());
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    out.extend_from_slice(&table_crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c_append(seed, &out[trailer..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The rows of a footer that must be about `records` records that end at `end_of_records`.
pub(super) fn decode_footer(
    footer: &[u8],
    end_of_records: u64,
    records: u32,
    seed: u32,
) -> Result<Vec<Row>, Fault> {
    let table_bytes = records as usize * ROW_BYTES;
    if footer.len() != table_bytes + TRAILER_BYTES {
        return Err("the segment's table has another length than the manifest says");
    }
    let (table, trailer) = footer.split_at(table_bytes);
    if &trailer[..8] != TRAILER_MAGIC {
        return Err("the segment has no trailer where the manifest says");
    }
    if crc32c::crc32c_append(seed, &trailer[..28]) != u32_at(trailer, 28) {
        return Err("the checksum of the segment's trailer is wrong");
    }
    if u64_at(trailer, 8) != end_of_records || u32_at(trailer, 16) != records {
        return Err("the segment's trailer contradicts the manifest");
    }
    if crc32c::crc32c_append(seed, table) != u32_at(trailer, 20) {
        return Err("the checksum of the segment's table is wrong");
    }
    let row =
        |bytes: &[u8]| Row { main_delta: u32_at(bytes, 0), sub: u32_at(bytes, 4), offset: u32_at(bytes, 8) };
    Ok(table.chunks_exact(ROW_BYTES).map(row).collect())
}

/// The name of the file of a segment.
pub(super) fn segment_file_name(sequence: u64) -> String {
    format!("{sequence:016x}.rev")
}

/// The sequence number in the name of a file, if it is one of ours.
pub(super) fn segment_sequence(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".rev")?;
    let sequence = u64::from_str_radix(digits, 16).ok()?;
    (segment_file_name(sequence) == file_name).then_some(sequence)
}

/// The row of the manifest that is kept for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ManifestRow {
    /// The name of the file.
    pub sequence: u64,
    /// Whether the segment has its table and takes no more records.
    pub sealed: bool,
    /// Where the records end in the file.
    pub end_of_records: u64,
    /// How many records there are.
    pub records: u32,
    /// The first of them.
    pub first: RecordRevision,
    /// The last of them.
    pub last: RecordRevision,
}

impl ManifestRow {
    /// The length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.end_of_records + if self.sealed { footer_bytes(self.records as usize) } else { 0 }
    }
}

/// Bytes of the table and trailer of a segment of so many records.
pub(super) fn footer_bytes(records: usize) -> u64 {
    (records * ROW_BYTES + TRAILER_BYTES) as u64
}
