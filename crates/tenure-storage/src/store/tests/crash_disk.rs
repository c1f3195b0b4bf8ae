//! A disk that remembers every operation, fails on demand, and shows what a crash at any moment may leave.

use crate::disk::{Disk, DiskFile, DiskLock, MemoryDisk};
use parking_lot::Mutex;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a disk keeps or loses as a whole.
const SECTOR_BYTES: u64 = 512;

/// The stream of random numbers of a seed.
pub struct Random(TestRng);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        use proptest::prelude::Rng;
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }
}

/// What was done to the disk. Files are numbered as they are created, whatever their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Create { name: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove { name: PathBuf },
    SyncDir { dir: PathBuf },
    Write { file: usize, offset: u64, bytes: Vec<u8> },
    SetLen { file: usize, bytes: u64 },
    SyncData { file: usize },
}

/// A disk in memory with a journal of what was done. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct CrashDisk {
    memory: MemoryDisk,
    state: Arc<Mutex<State>>,
    /// Operations that change something and succeed before one fails; `usize::MAX` for no failure.
    budget: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    journal: Vec<Operation>,
    names: BTreeMap<PathBuf, usize>,
    files: usize,
}

#[derive(Debug)]
struct CrashFile {
    memory: Arc<dyn DiskFile>,
    disk: CrashDisk,
    file: usize,
}

impl CrashDisk {
    pub fn new() -> Self {
        let disk = Self::default();
        disk.budget.store(usize::MAX, Ordering::SeqCst);
        disk
    }

    /// Lets `count` more changing operations succeed; the one after them, and all that follow, find the disk
    /// full.
    pub fn fill_after(&self, count: usize) {
        self.budget.store(count, Ordering::SeqCst);
    }

    /// How many operations there were.
    pub fn position(&self) -> usize {
        self.state.lock().journal.len()
    }

    pub fn journal(&self) -> Vec<Operation> {
        self.state.lock().journal.clone()
    }

    fn spend(&self) -> io::Result<()> {
        let spent = self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            usize::MAX => Some(left),
            left => left.checked_sub(1),
        });
        spent.map(drop).map_err(|_| io::ErrorKind::StorageFull.into())
    }

    fn note(&self, operation: Operation) {
        self.state.lock().journal.push(operation);
    }

    fn file(&self, name: &Path, memory: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let file = self.state.lock().names[name];
        Arc::new(CrashFile { memory, disk: self.clone(), file })
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.memory.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.spend()?;
        let memory = self.memory.create(path)?;
        let mut state = self.state.lock();
        let file = state.files;
        state.files += 1;
        state.names.insert(path.to_path_buf(), file);
        state.journal.push(Operation::Create { name: path.to_path_buf(), file });
        drop(state);
        Ok(self.file(path, memory))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.spend()?;
        self.memory.rename(from, to)?;
        let mut state = self.state.lock();
        let file = state.names.remove(from).expect("the file was created here");
        state.names.insert(to.to_path_buf(), file);
        state.journal.push(Operation::Rename { from: from.to_path_buf(), to: to.to_path_buf() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.spend()?;
        self.memory.remove(path)?;
        self.state.lock().names.remove(path);
        self.note(Operation::Remove { name: path.to_path_buf() });
        Ok(())
    }

    fn remove_dir_all(&self, _path: &Path) -> io::Result<()> {
        unreachable!("the store removes no directory")
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.memory.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Directories survive every crash here; the store makes them once, before anything else.
        self.memory.create_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.memory.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.spend()?;
        self.note(Operation::SyncDir { dir: dir.to_path_buf() });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.memory.lock(path)
    }
}

impl DiskFile for CrashFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.memory.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.spend()?;
        self.disk.note(Operation::Write { file: self.file, offset, bytes: bytes.to_vec() });
        self.memory.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.spend()?;
        self.disk.note(Operation::SyncData { file: self.file });
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.spend()?;
        self.disk.note(Operation::SetLen { file: self.file, bytes });
        self.memory.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn allocate(&self, _bytes: u64) -> io::Result<()> {
        unreachable!("the store does not preallocate")
    }
}

/// What is on the disk after a crash that came after the operations `done`: what was synced is there; of what
/// was not, each name and each sector is there or not, as `random` has it.
pub fn after_crash(done: &[Operation], dir: &Path, random: &mut Random) -> MemoryDisk {
    let synced_names = done.iter().rposition(|one| matches!(one, Operation::SyncDir { .. })).unwrap_or(0);
    let mut synced_data: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, operation) in done.iter().enumerate() {
        if let Operation::SyncData { file } = operation {
            synced_data.insert(*file, at);
        }
    }
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut contents: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut now: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for (at, operation) in done.iter().enumerate() {
        let name_kept = at < synced_names || random.below(2) == 0;
        let file_synced = |file| synced_data.get(file).is_some_and(|synced| at < *synced);
        match operation {
            Operation::Create { name, file } => {
                contents.entry(*file).or_default();
                now.insert(name.clone(), *file);
                name_kept.then(|| names.insert(name.clone(), *file));
            }
            Operation::Rename { from, to } => {
                let file = now.remove(from).expect("it is there");
                now.insert(to.clone(), file);
                if name_kept {
                    names.remove(from);
                    names.insert(to.clone(), file);
                }
            }
            Operation::Remove { name } => {
                now.remove(name);
                name_kept.then(|| names.remove(name));
            }
            Operation::Write { file, offset, bytes } => {
                let content = contents.get_mut(file).expect("it was created");
                write(content, *offset, bytes, |_| file_synced(file) || random.below(2) == 0);
            }
            Operation::SetLen { file, bytes } => {
                if file_synced(file) || random.below(2) == 0 {
                    contents.get_mut(file).expect("it was created").resize(*bytes as usize, 0);
                }
            }
            Operation::SyncDir { .. } | Operation::SyncData { .. } => {}
        }
    }
    let disk = MemoryDisk::new();
    disk.create_dir_all(dir).expect("memory does not fail");
    for (name, file) in names {
        let handle = disk.create(&name).expect("memory does not fail");
        handle.write_all_at(&contents[&file], 0).expect("memory does not fail");
    }
    disk
}

fn write(content: &mut Vec<u8>, offset: u64, bytes: &[u8], mut kept: impl FnMut(u64) -> bool) {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let count = (bytes.len() - done).min((sector_end - at) as usize);
        if kept(at / SECTOR_BYTES) {
            let end = at as usize + count;
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at as usize..end].copy_from_slice(&bytes[done..done + count]);
        }
        done += count;
    }
}
