//! Crashes: at every point between two operations on the disk, what comes back is a checkpoint.

use super::crash_disk::{CrashDisk, Operation, Random, after_crash};
use super::model::{Attempt, Model, step};
use super::*;

fn live(seed: u64, steps: usize) -> (CrashDisk, Model) {
    let mut random = Random::new(seed);
    let disk = CrashDisk::new();
    let mut model = Model::new();
    let (store, _) = try_open(Arc::new(disk.clone()), small()).expect("the store opens");
    for _ in 0..steps {
        step(&store, &mut model, &mut random, || disk.position()).expect("memory does not fail");
    }
    (disk, model)
}

/// Opens what a crash after the first `cut` operations left, and looks at it.
fn check_crash(journal: &[Operation], cut: usize, model: &Model, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let disk = after_crash(&journal[..cut], Path::new(DIR), &mut random);
    let (store, restored) = try_open(Arc::new(disk.clone()), small()).map_err(|error| error.to_string())?;
    let applied = restored.applied.0;
    let possible = model.possible(cut);
    if !possible.contains(&applied) {
        return Err(format!("it is at {applied}, and could be at one of {possible:?}"));
    }
    let scanned = everything(&store);
    model.check(&scanned, applied)?;
    if restored.records != scanned.len() as u64 || restored.tables != model.tables(applied) {
        return Err(format!("the tables or the count of {} records differ: {restored:?}", scanned.len()));
    }
    // The log gives the rest, and the store goes on as if nothing had been.
    store.append_all(&model.batches[applied as usize..]).map_err(|error| error.to_string())?;
    model.check(&everything(&store), model.batches.len() as u64)?;
    checkpoint(&store);
    drop(store);
    let (store, restored) = open(&disk, small());
    if restored.applied.0 != model.batches.len() as u64 {
        return Err(format!("after another checkpoint it is at {}", restored.applied));
    }
    model.check(&everything(&store), model.batches.len() as u64)
}

/// A life with many ends: the process is killed before a random operation, what it wrote is still in the page
/// cache, and another goes on from there.
fn live_and_be_killed(seed: u64, kills: usize) -> (CrashDisk, Model) {
    let mut random = Random::new(seed);
    let disk = CrashDisk::new();
    let mut model = Model::new();
    for _ in 0..kills {
        disk.fill_after(random.below(150));
        let begun = disk.position();
        let Ok((store, restored)) = try_open(Arc::new(disk.clone()), small()) else { continue };
        let applied = restored.applied.0;
        model.attempts.push(Attempt { begun, finished: Some(disk.position()), applied });
        let gone_on = store.append_all(&model.batches[applied as usize..]);
        store.mark_dead(&model.dead.iter().copied().collect::<Vec<_>>());
        let mut step = || step(&store, &mut model, &mut random, || disk.position());
        if gone_on.is_ok() {
            while step().is_ok() {}
        }
    }
    (disk, model)
}

#[test]
fn a_power_cut_after_kills_finds_what_the_last_process_relied_on() {
    for seed in 0..3 {
        let (disk, model) = live_and_be_killed(seed, 12);
        check_crashes(seed, &disk, &model);
    }
}

#[test]
fn a_store_that_was_made_by_a_process_that_was_killed_is_durable_once_it_is_opened() {
    let made = CrashDisk::new();
    drop(try_open(Arc::new(made.clone()), small()).expect("the store opens"));
    for room in 0..made.position() {
        let disk = CrashDisk::new();
        disk.fill_after(room);
        drop(try_open(Arc::new(disk.clone()), small()));
        disk.fill_after(usize::MAX);
        let (store, _) = try_open(Arc::new(disk.clone()), small()).expect("the store opens");
        let change = TableChange::CompactRevision(Revision(7));
        store.append(&batch(1, vec![], vec![change.clone()])).expect("it is appended");
        checkpoint(&store);
        for seed in 0..8 {
            let left = after_crash(&disk.journal(), Path::new(DIR), &mut Random::new(seed));
            let (_, restored) = open(&left, small());
            assert_eq!(restored.tables.first(), Some(&change), "killed at {room}, crash {seed}");
        }
    }
}

#[test]
fn after_a_crash_at_any_operation_the_store_is_at_a_checkpoint() {
    for seed in 0..3 {
        let (disk, model) = live(seed, 140);
        check_crashes(seed, &disk, &model);
    }
}

/// Crashes before and after every sync, and here and there between.
fn check_crashes(seed: u64, disk: &CrashDisk, model: &Model) {
    let journal = disk.journal();
    let synced = |at: &usize| matches!(journal[*at], Operation::SyncData { .. } | Operation::SyncDir { .. });
    let at_syncs = (0..journal.len()).filter(synced).flat_map(|at| [at, at + 1]);
    let between = (0..journal.len()).skip(seed as usize).step_by(17);
    for cut in at_syncs.chain(between) {
        let crash_seed = seed * 1_000_003 + cut as u64;
        let checked = check_crash(&journal, cut, model, crash_seed);
        checked.unwrap_or_else(|fault| panic!("life {seed}, cut {cut}, crash {crash_seed}: {fault}"));
    }
}

#[test]
fn a_full_disk_stops_the_store_and_loses_nothing() {
    let (disk, _) = live(77, 200);
    let operations = disk.position();
    for room in (0..operations).step_by(11) {
        let disk = CrashDisk::new();
        disk.fill_after(room);
        let mut model = Model::new();
        let stopped = live_until_full(&disk, &mut model);
        let error = stopped.unwrap_or_else(|| panic!("{room} operations were enough"));
        assert!(error.is_disk_full(), "room for {room}: {error}");
        assert!(
            error.to_string().contains("the disk is full: make room and start the member again"),
            "{error}"
        );
        check_crash(&disk.journal(), disk.position(), &model, room as u64)
            .unwrap_or_else(|fault| panic!("room for {room}: {fault}"));
    }
}

/// A plain life until the disk is full. Every checkpoint that came back is in the model.
fn live_until_full(disk: &CrashDisk, model: &mut Model) -> Option<StoreError> {
    let mut random = Random::new(77);
    let (store, _) = match try_open(Arc::new(disk.clone()), small()) {
        Ok(opened) => opened,
        Err(error) => return Some(error),
    };
    for round in 0..400 {
        let outcome = if round % 8 == 7 {
            let applied = model.batches.len() as u64;
            model.attempts.push(Attempt { begun: disk.position(), finished: None, applied });
            let outcome = store.checkpoint_begin().run();
            if outcome.is_ok() {
                model.finished(disk.position());
            }
            outcome.map(drop)
        } else {
            store.append(&model.next_batch(&mut random))
        };
        if let Err(error) = outcome {
            let refusals =
                [store.append(&batch(9999, vec![], vec![])).err(), store.checkpoint_begin().run().err()];
            for refusal in refusals {
                assert!(matches!(refusal, Some(StoreError::Stopped(_))), "{refusal:?}");
            }
            return Some(error);
        }
    }
    None
}

#[test]
fn the_same_life_writes_the_same_bytes() {
    let (first, _) = live(5, 200);
    let (second, _) = live(5, 200);
    assert!(first.journal() == second.journal(), "a simulation could not be repeated");
}
