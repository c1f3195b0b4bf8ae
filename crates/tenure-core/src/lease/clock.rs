//! When leases end: known to the leader alone.

use crate::command::LeaseRemaining;
use crate::effects::{LeaseEntry, LeaseEvent};
use crate::types::{LeaseId, Moment};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// After an election at most this many leases end in one second (L7).
pub const LEASE_EXPIRIES_PER_SECOND_MAX: usize = 500;

/// After this long an expired lease that still exists is offered for revocation again: the first proposal was lost.
const REVOKE_RETRY: Duration = Duration::from_secs(3);

/// The deadlines of leases.
///
/// Every member keeps the lives of all leases here; deadlines exist only between [`promote`](Self::promote) and
/// [`demote`](Self::demote). A renewal only moves a number: the queue still holds the lease at its old
/// deadline, and when that comes it is put back at the new one. So a renewal costs one look-up, and each lease is
/// in the queue once.
#[derive(Debug)]
pub struct LeaseClock {
    checkpoint_interval: Duration,
    leases: BTreeMap<LeaseId, Timed>,
    is_primary: bool,
    deadlines: Queue,
    checkpoints: Queue,
}

/// Leases by the time to look at them again. An entry counts only if the lease agrees with its time.
type Queue = BinaryHeap<Reverse<(Moment, LeaseId)>>;

#[derive(Debug)]
struct Timed {
    ttl_seconds: i64,
    /// The life at the last checkpoint, 0 if there was none since the last renewal.
    remaining_ttl_seconds: i64,
    deadline: Moment,
    /// Where it stands in `deadlines`; never later than `deadline`, unless it is being revoked.
    queued: Moment,
    /// When its life is to be noted, and where it stands in `checkpoints`; `None` while its life is too short.
    checkpoint: Option<Checkpoint>,
    is_revoking: bool,
}

#[derive(Debug)]
struct Checkpoint {
    due: Moment,
    queued: Moment,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It has its whole life again.
    Renewed {
        /// Its life in seconds.
        ttl_seconds: i64,
        /// Whether the state still notes a shorter life, which must be cleared before the client may rely on it (L4).
        clears_checkpoint: bool,
    },
    /// Its life is over and its revocation under way: the answer is "not found" once it is gone (L4).
    Expiring,
    /// There is no such lease.
    NotFound,
    /// This member does not lead.
    NotPrimary,
}

impl LeaseClock {
    /// A clock of `leases` that stands still. A lease with more life than `checkpoint_interval` is noted that often.
    #[must_use]
    pub fn new(checkpoint_interval: Duration, leases: impl IntoIterator<Item = LeaseEntry>) -> Self {
        let leases = leases.into_iter().map(|entry| (entry.id, Timed::new(entry))).collect();
        Self {
            checkpoint_interval,
            leases,
            is_primary: false,
            deadlines: Queue::new(),
            checkpoints: Queue::new(),
        }
    }

    /// Whether the clock runs.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    /// How many leases there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is no lease.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// This member leads from now on: every lease gets what it had left at its last checkpoint, or its whole life,
    /// and `extend` on top for the time without a leader (L7). Where more than [`LEASE_EXPIRIES_PER_SECOND_MAX`] would
    /// end within a second, the later ones live longer.
    pub fn promote(&mut self, now: Moment, extend: Duration) {
        self.demote();
        self.is_primary = true;
        let mut order: Vec<(Moment, LeaseId)> =
            self.leases.iter().map(|(id, lease)| (now + lease.life() + extend, *id)).collect();
        order.sort_unstable();
        for at in LEASE_EXPIRIES_PER_SECOND_MAX..order.len() {
            let after = order[at - LEASE_EXPIRIES_PER_SECOND_MAX].0 + Duration::from_secs(1);
            order[at].0 = order[at].0.max(after);
        }
        for (deadline, id) in order {
            self.schedule(id, now, deadline);
        }
    }

    /// This member does not lead any more: nothing ends here.
    pub fn demote(&mut self) {
        self.is_primary = false;
        self.deadlines.clear();
        self.checkpoints.clear();
        for lease in self.leases.values_mut() {
            lease.checkpoint = None;
            lease.is_revoking = false;
        }
    }

    /// What an applied entry did to a lease.
    pub fn note(&mut self, now: Moment, event: LeaseEvent) {
        match event {
            LeaseEvent::Revoked(id) => {
                self.leases.remove(&id);
            }
            LeaseEvent::Granted(entry) => match self.leases.get_mut(&entry.id) {
                Some(lease) => {
                    lease.ttl_seconds = entry.ttl_seconds;
                    lease.remaining_ttl_seconds = entry.remaining_ttl_seconds;
                }
                None => {
                    let lease = Timed::new(entry);
                    let deadline = now + lease.life();
                    self.leases.insert(entry.id, lease);
                    if self.is_primary {
                        self.schedule(entry.id, now, deadline);
                    }
                }
            },
        }
    }

    /// Gives a lease its whole life again. What an election has added on top stays.
    pub fn renew(&mut self, now: Moment, id: LeaseId) -> Renewal {
        if !self.is_primary {
            return Renewal::NotPrimary;
        }
        let Some(lease) = self.leases.get_mut(&id) else { return Renewal::NotFound };
        if lease.is_revoking || lease.deadline <= now {
            return Renewal::Expiring;
        }
        lease.deadline = lease.deadline.max(now + seconds(lease.ttl_seconds));
        let interval = self.checkpoint_interval;
        if let Some(checkpoint) = &mut lease.checkpoint {
            checkpoint.due = now + interval;
        } else if lease.deadline > now + interval {
            let due = now + interval;
            lease.checkpoint = Some(Checkpoint { due, queued: due });
            self.checkpoints.push(Reverse((due, id)));
        }
        Renewal::Renewed {
            ttl_seconds: lease.ttl_seconds,
            clears_checkpoint: lease.remaining_ttl_seconds > 0,
        }
    }

    /// The granted life of a lease and the whole seconds left of it; nothing is left of one that is being revoked.
    /// `None` if there is no such lease or the clock stands still.
    #[must_use]
    pub fn life(&self, now: Moment, id: LeaseId) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id).filter(|_| self.is_primary)?;
        let left = lease.deadline.since(now).as_secs();
        Some((lease.ttl_seconds, i64::try_from(left).unwrap_or(i64::MAX)))
    }

    /// All leases, the next to end first (L10); by id while the clock stands still.
    #[must_use]
    pub fn by_expiry(&self) -> Vec<LeaseId> {
        let mut leases: Vec<_> = self.leases.iter().map(|(id, lease)| (lease.deadline, *id)).collect();
        if self.is_primary {
            leases.sort_unstable();
        }
        leases.into_iter().map(|(_, id)| id).collect()
    }

    /// At most `max` leases whose life is over, in the order in which it ended. None is offered twice within a few
    /// seconds: its revocation is under way.
    pub fn expired(&mut self, now: Moment, max: usize) -> Vec<LeaseId> {
        let mut expired = Vec::new();
        while expired.len() < max
            && let Some((at, id)) = pop_due(&mut self.deadlines, now)
        {
            let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.queued == at) else { continue };
            if at < lease.deadline {
                lease.queued = lease.deadline;
            } else {
                lease.is_revoking = true;
                lease.queued = now + REVOKE_RETRY;
                expired.push(id);
            }
            self.deadlines.push(Reverse((lease.queued, id)));
        }
        expired
    }

    /// At most `max` leases whose remaining life is to be noted now (L8).
    pub fn checkpoints_due(&mut self, now: Moment, max: usize) -> Vec<LeaseRemaining> {
        let mut due = Vec::new();
        let next = now + self.checkpoint_interval;
        while due.len() < max
            && let Some((at, id)) = pop_due(&mut self.checkpoints, now)
        {
            let Some(lease) = self.leases.get_mut(&id) else { continue };
            let Some(checkpoint) = lease.checkpoint.as_mut().filter(|checkpoint| checkpoint.queued == at)
            else {
                continue;
            };
            let is_due = at == checkpoint.due;
            if is_due {
                checkpoint.due = next;
            }
            checkpoint.queued = checkpoint.due;
            if checkpoint.due < lease.deadline {
                self.checkpoints.push(Reverse((checkpoint.due, id)));
            } else {
                lease.checkpoint = None;
            }
            if is_due && lease.deadline > now {
                due.extend(lease.to_note(now, id));
            }
        }
        due
    }

    /// The remaining life of every lease for which the state notes another, for a stop: see L8. Empty while the clock
    /// stands still.
    #[must_use]
    pub fn checkpoint_all(&self, now: Moment) -> Vec<LeaseRemaining> {
        let leases = self.leases.iter().filter(|_| self.is_primary);
        leases.filter_map(|(id, lease)| lease.to_note(now, *id)).collect()
    }

    fn schedule(&mut self, id: LeaseId, now: Moment, deadline: Moment) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.deadline = deadline;
        lease.queued = deadline;
        self.deadlines.push(Reverse((deadline, id)));
        let due = now + self.checkpoint_interval;
        if deadline > due {
            lease.checkpoint = Some(Checkpoint { due, queued: due });
            self.checkpoints.push(Reverse((due, id)));
        }
    }
}

impl Timed {
    fn new(entry: LeaseEntry) -> Self {
        Self {
            ttl_seconds: entry.ttl_seconds,
            remaining_ttl_seconds: entry.remaining_ttl_seconds,
            deadline: Moment::ORIGIN,
            queued: Moment::ORIGIN,
            checkpoint: None,
            is_revoking: false,
        }
    }

    fn life(&self) -> Duration {
        let noted = self.remaining_ttl_seconds > 0;
        seconds(if noted { self.remaining_ttl_seconds } else { self.ttl_seconds })
    }

    /// The checkpoint that would make the state know the life that is left, if it knows another. Seconds are counted
    /// up, so that a lease that is noted has at least one.
    fn to_note(&self, now: Moment, id: LeaseId) -> Option<LeaseRemaining> {
        let left = self.deadline.since(now);
        let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let left_seconds = i64::try_from(whole).unwrap_or(i64::MAX).max(1);
        let remaining_ttl_seconds = if left_seconds >= self.ttl_seconds { 0 } else { left_seconds };
        (remaining_ttl_seconds != self.remaining_ttl_seconds)
            .then_some(LeaseRemaining { id, remaining_ttl_seconds })
    }
}

fn pop_due(queue: &mut Queue, now: Moment) -> Option<(Moment, LeaseId)> {
    let due = queue.peek_mut().filter(|next| next.0.0 <= now)?;
    Some(std::collections::binary_heap::PeekMut::pop(due).0)
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests;
