//! The loop of a node: what happens is given to the engine, and what the engine makes of it is handed out.

use super::interface::{Output, Persist, PersistToken, Role};
use super::message::{Message, MessageKind};
use super::{Node, engine};
use crate::state::Halt;
use crate::types::{LogIndex, MemberId, Term};
use raft::eraftpb;

/// The question whether a member could win an election is answered within so many ticks, or not at all.
const QUESTION_TICKS: usize = 2;

// Inputs that are about Raft itself. Those of clients are in `propose.rs` and `answers.rs`.
impl Node {
    pub(super) fn tick(&mut self) {
        self.step_down_if_deaf();
        if self.is_leader() || self.may_campaign() {
            self.raw.tick();
        }
        self.ask_for_votes_again();
        self.is_commit_due = true;
        self.log_witness();
        self.give_up(self.now - self.limits.request_timeout);
        self.ask_again();
    }

    pub(super) fn persisted(&mut self, token: &PersistToken) {
        match self.persistence.confirm(token) {
            Ok(None) => {}
            Ok(Some(persisted)) => {
                self.raw.on_persist_ready(persisted.batch);
                self.out.extend(persisted.messages.into_iter().map(Output::Send));
                if let Some(state) = persisted.synced {
                    self.term_durable = state.term;
                    self.removals.note_durable(state.commit);
                }
                self.hand_out_committed();
            }
            Err(halt) => self.halt(halt),
        }
    }

    /// A message that no member sends, or to somebody else, is ignored like one that the network has lost.
    pub(super) fn receive(&mut self, mut message: Message) {
        if message.to != self.member || message.from == self.member {
            return;
        }
        match message.kind {
            MessageKind::TransferLeader if !self.is_leader() => return,
            MessageKind::TimeoutNow if !self.may_campaign() => return,
            MessageKind::PreVote if self.outbids(&message) => return,
            MessageKind::ReadIndex if self.leads_without_commit() => {
                // Only a member asks, so what is kept has a bound.
                if self.raw.raft.prs().get(message.from.0).is_some() {
                    self.reads.keep(message);
                }
                return;
            }
            MessageKind::Propose => message.entries = self.take_in_conf_changes(message.entries),
            _ => {}
        }
        let (from, commit) = (message.from, message.commit);
        if let Ok(message) = engine::message_into(message) {
            if self.raw.raft.prs().conf().voters().contains(from.0) {
                self.removals.note_known_elsewhere(commit);
            }
            self.hearing.note(from);
            // Refusals are for members that are gone or proposals without a leader.
            drop(self.raw.step(message));
        }
    }

    pub(super) fn transfer_leader(&mut self, to: MemberId) {
        if self.is_leader() {
            self.raw.transfer_leader(to.0);
        }
    }

    /// Whether another asks whether it could win an election just when this member does. Each would be told that it could, each vote for
    /// itself, and both wait for another election timeout. Of two with the same log the one with the higher id goes on, as long as
    /// its own question is fresh.
    fn outbids(&self, message: &Message) -> bool {
        let log = &self.raw.raft.raft_log;
        self.role() == Role::PreCandidate
            && self.raw.raft.election_elapsed < QUESTION_TICKS
            && message.from < self.member
            && (message.log_term.0, message.index.0) <= (log.last_term(), log.last_index())
    }

    /// Asks again whether this member could win an election. Who had heard the leader a little later than this member did not answer, and
    /// may by now; the next election timeout of this member is far away. Nothing but the asking is repeated: no term begins, and answers
    /// to the question before count as well.
    fn ask_for_votes_again(&mut self) {
        if self.role() == Role::PreCandidate && self.raw.raft.election_elapsed > QUESTION_TICKS {
            self.campaign();
        }
    }

    /// Whether the engine can begin an election. It looks through the log behind what is applied, and while another member's state is on
    /// its way to its place there is none. A candidate must have its log on disk, with what has just arrived, and one that is alone wins
    /// at once.
    fn may_campaign(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        let has_log = log.applied + 1 >= log.first_index();
        let is_on_disk = self.persistence.is_idle() && log.persisted == log.last_index();
        has_log && (is_on_disk || !self.raw.raft.prs().is_singleton())
    }

    pub(super) fn campaign(&mut self) {
        if self.raw.raft.promotable() && self.may_campaign() {
            self.raw.raft.election_elapsed = 0;
            // The only refusal is of a message that is not local, which this one is.
            drop(self.raw.campaign());
        }
    }
}

// What follows from an input.
impl Node {
    /// Hands out whatever the engine has, and does what the node does by itself, until there is nothing more.
    pub(super) fn drive(&mut self) {
        loop {
            self.hold_election_timeout();
            self.tell_commit();
            self.take_batches();
            if std::mem::take(&mut self.is_commit_due) && self.is_commit_unsaved {
                self.save_commit(false);
            }
            self.notice_leader();
            self.mind_removals();
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

    /// Tells the others how far the log is committed, unless entries that are about to leave say so.
    fn tell_commit(&mut self) {
        let commit = self.commit();
        if !self.is_leader() || self.commit_told >= commit {
            return;
        }
        self.commit_told = commit;
        let raft = &mut self.raw.raft;
        let says_so = |message: &eraftpb::Message| {
            message.msg_type == eraftpb::MessageType::MsgAppend && message.commit >= commit.0
        };
        let told: Vec<u64> =
            raft.msgs.iter().filter(|message| says_so(message)).map(|message| message.to).collect();
        let untold: Vec<u64> = raft
            .prs()
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| *id != self.member.0 && !told.contains(id))
            .collect();
        for id in untold {
            raft.send_append(id);
        }
    }

    pub(super) fn hold_election_timeout(&mut self) {
        let ticks = self.election_timeout.ticks(Term(self.raw.raft.term), self.role());
        if self.raw.raft.randomized_election_timeout() != ticks {
            self.raw.raft.set_randomized_election_timeout(ticks);
        }
    }

    fn take_batches(&mut self) {
        while self.raw.has_ready() {
            let mut batch = self.raw.ready();
            let persist = self.persist_of(&mut batch);
            let held = self.send_what_may(&mut batch);
            self.take_read_states(batch.take_read_states());
            let (number, committed) = (batch.number(), batch.take_committed_entries());
            match persist {
                Some(persist) => {
                    self.push_persist(number, held, persist);
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
            let committed: Vec<_> = committed.into_iter().map(engine::entry_from).collect();
            if !committed.is_empty() {
                self.committed.push_back(committed);
                self.hand_out_committed();
            }
            self.hold_election_timeout();
        }
    }

    /// Sends the messages of a batch that need not wait, and returns the others: they wait for what is on its way to the disk.
    fn send_what_may(&mut self, batch: &mut raft::Ready) -> Vec<Message> {
        let now: Vec<Message> = batch.take_messages().into_iter().filter_map(engine::message_from).collect();
        self.note_snapshots(&now);
        let later = batch.take_persisted_messages().into_iter().filter_map(engine::message_from);
        // Who votes alone leads before it is durable that he does, and can lead again in the same term if he forgets it.
        let is_durable = self.raw.raft.term == self.term_durable.0;
        if !is_durable || self.removals.is_secret(self.commit()) {
            return now.into_iter().chain(later).collect();
        }
        self.out.extend(now.into_iter().map(Output::Send));
        later.collect()
    }

    /// What of a batch goes to the disk; the entries are readable by the engine from now on. `None` if nothing does: a
    /// commit index that has moved waits for company, unless a removal waits for it.
    fn persist_of(&mut self, batch: &mut raft::Ready) -> Option<Persist> {
        let snapshot = engine::snapshot_from(batch.snapshot());
        let entries = batch.take_entries();
        self.is_commit_unsaved |= batch.hs().is_some();
        if let Some(snapshot) = &snapshot {
            self.raw.mut_store().restore(snapshot);
            self.handed_out = snapshot.position.index;
            self.conf_changes.clear();
            self.committed.clear();
            self.removals.forget();
        }
        let handed_out: Vec<_> = entries.iter().cloned().map(engine::entry_from).collect();
        self.removals.note_logged(&handed_out);
        self.raw.mut_store().append(entries);
        let must_save_commit = self.removals.must_save(self.commit());
        let must_sync = batch.must_sync() || must_save_commit;
        if handed_out.is_empty() && snapshot.is_none() && !must_sync {
            return None;
        }
        self.is_commit_unsaved |= must_save_commit;
        let hard_state = std::mem::take(&mut self.is_commit_unsaved).then(|| self.hard_state());
        Some(Persist { token: PersistToken(0), snapshot, entries: handed_out, hard_state, must_sync })
    }

    /// Writes the commit index, once the entries up to there have been handed out.
    pub(super) fn save_commit(&mut self, must_sync: bool) {
        self.is_commit_unsaved = false;
        let hard_state = Some(self.hard_state());
        let token = PersistToken(0);
        let commit = Persist { token, snapshot: None, entries: Vec::new(), hard_state, must_sync };
        self.push_persist(self.persistence.last_batch(), Vec::new(), commit);
    }

    fn push_persist(&mut self, batch: u64, held: Vec<Message>, mut persist: Persist) {
        let synced = persist.hard_state.filter(|_| persist.must_sync);
        if let Some(state) = synced {
            self.removals.note_saving(state.commit);
        }
        persist.token = self.persistence.hand_out(batch, held, synced);
        self.out.push(Output::Persist(persist));
    }

    pub(super) fn notice_leader(&mut self) {
        let raft = &self.raw.raft;
        let leader = (engine::member(raft.leader_id), Term(raft.term));
        if leader == self.leader {
            return;
        }
        // Answers that came before are answers.
        let answers = std::mem::take(&mut self.raw.raft.read_states);
        self.take_read_states(answers);
        let was_leader = self.leader.0 == Some(self.member);
        self.leader = leader;
        let unsent = self.proposals_waiting.iter().map(|(_, proposal)| proposal.id);
        let unsent = unsent.chain(self.conf_changes_waiting.iter().map(|(_, change)| change.id)).collect();
        self.out.push(Output::LeaderChanged { leader: leader.0, term: leader.1, unsent });
        self.hearing.forget();
        self.reads.forget_question();
        self.removals.dismiss_witness();
        self.commit_told = LogIndex(0);
        self.confirmed_at = None;
        self.version.try_again(self.now);
        if was_leader {
            self.leases.demote(&mut self.out);
        }
        self.start_leases();
    }

    /// What nobody asks for: to lead if nobody else can, to pass on what has waited, to do a leader's chores.
    fn do_duties(&mut self) {
        let is_alone = self.raw.raft.prs().is_singleton();
        if is_alone
            && self.role() == Role::Follower
            && self.raw.raft.promotable()
            && self.conf_changes.is_empty()
            && self.committed.is_empty()
        {
            self.campaign();
            // Whoever waits is told who leads before what waits is sent.
            self.notice_leader();
        }
        if self.can_propose() {
            self.step_waiting_proposals();
            self.step_conf_change();
        }
        self.answer_kept();
        self.ask_reads(is_alone);
        if self.is_leader() && self.can_propose() && self.raw.raft.commit_to_current_term() {
            let mut commands = self.leases.due(self.now);
            let is_alone = is_alone && self.raw.raft.prs().conf().learners().is_empty();
            commands.extend(self.version.due(self.now, is_alone));
            self.propose_own(commands);
        }
    }
}

// Where the engine stands.
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

    pub(super) fn last(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    pub(super) fn halt(&mut self, halt: Halt) {
        self.is_halted = true;
        self.out.push(Output::Halt(halt));
    }
}
