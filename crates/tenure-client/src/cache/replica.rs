//! The copy itself: pairs, and the history of the last revisions.

use crate::{
    Error, Event, EventKind, KeyRange, KeyValue, ResponseHeader, Result, Revision, WatchResponse,
    kv::{Get, GetResponse, answer},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

/// All changes of one revision.
#[derive(Clone, Debug)]
struct Change {
    revision: Revision,
    /// Each with the pair as it was before the revision.
    events: Arc<[Event]>,
}

/// A response that cannot come after those before it: the copy is not to be trusted any more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change of revision {revision} came when the copy was at revision {at}")]
pub(super) struct OutOfOrder {
    revision: Revision,
    at: Revision,
}

/// Which changes somebody wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub range: KeyRange,
    pub puts: bool,
    pub deletes: bool,
    pub prev_kv: bool,
}

/// Where a watch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything before this revision was told.
    pub next: Revision,
    /// Of which line of revisions it is.
    line: u64,
}

/// A copy of a prefix at one revision, from which the last revisions before it can be had as well.
#[derive(Debug)]
pub(super) struct Replica {
    pairs: BTreeMap<Bytes, KeyValue>,
    /// 0 as long as there is nothing.
    header: ResponseHeader,
    /// The oldest revision whose state is known; all later changes are.
    oldest: Revision,
    changes: VecDeque<Change>,
    changes_max: usize,
    /// Counts how often revisions went back, as they do when the cluster is restored from a backup.
    line: u64,
}

impl Replica {
    /// An empty copy that will remember the changes of so many revisions.
    pub(super) fn new(changes_max: usize) -> Self {
        Replica {
            pairs: BTreeMap::new(),
            header: ResponseHeader::default(),
            oldest: 0,
            changes: VecDeque::new(),
            changes_max,
            line: 0,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.header.revision
    }

    /// Everything anew: these pairs at the revision of the header. What came between is not known.
    pub(super) fn restore(&mut self, pairs: Vec<KeyValue>, header: ResponseHeader) {
        if header.revision < self.header.revision {
            self.line += 1;
        }
        self.pairs = pairs.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
        self.changes.clear();
        self.oldest = header.revision;
        self.header = header;
    }

    /// Takes what the watch tells.
    pub(super) fn apply(&mut self, response: WatchResponse) -> Result<(), OutOfOrder> {
        let told = response.events.last().map(|event| event.kv.mod_revision);
        let is_progress = response.is_progress_notify();
        let mut events = response.events.into_iter().peekable();
        while let Some(first) = events.next() {
            let revision = first.kv.mod_revision;
            let mut group = vec![first];
            while let Some(event) = events.next_if(|event| event.kv.mod_revision == revision) {
                group.push(event);
            }
            self.change(revision, group)?;
        }
        // Events tell how far the store was when they were sent, which may be further than what they tell.
        let revision = told.unwrap_or(if is_progress { response.header.revision } else { 0 });
        self.header = ResponseHeader { revision: self.header.revision.max(revision), ..response.header };
        Ok(())
    }

    fn change(&mut self, revision: Revision, mut events: Vec<Event>) -> Result<(), OutOfOrder> {
        if revision <= self.header.revision {
            return Err(OutOfOrder { revision, at: self.header.revision });
        }
        for event in &mut events {
            event.prev_kv = self.pairs.get(&event.kv.key).cloned();
        }
        for event in &events {
            match event.kind {
                EventKind::Put => drop(self.pairs.insert(event.kv.key.clone(), event.kv.clone())),
                EventKind::Delete => drop(self.pairs.remove(&event.kv.key)),
            }
        }
        if self.changes.len() >= self.changes_max
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.oldest = forgotten.revision;
        }
        self.changes.push_back(Change { revision, events: events.into() });
        self.header.revision = revision;
        Ok(())
    }

    /// Answers a read. The range must be one that has a beginning before its end.
    pub(super) fn read(&self, get: &Get) -> Result<GetResponse> {
        let at = if get.revision == 0 { self.revision() } else { get.revision };
        if at > self.revision() {
            return Err(tonic::Status::from(crate::EtcdError::FutureRev).into());
        }
        if at < self.oldest {
            return Err(Error::Compacted { compact_revision: self.oldest });
        }
        let newest = self.within(&get.range);
        if self.changes.back().is_none_or(|last| last.revision <= at) {
            return Ok(answer(get, self.header, newest.map(|(_, pair)| pair)));
        }
        let mut then: BTreeMap<&Bytes, &KeyValue> = newest.collect();
        for change in self.changes.iter().rev().take_while(|change| change.revision > at) {
            for event in change.events.iter().filter(|event| get.range.contains(&event.kv.key)) {
                match &event.prev_kv {
                    Some(before) => then.insert(&event.kv.key, before),
                    None => then.remove(&event.kv.key),
                };
            }
        }
        Ok(answer(get, self.header, then.into_values()))
    }

    fn within<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a KeyValue)> + use<'a> {
        let end = match &range.end[..] {
            b"" => Bound::Included(&range.key[..]),
            b"\0" => Bound::Unbounded,
            end => Bound::Excluded(end),
        };
        self.pairs.range::<[u8], _>((Bound::Included(&range.key[..]), end))
    }

    /// Where a watch begins; 0 for after everything that is known.
    pub(super) fn position(&self, start_revision: Revision) -> Position {
        let next = if start_revision == 0 { self.revision() + 1 } else { start_revision };
        Position { next, line: self.line }
    }

    /// What comes next at a position: responses of one revision each, at most so many, and moves it forward.
    ///
    /// # Errors
    /// [`Error::Compacted`] if what comes next is not known any more.
    pub(super) fn next(
        &self,
        position: &mut Position,
        wanted: &Wanted,
        responses_max: usize,
    ) -> Result<Vec<WatchResponse>> {
        if position.line != self.line || position.next <= self.oldest {
            return Err(Error::Compacted { compact_revision: self.oldest + 1 });
        }
        let mut responses = Vec::new();
        let first = self.changes.partition_point(|change| change.revision < position.next);
        for change in self.changes.range(first..) {
            let events: Vec<Event> = change.events.iter().filter_map(|event| wanted.told(event)).collect();
            if !events.is_empty() {
                if responses.len() == responses_max {
                    return Ok(responses);
                }
                let header = ResponseHeader { revision: change.revision, ..self.header };
                responses.push(WatchResponse { header, events, created: false });
            }
            position.next = change.revision + 1;
        }
        position.next = position.next.max(self.revision() + 1);
        Ok(responses)
    }

    /// A response that says that everything before a position was told; nothing if the position is in the future.
    pub(super) fn progress(&self, position: &Position) -> Option<WatchResponse> {
        let header = ResponseHeader { revision: position.next - 1, ..self.header };
        (position.next <= self.revision() + 1).then(|| WatchResponse {
            header,
            events: Vec::new(),
            created: false,
        })
    }
}

impl Wanted {
    fn told(&self, event: &Event) -> Option<Event> {
        let is_wanted = match event.kind {
            EventKind::Put => self.puts,
            EventKind::Delete => self.deletes,
        };
        if !is_wanted || !self.range.contains(&event.kv.key) {
            return None;
        }
        let mut event = event.clone();
        event.prev_kv = event.prev_kv.filter(|_| self.prev_kv);
        Some(event)
    }
}

#[cfg(test)]
#[path = "replica_test.rs"]
mod tests;
