//! What `etcdutl snapshot status` says of a file.

use super::SnapshotError;
use super::content::{KEY_BUCKET, TOMBSTONE_KEY_BYTES, main_revision};
use crate::bolt::{BoltFile, ReadAt};
use std::collections::HashSet;
use tenure_core::types::{KvBytes, Revision};

/// The answer of `etcdutl snapshot status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// CRC-32C of every bucket's name and then its keys and values, none left out.
    pub hash: u32,
    /// The main revision of the last record; 0 if there is none.
    pub revision: Revision,
    /// Keys that are there: `totalKey` of etcdutl 3.7.
    pub live_keys: u64,
    /// Pairs of all buckets: `totalKey` of etcdutl 3.5.
    pub pairs: u64,
    /// Size of the database in bytes.
    pub total_bytes: u64,
    /// The storage version, `X.Y.0`; empty if there is none (up to etcd 3.5).
    pub version: String,
}

impl SnapshotStatus {
    /// Reads all of a database. Holds its live keys in memory.
    ///
    /// # Errors
    /// [`SnapshotError::Database`] if the database is malformed or cannot be read, [`SnapshotError::Pair`] if a record of it is no pair.
    pub fn read<S: ReadAt>(file: &BoltFile<S>) -> Result<Self, SnapshotError> {
        let mut status = Self {
            hash: 0,
            revision: Revision(0),
            live_keys: 0,
            pairs: 0,
            total_bytes: file.database_bytes(),
            version: String::new(),
        };
        let mut live: HashSet<Box<[u8]>> = HashSet::new();
        for name in file.bucket_names()? {
            status.hash = crc32c::crc32c_append(status.hash, &name);
            let Some(bucket) = file.bucket(&name)? else { continue };
            for pair in bucket.entries() {
                let (key, value) = pair?;
                status.hash = crc32c::crc32c_append(crc32c::crc32c_append(status.hash, &key), &value);
                status.pairs += 1;
                if name == KEY_BUCKET {
                    status.revision = main_revision(&key).unwrap_or(status.revision);
                    let pair = KvBytes(value).view()?;
                    if key.len() == TOMBSTONE_KEY_BYTES {
                        live.remove(&pair.key[..]);
                    } else {
                        live.insert(Box::from(&pair.key[..]));
                    }
                } else if name == "meta" && key == "storageVersion" {
                    status.version = String::from_utf8_lossy(&value).into_owned();
                }
            }
        }
        status.live_keys = live.len() as u64;
        Ok(status)
    }
}
