//! When each lease is renewed and when it is lost: the rules, without clock, wire or task.

use crate::LeaseId;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Requests that wait for their answers at most. It paces a client that has many leases: the next is sent when one is answered.
pub(super) const IN_FLIGHT_MAX: usize = 512;

/// A lease is renewed when this part of its life is over.
const RENEW_AFTER: u32 = 3;
/// A stream on which nothing comes for this part of a life is left: then there is time for two more.
const PATIENCE: u32 = 4;
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// The longest life that etcd grants. What a server says beyond is taken for this.
const TTL_SECONDS_MAX: u64 = 9_000_000_000;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask on the open stream that this lease be renewed.
    Send(LeaseId),
    /// The time of this lease is over, and no renewal was answered. It is not renewed any more.
    Lost {
        id: LeaseId,
        /// It was known to live.
        was_alive: bool,
    },
    /// Nothing comes on this stream: take another endpoint.
    Leave,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nobody waits for it.
    Nothing,
    /// The lease is renewed.
    Alive(LeaseId, Life),
    /// There is no such lease any more. It is not renewed any more.
    Gone(LeaseId),
}

/// Whose fault it is that a stream broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The connection's, or the member's.
    Nobody,
    /// The lease's whose renewal was first in line: its renewal was refused.
    First,
    /// The client's, who may not renew at all: leases that are not known to live will never be.
    Client,
}

/// What is known of a living lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub ttl: Duration,
    /// Until then it lives for sure: counted from when the renewal was sent.
    pub deadline: Instant,
}

impl Life {
    pub(super) fn new(since: Instant, ttl_seconds: i64) -> Self {
        let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0).min(TTL_SECONDS_MAX));
        Life { ttl, deadline: since + ttl }
    }

    fn since(&self) -> Instant {
        self.deadline - self.ttl
    }
}

/// A lease that is kept alive.
#[derive(Debug)]
struct Kept {
    /// Tells this keeping of the lease from an earlier one.
    number: u64,
    /// Nothing until the first answer.
    ttl: Option<Duration>,
    deadline: Instant,
    /// When it is to be renewed. Nothing while it waits for an answer.
    due: Option<Instant>,
    patience: Duration,
}

impl Kept {
    fn life(&self) -> Option<Life> {
        self.ttl.map(|ttl| Life { ttl, deadline: self.deadline })
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Sent {
    id: LeaseId,
    number: u64,
    at: Instant,
}

/// The stream on which renewals are sent. Answers come in the order of requests.
#[derive(Debug)]
struct Open {
    in_flight: VecDeque<Sent>,
    heard: Instant,
    /// That of the least patient lease in flight, or a little less.
    patience: Duration,
}

impl Open {
    fn hung_at(&self) -> Option<Instant> {
        self.in_flight.front().map(|first| first.at.max(self.heard) + self.patience)
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT_MAX
    }
}

/// All leases that are kept alive, and the stream, if there is one.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    kept: HashMap<LeaseId, Kept>,
    /// Those to be renewed, by when; of those due at one time the one that ends first.
    due: BTreeSet<(Instant, Instant, LeaseId)>,
    deadlines: BTreeSet<(Instant, LeaseId)>,
    open: Option<Open>,
    added: u64,
}

impl Schedule {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps a lease alive that is not yet. `answer_within` is how long its first answer may take.
    pub(super) fn add(&mut self, now: Instant, id: LeaseId, answer_within: Duration) {
        self.insert(
            id,
            Kept {
                number: 0,
                ttl: None,
                deadline: now + answer_within,
                due: Some(now),
                patience: patience(answer_within),
            },
        );
    }

    /// Keeps a lease alive of which it is known how long it lives.
    pub(super) fn add_alive(&mut self, id: LeaseId, life: Life) {
        self.insert(
            id,
            Kept {
                number: 0,
                ttl: Some(life.ttl),
                deadline: life.deadline,
                due: Some(due(&life)),
                patience: patience(life.ttl),
            },
        );
    }

    fn insert(&mut self, id: LeaseId, mut kept: Kept) {
        self.remove(id);
        self.added += 1;
        kept.number = self.added;
        self.deadlines.insert((kept.deadline, id));
        self.due.extend(kept.due.map(|due| (due, kept.deadline, id)));
        self.kept.insert(id, kept);
    }

    /// Does not renew this lease any more. Returns whether it was renewed.
    pub(super) fn remove(&mut self, id: LeaseId) -> bool {
        let Some(kept) = self.kept.remove(&id) else { return false };
        self.deadlines.remove(&(kept.deadline, id));
        if let Some(due) = kept.due {
            self.due.remove(&(due, kept.deadline, id));
        }
        true
    }

    /// Does not renew any lease any more. The stream stays.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.due.clear();
        self.deadlines.clear();
    }

    /// What is known of a lease that is kept.
    pub(super) fn life(&self, id: LeaseId) -> Option<Life> {
        self.kept.get(&id)?.life()
    }

    /// Which keeping of this lease it is: another one has another number.
    pub(super) fn number(&self, id: LeaseId) -> Option<u64> {
        self.kept.get(&id).map(|kept| kept.number)
    }

    /// Requests can be sent.
    pub(super) fn opened(&mut self, now: Instant) {
        self.broken(now, Blame::Nobody);
        self.open = Some(Open { in_flight: VecDeque::new(), heard: now, patience: PATIENCE_MAX });
    }

    /// There is no stream any more, or none could be opened. All leases are to be renewed on the next: who knows how long it
    /// takes. Returns those that are lost with it.
    pub(super) fn broken(&mut self, now: Instant, blame: Blame) -> Vec<LeaseId> {
        let first = self.open.take().and_then(|mut open| open.in_flight.pop_front());
        let lost: Vec<LeaseId> = match blame {
            Blame::Nobody => Vec::new(),
            Blame::First => first
                .filter(|first| self.number(first.id) == Some(first.number))
                .map(|first| first.id)
                .into_iter()
                .collect(),
            Blame::Client => {
                self.kept.iter().filter(|(_, kept)| kept.ttl.is_none()).map(|(id, _)| *id).collect()
            }
        };
        for &id in &lost {
            self.remove(id);
        }
        self.due.clear();
        for (&id, kept) in &mut self.kept {
            kept.due = Some(now);
            self.due.insert((now, kept.deadline, id));
        }
        lost
    }

    /// An answer came on the open stream.
    pub(super) fn answered(&mut self, now: Instant, id: LeaseId, ttl_seconds: i64) -> Heard {
        let Some(open) = &mut self.open else { return Heard::Nothing };
        let Some(place) = open.in_flight.iter().position(|sent| sent.id == id) else { return Heard::Nothing };
        open.heard = now;
        let skipped: Vec<Sent> = open.in_flight.drain(..place).collect();
        let Some(sent) = open.in_flight.pop_front() else { return Heard::Nothing };
        for sent in skipped {
            self.set_due(&sent, now);
        }
        let Some(kept) = self.kept.get_mut(&id).filter(|kept| kept.number == sent.number) else {
            return Heard::Nothing;
        };
        if ttl_seconds <= 0 {
            self.remove(id);
            return Heard::Gone(id);
        }
        let life = Life::new(sent.at, ttl_seconds);
        self.deadlines.remove(&(kept.deadline, id));
        self.deadlines.insert((life.deadline, id));
        kept.ttl = Some(life.ttl);
        kept.deadline = life.deadline;
        kept.patience = patience(life.ttl);
        self.set_due(&sent, due(&life));
        Heard::Alive(id, life)
    }

    /// Renews the lease of a request that waits no more.
    fn set_due(&mut self, sent: &Sent, at: Instant) {
        if let Some(kept) = self.kept.get_mut(&sent.id)
            && kept.number == sent.number
        {
            kept.due = Some(at);
            self.due.insert((at, kept.deadline, sent.id));
        }
    }

    /// What is to be done now.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            steps.push(Step::Lost { id, was_alive: self.life(id).is_some() });
            self.remove(id);
        }
        let Some(open) = &mut self.open else { return steps };
        if open.hung_at().is_some_and(|hung| hung <= now) {
            steps.push(Step::Leave);
            return steps;
        }
        while open.has_room()
            && let Some(&(due, _, id)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            let Some(kept) = self.kept.get_mut(&id) else { continue };
            kept.due = None;
            if open.in_flight.is_empty() {
                open.patience = PATIENCE_MAX;
            }
            open.patience = open.patience.min(kept.patience);
            open.in_flight.push_back(Sent { id, number: kept.number, at: now });
            steps.push(Step::Send(id));
        }
        steps
    }

    /// When the first lease is to be renewed.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// When there is something to do next, if nothing is heard until then.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let on_stream = self.open.as_ref().and_then(|open| {
            let due = self.first_due().filter(|_| open.has_room());
            due.into_iter().chain(open.hung_at()).min()
        });
        deadline.into_iter().chain(on_stream).min()
    }
}

fn due(life: &Life) -> Instant {
    life.since() + life.ttl / RENEW_AFTER
}

fn patience(ttl: Duration) -> Duration {
    (ttl / PATIENCE).min(PATIENCE_MAX)
}

#[cfg(test)]
mod tests;
