//! The disk: two traits that everything on disk works on, and their implementations.
//!
//! [`OsDisk`] is a directory of the file system, [`MemoryDisk`] holds everything in memory (a member without a data directory,
//! tests); the simulator brings one that crashes.
//!
//! What the traits promise is what POSIX promises and no more: bytes written are there after a crash once
//! [`DiskFile::sync_data`] came back, a name made, replaced or removed once [`Disk::sync_dir`] of its directory came back. After an
//! error of either nothing is known about what was written since the last success, so callers must not try again but stop.

mod memory;
mod os;

pub use memory::MemoryDisk;
pub use os::OsDisk;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A tree of directories and files. Paths are relative to its root; the empty path is the root itself.
///
/// Errors are [`io::Error`]s whose [`io::Error::kind`] is that of the operating system and whose text names the path.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file, for its owner only (mode 0600), and opens it for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one, [`io::ErrorKind::NotFound`] if its directory is missing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file or a directory another name, in one step. A file (but not a directory that holds something) at `to` is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is nothing at `from`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles of it stay usable.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The names (not paths) of what is directly in a directory, sorted.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory, for its owner only (mode 0700), with those above it, also above the root. What exists stays as it is. They are
    /// all durable when this returns, also those that exist: whoever made them may have been killed before they were.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Whether there is a file or a directory at `path`.
    ///
    /// # Errors
    /// Those of the operating system; "not found" is `Ok(false)`.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Makes the names in a directory durable: what was created, renamed and removed directly in it.
    ///
    /// # Errors
    /// Those of the operating system. The caller must not try again.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks an existing file against every other locker, in this process or another, until the guard is dropped. The lock belongs to
    /// the file and not to its name: it goes with a rename. It does not keep anyone from reading or writing (`flock`).
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] at once if somebody else holds it, [`io::ErrorKind::NotFound`] if there is no such file.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// A file that is open for reading and writing. Reads and writes at different places can run at the same time.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset` and says how many; 0 at and behind the end.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before that.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`. A file that is shorter grows; a hole reads as zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and others of the operating system; a part of the bytes can then be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the content of the file durable, and its length (`fdatasync`).
    ///
    /// # Errors
    /// Those of the operating system. What was written since the last success may be gone and a second call would not tell: the caller
    /// must not try again.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file or lets it grow with zeros.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// The length of the file in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing is in the file.
    ///
    /// # Errors
    /// Those of [`DiskFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reserves room for the first `bytes` bytes, so that writing there neither fails for want of space nor changes the length. A
    /// file that is shorter grows with zeros; none gets shorter. Where the file system cannot reserve, the file only grows.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and others of the operating system.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
}

/// Holds the lock of a file until it is dropped.
pub trait DiskLock: fmt::Debug + Send + Sync {}

#[cfg(test)]
mod tests;
