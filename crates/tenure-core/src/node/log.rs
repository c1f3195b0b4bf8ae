//! The part of the log that is in memory, as the engine wants to see it.

use super::engine;
use super::message::Snapshot;
use crate::types::{ConfState, HardState, LogEntry, LogIndex, LogPosition, Term};
use raft::eraftpb;
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::collections::VecDeque;

/// What an entry costs on the wire beside its data, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 24;

/// The entries after `start`: those that are not applied yet, and some before them for followers that are behind.
///
/// Whether an entry is on disk this log does not know. It holds what was handed out to be persisted, and the engine
/// counts what has been.
pub(super) struct MemoryLog {
    start: LogPosition,
    entries: VecDeque<eraftpb::Entry>,
    bytes: usize,
    hard_state: HardState,
    /// What the state machine holds, which is what a snapshot would hold.
    applied: LogIndex,
    conf_state: ConfState,
}

impl MemoryLog {
    /// A log of `entries`, the first of which follows `start`.
    pub(super) fn new(
        start: LogPosition,
        entries: Vec<LogEntry>,
        hard_state: HardState,
        applied: LogIndex,
        conf_state: ConfState,
    ) -> Self {
        let mut log = Self { start, entries: VecDeque::new(), bytes: 0, hard_state, applied, conf_state };
        log.append(entries.into_iter().map(engine::entry_into).collect());
        log
    }

    /// Index of the first entry that is here.
    pub(super) fn first(&self) -> LogIndex {
        self.start.index.next()
    }

    /// Index of the last entry.
    pub(super) fn last(&self) -> LogIndex {
        LogIndex(self.start.index.0 + self.entries.len() as u64)
    }

    /// Adds entries; those that are here with their indexes or greater ones are forgotten.
    pub(super) fn append(&mut self, entries: Vec<eraftpb::Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.start.index.0, "an entry that is gone would be replaced");
        let keep = self.place(first.index);
        assert!(keep <= self.entries.len(), "a gap would be left in the log");
        self.bytes -= self.entries.drain(keep..).map(|entry| size(&entry)).sum::<usize>();
        self.bytes += entries.iter().map(size).sum::<usize>();
        self.entries.extend(entries);
    }

    /// Replaces everything by the state machine of another member.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        self.entries.clear();
        self.bytes = 0;
        self.start = snapshot.position;
        self.applied = snapshot.position.index;
        self.conf_state = snapshot.conf_state.clone();
    }

    /// Notes that the entries up to `applied` are applied, and forgets the oldest of them until at most `entries_max` of
    /// them are left and all entries together have at most `bytes_max` bytes.
    pub(super) fn applied_to(&mut self, applied: LogIndex, entries_max: usize, bytes_max: usize) {
        // Reports of entries that a snapshot has overtaken can still come.
        self.applied = self.applied.max(applied);
        while self.start.index < applied {
            let behind = applied.0 - self.start.index.0;
            if behind <= entries_max as u64 && self.bytes <= bytes_max {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= size(&entry);
            self.start = LogPosition { index: LogIndex(entry.index), term: Term(entry.term) };
        }
    }

    pub(super) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    fn place(&self, index: u64) -> usize {
        usize::try_from(index - self.start.index.0 - 1).unwrap_or(usize::MAX)
    }
}

fn size(entry: &eraftpb::Entry) -> usize {
    entry.data.len() + ENTRY_OVERHEAD_BYTES
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(
            engine::hard_state_into(&self.hard_state),
            engine::conf_state_into(&self.conf_state),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<eraftpb::Entry>> {
        if low <= self.start.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last().0 + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let wanted = self.entries.range(self.place(low)..self.place(high));
        let Some(max) = max_size.into().and_then(|max| usize::try_from(max).ok()) else {
            return Ok(wanted.cloned().collect());
        };
        let mut bytes = 0;
        let fits = |entry: &&eraftpb::Entry| {
            let is_first = bytes == 0;
            bytes += size(entry);
            is_first || bytes <= max
        };
        Ok(wanted.take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.start.index.0 {
            return Ok(self.start.term.0);
        }
        if index < self.start.index.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get(self.place(index));
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first().0)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().0)
    }

    /// What the state machine holds now. The rim sends it beside the message.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<eraftpb::Snapshot> {
        let index = self.applied;
        if index.0 == 0 || index.0 < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let position = LogPosition { index, term: Term(self.term(index.0)?) };
        Ok(engine::snapshot_into(&Snapshot { position, conf_state: self.conf_state.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::EntryKind;
    use bytes::Bytes;

    fn entry(index: u64, term: u64, bytes: usize) -> LogEntry {
        let data = Bytes::from(vec![0; bytes]);
        LogEntry { index: LogIndex(index), term: Term(term), kind: EntryKind::Normal, data }
    }

    fn log(indexes: std::ops::RangeInclusive<u64>) -> MemoryLog {
        let start = LogPosition { index: LogIndex(indexes.start() - 1), term: Term(1) };
        let entries = indexes.map(|index| entry(index, 2, 100)).collect();
        MemoryLog::new(start, entries, HardState::default(), start.index, ConfState::default())
    }

    fn read(log: &MemoryLog, low: u64, high: u64, max: Option<u64>) -> Result<Vec<u64>> {
        let entries = log.entries(low, high, max, GetEntriesContext::empty(false))?;
        Ok(entries.into_iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn a_slice_has_at_least_one_entry_and_at_most_the_bytes() {
        let log = log(5..=8);
        assert_eq!(read(&log, 5, 9, None), Ok(vec![5, 6, 7, 8]));
        assert_eq!(read(&log, 6, 8, None), Ok(vec![6, 7]));
        assert_eq!(read(&log, 5, 9, Some(250)), Ok(vec![5, 6]));
        assert_eq!(read(&log, 5, 9, Some(0)), Ok(vec![5]));
        assert_eq!(read(&log, 4, 9, None), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(read(&log, 5, 10, None), Err(Error::Store(StorageError::Unavailable)));
        assert_eq!((log.first_index(), log.last_index()), (Ok(5), Ok(8)));
    }

    #[test]
    fn terms_are_known_from_the_start_on() {
        let log = log(5..=6);
        assert_eq!((log.term(4), log.term(5), log.term(6)), (Ok(1), Ok(2), Ok(2)));
        assert_eq!(log.term(3), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(log.term(7), Err(Error::Store(StorageError::Unavailable)));
    }

    #[test]
    fn appending_replaces_the_end() {
        let mut log = log(1..=4);
        log.append(vec![engine::entry_into(entry(3, 7, 1))]);
        assert_eq!((log.last().0, log.term(2), log.term(3)), (3, Ok(2), Ok(7)));
        assert_eq!(log.bytes, 2 * (100 + ENTRY_OVERHEAD_BYTES) + 1 + ENTRY_OVERHEAD_BYTES);
    }

    #[test]
    fn applied_entries_are_kept_up_to_their_bounds() {
        let mut by_count = log(1..=10);
        by_count.applied_to(LogIndex(6), 4, usize::MAX);
        assert_eq!(by_count.first().0, 3);
        let mut by_bytes = log(1..=10);
        by_bytes.applied_to(LogIndex(6), 4, 5 * (100 + ENTRY_OVERHEAD_BYTES));
        assert_eq!(by_bytes.first().0, 6);
        by_bytes.applied_to(LogIndex(6), 0, 0);
        assert_eq!((by_bytes.first().0, by_bytes.last().0), (7, 10), "unapplied entries stay");
    }

    #[test]
    fn a_snapshot_is_what_is_applied() {
        let mut log = log(5..=8);
        assert!(log.snapshot(6, 0).is_err());
        log.applied_to(LogIndex(6), 0, 0);
        let metadata = log.snapshot(6, 0).expect("applied").take_metadata();
        assert_eq!((metadata.index, metadata.term), (6, 2));
    }
}
