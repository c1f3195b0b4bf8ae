//! The tree: nodes, search, insertion.
//!
//! Invariants, which `Tree::check` verifies in the tests:
//! * all leaves are at the same depth, no leaf or branch below the root is empty;
//! * keys ascend; `bounds[i]` of a branch is above every key of `children[i]` and not above any of `children[i + 1]`;
//! * `sums[i]` is the sum over the keys of `children[i]`;
//! * `heads` are those of the keys, or the bounds, of the node.

use super::entry::KeyEntry;
use super::heads::{GROWTH, Heads, Keys, common_prefix};
use crate::types::Version;
use std::ops::{AddAssign, SubAssign};

/// Keys in a leaf at most.
pub(super) const LEAF_KEYS_MAX: usize = 64;
/// Children of a branch at most.
pub(super) const BRANCH_CHILDREN_MAX: usize = 64;

/// What a branch knows of the keys below a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Keys that are there now.
    pub(super) live: usize,
    /// Keys with something that a compaction could remove.
    pub(super) stale: usize,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Sum) {
        self.live += other.live;
        self.stale += other.stale;
    }
}

impl SubAssign for Sum {
    fn sub_assign(&mut self, other: Sum) {
        self.live -= other.live;
        self.stale -= other.stale;
    }
}

impl Sum {
    pub(super) fn of_entry(entry: &KeyEntry) -> Sum {
        Sum { live: usize::from(entry.is_live()), stale: usize::from(entry.is_stale()) }
    }

    pub(super) fn of(node: &Node) -> Sum {
        let mut sum = Sum::default();
        match node {
            Node::Leaf(leaf) => leaf.entries.iter().for_each(|entry| sum += Sum::of_entry(entry)),
            Node::Branch(branch) => branch.sums.iter().for_each(|below| sum += *below),
        }
        sum
    }
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch(Box<Branch>),
}

#[derive(Debug, Default)]
pub(super) struct Leaf {
    heads: Heads,
    pub(super) entries: Vec<KeyEntry>,
}

#[derive(Debug, Default)]
pub(super) struct Branch {
    heads: Heads,
    /// One less than there are children: what separates each child from the next.
    pub(super) bounds: Vec<Box<[u8]>>,
    pub(super) sums: Vec<Sum>,
    pub(super) children: Vec<Node>,
}

impl Keys for [KeyEntry] {
    fn len(&self) -> usize {
        <[KeyEntry]>::len(self)
    }

    fn key(&self, at: usize) -> &[u8] {
        self[at].key()
    }
}

impl Leaf {
    fn of(entries: Vec<KeyEntry>) -> Self {
        Self { heads: Heads::of(&entries[..]), entries }
    }

    /// Where `key` is, if it is there.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.heads.find(&self.entries[..], key)
    }

    /// The first entry that is not below `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.heads.count_below(&self.entries[..], key)
    }

    #[cfg(test)]
    pub(super) fn check_heads(&self) {
        self.heads.check(&self.entries[..]);
    }

    /// Takes up that entries were removed or added.
    pub(super) fn entries_changed(&mut self) {
        self.heads.renew(&self.entries[..]);
    }
}

impl Branch {
    /// The child that has `key`, if any has.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        self.heads.count_upto(&self.bounds[..], key)
    }

    #[cfg(test)]
    pub(super) fn check_heads(&self) {
        self.heads.check(&self.bounds[..]);
    }

    /// Takes up that bounds were removed or added.
    pub(super) fn bounds_changed(&mut self) {
        self.heads.renew(&self.bounds[..]);
    }

    /// Of two children.
    fn of_two(left: Node, bound: Box<[u8]>, right: Node) -> Self {
        let bounds = vec![bound];
        let sums = vec![Sum::of(&left), Sum::of(&right)];
        Self { heads: Heads::of(&bounds[..]), bounds, sums, children: vec![left, right] }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Node,
    pub(super) sum: Sum,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Node::Leaf(Leaf::default()), sum: Sum::default() }
    }
}

/// What an insertion did to a subtree.
struct Pushed {
    key_is_new: bool,
    before: Sum,
    after: Sum,
    /// A new right neighbour, with the bound between the two.
    split: Option<(Box<[u8]>, Node)>,
}

impl Tree {
    /// Keys that are there now.
    pub(super) fn live(&self) -> usize {
        self.sum.live
    }

    pub(super) fn has_stale(&self) -> bool {
        self.sum.stale > 0
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<&KeyEntry> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Branch(branch) => node = &branch.children[branch.child_of(key)],
                Node::Leaf(leaf) => return leaf.find(key).map(|at| &leaf.entries[at]),
            }
        }
    }

    /// How many live keys lie below `key`.
    pub(super) fn live_before(&self, key: &[u8]) -> usize {
        let mut node = &self.root;
        let mut live = 0;
        loop {
            match node {
                Node::Branch(branch) => {
                    let child = branch.child_of(key);
                    live += branch.sums[..child].iter().map(|sum| sum.live).sum::<usize>();
                    node = &branch.children[child];
                }
                Node::Leaf(leaf) => {
                    let below = &leaf.entries[..leaf.lower_bound(key)];
                    return live + below.iter().filter(|entry| entry.is_live()).count();
                }
            }
        }
    }

    /// Adds a version of `key`; says whether the key is new.
    pub(super) fn push(&mut self, key: &[u8], version: Version) -> bool {
        let pushed = push(&mut self.root, key, version);
        self.sum -= pushed.before;
        self.sum += pushed.after;
        if let Some((bound, right)) = pushed.split {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Leaf::default()));
            self.root = Node::Branch(Box::new(Branch::of_two(left, bound, right)));
        }
        pushed.key_is_new
    }

    /// The heap of nodes and lists; bytes of keys and of older versions are not in it.
    pub(super) fn heap_bytes(&self) -> usize {
        heap_bytes(&self.root)
    }
}

fn heap_bytes(node: &Node) -> usize {
    match node {
        Node::Leaf(leaf) => {
            let overhead: usize = leaf.entries.iter().map(KeyEntry::older_overhead).sum();
            leaf.heads.heap_bytes() + leaf.entries.capacity() * size_of::<KeyEntry>() + overhead
        }
        Node::Branch(branch) => {
            let bounds: usize = branch.bounds.iter().map(|bound| bound.len()).sum();
            size_of::<Branch>()
                + bounds
                + branch.heads.heap_bytes()
                + branch.bounds.capacity() * size_of::<Box<[u8]>>()
                + branch.sums.capacity() * size_of::<Sum>()
                + branch.children.capacity() * size_of::<Node>()
                + branch.children.iter().map(heap_bytes).sum::<usize>()
        }
    }
}

fn push(node: &mut Node, key: &[u8], version: Version) -> Pushed {
    match node {
        Node::Leaf(leaf) => push_into_leaf(leaf, key, version),
        Node::Branch(branch) => {
            let child = branch.child_of(key);
            let mut pushed = push(&mut branch.children[child], key, version);
            branch.sums[child] -= pushed.before;
            branch.sums[child] += pushed.after;
            if let Some((bound, right)) = pushed.split.take() {
                pushed.split = adopt(branch, child + 1, bound, right);
            }
            pushed
        }
    }
}

fn push_into_leaf(leaf: &mut Leaf, key: &[u8], version: Version) -> Pushed {
    let at = leaf.lower_bound(key);
    let may_be = leaf.heads.may_be(at, key);
    if let Some(entry) = leaf.entries.get_mut(at).filter(|entry| may_be && entry.key() == key) {
        let before = Sum::of_entry(entry);
        entry.push(version);
        return Pushed { key_is_new: false, before, after: Sum::of_entry(entry), split: None };
    }
    let entry = KeyEntry::new(key, version);
    let after = Sum::of_entry(&entry);
    let split = insert_entry(leaf, at, entry);
    Pushed { key_is_new: true, before: Sum::default(), after, split }
}

/// Inserts into a leaf. A full leaf is cut in half, except at its ends: keys that arrive in ascending or descending
/// order leave full leaves behind.
fn insert_entry(leaf: &mut Leaf, at: usize, entry: KeyEntry) -> Option<(Box<[u8]>, Node)> {
    let entries = &mut leaf.entries;
    if entries.len() < LEAF_KEYS_MAX {
        if entries.len() == entries.capacity() {
            entries.reserve_exact(GROWTH);
        }
        entries.insert(at, entry);
        leaf.heads.inserted(&entries[..], at);
        return None;
    }
    let cut = cut_of(entries.len(), at);
    let mut right = Vec::with_capacity((entries.len() - cut + 1).next_multiple_of(GROWTH));
    right.extend(entries.drain(cut..));
    if at > cut || right.is_empty() {
        right.insert(at - cut, entry);
    } else {
        entries.insert(at, entry);
    }
    entries.shrink_to(entries.len().next_multiple_of(GROWTH));
    let bound = separator(entries[entries.len() - 1].key(), right[0].key());
    leaf.entries_changed();
    Some((bound, Node::Leaf(Leaf::of(right))))
}

/// Where to cut a full node in two when something is inserted at `at`: neither half ends up empty.
fn cut_of(len: usize, at: usize) -> usize {
    match at {
        0 => 0,
        _ if at == len => len,
        _ => len / 2,
    }
}

/// The shortest key that is above `left` and not above `right`.
fn separator(left: &[u8], right: &[u8]) -> Box<[u8]> {
    right[..=common_prefix(left, right)].into()
}

/// Makes `node` the child at `at` (at least 1) of a branch; cuts the branch if it was full.
fn adopt(branch: &mut Branch, at: usize, bound: Box<[u8]>, node: Node) -> Option<(Box<[u8]>, Node)> {
    let sum = Sum::of(&node);
    branch.sums[at - 1] -= sum;
    branch.bounds.insert(at - 1, bound);
    branch.sums.insert(at, sum);
    branch.children.insert(at, node);
    if branch.children.len() <= BRANCH_CHILDREN_MAX {
        branch.heads.inserted(&branch.bounds[..], at - 1);
        return None;
    }
    // After an append only the last child moves, for the same reason as in a leaf.
    let len = branch.children.len();
    let cut = if at == len - 1 { len - 1 } else { len / 2 };
    let bounds = branch.bounds.split_off(cut);
    let bound = branch.bounds.pop().expect("a branch that is cut has a bound before the cut");
    branch.bounds_changed();
    let (sums, children) = (branch.sums.split_off(cut), branch.children.split_off(cut));
    let right = Branch { heads: Heads::of(&bounds[..]), bounds, sums, children };
    Some((bound, Node::Branch(Box::new(right))))
}
