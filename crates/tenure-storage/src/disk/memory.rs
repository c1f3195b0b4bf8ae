//! A disk in memory.

use super::{Disk, DiskFile, DiskLock};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Holes cost nothing up to this granularity.
const PAGE_BYTES: usize = 64 * 1024;

/// A disk in memory, for a member without a data directory and for tests. Clones are the same disk. It has no capacity of its own
/// and keeps only pages that something was written to, so preallocation costs nothing.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Debug, Default)]
struct Tree {
    /// All directories but the root.
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

fn error(kind: io::ErrorKind, path: &Path) -> io::Error {
    io::Error::new(kind, format!("{}: {kind}", path.display()))
}

impl Tree {
    fn has_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || self.dirs.contains(path)
    }

    fn has(&self, path: &Path) -> bool {
        self.has_dir(path) || self.files.contains_key(path)
    }

    fn file(&self, path: &Path) -> io::Result<&Arc<MemoryFile>> {
        self.files.get(path).ok_or_else(|| {
            let is_dir = self.has_dir(path);
            error(if is_dir { io::ErrorKind::IsADirectory } else { io::ErrorKind::NotFound }, path)
        })
    }

    /// What a new name in the directory of `path` needs.
    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.has_dir(parent) => Ok(()),
            Some(parent) if self.files.contains_key(parent) => {
                Err(error(io::ErrorKind::NotADirectory, parent))
            }
            _ => Err(error(io::ErrorKind::NotFound, path)),
        }
    }

    fn holds_something(&self, dir: &Path) -> bool {
        self.dirs.iter().chain(self.files.keys()).any(|path| path != dir && path.starts_with(dir))
    }

    fn rename_dir(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.files.contains_key(to) {
            return Err(error(io::ErrorKind::NotADirectory, to));
        }
        if self.holds_something(to) {
            return Err(error(io::ErrorKind::DirectoryNotEmpty, to));
        }
        if to.starts_with(from) {
            return Err(error(io::ErrorKind::InvalidInput, to));
        }
        let moved = |path: &PathBuf| {
            let rest = path.strip_prefix(from).ok()?;
            Some(if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) })
        };
        self.dirs = std::mem::take(&mut self.dirs).into_iter().map(|p| moved(&p).unwrap_or(p)).collect();
        self.files =
            std::mem::take(&mut self.files).into_iter().map(|(p, f)| (moved(&p).unwrap_or(p), f)).collect();
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.tree.lock().file(path)?.clone())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut tree = self.tree.lock();
        tree.check_parent(path)?;
        if tree.has(path) {
            return Err(error(io::ErrorKind::AlreadyExists, path));
        }
        let file = Arc::new(MemoryFile::default());
        tree.files.insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.check_parent(to)?;
        if from == to {
            return if tree.has(from) { Ok(()) } else { Err(error(io::ErrorKind::NotFound, from)) };
        }
        if tree.dirs.contains(from) {
            return tree.rename_dir(from, to);
        }
        let file = tree.file(from)?.clone();
        if tree.has_dir(to) {
            return Err(error(io::ErrorKind::IsADirectory, to));
        }
        tree.files.remove(from);
        tree.files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.file(path)?;
        tree.files.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        if !tree.has_dir(path) {
            return Err(error(io::ErrorKind::NotFound, path));
        }
        tree.dirs.retain(|dir| !dir.starts_with(path));
        tree.files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let tree = self.tree.lock();
        if !tree.has_dir(dir) {
            return Err(error(io::ErrorKind::NotFound, dir));
        }
        let mut names: Vec<String> = tree
            .dirs
            .iter()
            .chain(tree.files.keys())
            .filter(|path| path.parent() == Some(dir))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        for ancestor in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            if tree.files.contains_key(ancestor) {
                return Err(error(io::ErrorKind::NotADirectory, ancestor));
            }
            tree.dirs.insert(ancestor.to_path_buf());
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.tree.lock().has(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.tree.lock().has_dir(dir) { Ok(()) } else { Err(error(io::ErrorKind::NotFound, dir)) }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = self.tree.lock().file(path)?.clone();
        if file.locked.swap(true, Ordering::AcqRel) {
            return Err(error(io::ErrorKind::WouldBlock, path));
        }
        Ok(Box::new(MemoryLock { file }))
    }
}

#[derive(Debug)]
struct MemoryLock {
    file: Arc<MemoryFile>,
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.file.locked.store(false, Ordering::Release);
    }
}

#[derive(Debug, Default)]
struct MemoryFile {
    content: RwLock<Content>,
    locked: AtomicBool,
}

#[derive(Default)]
struct Content {
    /// A missing page is zeros. Bytes behind `len` are zeros in every page.
    pages: Vec<Option<Box<[u8]>>>,
    len: u64,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

/// Page number, place in the page, and how many of `want` bytes from `offset` on are in that page.
fn locate(offset: u64, want: usize) -> io::Result<(usize, usize, usize)> {
    let offset = usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let within = offset % PAGE_BYTES;
    Ok((offset / PAGE_BYTES, within, want.min(PAGE_BYTES - within)))
}

impl Content {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let total = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut done = 0;
        while done < total {
            let (page, within, count) = locate(offset + done as u64, total - done)?;
            let target = &mut buffer[done..done + count];
            match self.pages.get(page) {
                Some(Some(bytes)) => target.copy_from_slice(&bytes[within..within + count]),
                _ => target.fill(0),
            }
            done += count;
        }
        Ok(total)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (page, within, count) = locate(offset + done as u64, bytes.len() - done)?;
            if self.pages.len() <= page {
                self.pages.resize_with(page + 1, || None);
            }
            let target = self.pages[page].get_or_insert_with(|| vec![0; PAGE_BYTES].into_boxed_slice());
            target[within..within + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn resize(&mut self, len: u64) -> io::Result<()> {
        if len < self.len {
            let (page, within, _) = locate(len, 0)?;
            self.pages.truncate(page + usize::from(within > 0));
            if let Some(Some(bytes)) = self.pages.get_mut(page) {
                bytes[within..].fill(0);
            }
        }
        self.len = len;
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.content.read().read(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.content.write().write(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.content.write().resize(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.read().len)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut content = self.content.write();
        if content.len < bytes { content.resize(bytes) } else { Ok(()) }
    }
}
