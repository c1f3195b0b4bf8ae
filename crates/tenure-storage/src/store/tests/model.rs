//! What the store must hold, as maps, and a random life that leads there.

use super::crash_disk::Random;
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use tenure_core::state::LeaseEntry;
use tenure_core::types::LeaseId;

/// Everything that was ever done to a store.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Batches, with indices from 1 on.
    pub batches: Vec<WriteBatch>,
    /// Records that were marked dead.
    pub dead: BTreeSet<RecordRevision>,
    /// The last compaction.
    pub compacted: i64,
    /// What every checkpoint made durable: its position on the disk when it came back, and its index.
    pub checkpoints: Vec<(usize, u64)>,
    revision: i64,
    live: BTreeSet<String>,
}

impl Model {
    pub fn new() -> Self {
        Self { revision: 1, checkpoints: vec![(0, 0)], ..Self::default() }
    }

    /// A next batch: puts and deletions of few keys, leases, or nothing.
    pub fn next_batch(&mut self, random: &mut Random) -> WriteBatch {
        let applied = self.batches.len() as u64 + 1;
        let mut records = Vec::new();
        let mut tables = Vec::new();
        match random.below(10) {
            0 => {}
            1 => {
                let id = LeaseId(random.below(5) as i64 - 2);
                let ttl_seconds = random.below(100) as i64;
                tables.push(TableChange::LeasePut(LeaseEntry { id, ttl_seconds, remaining_ttl_seconds: 0 }));
            }
            2 => tables.push(TableChange::LeaseDelete(LeaseId(random.below(5) as i64 - 2))),
            _ => records = self.next_records(random),
        }
        let batch = batch(applied, records, tables);
        self.batches.push(batch.clone());
        batch
    }

    fn next_records(&mut self, random: &mut Random) -> Vec<Record> {
        let count = random.below(3) + 1;
        let keys: BTreeSet<String> = (0..count).map(|_| format!("key{}", random.below(12))).collect();
        self.revision += 1;
        let mut records = Vec::new();
        for (sub, key) in keys.iter().enumerate() {
            let at = at(self.revision, sub as u32);
            if self.live.contains(key) && random.below(3) == 0 {
                self.live.remove(key);
                records.push(tombstone(at, key));
            } else {
                self.live.insert(key.clone());
                records.push(put(at, key, &vec![b'v'; random.below(120)]));
            }
        }
        records
    }

    /// Compacts at a random revision: a batch that says so, and the records that die by it (C3).
    pub fn compact(&mut self, random: &mut Random) -> Option<(WriteBatch, Vec<RecordRevision>)> {
        let span = self.revision - self.compacted;
        if span <= 0 {
            return None;
        }
        self.compacted += random.below(span as usize) as i64 + 1;
        let applied = self.batches.len() as u64 + 1;
        let change = TableChange::CompactRevision(Revision(self.compacted));
        let batch = batch(applied, Vec::new(), vec![change]);
        self.batches.push(batch.clone());
        let mut kept: BTreeMap<&str, &Record> = BTreeMap::new();
        let mut dead = Vec::new();
        let records = self.batches.iter().flat_map(|batch| &batch.records);
        for record in records.filter(|record| record.at().main.0 <= self.compacted) {
            let key = std::str::from_utf8(record.key.as_slice()).expect("a key of this test");
            dead.extend(kept.insert(key, record).map(Record::at));
        }
        let gone = kept
            .values()
            .filter(|record| record.version.is_tombstone() && record.at().main.0 < self.compacted);
        dead.extend(gone.map(|record| record.at()));
        dead.retain(|at| !self.dead.contains(at));
        // The versions of a key come together, the keys in any order.
        self.dead.extend(&dead);
        Some((batch, dead))
    }

    /// All records up to a log index.
    pub fn records(&self, applied: u64) -> impl Iterator<Item = &Record> {
        self.batches.iter().take(applied as usize).flat_map(|batch| &batch.records)
    }

    /// The records up to a log index that no compaction has made unreadable.
    pub fn live_records(&self, applied: u64) -> Vec<StoredRecord> {
        self.records(applied).filter(|record| !self.dead.contains(&record.at())).map(stored).collect()
    }

    /// The tables at a log index, as the store lists them.
    pub fn tables(&self, applied: u64) -> Vec<TableChange> {
        let mut leases = BTreeMap::new();
        let mut compacted = None;
        for change in self.batches.iter().take(applied as usize).flat_map(|batch| &batch.tables) {
            match change {
                TableChange::LeasePut(entry) => drop(leases.insert(entry.id, *entry)),
                TableChange::LeaseDelete(id) => drop(leases.remove(id)),
                TableChange::CompactRevision(_) => compacted = Some(change.clone()),
                other => unreachable!("{other:?} is not made here"),
            }
        }
        compacted.into_iter().chain(leases.into_values().map(TableChange::LeasePut)).collect()
    }

    /// Whether `scanned` is what a store at `applied` may hold: every live record, none that never was, and
    /// no key that has come back from the dead.
    pub fn check(&self, scanned: &[StoredRecord], applied: u64) -> Result<(), String> {
        let all: BTreeMap<_, _> = self.records(applied).map(|record| (record.at(), record)).collect();
        for record in scanned {
            match all.get(&record.at) {
                Some(model) if stored(model) == *record => {}
                other => return Err(format!("the store has {record:?}, the model {other:?}")),
            }
        }
        let has: BTreeSet<_> = scanned.iter().map(|record| record.at).collect();
        if let Some(missing) = self.live_records(applied).iter().find(|record| !has.contains(&record.at)) {
            return Err(format!("live record {} is missing", missing.at));
        }
        let mut newest: BTreeMap<&[u8], &Record> = BTreeMap::new();
        newest.extend(self.records(applied).map(|record| (record.key.as_slice(), record)));
        for record in scanned {
            let model = all[&record.at];
            let newest = newest[model.key.as_slice()];
            if !has.contains(&newest.at()) {
                return Err(format!(
                    "{:?} has come back: {} is there, {} is not",
                    model.key,
                    record.at,
                    newest.at()
                ));
            }
        }
        Ok(())
    }
}

/// One random step of a life, of a store on any disk. `position` says where the disk is.
pub fn step(store: &Store, model: &mut Model, random: &mut Random, position: impl Fn() -> usize) {
    match random.below(16) {
        0 => {
            let begun = store.checkpoint_begin();
            let applied = model.batches.len() as u64;
            assert_eq!(begun.applied(), LogIndex(applied));
            for _ in 0..random.below(4) {
                work(store, model, random);
                // One that is dropped leaves what it has begun with to the next.
                drop(store.checkpoint_begin());
            }
            assert_eq!(begun.run().expect("the checkpoint runs"), LogIndex(applied));
            model.checkpoints.push((position(), applied));
        }
        _ => work(store, model, random),
    }
}

/// One random step that is no checkpoint.
fn work(store: &Store, model: &mut Model, random: &mut Random) {
    match random.below(15) {
        1 => {
            if let Some((batch, mut dead)) = model.compact(random) {
                store.append(&batch).expect("it is appended");
                let cut = random.below(dead.len() + 1);
                dead.rotate_left(cut);
                store.mark_dead(&dead);
            }
        }
        2 | 3 => {
            store.reclaim_step().expect("it reclaims");
        }
        4 => {
            let batches: Vec<_> = (0..random.below(6)).map(|_| model.next_batch(random)).collect();
            store.append_all(&batches).expect("they are appended");
        }
        _ => store.append(&model.next_batch(random)).expect("it is appended"),
    }
}
