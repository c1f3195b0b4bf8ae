//! Proposals under way: who waits for the answer, and the bytes they hold.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenure_api::error::EtcdError;
use tenure_core::state::Outcome;
use tenure_core::types::RequestId;
use tokio::sync::oneshot;

/// Admission: bytes of commands that may be under way at once.
#[derive(Clone, Debug)]
pub struct Admission {
    used: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Room for one command, held until it is applied.
#[derive(Debug)]
pub struct Permit {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Admission {
    /// Room for `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { used: Arc::default(), bytes_max }
    }

    /// Room for one command, if there is any. One command always gets in.
    #[must_use]
    pub fn admit(&self, bytes: usize) -> Option<Permit> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let permit = Permit { used: self.used.clone(), bytes };
        (before == 0 || before + bytes <= self.bytes_max).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Who waits for which proposal.
#[derive(Debug)]
pub struct Pending {
    waiting: Mutex<Waiting>,
    proposals_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    replies: HashMap<RequestId, (oneshot::Sender<Outcome>, Permit)>,
    closed: bool,
}

impl Pending {
    /// For at most `proposals_max` proposals at once.
    #[must_use]
    pub fn new(proposals_max: usize) -> Self {
        Self { waiting: Mutex::default(), proposals_max }
    }

    /// Waits for a proposal's answer.
    ///
    /// # Errors
    /// `TooManyRequests` if too many wait, `Stopped` once the member stops.
    pub fn wait(&self, id: RequestId, permit: Permit) -> Result<oneshot::Receiver<Outcome>, EtcdError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(EtcdError::Stopped);
        }
        if waiting.replies.len() >= self.proposals_max {
            return Err(EtcdError::RequestTooManyRequests);
        }
        let (reply, answer) = oneshot::channel();
        waiting.replies.insert(id, (reply, permit));
        Ok(answer)
    }

    /// Answers proposals; those that nobody here waits for are another member's or the node's own.
    pub fn answer(&self, outcomes: Vec<(RequestId, Outcome)>) {
        let mut ready = Vec::with_capacity(outcomes.len());
        {
            let mut waiting = self.waiting.lock();
            for (id, outcome) in outcomes {
                if let Some((reply, permit)) = waiting.replies.remove(&id) {
                    ready.push((reply, outcome, permit));
                }
            }
        }
        for (reply, outcome, _permit) in ready {
            // The client may have gone: the command is done all the same.
            reply.send(outcome).ok();
        }
    }

    /// How many proposals wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.lock().replies.len()
    }

    /// Answers everybody with an error, now and from now on.
    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        for (_, (reply, _permit)) in waiting.replies.drain() {
            reply.send(Err(EtcdError::Stopped)).ok();
        }
    }
}
