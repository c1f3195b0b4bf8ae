//! The file of a snapshot, and the pieces that it is sent in.

use super::SnapshotError;
use super::content::{BucketSink, PairSink, SnapshotView, write_buckets};
use crate::bolt::BoltWriter;
use crate::disk::{Disk, DiskFile};
use crate::store::StoredRecord;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use tenure_core::state::TableChange;

/// The size of every piece that a snapshot is sent in but the last of the database and the checksum (N1).
pub const BLOB_BYTES: usize = 32 * 1024;

/// etcd's database, made from a view. The file has no name any more when it is ready: its space comes back when the last
/// reader is dropped, whatever happens to the process.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    file: Arc<dyn DiskFile>,
    bytes: u64,
    storage_version: String,
}

impl SnapshotFile {
    /// Makes the database of `view` in a file at `path`, which does not exist afterwards; what a crash left there is replaced. Nobody else
    /// may use the path meanwhile. Takes as long as reading all records takes; memory does not grow with them.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] if the file cannot be written (a full disk, say), [`SnapshotError::Record`] if a record cannot be read,
    /// [`SnapshotError::Database`] if the records do not ascend. The file is removed then too.
    pub fn write<E: Error + Send + Sync + 'static>(
        disk: &dyn Disk,
        path: &Path,
        view: SnapshotView<impl IntoIterator<Item = Result<StoredRecord, E>>>,
    ) -> Result<Self, SnapshotError> {
        let storage_version = storage_version(&view.tables);
        let file = match disk.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(path)?;
                disk.create(path)?
            }
            created => created?,
        };
        disk.remove(path)?;
        let (_, bytes) = write_database(view, FileEnd { file: file.clone(), at: 0 })?;
        Ok(Self { file, bytes, storage_version })
    }

    /// The size of the database in bytes.
    #[must_use]
    pub fn database_bytes(&self) -> u64 {
        self.bytes
    }

    /// The storage version in the view, `X.Y.0`; empty if none is set. Every message of the stream carries it.
    #[must_use]
    pub fn storage_version(&self) -> &str {
        &self.storage_version
    }

    /// Up to `bytes_max` bytes of the database from `at` on; none at its end.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&self, at: u64, bytes_max: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(bytes_max)];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    /// The database in pieces of [`BLOB_BYTES`], then its SHA-256. Written one behind the other they are the
    /// file that `snapshot save` makes.
    #[must_use]
    pub fn blobs(&self) -> SnapshotBlobs {
        SnapshotBlobs { file: self.file.clone(), bytes: self.bytes, at: 0, sha: Some(Sha256::new()) }
    }
}

fn storage_version(tables: &[TableChange]) -> String {
    let versions = tables.iter().rev().filter_map(|change| match change {
        TableChange::StorageVersion(version) => Some(version.clone()),
        _ => None,
    });
    versions.into_iter().next().unwrap_or_default()
}

/// Writes the database of `view` to `sink`, which must be empty, and gives it back with the size of the database in bytes.
///
/// # Errors
/// As [`SnapshotFile::write`].
pub(super) fn write_database<W: Write + Seek, E: Error + Send + Sync + 'static>(
    view: SnapshotView<impl IntoIterator<Item = Result<StoredRecord, E>>>,
    sink: W,
) -> Result<(W, u64), SnapshotError> {
    let mut writer = BoltWriter::new(sink)?;
    write_buckets(view, &mut writer)?;
    Ok(writer.finish()?)
}

impl<W: Write + Seek> BucketSink for BoltWriter<W> {
    fn bucket(
        &mut self,
        name: &[u8],
        pairs: &mut dyn FnMut(&mut PairSink<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        BoltWriter::bucket(self, name, |bucket| pairs(&mut |key, value| Ok(bucket.put(key, value)?)))
    }
}

/// Writes one byte behind the other into a file of the [`Disk`].
#[derive(Debug)]
struct FileEnd {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Write for FileEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for FileEnd {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.len()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// One message of the `Snapshot` call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBlob {
    /// Bytes of the database, or its SHA-256.
    pub blob: Bytes,
    /// Bytes of the database that come after this blob; 0 in the last two messages.
    pub remaining_bytes: u64,
}

/// The messages of the `Snapshot` call (N1). Ends behind the first error.
#[derive(Debug)]
pub struct SnapshotBlobs {
    file: Arc<dyn DiskFile>,
    bytes: u64,
    at: u64,
    /// Of what was given out; `None` behind the end.
    sha: Option<Sha256>,
}

impl Iterator for SnapshotBlobs {
    type Item = io::Result<SnapshotBlob>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut sha = self.sha.take()?;
        if self.at == self.bytes {
            let blob = Bytes::copy_from_slice(&sha.finalize());
            return Some(Ok(SnapshotBlob { blob, remaining_bytes: 0 }));
        }
        let mut blob = vec![0; (self.bytes - self.at).min(BLOB_BYTES as u64) as usize];
        if let Err(error) = self.file.read_exact_at(&mut blob, self.at) {
            return Some(Err(error));
        }
        self.at += blob.len() as u64;
        sha.update(&blob);
        self.sha = Some(sha);
        Some(Ok(SnapshotBlob { blob: blob.into(), remaining_bytes: self.bytes - self.at }))
    }
}
