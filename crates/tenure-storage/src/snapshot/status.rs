//! What `etcdutl snapshot status` says of a file.

use super::SnapshotError;
use super::content::{KEY_BUCKET, main_revision};
use crate::bolt::{BoltFile, ReadAt};
use tenure_core::types::Revision;

/// The answer of `etcdutl snapshot status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// CRC-32C of every bucket's name and then its keys and values, none left out.
    pub hash: u32,
    /// The main revision of the last record; 0 if there is none.
    pub revision: Revision,
    /// Pairs of all buckets.
    pub total_keys: u64,
    /// Size of the database in bytes.
    pub total_bytes: u64,
    /// The storage version, `X.Y.0`; empty if there is none (up to etcd 3.5).
    pub version: String,
}

impl SnapshotStatus {
    /// Reads all of a database.
    ///
    /// # Errors
    /// [`SnapshotError::Database`] if the database is malformed or cannot be read.
    pub fn read<S: ReadAt>(file: &BoltFile<S>) -> Result<Self, SnapshotError> {
        let mut status = Self {
            hash: 0,
            revision: Revision(0),
            total_keys: 0,
            total_bytes: file.database_bytes(),
            version: String::new(),
        };
        for name in file.bucket_names()? {
            status.hash = crc32c::crc32c_append(status.hash, &name);
            let Some(bucket) = file.bucket(&name)? else { continue };
            for pair in bucket.entries() {
                let (key, value) = pair?;
                status.hash = crc32c::crc32c_append(crc32c::crc32c_append(status.hash, &key), &value);
                status.total_keys += 1;
                if name == KEY_BUCKET {
                    status.revision = main_revision(&key).unwrap_or(status.revision);
                } else if name == "meta" && key == "storageVersion" {
                    status.version = String::from_utf8_lossy(&value).into_owned();
                }
            }
        }
        Ok(status)
    }
}
