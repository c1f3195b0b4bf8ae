//! Which keys came and went lately: what the number of keys at an older revision differs by from now.

use crate::types::{KeyRange, Revision, Version};
use std::collections::VecDeque;

/// So many comings and goings are remembered at most.
const CHANGES_MAX: usize = 16_384;

/// A key came to be, or ceased to be.
#[derive(Debug)]
struct Change {
    revision: Revision,
    key: Box<[u8]>,
    came: bool,
}

/// The newest comings and goings of keys, in the order in which they happened. Updates of keys that stay are not in it.
#[derive(Debug, Default)]
pub(super) struct Turnover {
    changes: VecDeque<Change>,
    /// All changes after this revision are here.
    known_after: Revision,
}

impl Turnover {
    /// Notes what a new version of `key` changes. A deletion always deletes a key that is there.
    pub(super) fn note(&mut self, key: &[u8], version: &Version) {
        if version.version > 1 {
            return;
        }
        if self.changes.len() == CHANGES_MAX
            && let Some(oldest) = self.changes.pop_front()
        {
            self.known_after = oldest.revision;
        }
        let came = !version.is_tombstone();
        self.changes.push_back(Change { revision: version.at.main, key: key.into(), came });
    }

    /// How many more keys of `range` there are now than there were at `revision`; `None` if that is not known any more.
    pub(super) fn since(&self, revision: Revision, range: &KeyRange) -> Option<i64> {
        if revision < self.known_after {
            return None;
        }
        let first = self.changes.partition_point(|change| change.revision <= revision);
        let inside = self.changes.range(first..).filter(|change| range.contains(&change.key));
        Some(inside.map(|change| if change.came { 1 } else { -1 }).sum())
    }
}
