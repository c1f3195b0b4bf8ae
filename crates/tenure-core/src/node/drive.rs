//! What a node does with an input, and with what the engine makes of it.

use super::interface::{Applied, DropReason, Output, Persist, PersistToken, Proposal, ReadTicket, Role};
use super::leases::{Barrier, Question};
use super::message::{Message, MessageKind};
use super::{CONF_CHANGES_MAX, LeaseTicket, Node, engine};
use crate::command::{ClusterVersionSet, Command, Identity, Request, RequestHeader};
use crate::state::Halt;
use crate::types::{
    ConfChange, ConfChangeKind, ConfState, EntryKind, LeaseId, LogEntry, LogIndex, MemberId, Moment, Term,
};
use raft::eraftpb;
use std::time::Duration;

/// While a member takes up a snapshot the log may be so many times as long as usual.
const CATCHING_UP_BYTES_FACTOR: usize = 4;

/// A member that has not been heard of for so many election timeouts is not waited for.
const CATCHING_UP_PATIENCE_ELECTIONS: u32 = 3;

/// After this long a cluster version that has not been applied is proposed again.
const VERSION_RETRY: Duration = Duration::from_secs(4);

// Inputs.
impl Node {
    pub(super) fn tick(&mut self) {
        // A candidate must have its log on disk, and one that is alone wins at once.
        if self.is_leader() || self.persistence.is_idle() || !self.raw.raft.prs().is_singleton() {
            self.raw.tick();
        }
        if self.is_commit_unsaved {
            self.save_commit(false);
        }
        self.give_up(self.now - self.limits.request_timeout);
        if let Some(context) = self.reads.retry(self.now) {
            self.raw.read_index(context.to_be_bytes().to_vec());
        }
    }

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
            self.conf_changes_waiting.push_back(change);
        } else {
            self.out.push(Output::Dropped { id: change.id, reason: DropReason::TooManyRequests });
        }
    }

    pub(super) fn read_index(&mut self, ticket: ReadTicket) {
        if self.reads.len() < self.limits.waiting_max {
            self.reads.push(self.now, ticket);
        } else {
            self.out.push(Output::ReadDropped(vec![ticket]));
        }
    }

    pub(super) fn persisted(&mut self, token: &PersistToken) {
        match self.persistence.confirm(token) {
            Ok(None) => {}
            Ok(Some(persisted)) => {
                self.raw.on_persist_ready(persisted.batch);
                self.out.extend(persisted.messages.into_iter().map(Output::Send));
                self.hand_out_held(token);
            }
            Err(halt) => self.halt(halt),
        }
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
        self.raw.advance_apply_to(applied.index.0);
        if applied.cluster_version.is_some() {
            self.version.cluster = applied.cluster_version;
            self.version.retry_at = self.now;
        }
        self.leases.note(self.now, &applied.leases, &mut self.out);
        self.start_leases();
        for (question, lease, ticket) in self.leases.take_behind(applied.index) {
            self.ask_lease(question, lease, ticket);
        }
        self.compact();
    }

    /// Whether everything is applied that leaders of earlier terms have logged.
    fn has_caught_up(&self) -> bool {
        let raft = &self.raw.raft;
        raft.raft_log.term(self.applied.0) == Ok(raft.term)
    }

    /// Lets the lives of leases run on a leader that has caught up. Earlier the state can hold a life that an entry still to be applied
    /// has renewed.
    fn start_leases(&mut self) {
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

    pub(super) fn ask_lease(&mut self, question: Question, lease: LeaseId, ticket: LeaseTicket) {
        if matches!(question, Question::Renew) && self.is_leader() && !self.is_confirmed() {
            self.reads.want_confirmation();
            return self.leases.wait_for_confirmation(lease, ticket, &mut self.out);
        }
        let raft = &self.raw.raft;
        // A new leader may not have applied all that earlier ones have granted.
        let known =
            if raft.commit_to_current_term() { self.commit() } else { LogIndex(raft.raft_log.last_index()) };
        let is_new_leader = self.is_leader() && !self.has_caught_up();
        // A shorter life that is logged but not applied would outlast the renewal: it has to be seen first, to be cleared.
        let noted = if matches!(question, Question::Renew) { self.leases.noted() } else { LogIndex(0) };
        let barrier = Barrier { index: known.max(noted), binds_all: is_new_leader || noted > self.applied };
        let barrier = (barrier.index > self.applied).then_some(barrier);
        self.leases.ask(self.now, question, lease, ticket, barrier, &mut self.out);
    }

    /// A message that no member sends, or to somebody else, is ignored like one that the network has lost.
    pub(super) fn receive(&mut self, mut message: Message) {
        if message.to != self.member || message.from == self.member {
            return;
        }
        match message.kind {
            MessageKind::TransferLeader if !self.is_leader() => return,
            MessageKind::TimeoutNow if !self.persistence.is_idle() && self.raw.raft.prs().is_singleton() => {
                return;
            }
            MessageKind::Propose => message.entries = self.take_in_conf_changes(message.entries),
            _ => {}
        }
        if let Ok(message) = engine::message_into(message) {
            // Refusals are for members that are gone or proposals without a leader.
            drop(self.raw.step(message));
        }
    }

    /// Changes of the membership that another member passes on wait their turn here as our own do.
    fn take_in_conf_changes(&mut self, entries: Vec<LogEntry>) -> Vec<LogEntry> {
        let (changes, entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.kind != EntryKind::Normal);
        for entry in changes.into_iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
            if let Ok(change) = ConfChange::decode(entry.data) {
                self.propose_conf_change(change);
            }
        }
        entries
    }

    pub(super) fn snapshot_sent(&mut self, to: MemberId, arrived: bool) {
        let status = if arrived { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(to.0, status);
    }

    pub(super) fn transfer_leader(&mut self, to: MemberId) {
        if self.is_leader() {
            self.raw.transfer_leader(to.0);
        }
    }

    pub(super) fn campaign(&mut self) {
        let may_win = self.persistence.is_idle() || !self.raw.raft.prs().is_singleton();
        if self.raw.raft.promotable() && may_win {
            // The only refusal is of a message that is not local, which this one is.
            drop(self.raw.campaign());
        }
    }

    pub(super) fn prepare_stop(&mut self) {
        let checkpoints = self.leases.checkpoint_all(self.now);
        self.stop_at = Some(self.applied);
        if self.can_propose() && self.is_leader() && !checkpoints.is_empty() {
            self.propose_own(checkpoints);
            self.stop_at = Some(LogIndex(self.raw.raft.raft_log.last_index()));
        }
    }
}

// What follows from an input.
impl Node {
    /// Hands out whatever the engine has, and does what the node does by itself, until there is nothing more.
    pub(super) fn drive(&mut self) {
        loop {
            self.hold_election_timeout();
            self.take_batches();
            self.notice_leader();
            self.do_duties();
            if self.is_halted || !self.raw.has_ready() {
                break;
            }
        }
        if self.stop_at.is_some_and(|index| index <= self.applied || !self.is_leader()) {
            self.stop_at = None;
            self.out.push(Output::StopReady);
        }
    }

    fn hold_election_timeout(&mut self) {
        let ticks = self.election_timeout.ticks(Term(self.raw.raft.term), self.role());
        if self.raw.raft.randomized_election_timeout() != ticks {
            self.raw.raft.set_randomized_election_timeout(ticks);
        }
    }

    fn take_batches(&mut self) {
        while self.raw.has_ready() {
            let mut batch = self.raw.ready();
            let number = batch.number();
            let send: Vec<Message> =
                batch.take_messages().into_iter().filter_map(engine::message_from).collect();
            self.note_snapshots(&send);
            self.out.extend(send.into_iter().map(Output::Send));
            for state in batch.take_read_states() {
                let Some((asked_at, tickets)) = self.reads.answered(&state.request_ctx) else { continue };
                if !tickets.is_empty() {
                    self.out.push(Output::ReadReady { tickets, index: LogIndex(state.index) });
                }
                self.confirmed(asked_at);
            }
            let held = batch.take_persisted_messages().into_iter().filter_map(engine::message_from).collect();
            let committed = batch.take_committed_entries();
            match self.persist_of(&mut batch) {
                Some(mut persist) => {
                    persist.token = self.persistence.hand_out(number, held);
                    self.out.push(Output::Persist(persist));
                    self.raw.advance_append_async(batch);
                }
                None => {
                    self.raw.advance_append_async(batch);
                    if let Some(passed) = self.persistence.pass(number, held) {
                        self.raw.on_persist_ready(passed.batch);
                        self.out.extend(passed.messages.into_iter().map(Output::Send));
                    }
                }
            }
            self.hand_out(committed);
            self.hold_election_timeout();
        }
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

    fn note_snapshots(&mut self, messages: &[Message]) {
        for message in messages {
            if let Some(snapshot) = &message.snapshot {
                self.catching_up.insert(message.to, (snapshot.position.index, self.now));
            }
        }
    }

    /// What of a batch goes to the disk; the entries are readable by the engine from now on. `None` if nothing does: a
    /// commit index that has moved waits for company.
    fn persist_of(&mut self, batch: &mut raft::Ready) -> Option<Persist> {
        let snapshot = engine::snapshot_from(batch.snapshot());
        let entries = batch.take_entries();
        self.is_commit_unsaved |= batch.hs().is_some();
        if entries.is_empty() && snapshot.is_none() && !batch.must_sync() {
            return None;
        }
        if let Some(snapshot) = &snapshot {
            self.raw.mut_store().restore(snapshot);
            self.handed_out = snapshot.position.index;
            self.conf_changes.clear();
            self.held.clear();
        }
        let hard_state = std::mem::take(&mut self.is_commit_unsaved).then(|| self.hard_state());
        let handed_out = entries.iter().cloned().map(engine::entry_from).collect();
        self.raw.mut_store().append(entries);
        let must_sync = batch.must_sync();
        Some(Persist { token: PersistToken(0), snapshot, entries: handed_out, hard_state, must_sync })
    }

    /// Writes the commit index. Returns the number of its token.
    fn save_commit(&mut self, must_sync: bool) -> u64 {
        self.is_commit_unsaved = false;
        let token = self.persistence.hand_out(self.persistence.last_batch(), Vec::new());
        let number = token.0;
        let hard_state = Some(self.hard_state());
        let commit = Persist { token, snapshot: None, entries: Vec::new(), hard_state, must_sync };
        self.out.push(Output::Persist(commit));
        number
    }

    fn hand_out(&mut self, committed: Vec<eraftpb::Entry>) {
        let entries: Vec<LogEntry> = committed.into_iter().map(engine::entry_from).collect();
        if entries.iter().any(|entry| entry.index > self.commit_durable && removes(entry)) {
            let token = self.save_commit(true);
            self.held.push_back((token, entries));
        } else if let Some((token, _)) = self.held.back() {
            self.held.push_back((*token, entries));
        } else {
            self.hand_out_now(entries);
        }
    }

    /// Hands out what waited until it is durable that it is committed.
    fn hand_out_held(&mut self, token: &PersistToken) {
        while let Some((_, entries)) = self.held.pop_front_if(|(number, _)| *number <= token.0) {
            self.commit_durable = entries.last().map_or(self.commit_durable, |last| last.index);
            self.hand_out_now(entries);
        }
    }

    fn hand_out_now(&mut self, entries: Vec<LogEntry>) {
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

    /// A leader that does not vote any more steps down: the engine takes for granted that who leads is a member, and the others elect
    /// somebody anyway. What it has committed they have been told.
    fn leave_if_removed(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state == raft::StateRole::Leader && !raft.prs().conf().voters().contains(self.member.0) {
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }

    fn notice_leader(&mut self) {
        let raft = &self.raw.raft;
        let leader = (engine::member(raft.leader_id), Term(raft.term));
        if leader == self.leader {
            return;
        }
        let was_leader = self.leader.0 == Some(self.member);
        self.leader = leader;
        self.out.push(Output::LeaderChanged { leader: leader.0, term: leader.1 });
        self.reads.forget_question();
        self.confirmed_at = None;
        self.version.retry_at = self.now;
        if was_leader {
            self.leases.demote(&mut self.out);
        }
        self.start_leases();
    }

    fn do_duties(&mut self) {
        let is_alone = self.raw.raft.prs().is_singleton();
        if is_alone
            && self.role() == Role::Follower
            && self.raw.raft.promotable()
            && self.conf_changes.is_empty()
            && self.held.is_empty()
        {
            self.campaign();
        }
        if self.can_propose() {
            if !self.proposals_waiting.is_empty() {
                let waiting = std::mem::take(&mut self.proposals_waiting);
                self.step_proposals(waiting.into_iter().map(|(_, proposal)| proposal).collect());
            }
            self.step_conf_change();
        }
        self.ask_reads(is_alone);
        if self.is_leader() && self.can_propose() && self.raw.raft.commit_to_current_term() {
            let mut commands = self.leases.due(self.now);
            commands.extend(self.cluster_version(is_alone));
            self.propose_own(commands);
        }
    }

    fn ask_reads(&mut self, is_alone: bool) {
        if !self.reads.wants_to_ask() || self.leader.0.is_none() {
            return;
        }
        if self.is_leader() && !self.raw.raft.commit_to_current_term() {
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

    /// The version to raise the cluster to, one minor at a time (M8): that of the oldest member.
    fn cluster_version(&mut self, is_alone: bool) -> Option<Command> {
        let is_alone = is_alone && self.raw.raft.prs().conf().learners().is_empty();
        let oldest = self.version.members_min.as_deref().or(is_alone.then_some(self.version.own))?;
        let version = next_cluster_version(self.version.cluster.as_deref(), oldest)?;
        if self.version.retry_at > self.now {
            return None;
        }
        self.version.retry_at = self.now + VERSION_RETRY;
        Some(Command::ClusterVersionSet(ClusterVersionSet { version }))
    }
}

// Small steps.
impl Node {
    pub(super) fn role(&self) -> Role {
        engine::role(self.raw.raft.state)
    }

    pub(super) fn is_leader(&self) -> bool {
        self.role() == Role::Leader
    }

    pub(super) fn commit(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Whether there is a leader who takes proposals now.
    fn can_propose(&self) -> bool {
        self.raw.raft.leader_id != 0 && self.raw.raft.lead_transferee.is_none()
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

    fn step_entries(&mut self, entries: Vec<eraftpb::Entry>) -> raft::Result<()> {
        let mut message = eraftpb::Message { from: self.member.0, ..Default::default() };
        message.set_msg_type(eraftpb::MessageType::MsgPropose);
        message.set_entries(entries.into());
        self.raw.step(message)
    }

    /// The engine silently forgets a change that comes before the last one is applied, so it is not shown it.
    fn step_conf_change(&mut self) {
        if self.raw.raft.has_pending_conf() {
            return;
        }
        let Some(change) = self.conf_changes_waiting.pop_front() else { return };
        if self.step_entries(vec![engine::conf_change_entry(&change)]).is_err() {
            self.out.push(Output::Dropped { id: change.id, reason: DropReason::Refused });
        }
    }

    fn propose_own(&mut self, commands: Vec<Command>) {
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
            self.leases.note_lives(LogIndex(self.raw.raft.raft_log.last_index()));
        }
    }

    fn drop_proposal(&mut self, proposal: &Proposal, reason: DropReason) {
        self.out.push(Output::Dropped { id: proposal.id, reason });
    }

    /// Ends the waiting for a leader of whatever came before `since`.
    fn give_up(&mut self, since: Moment) {
        while let Some((_, proposal)) = self.proposals_waiting.pop_front_if(|(came, _)| *came < since) {
            self.drop_proposal(&proposal, DropReason::NoLeader);
        }
        let reads = self.reads.expire(since);
        if !reads.is_empty() {
            self.out.push(Output::ReadDropped(reads));
        }
    }

    /// A member that is alone needs no applied entries: nobody has to catch up. What follows a snapshot that a member is taking
    /// up stays, or it would be too far behind again once it has done so.
    pub(super) fn compact(&mut self) {
        let is_alone = self.raw.raft.prs().iter().len() == 1;
        let (mut entries_max, mut bytes_max) = match is_alone {
            true => (0, self.limits.catchup_bytes_max),
            false => (self.limits.catchup_entries_max, self.limits.catchup_bytes_max),
        };
        if let Some(needed) = self.needed_by_snapshots(entries_max) {
            let behind = usize::try_from(self.applied.0.saturating_sub(needed.0)).unwrap_or(usize::MAX);
            entries_max = entries_max.max(behind);
            bytes_max = bytes_max.saturating_mul(CATCHING_UP_BYTES_FACTOR);
        }
        self.raw.mut_store().applied_to(self.applied, entries_max, bytes_max);
    }

    /// The index behind which members that were sent a snapshot need the log, while they are there and far behind.
    fn needed_by_snapshots(&mut self, entries_max: usize) -> Option<LogIndex> {
        if self.catching_up.is_empty() {
            return None;
        }
        let (raft, applied, now) = (&self.raw.raft, self.applied, self.now);
        let patience = CATCHING_UP_PATIENCE_ELECTIONS * self.limits.election_timeout;
        let leads = raft.state == raft::StateRole::Leader;
        let mut needed = None;
        self.catching_up.retain(|member, (index, heard)| {
            let Some(progress) = raft.prs().get(member.0).filter(|_| leads) else { return false };
            if progress.recent_active {
                *heard = now;
            }
            if now.since(*heard) > patience {
                return false;
            }
            let from = LogIndex(progress.matched.max(index.0));
            let is_far = progress.matched < index.0 || from.0 + (entries_max as u64) < applied.0;
            if is_far {
                needed = Some(needed.map_or(from, |other: LogIndex| other.min(from)));
            }
            is_far
        });
        needed
    }

    fn halt(&mut self, halt: Halt) {
        self.is_halted = true;
        self.out.push(Output::Halt(halt));
    }
}

/// Whether an entry takes a member away. Of two members the one who stays cannot commit without the other what he has forgotten to
/// be committed, so nobody may hear that the other can go before that is durable.
fn removes(entry: &LogEntry) -> bool {
    entry.kind == EntryKind::ConfChange
        && ConfChange::decode(entry.data.clone()).is_ok_and(|change| change.kind == ConfChangeKind::Remove)
}

fn proposal_entry(data: bytes::Bytes) -> eraftpb::Entry {
    eraftpb::Entry { data, ..Default::default() }
}

/// `X.Y.0` of the next version on the way from `cluster` to the oldest member's, if there is one.
pub(super) fn next_cluster_version(cluster: Option<&str>, oldest: &str) -> Option<String> {
    let minor_of = |version: &str| -> Option<(u64, u64)> {
        let mut numbers = version.split(['.', '-']).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    let (major, minor) = minor_of(oldest)?;
    match cluster.and_then(minor_of) {
        None => Some(format!("{major}.{minor}.0")),
        Some((at_major, at_minor)) if at_major == major && at_minor < minor => {
            Some(format!("{major}.{}.0", at_minor + 1))
        }
        Some(_) => None,
    }
}
