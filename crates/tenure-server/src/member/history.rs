//! The newest events in memory, and where watchers read: from memory if it reaches back far enough, from the revision log if not.

use super::Shared;
use crate::limits;
use crate::watch::event::{Event, EventSource, HistoryBounds, HistoryPart, RevisionEvents};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tenure_core::mvcc::Mvcc;
use tenure_core::state::Halt;
use tenure_core::types::{KvBytes, RecordRevision, RecordSource, Revision, SourceError};

/// The newest events, bounded by revisions and bytes.
#[derive(Debug)]
pub struct Tail {
    kept: Mutex<Kept>,
    published: AtomicI64,
}

#[derive(Debug)]
struct Kept {
    /// Every revision above this one that has events is in `revisions`.
    after: Revision,
    revisions: VecDeque<Arc<RevisionEvents>>,
    bytes: usize,
}

impl Tail {
    /// The tail of a store that is at `revision`.
    #[must_use]
    pub fn new(revision: Revision) -> Self {
        let kept = Kept { after: revision, revisions: VecDeque::new(), bytes: 0 };
        Self { kept: Mutex::new(kept), published: AtomicI64::new(revision.0) }
    }

    /// The revision that watchers may see.
    #[must_use]
    pub fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::Acquire))
    }

    /// Adds revisions, in order.
    pub fn publish(&self, revisions: impl IntoIterator<Item = RevisionEvents>) {
        let mut kept = self.kept.lock();
        let mut last = None;
        for revision in revisions {
            last = Some(revision.revision);
            kept.bytes += revision.bytes;
            kept.revisions.push_back(Arc::new(revision));
        }
        while kept.revisions.len() > limits::TAIL_REVISIONS_MAX || kept.bytes > limits::TAIL_BYTES_MAX {
            let Some(oldest) = kept.revisions.pop_front() else { break };
            kept.bytes -= oldest.bytes;
            kept.after = oldest.revision;
        }
        if let Some(last) = last {
            self.published.store(last.0, Ordering::Release);
        }
    }

    /// Another member's state has taken the place of this one's: what led to `revision` is in the store alone.
    pub fn replace(&self, revision: Revision) {
        let mut kept = self.kept.lock();
        *kept = Kept { after: revision, revisions: VecDeque::new(), bytes: 0 };
        self.published.store(revision.0, Ordering::Release);
    }

    fn read(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Option<HistoryPart> {
        let kept = self.kept.lock();
        if from <= kept.after {
            return None;
        }
        let start = kept.revisions.partition_point(|revision| revision.revision < from);
        let mut part = PartBuilder::new(to, bounds);
        for revision in kept.revisions.range(start..).take_while(|revision| revision.revision <= to) {
            if !part.add(revision.clone()) {
                break;
            }
        }
        Some(part.done())
    }
}

/// Collects revisions up to the bounds.
struct PartBuilder {
    bounds: HistoryBounds,
    bytes: usize,
    part: HistoryPart,
    full: bool,
}

impl PartBuilder {
    fn new(to: Revision, bounds: HistoryBounds) -> Self {
        let part = HistoryPart { revisions: Vec::new(), through: to };
        Self { bounds, bytes: 0, part, full: false }
    }

    /// Adds a revision; `false` if no more fits.
    fn add(&mut self, revision: Arc<RevisionEvents>) -> bool {
        self.bytes += revision.bytes;
        self.part.revisions.push(revision);
        self.full =
            self.part.revisions.len() >= self.bounds.revisions_max || self.bytes >= self.bounds.bytes_max;
        !self.full
    }

    fn done(mut self) -> HistoryPart {
        if let Some(last) = self.part.revisions.last().filter(|_| self.full) {
            self.part.through = last.revision;
        }
        self.part
    }
}

impl EventSource for Shared {
    fn revision(&self) -> Revision {
        self.tail.published()
    }

    fn compacted(&self) -> Option<Revision> {
        let compacted = self.state.read().mvcc.compacted();
        (compacted > Mvcc::NEVER_COMPACTED).then_some(compacted)
    }

    fn recent(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Option<HistoryPart> {
        self.tail.read(from, to, bounds)
    }

    fn history(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Result<HistoryPart, Halt> {
        if let Some(part) = self.recent(from, to, bounds) {
            return Ok(part);
        }
        let mut part = PartBuilder::new(to, bounds);
        let mut current: Option<(Revision, Vec<Event>)> = None;
        for record in self.store.scan(RecordRevision::first_of(from), to) {
            let record = record.map_err(|error| Halt(error.to_string()))?;
            let main = record.at.main;
            if let Some((revision, events)) = current.take_if(|(revision, _)| *revision != main)
                && !part.add(Arc::new(RevisionEvents::new(revision, events)))
            {
                return Ok(part.done());
            }
            let event = Event::of_stored(record.at, record.tombstone, record.kv)?;
            current.get_or_insert_with(|| (main, Vec::new())).1.push(event);
        }
        if let Some((revision, events)) = current {
            // The last revision of the history: whatever the bounds say, all of it has been looked at.
            part.add(Arc::new(RevisionEvents::new(revision, events)));
            part.full = false;
        }
        Ok(part.done())
    }

    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KvBytes>, Halt> {
        let before = {
            let state = self.state.read();
            state.mvcc.at(key, Revision(at.0 - 1))
        };
        let Some(version) = before else { return Ok(None) };
        match self.store.record(version.at) {
            Ok(kv) => Ok(Some(kv)),
            Err(SourceError::Gone(_)) => Ok(None),
            Err(SourceError::Damaged(reason)) => Err(Halt(reason)),
        }
    }
}
