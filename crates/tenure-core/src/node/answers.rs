//! What is answered without the log: linearizable reads and questions about leases. Both rest on who leads.

use super::interface::{Output, ReadTicket};
use super::leases::{Barrier, Question};
use super::{LeaseTicket, Node, engine};
use crate::types::{LeaseId, LogIndex, Moment};

impl Node {
    pub(super) fn read_index(&mut self, ticket: ReadTicket) {
        if self.reads.len() < self.limits.waiting_max {
            self.reads.push(self.now, ticket);
        } else {
            self.out.push(Output::ReadDropped(vec![ticket]));
        }
    }

    /// Whether this member leads and has committed nothing yet, so does not know what earlier leaders have.
    pub(super) fn leads_without_commit(&self) -> bool {
        self.is_leader() && !self.raw.raft.commit_to_current_term()
    }

    /// Answers others who asked before this leader could know.
    pub(super) fn answer_kept(&mut self) {
        if self.leads_without_commit() {
            return;
        }
        for question in self.reads.take_kept().into_values() {
            if let Ok(question) = engine::message_into(question) {
                drop(self.raw.step(question));
            }
        }
    }

    pub(super) fn ask_reads(&mut self, is_alone: bool) {
        if !self.reads.wants_to_ask() || self.leader.0.is_none() {
            return;
        }
        if self.leads_without_commit() {
            return;
        }
        if self.is_leader() && is_alone {
            let tickets = self.reads.take_waiting();
            if !tickets.is_empty() {
                self.out.push(Output::ReadReady { tickets, index: self.commit() });
            }
            return self.confirmed(self.now);
        }
        let context = self.request_ids.next_id().0;
        self.reads.ask(self.now, context);
        self.raw.read_index(context.to_be_bytes().to_vec());
    }

    /// The engine's answers to what was asked.
    pub(super) fn take_read_states(&mut self, states: Vec<raft::ReadState>) {
        for state in states {
            let Some((asked_at, tickets)) = self.reads.answered(&state.request_ctx) else { continue };
            if !tickets.is_empty() {
                self.out.push(Output::ReadReady { tickets, index: LogIndex(state.index) });
            }
            self.confirmed(asked_at);
        }
    }

    /// Questions and answers get lost.
    pub(super) fn ask_again(&mut self) {
        if let Some(context) = self.reads.retry(self.now) {
            self.raw.read_index(context.to_be_bytes().to_vec());
        }
    }

    pub(super) fn ask_lease(&mut self, question: Question, lease: LeaseId, ticket: LeaseTicket) {
        if matches!(question, Question::Renew) && self.is_leader() && !self.is_confirmed() {
            self.reads.want_confirmation();
            return self.leases.wait_for_confirmation(lease, ticket, &mut self.out);
        }
        let raft = &self.raw.raft;
        // A new leader may not have applied all that earlier ones have granted.
        let known = if raft.commit_to_current_term() { self.commit() } else { self.last() };
        let is_new_leader = self.is_leader() && !self.has_caught_up();
        // A shorter life that is logged but not applied would outlast the renewal: it has to be seen first, to be cleared.
        let noted = if matches!(question, Question::Renew) { self.leases.noted() } else { LogIndex(0) };
        let barrier = Barrier { index: known.max(noted), binds_all: is_new_leader || noted > self.applied };
        let barrier = (barrier.index > self.applied).then_some(barrier);
        self.leases.ask(self.now, question, lease, ticket, barrier, &mut self.out);
    }

    /// Whether everything is applied that leaders of earlier terms have logged.
    fn has_caught_up(&self) -> bool {
        let raft = &self.raw.raft;
        raft.raft_log.term(self.applied.0) == Ok(raft.term)
    }

    /// Lets the lives of leases run on a leader that has caught up. Earlier the state can hold a life that an entry still to be applied
    /// has renewed.
    pub(super) fn start_leases(&mut self) {
        if self.is_leader() && self.has_caught_up() && !self.leases.is_primary() {
            self.leases.promote(self.now, self.limits.election_timeout);
        }
    }

    /// Whether nobody else can have been elected for longer than the time that a new leader adds to every lease: then a renewal that is
    /// answered now is one that he keeps. A process that was held up does not know, whatever it believes.
    fn is_confirmed(&self) -> bool {
        let is_recent = |at: Moment| self.now.since(at) < self.limits.election_timeout;
        self.raw.raft.prs().is_singleton() || self.confirmed_at.is_some_and(is_recent)
    }

    /// The others have said that they follow this member, if it leads, and did so after `asked_at`.
    fn confirmed(&mut self, asked_at: Moment) {
        if self.is_leader() {
            self.confirmed_at = Some(asked_at);
            for (lease, ticket) in self.leases.take_unconfirmed() {
                self.ask_lease(Question::Renew, lease, ticket);
            }
        }
    }
}
