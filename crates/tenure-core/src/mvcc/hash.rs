//! HashKV: one number over all pairs up to a revision, equal on all members and to etcd's (reference N3); and what a compaction
//! hashes of what it forgets (C6).

use super::Mvcc;
use crate::types::{KvBytes, RecordRevision, Revision};
use tenure_api::error::EtcdError;

/// The hash of all pairs up to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    /// CRC-32C.
    pub hash: u32,
    /// The revision of the last compaction when it was computed; -1 if there was none.
    pub compacted: Revision,
    /// Up to which revision.
    pub revision: Revision,
}

impl KvHash {
    /// What a compaction at revision 0 hashes, which a store takes that was never compacted: nothing, as there is no record up to
    /// there.
    #[must_use]
    pub fn of_nothing() -> Self {
        let (compacted, revision) = (Mvcc::NEVER_COMPACTED, Revision(0));
        KvHasher { revision, compacted, kept: Vec::new(), crc: seed() }.finish()
    }
}

/// Finds out which of the records that a compaction left are to be hashed, in bounded steps.
///
/// [`HashScan::step`] until it is done, then feed every record of the store to the [`KvHasher`] of
/// [`HashScan::finish`].
#[derive(Debug)]
pub struct HashScan {
    revision: Revision,
    compacted: Revision,
    /// Whether it is of a compaction, which later ones do not disturb.
    is_of_compaction: bool,
    from: Option<Box<[u8]>>,
    /// Whether a key is there at `revision`.
    any_kept: bool,
    /// Of each key the version that a reader at `revision` sees, if it is at or before the compaction. While no key was
    /// found to be there at `revision`: of each key the version that the compaction leaves.
    kept: Vec<RecordRevision>,
}

impl HashScan {
    /// Begins. `revision` 0 is the current one. A negative one is not refused, but hashes nothing, as in etcd.
    ///
    /// # Errors
    /// [`EtcdError::Compacted`] below the compacted revision (which itself is answered), [`EtcdError::FutureRev`].
    pub fn new(mvcc: &Mvcc, revision: i64) -> Result<Self, EtcdError> {
        if revision > 0 && revision < mvcc.compacted().0 {
            return Err(EtcdError::Compacted);
        }
        if revision > mvcc.revision().0 {
            return Err(EtcdError::FutureRev);
        }
        let revision = if revision == 0 { mvcc.revision() } else { Revision(revision) };
        let nothing = revision.0 < 0 || mvcc.compacted() == Mvcc::NEVER_COMPACTED;
        let from = (!nothing).then(Box::default);
        Ok(Self {
            revision,
            compacted: mvcc.compacted(),
            is_of_compaction: false,
            from,
            any_kept: false,
            kept: Vec::new(),
        })
    }

    /// Begins the hash of a compaction: of everything that it finds up to its revision, what it will remove included. To be
    /// made, records too, before [`Mvcc::compact_step_to`] goes beyond `previous`.
    ///
    /// * `previous`: the revision of the compaction before, or [`Mvcc::NEVER_COMPACTED`].
    #[must_use]
    pub fn of_compaction(previous: Revision, revision: Revision) -> Self {
        let from = (previous != Mvcc::NEVER_COMPACTED).then(Box::default);
        let (any_kept, kept) = (false, Vec::new());
        Self { revision, compacted: previous, is_of_compaction: true, from, any_kept, kept }
    }

    /// Looks at `keys_max` further keys at most. Says whether it is done.
    ///
    /// # Errors
    /// [`EtcdError::Compacted`] if a compaction came in between: it has changed what is to be hashed.
    pub fn step(&mut self, mvcc: &Mvcc, keys_max: usize) -> Result<bool, EtcdError> {
        if !self.is_of_compaction && mvcc.compacted() != self.compacted {
            return Err(EtcdError::Compacted);
        }
        let Some(from) = self.from.take() else { return Ok(true) };
        let mut cursor = mvcc.index.seek(&from);
        let mut last = None;
        for _ in 0..keys_max.max(1) {
            let Some(entry) = cursor.next() else {
                self.kept.sort_unstable();
                return Ok(true);
            };
            last = Some(entry.key());
            if self.is_of_compaction && entry.is_deleted_at(self.revision) {
                // The compaction keeps this deletion, while a hash at its revision counts it as nothing.
                self.begin_kept();
            } else if let Some(version) = entry.live_at(self.revision) {
                self.begin_kept();
                if version.at.main <= self.compacted {
                    self.kept.push(version.at);
                }
            } else if !self.any_kept {
                self.kept.extend(entry.live_at(self.compacted).map(|version| version.at));
            }
        }
        self.from = last.map(|last| [last, &[0]].concat().into());
        Ok(false)
    }

    /// Something is there at the revision: what the compaction before left does not count by itself.
    fn begin_kept(&mut self) {
        if !self.any_kept {
            self.any_kept = true;
            self.kept = Vec::new();
        }
    }

    /// What the records are fed to.
    #[must_use]
    pub fn finish(self) -> KvHasher {
        debug_assert!(self.from.is_none(), "a scan is finished after its last step");
        KvHasher { revision: self.revision, compacted: self.compacted, kept: self.kept, crc: seed() }
    }
}

/// Takes the records of the store in ascending order.
#[derive(Debug)]
pub struct KvHasher {
    revision: Revision,
    compacted: Revision,
    kept: Vec<RecordRevision>,
    crc: u32,
}

impl KvHasher {
    /// Takes a record. What does not count (newer than the revision, dropped by a compaction) may be given or left out.
    pub fn add(&mut self, at: RecordRevision, tombstone: bool, kv: &KvBytes) {
        if !self.counts(at, tombstone) {
            return;
        }
        self.crc = crc32c::crc32c_append(self.crc, &store_key(at, tombstone)[..17 + usize::from(tombstone)]);
        self.crc = crc32c::crc32c_append(self.crc, &kv.0);
    }

    fn counts(&self, at: RecordRevision, tombstone: bool) -> bool {
        if at.main > self.revision || at.main == self.compacted && tombstone {
            return false;
        }
        at.main > self.compacted || self.kept.binary_search(&at).is_ok()
    }

    /// The hash of what was taken.
    #[must_use]
    pub fn finish(self) -> KvHash {
        KvHash { hash: self.crc, compacted: self.compacted, revision: self.revision }
    }
}

/// The hashes of the last compactions. A member answers HashKV at their revisions from here, long after they were compacted, and the
/// members compare them (reference C6, N4).
#[derive(Clone, Debug, Default)]
pub struct CompactionHashes {
    /// In the order of their revisions.
    hashes: Vec<KvHash>,
}

impl CompactionHashes {
    /// So many are kept.
    pub const KEPT_MAX: usize = 10;

    /// Keeps one more; of too many the oldest go.
    pub fn keep(&mut self, hash: KvHash) {
        let at = self.hashes.partition_point(|kept| kept.revision <= hash.revision);
        self.hashes.insert(at, hash);
        if self.hashes.len() > Self::KEPT_MAX {
            self.hashes.remove(0);
        }
    }

    /// The hash of the compaction at `revision`.
    #[must_use]
    pub fn at(&self, revision: Revision) -> Option<KvHash> {
        self.hashes.iter().find(|kept| kept.revision == revision).copied()
    }

    /// Those of compactions after `revision`, the newest first.
    pub fn after(&self, revision: Revision) -> impl Iterator<Item = KvHash> + '_ {
        self.hashes.iter().rev().take_while(move |kept| kept.revision > revision).copied()
    }
}

/// What a hash begins with: the name of the bucket.
fn seed() -> u32 {
    crc32c::crc32c(b"key")
}

/// The key under which etcd's backend has a record: main, `_`, sub, both big-endian, and `t` for a deletion.
fn store_key(at: RecordRevision, tombstone: bool) -> [u8; 18] {
    let mut key = [0; 18];
    key[..8].copy_from_slice(&at.main.0.to_be_bytes());
    key[8] = b'_';
    key[9..17].copy_from_slice(&u64::from(at.sub).to_be_bytes());
    key[17] = if tombstone { b't' } else { 0 };
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_the_last_compactions_are_kept() {
        let mut hashes = CompactionHashes::default();
        let hash = |revision| KvHash {
            hash: revision as u32 + 100,
            compacted: Revision(revision - 1),
            revision: Revision(revision),
        };
        let revisions = |hashes: &CompactionHashes, after| -> Vec<i64> {
            hashes.after(Revision(after)).map(|kept| kept.revision.0).collect()
        };
        assert_eq!(revisions(&hashes, -1), [0; 0]);
        (1..=12).for_each(|revision| hashes.keep(hash(revision)));
        assert_eq!(revisions(&hashes, -1), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3], "newest first, ten of them");
        assert_eq!(revisions(&hashes, 10), [12, 11]);
        assert_eq!(hashes.at(Revision(3)), Some(hash(3)));
        assert_eq!(hashes.at(Revision(2)), None);
        assert_eq!(hashes.at(Revision(0)), None);
    }
}
