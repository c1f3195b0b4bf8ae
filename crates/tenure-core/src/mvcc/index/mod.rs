//! The key index: which keys there are and where the records of their versions lie.
//!
//! It is a B+-tree in memory that counts. Every branch knows, for each of its children, how many keys below are
//! alive (their newest version is not a deletion) and how many carry something that a compaction could remove. So
//! the number of keys in a range and the n-th key of a range cost O(log n), a scan steps over whole regions of
//! deleted keys, and a compaction visits only the leaves it has work in.

mod compact;
mod cursor;
mod entry;
mod heads;
mod tree;

#[cfg(test)]
mod model_test;

pub(super) use compact::Pruned;
pub(super) use cursor::Cursor;
pub(super) use entry::KeyEntry;

use crate::types::{KeyRange, RangeEnd, Revision, Version};
use tree::Tree;

/// Figures of the key index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Keys, the deleted ones that no compaction has removed yet included.
    pub keys: usize,
    /// Keys whose newest version is not a deletion.
    pub live_keys: usize,
    /// Versions of all keys.
    pub versions: usize,
    /// Bytes of all keys.
    pub key_bytes: usize,
}

/// From keys to the addresses of their versions.
#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    tree: Tree,
    keys: usize,
    versions: usize,
    key_bytes: usize,
}

impl KeyIndex {
    /// Takes up a version of `key`, which is newer than all that the key has.
    pub(super) fn push(&mut self, key: &[u8], version: Version) {
        self.versions += 1;
        if self.tree.push(key, version) {
            self.keys += 1;
            self.key_bytes += key.len();
        }
    }

    /// The key's newest version, a deletion included.
    pub(super) fn newest(&self, key: &[u8]) -> Option<Version> {
        self.tree.find(key).map(KeyEntry::newest)
    }

    /// The key's version at `revision`: `None` if the key was not there then.
    pub(super) fn at(&self, key: &[u8], revision: Revision) -> Option<Version> {
        self.tree.find(key)?.live_at(revision)
    }

    /// Keys alive now that lie in `range`, in O(log n).
    pub(super) fn count(&self, range: &KeyRange) -> usize {
        let start = range.start.as_slice();
        match &range.end {
            RangeEnd::Single => {
                usize::from(self.newest(start).is_some_and(|version| !version.is_tombstone()))
            }
            RangeEnd::Open => self.tree.live() - self.tree.live_before(start),
            RangeEnd::Before(end) => {
                self.tree.live_before(end.as_slice()).saturating_sub(self.tree.live_before(start))
            }
        }
    }

    /// A cursor before the first key that is not below `start`.
    pub(super) fn seek(&self, start: &[u8]) -> Cursor<'_> {
        Cursor::seek(&self.tree, start)
    }

    /// A cursor before the live key that has `rank` live keys below it in the whole index, in O(log n).
    pub(super) fn seek_live_rank(&self, rank: usize) -> Cursor<'_> {
        Cursor::seek_live_rank(&self.tree, rank)
    }

    /// How many live keys lie below `key`, in O(log n).
    pub(super) fn live_before(&self, key: &[u8]) -> usize {
        self.tree.live_before(key)
    }

    /// Removes what a compaction at `revision` forgets (reference C3) from at most `keys_max` keys, beginning at
    /// the key `from`.
    pub(super) fn prune(&mut self, from: &[u8], revision: Revision, keys_max: usize) -> Pruned {
        let pruned = self.tree.prune(from, revision, keys_max);
        self.versions -= pruned.removed.len();
        self.keys -= pruned.keys_gone;
        self.key_bytes -= pruned.key_bytes_gone;
        pruned
    }

    /// Its figures.
    pub(super) fn stats(&self) -> IndexStats {
        IndexStats {
            keys: self.keys,
            live_keys: self.tree.live(),
            versions: self.versions,
            key_bytes: self.key_bytes,
        }
    }

    /// The heap it holds, without what the allocator adds. Walks over all keys.
    pub(super) fn heap_bytes(&self) -> usize {
        let versions_older = self.versions - self.keys;
        self.tree.heap_bytes() + self.key_bytes + versions_older * size_of::<Version>()
    }
}
