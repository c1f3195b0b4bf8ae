//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenure_core::types::{LogIndex, RecordRevision, SourceError};
use thiserror::Error;

/// Why the store cannot do what it was asked for. After any of these it refuses everything until it is opened
/// again: what is in its files is not known any more, and a failed sync must not be repeated.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The disk failed, or is full.
    #[error("the store cannot {operation} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as in "cannot write".
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// A file does not hold what was written to it.
    #[error(
        "{} is damaged at byte {offset}: {fault}. The member must not go on with it: keep the file for inspection, and \
         restore the member from a backup or replace it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its begin.
        offset: u64,
        /// What is wrong there.
        fault: String,
    },
    /// The store has failed before.
    #[error(
        "the store has stopped because of an earlier error ({0}); restart the member once its cause is mended"
    )]
    Stopped(String),
    /// Batches must come in the order of the log.
    #[error("a batch of log entry {applied} was offered to the store, which has those up to {last} already")]
    BatchOutOfOrder {
        /// The entry of the batch.
        applied: LogIndex,
        /// The last entry that was stored.
        last: LogIndex,
    },
    /// Records must come in ascending order.
    #[error("record {at} was offered to the store, which has records up to {last} already")]
    RecordOutOfOrder {
        /// The record.
        at: RecordRevision,
        /// The last record that was stored.
        last: RecordRevision,
    },
    /// A pair is longer than a record can be.
    #[error("record {at} has a key-value pair of {bytes} bytes, and a record holds at most 2147483647")]
    PairTooLong {
        /// The record.
        at: RecordRevision,
        /// The length of its pair.
        bytes: usize,
    },
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (the disk is full: make room and start the member again; nothing acknowledged is lost)"
        }
        _ => "",
    }
}

impl StoreError {
    /// For `map_err`: the failure of `operation` on `path`.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { operation, path, source: Arc::new(source) }
    }

    /// The damage `fault` at `offset` of `path`.
    pub(super) fn damaged(path: &Path, offset: u64, fault: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), offset, fault: fault.into() }
    }

    /// Whether the disk (or the owner's share of it) is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        SourceError::Damaged(error.to_string())
    }
}
