//! Torn ends are cut off, damage is refused, and neither is taken for the other.

use super::*;

/// A log of one segment whose records are all synced, and where its records end.
fn small_log() -> (MemoryDisk, Replay, usize) {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    wal.save(state(1, 0), &[normal(1, 1, Bytes::new())], true).unwrap();
    wal.save(state(2, 1), &[normal(2, 1, "one"), normal(3, 2, filler(3, 700))], true).unwrap();
    wal.save_snapshot(LogIndex(1), Term(1), &ConfState::default()).unwrap();
    let change =
        LogEntry { index: LogIndex(4), term: Term(2), kind: EntryKind::ConfChange, data: filler(4, 20) };
    wal.save(state(2, 4), &[change], true).unwrap();
    wal.save(state(2, 5), &[normal(5, 2, filler(5, 5))], true).unwrap();
    let end = wal.offset as usize;
    drop(wal);
    let replay = read(&disk, dir(), LogIndex(0)).unwrap();
    assert_eq!(replay.entries.len(), 5);
    (disk, replay, end)
}

fn segment_name() -> String {
    segment::segment_name(0, LogIndex(0))
}

/// Writes on after a repair and reads everything back.
fn check_usable(disk: &MemoryDisk, mut wal: Wal, replay: &Replay) {
    let next = replay.last_index.next().0;
    let term = replay.hard_state.term.0.max(9);
    wal.save(None, &[normal(next, term, filler(77, 900))], true).unwrap();
    drop(wal);
    let again = read(disk, dir(), LogIndex(0)).unwrap();
    assert_eq!(again.entries[..replay.entries.len()], replay.entries[..]);
    assert_eq!(again.entries.last(), Some(&normal(next, term, filler(77, 900))));
    assert_eq!(again.repair, None);
}

#[test]
fn every_truncation_leaves_the_records_in_front_of_it() {
    let (disk, whole, end) = small_log();
    let bytes = content(&disk, &segment_name());
    let mut scan = Scan::new(&bytes);
    let mut ends = vec![];
    while let Ok(Some(_)) = scan.next() {
        ends.push(scan.at);
    }
    assert_eq!(*ends.last().unwrap(), end);
    for len in ends[1]..end {
        let disk = copy(&disk);
        put_content(&disk, &segment_name(), &bytes[..len]);
        let (wal, replay) = open(&disk, SMALL).unwrap_or_else(|error| panic!("cut at {len}: {error}"));
        let good = ends.iter().copied().filter(|end| *end <= len).max().unwrap();
        assert!(whole.entries.starts_with(&replay.entries), "cut at {len}");
        assert_eq!(wal.offset, good as u64, "cut at {len}");
        match replay.repair.clone() {
            None => assert!(good == len || bytes[good..len].iter().all(|byte| *byte == 0), "cut at {len}"),
            Some(repair) => {
                assert_eq!(repair.offset, good as u64);
                let broken = repair.broken.unwrap();
                assert_eq!(read_whole(&*disk.open(&broken).unwrap()).unwrap(), &bytes[..len]);
            }
        }
        check_usable(&disk, wal, &replay);
    }
    for len in 0..ends[1] {
        put_content(&disk, &segment_name(), &bytes[..len]);
        let error = open(&disk, SMALL).unwrap_err();
        assert!(matches!(error, WalError::Damaged { .. }), "cut at {len}: {error}");
    }
}

#[test]
fn no_flipped_bit_is_read_as_something_else() {
    let (disk, whole, end) = small_log();
    let bytes = content(&disk, &segment_name());
    let mut harmless = 0;
    for bit in 0..end * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        put_content(&disk, &segment_name(), &flipped);
        match open(&disk, SMALL) {
            Err(WalError::Damaged { file, offset, .. }) => {
                assert_eq!(file, dir().join(segment_name()));
                assert!(offset as usize <= bit / 8, "bit {bit}: damage is found at {offset}");
            }
            Err(error) => panic!("bit {bit}: {error}"),
            Ok((_, replay)) => {
                assert_eq!(replay, whole, "bit {bit}");
                harmless += 1;
            }
        }
        assert_eq!(disk.list(dir()).unwrap(), [segment_name()], "bit {bit}: nothing is put aside");
    }
    assert!(harmless <= 7 * 8 * 14, "only padding may be ignored, but {harmless} bits were");
}

#[test]
fn no_flipped_bit_in_an_ended_segment_is_read_as_something_else() {
    let options = WalOptions { segment_bytes: 1024 };
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, options);
    for index in 1..=12 {
        wal.save(state(1, index - 1), &[normal(index, 1, filler(index, 150))], true).unwrap();
    }
    assert!(wal.segments() > 2);
    drop(wal);
    let whole = read(&disk, dir(), LogIndex(0)).unwrap();
    for name in &disk.list(dir()).unwrap()[..2] {
        let bytes = content(&disk, name);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            put_content(&disk, name, &flipped);
            match read(&disk, dir(), LogIndex(0)) {
                Err(WalError::Damaged { .. }) => {}
                Err(error) => panic!("{name} bit {bit}: {error}"),
                Ok(replay) => assert_eq!(replay, whole, "{name} bit {bit}"),
            }
        }
        put_content(&disk, name, &bytes);
    }
}

/// Loses every combination of the sectors that the last, unsynced save wrote.
#[test]
fn torn_sectors_lose_only_what_was_not_synced() {
    for sizes in
        [vec![1500], vec![300, 300, 300, 300], vec![10, 20, 900, 30], vec![460, 8, 1100], vec![480; 3]]
    {
        let disk = MemoryDisk::new();
        let mut wal = create(&disk, SMALL);
        let synced: Vec<_> = (1..=3).map(|index| normal(index, 1, filler(index, 90))).collect();
        wal.save(state(1, 3), &synced, true).unwrap();
        let start = wal.offset as usize;
        let before = content(&disk, &segment_name());
        let torn: Vec<_> =
            sizes.iter().zip(4..).map(|(len, index)| normal(index, 1, filler(index, *len))).collect();
        wal.save(state(1, 4), &torn, true).unwrap();
        let end = wal.offset as usize;
        drop(wal);
        let after = content(&disk, &segment_name());
        let sectors: Vec<usize> = (start / 512..=(end - 1) / 512).collect();
        for lost in 0..1u32 << sectors.len() {
            let mut bytes = after.clone();
            for (_, sector) in sectors.iter().enumerate().filter(|(place, _)| lost >> place & 1 == 1) {
                let range = sector * 512..(sector + 1) * 512;
                bytes[range.clone()].copy_from_slice(&before[range]);
            }
            let disk = copy(&disk);
            put_content(&disk, &segment_name(), &bytes);
            let (wal, replay) =
                open(&disk, SMALL).unwrap_or_else(|error| panic!("{sizes:?}, lost {lost:b}: {error}"));
            let expected: Vec<_> = synced.iter().chain(&torn).cloned().collect();
            assert!(replay.entries.len() >= 3 && expected.starts_with(&replay.entries), "lost {lost:b}");
            assert_eq!(
                replay.entries.len() == expected.len() && replay.hard_state == state(1, 4).unwrap(),
                lost == 0
            );
            check_usable(&disk, wal, &replay);
        }
    }
}

#[test]
fn damage_in_front_of_the_end_is_refused_and_named() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    for index in 1..=30 {
        wal.save(state(1, index), &[normal(index, 1, filler(index, 300))], true).unwrap();
    }
    drop(wal);
    let name = &disk.list(dir()).unwrap()[1];
    let good = content(&disk, name);
    let mut bytes = good.clone();
    bytes[2000] ^= 0x10;
    put_content(&disk, name, &bytes);
    let error = open(&disk, SMALL).unwrap_err().to_string();
    assert!(error.starts_with(&format!("write-ahead log wal/{name} is damaged at offset ")), "{error}");
    assert!(
        error.contains("checksum mismatch: 0x") && error.contains("Restore this member from a snapshot"),
        "{error}"
    );
    put_content(&disk, name, &good[..good.len() - 100]);
    let error = open(&disk, SMALL).unwrap_err().to_string();
    assert!(error.contains("the segment ends within a record, though another follows it"), "{error}");
    let whole_records = {
        let mut scan = Scan::new(&good);
        let mut ends = vec![];
        while let Ok(Some(_)) = scan.next() {
            ends.push(scan.at);
        }
        ends[ends.len() - 2]
    };
    put_content(&disk, name, &good[..whole_records]);
    let error = open(&disk, SMALL).unwrap_err().to_string();
    assert!(error.contains("records before this one are missing"), "{error}");
}

#[test]
fn another_members_segment_is_refused() {
    let (disk, _, _) = small_log();
    let metadata = Metadata { member: MemberId(1), ..METADATA };
    let bytes = content(&disk, &segment_name());
    let mut scan = Scan::new(&bytes);
    while let Ok(Some(_)) = scan.next() {}
    let mut encoder = Encoder { buffer: vec![], crc: scan.crc };
    encoder.crc_record();
    encoder.metadata(metadata.member, metadata.cluster);
    put_content(&disk, &segment::segment_name(1, LogIndex(6)), &encoder.buffer);
    let error = open(&disk, SMALL).unwrap_err().to_string();
    assert!(error.contains("another member's"), "{error}");
}

/// Everything fits in one segment.
const LARGE: WalOptions = WalOptions { segment_bytes: 256 * 1024 };

/// Sectors of zeros look like what was never written, but not in front of a save that waited for them.
#[test]
fn a_wiped_part_of_what_was_synced_is_no_torn_end() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, LARGE);
    let mut starts = vec![];
    for index in 1..=60 {
        starts.push(wal.offset as usize);
        let len = [3, 40, 700, 8, 1400, 480][index as usize % 6];
        wal.save(state(1, index - 1), &[normal(index, 1, filler(index, len))], true).unwrap();
    }
    drop(wal);
    let bytes = content(&disk, &segment_name());
    // The last two saves: nothing behind them shows that they were synced.
    let shown = starts[58];
    for wiped in [512, 1024, 4096] {
        for start in (0..shown - wiped).step_by(512) {
            let mut bytes = bytes.clone();
            bytes[start..start + wiped].fill(0);
            put_content(&disk, &segment_name(), &bytes);
            let error = open(&disk, LARGE).unwrap_err();
            assert!(matches!(error, WalError::Damaged { .. }), "{wiped} bytes at {start}: {error}");
            assert_eq!(content(&disk, &segment_name()), bytes, "nothing is changed");
        }
    }
    let mut torn = bytes.clone();
    torn[starts[58].next_multiple_of(512)..].fill(0);
    put_content(&disk, &segment_name(), &torn);
    assert_eq!(open(&disk, LARGE).unwrap().1.entries.len(), 58, "with nothing behind it, it is a torn end");
}

/// The log of another member as the value of a key: its records prove nothing about the log they are in.
#[test]
fn a_log_within_a_torn_value_is_no_proof() {
    let inner = MemoryDisk::new();
    let mut wal = create(&inner, LARGE);
    for index in 1..=20 {
        wal.save(state(7, index - 1), &[normal(index, 7, filler(index, 50))], true).unwrap();
    }
    let inner_bytes = wal.offset as usize;
    drop(wal);
    let inner = content(&inner, &segment_name())[..inner_bytes].to_vec();
    for shift in 0..8 {
        let disk = MemoryDisk::new();
        let mut wal = create(&disk, LARGE);
        let before: Vec<_> = (1..=40).map(|index| normal(index, 7, filler(index, 30))).collect();
        wal.save(state(7, 39), &before, true).unwrap();
        let start = wal.offset as usize;
        let value = [vec![1; 600 + shift], inner.clone(), vec![2; 600]].concat();
        wal.save(state(7, 40), &[normal(41, 7, Bytes::from(value))], true).unwrap();
        drop(wal);
        let mut bytes = content(&disk, &segment_name());
        // The sector in which the value starts keeps what it had before, the next one is never written.
        let next = (start / 512 + 1) * 512;
        bytes[start..next].fill(0);
        put_content(&disk, &segment_name(), &bytes);
        let (_, replay) = open(&disk, LARGE).unwrap_or_else(|error| panic!("shifted by {shift}: {error}"));
        assert_eq!(replay.entries.len(), 40);
    }
}
