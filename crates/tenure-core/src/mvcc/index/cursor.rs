//! Walking over the keys in order.

use super::entry::KeyEntry;
use super::tree::{Branch, Node, Tree};
use smallvec::SmallVec;

/// A place between two keys of the index.
#[derive(Debug)]
pub(in crate::mvcc) struct Cursor<'a> {
    /// The branches above the leaf, each with the child that was taken.
    path: SmallVec<[(&'a Branch, usize); 5]>,
    leaf: &'a [KeyEntry],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Before the first key that is not below `start`.
    pub(super) fn seek(tree: &'a Tree, start: &[u8]) -> Self {
        let mut cursor = Self { path: SmallVec::new(), leaf: &[], at: 0 };
        let mut node = &tree.root;
        loop {
            match node {
                Node::Branch(branch) => {
                    let child = branch.child_of(start);
                    cursor.path.push((branch, child));
                    node = &branch.children[child];
                }
                Node::Leaf(leaf) => {
                    cursor.leaf = &leaf.entries;
                    cursor.at = leaf.lower_bound(start);
                    return cursor;
                }
            }
        }
    }

    /// Before the live key that has `rank` live keys below it; at the end if there is none.
    pub(super) fn seek_live_rank(tree: &'a Tree, rank: usize) -> Self {
        let mut cursor = Self { path: SmallVec::new(), leaf: &[], at: 0 };
        let mut node = &tree.root;
        let mut left = rank;
        loop {
            match node {
                Node::Branch(branch) => {
                    let mut child = 0;
                    while child + 1 < branch.children.len() && branch.sums[child].live <= left {
                        left -= branch.sums[child].live;
                        child += 1;
                    }
                    cursor.path.push((branch, child));
                    node = &branch.children[child];
                }
                Node::Leaf(leaf) => {
                    let live = leaf.entries.iter().enumerate().filter(|(_, entry)| entry.is_live());
                    cursor.at = live.map(|(at, _)| at).nth(left).unwrap_or(leaf.entries.len());
                    cursor.leaf = &leaf.entries;
                    return cursor;
                }
            }
        }
    }

    /// The next key, deleted ones included.
    pub(in crate::mvcc) fn next(&mut self) -> Option<&'a KeyEntry> {
        loop {
            if let Some(entry) = self.leaf.get(self.at) {
                self.at += 1;
                return Some(entry);
            }
            self.next_leaf(false)?;
        }
    }

    /// The next key that is there now. Steps over regions where every key is deleted without looking at them.
    pub(in crate::mvcc) fn next_live(&mut self) -> Option<&'a KeyEntry> {
        loop {
            while let Some(entry) = self.leaf.get(self.at) {
                self.at += 1;
                if entry.is_live() {
                    return Some(entry);
                }
            }
            self.next_leaf(true)?;
        }
    }

    /// Goes to the first key of the next leaf, with `live_only` of the next leaf that has a live key.
    fn next_leaf(&mut self, live_only: bool) -> Option<()> {
        let wanted = |branch: &Branch, child: usize| !live_only || branch.sums[child].live > 0;
        let mut node = loop {
            let (branch, taken) = self.path.pop()?;
            if let Some(child) = (taken + 1..branch.children.len()).find(|child| wanted(branch, *child)) {
                self.path.push((branch, child));
                break &branch.children[child];
            }
        };
        loop {
            match node {
                Node::Branch(branch) => {
                    let child = (0..branch.children.len()).find(|child| wanted(branch, *child))?;
                    self.path.push((branch, child));
                    node = &branch.children[child];
                }
                Node::Leaf(leaf) => {
                    self.leaf = &leaf.entries;
                    self.at = 0;
                    return Some(());
                }
            }
        }
    }
}
