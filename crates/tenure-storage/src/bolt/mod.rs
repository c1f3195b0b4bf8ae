//! bbolt database files: what etcd keeps its keys in, and what its tools expect of a backup.
//!
//! [`BoltFile`] reads any file of the format, by positioned reads, and trusts none of its bytes: what is malformed is
//! an error. [`BoltWriter`] makes a file in one pass from sorted pairs, in memory that does not grow with the
//! file. There is no update in place: Tenure's own data lives elsewhere ([`crate::store`]).
//!
//! The format, byte by byte: `docs/format/bolt.md`.

mod page;
mod reader;
mod source;
mod writer;

pub use page::{PAGE_BYTES, PageId};
pub use reader::{BoltFile, Bucket, Entries};
pub use source::ReadAt;
pub use writer::{BoltWriter, BucketWriter, KEY_BYTES_MAX, VALUE_BYTES_MAX};

use std::io;
use thiserror::Error;

/// Why a bbolt file could not be read or written.
#[derive(Debug, Error)]
pub enum BoltError {
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is not a bbolt database, or both of its meta pages are damaged.
    #[error("not a bbolt database: {0}")]
    NotBolt(&'static str),
    /// A page holds what bbolt never writes.
    #[error("malformed bbolt database: page {page}: {what}")]
    Malformed {
        /// The page.
        page: PageId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key or a bucket's name did not come after the one before it.
    #[error("keys must be written in ascending order, each once")]
    Unordered,
    /// A key was empty or longer than [`KEY_BYTES_MAX`].
    #[error("a key must have 1 to {KEY_BYTES_MAX} bytes, not {0}")]
    KeySize(usize),
    /// A value was longer than [`VALUE_BYTES_MAX`].
    #[error("a value must have at most {VALUE_BYTES_MAX} bytes, not {0}")]
    ValueSize(usize),
}

#[cfg(test)]
mod tests;
