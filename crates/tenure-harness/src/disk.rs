//! A small disk that can be full.

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::{
    ffi::CString,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// A disk in memory, mounted on a directory. Dropping it takes it away with all that is on it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

/// The file that takes the room.
const BALLAST: &str = "ballast";

impl SmallDisk {
    /// A disk of `bytes` at `path`, which is made. That takes the rights to mount: root's, on most machines.
    ///
    /// # Errors
    /// The system does not allow it: whoever needs the disk is to be skipped, with this as the reason.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(path)?;
        let size = CString::new(format!("size={bytes},mode=700"))?;
        mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, size.as_c_str())
            .context("a small disk cannot be mounted; that takes root")?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// Another one than that the disk is full.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.path.join(BALLAST))?;
        for bytes in [1 << 20, 4 << 10, 1] {
            let piece = vec![0; bytes];
            loop {
                match ballast.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a disk"),
                }
            }
        }
        Ok(())
    }

    /// Gives back the room that [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// Those of the system.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.path.join(BALLAST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_freed() {
        let directory = tempfile::tempdir().unwrap();
        let disk = match SmallDisk::mount(&directory.path().join("disk"), 1 << 20) {
            Ok(disk) => disk,
            Err(error) => return eprintln!("skipped: {error:#}"),
        };
        disk.fill().unwrap();
        let file = disk.path.join("file");
        assert_eq!(fs::write(&file, "x").unwrap_err().kind(), ErrorKind::StorageFull);
        disk.free().unwrap();
        fs::write(&file, "x").unwrap();
    }
}
