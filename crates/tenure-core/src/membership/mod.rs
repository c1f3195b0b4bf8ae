//! Members of the cluster, the version they speak together, the Raft configuration.

use crate::state::TableChange;

/// Members, cluster version, Raft configuration.
#[derive(Debug, Default)]
pub struct Membership {}

impl Membership {
    pub(crate) fn install_table(&mut self, _change: &TableChange) {}
}
