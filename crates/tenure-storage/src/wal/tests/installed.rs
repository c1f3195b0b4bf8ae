//! The state of another member takes the place of the log.

use super::*;
use tenure_core::types::LogPosition;

fn position(index: u64, term: u64) -> LogPosition {
    LogPosition { index: LogIndex(index), term: Term(term) }
}

fn conf_state() -> ConfState {
    ConfState { voters: vec![METADATA.member], ..ConfState::default() }
}

fn open_installed(disk: &MemoryDisk, at: LogPosition) -> (Wal, Replay) {
    Wal::open_installed(Arc::new(disk.clone()), dir(), at, &conf_state(), SMALL).expect("it opens")
}

fn reopen(disk: &MemoryDisk, after: u64) -> Result<Replay, WalError> {
    Ok(Wal::open(Arc::new(disk.clone()), dir(), LogIndex(after), SMALL)?.1)
}

/// A log of `entries` of term 2, of which three are committed.
fn log_of(entries: u64) -> (MemoryDisk, Wal) {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    for index in 1..=entries {
        wal.save(state(2, index.min(3)), &[normal(index, 2, filler(index, 300))], true).unwrap();
    }
    (disk, wal)
}

/// What can be said of a log after something was installed at `at` and two entries were added.
fn check(disk: &MemoryDisk, at: LogPosition) {
    let replay = reopen(disk, at.index.0).expect("it opens");
    let indexes: Vec<u64> = replay.entries.iter().map(|entry| entry.index.0).collect();
    assert_eq!(indexes, [at.index.0 + 1, at.index.0 + 2]);
    assert!(replay.entries.iter().all(|entry| entry.term == Term(4)));
    assert_eq!(replay.last_index.0, at.index.0 + 2);
    assert_eq!(replay.snapshots.last().map(|last| (last.index, last.term)), Some((at.index, at.term)));
    assert_eq!(open_installed(disk, at).1.entries, replay.entries, "a log that knows is left as it is");
}

fn go_on(wal: &mut Wal, at: LogPosition) {
    let entries = [normal(at.index.0 + 1, 4, filler(1, 40)), normal(at.index.0 + 2, 4, filler(2, 40))];
    wal.save(state(4, at.index.0), &entries, true).unwrap();
}

#[test]
fn a_log_that_was_shorter_goes_on_behind_it() {
    let (disk, mut wal) = log_of(20);
    let at = position(50, 3);
    wal.save_installed(at, &conf_state()).unwrap();
    assert_eq!((wal.last_index(), wal.hard_state().commit), (at.index, at.index));
    go_on(&mut wal, at);
    drop(wal);
    check(&disk, at);
}

#[test]
fn of_a_log_that_was_longer_nothing_counts_behind_it() {
    // In one segment, and in many.
    for entries in [8, 60] {
        let (disk, mut wal) = log_of(entries);
        let at = position(5, 3);
        wal.save_installed(at, &conf_state()).unwrap();
        assert_eq!(wal.last_index(), at.index);
        drop(wal);
        let replay = reopen(&disk, 5).expect("it opens");
        assert_eq!((replay.entries.len(), replay.last_index), (0, at.index), "{entries} entries before");
        let (mut wal, _) = open_installed(&disk, at);
        go_on(&mut wal, at);
        drop(wal);
        check(&disk, at);
        let (mut wal, _) = open_installed(&disk, at);
        wal.release_to(at.index).unwrap();
        drop(wal);
        check(&disk, at);
    }
}

#[test]
fn a_start_makes_up_for_what_a_crash_kept_from_the_log() {
    for (entries, at) in
        [(20, position(50, 3)), (60, position(5, 3)), (5, position(5, 3)), (0, position(9, 3))]
    {
        let (disk, wal) = log_of(entries);
        drop(wal);
        if entries < at.index.0 {
            let error = reopen(&disk, at.index.0).unwrap_err();
            assert!(
                matches!(error, WalError::Gap { .. }),
                "without an installation something is lost: {error}"
            );
        }
        let (mut wal, replay) = open_installed(&disk, at);
        assert_eq!((replay.entries.len(), replay.last_index), (0, at.index));
        assert_eq!((replay.hard_state.term, replay.hard_state.commit), (Term(3), at.index));
        assert_eq!(replay.hard_state.vote, None, "nobody was voted for in a term that is new");
        go_on(&mut wal, at);
        drop(wal);
        check(&disk, at);
    }
}
