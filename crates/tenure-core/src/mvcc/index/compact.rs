//! Removing versions, in bounded steps.

use super::entry::Left;
use super::tree::{BRANCH_CHILDREN_MAX, Branch, LEAF_KEYS_MAX, Leaf, Node, Sum, Tree};
use crate::types::{RecordRevision, Revision};

/// What one step of a compaction did.
#[derive(Debug)]
pub(in crate::mvcc) struct Pruned {
    /// The versions that are gone.
    pub(in crate::mvcc) removed: Vec<RecordRevision>,
    /// How many keys are gone with their last version.
    pub(super) keys_gone: usize,
    pub(super) key_bytes_gone: usize,
    /// The key to go on from; `None` at the end.
    pub(in crate::mvcc) resume: Option<Box<[u8]>>,
}

struct Walk {
    revision: Revision,
    keys_left: usize,
    pruned: Pruned,
}

impl Tree {
    /// Prunes at most `keys_max` (at least one) of the keys that have something to prune, beginning at `from`.
    pub(super) fn prune(&mut self, from: &[u8], revision: Revision, keys_max: usize) -> Pruned {
        let pruned = Pruned { removed: Vec::new(), keys_gone: 0, key_bytes_gone: 0, resume: None };
        let mut walk = Walk { revision, keys_left: keys_max.max(1), pruned };
        if self.has_stale() {
            prune(&mut self.root, from, &mut walk);
            self.drop_thin_root();
            self.sum = Sum::of(&self.root);
        }
        walk.pruned
    }

    /// A root with one child is no use: the child is the root.
    fn drop_thin_root(&mut self) {
        while let Node::Branch(branch) = &mut self.root {
            if branch.children.len() > 1 {
                return;
            }
            self.root = branch.children.pop().expect("a branch has a child");
        }
    }
}

fn prune(node: &mut Node, from: &[u8], walk: &mut Walk) {
    match node {
        Node::Leaf(leaf) => prune_leaf(leaf, from, walk),
        Node::Branch(branch) => {
            for child in branch.child_of(from)..branch.children.len() {
                if branch.sums[child].stale == 0 {
                    continue;
                }
                if walk.keys_left == 0 {
                    walk.pruned.resume = Some(branch.bounds[child - 1].clone());
                    break;
                }
                prune(&mut branch.children[child], from, walk);
                branch.sums[child] = Sum::of(&branch.children[child]);
                if walk.pruned.resume.is_some() {
                    break;
                }
            }
            mend(branch);
        }
    }
}

fn prune_leaf(leaf: &mut Leaf, from: &[u8], walk: &mut Walk) {
    let first = leaf.lower_bound(from);
    let len = leaf.entries.len();
    let mut at = 0;
    leaf.entries.retain_mut(|entry| {
        at += 1;
        if at <= first || !entry.is_stale() || walk.pruned.resume.is_some() {
            return true;
        }
        if walk.keys_left == 0 {
            walk.pruned.resume = Some(entry.key().into());
            return true;
        }
        walk.keys_left -= 1;
        let keep = entry.prune(walk.revision, &mut walk.pruned.removed) == Left::Versions;
        if !keep {
            walk.pruned.keys_gone += 1;
            walk.pruned.key_bytes_gone += entry.key().len();
        }
        keep
    });
    if leaf.entries.len() * 2 < leaf.entries.capacity() {
        leaf.entries.shrink_to_fit();
    }
    if leaf.entries.len() < len {
        leaf.entries_changed();
    }
}

/// Removes children that have become empty and joins small neighbours.
fn mend(branch: &mut Branch) {
    let children = branch.children.len();
    let mut child = 0;
    while child < branch.children.len() {
        if branch.children.len() > 1 && is_empty(&branch.children[child]) {
            branch.children.remove(child);
            branch.sums.remove(child);
            branch.bounds.remove(child.saturating_sub(1));
        } else if child > 0 && join_with_left(branch, child) {
            branch.children.remove(child);
            let sum = branch.sums.remove(child);
            branch.sums[child - 1] += sum;
            branch.bounds.remove(child - 1);
        } else {
            child += 1;
        }
    }
    if branch.children.len() < children {
        branch.bounds_changed();
    }
}

/// Whether a node has no key. A branch keeps its last child even if that is empty, for its parent to see.
fn is_empty(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => leaf.entries.is_empty(),
        Node::Branch(branch) => branch.children.len() == 1 && is_empty(&branch.children[0]),
    }
}

/// Moves all of the child at `at` to the end of its left neighbour, if one of the two is small enough to be worth it
/// and both together leave room.
fn join_with_left(branch: &mut Branch, at: usize) -> bool {
    let worth =
        |left: usize, right: usize, max: usize| left.min(right) <= max / 4 && left + right <= max * 3 / 4;
    let (lefts, rights) = branch.children.split_at_mut(at);
    match (lefts.last_mut(), rights.first_mut()) {
        (Some(Node::Leaf(left)), Some(Node::Leaf(right)))
            if worth(left.entries.len(), right.entries.len(), LEAF_KEYS_MAX) =>
        {
            left.entries.reserve_exact(right.entries.len());
            left.entries.append(&mut right.entries);
            left.entries_changed();
            true
        }
        (Some(Node::Branch(left)), Some(Node::Branch(right)))
            if worth(left.children.len(), right.children.len(), BRANCH_CHILDREN_MAX) =>
        {
            left.bounds.push(branch.bounds[at - 1].clone());
            left.bounds.append(&mut right.bounds);
            left.sums.append(&mut right.sums);
            left.children.append(&mut right.children);
            left.bounds_changed();
            true
        }
        _ => false,
    }
}
