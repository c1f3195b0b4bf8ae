//! Watches: streams of changes that survive whatever happens to connections and servers.

use crate::rpc::Rpc;
use std::sync::Arc;

/// All watches of a client.
pub(crate) struct Watches {
    _rpc: Arc<Rpc>,
}

impl Watches {
    pub(crate) fn new(rpc: Arc<Rpc>) -> Self {
        Watches { _rpc: rpc }
    }
}
