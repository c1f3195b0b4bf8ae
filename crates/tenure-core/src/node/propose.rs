//! How something gets into the log: what clients want, and what a leader wants by itself.

use super::interface::{DropReason, Output, Proposal};
use super::{CONF_CHANGES_MAX, Node, engine};
use crate::command::{Command, Identity, Request, RequestHeader};
use crate::types::{ConfChange, EntryKind, LogEntry, Moment};
use raft::eraftpb;

impl Node {
    pub(super) fn propose(&mut self, proposals: Vec<Proposal>) {
        let unapplied = self.commit().0.saturating_sub(self.applied.0);
        if unapplied > self.limits.unapplied_entries_max {
            proposals
                .into_iter()
                .for_each(|proposal| self.drop_proposal(&proposal, DropReason::TooManyRequests));
        } else if self.can_propose() && self.proposals_waiting.is_empty() {
            self.step_proposals(proposals);
        } else {
            for proposal in proposals {
                if self.proposals_waiting.len() < self.limits.waiting_max {
                    self.proposals_waiting.push_back((self.now, proposal));
                } else {
                    self.drop_proposal(&proposal, DropReason::TooManyRequests);
                }
            }
        }
    }

    pub(super) fn propose_conf_change(&mut self, change: ConfChange) {
        if self.conf_changes_waiting.len() < CONF_CHANGES_MAX {
            self.conf_changes_waiting.push_back((self.now, change));
        } else {
            self.out.push(Output::Dropped { id: change.id, reason: DropReason::TooManyRequests });
        }
    }

    /// The entries of a leader are one message to itself; for another leader they are cut to the size of a message.
    fn step_proposals(&mut self, proposals: Vec<Proposal>) {
        let bytes_max = if self.is_leader() { u64::MAX } else { self.limits.message_bytes_max };
        let mut proposals = proposals.into_iter().peekable();
        while let Some(first) = proposals.next() {
            let mut bytes = first.data.len() as u64;
            let mut batch = vec![first];
            while let Some(next) = proposals.next_if(|next| bytes + next.data.len() as u64 <= bytes_max) {
                bytes += next.data.len() as u64;
                batch.push(next);
            }
            let entries = batch.iter().map(|proposal| proposal_entry(proposal.data.clone())).collect();
            if self.step_entries(entries).is_err() {
                let is_member = self.raw.raft.prs().get(self.member.0).is_some();
                let reason = if is_member { DropReason::TooManyRequests } else { DropReason::Refused };
                batch.iter().for_each(|proposal| self.drop_proposal(proposal, reason));
            }
        }
    }

    pub(super) fn step_entries(&mut self, entries: Vec<eraftpb::Entry>) -> raft::Result<()> {
        let mut message = eraftpb::Message { from: self.member.0, ..Default::default() };
        message.set_msg_type(eraftpb::MessageType::MsgPropose);
        message.set_entries(entries.into());
        self.raw.step(message)
    }

    pub(super) fn step_waiting_proposals(&mut self) {
        if !self.proposals_waiting.is_empty() {
            let waiting = std::mem::take(&mut self.proposals_waiting);
            self.step_proposals(waiting.into_iter().map(|(_, proposal)| proposal).collect());
        }
    }

    /// The engine silently forgets a change that comes before the last one is applied, so it is not shown it. A removal that waits here
    /// it may hold for applied.
    pub(super) fn step_conf_change(&mut self) {
        if self.raw.raft.has_pending_conf() || self.removals.own_that_waits(self.commit()).is_some() {
            return;
        }
        let Some((_, change)) = self.conf_changes_waiting.pop_front() else { return };
        if self.step_entries(vec![engine::conf_change_entry(&change)]).is_err() {
            self.out.push(Output::Dropped { id: change.id, reason: DropReason::Refused });
        }
    }

    pub(super) fn propose_own(&mut self, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        let mut entries = Vec::with_capacity(commands.len());
        let notes_lives = commands.iter().any(|command| matches!(command, Command::LeaseCheckpoint(_)));
        for command in commands {
            let header = RequestHeader { id: self.request_ids.next_id(), identity: Identity::of_cluster() };
            entries.push(proposal_entry(Request { header, command }.encode()));
        }
        // Whatever is refused is proposed again when its time comes.
        drop(self.step_entries(entries));
        if notes_lives {
            self.leases.note_lives(self.last());
        }
    }

    pub(super) fn prepare_stop(&mut self) {
        let checkpoints = self.leases.checkpoint_all(self.now);
        self.stop_at = Some(self.applied);
        if self.can_propose() && self.is_leader() && !checkpoints.is_empty() {
            self.propose_own(checkpoints);
            self.stop_at = Some(self.last());
        }
    }

    /// Changes of the membership that another member passes on wait their turn here as our own do.
    pub(super) fn take_in_conf_changes(&mut self, entries: Vec<LogEntry>) -> Vec<LogEntry> {
        let (changes, entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.kind != EntryKind::Normal);
        for entry in changes.into_iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
            if let Ok(change) = ConfChange::decode(entry.data) {
                self.propose_conf_change(change);
            }
        }
        entries
    }

    /// Ends the waiting for a leader of whatever came before `since`.
    pub(super) fn give_up(&mut self, since: Moment) {
        while let Some((_, proposal)) = self.proposals_waiting.pop_front_if(|(came, _)| *came < since) {
            self.drop_proposal(&proposal, DropReason::NoLeader);
        }
        // Nobody wants a member to go hours after he has asked for it.
        while let Some((_, change)) = self.conf_changes_waiting.pop_front_if(|(came, _)| *came < since) {
            self.out.push(Output::Dropped { id: change.id, reason: DropReason::NoLeader });
        }
        let reads = self.reads.expire(since);
        if !reads.is_empty() {
            self.out.push(Output::ReadDropped(reads));
        }
    }

    fn drop_proposal(&mut self, proposal: &Proposal, reason: DropReason) {
        self.out.push(Output::Dropped { id: proposal.id, reason });
    }

    /// Whether there is a leader who takes proposals now.
    pub(super) fn can_propose(&self) -> bool {
        self.raw.raft.leader_id != 0 && self.raw.raft.lead_transferee.is_none()
    }
}

fn proposal_entry(data: bytes::Bytes) -> eraftpb::Entry {
    eraftpb::Entry { data, ..Default::default() }
}
