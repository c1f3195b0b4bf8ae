//! What the log promises: everything synced is read back, nothing else than what was written is ever read, and what a crash
//! leaves is told from damage.

mod damage;
mod failing;
mod golden;
mod installed;
mod model;

use super::*;
use crate::disk::MemoryDisk;
use bytes::Bytes;
use tenure_core::types::EntryKind;

const METADATA: Metadata =
    Metadata { member: MemberId(0x8e9e_05c5_2164_694d), cluster: ClusterId(0xcdf8_1818_e32b_ad4e) };
const SMALL: WalOptions = WalOptions { segment_bytes: 4096 };

fn dir() -> &'static Path {
    Path::new("wal")
}

fn normal(index: u64, term: u64, data: impl Into<Bytes>) -> LogEntry {
    LogEntry { index: LogIndex(index), term: Term(term), kind: EntryKind::Normal, data: data.into() }
}

/// Bytes that depend on the seed and have no zeros.
fn filler(seed: u64, len: usize) -> Bytes {
    (0..len as u64).map(|place| ((seed.wrapping_mul(31) + place.wrapping_mul(17)) % 255) as u8 + 1).collect()
}

fn state(term: u64, commit: u64) -> Option<HardState> {
    Some(HardState { term: Term(term), vote: Some(METADATA.member), commit: LogIndex(commit) })
}

fn create(disk: &MemoryDisk, options: WalOptions) -> Wal {
    Wal::create(Arc::new(disk.clone()), dir(), METADATA, options).expect("a new log")
}

fn open(disk: &MemoryDisk, options: WalOptions) -> Result<(Wal, Replay), WalError> {
    Wal::open(Arc::new(disk.clone()), dir(), LogIndex(0), options)
}

/// A copy of everything on the disk, with no locks held.
fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    copy.create_dir_all(dir()).unwrap();
    for name in disk.list(dir()).unwrap() {
        let bytes = content(disk, &name);
        put_content(&copy, &name, &bytes);
    }
    copy
}

fn content(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    read_whole(&*disk.open(&dir().join(name)).unwrap()).unwrap()
}

fn put_content(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    let path = dir().join(name);
    if disk.exists(&path).unwrap() {
        disk.remove(&path).unwrap();
    }
    disk.create(&path).unwrap().write_all_at(bytes, 0).unwrap();
}

#[test]
fn a_new_log_is_empty_and_says_whose_it_is() {
    let disk = MemoryDisk::new();
    assert!(!exists(&disk, dir()).unwrap());
    assert!(matches!(open(&disk, SMALL), Err(WalError::Missing { .. })));
    let wal = create(&disk, SMALL);
    assert!(exists(&disk, dir()).unwrap());
    assert_eq!(disk.list(dir()).unwrap(), ["0000000000000000-0000000000000000.wal"]);
    assert_eq!(disk.list(Path::new("")).unwrap(), ["wal"], "the temporary directory is gone");
    assert!(matches!(
        Wal::create(Arc::new(disk.clone()), dir(), METADATA, SMALL),
        Err(WalError::Exists { .. })
    ));
    drop(wal);
    let (_, replay) = open(&disk, SMALL).unwrap();
    let snapshots = vec![SnapshotRecord { index: LogIndex(0), term: Term(0), conf_state: None }];
    let hard_state = HardState::default();
    let expected = Replay {
        metadata: METADATA,
        hard_state,
        snapshots,
        entries: vec![],
        last_index: LogIndex(0),
        repair: None,
    };
    assert_eq!(replay, expected);
}

#[test]
fn only_one_can_have_the_log_open() {
    let disk = MemoryDisk::new();
    let wal = create(&disk, SMALL);
    let error = open(&disk, SMALL).unwrap_err();
    assert!(matches!(error, WalError::Locked { .. }), "{error}");
    read(&disk, dir(), LogIndex(0)).unwrap();
    drop(wal);
    let (wal, _) = open(&disk, SMALL).unwrap();
    assert!(matches!(open(&disk, SMALL), Err(WalError::Locked { .. })));
    drop(wal);
    open(&disk, SMALL).unwrap();
}

#[test]
fn segments_are_cut_chained_and_released() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    for index in 1..=40 {
        wal.save(state(1, index - 1), &[normal(index, 1, filler(index, 300))], true).unwrap();
    }
    assert_eq!(wal.segments(), 4);
    let names = disk.list(dir()).unwrap();
    assert_eq!(names.len(), 4);
    assert_eq!(names[1], "0000000000000001-000000000000000c.wal");
    assert!(content(&disk, &names[0]).len() >= 4096, "an ended segment has all its records");

    let conf = ConfState { voters: vec![METADATA.member], ..ConfState::default() };
    wal.save_snapshot(LogIndex(30), Term(1), &conf).unwrap();
    assert_eq!(wal.release_to(LogIndex(11)).unwrap(), 0, "entry 11 is in the first segment");
    assert_eq!(wal.release_to(LogIndex(12)).unwrap(), 1);
    assert_eq!(wal.release_to(LogIndex(30)).unwrap(), 1);
    assert_eq!(wal.release_to(LogIndex(30)).unwrap(), 0);
    assert_eq!(disk.list(dir()).unwrap(), names[2..]);
    drop(wal);

    assert!(matches!(open(&disk, SMALL), Err(WalError::Gap { .. })), "entry 1 is not there any more");
    let after = LogIndex(30);
    let (mut wal, replay) = Wal::open(Arc::new(disk.clone()), dir(), after, SMALL).unwrap();
    assert_eq!(
        replay.entries.iter().map(|entry| entry.index.0).collect::<Vec<_>>(),
        (31..=40).collect::<Vec<_>>()
    );
    assert_eq!(replay.entries[3].data, filler(34, 300));
    assert_eq!(replay.hard_state, state(1, 39).unwrap());
    assert_eq!(replay.snapshots, [SnapshotRecord { index: after, term: Term(1), conf_state: Some(conf) }]);
    wal.save(None, &[normal(41, 2, "on")], true).unwrap();
    drop(wal);
    let replay = read(&disk, dir(), LogIndex(39)).unwrap();
    assert_eq!(replay.entries.len(), 2);
    assert_eq!(replay.last_index, LogIndex(41));
}

#[test]
fn a_later_entry_replaces_what_was_at_its_index_and_behind() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    let first: Vec<_> = (1..=5).map(|index| normal(index, 1, "old")).collect();
    wal.save(state(1, 2), &first, true).unwrap();
    wal.save(state(3, 2), &[normal(3, 2, "new")], true).unwrap();
    drop(wal);
    let (_, replay) = open(&disk, SMALL).unwrap();
    assert_eq!(replay.entries, [normal(1, 1, "old"), normal(2, 1, "old"), normal(3, 2, "new")]);
    assert_eq!(replay.last_index, LogIndex(3));
    let replay = read(&disk, dir(), LogIndex(2)).unwrap();
    assert_eq!(replay.entries, [normal(3, 2, "new")]);
}

#[test]
fn snapshots_behind_the_commit_index_do_not_count() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    let conf = ConfState { voters: vec![MemberId(1)], learners: vec![MemberId(2)], ..ConfState::default() };
    wal.save(state(1, 1), &[normal(1, 1, "a"), normal(2, 1, "b")], true).unwrap();
    wal.save_snapshot(LogIndex(1), Term(1), &conf).unwrap();
    wal.save_snapshot(LogIndex(2), Term(1), &conf).unwrap();
    drop(wal);
    let indexes = |replay: Replay| replay.snapshots.iter().map(|s| s.index.0).collect::<Vec<_>>();
    let (mut wal, replay) = open(&disk, SMALL).unwrap();
    assert_eq!(replay.snapshots[1].conf_state, Some(conf));
    assert_eq!(indexes(replay), [0, 1]);
    wal.save(state(1, 2), &[], false).unwrap();
    drop(wal);
    assert_eq!(indexes(read(&disk, dir(), LogIndex(0)).unwrap()), [0, 1, 2]);
}

#[test]
fn a_log_must_reach_from_and_to_what_is_applied() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    wal.save(state(1, 1), &[normal(1, 1, "a"), normal(2, 1, "b")], true).unwrap();
    drop(wal);
    let error = Wal::open(Arc::new(disk.clone()), dir(), LogIndex(3), SMALL).unwrap_err();
    assert!(error.to_string().contains("it ends at entry 2, but entry 3 is applied already"), "{error}");
    let (_, replay) = Wal::open(Arc::new(disk.clone()), dir(), LogIndex(2), SMALL).unwrap();
    assert!(replay.entries.is_empty());
}

#[test]
fn a_missing_segment_is_an_error_where_it_is_needed() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    for index in 1..=40 {
        wal.save(state(1, index), &[normal(index, 1, filler(index, 300))], true).unwrap();
    }
    drop(wal);
    let names = disk.list(dir()).unwrap();
    disk.remove(&dir().join(&names[1])).unwrap();
    let error = open(&disk, SMALL).unwrap_err();
    assert!(error.to_string().contains(&format!("nothing between {} and {}", names[0], names[2])), "{error}");
    let (mut wal, replay) = Wal::open(Arc::new(disk.clone()), dir(), LogIndex(30), SMALL).unwrap();
    assert_eq!(replay.entries.len(), 10);
    assert_eq!(wal.release_to(LogIndex(30)).unwrap(), 1, "what was left over goes");
}

#[test]
fn preallocated_leftovers_are_removed() {
    let disk = MemoryDisk::new();
    drop(create(&disk, SMALL));
    put_content(&disk, "1.tmp", b"never renamed");
    put_content(&disk, "notes.txt", b"somebody's");
    read(&disk, dir(), LogIndex(0)).unwrap();
    assert_eq!(disk.list(dir()).unwrap().len(), 3);
    open(&disk, SMALL).unwrap();
    assert_eq!(disk.list(dir()).unwrap(), ["0000000000000000-0000000000000000.wal", "notes.txt"]);
}
