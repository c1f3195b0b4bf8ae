//! Random lives beside a model, with restarts that lose what no checkpoint had.

use super::crash_disk::Random;
use super::model::{Attempt, Model, step};
use super::*;
use proptest::prelude::*;
use tenure_core::types::{RecordSource, SourceError};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_store_holds_what_the_model_holds(seed in any::<u64>(), recent_bytes_max in prop_oneof![Just(0), Just(2000)]) {
        let options = StoreOptions { recent_bytes_max, ..small() };
        let mut random = Random::new(seed);
        let disk = MemoryDisk::new();
        let mut model = Model::new();
        let mut store = open(&disk, options).0;
        for _ in 0..150 {
            match random.below(30) {
                0 => store = reopen(store, &disk, options, &model)?,
                1 => look(&store, &model, &mut random)?,
                2 => {
                    let given_back = store.defragment().expect("it defragments");
                    let sizes = store.sizes();
                    prop_assert_eq!(sizes.total_bytes, sizes.live_bytes, "given back {}", given_back);
                    let applied = model.batches.len() as u64;
                    model.attempts.push(Attempt { begun: 0, finished: Some(0), applied });
                }
                _ => step(&store, &mut model, &mut random, || 0).expect("memory does not fail"),
            }
        }
        look(&store, &model, &mut random)?;
    }
}

/// Loses what came after the last checkpoint, and gets it back as the log would give it.
fn reopen(
    store: Store,
    disk: &MemoryDisk,
    options: StoreOptions,
    model: &Model,
) -> Result<Store, TestCaseError> {
    drop(store);
    let (store, restored) = open(disk, options);
    let applied = restored.applied.0;
    prop_assert_eq!(applied, model.durable());
    prop_assert_eq!(&restored.tables, &model.tables(applied));
    let scanned = everything(&store);
    prop_assert_eq!(restored.records, scanned.len() as u64);
    model.check(&scanned, applied).map_err(TestCaseError::fail)?;
    store.append_all(&model.batches[applied as usize..]).expect("the log fits");
    // As the compaction of the key index does after a restart: what it finds dead is marked again.
    store.mark_dead(&model.dead.iter().copied().collect::<Vec<_>>());
    Ok(store)
}

/// Compares everything that can be asked for.
fn look(store: &Store, model: &Model, random: &mut Random) -> Result<(), TestCaseError> {
    let applied = model.batches.len() as u64;
    let live = model.live_records(applied);
    prop_assert_eq!(&everything(store), &live);
    for record in &live {
        prop_assert_eq!(&store.record(record.at).expect("it lives"), &record.kv);
    }
    for at in &model.dead {
        match store.record(*at) {
            Ok(_) | Err(SourceError::Gone(_)) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
    let (from, to) = (random.below(60) as i64, random.below(60) as i64);
    let part: Vec<_> =
        store.scan(at(from, 1), Revision(to)).map(|record| record.expect("it reads")).collect();
    let inside = |record: &&StoredRecord| record.at >= at(from, 1) && record.at.main.0 <= to;
    prop_assert_eq!(part, live.iter().filter(inside).cloned().collect::<Vec<_>>());
    let page: Vec<_> = live.iter().filter(|_| random.below(2) == 0).collect();
    let addresses: Vec<_> = page.iter().rev().map(|record| record.at).collect();
    let answers = store.records(&addresses).expect("they live");
    prop_assert_eq!(answers, page.iter().rev().map(|record| record.kv.clone()).collect::<Vec<_>>());
    Ok(())
}
