//! Taking up records that a store holds, many at a time.

use super::StateMachine;
use crate::types::{KvBytes, LeaseId, MalformedKv, RecordRevision, Revision, Version};
use std::cmp::Ordering;

/// Groups of keys that are at most so many are sorted by comparing them.
const COMPARED_MAX: usize = 48;
/// Steps of eight bytes that are taken before keys are compared; it bounds the recursion.
const STEPS_MAX: usize = 16;
/// Bytes of a key that are looked at in one step.
const HEAD_BYTES: usize = 8;

/// Records of a store on their way into a [`StateMachine`], in ascending order of their addresses. In the
/// order of their keys they are taken up several times faster: neighbours go to the same place of the key
/// index. So a run is filled and sorted, on any thread, and then loaded.
#[derive(Debug, Default)]
pub struct LoadRun {
    /// The keys, one after the other.
    keys: Vec<u8>,
    records: Vec<Loaded>,
}

/// A run in the order of its keys.
#[derive(Debug)]
pub struct SortedRun(LoadRun);

/// A record without its value. The length of the key is the distance to the next.
#[derive(Clone, Copy, Debug)]
struct Loaded {
    key_at: usize,
    version: Version,
    lease: Option<LeaseId>,
}

/// Bytes of a key as a number, and which record it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sorted {
    head: u64,
    record: u32,
}

impl LoadRun {
    /// Adds a record, which is above all before it. A run takes fewer than 2^32.
    ///
    /// # Errors
    /// [`MalformedKv`] if the bytes are not a pair: the store is damaged.
    pub fn push(&mut self, at: RecordRevision, tombstone: bool, kv: &KvBytes) -> Result<(), MalformedKv> {
        let view = kv.view()?;
        let (version, lease) = match tombstone {
            true => (Version { at, created: Revision(0), version: 0 }, None),
            false => {
                let created = Revision(view.create_revision);
                let lease = (view.lease != 0).then_some(LeaseId(view.lease));
                (Version { at, created, version: view.version }, lease)
            }
        };
        self.records.push(Loaded { key_at: self.keys.len(), version, lease });
        self.keys.extend_from_slice(&view.key);
        Ok(())
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of the keys.
    #[must_use]
    pub fn key_bytes(&self) -> usize {
        self.keys.len()
    }

    /// Puts the records in the order of their keys, those of one key in the order of their addresses.
    #[must_use]
    pub fn sorted(self) -> SortedRun {
        let order = self.order();
        let mut sorted =
            Self { keys: Vec::with_capacity(self.keys.len()), records: Vec::with_capacity(order.len()) };
        for one in order {
            let record = self.records[one.record as usize];
            sorted.records.push(Loaded { key_at: sorted.keys.len(), ..record });
            sorted.keys.extend_from_slice(self.key(one.record));
        }
        SortedRun(sorted)
    }

    fn order(&self) -> Vec<Sorted> {
        let mut order: Vec<Sorted> =
            (0..self.records.len() as u32).map(|record| Sorted { head: 0, record }).collect();
        self.sort_group(&mut order, 0, STEPS_MAX);
        order
    }

    fn key(&self, record: u32) -> &[u8] {
        let record = record as usize;
        let end = self.records.get(record + 1).map_or(self.keys.len(), |next| next.key_at);
        &self.keys[self.records[record].key_at..end]
    }

    /// Sorts keys that have their first `depth` bytes in common, where missing bytes count as zeros.
    fn sort_group(&self, group: &mut [Sorted], depth: usize, steps_left: usize) {
        if group.len() <= COMPARED_MAX || steps_left == 0 {
            return group.sort_unstable_by(|a, b| self.compare(a.record, b.record));
        }
        let depth = self.common(group, depth);
        for one in &mut *group {
            one.head = head(self.key(one.record), depth);
        }
        group.sort_unstable();
        for same in group.chunk_by_mut(|a, b| a.head == b.head) {
            if same.len() > 1 {
                self.sort_group(same, depth + HEAD_BYTES, steps_left - 1);
            }
        }
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        self.key(a).cmp(self.key(b)).then(a.cmp(&b))
    }

    /// Up to where the keys of the group are equal, which they are up to `depth`.
    fn common(&self, group: &[Sorted], depth: usize) -> usize {
        let first = tail(self.key(group[0].record), depth);
        let equal = |one: &Sorted, upto: usize| {
            let other = tail(self.key(one.record), depth);
            first[..upto].iter().zip(other).take_while(|(a, b)| a == b).count()
        };
        depth + group.iter().fold(first.len(), |upto, one| equal(one, upto))
    }
}

fn tail(key: &[u8], depth: usize) -> &[u8] {
    key.get(depth..).unwrap_or_default()
}

/// The eight bytes from `depth` on as a number that compares as they do.
fn head(key: &[u8], depth: usize) -> u64 {
    let tail = tail(key, depth);
    let count = tail.len().min(HEAD_BYTES);
    let mut bytes = [0; HEAD_BYTES];
    bytes[..count].copy_from_slice(&tail[..count]);
    u64::from_be_bytes(bytes)
}

impl StateMachine {
    /// Takes up the records of a run. Every record of a run is above those of the runs before it, and the tables
    /// have been taken up before the first.
    pub fn load_run(&mut self, run: &SortedRun) {
        let SortedRun(run) = run;
        for (at, record) in run.records.iter().enumerate() {
            self.load(run.key(at as u32), record.version, record.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run_of(keys: &[Vec<u8>]) -> LoadRun {
        let mut run = LoadRun::default();
        for (index, key) in keys.iter().enumerate() {
            let at = RecordRevision::first_of(Revision(index as i64 + 2));
            let version = Version { at, created: at.main, version: 1 };
            run.push(at, false, &KvBytes::encode(key, &version, b"value", None)).unwrap();
        }
        run
    }

    /// Keys of few letters, zeros among them, so that many are equal or begin alike.
    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let letter = prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(255)];
        let short = prop::collection::vec(letter.clone(), 1..12);
        let long = prop::collection::vec(letter, 0..6).prop_map(|end| [&[b'a'; 150][..], &end].concat());
        prop::collection::vec(prop_oneof![short, long], 0..250)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_run_is_in_the_order_of_keys_and_then_of_addresses(keys in keys()) {
            let run = run_of(&keys);
            let mut expected: Vec<(&[u8], u32)> =
                keys.iter().enumerate().map(|(index, key)| (&key[..], index as u32)).collect();
            expected.sort();
            let SortedRun(run) = run.sorted();
            let sorted: Vec<_> = (0..run.len() as u32)
                .map(|at| (run.key(at), run.records[at as usize].version.at.main.0 as u32 - 2))
                .collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
