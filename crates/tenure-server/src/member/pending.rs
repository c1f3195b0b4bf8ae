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
    /// Ticks that a proposal may wait.
    wait_ticks: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    replies: HashMap<RequestId, Waiter>,
    ticks: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Outcome>,
    permit: Permit,
    /// The tick at which it has waited long enough.
    until_tick: u64,
}

impl Pending {
    /// For at most `proposals_max` proposals at once, each waiting for `wait_ticks` calls of [`Pending::tick`] at most. One clock for
    /// all: a timer of its own would be a fair part of what a put costs.
    #[must_use]
    pub fn new(proposals_max: usize, wait_ticks: u64) -> Self {
        Self { waiting: Mutex::default(), proposals_max, wait_ticks }
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
        let until_tick = waiting.ticks + self.wait_ticks;
        waiting.replies.insert(id, Waiter { reply, permit, until_tick });
        Ok(answer)
    }

    /// Answers proposals; those that nobody here waits for are another member's or the node's own.
    pub fn answer(&self, outcomes: Vec<(RequestId, Outcome)>) {
        let mut ready = Vec::with_capacity(outcomes.len());
        {
            let mut waiting = self.waiting.lock();
            for (id, outcome) in outcomes {
                if let Some(Waiter { reply, permit, .. }) = waiting.replies.remove(&id) {
                    ready.push((reply, outcome, permit));
                }
            }
        }
        for (reply, outcome, _permit) in ready {
            // The client may have gone: the command is done all the same.
            reply.send(outcome).ok();
        }
    }

    /// A tick of the driver's clock: who has waited long enough is told so. The command may still take effect.
    pub fn tick(&self) {
        let expired: Vec<Waiter> = {
            let mut waiting = self.waiting.lock();
            waiting.ticks += 1;
            let ticks = waiting.ticks;
            waiting
                .replies
                .extract_if(|_, waiter| waiter.until_tick <= ticks)
                .map(|(_, waiter)| waiter)
                .collect()
        };
        for waiter in expired {
            waiter.reply.send(Err(EtcdError::Timeout)).ok();
        }
    }

    /// Answers those made up to `last` with an error.
    pub fn give_up(&self, last: RequestId, error: EtcdError) {
        let waiters: Vec<Waiter> = {
            let mut waiting = self.waiting.lock();
            waiting.replies.extract_if(|id, _| *id <= last).map(|(_, waiter)| waiter).collect()
        };
        for waiter in waiters {
            waiter.reply.send(Err(error)).ok();
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
        for (_, waiter) in waiting.replies.drain() {
            waiter.reply.send(Err(EtcdError::Stopped)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_too_long_is_told_and_gives_its_room_back() {
        let admission = Admission::new(100);
        let pending = Pending::new(10, 3);
        let mut early = pending.wait(RequestId(1), admission.admit(60).expect("room")).expect("waits");
        pending.tick();
        let mut late = pending.wait(RequestId(2), admission.admit(40).expect("room")).expect("waits");
        assert!(admission.admit(1).is_none(), "all room is taken");
        pending.tick();
        assert!(early.try_recv().is_err(), "two ticks are not three");
        pending.tick();
        assert_eq!(early.try_recv(), Ok(Err(EtcdError::Timeout)));
        assert!(late.try_recv().is_err() && pending.len() == 1);
        assert!(admission.admit(60).is_some());
        let mut later = pending.wait(RequestId(3), admission.admit(1).expect("room")).expect("waits");
        pending.give_up(RequestId(2), EtcdError::TimeoutDueToLeaderFail);
        assert_eq!(late.try_recv(), Ok(Err(EtcdError::TimeoutDueToLeaderFail)));
        assert!(later.try_recv().is_err());
        pending.close();
        assert_eq!(later.try_recv(), Ok(Err(EtcdError::Stopped)));
    }
}
