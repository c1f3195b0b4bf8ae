//! What the leader does for leases: answers, revocations, checkpoints.

use super::interface::{LeaseLife, LeaseRefusal, LeaseTicket, Output};
use crate::command::{Command, LeaseRemaining, LeaseRevoke};
use crate::lease::{LeaseClock, Renewal};
use crate::state::{LeaseEntry, LeaseEvent};
use crate::types::{LeaseId, LogIndex, Moment};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often expired leases are looked for, and how many are revoked at a time (L5).
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
const REVOKES_MAX: usize = 500;

/// Leases in one checkpoint command (L8).
const CHECKPOINTS_MAX: usize = 1_000;

/// After this long a life that is still noted is cleared again.
const CLEAR_RETRY: Duration = Duration::from_secs(3);

/// Questions and clock of one member. The clock runs while it leads.
pub(super) struct LeaseDesk {
    clock: LeaseClock,
    interval: Duration,
    waiting_max: usize,
    expiry_at: Moment,
    /// Renewals that wait until the state has forgotten the shorter life (L4).
    clearing: BTreeMap<LeaseId, Clearing>,
    /// Renewals that came too late and wait until the lease is gone (L4).
    ending: BTreeMap<LeaseId, Vec<LeaseTicket>>,
    /// Questions that can only be answered for sure once this entry is applied.
    behind: BTreeMap<LogIndex, Vec<(Question, LeaseId, LeaseTicket)>>,
    /// Renewals that wait until it is sure that this member leads.
    unconfirmed: Vec<(LeaseId, LeaseTicket)>,
    waiting: usize,
    /// Up to here the log can hold lives that this leader has noted.
    noted: LogIndex,
    /// To be cleared by the next checkpoint.
    to_clear: Vec<LeaseRemaining>,
}

#[derive(Default)]
struct Clearing {
    proposed: Moment,
    tickets: Vec<LeaseTicket>,
}

/// Entries that are not applied yet.
#[derive(Clone, Copy)]
pub(super) struct Barrier {
    /// The last of them: before it is applied no lease can be called unknown.
    pub(super) index: LogIndex,
    /// Whether they can change the answer about a lease that is known, too.
    pub(super) binds_all: bool,
}

/// What is asked about a lease.
#[derive(Clone, Copy)]
pub(super) enum Question {
    Renew,
    Life,
}

impl LeaseDesk {
    pub(super) fn new(interval: Duration, waiting_max: usize, leases: Vec<LeaseEntry>) -> Self {
        Self {
            clock: LeaseClock::new(interval, leases),
            interval,
            waiting_max,
            expiry_at: Moment::ORIGIN,
            clearing: BTreeMap::new(),
            ending: BTreeMap::new(),
            behind: BTreeMap::new(),
            unconfirmed: Vec::new(),
            waiting: 0,
            noted: LogIndex(0),
            to_clear: Vec::new(),
        }
    }

    /// Whether the clock runs.
    pub(super) fn is_primary(&self) -> bool {
        self.clock.is_primary()
    }

    pub(super) fn promote(&mut self, now: Moment, extend: Duration) {
        self.clock.promote(now, extend);
        self.expiry_at = now + EXPIRY_INTERVAL;
    }

    /// Whoever waits is sent to the new leader.
    pub(super) fn demote(&mut self, out: &mut Vec<Output>) {
        self.clock.demote();
        self.to_clear.clear();
        self.noted = LogIndex(0);
        let clearing = std::mem::take(&mut self.clearing).into_values().flat_map(|clearing| clearing.tickets);
        let ending = std::mem::take(&mut self.ending).into_values().flatten();
        let behind = std::mem::take(&mut self.behind).into_values().flatten();
        let unconfirmed = std::mem::take(&mut self.unconfirmed).into_iter().map(|(_, ticket)| ticket);
        let renewals = clearing.chain(ending).chain(unconfirmed).map(|ticket| (Question::Renew, ticket));
        for (question, ticket) in renewals.chain(behind.map(|(question, _, ticket)| (question, ticket))) {
            out.push(refuse(question, ticket, LeaseRefusal::NotPrimary));
        }
        self.waiting = 0;
    }

    /// All leases have been replaced by those of another member's state machine.
    pub(super) fn replace(&mut self, leases: Vec<LeaseEntry>, out: &mut Vec<Output>) {
        self.demote(out);
        self.clock = LeaseClock::new(self.interval, leases);
    }

    pub(super) fn list(&self, ticket: LeaseTicket) -> Output {
        Output::LeaseList { ticket, leases: self.clock.by_expiry() }
    }

    /// Answers a question, or keeps it. `barrier` is what is not applied yet, if there is something.
    pub(super) fn ask(
        &mut self,
        now: Moment,
        question: Question,
        lease: LeaseId,
        ticket: LeaseTicket,
        barrier: Option<Barrier>,
        out: &mut Vec<Output>,
    ) {
        if let Some(Barrier { index, binds_all: true }) = barrier {
            return self.wait_for_entry(index, question, lease, ticket, out);
        }
        let refusal = match question {
            Question::Life => match self.clock.life(now, lease) {
                Some((ttl_seconds, remaining_seconds)) => {
                    let life = Ok(LeaseLife { ttl_seconds, remaining_seconds });
                    return out.push(Output::LeaseLife { ticket, life });
                }
                None if !self.clock.is_primary() => LeaseRefusal::NotPrimary,
                None => LeaseRefusal::NotFound,
            },
            Question::Renew => match self.clock.renew(now, lease) {
                Renewal::Renewed { ttl_seconds, clears_checkpoint: false } => {
                    return out.push(Output::LeaseRenewed { ticket, ttl_seconds: Ok(ttl_seconds) });
                }
                Renewal::Renewed { clears_checkpoint: true, .. } if self.may_wait() => {
                    return self.wait_for_clear(now, lease, ticket);
                }
                Renewal::Expiring if self.may_wait() => {
                    self.waiting += 1;
                    return self.ending.entry(lease).or_default().push(ticket);
                }
                Renewal::NotFound => LeaseRefusal::NotFound,
                Renewal::NotPrimary | Renewal::Expiring | Renewal::Renewed { .. } => LeaseRefusal::NotPrimary,
            },
        };
        match barrier {
            Some(barrier) if refusal == LeaseRefusal::NotFound => {
                self.wait_for_entry(barrier.index, question, lease, ticket, out);
            }
            _ => out.push(refuse(question, ticket, refusal)),
        }
    }

    /// Asks again once the entry at `index` is applied.
    fn wait_for_entry(
        &mut self,
        index: LogIndex,
        question: Question,
        lease: LeaseId,
        ticket: LeaseTicket,
        out: &mut Vec<Output>,
    ) {
        if !self.may_wait() {
            return out.push(refuse(question, ticket, LeaseRefusal::NotPrimary));
        }
        self.waiting += 1;
        self.behind.entry(index).or_default().push((question, lease, ticket));
    }

    /// Keeps a renewal until it is sure that this member leads.
    pub(super) fn wait_for_confirmation(
        &mut self,
        lease: LeaseId,
        ticket: LeaseTicket,
        out: &mut Vec<Output>,
    ) {
        if !self.may_wait() {
            return out.push(refuse(Question::Renew, ticket, LeaseRefusal::NotPrimary));
        }
        self.waiting += 1;
        self.unconfirmed.push((lease, ticket));
    }

    /// The renewals that waited for it, to be asked again.
    pub(super) fn take_unconfirmed(&mut self) -> Vec<(LeaseId, LeaseTicket)> {
        self.waiting -= self.unconfirmed.len();
        std::mem::take(&mut self.unconfirmed)
    }

    fn may_wait(&self) -> bool {
        self.waiting < self.waiting_max
    }

    fn wait_for_clear(&mut self, now: Moment, lease: LeaseId, ticket: LeaseTicket) {
        self.waiting += 1;
        let clearing = self.clearing.entry(lease).or_default();
        if clearing.tickets.is_empty() {
            clearing.proposed = now;
            self.to_clear.push(LeaseRemaining { id: lease, remaining_ttl_seconds: 0 });
        }
        clearing.tickets.push(ticket);
    }

    /// Proposals can get lost without a change of the leader.
    fn clear_again(&mut self, now: Moment) {
        for (id, clearing) in &mut self.clearing {
            if now.since(clearing.proposed) >= CLEAR_RETRY {
                clearing.proposed = now;
                self.to_clear.push(LeaseRemaining { id: *id, remaining_ttl_seconds: 0 });
            }
        }
    }

    /// What applied entries did to leases, and the answers that follow.
    pub(super) fn note(&mut self, now: Moment, events: &[LeaseEvent], out: &mut Vec<Output>) {
        for event in events {
            self.clock.note(now, *event);
            let (id, renewed) = match event {
                LeaseEvent::Revoked(id) => (*id, false),
                LeaseEvent::Granted(entry) if entry.remaining_ttl_seconds == 0 => (entry.id, true),
                LeaseEvent::Granted(_) => continue,
            };
            let clearing = self.clearing.remove(&id).unwrap_or_default().tickets;
            if renewed {
                // Renewed anew: its whole life counts from the answer, whenever the client asked.
                let again = clearing.into_iter().map(|ticket| (Question::Renew, id, ticket));
                self.behind.entry(LogIndex(0)).or_default().extend(again);
                continue;
            }
            let ending = self.ending.remove(&id).unwrap_or_default();
            for ticket in clearing.into_iter().chain(ending) {
                self.waiting -= 1;
                out.push(refuse(Question::Renew, ticket, LeaseRefusal::NotFound));
            }
        }
    }

    /// The questions that waited for an entry that is applied, to be asked again.
    pub(super) fn take_behind(&mut self, applied: LogIndex) -> Vec<(Question, LeaseId, LeaseTicket)> {
        let later = self.behind.split_off(&applied.next());
        let ready: Vec<_> = std::mem::replace(&mut self.behind, later).into_values().flatten().collect();
        self.waiting -= ready.len();
        ready
    }

    /// The last entry in which this leader has noted how much life leases have left.
    pub(super) fn noted(&self) -> LogIndex {
        self.noted
    }

    /// This leader has noted how much life leases have left, at the latest in the entry at `last`.
    pub(super) fn note_lives(&mut self, last: LogIndex) {
        self.noted = last;
    }

    /// What the leader has to propose for its leases now.
    pub(super) fn due(&mut self, now: Moment) -> Vec<Command> {
        let mut due = Vec::new();
        if self.clock.is_primary() && now >= self.expiry_at {
            self.expiry_at = now + EXPIRY_INTERVAL;
            self.clear_again(now);
            let expired = self.clock.expired(now, REVOKES_MAX);
            due.extend(expired.into_iter().map(|id| Command::LeaseRevoke(LeaseRevoke { id })));
            let checkpoints = self.clock.checkpoints_due(now, CHECKPOINTS_MAX);
            if !checkpoints.is_empty() {
                due.push(Command::LeaseCheckpoint(checkpoints));
            }
        }
        if !self.to_clear.is_empty() {
            due.push(Command::LeaseCheckpoint(std::mem::take(&mut self.to_clear)));
        }
        due
    }

    /// Everything that is left of all leases, to be proposed before a stop (L8).
    pub(super) fn checkpoint_all(&self, now: Moment) -> Vec<Command> {
        let all = self.clock.checkpoint_all(now);
        all.chunks(CHECKPOINTS_MAX).map(|chunk| Command::LeaseCheckpoint(chunk.to_vec())).collect()
    }
}

fn refuse(question: Question, ticket: LeaseTicket, refusal: LeaseRefusal) -> Output {
    match question {
        Question::Renew => Output::LeaseRenewed { ticket, ttl_seconds: Err(refusal) },
        Question::Life => Output::LeaseLife { ticket, life: Err(refusal) },
    }
}
