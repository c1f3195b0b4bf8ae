//! A directory of the file system.

use super::{Disk, DiskFile, DiskLock};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of the file system. An absolute path leads out of it, as [`Path::join`] has it.
#[derive(Clone, Debug)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// The disk that is the directory `root`, which need not exist yet: [`Disk::create_dir_all`] makes it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn full(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn open_with(&self, path: &Path, options: &OpenOptions) -> io::Result<OsFile> {
        let path = self.full(path);
        let file = options.open(&path).map_err(|error| named("open", &path, &error))?;
        Ok(OsFile { file, path })
    }
}

/// The error with what was tried and where; the kind stays.
fn named(operation: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{operation} {}: {error}", path.display()))
}

/// Makes the names in a directory durable.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(|error| named("sync", dir, &error))
}

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_with(path, OpenOptions::new().read(true).write(true))?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(self.open_with(path, &options)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.full(from), self.full(to));
        fs::rename(&from, &to).map_err(|error| {
            named("rename", &from, &io::Error::new(error.kind(), format!("to {}: {error}", to.display())))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = self.full(path);
        fs::remove_file(&path).map_err(|error| named("remove", &path, &error))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = self.full(path);
        fs::remove_dir_all(&path).map_err(|error| named("remove", &path, &error))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = self.full(dir);
        let mut names = fs::read_dir(&dir)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<io::Result<Vec<_>>>()
            })
            .map_err(|error| named("list", &dir, &error))?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = self.full(dir);
        let ancestors: Vec<&Path> = dir.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for path in ancestors.into_iter().rev() {
            let is_made = !path.is_dir();
            if is_made {
                match DirBuilder::new().mode(0o700).create(path) {
                    Err(error) if !path.is_dir() => return Err(named("create directory", path, &error)),
                    _ => {}
                }
            }
            if is_made || path.starts_with(&self.root) {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                match sync(parent.unwrap_or(Path::new("."))) {
                    // Somebody else's directory around one that exists.
                    Err(error) if !is_made && error.kind() == io::ErrorKind::PermissionDenied => {}
                    done => done?,
                }
            }
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let path = self.full(path);
        path.try_exists().map_err(|error| named("look for", &path, &error))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync(&self.full(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let OsFile { file, path } = self.open_with(path, OpenOptions::new().read(true).write(true))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| named("lock", &path, &errno.into()))?;
        Ok(Box::new(OsLock { _file: file }))
    }
}

/// The lock belongs to the open file: closing it is what gives it back.
#[derive(Debug)]
struct OsLock {
    _file: File,
}

impl DiskLock for OsLock {}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// The path it was opened at, for the text of errors. A rename does not change it.
    path: PathBuf,
}

impl OsFile {
    fn named(&self, operation: &str) -> impl FnOnce(io::Error) -> io::Error {
        move |error| named(operation, &self.path, &error)
    }
}

impl DiskFile for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset).map_err(self.named("read"))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(self.named("write"))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(self.named("sync"))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes).map_err(self.named("set the length of"))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(self.named("look at"))?.len())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        use rustix::io::Errno;
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::NOTSUP | Errno::NOSYS) => break,
                Err(errno) => return Err(self.named("reserve room for")(errno.into())),
            }
        }
        if self.len()? < bytes { self.set_len(bytes) } else { Ok(()) }
    }
}
