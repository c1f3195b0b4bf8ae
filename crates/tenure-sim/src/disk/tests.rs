//! What the simulated disk keeps and what it loses.

use super::*;

fn bytes(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(Path::new(path)).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A disk with a durable file of `sectors` sectors full of ones.
fn disk(seed: u64, sectors: usize) -> SimDisk {
    let disk = SimDisk::new(Random::new(seed));
    let file = disk.create(Path::new("file")).unwrap();
    file.write_all_at(&vec![1; sectors * 512], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk
}

#[test]
fn what_is_synced_survives_every_crash() {
    for seed in 0..20 {
        for crash in [Crash::Process, Crash::LosesAll, Crash::Tears] {
            let disk = disk(seed, 3).crash(crash);
            assert_eq!(bytes(&disk, "file"), vec![1; 3 * 512], "seed {seed}");
        }
    }
}

#[test]
fn what_is_not_synced_tears_by_sectors() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = disk(seed, 3);
        let file = disk.open(Path::new("file")).unwrap();
        file.write_all_at(&[2; 3 * 512], 0).unwrap();
        file.write_all_at(&[3; 4 * 512], 0).unwrap();
        let after = bytes(&disk.crash(Crash::Tears), "file");
        assert!(after.len() == 3 * 512 || after.len() == 4 * 512, "seed {seed}: {} bytes", after.len());
        for sector in after.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}: a sector is torn within");
        }
        outcomes.insert(after.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>());
        assert!(file.len().is_err(), "a handle of before the crash is dead");
    }
    assert!(outcomes.contains(&vec![1, 1, 1]) && outcomes.contains(&vec![3, 3, 3, 3]));
    assert!(outcomes.contains(&vec![3, 1, 2]) && outcomes.len() > 40, "{} outcomes", outcomes.len());
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed, 1);
        disk.create(Path::new("new")).unwrap().sync_data().unwrap();
        disk.rename(Path::new("file"), Path::new("moved")).unwrap();
        let disk = disk.crash(Crash::Tears);
        let names = disk.list(Path::new("")).unwrap();
        assert!(names.contains(&"file".to_owned()) != names.contains(&"moved".to_owned()), "{names:?}");
        seen.insert(names);
    }
    assert_eq!(seen.len(), 4);
    let lost = disk(0, 1);
    lost.create_dir_all(Path::new("a/b")).unwrap();
    lost.create(Path::new("a/b/file")).unwrap();
    let lost = lost.crash(Crash::LosesAll);
    assert_eq!(lost.list(Path::new("")).unwrap(), ["a", "file"]);
    assert!(lost.list(Path::new("a/b")).unwrap().is_empty());
}

#[test]
fn a_killed_process_loses_nothing_but_makes_nothing_safe() {
    let disk = disk(0, 1);
    disk.open(Path::new("file")).unwrap().write_all_at(&[2; 512], 0).unwrap();
    disk.create(Path::new("new")).unwrap();
    let disk = disk.crash(Crash::Process);
    assert_eq!(bytes(&disk, "file"), [2; 512]);
    let disk = disk.crash(Crash::LosesAll);
    assert_eq!(bytes(&disk, "file"), [1; 512]);
    assert_eq!(disk.list(Path::new("")).unwrap(), ["file"]);
}

#[test]
fn after_a_failed_sync_no_sync_can_be_trusted() {
    let disk = disk(0, 1);
    let file = disk.open(Path::new("file")).unwrap();
    file.write_all_at(&[2; 512], 0).unwrap();
    disk.inject(Fault::SyncFails, 0);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(bytes(&disk.crash(Crash::LosesAll), "file"), [1; 512]);
}

#[test]
fn a_full_disk_takes_what_needs_no_room() {
    let disk = disk(0, 1);
    let file = disk.open(Path::new("file")).unwrap();
    disk.inject(Fault::Full, 0);
    file.write_all_at(&[2; 512], 0).unwrap();
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(file.write_all_at(&[2; 10], 510)), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.allocate(2000)), io::ErrorKind::StorageFull);
    assert_eq!(kind(disk.create(Path::new("x")).map(drop)), io::ErrorKind::StorageFull);
    file.sync_data().unwrap();
    let disk = disk.crash(Crash::Process);
    disk.create(Path::new("x")).unwrap();
}

#[test]
fn power_fails_at_a_change_and_stays_off() {
    let disk = disk(0, 1);
    let file = disk.open(Path::new("file")).unwrap();
    disk.inject(Fault::PowerFails, 2);
    file.write_all_at(&[2; 512], 0).unwrap();
    assert!(file.sync_data().is_err());
    assert!(disk.is_off() && file.read_at(&mut [0], 0).is_err());
    let disk = disk.crash(Crash::Tears);
    assert!(!disk.is_off());
    assert_eq!(bytes(&disk, "file").len(), 512);
}

#[test]
fn locks_end_with_their_guard_or_the_machine() {
    let disk = disk(0, 1);
    let path = Path::new("file");
    let guard = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let after = disk.crash(Crash::Process);
    let again = after.lock(path).unwrap();
    drop(guard);
    assert_eq!(after.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(again);
    let _third = after.lock(path).unwrap();
}
