//! What waits for the driver loop. Everything that arrived is taken at once, so that proposals and reads that wait together
//! travel together.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Instant;
use tenure_core::node::Proposal;
use tokio::sync::oneshot;

/// Tells a reader that the member is as new as the cluster was when it asked, or why that cannot be said.
pub type ReadReply = oneshot::Sender<Result<(), tenure_api::error::EtcdError>>;

/// What arrived since the loop looked last.
#[derive(Debug)]
pub struct Arrived<E> {
    /// Commands, in the order they came.
    pub proposals: Vec<Proposal>,
    /// Readers that want to be sure.
    pub reads: Vec<ReadReply>,
    /// Everything else, in order.
    pub events: VecDeque<E>,
}

/// The inbox of the driver loop. Its length is bounded by what may come in: proposals and reads by admission permits, events by the
/// number of things under way that can report.
#[derive(Debug)]
pub struct Inbox<E> {
    waiting: Mutex<Waiting<E>>,
    arrived: Condvar,
    proposals_max: usize,
}

#[derive(Debug)]
struct Waiting<E> {
    arrived: Arrived<E>,
    asleep: bool,
}

impl<E> Default for Arrived<E> {
    fn default() -> Self {
        Self { proposals: Vec::new(), reads: Vec::new(), events: VecDeque::new() }
    }
}

impl<E> Arrived<E> {
    /// Whether nothing arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proposals.is_empty() && self.reads.is_empty() && self.events.is_empty()
    }
}

/// The inbox holds as many proposals or reads as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<E> Inbox<E> {
    /// An inbox for at most `proposals_max` proposals and as many reads.
    #[must_use]
    pub fn new(proposals_max: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting { arrived: Arrived::default(), asleep: false }),
            arrived: Condvar::new(),
            proposals_max,
        }
    }

    /// Puts a proposal in.
    ///
    /// # Errors
    /// [`Full`] if too many wait.
    pub fn propose(&self, proposal: Proposal) -> Result<(), Full> {
        self.put(|arrived, max| {
            let room = arrived.proposals.len() < max;
            if room {
                arrived.proposals.push(proposal);
            }
            room
        })
    }

    /// Puts a reader in.
    ///
    /// # Errors
    /// [`Full`] if too many wait.
    pub fn read(&self, reply: ReadReply) -> Result<(), Full> {
        self.put(|arrived, max| {
            let room = arrived.reads.len() < max;
            if room {
                arrived.reads.push(reply);
            }
            room
        })
    }

    /// Puts an event in that a client caused.
    ///
    /// # Errors
    /// [`Full`] if too many wait.
    pub fn try_send(&self, event: E) -> Result<(), Full> {
        self.put(|arrived, max| {
            let room = arrived.events.len() < max;
            if room {
                arrived.events.push_back(event);
            }
            room
        })
    }

    /// Puts an event in that a thread of the member reports.
    pub fn send(&self, event: E) {
        let fits = self.put(|arrived, _| {
            arrived.events.push_back(event);
            true
        });
        debug_assert!(fits.is_ok(), "events always fit");
    }

    fn put(&self, put: impl FnOnce(&mut Arrived<E>, usize) -> bool) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if !put(&mut waiting.arrived, self.proposals_max) {
            return Err(Full);
        }
        // One wake-up for everything that arrives while the loop gets going.
        let wake = std::mem::take(&mut waiting.asleep);
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits until something arrives or `deadline` has passed, and takes everything.
    pub fn take(&self, deadline: Instant) -> Arrived<E> {
        let mut waiting = self.waiting.lock();
        while waiting.arrived.is_empty() {
            waiting.asleep = true;
            if self.arrived.wait_until(&mut waiting, deadline).timed_out() {
                break;
            }
        }
        waiting.asleep = false;
        std::mem::take(&mut waiting.arrived)
    }
}
