//! The consensus driver: inputs in, outputs out. The `raft` crate stays behind this module.
//!
//! A [`Node`] holds no socket, file, clock or thread. The driver tells it what happens ([`Input`]) and what time it is, and
//! carries out what it asks for ([`Output`]). The server does so with real disks and sockets, the simulator with fake
//! ones, and the same seed and inputs always give the same outputs.
//!
//! # The driver's side of the protocol
//!
//! 1. **Start.** Read log and state machine from disk, [`Node::new`] with what they hold. A new cluster begins with
//!    [`bootstrap`], written to the disk first. The outputs of the start are carried out like all others.
//! 2. **Tick.** [`Input::Tick`] every [`NodeConfig::tick`]. Nothing else in the node moves by itself, but nothing waits for a
//!    tick either: a member that is alone leads as soon as it starts, and a put passes through without one.
//! 3. **Propose.** Collect what waits into one [`Input::Propose`]: it becomes one batch of the log, one write, one sync. What
//!    cannot enter the log comes back as [`Output::Dropped`]; of everything else the driver hears when it is applied.
//! 4. **Persist.** Give [`Output::Persist`]s to the disk in their order. Once one is durable, hand its token back with
//!    [`Input::Persisted`]; of several that one sync made durable, the last token is enough. Before that no entry in it is
//!    counted, applied, or acknowledged to another member; the node goes on with everything that need not wait. If
//!    `must_sync` is false the token may go back when it is written.
//! 5. **Apply.** Give [`Output::Apply`]s to the state machine in their order: they are committed and on this member's disk. Then
//!    hand in one [`Applied`] of what was applied, *before* replies leave, so that the node knows a lease before its owner
//!    does.
//! 6. **Send.** [`Output::Send`] may leave at once. What must not leave before something is on disk is not handed out.
//! 7. **Read.** [`Input::ReadIndex`] with a ticket for all reads that wait; [`Output::ReadReady`] names the index to be applied
//!    before they are served. A leader answers only after it has committed an entry of its own term.
//! 8. **Snapshot.** A [`MessageKind::InstallSnapshot`] to be sent says what is wanted at least. The driver takes the state
//!    as it is by then, puts the position and the Raft configuration of *that* into the message, sends the content beside
//!    it, and says how it went: [`Input::SnapshotSent`]. On the other side the content is taken in first, beside the store
//!    that is in use, and then the message is handed in. If the node wants it, it comes back in [`Persist::snapshot`].
//!    Then, in this order: the persists before it; the content in the place of the store's and the state machine's,
//!    durable; the log notes it; its entries and hard state; the token; and [`Applied::snapshot`] of the state that was
//!    installed, even if another has taken its place since. What an [`Output::Apply`] from before it still holds is
//!    applied before or left out. Nothing handed out later overtakes it.
//! 9. **Turn.** What has arrived together is best handed in together ([`Node::handle_all`]), in its order. It comes to the same as one by
//!    one, with fewer messages and writes: what follows from all of it goes out at the end. A message that came with a snapshot's
//!    content goes by itself, so that the driver knows which content the outputs are about.
//! 10. **Stop.** [`Input::Stop`], go on until [`Output::StopReady`]. After [`Output::Halt`] the process ends at once.
//!
//! By itself the node proposes: the revocation of leases whose life is over, checkpoints of how much life is left, and
//! the cluster version. The request ids of these come from [`NodeConfig::request_ids`]; nobody waits for them.
//!
//! # What is behind it
//!
//! The engine hands out batches; each gets a token if it has something for the disk, and is passed otherwise. A change of
//! the commit index alone is not worth a write: it travels with the next batch or tick, since what has been applied
//! is known to be committed anyway ([`Restart`]). The log in memory (`log.rs`) holds entries from the
//! moment they are handed out, so the engine can read what is not durable yet, but counts only what is.
//!
//! The one thing that is not applied as soon as it is committed is the removal of a member (`removals.rs`): who stays must not need him
//! who goes to find out that he is gone.
//!
//! # Where what is
//!
//! The loop is in `drive.rs`. What comes from clients enters by `propose.rs` (into the log) or `answers.rs` (no log needed); what is
//! committed leaves by `commit.rs`; `catch_up.rs` says how much of the log is kept for others. These are the steps of [`Node`]; what they
//! keep books in has a file each: `persist.rs`, `removals.rs`, `reads.rs`, `leases.rs`, `log.rs`, `version.rs`,
//! `clock.rs`. `engine.rs` translates
//! to and from the `raft` crate.

mod answers;
mod catch_up;
mod clock;
mod commit;
mod config;
mod drive;
mod engine;
mod hearing;
mod interface;
mod leases;
mod log;
mod message;
mod persist;
mod propose;
mod reads;
mod removals;
mod version;

#[cfg(test)]
mod tests;

pub use config::{NodeConfig, Restart, StartError};
pub use interface::{
    Applied, DropReason, Input, LeaseLife, LeaseRefusal, LeaseTicket, Output, Persist, PersistToken,
    Progress, Proposal, ReadTicket, Role, Status,
};
pub use message::{
    InvalidMessage, Message, MessageKind, Snapshot, conf_state_from_wire, conf_state_to_wire,
    entry_from_wire, entry_to_wire, hard_state_from_wire, hard_state_to_wire,
};

use crate::membership::Member;
use crate::types::{
    ConfChange, ConfChangeKind, EntryKind, HardState, LogEntry, LogIndex, MemberId, Moment, RequestId,
    RequestIds, Term,
};
use clock::ElectionTimeout;
use hearing::Hearing;
use leases::{LeaseDesk, Question};
use log::MemoryLog;
use persist::Persistence;
use raft::RawNode;
use reads::Reads;
use removals::Removals;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use version::VersionDesk;

/// Bytes of entries in one [`Output::Apply`].
const APPLY_BYTES_MAX: u64 = 4 << 20;

/// Changes of the membership that wait for the one before them.
const CONF_CHANGES_MAX: usize = 64;

/// The consensus driver of one member.
pub struct Node {
    raw: RawNode<MemoryLog>,
    member: MemberId,
    limits: Limits,
    request_ids: RequestIds,
    election_timeout: ElectionTimeout,
    now: Moment,
    persistence: Persistence,
    /// Whether the commit index has moved since the last hard state that was handed out.
    is_commit_unsaved: bool,
    /// Whether it is to be handed out though nothing else is.
    is_commit_due: bool,
    /// The term that this member will not forget.
    term_durable: Term,
    /// Up to here the others have been told, if this member leads, that the log is committed.
    commit_told: LogIndex,
    /// Committed entries that are not handed out yet: a removal among them waits.
    committed: VecDeque<Vec<LogEntry>>,
    removals: Removals,
    /// The last entry handed out for applying, and the last one applied.
    handed_out: LogIndex,
    applied: LogIndex,
    /// Changes of the membership that are handed out for applying.
    conf_changes: BTreeMap<LogIndex, ConfChange>,
    conf_changes_waiting: VecDeque<(Moment, ConfChange)>,
    proposals_waiting: VecDeque<(Moment, Proposal)>,
    reads: Reads,
    hearing: Hearing,
    leases: LeaseDesk,
    /// When this member, which leads, asked the others the last time whether it does, of those times that they said so.
    confirmed_at: Option<Moment>,
    version: VersionDesk,
    leader: (Option<MemberId>, Term),
    /// Members that were sent a snapshot at this index and are still far behind, and when they were last heard of.
    catching_up: BTreeMap<MemberId, (LogIndex, Moment)>,
    /// The entry to be applied before [`Output::StopReady`].
    stop_at: Option<LogIndex>,
    out: Vec<Output>,
    is_halted: bool,
}

struct Limits {
    election_timeout: Duration,
    election_ticks: u64,
    catchup_entries_max: usize,
    catchup_bytes_max: usize,
    message_bytes_max: u64,
    unapplied_entries_max: u64,
    waiting_max: usize,
    request_timeout: Duration,
}

/// What the log of a new cluster begins with: one change for each of the first members, in the order of their ids, all of
/// them committed. Every one of the first members writes the same.
#[must_use]
pub fn bootstrap(members: &[Member]) -> (HardState, Vec<LogEntry>) {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_unstable_by_key(|member| member.id);
    let entries: Vec<LogEntry> = (1..).map(LogIndex).zip(members).map(first_entry).collect();
    let commit = LogIndex(entries.len() as u64);
    (HardState { term: Term(1), vote: None, commit }, entries)
}

fn first_entry((index, member): (LogIndex, &Member)) -> LogEntry {
    let change = ConfChange {
        id: RequestId(0),
        kind: ConfChangeKind::AddVoter,
        member: member.id,
        context: member.to_json().into(),
    };
    LogEntry { index, term: Term(1), kind: EntryKind::ConfChange, data: change.encode() }
}

impl Node {
    /// A node that goes on where log and state machine are. The outputs come before those of any input.
    ///
    /// # Errors
    /// [`StartError`] if log and state machine do not belong together.
    pub fn new(now: Moment, config: NodeConfig, restart: Restart) -> Result<(Self, Vec<Output>), StartError> {
        let hard_state = config::check(&restart)?;
        let engine_config = config::engine_config(&config, &restart);
        let removals = Removals::new(config.member, hard_state.commit, &restart.entries);
        let log =
            MemoryLog::new(restart.start, restart.entries, hard_state, restart.applied, restart.conf_state);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&engine_config, log, &logger)
            .map_err(|error| StartError::Config(error.to_string()))?;
        let mut node = Self {
            raw,
            member: config.member,
            limits: Limits {
                election_timeout: config.election_timeout(),
                election_ticks: config.election_ticks as u64,
                catchup_entries_max: config.catchup_entries_max,
                catchup_bytes_max: config.catchup_bytes_max,
                message_bytes_max: config.message_bytes_max,
                unapplied_entries_max: config.unapplied_entries_max,
                waiting_max: config.waiting_max,
                request_timeout: config.request_timeout,
            },
            request_ids: config.request_ids,
            election_timeout: ElectionTimeout::new(config.seed, config.election_ticks),
            now,
            persistence: Persistence::default(),
            is_commit_unsaved: false,
            is_commit_due: false,
            term_durable: hard_state.term,
            commit_told: LogIndex(0),
            committed: VecDeque::new(),
            removals,
            handed_out: restart.applied,
            applied: restart.applied,
            conf_changes: BTreeMap::new(),
            conf_changes_waiting: VecDeque::new(),
            proposals_waiting: VecDeque::new(),
            reads: Reads::default(),
            hearing: Hearing::default(),
            leases: LeaseDesk::new(config.lease_checkpoint_interval, config.waiting_max, restart.leases),
            confirmed_at: None,
            version: VersionDesk::new(
                now,
                config.server_version,
                restart.cluster_version,
                restart.downgrade_target,
            ),
            leader: (None, hard_state.term),
            catching_up: BTreeMap::new(),
            stop_at: None,
            out: Vec::new(),
            is_halted: false,
        };
        node.compact();
        node.drive();
        let out = std::mem::take(&mut node.out);
        Ok((node, out))
    }

    /// Takes in what happened at `now` and says what is to be done. After [`Output::Halt`] nothing is.
    pub fn handle(&mut self, now: Moment, input: Input) -> Vec<Output> {
        self.handle_all(now, [input])
    }

    /// [`Node::handle`] of things that happened together, in this order: what follows from all of them is one batch, so that a commit
    /// index travels with the entries that are proposed meanwhile.
    pub fn handle_all(&mut self, now: Moment, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        self.now = self.now.max(now);
        let mut inputs = inputs.into_iter().peekable();
        while let Some(input) = inputs.next_if(|_| !self.is_halted) {
            self.take_in(input);
            if inputs.peek().is_some() {
                // The next one must find a member that knows its role.
                self.hold_election_timeout();
                self.notice_leader();
            }
        }
        if !self.is_halted {
            self.drive();
        }
        std::mem::take(&mut self.out)
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Tick => self.tick(),
            Input::Propose(proposals) => self.propose(proposals),
            Input::ProposeConfChange(change) => self.propose_conf_change(change),
            Input::ReadIndex(ticket) => self.read_index(ticket),
            Input::Persisted(token) => self.persisted(&token),
            Input::Applied(applied) => self.note_applied(applied),
            Input::RenewLease { lease, ticket } => self.ask_lease(Question::Renew, lease, ticket),
            Input::LeaseLife { lease, ticket } => self.ask_lease(Question::Life, lease, ticket),
            Input::ListLeases(ticket) => self.out.push(self.leases.list(ticket)),
            Input::Receive(message) => self.receive(*message),
            Input::PeerUnreachable(member) => self.raw.report_unreachable(member.0),
            Input::SnapshotSent { to, arrived } => self.snapshot_sent(to, arrived),
            Input::ServerVersionMin(version) => self.version.note_members_min(version),
            Input::TransferLeader(member) => self.transfer_leader(member),
            Input::Campaign => self.campaign(),
            Input::Stop => self.prepare_stop(),
        }
    }

    /// Whether what this member has applied is the newest state that anybody can have been told of, without asking: it leads, it is
    /// the only member, and it has applied an entry of its own term, so everything that an earlier leader acknowledged too.
    ///
    /// While this holds every read of the applied state is linearizable. It ends before anybody else can lead: a second
    /// member counts from the moment this node applies the change that adds it, and from then on no election is won without
    /// this node's vote, which is an output of a later input.
    #[must_use]
    pub fn leads_alone(&self) -> bool {
        let raft = &self.raw.raft;
        let has_own_term = || raft.raft_log.term(self.applied.0).is_ok_and(|term| term == raft.term);
        self.is_leader() && raft.prs().iter().len() == 1 && has_own_term()
    }

    /// Where the node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let is_leader = self.is_leader();
        let others = raft.prs().iter().filter(|(id, _)| is_leader && **id != self.member.0);
        let learners = raft.prs().conf().learners();
        let mut progress: Vec<Progress> = others
            .map(|(id, progress)| Progress {
                member: MemberId(*id),
                matched: LogIndex(progress.matched),
                is_active: progress.recent_active,
                is_learner: learners.contains(id),
            })
            .collect();
        progress.sort_unstable_by_key(|progress| progress.member);
        Status {
            role: self.role(),
            leader: self.leader.0,
            term: Term(raft.term),
            last: LogIndex(raft.raft_log.last_index()),
            commit: self.commit(),
            applied: self.applied,
            is_learner: learners.contains(&self.member.0),
            progress,
        }
    }

    /// The newest hard state, as it would be handed out now.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        let state = engine::hard_state_from(&self.raw.raft.hard_state());
        HardState { commit: self.removals.commit_to_save(state.commit), ..state }
    }
}
