//! Leases: what exists, which keys are attached, and the leader's clock of them.

use crate::state::TableChange;
use crate::types::Record;

/// Leases and what is attached to them.
#[derive(Debug, Default)]
pub struct Leases {}

impl Leases {
    pub(crate) fn install_record(&mut self, _record: &Record) {}
    pub(crate) fn install_table(&mut self, _change: &TableChange) {}
}
