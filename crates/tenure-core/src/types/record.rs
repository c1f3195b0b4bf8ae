//! The record: one change of one key, the unit that the revision log stores.

use super::{Key, LeaseId, RecordRevision, Revision};
use bytes::Bytes;
use thiserror::Error;

/// The wire bytes of an `mvccpb.KeyValue`. They are made once, when the command is applied, and from
/// then on only copied: to the log, into responses, into watch events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvBytes(pub Bytes);

/// The bytes are not an `mvccpb.KeyValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the bytes of a stored key-value pair are malformed")]
pub struct MalformedKv;

/// The fields of a [`KvBytes`], read without copying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvView {
    /// The key.
    pub key: Bytes,
    /// Revision of the put that created the key.
    pub create_revision: i64,
    /// Revision of the last change of the key.
    pub mod_revision: i64,
    /// Puts since the creation, from 1.
    pub version: i64,
    /// The value.
    pub value: Bytes,
    /// The lease, or 0.
    pub lease: i64,
}

impl KvBytes {
    /// The wire bytes of a pair: fields in ascending order, defaults left out, as etcd writes them.
    #[must_use]
    pub fn encode(key: &[u8], version: &Version, value: &[u8], lease: Option<LeaseId>) -> Self {
        let mut out = Vec::with_capacity(key.len() + value.len() + 48);
        put_bytes(&mut out, 1, key);
        put_int(&mut out, 2, version.created.0);
        put_int(&mut out, 3, version.at.main.0);
        put_int(&mut out, 4, version.version);
        put_bytes(&mut out, 5, value);
        put_int(&mut out, 6, lease.map_or(0, |id| id.0));
        Self(out.into())
    }

    /// The wire bytes that stand for a deletion: the key alone.
    #[must_use]
    pub fn encode_tombstone(key: &[u8]) -> Self {
        let mut out = Vec::with_capacity(key.len() + 4);
        put_bytes(&mut out, 1, key);
        Self(out.into())
    }

    /// The fields.
    ///
    /// # Errors
    /// [`MalformedKv`] if the bytes are not a `KeyValue`.
    pub fn view(&self) -> Result<KvView, MalformedKv> {
        let mut view = KvView::default();
        let bytes = &self.0;
        let mut at = 0;
        while at < bytes.len() {
            let tag = take_varint(bytes, &mut at)?;
            match tag {
                0x0a | 0x2a => {
                    let len = usize::try_from(take_varint(bytes, &mut at)?).map_err(|_| MalformedKv)?;
                    let end = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(MalformedKv)?;
                    let field = bytes.slice(at..end);
                    at = end;
                    if tag == 0x0a { view.key = field } else { view.value = field }
                }
                0x10 => view.create_revision = take_varint(bytes, &mut at)? as i64,
                0x18 => view.mod_revision = take_varint(bytes, &mut at)? as i64,
                0x20 => view.version = take_varint(bytes, &mut at)? as i64,
                0x30 => view.lease = take_varint(bytes, &mut at)? as i64,
                _ => return Err(MalformedKv),
            }
        }
        Ok(view)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(field << 3 | 2);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_int(out: &mut Vec<u8>, field: u8, value: i64) {
    if value != 0 {
        out.push(field << 3);
        put_varint(out, value as u64);
    }
}

fn take_varint(bytes: &[u8], at: &mut usize) -> Result<u64, MalformedKv> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(MalformedKv)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(MalformedKv)
}

/// One version of a key, as the key index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Where its record is.
    pub at: RecordRevision,
    /// `create_revision`: the revision of the put that began this life of the key.
    /// For a deletion, 0.
    pub created: Revision,
    /// Puts since the creation, from 1. For a deletion, 0.
    pub version: i64,
}

impl Version {
    /// Whether this version is a deletion.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }
}

/// What a record does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has a (new) value.
    Put {
        /// The lease it is attached to from now on.
        lease: Option<LeaseId>,
    },
    /// The key is gone.
    Delete,
}

/// One change of one key at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Key,
    /// The version that the record makes; a tombstone for [`Change::Delete`].
    pub version: Version,
    /// What it does.
    pub change: Change,
    /// The wire bytes that are stored, hashed and sent.
    pub kv: KvBytes,
}

impl Record {
    /// The record that the store has at `at` with these bytes.
    ///
    /// # Errors
    /// [`MalformedKv`] if the bytes are not a pair.
    pub fn from_stored(at: RecordRevision, tombstone: bool, kv: &KvBytes) -> Result<Self, MalformedKv> {
        let view = kv.view()?;
        let (version, change) = if tombstone {
            (Version { at, created: Revision(0), version: 0 }, Change::Delete)
        } else {
            let lease = (view.lease != 0).then_some(LeaseId(view.lease));
            let created = Revision(view.create_revision);
            (Version { at, created, version: view.version }, Change::Put { lease })
        };
        Ok(Self { key: Key(view.key), version, change, kv: kv.clone() })
    }

    /// Where the record is.
    #[must_use]
    pub fn at(&self) -> RecordRevision {
        self.version.at
    }
}

/// Why a record could not be read.
#[derive(Clone, Debug, Error)]
pub enum SourceError {
    /// A compaction has removed the record since its address was looked up: look again.
    #[error("record {0} has been compacted")]
    Gone(RecordRevision),
    /// The disk failed or returned something else than was written. The member must stop.
    #[error("{0}")]
    Damaged(String),
}

/// Where records are read from by their address. Storage implements it; tests use a map.
pub trait RecordSource {
    /// The wire bytes of the record at `at`.
    ///
    /// # Errors
    /// [`SourceError::Gone`] if it is not there (any more), [`SourceError::Damaged`] if it cannot be trusted.
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError>;

    /// The wire bytes of several records, in the order of `at`. A page of keys is read with this: a source that
    /// knows where its records lie joins neighbours into one read. The answers may share one buffer, so they
    /// are for answering a request, not for keeping.
    ///
    /// # Errors
    /// As [`RecordSource::record`], for the first record that cannot be read.
    fn records(&self, at: &[RecordRevision]) -> Result<Vec<KvBytes>, SourceError> {
        at.iter().map(|at| self.record(*at)).collect()
    }
}
