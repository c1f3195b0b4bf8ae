//! Files that are not what was written.

use super::crash_disk::Random;
use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tenure_core::state::LeaseEntry;
use tenure_core::types::LeaseId;

/// A store of several sealed segments, an open one, dead records and leases.
fn filled() -> (MemoryDisk, Vec<StoredRecord>) {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, small());
    for main in 2..40 {
        let lease = LeaseEntry { id: LeaseId(main), ttl_seconds: 60, remaining_ttl_seconds: 0 };
        let records = vec![put(at(main, 0), &format!("key{main}"), &[main as u8; 60])];
        store.append(&batch(main as u64, records, vec![TableChange::LeasePut(lease)])).unwrap();
    }
    store.mark_dead(&[at(3, 0), at(4, 0)]);
    checkpoint(&store);
    let records = everything(&store);
    (disk, records)
}

fn copy_of(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    copy.create_dir_all(Path::new(DIR)).unwrap();
    for name in disk.list(Path::new(DIR)).unwrap() {
        let path = Path::new(DIR).join(name);
        let file = disk.open(&path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        copy.create(&path).unwrap().write_all_at(&bytes, 0).unwrap();
    }
    copy
}

fn flip(disk: &MemoryDisk, name: &str, offset: u64, bit: u8) {
    let file = disk.open(&Path::new(DIR).join(name)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], offset).unwrap();
}

fn read_all(disk: &MemoryDisk) -> Result<(Restored, Vec<StoredRecord>), StoreError> {
    let (store, restored) = try_open(Arc::new(disk.clone()), small())?;
    let records = store.scan(RecordRevision::default(), Revision(i64::MAX)).collect::<Result<_, _>>()?;
    Ok((restored, records))
}

#[test]
fn a_flipped_bit_in_a_segment_is_found_and_the_file_is_named() {
    let (disk, _) = filled();
    let mut random = Random::new(1);
    let names = disk.list(Path::new(DIR)).unwrap();
    let segments: Vec<_> = names.iter().filter(|name| name.ends_with(".rev")).collect();
    assert!(segments.len() > 2, "{segments:?}");
    for name in segments {
        let bytes = disk.open(&Path::new(DIR).join(name)).unwrap().len().unwrap();
        for offset in 0..bytes {
            let copy = copy_of(&disk);
            flip(&copy, name, offset, random.below(8) as u8);
            let error = match read_all(&copy) {
                Err(error) => error,
                // What is dead is not read, except by the pass over the file that takes records again.
                Ok(_) if name.starts_with("0000000000000000.") && in_dead_record(offset) => continue,
                Ok(_) => panic!("byte {offset} of {name} is not looked at"),
            };
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(name.as_str()) && text.contains("is damaged at byte"), "{text}");
        }
    }
}

/// Where records 3.0 and 4.0 are in the first segment: each record is as long as the first, after the header.
fn in_dead_record(offset: u64) -> bool {
    let record = 16 + put(at(2, 0), "key2", &[2; 60]).kv.0.len() as u64;
    (32 + record..32 + 3 * record).contains(&offset)
}

#[test]
fn a_flipped_bit_in_the_tables_is_found_or_changes_nothing() {
    let (disk, records) = filled();
    let (restored, _) = read_all(&copy_of(&disk)).unwrap();
    let bytes = disk.open(&Path::new(DIR).join("tables.redb")).unwrap().len().unwrap();
    let mut random = Random::new(2);
    let mut found = 0;
    for seed in 0..400 {
        let offset = if seed < 200 { random.below(8192) } else { random.below(bytes as usize) };
        let copy = copy_of(&disk);
        flip(&copy, "tables.redb", offset as u64, random.below(8) as u8);
        let outcome = catch_unwind(AssertUnwindSafe(|| read_all(&copy)));
        match outcome.unwrap_or_else(|_| panic!("byte {offset} makes it panic")) {
            Ok((other, others)) => {
                assert_eq!(
                    (other.applied, &other.tables),
                    (restored.applied, &restored.tables),
                    "byte {offset}"
                );
                assert_eq!(others, records, "byte {offset}");
            }
            Err(StoreError::Damaged { path, .. }) => {
                assert!(path.ends_with("tables.redb"), "{path:?}");
                found += 1;
            }
            Err(error) => panic!("byte {offset}: {error}"),
        }
    }
    assert!(found > 0, "no flipped bit mattered");
}

#[test]
fn missing_and_cut_files_are_damage_and_strange_files_are_left_alone() {
    let (disk, records) = filled();
    let first = Path::new(DIR).join("0000000000000000.rev");
    let last = disk.list(Path::new(DIR)).unwrap().into_iter().rfind(|name| name.ends_with(".rev")).unwrap();

    let copy = copy_of(&disk);
    copy.remove(&first).unwrap();
    assert!(read_all(&copy).unwrap_err().to_string().contains("0000000000000000.rev"));

    for name in ["0000000000000000.rev", &last] {
        let copy = copy_of(&disk);
        let file = copy.open(&Path::new(DIR).join(name)).unwrap();
        file.set_len(file.len().unwrap() - 1).unwrap();
        let error = read_all(&copy).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    let copy = copy_of(&disk);
    copy.remove(&Path::new(DIR).join("tables.redb")).unwrap();
    let error = read_all(&copy).unwrap_err().to_string();
    assert!(error.contains("tables.redb") && error.contains("missing"), "{error}");

    let copy = copy_of(&disk);
    for name in ["notes.txt", "0000000000000abc.rev", "tables.redb.new"] {
        copy.create(&Path::new(DIR).join(name)).unwrap().write_all_at(b"?", 0).unwrap();
    }
    assert_eq!(read_all(&copy).unwrap().1, records);
    let names = copy.list(Path::new(DIR)).unwrap();
    assert!(names.contains(&"notes.txt".to_string()), "{names:?}");
    assert!(!names.contains(&"0000000000000abc.rev".to_string()), "{names:?}");
    assert!(!names.contains(&"tables.redb.new".to_string()), "{names:?}");
}

#[test]
fn a_damaged_record_stops_the_store_when_it_is_read() {
    let (disk, _) = filled();
    let (store, _) = open(&disk, small());
    flip(&disk, "0000000000000000.rev", 60, 3);
    let error = tenure_core::types::RecordSource::record(&store, at(2, 0)).unwrap_err().to_string();
    assert!(
        error.contains("member/store/0000000000000000.rev is damaged at byte 32: the checksum"),
        "{error}"
    );
    let refusal = store.append(&batch(1000, vec![], vec![])).unwrap_err().to_string();
    assert!(
        refusal.contains("has stopped because of an earlier error") && refusal.contains("byte 32"),
        "{refusal}"
    );
}

#[test]
fn what_is_not_in_order_is_refused() {
    let disk = MemoryDisk::new();
    for (applied, main, wanted) in [(5, 9, "log entry 5"), (6, 8, "record 8.0")] {
        let (store, _) = open(&disk, small());
        store.append(&batch(5, vec![put(at(8, 0), "a", b"")], vec![])).unwrap();
        let error = store.append(&batch(applied, vec![put(at(main, 0), "b", b"")], vec![])).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(matches!(store.append(&batch(9, vec![], vec![])), Err(StoreError::Stopped(_))));
    }
}
