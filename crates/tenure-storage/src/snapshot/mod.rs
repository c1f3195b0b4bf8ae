//! Backups: etcd's database made from the state of a member, and what others left behind read.
//!
//! A [`SnapshotView`] is the state at one applied index. [`SnapshotFile`] makes the bbolt file of it that etcd and its tools
//! take, and gives it away in the pieces of the Maintenance service's `Snapshot` call; [`content_hash`] is the answer to
//! `Hash`. [`SnapshotStatus`] is what `etcdutl snapshot status` says of a file, and [`foreign_data_dir`] tells a directory
//! that belongs to etcd. What is in which bucket: `docs/format/snapshot.md`.

mod content;
mod file;
mod foreign;
mod read;
mod status;

pub use content::{SnapshotView, content_hash};
pub use file::{BLOB_BYTES, SnapshotBlob, SnapshotBlobs, SnapshotFile};
pub use foreign::{ForeignDataDir, ForeignDatabase, foreign_data_dir};
pub use read::{Records, SnapshotContent};
pub use status::SnapshotStatus;

use crate::bolt::BoltError;
use std::error::Error;
use std::io;
use tenure_core::types::MalformedKv;
use thiserror::Error;

/// Why a snapshot could not be made or read. The member itself is not touched by it.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file of the snapshot could not be written or read.
    #[error("snapshot file: {0}")]
    Io(#[from] io::Error),
    /// The database is malformed, or the records did not come in ascending order.
    #[error("snapshot database: {0}")]
    Database(#[from] BoltError),
    /// A record of a database is not a key-value pair.
    #[error("snapshot database: {0}")]
    Pair(#[from] MalformedKv),
    /// A bucket of a database holds what etcd does not put there.
    #[error("snapshot database: bucket {bucket}, key {key}: not what etcd puts there")]
    Foreign {
        /// The bucket.
        bucket: &'static str,
        /// The key, escaped.
        key: String,
    },
    /// A record of the view could not be read.
    #[error("reading a record for the snapshot: {0}")]
    Record(Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests;
