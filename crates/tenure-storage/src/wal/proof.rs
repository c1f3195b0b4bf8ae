//! Telling a torn end from the loss of something that was durable.
//!
//! A sector of zeros is what a crash leaves of a write that was never synced, but also what a disk or a person leaves that
//! wipes a part of the log. The records behind it can tell: a save is entries and then a hard state, a save with entries is synced
//! before the next one is written, so whoever finds *entry, hard state, another record* behind the place knows that
//! the place had been synced.

use super::record::{RecordKind, decode_entry, record_at};
use tenure_core::types::{LogIndex, Term};

/// What is lost in one unsynced save is never so many entries.
const ENTRIES_AHEAD_MAX: u64 = 1 << 20;

/// How much of *entry, hard state, another record* has been seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Entry,
    Save,
}

/// The offset of a record in `bytes` that could only be written when what is missing at `cut` had been synced, if
/// there is one. `last` is the last entry in front of `cut`.
///
/// Only records whose checksums continue each other count, and only entries that can follow `last`: a log can be the value
/// of a key.
pub(super) fn synced_behind(bytes: &[u8], cut: usize, last: (LogIndex, Term)) -> Option<usize> {
    let mut at = cut;
    let mut crc = None;
    let mut seen = Seen::Nothing;
    while at < bytes.len() {
        let Some((record, frame_bytes)) = record_at(bytes, at) else {
            (crc, seen) = (None, Seen::Nothing);
            at += 8;
            continue;
        };
        if crc.is_none_or(|crc| crc32c::crc32c_append(crc, record.data) != record.crc) {
            seen = Seen::Nothing;
        }
        seen = match (seen, record.kind) {
            (Seen::Save, _) => return Some(at),
            (Seen::Entry, RecordKind::State) => Seen::Save,
            // Of the record at the cut the head is whole; its data is what is missing.
            (_, RecordKind::Entry) if at == cut || can_follow(record.data, last) => Seen::Entry,
            _ => Seen::Nothing,
        };
        crc = Some(record.crc);
        at += frame_bytes;
    }
    None
}

fn can_follow(data: &[u8], (index, term): (LogIndex, Term)) -> bool {
    decode_entry(data).is_some_and(|entry| {
        let ahead = entry.index.0.checked_sub(index.0);
        ahead.is_some_and(|ahead| ahead <= ENTRIES_AHEAD_MAX) && entry.term >= term
    })
}
