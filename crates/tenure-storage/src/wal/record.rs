//! One record: its frame, its header and its place in the chain of checksums.
//!
//! `docs/format/wal.md` has the diagrams. Everything here is pure: bytes in, bytes out.

use bytes::BufMut;
use prost::Message;
use tenure_api::{etcdserverpb, raftpb, walpb};
use tenure_core::types::{ClusterId, ConfState, EntryKind, HardState, LogEntry, LogIndex, MemberId, Term};

/// Length field in front of every record.
const FRAME_BYTES: usize = 8;
/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;
/// Two tags, type and checksum, the tag and the length of the data: 1+1, 1+5, 1+10, and room to spare.
const HEADER_BYTES_MAX: usize = 32;
/// Capacity that the encoder keeps when a batch was larger.
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 20;

/// What a record is, with etcd's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    Metadata = 1,
    Entry = 2,
    State = 3,
    Crc = 4,
    Snapshot = 5,
}

impl RecordKind {
    fn from_wire(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Metadata,
            2 => Self::Entry,
            3 => Self::State,
            4 => Self::Crc,
            5 => Self::Snapshot,
            _ => return None,
        })
    }
}

fn varint_len(value: u64) -> usize {
    prost::encoding::encoded_len_varint(value)
}

/// Writes records into one buffer that is used again and again, and carries the checksum on.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub buffer: Vec<u8>,
    pub crc: u32,
}

impl Encoder {
    /// Forgets what was written; the checksum goes on.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES_MAX);
    }

    /// The first record of a segment: the checksum so far, and no data.
    pub fn crc_record(&mut self) {
        self.record(RecordKind::Crc, None);
    }

    pub fn metadata(&mut self, member: MemberId, cluster: ClusterId) {
        let message = etcdserverpb::Metadata { node_id: Some(member.0), cluster_id: Some(cluster.0) };
        self.record(RecordKind::Metadata, Some((&message.encode_to_vec(), &[])));
    }

    pub fn state(&mut self, state: &HardState) {
        let mut bytes = [0; 33];
        let mut rest = &mut bytes[..];
        for (tag, value) in
            [(0x08, state.term.0), (0x10, state.vote.map_or(0, |vote| vote.0)), (0x18, state.commit.0)]
        {
            rest.put_u8(tag);
            prost::encoding::encode_varint(value, &mut rest);
        }
        let len = 33 - rest.len();
        self.record(RecordKind::State, Some((&bytes[..len], &[])));
    }

    pub fn entry(&mut self, entry: &LogEntry) {
        let mut bytes = [0; 48];
        let mut rest = &mut bytes[..];
        let kind = match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::ConfChange => 1,
            EntryKind::ConfChangeV2 => 2,
        };
        if kind != 0 {
            rest.put_slice(&[0x08, kind]);
        }
        rest.put_u8(0x10);
        prost::encoding::encode_varint(entry.term.0, &mut rest);
        rest.put_u8(0x18);
        prost::encoding::encode_varint(entry.index.0, &mut rest);
        if !entry.data.is_empty() {
            rest.put_u8(0x22);
            prost::encoding::encode_varint(entry.data.len() as u64, &mut rest);
        }
        let len = 48 - rest.len();
        self.record(RecordKind::Entry, Some((&bytes[..len], &entry.data)));
    }

    pub fn snapshot(&mut self, index: LogIndex, term: Term, conf_state: Option<&ConfState>) {
        let message = walpb::Snapshot {
            index: Some(index.0),
            term: Some(term.0),
            conf_state: conf_state.map(|conf| raftpb::ConfState {
                voters: conf.voters.iter().map(|id| id.0).collect(),
                learners: conf.learners.iter().map(|id| id.0).collect(),
                voters_outgoing: conf.voters_outgoing.iter().map(|id| id.0).collect(),
                learners_next: conf.learners_next.iter().map(|id| id.0).collect(),
                auto_leave: Some(conf.auto_leave),
            }),
        };
        self.record(RecordKind::Snapshot, Some((&message.encode_to_vec(), &[])));
    }

    /// One framed record. The data comes in two parts so that an entry's bytes are copied once.
    fn record(&mut self, kind: RecordKind, data: Option<(&[u8], &[u8])>) {
        if let Some((head, body)) = data {
            self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, head), body);
        }
        let data_bytes = data.map(|(head, body)| head.len() + body.len());
        let record_bytes = 3
            + varint_len(u64::from(self.crc))
            + data_bytes.map_or(0, |bytes| 1 + varint_len(bytes as u64) + bytes);
        let pad_bytes = record_bytes.wrapping_neg() % 8;
        self.buffer.reserve(FRAME_BYTES + record_bytes + pad_bytes);
        let out = &mut self.buffer;
        out.put_u64_le(frame_word(record_bytes as u64));
        out.put_slice(&[0x08, kind as u8, 0x10]);
        prost::encoding::encode_varint(u64::from(self.crc), out);
        if let (Some((head, body)), Some(bytes)) = (data, data_bytes) {
            out.put_u8(0x1a);
            prost::encoding::encode_varint(bytes as u64, out);
            out.put_slice(head);
            out.put_slice(body);
        }
        out.put_bytes(0, pad_bytes);
    }
}

/// The length field of a record of so many bytes: with padding, the top byte says how much.
fn frame_word(record_bytes: u64) -> u64 {
    match record_bytes.wrapping_neg() % 8 {
        0 => record_bytes,
        pad => record_bytes | (0x80 | pad) << 56,
    }
}

/// A record as it was read. Its checksum holds.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub kind: RecordKind,
    pub crc: u32,
    pub data: &'a [u8],
}

/// Why there is no next record though there are bytes.
#[derive(Debug)]
pub(super) enum Broken {
    /// What a crash leaves of a write that was never synced: a sector or the end of the file is missing.
    Torn,
    /// Not what a crash leaves: something was changed after it was written.
    Damaged(String),
}

/// Reads the records of one segment in order.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    /// Offset of the next record; after the last one, where to write on.
    pub at: usize,
    /// The checksum so far. The first record of a segment sets it.
    pub crc: u32,
}

struct Header {
    kind: u64,
    crc: u32,
    /// From the start of the record; `None` if the record has no data field.
    data_at: usize,
}

impl<'a> Scan<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, crc: 0 }
    }

    /// The next record, or `None` at the end: of the file, or where nothing has been written yet.
    pub fn next(&mut self) -> Result<Option<Record<'a>>, Broken> {
        let rest = &self.bytes[self.at..];
        let Some(word) = rest.first_chunk::<FRAME_BYTES>().map(|word| u64::from_le_bytes(*word)) else {
            return if is_zero(rest) { Ok(None) } else { Err(Broken::Torn) };
        };
        if word == 0 {
            return self.end();
        }
        let record_bytes = word & 0x00ff_ffff_ffff_ffff;
        if word != frame_word(record_bytes) {
            return Err(Broken::Damaged(format!("the length field is {word:#018x}")));
        }
        let rest = &rest[FRAME_BYTES..];
        let Some(record) = usize::try_from(record_bytes).ok().and_then(|bytes| rest.get(..bytes)) else {
            return Err(self.cut_off(rest, record_bytes));
        };
        let Head::Read(header) = parse_header(record, record_bytes) else {
            return Err(self.bad_header());
        };
        let data = &record[header.data_at..];
        let frame_bytes = FRAME_BYTES + record.len().next_multiple_of(8);
        if self.bytes.len() - self.at < frame_bytes {
            return Err(Broken::Torn);
        }
        let Some(kind) = RecordKind::from_wire(header.kind) else {
            return Err(Broken::Damaged(format!("there is no record type {}", header.kind)));
        };
        if kind == RecordKind::Crc {
            self.crc = header.crc;
        } else {
            let computed = crc32c::crc32c_append(self.crc, data);
            if computed != header.crc {
                return Err(self.bad_checksum(frame_bytes, header.crc, computed));
            }
            self.crc = computed;
        }
        self.at += frame_bytes;
        Ok(Some(Record { kind, crc: header.crc, data }))
    }

    /// A length field of zero. A sector that was never written is zero to its end.
    fn end(&self) -> Result<Option<Record<'a>>, Broken> {
        if is_zero(self.sector_rest(self.at)) {
            return Ok(None);
        }
        Err(Broken::Damaged("a length field of zero with other bytes behind it".into()))
    }

    /// The record is longer than the file. If its header agrees that it is so long, its end was not written; otherwise
    /// the length field is wrong.
    fn cut_off(&self, rest: &[u8], record_bytes: u64) -> Broken {
        match parse_header(rest, record_bytes) {
            Head::Read(_) | Head::CutOff => Broken::Torn,
            Head::Wrong => self.bad_header(),
        }
    }

    /// The header does not say what the length field says. The sector that has both is written whole or not at all.
    fn bad_header(&self) -> Broken {
        let next_sector = self.next_sector();
        let header_goes_on = next_sector < self.at + FRAME_BYTES + HEADER_BYTES_MAX;
        if header_goes_on && self.sector_is_lost(next_sector) {
            return Broken::Torn;
        }
        Broken::Damaged("the length field and the head of the record disagree".into())
    }

    fn bad_checksum(&self, frame_bytes: usize, stored: u32, computed: u32) -> Broken {
        let sectors = (self.next_sector()..self.at + frame_bytes).step_by(SECTOR_BYTES);
        if sectors.into_iter().any(|sector| self.sector_is_lost(sector)) {
            return Broken::Torn;
        }
        Broken::Damaged(format!("checksum mismatch: {stored:#010x} stored, {computed:#010x} computed"))
    }

    fn next_sector(&self) -> usize {
        (self.at / SECTOR_BYTES + 1) * SECTOR_BYTES
    }

    /// The bytes from `at` to the end of its sector.
    fn sector_rest(&self, at: usize) -> &'a [u8] {
        let end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        &self.bytes[at..end.min(self.bytes.len())]
    }

    /// Whether the sector that starts here was never written.
    fn sector_is_lost(&self, start: usize) -> bool {
        start < self.bytes.len() && is_zero(self.sector_rest(start))
    }
}

/// What starts at `at` and looks like a whole record: length field and head agree. The checksum is not looked at. Gives the
/// length of its frame too.
pub(super) fn record_at(bytes: &[u8], at: usize) -> Option<(Record<'_>, usize)> {
    let rest = bytes.get(at..)?;
    let word = u64::from_le_bytes(*rest.first_chunk::<FRAME_BYTES>()?);
    let record_bytes = word & 0x00ff_ffff_ffff_ffff;
    let record = rest[FRAME_BYTES..].get(..usize::try_from(record_bytes).ok()?)?;
    if word != frame_word(record_bytes) {
        return None;
    }
    let Head::Read(Header { kind, crc, data_at }) = parse_header(record, record_bytes) else { return None };
    let frame_bytes = FRAME_BYTES + record.len().next_multiple_of(8);
    Some((Record { kind: RecordKind::from_wire(kind)?, crc, data: &record[data_at..] }, frame_bytes))
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What the start of a record turned out to be.
enum Head {
    Read(Header),
    /// The bytes end within it.
    CutOff,
    Wrong,
}

/// The header of a record of `record_bytes` bytes: type, checksum and data in this order, and the data ends where the record
/// ends. `bytes` may be only the start of the record.
fn parse_header(bytes: &[u8], record_bytes: u64) -> Head {
    let mut at = 0;
    let mut numbers = [0; 3];
    for (number, tag) in numbers.iter_mut().zip([0x08, 0x10, 0x1a]) {
        if at as u64 == record_bytes && tag == 0x1a {
            break;
        }
        match bytes.get(at) {
            None => return Head::CutOff,
            Some(found) if *found != tag => return Head::Wrong,
            Some(_) => at += 1,
        }
        match varint(bytes, &mut at) {
            Some(value) => *number = value,
            None if at == bytes.len() => return Head::CutOff,
            None => return Head::Wrong,
        }
    }
    let [kind, crc, data_bytes] = numbers;
    let end = (at as u64).checked_add(data_bytes);
    match u32::try_from(crc) {
        Ok(crc) if end == Some(record_bytes) => Head::Read(Header { kind, crc, data_at: at }),
        _ => Head::Wrong,
    }
}

pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The scalar fields of an entry or a hard state, and the data of an entry.
#[derive(Default)]
struct Fields<'a> {
    numbers: [u64; 3],
    data: Option<&'a [u8]>,
}

/// Fields 1 to 3 as numbers and, where `data` allows it, field 4 as bytes. Anything else is refused: no etcd writes it,
/// and the type of a record is not part of its checksum.
fn fields(bytes: &[u8], data: bool) -> Option<Fields<'_>> {
    let mut fields = Fields::default();
    let mut at = 0;
    while at < bytes.len() {
        let tag = bytes[at];
        at += 1;
        let value = varint(bytes, &mut at)?;
        match tag {
            0x08 => fields.numbers[0] = value,
            0x10 => fields.numbers[1] = value,
            0x18 => fields.numbers[2] = value,
            0x22 if data => {
                let end = at.checked_add(usize::try_from(value).ok()?)?;
                fields.data = Some(bytes.get(at..end)?);
                at = end;
            }
            _ => return None,
        }
    }
    Some(fields)
}

/// An entry where it lies in a segment.
#[derive(Debug)]
pub(super) struct EntryView<'a> {
    pub index: LogIndex,
    pub term: Term,
    pub kind: EntryKind,
    pub data: &'a [u8],
}

/// The entry that the data of a record is.
pub(super) fn decode_entry(bytes: &[u8]) -> Option<EntryView<'_>> {
    let Fields { numbers: [kind, term, index], data } = fields(bytes, true)?;
    let kind = match kind {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        _ => return None,
    };
    Some(EntryView { index: LogIndex(index), term: Term(term), kind, data: data.unwrap_or_default() })
}

/// The hard state that the data of a record is.
pub(super) fn decode_state(bytes: &[u8]) -> Option<HardState> {
    let [term, vote, commit] = fields(bytes, false)?.numbers;
    Some(HardState {
        term: Term(term),
        vote: (vote != 0).then_some(MemberId(vote)),
        commit: LogIndex(commit),
    })
}
