//! A key with its versions.

use crate::types::{RecordRevision, Revision, Version};

/// A key with its versions: the newest inline, older ones, which most keys have none of, behind one pointer.
/// Version addresses ascend from the oldest to the newest.
#[derive(Debug)]
pub(in crate::mvcc) struct KeyEntry {
    key: Box<[u8]>,
    newest: Version,
    #[allow(
        clippy::box_collection,
        reason = "8 bytes in every entry instead of 24, and few entries have it"
    )]
    older: Option<Box<Vec<Version>>>,
}

/// What is left of a key after a compaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// At least one version.
    Versions,
    /// Nothing: the key goes.
    Nothing,
}

impl KeyEntry {
    pub(super) fn new(key: &[u8], version: Version) -> Self {
        Self { key: key.into(), newest: version, older: None }
    }

    /// The key.
    pub(in crate::mvcc) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The newest version, a deletion included.
    pub(in crate::mvcc) fn newest(&self) -> Version {
        self.newest
    }

    /// Whether the key is there now.
    pub(super) fn is_live(&self) -> bool {
        !self.newest.is_tombstone()
    }

    /// Whether it has something that a compaction could remove.
    pub(super) fn is_stale(&self) -> bool {
        self.older.is_some() || self.newest.is_tombstone()
    }

    /// The newest version whose revision is at most `revision`, a deletion included.
    pub(in crate::mvcc) fn newest_at(&self, revision: Revision) -> Option<Version> {
        if self.newest.at.main <= revision {
            return Some(self.newest);
        }
        let older = self.older.as_deref()?;
        let after = older.partition_point(|version| version.at.main <= revision);
        after.checked_sub(1).map(|i| older[i])
    }

    /// The version that a reader at `revision` sees.
    pub(in crate::mvcc) fn live_at(&self, revision: Revision) -> Option<Version> {
        self.newest_at(revision).filter(|version| !version.is_tombstone())
    }

    /// Whether the key was deleted at exactly `revision`.
    pub(in crate::mvcc) fn is_deleted_at(&self, revision: Revision) -> bool {
        self.newest_at(revision).is_some_and(|version| version.is_tombstone() && version.at.main == revision)
    }

    /// Every version, oldest first.
    #[cfg(test)]
    pub(super) fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        self.older.iter().flat_map(|older| older.iter().copied()).chain(std::iter::once(self.newest))
    }

    pub(super) fn push(&mut self, version: Version) {
        debug_assert!(self.newest.at < version.at, "versions of a key come in ascending order");
        let replaced = std::mem::replace(&mut self.newest, version);
        match &mut self.older {
            Some(older) => older.push(replaced),
            None => self.older = Some(Box::new(vec![replaced])),
        }
    }

    /// Removes what a compaction at `revision` forgets (reference C3): every version that another one, still at or
    /// before `revision`, replaced; and that one too if it is a deletion from before `revision`. A deletion exactly
    /// at `revision` stays, so that a watch from there still sees it.
    pub(super) fn prune(&mut self, revision: Revision, removed: &mut Vec<RecordRevision>) -> Left {
        let gone_at = |kept: Version| kept.is_tombstone() && kept.at.main < revision;
        if self.newest.at.main <= revision {
            if let Some(older) = self.older.take() {
                removed.extend(older.iter().map(|version| version.at));
            }
            if gone_at(self.newest) {
                removed.push(self.newest.at);
                return Left::Nothing;
            }
            return Left::Versions;
        }
        let Some(older) = self.older.as_deref_mut() else { return Left::Versions };
        let after = older.partition_point(|version| version.at.main <= revision);
        let mut first_kept = after.saturating_sub(1);
        if older.get(first_kept).is_some_and(|kept| gone_at(*kept)) {
            first_kept += 1;
        }
        removed.extend(older.drain(..first_kept).map(|version| version.at));
        if older.is_empty() {
            self.older = None;
        } else if older.capacity() > 2 * older.len() + 4 {
            older.shrink_to_fit();
        }
        Left::Versions
    }

    /// The heap behind the list of older versions, without the versions themselves.
    pub(super) fn older_overhead(&self) -> usize {
        self.older.as_ref().map_or(0, |older| {
            size_of::<Vec<Version>>() + (older.capacity() - older.len()) * size_of::<Version>()
        })
    }
}
