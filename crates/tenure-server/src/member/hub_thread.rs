//! The watch thread: follows what is published and hands it to the watchers.

use super::{Shared, halting};
use crate::limits;
use crate::watch::event::HistoryBounds;
use std::sync::Arc;

/// Runs until the member stops.
pub fn run(shared: &Arc<Shared>) {
    let bounds = HistoryBounds {
        revisions_max: limits::CATCH_UP_REVISIONS_MAX,
        bytes_max: limits::CATCH_UP_BYTES_MAX,
    };
    halting(shared, "watch", || {
        while !shared.is_stopping() {
            shared.hub_bell.wait();
            shared.hub.follow(&**shared, bounds)?;
        }
        Ok(())
    });
}
