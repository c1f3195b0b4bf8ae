//! Leases: granted, renewed, revoked.

use crate::rpc::Rpc;
use std::sync::Arc;

/// The leases that a client renews.
pub(crate) struct Renewals {
    _rpc: Arc<Rpc>,
}

impl Renewals {
    pub(crate) fn new(rpc: Arc<Rpc>) -> Self {
        Renewals { _rpc: rpc }
    }
}
