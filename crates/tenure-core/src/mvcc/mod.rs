//! Keys and their versions: the key index, reading, writing, compaction, hash.
//!
//! [`Mvcc`] is what memory knows: for every key where the records of its versions lie. Values are only read through a
//! [`RecordSource`](crate::types::RecordSource).
//!
//! * [`RangeScan`], [`range`]: reading, in two phases.
//! * [`RangeStream`]: the pages of a streamed read.
//! * [`WriteTxn`]: writing, with a view of its own writes.
//! * [`check`]: what a request must satisfy before it is proposed.
//! * [`HashScan`]: the hash of all pairs.

pub mod check;
mod hash;
mod index;
mod range;
mod select;
mod stream;
mod turnover;
mod write;

pub use hash::{CompactionHashes, HashScan, KvHash, KvHasher};
pub use index::IndexStats;
pub use range::{RangeScan, ReadError, ScanProgress, range};
pub use stream::{RangeStream, StreamPage};
pub use write::{WriteError, WriteTxn};

use crate::effects::TableChange;
use crate::types::{Key, KeyRange, Record, RecordRevision, Revision, Version};
use index::KeyIndex;
use turnover::Turnover;

/// Keys, their versions, and the revision of the store.
#[derive(Debug)]
pub struct Mvcc {
    revision: Revision,
    compacted: Revision,
    index: KeyIndex,
    turnover: Turnover,
}

impl Default for Mvcc {
    fn default() -> Self {
        Self {
            revision: Revision::FIRST,
            compacted: Self::NEVER_COMPACTED,
            index: KeyIndex::default(),
            turnover: Turnover::default(),
        }
    }
}

/// What one step of a compaction did.
#[derive(Debug, PartialEq, Eq)]
pub struct CompactStep {
    /// The records that nothing can read any more: the store may drop them.
    pub removed: Vec<RecordRevision>,
    /// Where the next step goes on; `None` when the compaction is through the whole index.
    pub resume: Option<Key>,
}

impl Mvcc {
    /// What [`Mvcc::compacted`] is before the first compaction, as in etcd.
    pub const NEVER_COMPACTED: Revision = Revision(-1);

    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision of the last compaction: reads below it are refused. Before the first one
    /// [`Mvcc::NEVER_COMPACTED`].
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The newest version of `key`; `None` if the key is not there.
    #[must_use]
    pub fn newest(&self, key: &[u8]) -> Option<Version> {
        self.index.newest(key).filter(|version| !version.is_tombstone())
    }

    /// The version of `key` that a reader at `revision` sees; `None` if the key was not there then.
    /// `revision` must not be below [`Mvcc::compacted`].
    #[must_use]
    pub fn at(&self, key: &[u8], revision: Revision) -> Option<Version> {
        self.index.at(key, revision)
    }

    /// The newest versions of the keys of `range` that are there, by key.
    pub(crate) fn live<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = Version> + 'a {
        let mut cursor = self.index.seek(range.start.as_slice());
        std::iter::from_fn(move || {
            let entry = cursor.next_live().filter(|entry| range.contains(entry.key()))?;
            Some(entry.newest())
        })
    }

    /// How many keys `range` had at `revision`, which is between [`Mvcc::compacted`] and now. Now in O(log n), at a recent
    /// revision with a look at what came and went since; `None` if only a scan could tell.
    fn count_at(&self, range: &KeyRange, revision: Revision) -> Option<i64> {
        let since = match revision < self.revision {
            true => self.turnover.since(revision, range)?,
            false => 0,
        };
        Some(self.index.count(range) as i64 - since)
    }

    /// Figures of the key index, at no cost.
    #[must_use]
    pub fn stats(&self) -> IndexStats {
        self.index.stats()
    }

    /// Bytes of heap that the key index holds, without what the allocator adds. Walks over all keys.
    #[must_use]
    pub fn index_heap_bytes(&self) -> usize {
        self.index.heap_bytes()
    }

    pub(crate) fn install_record(&mut self, record: &Record) {
        self.take_up(record.key.as_slice(), record.version);
        self.turnover.note(record.key.as_slice(), &record.version);
    }

    /// Takes up a record that the store holds. What came and went is not noted: a count at a revision of before the
    /// restart needs a scan, and the restart is the faster for it.
    pub(crate) fn load_record(&mut self, key: &[u8], version: Version) {
        self.take_up(key, version);
        self.turnover.begin_after(version.at.main);
    }

    pub(crate) fn install_table(&mut self, change: &TableChange) {
        if let TableChange::CompactRevision(revision) = change {
            self.compacted = self.compacted.max(*revision);
            self.revision = self.revision.max(*revision);
        }
    }

    fn take_up(&mut self, key: &[u8], version: Version) {
        self.revision = self.revision.max(version.at.main);
        self.index.push(key, version);
    }

    /// One step of forgetting what the compaction at [`Mvcc::compacted`] made unreadable (reference C3): per key only the
    /// newest version at or before that revision stays; if it is a deletion it goes too, unless it is of exactly
    /// that revision.
    ///
    /// Begin with `resume: None` once a [`TableChange::CompactRevision`] is installed or a store is restored, and go
    /// on with what the step returns. A step looks at `keys_max` keys at most that have anything to forget, so that a lock
    /// held for it is short. A compaction to a later revision in between is fine: begin again after the end.
    pub fn compact_step(&mut self, resume: Option<&Key>, keys_max: usize) -> CompactStep {
        self.compact_step_to(self.compacted, resume, keys_max)
    }

    /// [`Mvcc::compact_step`] that forgets only what the compaction at `revision` made unreadable, which may be an earlier
    /// one than the last.
    pub fn compact_step_to(
        &mut self,
        revision: Revision,
        resume: Option<&Key>,
        keys_max: usize,
    ) -> CompactStep {
        let from = resume.map_or(&[][..], Key::as_slice);
        let pruned = self.index.prune(from, revision.min(self.compacted), keys_max);
        let resume = pruned.resume.map(|key| Key(key.into_vec().into()));
        CompactStep { removed: pruned.removed, resume }
    }
}
