//! Keys and their versions: the key index, reading, writing, compaction, hash.

use crate::state::TableChange;
use crate::types::{Record, Revision};

/// Keys, their versions, and the revision of the store.
#[derive(Debug, Default)]
pub struct Mvcc {
    revision: Revision,
}

impl Mvcc {
    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn install_record(&mut self, record: &Record) {
        self.revision = record.at().main;
    }

    pub(crate) fn install_table(&mut self, _change: &TableChange) {}
}
