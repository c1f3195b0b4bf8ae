//! Which watchers an event touches: single keys through a map, ranges through an interval index.

use std::collections::HashMap;
use tenure_core::types::{Key, KeyRange, RangeEnd};

/// A watcher in the hub's table.
pub type Slot = usize;

/// Ranges that were added since the last build are looked through one by one up to this number.
const ADDED_MIN: usize = 64;

/// An index from keys to the watchers whose ranges contain them.
///
/// Ranges lie in a vector ordered by start; `reach` is an implicit tree over it that holds the furthest end of each half, so
/// a look-up visits O(log n + matches) ranges. New ranges wait in `added` until they are worth a rebuild.
#[derive(Debug, Default)]
pub struct RangeIndex {
    single: HashMap<Key, Vec<Slot>>,
    built: Vec<Interval>,
    reach: Vec<Reach>,
    added: Vec<Interval>,
    gone: usize,
}

#[derive(Clone, Debug)]
struct Interval {
    start: Key,
    end: Reach,
    /// `None` once the watcher is gone; swept at the next build.
    slot: Option<Slot>,
}

/// Where a range stops; the order is that of the ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Before(Key),
    Open,
}

impl Reach {
    fn passes(&self, key: &[u8]) -> bool {
        match self {
            Reach::Before(end) => key < end.as_slice(),
            Reach::Open => true,
        }
    }
}

impl RangeIndex {
    /// Adds a watcher.
    pub fn insert(&mut self, range: &KeyRange, slot: Slot) {
        let end = match &range.end {
            RangeEnd::Single => return self.single.entry(range.start.clone()).or_default().push(slot),
            RangeEnd::Before(end) => Reach::Before(end.clone()),
            RangeEnd::Open => Reach::Open,
        };
        self.added.push(Interval { start: range.start.clone(), end, slot: Some(slot) });
        if self.added.len() > ADDED_MIN.max(self.built.len() / 8) {
            self.build();
        }
    }

    /// Removes a watcher that was added with this range.
    pub fn remove(&mut self, range: &KeyRange, slot: Slot) {
        if range.end == RangeEnd::Single {
            if let Some(slots) = self.single.get_mut(&range.start) {
                slots.retain(|other| *other != slot);
                if slots.is_empty() {
                    self.single.remove(&range.start);
                }
            }
            return;
        }
        if let Some(at) = self.added.iter().position(|interval| interval.slot == Some(slot)) {
            self.added.swap_remove(at);
            return;
        }
        let from = self.built.partition_point(|interval| interval.start < range.start);
        if let Some(interval) = self.built[from..].iter_mut().find(|interval| interval.slot == Some(slot)) {
            interval.slot = None;
            self.gone += 1;
            if self.gone > ADDED_MIN.max(self.built.len() / 2) {
                self.build();
            }
        }
    }

    /// Appends the watchers whose ranges contain `key`, in no particular order.
    pub fn matches(&self, key: &[u8], found: &mut Vec<Slot>) {
        if let Some(slots) = self.single.get(key) {
            found.extend_from_slice(slots);
        }
        self.search(0, self.built.len(), key, found);
        let hit = |interval: &&Interval| interval.start.as_slice() <= key && interval.end.passes(key);
        found.extend(self.added.iter().filter(hit).filter_map(|interval| interval.slot));
    }

    fn search(&self, from: usize, to: usize, key: &[u8], found: &mut Vec<Slot>) {
        if from >= to {
            return;
        }
        let mid = from + (to - from) / 2;
        // `reach[mid]` is the furthest end within [from, to): nothing here passes the key.
        if !self.reach[mid].passes(key) {
            return;
        }
        self.search(from, mid, key, found);
        let interval = &self.built[mid];
        if interval.start.as_slice() > key {
            return;
        }
        if interval.end.passes(key) {
            found.extend(interval.slot);
        }
        self.search(mid + 1, to, key, found);
    }

    fn build(&mut self) {
        self.built.append(&mut self.added);
        self.built.retain(|interval| interval.slot.is_some());
        self.built.sort_by(|a, b| a.start.cmp(&b.start));
        self.gone = 0;
        self.reach = self.built.iter().map(|interval| interval.end.clone()).collect();
        self.build_reach(0, self.built.len());
    }

    fn build_reach(&mut self, from: usize, to: usize) -> Option<Reach> {
        if from >= to {
            return None;
        }
        let mid = from + (to - from) / 2;
        let left = self.build_reach(from, mid);
        let right = self.build_reach(mid + 1, to);
        let furthest = [Some(self.built[mid].end.clone()), left, right].into_iter().flatten().max()?;
        self.reach[mid] = furthest.clone();
        Some(furthest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn random_key(rng: &mut StdRng) -> Bytes {
        let len = rng.random_range(1..4);
        (0..len).map(|_| rng.random_range(b'a'..=b'd')).collect::<Vec<u8>>().into()
    }

    fn random_range(rng: &mut StdRng) -> KeyRange {
        let start = random_key(rng);
        let end = match rng.random_range(0..4) {
            0 => Bytes::new(),
            1 => Bytes::from_static(&[0]),
            _ => random_key(rng),
        };
        KeyRange::from_wire(start, end)
    }

    #[test]
    fn finds_what_a_look_at_every_range_finds() {
        for seed in 0..40 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut index = RangeIndex::default();
            let mut model: Vec<(Slot, KeyRange)> = Vec::new();
            for slot in 0..600 {
                if rng.random_bool(0.3) && !model.is_empty() {
                    let (gone, range) = model.swap_remove(rng.random_range(0..model.len()));
                    index.remove(&range, gone);
                } else {
                    let range = random_range(&mut rng);
                    index.insert(&range, slot);
                    model.push((slot, range));
                }
                let key = random_key(&mut rng);
                let mut found = Vec::new();
                index.matches(&key, &mut found);
                found.sort_unstable();
                let mut expected: Vec<Slot> =
                    model.iter().filter(|(_, range)| range.contains(&key)).map(|(slot, _)| *slot).collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "seed {seed}, key {key:?}");
            }
        }
    }
}
