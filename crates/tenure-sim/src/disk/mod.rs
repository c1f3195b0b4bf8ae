//! A disk that can lose power.
//!
//! It keeps what was promised and nothing else: bytes are safe once their file was synced, names once their directory
//! was. At a [`SimDisk::crash`] each 512-byte sector that was written since is, by the seed, as it was at the last
//! sync, as it is now, or as it was at some write in between; the length of a file likewise; and names that were
//! made, moved or removed may or may not be so. Syncs can fail, and then what was to be synced is in doubt for ever, though later syncs
//! succeed, as on Linux. The disk can be full. Power can fail at any change.

mod file;
mod names;

use crate::random::Random;
use file::{FileState, SECTOR_BYTES};
use names::{Dir, NameChange};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tenure_storage::disk::{Disk, DiskFile, DiskLock};

/// What is lost at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed, the machine goes on: nothing yet. What was not synced can still be lost with the machine.
    Process,
    /// The machine stops: everything that was not synced.
    LosesAll,
    /// The machine stops: some of what was not synced, sector by sector and name by name.
    Tears,
}

/// What goes wrong at some change of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Power fails: this change may have happened, no later one does.
    PowerFails,
    /// Power fails at the next sync from this change on, when there is most to lose.
    PowerFailsInSync,
    /// The next sync from this change on fails.
    SyncFails,
    /// The disk is full from this change on: what needs more room fails.
    Full,
}

/// The disk, as one incarnation of the machine sees it. Handles of an incarnation before the last crash do nothing any more.
#[derive(Clone, Debug)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
    incarnation: u64,
}

#[derive(Debug)]
struct State {
    random: Random,
    incarnation: u64,
    /// Writes, syncs and changes of names so far.
    changes: u64,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    is_full: bool,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
}

#[derive(Debug)]
enum Inode {
    Dir(Dir),
    File(FileState),
}

const ROOT: u64 = 0;

impl SimDisk {
    /// An empty disk whose crashes are those of `random`.
    #[must_use]
    pub fn new(random: Random) -> Self {
        let inodes = BTreeMap::from([(ROOT, Inode::Dir(Dir::default()))]);
        let state = State {
            random,
            incarnation: 0,
            changes: 0,
            fault: None,
            is_off: false,
            is_full: false,
            inodes,
            next_inode: ROOT + 1,
        };
        Self { shared: Arc::new(Mutex::new(state)), incarnation: 0 }
    }

    /// Lets `fault` happen `after` so many more changes.
    pub fn inject(&self, fault: Fault, after: u64) {
        let mut state = self.shared.lock();
        state.fault = Some((state.changes + after, fault));
    }

    /// Takes back a fault that has not happened.
    pub fn heal(&self) {
        self.shared.lock().fault = None;
    }

    /// Whether power has failed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.shared.lock().is_off
    }

    /// Writes, syncs and changes of names so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.lock().changes
    }

    /// Loses what `crash` loses, and starts again with what is left: no lock is held, there is room, nothing is wrong. This handle and
    /// all files opened through it are of no use any more.
    ///
    /// After a sync that has failed a process alone must not crash: what it then reads back is not on the disk and never
    /// will be, and nothing can tell it so.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> SimDisk {
        let mut state = self.shared.lock();
        state.incarnation += 1;
        state.is_off = false;
        state.is_full = false;
        state.fault = None;
        let State { random, inodes, .. } = &mut *state;
        for inode in inodes.values_mut() {
            match inode {
                Inode::Dir(dir) => dir.crash(crash, random),
                Inode::File(file) => file.crash(crash, random),
            }
        }
        state.forget_unreachable();
        SimDisk { shared: self.shared.clone(), incarnation: state.incarnation }
    }

    /// Runs `change` if the power is on, and counts it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.look()?;
        state.changes += 1;
        if state.is_due(Fault::PowerFails) {
            state.is_off = true;
            if state.random.chance(50) {
                change(&mut state)?;
            }
            return Err(power_is_off());
        }
        state.is_full |= state.is_due(Fault::Full);
        change(&mut state)
    }

    fn look(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.shared.lock();
        if state.is_off || state.incarnation != self.incarnation { Err(power_is_off()) } else { Ok(state) }
    }

    fn file(&self, inode: u64) -> Arc<SimFile> {
        Arc::new(SimFile { disk: self.clone(), inode })
    }
}

fn power_is_off() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the power is off")
}

fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
}

fn error(kind: io::ErrorKind, path: &Path) -> io::Error {
    io::Error::new(kind, format!("{}: {kind}", path.display()))
}

impl State {
    /// Whether `fault` is to happen now.
    fn is_due(&self, fault: Fault) -> bool {
        self.fault.is_some_and(|(at, planned)| planned == fault && self.changes >= at)
    }

    /// Whether a sync is to fail now, which it does once, or the power.
    fn sync_fails(&mut self) -> io::Result<bool> {
        if self.is_due(Fault::PowerFailsInSync) {
            self.is_off = true;
            return Err(power_is_off());
        }
        let fails = self.is_due(Fault::SyncFails);
        if fails {
            self.fault = None;
        }
        Ok(fails)
    }

    fn dir(&mut self, inode: u64) -> Option<&mut Dir> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut FileState> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Ok(file),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    /// What is at `path`.
    fn find(&mut self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for name in path {
            let dir = self.dir(at).ok_or_else(|| error(io::ErrorKind::NotADirectory, path))?;
            let found = name.to_str().and_then(|name| dir.entries.get(name));
            at = *found.ok_or_else(|| error(io::ErrorKind::NotFound, path))?;
        }
        Ok(at)
    }

    fn find_dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        let inode = self.find(path)?;
        self.dir(inode).ok_or_else(|| error(io::ErrorKind::NotADirectory, path))
    }

    fn find_file(&mut self, path: &Path) -> io::Result<u64> {
        let inode = self.find(path)?;
        match self.dir(inode) {
            Some(_) => Err(error(io::ErrorKind::IsADirectory, path)),
            None => Ok(inode),
        }
    }

    /// The directory in which `path` is a name, and the name.
    fn place<'a>(&mut self, path: &'a Path) -> io::Result<(&mut Dir, &'a str)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| error(io::ErrorKind::InvalidInput, path))?;
        let dir = self.find_dir(path.parent().unwrap_or(Path::new("")))?;
        Ok((dir, name))
    }

    fn make(&mut self, path: &Path, inode: Inode) -> io::Result<u64> {
        if self.is_full {
            return Err(no_room());
        }
        let number = self.next_inode;
        let (dir, name) = self.place(path)?;
        if dir.entries.contains_key(name) {
            return Err(error(io::ErrorKind::AlreadyExists, path));
        }
        dir.change(NameChange::Link { name: name.into(), inode: number });
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        Ok(number)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        if let Ok(replaced) = self.find(to) {
            let is_dir = self.dir(inode).is_some();
            match self.dir(replaced) {
                Some(dir) if is_dir && dir.entries.is_empty() => {}
                Some(_) if is_dir => return Err(error(io::ErrorKind::DirectoryNotEmpty, to)),
                Some(_) => return Err(error(io::ErrorKind::IsADirectory, to)),
                None if is_dir => return Err(error(io::ErrorKind::NotADirectory, to)),
                None => {}
            }
        }
        let (_, new_name) = self.place(to)?;
        let new_name = new_name.to_owned();
        let same_dir = from.parent() == to.parent();
        let (dir, name) = self.place(from)?;
        let name = name.to_owned();
        if same_dir {
            dir.change(NameChange::Rename { from: name, to: new_name, inode });
            return Ok(());
        }
        dir.change(NameChange::Unlink { name });
        self.place(to)?.0.change(NameChange::Link { name: new_name, inode });
        Ok(())
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        dir.change(NameChange::Unlink { name: name.into() });
        Ok(())
    }

    /// Drops what no name leads to, nor can lead to after another crash. Only after a crash, when no handle is left.
    fn forget_unreachable(&mut self) {
        let mut reachable = BTreeSet::new();
        let mut todo = vec![ROOT];
        while let Some(inode) = todo.pop() {
            if reachable.insert(inode)
                && let Some(Inode::Dir(dir)) = self.inodes.get(&inode)
            {
                todo.extend(dir.inodes());
            }
        }
        self.inodes.retain(|inode, _| reachable.contains(inode));
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.look()?.find_file(path)?;
        Ok(self.file(inode))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.change(|state| state.make(path, Inode::File(FileState::default())))?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| state.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.find_file(path)?;
            state.unlink(path)
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.find_dir(path)?;
            state.unlink(path)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.look()?.find_dir(dir)?.entries.keys().cloned().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let ancestors: Vec<&Path> = dir.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for path in ancestors.into_iter().rev() {
            if !self.exists(path)? {
                self.change(|state| state.make(path, Inode::Dir(Dir::default())).map(drop))?;
            }
            self.sync_dir(path.parent().unwrap_or(Path::new("")))?;
        }
        self.look()?.find_dir(dir).map(drop)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.look()?.find(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(|state| {
            let fails = state.sync_fails()?;
            state.find_dir(dir)?.sync(fails)
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.look()?;
        let inode = state.find_file(path)?;
        let file = state.file(inode)?;
        if std::mem::replace(&mut file.is_locked, true) {
            return Err(error(io::ErrorKind::WouldBlock, path));
        }
        Ok(Box::new(SimLock { disk: self.clone(), inode }))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    inode: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.shared.lock();
        if state.incarnation == self.disk.incarnation
            && let Ok(file) = state.file(self.inode)
        {
            file.is_locked = false;
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.disk.look()?.file(self.inode)?.read(buffer, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let is_full = state.is_full;
            let file = state.file(self.inode)?;
            if is_full && offset + bytes.len() as u64 > file.len() {
                // Room is given and refused by blocks: what still has some is written.
                let room = file.len().next_multiple_of(SECTOR_BYTES as u64).saturating_sub(offset);
                file.write(&bytes[..bytes.len().min(room as usize)], offset);
                return Err(no_room());
            }
            file.write(bytes, offset);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change(|state| {
            let fails = state.sync_fails()?;
            state.file(self.inode)?.sync(fails)
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(|state| {
            state.file(self.inode)?.resize(bytes);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.look()?.file(self.inode)?.len())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let is_full = state.is_full;
            let file = state.file(self.inode)?;
            if bytes <= file.len() {
                return Ok(());
            }
            if is_full {
                return Err(no_room());
            }
            file.resize(bytes);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
