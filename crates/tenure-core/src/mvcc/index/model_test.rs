//! The index against a map that does everything the naive way.

use super::tree::{BRANCH_CHILDREN_MAX, LEAF_KEYS_MAX, Node, Sum, Tree};
use super::*;
use crate::types::{Key, RecordRevision};
use proptest::prelude::*;
use std::collections::BTreeMap;

impl Tree {
    /// Panics if an invariant of the tree does not hold.
    pub(super) fn check(&self) {
        let mut last = None;
        assert_eq!(self.sum, Sum::of(&self.root));
        check(&self.root, true, &mut last);
    }
}

fn check<'a>(node: &'a Node, is_root: bool, last: &mut Option<&'a [u8]>) -> usize {
    match node {
        Node::Leaf(leaf) => {
            assert!(is_root || !leaf.entries.is_empty(), "an empty leaf");
            assert!(leaf.entries.len() <= LEAF_KEYS_MAX);
            leaf.check_heads();
            for entry in &leaf.entries {
                assert!(last.is_none_or(|last| last < entry.key()), "keys out of order");
                assert!(entry.versions().is_sorted_by(|a, b| a.at < b.at), "versions out of order");
                *last = Some(entry.key());
            }
            1
        }
        Node::Branch(branch) => {
            assert!(branch.children.len() <= BRANCH_CHILDREN_MAX);
            assert!(!is_root || branch.children.len() > 1, "a thin root");
            assert_eq!(branch.bounds.len() + 1, branch.children.len());
            assert_eq!(branch.sums.len(), branch.children.len());
            branch.check_heads();
            let mut depth = None;
            for (i, child) in branch.children.iter().enumerate() {
                assert_eq!(branch.sums[i], Sum::of(child));
                if i > 0 {
                    assert!(last.is_none_or(|last| last < &*branch.bounds[i - 1]), "a bound too low");
                }
                let below = check(child, false, last);
                assert!(depth.is_none_or(|depth| depth == below), "leaves at different depths");
                depth = Some(below);
                if let Some(bound) = branch.bounds.get(i) {
                    assert!(last.is_some_and(|last| last < &**bound), "a bound below its left child");
                }
            }
            1 + depth.expect("a branch has children")
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u16),
    Delete(u16),
    /// Deletes a run of keys in one revision.
    DeleteRun(u16, u16),
    /// Compacts at so many per mille of the current revision, in steps of so many keys.
    Compact(u16, usize),
    /// Counts and scans a range, now and at so many per mille of the current revision.
    Look(u16, u16, u16),
}

fn step(keys: u16) -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..keys).prop_map(Step::Put),
        6 => (0..keys).prop_map(Step::Delete),
        2 => (0..keys, 1..keys / 4).prop_map(|(from, len)| Step::DeleteRun(from, len)),
        1 => (0..1000u16, 1..200usize).prop_map(|(at, max)| Step::Compact(at, max)),
        6 => (0..keys, 0..keys, 0..1001u16).prop_map(|(a, b, at)| Step::Look(a, b, at)),
    ]
}

/// Keys with long common prefixes, some of them prefixes of others.
fn name(key: u16) -> Vec<u8> {
    match key % 7 {
        0 => format!("/r/{}", key / 7).into_bytes(),
        _ => format!("/r/{}/{}", key / 7, key % 7).into_bytes(),
    }
}

#[derive(Default)]
struct Model {
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    index: KeyIndex,
    revision: i64,
    compacted: i64,
}

impl Model {
    fn newest(&self, key: &[u8]) -> Option<Version> {
        self.keys.get(key).and_then(|versions| versions.last()).copied()
    }

    fn push(&mut self, key: &[u8], version: Version) {
        self.keys.entry(key.to_vec()).or_default().push(version);
        self.index.push(key, version);
    }

    fn put(&mut self, key: &[u8]) {
        self.revision += 1;
        let at = RecordRevision::first_of(Revision(self.revision));
        let version = match self.newest(key).filter(|newest| !newest.is_tombstone()) {
            Some(newest) => Version { at, created: newest.created, version: newest.version + 1 },
            None => Version { at, created: at.main, version: 1 },
        };
        self.push(key, version);
    }

    fn delete(&mut self, keys: &[Vec<u8>]) {
        let main = Revision(self.revision + 1);
        let mut sub = 0;
        for key in keys {
            if self.newest(key).is_some_and(|newest| !newest.is_tombstone()) {
                let at = RecordRevision { main, sub };
                self.push(key, Version { at, created: Revision(0), version: 0 });
                sub += 1;
                self.revision = main.0;
            }
        }
    }

    fn compact(&mut self, per_mille: u16, keys_max: usize) {
        let at = self.revision * i64::from(per_mille) / 1000;
        if at <= self.compacted {
            return;
        }
        self.compacted = at;
        let mut expected = Vec::new();
        for versions in self.keys.values_mut() {
            let kept = versions.iter().rposition(|version| version.at.main.0 <= at);
            let mut first_kept = kept.unwrap_or(0);
            if kept.is_some_and(|kept| versions[kept].is_tombstone() && versions[kept].at.main.0 < at) {
                first_kept += 1;
            }
            expected.extend(versions.drain(..first_kept).map(|version| version.at));
        }
        self.keys.retain(|_, versions| !versions.is_empty());
        let (mut removed, mut from) = (Vec::new(), Vec::new());
        loop {
            let pruned = self.index.prune(&from, Revision(at), keys_max);
            self.index.tree.check();
            removed.extend(pruned.removed);
            match pruned.resume {
                Some(resume) => from = resume.into_vec(),
                None => break,
            }
        }
        assert_eq!(removed, expected, "compaction at {at}");
    }

    fn look(&self, a: u16, b: u16, per_mille: u16) {
        let (start, end) = (name(a), name(b));
        let range = KeyRange {
            start: Key(start.clone().into()),
            end: match b % 5 {
                0 => RangeEnd::Open,
                1 => RangeEnd::Single,
                _ => RangeEnd::Before(Key(end.into())),
            },
        };
        let inside = || self.keys.range(start.clone()..).filter(|(key, _)| range.contains(key));
        let alive = |version: &&Version| !version.is_tombstone();
        let live = inside().filter(|(_, versions)| versions.last().filter(alive).is_some());
        let live: Vec<_> = live.map(|(key, _)| key.as_slice()).collect();
        assert_eq!(self.index.count(&range), live.len());

        let mut cursor = self.index.seek(&start);
        let found = std::iter::from_fn(|| cursor.next_live()).map(KeyEntry::key);
        assert_eq!(found.take_while(|key| range.contains(key)).collect::<Vec<_>>(), live);
        if let Some(middle) = live.len().checked_sub(1).map(|last| last / 2) {
            let rank = self.index.live_before(&start) + middle;
            let found = self.index.seek_live_rank(rank).next_live().map(KeyEntry::key);
            assert_eq!(found, Some(live[middle]));
        }

        let at = (self.revision * i64::from(per_mille) / 1000).max(self.compacted);
        let visible = |versions: &Vec<Version>| {
            versions.iter().rfind(|version| version.at.main.0 <= at).filter(alive).copied()
        };
        let then: Vec<_> =
            inside().filter_map(|(key, versions)| Some((key.as_slice(), visible(versions)?))).collect();
        let mut cursor = self.index.seek(&start);
        let found: Vec<_> = std::iter::from_fn(|| cursor.next())
            .take_while(|entry| range.contains(entry.key()))
            .filter_map(|entry| Some((entry.key(), entry.live_at(Revision(at))?)))
            .collect();
        assert_eq!(found, then, "at revision {at}");
        for (key, version) in then {
            assert_eq!(self.index.at(key, Revision(at)), Some(version));
        }
    }

    fn check(&self) {
        self.index.tree.check();
        let stats = self.index.stats();
        assert_eq!(stats.keys, self.keys.len());
        assert_eq!(stats.versions, self.keys.values().map(Vec::len).sum::<usize>());
        assert_eq!(stats.key_bytes, self.keys.keys().map(Vec::len).sum::<usize>());
    }
}

fn run(steps: &[Step]) {
    let mut model = Model::default();
    for step in steps {
        match *step {
            Step::Put(key) => model.put(&name(key)),
            Step::Delete(key) => model.delete(&[name(key)]),
            Step::DeleteRun(from, len) => {
                let mut keys: Vec<_> = (from..from.saturating_add(len)).map(name).collect();
                keys.sort();
                model.delete(&keys);
            }
            Step::Compact(per_mille, keys_max) => model.compact(per_mille, keys_max),
            Step::Look(a, b, per_mille) => model.look(a, b, per_mille),
        }
    }
    model.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    // A failure prints the steps that lead to it, shrunk to the fewest.
    #[test]
    fn few_keys_with_many_versions(steps in prop::collection::vec(step(40), 0..600)) {
        run(&steps);
    }

    #[test]
    fn many_keys(steps in prop::collection::vec(step(5000), 0..4000)) {
        run(&steps);
    }
}

/// Three levels deep, emptied again from the middle outwards.
#[test]
fn grows_and_shrinks_through_every_height() {
    let mut model = Model::default();
    let mut order: Vec<u16> = (0..20_000).collect();
    order.sort_by_key(|key| u32::from(*key).wrapping_mul(2_654_435_761));
    for key in &order {
        model.put(&name(*key));
    }
    model.check();
    assert!(
        matches!(&model.index.tree.root, Node::Branch(root) if matches!(root.children[0], Node::Branch(_)))
    );
    for run in order.chunks(1500) {
        model.delete(&run.iter().map(|key| name(*key)).collect::<Vec<_>>());
        model.put(b"/r/last");
        model.compact(1000, 700);
        model.check();
        model.look(3, 40_000, 1000);
    }
    assert!(matches!(model.index.tree.root, Node::Leaf(_)), "one key needs one leaf");
    assert_eq!(model.index.stats().keys, 1);
}

/// The newest version and the pointer to older ones must stay inline in a small entry.
#[test]
fn an_entry_is_56_bytes() {
    assert_eq!(size_of::<KeyEntry>(), 56);
}

/// Keys in ascending order, as a bulk load often has them, fill every leaf.
#[test]
fn ascending_keys_fill_leaves() {
    let mut index = KeyIndex::default();
    for i in 0..64_000i64 {
        let at = RecordRevision::first_of(Revision(i + 2));
        index.push(format!("/registry/{i:012}").as_bytes(), Version { at, created: at.main, version: 1 });
    }
    let without_keys = index.heap_bytes() - index.stats().key_bytes;
    assert!(without_keys < 64_000 * 68, "{without_keys} bytes for 64,000 keys");
}
