//! Proposals under way: who waits for the answer, and the bytes they hold.

use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenure_api::error::EtcdError;
use tenure_core::state::Outcome;
use tenure_core::types::{RequestId, Term};
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
    /// The term of the last entry that is applied.
    applied_term: Term,
}

#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Outcome>,
    permit: Permit,
    /// The tick at which it has waited long enough.
    until_tick: u64,
    /// Whether the node has it.
    is_handed_in: bool,
    /// The term of the leader that was told of it and does not lead any more. An entry of a later term is behind whatever that
    /// leader has brought into the log.
    lost_in: Option<Term>,
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
        waiting.replies.insert(id, Waiter { reply, permit, until_tick, is_handed_in: false, lost_in: None });
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

    /// The node has these proposals now. Their order says nothing: who got his id first can come last.
    pub fn handed_in(&self, ids: &[RequestId]) {
        if ids.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for id in ids {
            if let Some(waiter) = waiting.replies.get_mut(id) {
                waiter.is_handed_in = true;
            }
        }
    }

    /// The leader of `term` leads no more: all proposals that the node had by then, but `unsent`, went to him or to leaders before.
    pub fn leader_lost(&self, term: Term, unsent: &[RequestId]) {
        let unsent: BTreeSet<&RequestId> = unsent.iter().collect();
        let mut waiting = self.waiting.lock();
        for (id, waiter) in &mut waiting.replies {
            if waiter.is_handed_in && !unsent.contains(id) {
                waiter.lost_in.get_or_insert(term);
            }
        }
        let lost = waiting.take_lost();
        drop(waiting);
        tell_lost(lost);
    }

    /// An entry of `term` is applied, and whoever waited for it or one before is answered: proposals that went to leaders of earlier
    /// terms and are not answered are lost, unless they are still under way somewhere. Who waits need not wait to the end of his
    /// patience to be told that nobody knows.
    pub fn applied(&self, term: Term) {
        let mut waiting = self.waiting.lock();
        if waiting.applied_term >= term {
            return;
        }
        waiting.applied_term = term;
        let lost = waiting.take_lost();
        drop(waiting);
        tell_lost(lost);
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

impl Waiting {
    fn take_lost(&mut self) -> Vec<Waiter> {
        let applied = self.applied_term;
        let is_lost = |waiter: &Waiter| waiter.lost_in.is_some_and(|term| term < applied);
        self.replies.extract_if(|_, waiter| is_lost(waiter)).map(|(_, waiter)| waiter).collect()
    }
}

fn tell_lost(lost: Vec<Waiter>) {
    for waiter in lost {
        waiter.reply.send(Err(EtcdError::TimeoutDueToLeaderFail)).ok();
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
        pending.close();
        assert_eq!(late.try_recv(), Ok(Err(EtcdError::Stopped)));
    }

    #[test]
    fn who_waits_for_a_lost_leader_is_told_once_the_next_one_has_had_his_say() {
        let admission = Admission::new(100);
        let pending = Pending::new(10, 70);
        let wait = |id| pending.wait(RequestId(id), admission.admit(1).expect("room")).expect("waits");
        let (mut kept, mut lost, mut unsent, mut later) = (wait(1), wait(2), wait(3), wait(4));
        pending.applied(Term(4));
        // The ids rise, but who has the lowest need not come first.
        let mut late = pending.wait(RequestId(0), admission.admit(1).expect("room")).expect("waits");
        pending.handed_in(&[RequestId(1), RequestId(3), RequestId(2)]);
        pending.leader_lost(Term(4), &[RequestId(3)]);
        pending.applied(Term(4));
        assert!(lost.try_recv().is_err(), "the leader of term 4 may come back");
        pending.answer(vec![(RequestId(1), Err(EtcdError::Compacted))]);
        pending.applied(Term(6));
        assert_eq!(lost.try_recv(), Ok(Err(EtcdError::TimeoutDueToLeaderFail)));
        assert_eq!(kept.try_recv(), Ok(Err(EtcdError::Compacted)), "what was logged has its answer");
        assert!(unsent.try_recv().is_err(), "nobody was told of it");
        assert!(later.try_recv().is_err() && late.try_recv().is_err(), "they were not handed in yet");
        pending.leader_lost(Term(6), &[]);
        assert!(unsent.try_recv().is_err());
        pending.applied(Term(7));
        assert_eq!(unsent.try_recv(), Ok(Err(EtcdError::TimeoutDueToLeaderFail)));
        pending.handed_in(&[RequestId(4)]);
        pending.leader_lost(Term(6), &[]);
        assert_eq!(
            later.try_recv(),
            Ok(Err(EtcdError::TimeoutDueToLeaderFail)),
            "the entry was applied before"
        );
    }
}
