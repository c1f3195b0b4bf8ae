//! A stream's mailbox: what the hub has for it, bounded.

use super::event::RevisionEvents;
use crate::limits;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tenure_core::types::Revision;
use tokio::sync::Notify;

/// Something for one watcher of the stream.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Events of one revision.
    Events {
        /// Whose.
        watch_id: i64,
        /// The revision.
        revision: Arc<RevisionEvents>,
        /// Which of its events.
        picked: Vec<u32>,
    },
    /// Everything up to `revision` has been delivered.
    Progress {
        /// Whose, or -1 for the stream.
        watch_id: i64,
        /// Up to where.
        revision: Revision,
    },
}

/// What was in a mailbox.
#[derive(Debug, Default)]
pub struct Contents {
    /// In order.
    pub deliveries: VecDeque<Delivery>,
    /// Watchers that must read history from a revision on; their deliveries above come first.
    pub behind: Vec<(i64, Revision)>,
    /// The member stops.
    pub closed: bool,
}

/// The mailbox of one stream.
#[derive(Debug, Default)]
pub struct Mailbox {
    contents: Mutex<Filling>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Filling {
    contents: Contents,
    bytes: usize,
}

impl Mailbox {
    /// Puts a delivery in. `false` if it does not fit: a progress fits only while nobody is noted as behind, since it would come before
    /// the events that did not.
    pub fn offer(&self, delivery: Delivery) -> bool {
        let mut inner = self.contents.lock();
        let (bytes, vouches) = match &delivery {
            Delivery::Events { revision, .. } => (revision.bytes, false),
            Delivery::Progress { .. } => (0, true),
        };
        let full = inner.contents.deliveries.len() >= limits::MAILBOX_DELIVERIES_MAX
            || inner.bytes + bytes > limits::MAILBOX_BYTES_MAX && !inner.contents.deliveries.is_empty();
        if full || vouches && !inner.contents.behind.is_empty() {
            return false;
        }
        inner.bytes += bytes;
        inner.contents.deliveries.push_back(delivery);
        drop(inner);
        self.arrived.notify_one();
        true
    }

    /// Notes that a watcher must read history from `from` on. One note a watcher, since the hub stops delivering to it.
    pub fn fall_behind(&self, watch_id: i64, from: Revision) {
        self.contents.lock().contents.behind.push((watch_id, from));
        self.arrived.notify_one();
    }

    /// Notes that the member stops.
    pub fn close(&self) {
        self.contents.lock().contents.closed = true;
        self.arrived.notify_one();
    }

    /// Takes everything out.
    pub fn take(&self) -> Contents {
        let mut inner = self.contents.lock();
        inner.bytes = 0;
        let closed = inner.contents.closed;
        std::mem::replace(&mut inner.contents, Contents { closed, ..Contents::default() })
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let inner = self.contents.lock();
        inner.contents.deliveries.is_empty() && inner.contents.behind.is_empty()
    }

    /// Waits until something has arrived since the last wait.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
