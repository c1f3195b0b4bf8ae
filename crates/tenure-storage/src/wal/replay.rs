//! What the records of a log mean, taken together.
//!
//! The checksum of a record covers its data and not its type, so everything that the order of records and Raft itself rule out is
//! refused here: a changed type must not turn one record into another that is believed.

use super::record::{EntryView, Record, RecordKind, decode_entry, decode_state};
use super::{Metadata, Replay, SnapshotRecord};
use bytes::Bytes;
use prost::Message;
use tenure_api::{etcdserverpb, raftpb, walpb};
use tenure_core::types::{ClusterId, ConfState, HardState, LogEntry, LogIndex, MemberId, Term};

/// A term never grows by more than this in one step: more is no term.
const TERM_STEP_MAX: u64 = u32::MAX as u64;

/// Collects records, in order, into a [`Replay`].
#[derive(Debug)]
pub(super) struct Collector {
    after: LogIndex,
    /// The term of the log at `after`, if it is known.
    after_term: Option<Term>,
    metadata: Option<Bytes>,
    hard_state: HardState,
    snapshots: Vec<SnapshotRecord>,
    entries: Vec<LogEntry>,
    /// Last entry, or what stands for it: a snapshot, the name of the first segment (then without a term).
    last: (LogIndex, Term),
    records_in_segment: u64,
    /// Checksum at the end of the segment before, if it is known.
    previous_crc: Option<u32>,
}

impl Collector {
    /// Keeps entries behind `after`. `first` is the index in the name of the first segment that is read.
    pub fn new(after: LogIndex, first: LogIndex) -> Self {
        Self {
            after,
            after_term: None,
            metadata: None,
            hard_state: HardState::default(),
            snapshots: Vec::new(),
            entries: Vec::new(),
            last: (LogIndex(first.0.saturating_sub(1)), Term(0)),
            records_in_segment: 0,
            previous_crc: None,
        }
    }

    /// The records that follow are in a new segment. `crc` is the checksum at the end of the one before.
    pub fn segment(&mut self, crc: Option<u32>) {
        self.records_in_segment = 0;
        self.previous_crc = crc;
    }

    /// The last entry or what stands for it, with its term if it is known.
    pub fn last(&self) -> (LogIndex, Term) {
        self.last
    }

    /// The term at the index behind which entries are kept, if the log has an entry there or a snapshot that stands for it.
    pub fn after_term(&self) -> Option<Term> {
        self.after_term
    }

    /// Whether the segment has had what every segment starts with.
    pub fn has_header(&self) -> bool {
        self.records_in_segment >= 2
    }

    /// Takes the next record, or says why it cannot be what it seems to be.
    pub fn take(&mut self, record: &Record<'_>) -> Result<(), String> {
        match (self.records_in_segment, record.kind) {
            (0, RecordKind::Crc) => self.crc(record)?,
            (1, RecordKind::Metadata) => self.metadata(record.data)?,
            (0, kind) => return Err(format!("the segment starts with a record of type {kind:?}")),
            (1, kind) => return Err(format!("the second record of the segment has type {kind:?}")),
            (_, RecordKind::Entry) => self.entry(record.data)?,
            (_, RecordKind::State) => self.state(record.data)?,
            (_, RecordKind::Snapshot) => self.snapshot(record.data)?,
            (_, kind @ (RecordKind::Crc | RecordKind::Metadata)) => {
                return Err(format!("a record of type {kind:?} that is not at the start of a segment"));
            }
        }
        self.records_in_segment += 1;
        Ok(())
    }

    fn crc(&self, record: &Record<'_>) -> Result<(), String> {
        if !record.data.is_empty() {
            return Err("a checksum record with data".into());
        }
        match self.previous_crc {
            Some(previous) if previous != record.crc => Err(format!(
                "the checksum of the segments before is {previous:#010x} and should be {:#010x}: records before this one are missing",
                record.crc
            )),
            _ => Ok(()),
        }
    }

    fn metadata(&mut self, data: &[u8]) -> Result<(), String> {
        match &self.metadata {
            Some(known) if known != data => {
                Err("the segment is another member's: its metadata differs".into())
            }
            Some(_) => Ok(()),
            None => {
                self.metadata = Some(Bytes::copy_from_slice(data));
                Ok(())
            }
        }
    }

    fn known_term(&self) -> Term {
        self.hard_state.term.max(self.last.1)
    }

    fn entry(&mut self, data: &[u8]) -> Result<(), String> {
        let Some(entry) = decode_entry(data) else { return Err("the data is not an entry".into()) };
        self.check_entry(&entry)?;
        self.last = (entry.index, entry.term);
        if entry.index <= self.after {
            self.after_term = (entry.index == self.after).then_some(entry.term);
        }
        let kept = usize::try_from(entry.index.0.saturating_sub(self.after.0 + 1)).unwrap_or(usize::MAX);
        if kept > self.entries.len() {
            return Err(format!(
                "entry {} is there, but what follows entry {} is not",
                entry.index, self.after
            ));
        }
        self.entries.truncate(kept);
        if entry.index > self.after {
            let EntryView { index, term, kind, data } = entry;
            self.entries.push(LogEntry { index, term, kind, data: Bytes::copy_from_slice(data) });
        }
        Ok(())
    }

    fn check_entry(&self, entry: &EntryView<'_>) -> Result<(), String> {
        let EntryView { index, term, .. } = *entry;
        let (last_index, last_term) = self.last;
        if index.0 == 0 || term.0 == 0 {
            return Err(format!("an entry at index {index} and term {term}"));
        }
        if index > last_index.next() {
            return Err(format!("entry {index} follows entry {last_index}: what is between them is missing"));
        }
        if index <= self.hard_state.commit {
            return Err(format!(
                "entry {index} is written again, but {} is committed",
                self.hard_state.commit
            ));
        }
        let term_before = if index == last_index.next() { last_term } else { self.term_before(index) };
        if term < term_before {
            return Err(format!("entry {index} has term {term}, the one before it {term_before}"));
        }
        if term.0.saturating_sub(self.known_term().0) > TERM_STEP_MAX {
            return Err(format!("entry {index} has term {term}, but the newest is {}", self.known_term()));
        }
        if entry.kind != tenure_core::types::EntryKind::Normal && entry.data.is_empty() {
            return Err(format!("entry {index} is a configuration change without data"));
        }
        Ok(())
    }

    /// The term of the kept entry in front of `index`, 0 if it is not kept.
    fn term_before(&self, index: LogIndex) -> Term {
        let place = index.0.checked_sub(self.after.0 + 2).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.entries.get(place)).map_or(Term(0), |entry| entry.term)
    }

    fn state(&mut self, data: &[u8]) -> Result<(), String> {
        let Some(state) = decode_state(data) else { return Err("the data is not a hard state".into()) };
        let known = self.hard_state;
        if state.term.0 == 0 || state.term < known.term || state.commit < known.commit {
            return Err(format!(
                "a hard state of term {} and commit {} after one of term {} and commit {}",
                state.term, state.commit, known.term, known.commit
            ));
        }
        self.hard_state = state;
        Ok(())
    }

    fn snapshot(&mut self, data: &[u8]) -> Result<(), String> {
        let Ok(snapshot) = walpb::Snapshot::decode(data) else {
            return Err("the data is not a snapshot record".into());
        };
        let (index, term) = (LogIndex(snapshot.index.unwrap_or(0)), Term(snapshot.term.unwrap_or(0)));
        self.snapshots.push(SnapshotRecord { index, term, conf_state: snapshot.conf_state.map(conf_state) });
        // One that does not stand for the log as it is came from another member: nothing of the log counts behind it.
        let is_other = self.term_at(index).is_some_and(|known| known != term);
        if index >= self.last.0 || is_other {
            self.last = (index, term);
        }
        if is_other {
            let kept = usize::try_from(index.0.saturating_sub(self.after.0 + 1)).unwrap_or(usize::MAX);
            self.entries.truncate(kept);
        }
        if index == self.after {
            self.after_term = Some(term);
        }
        Ok(())
    }

    /// The term of the log at `index`, if it is known.
    fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.after {
            return self.after_term;
        }
        let place = usize::try_from(index.0.checked_sub(self.after.0 + 1)?).ok()?;
        Some(self.entries.get(place)?.term)
    }

    /// Everything together.
    pub fn finish(self) -> Result<Replay, String> {
        let commit = self.hard_state.commit;
        let last_index = self.last.0;
        if commit > last_index {
            return Err(format!("entries up to {commit} are committed, but the log ends at {last_index}"));
        }
        let Some(metadata) = &self.metadata else { return Err("there is no metadata record".into()) };
        let Ok(metadata) = etcdserverpb::Metadata::decode(&metadata[..]) else {
            return Err("the metadata record is malformed".into());
        };
        let mut snapshots = self.snapshots;
        snapshots.retain(|snapshot| snapshot.index <= commit);
        Ok(Replay {
            metadata: Metadata {
                member: MemberId(metadata.node_id.unwrap_or(0)),
                cluster: ClusterId(metadata.cluster_id.unwrap_or(0)),
            },
            hard_state: self.hard_state,
            snapshots,
            entries: self.entries,
            last_index,
            repair: None,
        })
    }
}

fn conf_state(message: raftpb::ConfState) -> ConfState {
    let ids = |ids: Vec<u64>| ids.into_iter().map(MemberId).collect();
    ConfState {
        voters: ids(message.voters),
        learners: ids(message.learners),
        voters_outgoing: ids(message.voters_outgoing),
        learners_next: ids(message.learners_next),
        auto_leave: message.auto_leave.unwrap_or(false),
    }
}
