//! Appending, reading, checkpoints, opening.

use super::*;
use tenure_core::types::{RecordSource, SourceError};

#[test]
fn a_record_is_readable_once_appended_and_durable_once_checkpointed() {
    let disk = MemoryDisk::new();
    let (store, restored) = open(&disk, small());
    assert_eq!((restored.applied, restored.records, restored.last), (LogIndex(0), 0, None));
    let first = put(at(2, 0), "a", b"1");
    store.append(&batch(1, vec![first.clone()], vec![])).unwrap();
    assert_eq!(store.record(at(2, 0)).unwrap(), first.kv);
    assert_eq!(checkpoint(&store), LogIndex(1));
    let second = put(at(3, 0), "b", b"2");
    store.append(&batch(2, vec![second.clone()], vec![])).unwrap();
    assert_eq!(everything(&store), [stored(&first), stored(&second)]);
    drop(store);

    let (store, restored) = open(&disk, small());
    assert_eq!((restored.applied, restored.term, restored.records), (LogIndex(1), Term(3), 1));
    assert_eq!(everything(&store), [stored(&first)], "what is newer than the checkpoint comes from the log");
    assert!(matches!(store.record(at(3, 0)), Err(SourceError::Gone(_))));
    let file = disk.open(&Path::new(DIR).join("0000000000000000.rev")).unwrap();
    assert_eq!(file.len().unwrap(), 32 + 16 + first.kv.0.len() as u64, "the file is cut");
    store.append(&batch(2, vec![second.clone()], vec![])).unwrap();
    assert_eq!(everything(&store), [stored(&first), stored(&second)]);
}

#[test]
fn records_spread_over_segments_and_are_found_one_by_one_and_by_the_page() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, small());
    let mut records = Vec::new();
    for main in 2..200 {
        let of_revision: Vec<_> = (0..main as u32 % 4 + 1)
            .map(|sub| put(at(main, sub), &format!("k{main}.{sub}"), &[7; 40]))
            .collect();
        store.append(&batch(main as u64, of_revision.clone(), vec![])).unwrap();
        records.extend(of_revision);
    }
    records.push(put(at(200, 0), "long", &[1; 5000]));
    records.push(tombstone(at(200, 1), "k3.0"));
    store.append(&batch(200, records[records.len() - 2..].to_vec(), vec![])).unwrap();
    for reopened in [false, true] {
        let store = if reopened {
            checkpoint(&store);
            open(&disk, small()).0
        } else {
            store.clone()
        };
        for record in &records {
            assert_eq!(store.record(record.at()).unwrap(), record.kv);
        }
        let page: Vec<_> = records.iter().rev().step_by(3).map(Record::at).collect();
        let answers = store.records(&page).unwrap();
        let expected: Vec<_> = records.iter().rev().step_by(3).map(|record| record.kv.clone()).collect();
        assert_eq!(answers, expected);
        assert!(matches!(store.record(at(2, 9)), Err(SourceError::Gone(_))));
        assert!(
            matches!(store.records(&[at(2, 0), at(1, 0)]), Err(SourceError::Gone(gone)) if gone == at(1, 0))
        );
        assert_eq!(everything(&store), records.iter().map(stored).collect::<Vec<_>>());
        let part: Vec<_> = store.scan(at(50, 1), Revision(60)).map(Result::unwrap).collect();
        let expected = records.iter().filter(|record| record.at() >= at(50, 1) && record.at().main.0 <= 60);
        assert_eq!(part, expected.map(stored).collect::<Vec<_>>());
    }
}
