//! Readers that know which index they must see applied.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_api::error::EtcdError;
use tenure_core::types::LogIndex;

use super::inbox::ReadReply;

/// The applied index, and who waits for it to move.
#[derive(Debug)]
pub struct AppliedIndex {
    applied: AtomicU64,
    waiting: Mutex<BTreeMap<LogIndex, Vec<ReadReply>>>,
}

impl AppliedIndex {
    /// At an index that is applied already.
    #[must_use]
    pub fn new(applied: LogIndex) -> Self {
        Self { applied: AtomicU64::new(applied.0), waiting: Mutex::default() }
    }

    /// The index up to which everything can be read.
    #[must_use]
    pub fn load(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Answers `replies` once `index` is applied.
    pub fn when(&self, index: LogIndex, replies: Vec<ReadReply>) {
        if self.load() < index {
            let mut waiting = self.waiting.lock();
            // Looked at again under the lock that `advance` takes after it has moved the index.
            if self.load() < index {
                waiting.entry(index).or_default().extend(replies);
                return;
            }
        }
        answer(replies, Ok(()));
    }

    /// Moves the index and answers those who waited for it.
    pub fn advance(&self, applied: LogIndex) {
        self.applied.store(applied.0, Ordering::Release);
        let ready = {
            let mut waiting = self.waiting.lock();
            if waiting.is_empty() {
                return;
            }
            let later = waiting.split_off(&applied.next());
            std::mem::replace(&mut *waiting, later)
        };
        ready.into_values().for_each(|replies| answer(replies, Ok(())));
    }

    /// Answers everybody with an error.
    pub fn close(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_values().for_each(|replies| answer(replies, Err(EtcdError::Stopped)));
    }
}

/// Answers readers.
pub fn answer(replies: Vec<ReadReply>, outcome: Result<(), EtcdError>) {
    for reply in replies {
        // A reader that is gone needs no answer.
        reply.send(outcome).ok();
    }
}
