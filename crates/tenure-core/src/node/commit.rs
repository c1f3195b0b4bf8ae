//! The way of what is committed: it is handed out to be applied, and what it made of the members is taken up.

use super::interface::{Applied, Output};
use super::message::{Message, MessageKind};
use super::{Node, engine};
use crate::state::Halt;
use crate::types::{ConfChange, ConfState, EntryKind, LogEntry, LogIndex, MemberId, Term};
use raft::eraftpb;

impl Node {
    /// Hands out what is committed, up to a removal that must wait.
    pub(super) fn hand_out_committed(&mut self) {
        let may_apply_to = self.removals.may_apply_to();
        while let Some(mut entries) = self.committed.pop_front() {
            let waiting = entries.split_off(entries.partition_point(|entry| entry.index <= may_apply_to));
            self.hand_out(entries);
            if !waiting.is_empty() {
                return self.committed.push_front(waiting);
            }
        }
    }

    fn hand_out(&mut self, entries: Vec<LogEntry>) {
        let Some(last) = entries.last() else { return };
        self.handed_out = last.index;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
            // The state machine stops at one that is malformed.
            if let Ok(change) = ConfChange::decode(entry.data.clone()) {
                self.conf_changes.insert(entry.index, change);
            }
        }
        self.out.push(Output::Apply(entries));
    }

    pub(super) fn note_applied(&mut self, applied: Applied) {
        if let Some(leases) = applied.replaced {
            self.leases.replace(leases, &mut self.out);
        }
        if applied.index <= self.applied {
            return;
        }
        let may_be_applied = self.handed_out.min(LogIndex(self.raw.raft.raft_log.persisted));
        if applied.index > may_be_applied {
            let text = format!("entry {} was applied, but only {may_be_applied} may be", applied.index);
            return self.halt(Halt(text));
        }
        if let Err(halt) = self.change_conf(applied.index, applied.conf_states) {
            return self.halt(halt);
        }
        self.applied = applied.index;
        self.removals.note_applied(applied.index);
        self.raw.advance_apply_to(applied.index.0);
        let speaks_older =
            self.version.note_applied(self.now, applied.cluster_version, applied.downgrade_target);
        self.leases.note(self.now, &applied.leases, &mut self.out);
        self.start_leases();
        for (question, lease, ticket) in self.leases.take_behind(applied.index) {
            self.ask_lease(question, lease, ticket);
        }
        match speaks_older {
            true => self.forget_newer_version(),
            false => self.compact(),
        }
    }

    /// Makes the engine follow the state machine, which has decided about the changes up to `applied`.
    fn change_conf(
        &mut self,
        applied: LogIndex,
        decided: Vec<(LogIndex, Result<ConfState, String>)>,
    ) -> Result<(), Halt> {
        let mut decided = decided.into_iter().peekable();
        while let Some(next) = self.conf_changes.first_entry().filter(|next| *next.key() <= applied) {
            let (index, change) = next.remove_entry();
            let halt = |text: String| Halt(format!("configuration change at log entry {index}: {text}"));
            let Some((_, state)) = decided.next_if(|(at, _)| *at == index) else { continue };
            let state = state.map_err(halt)?;
            let Some(change) = engine::conf_change_into(&change) else { continue };
            let made = self.raw.apply_conf_change(&change).map_err(|error| halt(error.to_string()))?;
            if engine::conf_state_from(&made) != state {
                return Err(halt(format!("the engine makes {made:?} of it, the state machine {state:?}")));
            }
            self.raw.mut_store().set_conf_state(state);
        }
        self.leave_if_removed();
        Ok(())
    }

    /// Who leads and votes no more steps down: the engine takes for granted that who leads is a member.
    fn leave_if_removed(&mut self) {
        let is_voter = self.raw.raft.prs().conf().voters().contains(self.member.0);
        if self.is_leader() && !is_voter {
            self.step_down();
        }
    }

    /// Leads no more. Whoever has most of the log is asked to follow at once, so that nobody has to notice first that there is no
    /// leader.
    pub(super) fn step_down(&mut self) {
        let raft = &self.raw.raft;
        let (term, voters) = (raft.term, raft.prs().conf().voters());
        let is_other = |id: u64| id != self.member.0 && voters.contains(id);
        let others = raft.prs().iter().filter(|(id, _)| is_other(**id));
        if let Some((next, _)) = others.max_by_key(|(id, progress)| (progress.matched, **id)) {
            let message = Message::new(MessageKind::TimeoutNow, self.member, MemberId(*next));
            self.out.push(Output::Send(Message { term: Term(term), ..message }));
        }
        self.raw.raft.become_follower(term, raft::INVALID_ID);
        // What follows from the same input must find a member that knows its role.
        self.notice_leader();
    }
}

// A removal that must wait.
impl Node {
    /// Takes up what has become known about removals, and saves what has to be known.
    pub(super) fn mind_removals(&mut self) {
        if self.raw.raft.prs().is_singleton() {
            // There is nobody else, and the state machine refuses that the last voter goes.
            self.removals.note_known_elsewhere(self.commit());
        }
        if self.is_leader() {
            self.removals.ask_witness(self.commit());
        }
        if self.removals.must_save(self.commit()) {
            self.save_commit(true);
        }
        self.stay_electable();
    }

    /// A leader whose removal is committed, and of which no other says that he knows, logs something behind it.
    pub(super) fn log_witness(&mut self) {
        let waits = self.removals.own_that_waits(self.commit()).is_some();
        if waits && self.is_leader() && self.can_propose() && self.removals.wants_witness(self.last()) {
            // It is logged at a later tick if it is refused now.
            drop(self.step_entries(vec![eraftpb::Entry::default()]));
        }
    }

    /// Who has led and could not tell the others of his removal is still needed as a voter, and perhaps to lead: the engine does not let
    /// one be elected who has changes of the members to apply, so it is told that this one is applied. What it makes of the members
    /// follows when it really is.
    fn stay_electable(&mut self) {
        let log = &self.raw.raft.raft_log;
        let waiting = self.removals.own_that_waits(self.commit()).filter(|removal| {
            self.applied.next() == *removal && log.applied < removal.0 && removal.0 <= log.persisted
        });
        if let Some(removal) = waiting.filter(|_| !self.is_leader()) {
            self.raw.advance_apply_to(removal.0);
        }
    }
}
