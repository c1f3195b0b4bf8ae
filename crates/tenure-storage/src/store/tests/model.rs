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
    /// Every attempt to make something durable, in order.
    pub attempts: Vec<Attempt>,
    revision: i64,
    live: BTreeSet<String>,
}

/// A checkpoint, or an opened store, which makes durable what it finds.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Where the disk was when it began.
    pub begun: usize,
    /// Where the disk was when it came back, if it did.
    pub finished: Option<usize>,
    /// The index.
    pub applied: u64,
}

impl Model {
    pub fn new() -> Self {
        let fresh = Attempt { begun: 0, finished: Some(0), applied: 0 };
        Self { revision: 1, attempts: vec![fresh], ..Self::default() }
    }

    /// The indices at which a store can be after a crash at the position `cut`.
    pub fn possible(&self, cut: usize) -> Vec<u64> {
        let is_finished = |one: &Attempt| one.finished.is_some_and(|finished| finished <= cut);
        let last = self.attempts.iter().rposition(is_finished).expect("the first is finished");
        let later = self.attempts[last + 1..].iter().filter(|one| one.begun <= cut);
        std::iter::once(&self.attempts[last]).chain(later).map(|one| one.applied).collect()
    }

    /// The index of the last attempt that came back.
    pub fn durable(&self) -> u64 {
        self.possible(usize::MAX)[0]
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

    /// The last attempt came back, at a position of the disk.
    pub fn finished(&mut self, position: usize) {
        self.attempts.last_mut().expect("there is one").finished = Some(position);
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
pub fn step(
    store: &Store,
    model: &mut Model,
    random: &mut Random,
    position: impl Fn() -> usize,
) -> Result<(), StoreError> {
    match random.below(16) {
        0 => {
            let checkpoint = store.checkpoint_begin();
            let applied = model.batches.len() as u64;
            assert_eq!(checkpoint.applied(), LogIndex(applied));
            for _ in 0..random.below(4) {
                work(store, model, random)?;
                // One that is dropped leaves what it has begun with to the next.
                drop(store.checkpoint_begin());
            }
            let begun = position();
            model.attempts.push(Attempt { begun, finished: None, applied });
            assert_eq!(checkpoint.run()?, LogIndex(applied));
            model.finished(position());
        }
        _ => work(store, model, random)?,
    }
    Ok(())
}

/// One random step that is no checkpoint.
fn work(store: &Store, model: &mut Model, random: &mut Random) -> Result<(), StoreError> {
    match random.below(15) {
        1 => {
            if let Some((batch, mut dead)) = model.compact(random) {
                store.append(&batch)?;
                let cut = random.below(dead.len() + 1);
                dead.rotate_left(cut);
                store.mark_dead(&dead);
            }
        }
        2 | 3 => {
            store.reclaim_step()?;
        }
        4 => {
            let batches: Vec<_> = (0..random.below(6)).map(|_| model.next_batch(random)).collect();
            store.append_all(&batches)?;
        }
        _ => store.append(&model.next_batch(random))?,
    }
    Ok(())
}
