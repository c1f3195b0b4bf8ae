//! Alarms: what is wrong with whom.

use crate::state::TableChange;

/// Raised alarms.
#[derive(Debug, Default)]
pub struct Alarms {}

impl Alarms {
    pub(crate) fn install_table(&mut self, _change: &TableChange) {}
}
