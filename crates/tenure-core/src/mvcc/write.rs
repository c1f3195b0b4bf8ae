//! Writing: the changes of one command, with a view of its own changes.

use super::index::Cursor;
use super::select::Selection;
use super::{Mvcc, ReadError, range};
use crate::command::{DeleteRange, Put, RangeQuery};
use crate::effects::{DeleteOutcome, PutOutcome, RangeOutcome};
use crate::lease::Leases;
use crate::types::{
    Change, Key, KeyRange, KvBytes, KvView, LeaseId, RangeEnd, Record, RecordRevision, RecordSource,
    Revision, SourceError, Version,
};
use bytes::Bytes;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::Bound;
use tenure_api::error::EtcdError;
use thiserror::Error;

/// Why an operation of a command cannot be carried out.
#[derive(Clone, Debug, Error)]
pub enum WriteError {
    /// Every member refuses it alike; the whole command then changes nothing.
    #[error("{0}")]
    Refused(EtcdError),
    /// A record that the key index names cannot be read: the member must stop.
    #[error("cannot read a record while applying: {0}")]
    Unreadable(String),
}

impl From<SourceError> for WriteError {
    fn from(error: SourceError) -> Self {
        WriteError::Unreadable(error.to_string())
    }
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(error) => WriteError::Refused(error),
            other => WriteError::Unreadable(other.to_string()),
        }
    }
}

/// The changes of one command in the making. All get one revision, the one after the current, and count up from sub
/// 0 (P5). Nothing is changed: [`WriteTxn::finish`] gives the records.
pub struct WriteTxn<'a> {
    mvcc: &'a Mvcc,
    leases: &'a Leases,
    records: &'a dyn RecordSource,
    written: Vec<Record>,
    /// For each key that is written the place of its newest record in `written`, for the first `noted` of them.
    newest: BTreeMap<Key, usize>,
    noted: usize,
}

impl<'a> WriteTxn<'a> {
    /// Begins.
    #[must_use]
    pub fn new(mvcc: &'a Mvcc, leases: &'a Leases, records: &'a dyn RecordSource) -> Self {
        Self { mvcc, leases, records, written: Vec::new(), newest: BTreeMap::new(), noted: 0 }
    }

    /// What the header of an answer says now: the new revision once something is written, until then the
    /// current one.
    #[must_use]
    pub fn revision(&self) -> Revision {
        if self.written.is_empty() { self.mvcc.revision() } else { self.mvcc.revision().next() }
    }

    /// Sets a key (P2-P6).
    ///
    /// # Errors
    /// [`WriteError::Refused`] with [`EtcdError::LeaseNotFound`] or [`EtcdError::KeyNotFound`].
    pub fn put(&mut self, put: &Put) -> Result<PutOutcome, WriteError> {
        if put.lease != 0 && !self.leases.contains(LeaseId(put.lease)) {
            return Err(WriteError::Refused(EtcdError::LeaseNotFound));
        }
        let before = self.newest(&put.key);
        let wants_pair = put.prev_kv || put.ignore_value || put.ignore_lease;
        let pair = match before.filter(|_| wants_pair) {
            Some(version) => Some(self.pair(version)?),
            None => None,
        };
        if pair.is_none() && (put.ignore_value || put.ignore_lease) {
            return Err(WriteError::Refused(EtcdError::KeyNotFound));
        }
        let lease = match &pair {
            Some((_, view)) if put.ignore_lease => view.lease,
            _ => put.lease,
        };
        let lease = (lease != 0).then_some(LeaseId(lease));
        let value = match &pair {
            Some((_, view)) if put.ignore_value => view.value.clone(),
            _ => put.value.clone(),
        };
        let at = self.next_address()?;
        let version = match before {
            Some(before) => Version { at, created: before.created, version: before.version + 1 },
            None => Version { at, created: at.main, version: 1 },
        };
        self.written.push(Record {
            key: Key(put.key.clone()),
            version,
            change: Change::Put { lease },
            kv: KvBytes::encode(&put.key, &version, &value, lease),
        });
        Ok(PutOutcome { revision: self.revision(), prev: pair.filter(|_| put.prev_kv).map(|(kv, _)| kv) })
    }

    /// Deletes what of a range is there (D1, D2).
    ///
    /// # Errors
    /// [`WriteError::Unreadable`].
    pub fn delete_range(&mut self, delete: &DeleteRange) -> Result<DeleteOutcome, WriteError> {
        self.note_written();
        let mut gone = Vec::new();
        if delete.range.end == RangeEnd::Single {
            let key = &delete.range.start;
            gone.extend(self.newest(key.as_slice()).map(|version| (key.clone(), version)));
        } else {
            let live = Live::new(self.mvcc, &self.newest, &self.written, &delete.range);
            gone.extend(live.map(|(key, version)| (Key(Bytes::copy_from_slice(key)), version)));
        }
        let mut prev = Vec::new();
        if delete.prev_kv {
            prev.reserve_exact(gone.len());
            for (_, version) in &gone {
                prev.push(self.record(*version)?);
            }
        }
        let deleted = gone.len() as i64;
        self.written.reserve(gone.len());
        for (key, _) in gone {
            self.bury(key)?;
        }
        Ok(DeleteOutcome { revision: self.revision(), deleted, prev })
    }

    /// Deletes those of `keys`, which ascend, that are there (L6). Says how many.
    ///
    /// # Errors
    /// [`WriteError::Unreadable`].
    pub fn delete_keys<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Result<i64, WriteError> {
        let mut deleted = 0;
        for key in keys {
            if self.newest(key).is_some() {
                self.bury(Key(Bytes::copy_from_slice(key)))?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Reads, with what this command has written so far (T6). A revision that the query names is one of before it.
    ///
    /// # Errors
    /// [`WriteError::Refused`] with [`EtcdError::FutureRev`] or [`EtcdError::Compacted`].
    pub fn range(&mut self, query: &RangeQuery) -> Result<RangeOutcome, WriteError> {
        if query.revision > 0 || self.written.is_empty() {
            let outcome = range(self.mvcc, self.records, query)?;
            return Ok(RangeOutcome { revision: self.revision(), ..outcome });
        }
        self.note_written();
        let mut selection = Selection::new(query);
        let mut live = Live::new(self.mvcc, &self.newest, &self.written, &query.range);
        while !query.count_only && !selection.is_full() {
            let Some((key, version)) = live.next() else { break };
            selection.offer(key, version);
        }
        let (kvs, more) = selection.finish(&OwnRecords { revision: self.revision(), txn: self })?;
        Ok(RangeOutcome { revision: self.revision(), kvs, more, count: self.count(&query.range) })
    }

    /// Keys of `range` that are there, own changes included; all of those must be noted.
    fn count(&self, range: &KeyRange) -> i64 {
        let start = (Bound::Included(range.start.as_slice()), Bound::Unbounded);
        let own = self.newest.range::<[u8], _>(start).take_while(|(key, _)| range.contains(key.as_slice()));
        let more = own.map(|(key, at)| {
            let is_there = !self.written[*at].version.is_tombstone();
            let was_there = self.mvcc.newest(key.as_slice()).is_some();
            i64::from(is_there) - i64::from(was_there)
        });
        self.mvcc.index.count(range) as i64 + more.sum::<i64>()
    }

    /// The records of all changes, in order.
    #[must_use]
    pub fn finish(self) -> Vec<Record> {
        self.written
    }

    fn next_address(&self) -> Result<RecordRevision, WriteError> {
        let sub = u32::try_from(self.written.len()).map_err(|_| {
            WriteError::Unreadable("more changes in one revision than can be numbered".into())
        })?;
        Ok(RecordRevision { main: self.mvcc.revision().next(), sub })
    }

    fn bury(&mut self, key: Key) -> Result<(), WriteError> {
        let version = Version { at: self.next_address()?, created: Revision(0), version: 0 };
        let kv = KvBytes::encode_tombstone(key.as_slice());
        self.written.push(Record { key, version, change: Change::Delete, kv });
        Ok(())
    }

    /// The version of `key` that is there now, this command's own changes included.
    fn newest(&mut self, key: &[u8]) -> Option<Version> {
        if !self.written.is_empty() {
            self.note_written();
            if let Some(own) = self.newest.get(key) {
                return Some(self.written[*own].version).filter(|version| !version.is_tombstone());
            }
        }
        self.mvcc.newest(key)
    }

    /// Notes where the records written since the last call are: a command that writes once never needs it.
    fn note_written(&mut self) {
        for at in self.noted..self.written.len() {
            self.newest.insert(self.written[at].key.clone(), at);
        }
        self.noted = self.written.len();
    }

    fn record(&self, version: Version) -> Result<KvBytes, SourceError> {
        OwnRecords { revision: self.mvcc.revision().next(), txn: self }.record(version.at)
    }

    fn pair(&self, version: Version) -> Result<(KvBytes, KvView), WriteError> {
        let kv = self.record(version)?;
        let view = kv.view().map_err(|error| WriteError::Unreadable(format!("{}: {error}", version.at)))?;
        Ok((kv, view))
    }
}

/// The records of before, and those that the command itself makes.
struct OwnRecords<'t, 'a> {
    revision: Revision,
    txn: &'t WriteTxn<'a>,
}

impl RecordSource for OwnRecords<'_, '_> {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        if at.main != self.revision {
            return self.txn.records.record(at);
        }
        let own = self.txn.written.get(at.sub as usize);
        own.map(|record| record.kv.clone()).ok_or(SourceError::Gone(at))
    }
}

/// The keys of a range that are there, own changes included, in ascending order.
struct Live<'i> {
    cursor: Cursor<'i>,
    next: Option<(&'i [u8], Version)>,
    own: Peekable<btree_map::Range<'i, Key, usize>>,
    written: &'i [Record],
    range: &'i KeyRange,
}

impl<'i> Live<'i> {
    fn new(
        mvcc: &'i Mvcc,
        newest: &'i BTreeMap<Key, usize>,
        written: &'i [Record],
        range: &'i KeyRange,
    ) -> Self {
        let start = range.start.as_slice();
        let own = newest.range::<[u8], _>((Bound::Included(start), Bound::Unbounded)).peekable();
        let mut live = Self { cursor: mvcc.index.seek(start), next: None, own, written, range };
        live.advance();
        live
    }

    fn advance(&mut self) {
        let entry = self.cursor.next_live().filter(|entry| self.range.contains(entry.key()));
        self.next = entry.map(|entry| (entry.key(), entry.newest()));
    }

    fn next_own(&mut self) -> Option<(&'i [u8], Version)> {
        let range = self.range;
        let (key, at) = self.own.next_if(|(key, _)| range.contains(key.as_slice()))?;
        Some((key.as_slice(), self.written[*at].version))
    }
}

impl<'i> Iterator for Live<'i> {
    type Item = (&'i [u8], Version);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let own_is_first = match (self.next, self.own.peek()) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some((key, _)), Some((own, _))) => own.as_slice() <= key,
            };
            if !own_is_first {
                let next = self.next?;
                self.advance();
                return Some(next);
            }
            let (key, version) = self.next_own()?;
            if self.next.is_some_and(|(next, _)| next == key) {
                self.advance();
            }
            if !version.is_tombstone() {
                return Some((key, version));
            }
        }
    }
}
