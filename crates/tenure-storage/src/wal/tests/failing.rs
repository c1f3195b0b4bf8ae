//! A disk that fails at the n-th change: the log stops, keeps what it acknowledged, and a half-made log is not a log.

use super::*;
use crate::disk::DiskLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fails the change number `at` (from 0) and every one after it.
#[derive(Clone, Debug)]
struct FailingDisk {
    disk: MemoryDisk,
    at: u64,
    changes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    disk: FailingDisk,
}

impl FailingDisk {
    fn new(disk: &MemoryDisk, at: u64) -> Self {
        Self { disk: disk.clone(), at, changes: Arc::default() }
    }

    fn change(&self) -> io::Result<()> {
        match self.changes.fetch_add(1, Ordering::Relaxed) {
            change if change >= self.at => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"))
            }
            _ => Ok(()),
        }
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile { file, disk: self.clone() })
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.change()?;
        Ok(self.wrap(self.disk.create(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.create_dir_all(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.change()?;
        self.file.sync_data()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.set_len(bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.allocate(bytes)
    }
}

#[test]
fn a_log_that_could_not_be_made_is_not_there_and_can_be_made_again() {
    for at in 0.. {
        let disk = MemoryDisk::new();
        let failing = FailingDisk::new(&disk, at);
        if Wal::create(Arc::new(failing), dir(), METADATA, SMALL).is_ok() {
            assert!(at > 5, "making a log is more than {at} changes");
            return;
        }
        match exists(&disk, dir()).unwrap() {
            true => drop(open(&disk, SMALL).unwrap()),
            false => drop(create(&disk, SMALL)),
        }
    }
}

#[test]
fn after_an_error_every_call_fails_and_nothing_acknowledged_is_lost() {
    for at in 0.. {
        let disk = MemoryDisk::new();
        drop(create(&disk, SMALL));
        let failing = FailingDisk::new(&disk, at);
        let opened = Wal::open(Arc::new(failing.clone()), dir(), LogIndex(0), SMALL);
        let Ok((mut wal, _)) = opened else { continue };
        let mut acknowledged = 0;
        let failure = (1..=30).find_map(|index| {
            let saved = wal.save(state(1, index - 1), &[normal(index, 1, filler(index, 300))], true);
            let released = saved.and_then(|()| {
                acknowledged = index;
                if index % 10 == 0 { wal.release_to(LogIndex(index)).map(drop) } else { Ok(()) }
            });
            released.err()
        });
        let Some(failure) = failure else {
            assert!(at > 60, "the work is more than {at} changes");
            return;
        };
        assert!(matches!(failure, WalError::Io { .. }), "{failure}");
        assert!(failure.to_string().contains("the disk is full"), "{failure}");
        let made = failing.changes.load(Ordering::Relaxed);
        for _ in 0..2 {
            let again = wal.save(state(1, acknowledged), &[normal(acknowledged + 1, 1, "x")], true);
            assert!(matches!(again, Err(WalError::Poisoned(_))));
            assert!(matches!(wal.release_to(LogIndex(1)), Err(WalError::Poisoned(_))));
            let conf = ConfState::default();
            let noted = wal.save_snapshot(LogIndex(1), Term(1), &conf);
            assert!(noted.unwrap_err().to_string().contains("the disk is full"));
        }
        assert_eq!(failing.changes.load(Ordering::Relaxed), made, "a poisoned log leaves the disk alone");
        drop(wal);
        let after = LogIndex(acknowledged / 10 * 10);
        let (_, replay) = Wal::open(Arc::new(disk), dir(), after, SMALL).unwrap();
        assert!(replay.last_index.0 >= acknowledged, "failed at {at}");
        assert!(
            replay
                .entries
                .iter()
                .zip(after.0 + 1..)
                .all(|(entry, index)| *entry == normal(index, 1, filler(index, 300)))
        );
    }
}

#[test]
fn a_failed_repair_leaves_the_log_as_repairable_as_before() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, SMALL);
    wal.save(state(1, 1), &[normal(1, 1, "kept"), normal(2, 1, filler(2, 900))], true).unwrap();
    drop(wal);
    let name = segment::segment_name(0, LogIndex(0));
    let torn = content(&disk, &name)[..600].to_vec();
    for at in 0.. {
        let disk = copy(&disk);
        put_content(&disk, &name, &torn);
        let failed = Wal::open(Arc::new(FailingDisk::new(&disk, at)), dir(), LogIndex(0), SMALL).is_err();
        let (_, replay) = open(&disk, SMALL).unwrap();
        assert_eq!(replay.entries, [normal(1, 1, "kept")]);
        if !failed {
            assert!(at > 5);
            return;
        }
    }
}
