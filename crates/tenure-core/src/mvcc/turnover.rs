//! Which keys came and went lately: what the number of keys at an older revision differs by from now.

use crate::types::{KeyRange, RangeEnd, Revision, Version};
use std::collections::VecDeque;

/// Changes of a block. A read at an older revision looks at every change of at most one block and of the open one.
const BLOCK_CHANGES: usize = if cfg!(test) { 8 } else { 512 };
/// So many blocks are remembered at most.
const BLOCKS_MAX: usize = if cfg!(test) { 4 } else { 64 };

/// A key came to be, or ceased to be.
#[derive(Debug)]
struct Change {
    revision: Revision,
    key: Box<[u8]>,
    /// Keys more: 1 or -1.
    delta: i32,
    /// In a sealed block: the sum of the deltas of the changes before this one.
    before: i32,
}

/// Changes of some revisions, sorted by key.
#[derive(Debug)]
struct Block {
    first: Revision,
    last: Revision,
    changes: Vec<Change>,
    sum: i32,
}

impl Block {
    fn seal(mut changes: Vec<Change>) -> Option<Self> {
        let (first, last) = (changes.first()?.revision, changes.last()?.revision);
        changes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let mut sum = 0;
        for change in &mut changes {
            change.before = sum;
            sum += change.delta;
        }
        Some(Self { first, last, changes, sum })
    }

    /// The changes of keys below `key`, summed up.
    fn sum_below(&self, key: &[u8]) -> i32 {
        let at = self.changes.partition_point(|change| *change.key < *key);
        self.changes.get(at).map_or(self.sum, |change| change.before)
    }

    fn sum_in(&self, range: &KeyRange) -> i32 {
        match &range.end {
            RangeEnd::Open => self.sum - self.sum_below(range.start.as_slice()),
            RangeEnd::Before(end) => self.sum_below(end.as_slice()) - self.sum_below(range.start.as_slice()),
            RangeEnd::Single => sum_after(&self.changes, Revision(0), range),
        }
    }
}

fn sum_after(changes: &[Change], revision: Revision, range: &KeyRange) -> i32 {
    let counts = |change: &&Change| change.revision > revision && range.contains(&change.key);
    changes.iter().filter(counts).map(|change| change.delta).sum()
}

/// The newest comings and goings of keys. Updates of keys that stay are not in it.
#[derive(Debug, Default)]
pub(super) struct Turnover {
    /// Oldest first.
    blocks: VecDeque<Block>,
    open: Vec<Change>,
    /// All changes after this revision are here.
    known_after: Revision,
}

impl Turnover {
    /// Notes what a new version of `key` changes. A deletion always deletes a key that is there.
    pub(super) fn note(&mut self, key: &[u8], version: &Version) {
        let delta = match version.version {
            0 => -1,
            1 => 1,
            _ => return,
        };
        self.open.push(Change { revision: version.at.main, key: key.into(), delta, before: 0 });
        if self.open.len() < BLOCK_CHANGES {
            return;
        }
        let sealed = std::mem::replace(&mut self.open, Vec::with_capacity(BLOCK_CHANGES));
        self.blocks.extend(Block::seal(sealed));
        if self.blocks.len() > BLOCKS_MAX
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.known_after = oldest.last;
        }
    }

    /// Knows nothing of `revision` and before.
    pub(super) fn begin_after(&mut self, revision: Revision) {
        self.known_after = self.known_after.max(revision);
    }

    /// How many more keys of `range` (less, if negative) there are now than there were at `revision`; `None` if that is not
    /// known any more.
    pub(super) fn since(&self, revision: Revision, range: &KeyRange) -> Option<i64> {
        if revision < self.known_after {
            return None;
        }
        let mut sum = i64::from(sum_after(&self.open, revision, range));
        for block in self.blocks.iter().rev().take_while(|block| block.last > revision) {
            sum += i64::from(match block.first > revision {
                true => block.sum_in(range),
                false => sum_after(&block.changes, revision, range),
            });
        }
        Some(sum)
    }
}
