//! An event, encoded at most once for everybody who watches it.

use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use tenure_core::state::{Halt, WriteBatch};
use tenure_core::types::{Change, Key, KvBytes, Record, RecordRevision, Revision, Version};

/// Where watchers read history and previous pairs. The member implements it; tests use a vector.
pub trait EventSource: Send + Sync + 'static {
    /// The visible revision: every batch up to it can be read.
    fn revision(&self) -> Revision;

    /// The revision below which history is gone, if there was a compaction.
    fn compacted(&self) -> Option<Revision>;

    /// The same as [`EventSource::history`] as long as all of it is still in memory, where no compaction takes anything.
    fn recent(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Option<HistoryPart>;

    /// Events from revision `from` to `to`, both included, in order, whole revisions; stops after `revisions_max` revisions
    /// with events or once `bytes_max` is passed. Answers the last revision that was looked at.
    ///
    /// # Errors
    /// [`Halt`] if history cannot be read.
    fn history(&self, from: Revision, to: Revision, bounds: HistoryBounds) -> Result<HistoryPart, Halt>;

    /// The pair that `key` had before revision `at`; `None` if it had none or a compaction took it.
    ///
    /// # Errors
    /// [`Halt`] if a record cannot be read.
    fn previous(&self, key: &[u8], at: Revision) -> Result<Option<KvBytes>, Halt>;
}

/// How much history to read at once.
#[derive(Clone, Copy, Debug)]
pub struct HistoryBounds {
    /// Revisions that have events.
    pub revisions_max: usize,
    /// Bytes of pairs; the revision that passes it is still read whole.
    pub bytes_max: usize,
}

/// A part of history.
#[derive(Debug)]
pub struct HistoryPart {
    /// Revisions with events, ascending.
    pub revisions: Vec<Arc<RevisionEvents>>,
    /// Everything up to here has been looked at.
    pub through: Revision,
}

/// All events of one revision. A revision is never split (W7).
#[derive(Debug)]
pub struct RevisionEvents {
    /// The revision.
    pub revision: Revision,
    /// Its events in order.
    pub events: Vec<Event>,
    /// Bytes of their pairs.
    pub bytes: usize,
}

impl RevisionEvents {
    /// The events of a batch, if it changed keys.
    #[must_use]
    pub fn of_batch(batch: &WriteBatch) -> Option<Self> {
        let revision = batch.revision()?;
        let events = batch.records.iter().map(Event::of_record).collect();
        Some(Self::new(revision, events))
    }

    /// The events of a revision.
    #[must_use]
    pub fn new(revision: Revision, events: Vec<Event>) -> Self {
        let bytes = events.iter().map(|event| event.kv.0.len() + 64).sum();
        Self { revision, events, bytes }
    }
}

/// One change of one key, as a watcher sees it.
#[derive(Debug)]
pub struct Event {
    /// The key.
    pub key: Key,
    /// Whether the key is gone.
    pub delete: bool,
    at: RecordRevision,
    create: bool,
    kv: KvBytes,
    plain: OnceLock<Bytes>,
    with_prev: OnceLock<Bytes>,
}

impl Event {
    fn of_record(record: &Record) -> Self {
        let create = record.version.created == record.at().main;
        Self::new(record.key.clone(), record.at(), record.change == Change::Delete, create, record.kv.clone())
    }

    /// An event from its stored record.
    ///
    /// # Errors
    /// [`Halt`] if the bytes are not a pair.
    pub fn of_stored(at: RecordRevision, delete: bool, kv: KvBytes) -> Result<Self, Halt> {
        let view = kv.view().map_err(|error| Halt(format!("record {at}: {error}")))?;
        let create = view.create_revision == at.main.0;
        Ok(Self::new(Key(view.key), at, delete, create, kv))
    }

    fn new(key: Key, at: RecordRevision, delete: bool, create: bool, kv: KvBytes) -> Self {
        Self { key, delete, at, create, kv, plain: OnceLock::new(), with_prev: OnceLock::new() }
    }

    /// The bytes of the `mvccpb.Event`.
    pub fn wire(&self) -> Bytes {
        self.plain.get_or_init(|| self.encode(None)).clone()
    }

    /// The bytes of the `mvccpb.Event` with the pair before (W8): the pair before the revision, not before the event.
    ///
    /// # Errors
    /// [`Halt`] if the pair before cannot be read.
    pub fn wire_with_prev(&self, source: &dyn EventSource) -> Result<Bytes, Halt> {
        if self.create && !self.delete {
            return Ok(self.wire());
        }
        if let Some(bytes) = self.with_prev.get() {
            return Ok(bytes.clone());
        }
        let prev = source.previous(self.key.as_slice(), self.at.main)?;
        Ok(self.with_prev.get_or_init(|| self.encode(prev.as_ref())).clone())
    }

    fn encode(&self, prev: Option<&KvBytes>) -> Bytes {
        let gone;
        let kv = if self.delete {
            let version = Version { at: self.at, created: Revision(0), version: 0 };
            gone = KvBytes::encode(self.key.as_slice(), &version, &[], None);
            &gone
        } else {
            &self.kv
        };
        let mut out = Vec::with_capacity(kv.0.len() + prev.map_or(0, |prev| prev.0.len() + 6) + 8);
        if self.delete {
            out.extend_from_slice(&[0x08, 1]);
        }
        put_message(&mut out, 0x12, &kv.0);
        if let Some(prev) = prev {
            put_message(&mut out, 0x1a, &prev.0);
        }
        out.into()
    }
}

fn put_message(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    prost::encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Which events a watcher does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Drop puts.
    pub no_put: bool,
    /// Drop deletes.
    pub no_delete: bool,
}

impl Filters {
    /// Whether the watcher wants the event.
    #[must_use]
    pub fn pass(self, event: &Event) -> bool {
        !(if event.delete { self.no_delete } else { self.no_put })
    }
}
