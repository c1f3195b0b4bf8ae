//! Room comes back, and nothing else goes.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tenure_core::types::{RecordSource, SourceError};

/// Revisions 2 to 201, one key each.
fn filled() -> (MemoryDisk, Store, Vec<Record>) {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, small());
    let records: Vec<_> = (2..202).map(|main| put(at(main, 0), &format!("key{main}"), &[7; 60])).collect();
    for record in &records {
        store.append(&batch(record.at().main.0 as u64, vec![record.clone()], vec![])).unwrap();
    }
    (disk, store, records)
}

fn segment_files(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.ends_with(".rev"));
    names
}

fn bytes_of(disk: &MemoryDisk, names: &[String]) -> u64 {
    names.iter().map(|name| disk.open(&Path::new(DIR).join(name)).unwrap().len().unwrap()).sum()
}

fn file_bytes(disk: &MemoryDisk) -> u64 {
    bytes_of(disk, &disk.list(Path::new(DIR)).unwrap())
}

fn segment_file_bytes(disk: &MemoryDisk) -> u64 {
    bytes_of(disk, &segment_files(disk))
}

fn reclaim_all(store: &Store) -> usize {
    let mut steps = 0;
    while store.reclaim_step().unwrap() != ReclaimProgress::Idle {
        steps += 1;
    }
    steps
}

fn dead(records: &[Record], is_dead: impl Fn(i64) -> bool) -> Vec<RecordRevision> {
    records.iter().map(Record::at).filter(|at| is_dead(at.main.0)).collect()
}

#[test]
fn nothing_is_taken_before_a_checkpoint_knows_it_dead() {
    let (_, store, records) = filled();
    checkpoint(&store);
    let doomed = dead(&records, |main| main < 100);
    store.mark_dead(&doomed);
    assert_eq!(reclaim_all(&store), 0);
    assert!(store.record(at(2, 0)).is_ok());
    checkpoint(&store);
    assert!(reclaim_all(&store) > 0);
    assert!(matches!(store.record(at(2, 0)), Err(SourceError::Gone(_))));
}

#[test]
fn reclaim_keeps_exactly_what_lives_and_the_sizes_say_so() {
    let (disk, store, records) = filled();
    checkpoint(&store);
    let files = segment_files(&disk).len();
    let is_dead = |main: i64| main < 60 || (main < 150 && main % 3 != 0);
    let segment_bytes = segment_file_bytes(&disk);
    let before = store.sizes();
    assert_eq!((before.total_bytes, before.live_bytes), (file_bytes(&disk), file_bytes(&disk)));
    store.mark_dead(&dead(&records, is_dead));
    store.mark_dead(&dead(&records, is_dead));
    let marked = store.sizes();
    assert_eq!(marked.total_bytes, before.total_bytes);
    let doomed = records.iter().filter(|record| is_dead(record.at().main.0));
    let doomed_bytes: u64 = doomed.map(|record| 16 + record.kv.0.len() as u64).sum();
    assert_eq!(marked.live_bytes, before.live_bytes - doomed_bytes, "a record dies once");
    checkpoint(&store);
    assert!(reclaim_all(&store) > 5);
    let live: Vec<_> = records.iter().filter(|record| !is_dead(record.at().main.0)).map(stored).collect();
    assert_eq!(everything(&store), live);
    assert_eq!(segment_files(&disk).len(), files - 5, "five segments hold only revisions below 60");
    assert_eq!(store.sizes().total_bytes, file_bytes(&disk));
    // With every dead record of a sealed segment goes its row of the table, with a segment its header and
    // trailer.
    let doomed_count = records.iter().filter(|record| is_dead(record.at().main.0)).count() as u64;
    let expected = segment_bytes - doomed_bytes - 12 * doomed_count - 5 * (32 + 32);
    assert_eq!(segment_file_bytes(&disk), expected);
    drop(store);
    let (store, restored) = open(&disk, small());
    assert_eq!((everything(&store), restored.records), (live.clone(), live.len() as u64));
    assert_eq!(store.sizes().total_bytes, file_bytes(&disk));
}

#[test]
fn what_little_lives_in_many_segments_comes_together_in_few() {
    let (disk, store, records) = filled();
    store.mark_dead(&dead(&records, |main| main % 20 != 0));
    checkpoint(&store);
    reclaim_all(&store);
    // Ten records of about 100 bytes fit in one segment; the last, open one is not touched.
    assert!(segment_files(&disk).len() <= 9, "{:?}", segment_files(&disk));
    let live: Vec<_> = records.iter().filter(|record| record.at().main.0 % 20 == 0).map(Record::at).collect();
    let scanned: Vec<_> = everything(&store).into_iter().map(|record| record.at).collect();
    assert_eq!(live, scanned.iter().copied().filter(|at| at.main.0 % 20 == 0).collect::<Vec<_>>());
}

#[test]
fn defragment_takes_every_dead_record_out_of_the_open_segment_too() {
    let (disk, store, records) = filled();
    store.mark_dead(&dead(&records, |main| main % 10 == 1));
    let before = file_bytes(&disk);
    let given_back = store.defragment().unwrap();
    assert!(given_back > 0 && file_bytes(&disk) < before, "{given_back}");
    assert_eq!(store.sizes().total_bytes, store.sizes().live_bytes);
    let live: Vec<_> = records.iter().filter(|record| record.at().main.0 % 10 != 1).map(stored).collect();
    assert_eq!(everything(&store), live);
    let files = segment_files(&disk);
    store.defragment().unwrap();
    assert_eq!(segment_files(&disk), files, "there is nothing left to do");
    store.append(&batch(500, vec![put(at(500, 0), "new", b"")], vec![])).unwrap();
    checkpoint(&store);
    assert_eq!(everything(&open(&disk, small()).0).len(), live.len() + 1);
}

#[test]
fn a_scan_returns_what_was_there_when_it_began() {
    let (_, store, records) = filled();
    checkpoint(&store);
    let mut scan = store.scan(RecordRevision::default(), Revision(i64::MAX));
    let first = scan.next().unwrap().unwrap();
    store.mark_dead(&dead(&records, |main| main % 5 != 0));
    store.append(&batch(900, vec![put(at(900, 0), "later", b"")], vec![])).unwrap();
    checkpoint(&store);
    assert!(reclaim_all(&store) > 0);
    let all: Vec<_> = std::iter::once(first).chain(scan.map(Result::unwrap)).collect();
    assert_eq!(all, records.iter().map(stored).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_that_began_before_a_reclaim_brings_nothing_back() {
    let (disk, store, records) = filled();
    store.mark_dead(&dead(&records, |main| main < 100));
    checkpoint(&store);
    store.mark_dead(&dead(&records, |main| main < 150));
    let begun = store.checkpoint_begin();
    let later = store.checkpoint_begin();
    assert!(reclaim_all(&store) > 0);
    assert_eq!(later.run().unwrap(), LogIndex(201));
    assert_eq!(begun.run().unwrap(), LogIndex(201), "one that was overtaken has nothing to do");
    drop(store);
    let (store, restored) = open(&disk, small());
    let scanned: Vec<_> = everything(&store).into_iter().map(|record| record.at.main.0).collect();
    assert!((150..202).all(|main| scanned.contains(&main)), "{scanned:?}");
    assert_eq!(restored.records, scanned.len() as u64);
    assert!(scanned.iter().all(|main| *main >= 100), "{scanned:?}");
}

#[test]
fn readers_and_a_writer_go_on_while_room_is_given_back() {
    let (_, store, records) = filled();
    let live: Vec<_> = records.iter().filter(|record| record.at().main.0 % 4 == 0).collect();
    let done = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let addresses: Vec<_> = live.iter().map(|record| record.at()).collect();
                while !done.load(Ordering::SeqCst) {
                    for record in &live {
                        assert_eq!(store.record(record.at()).unwrap(), record.kv);
                    }
                    let page = store.records(&addresses).unwrap();
                    assert!(page.iter().zip(&live).all(|(kv, record)| *kv == record.kv));
                    let scanned = everything(&store);
                    let found: Vec<_> = scanned.iter().filter(|record| record.at.main.0 % 4 == 0).collect();
                    assert!(found.len() >= live.len());
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let doomed = dead(&records, |main| main % 4 != 0);
        for (next, step) in (202..).zip(doomed.chunks(7)) {
            store.mark_dead(step);
            store.append(&batch(next, vec![put(at(next as i64, 0), "more", &[1; 50])], vec![])).unwrap();
            checkpoint(&store);
            reclaim_all(&store);
        }
        while rounds.load(Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(live.iter().all(|record| store.record(record.at()).unwrap() == record.kv));
}

#[test]
fn checkpoints_that_run_in_another_order_than_they_began_do_not_unmark_the_dead() {
    let (disk, store, records) = filled();
    store.append(&batch(202, vec![tombstone(at(202, 0), "key3")], vec![])).unwrap();
    (203..240).for_each(|main| {
        let record = put(at(main, 0), &format!("key{main}"), &[7; 60]);
        store.append(&batch(main as u64, vec![record], vec![])).unwrap();
    });
    checkpoint(&store);
    // The first segment stays, with one put in it that is dead; the tombstone of that put goes with its
    // segment.
    store.mark_dead(&[at(2, 0)]);
    let first = store.checkpoint_begin();
    store.mark_dead(&dead(&records, |main| main == 3 || main > 180));
    store.mark_dead(&(202..220).map(|main| at(main, 0)).collect::<Vec<_>>());
    store.append(&batch(240, vec![], vec![])).unwrap();
    let second = store.checkpoint_begin();
    assert_eq!(second.run().unwrap(), LogIndex(240));
    reclaim_all(&store);
    assert!(matches!(store.record(at(202, 0)), Err(SourceError::Gone(_))));
    assert_eq!(first.run().unwrap(), LogIndex(240));
    drop(store);
    let (store, restored) = open(&disk, small());
    assert_eq!(restored.applied, LogIndex(240));
    assert!(everything(&store).iter().all(|record| record.at != at(3, 0)), "the put has come back");
}

#[test]
fn a_rewrite_takes_only_what_a_checkpoint_knows_dead() {
    let (disk, store, _) = filled();
    let other = put(at(202, 0), "other", &[7; 60]);
    store.append(&batch(202, vec![other, tombstone(at(202, 1), "key3")], vec![])).unwrap();
    (203..240).for_each(|main| {
        let record = put(at(main, 0), &format!("key{main}"), &[7; 60]);
        store.append(&batch(main as u64, vec![record], vec![])).unwrap();
    });
    // The segment of the tombstone is due for a rewrite when the tombstone dies, too late for the checkpoint.
    store.mark_dead(
        &(190..240).filter(|main| main % 4 != 0 && *main != 202).map(|main| at(main, 0)).collect::<Vec<_>>(),
    );
    checkpoint(&store);
    store.mark_dead(&[at(3, 0), at(202, 1)]);
    assert!(reclaim_all(&store) > 0);
    let dead_bytes = store.sizes().total_bytes - store.sizes().live_bytes;
    assert!(dead_bytes > 0, "the marks went with the rewrite");
    drop(store);
    let scanned: Vec<_> = everything(&open(&disk, small()).0).into_iter().map(|record| record.at).collect();
    assert!(scanned.contains(&at(3, 0)) && scanned.contains(&at(202, 1)), "{scanned:?}");
}
