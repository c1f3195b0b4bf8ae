//! A member made of the real parts, with the server's threads taken apart: what a thread does in one go is a call here, and
//! whoever calls decides who runs when.
//!
//! The order in which outputs are carried out is that of `tenure-server/src/member`.

use crate::bug::Bug;
use crate::promises::Promises;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tenure_core::command::{Command, Request};
use tenure_core::membership::{self, Membership};
use tenure_core::mvcc::{HashScan, KvHash};
use tenure_core::node::{
    self, Applied, DropReason, Input, LeaseRefusal, LeaseTicket, Message, Node, NodeConfig, Output, Persist,
    ReadTicket, Restart, Snapshot, Status,
};
use tenure_core::state::{Effects, Outcome, StateMachine, TableChange, WriteBatch};
use tenure_core::types::{
    ClusterId, ConfState, EntryKind, HardState, Key, LogEntry, LogIndex, LogPosition, MemberId, Moment,
    RecordRevision, RequestId, RequestIds, Revision, Term,
};
use tenure_storage::disk::Disk;
use tenure_storage::snapshot::SnapshotView;
use tenure_storage::store::{
    self, Checkpoint, Installation, ReclaimProgress, Restored, Store, StoreOptions, StoredRecord,
};
use tenure_storage::wal::{self, Metadata, Replay, Wal, WalOptions};

const WAL: &str = "member/wal";
const STORE: &str = "member/store";
/// The heartbeat interval.
pub const TICK: Duration = Duration::from_millis(100);
/// A follower waits at least this many heartbeats for a leader.
pub const ELECTION_TICKS: u32 = 10;
/// Leases live for seconds here, so their life is noted every few seconds.
pub const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// Who it is.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The first members of the cluster; nobody if it joins one that exists.
    pub founders: Vec<membership::Member>,
    /// Size of a segment of the log, in bytes.
    pub wal_segment_bytes: u64,
    /// Size of a segment of the store, in bytes.
    pub store_segment_bytes_max: u32,
    /// Applied entries that stay in memory for others.
    pub catchup_entries_max: usize,
    /// Bounds of the node.
    pub bounds: NodeBounds,
    /// The seed of the node.
    pub seed: u64,
    /// Milliseconds since 1970, for the ids of requests.
    pub unix_millis: u64,
    /// What is wrong with it.
    pub bug: Option<Bug>,
}

/// Bounds of a node that are wide in practice and seldom met.
#[derive(Clone, Copy, Debug)]
pub struct NodeBounds {
    /// Bytes of one append.
    pub message_bytes_max: u64,
    /// Appends under way to one follower.
    pub inflight_messages_max: usize,
    /// Entries committed and not yet applied.
    pub unapplied_entries_max: u64,
    /// Proposals, and again reads, and again questions about leases, that wait.
    pub waiting_max: usize,
}

impl NodeBounds {
    /// etcd's.
    pub const WIDE: NodeBounds = NodeBounds {
        message_bytes_max: 1 << 20,
        inflight_messages_max: 512,
        unapplied_entries_max: 5_000,
        waiting_max: 5_000,
    };
}

impl MemberOptions {
    /// Those of a member of a cluster of one.
    ///
    /// # Errors
    /// None: one member contradicts nobody.
    pub fn alone() -> Result<Self, Failure> {
        let cluster = BTreeMap::from([("default".to_owned(), vec!["http://localhost:2380".to_owned()])]);
        let founders = Membership::bootstrap(&cluster, "etcd-cluster").map_err(text)?;
        let member = founders.first().map(|member| member.id).unwrap_or_default();
        Ok(Self {
            member,
            cluster: membership::cluster_id([member]),
            founders,
            wal_segment_bytes: 32 << 10,
            store_segment_bytes_max: 64 << 10,
            catchup_entries_max: 5_000,
            bounds: NodeBounds::WIDE,
            seed: 0,
            unix_millis: 0,
            bug: None,
        })
    }
}

/// What can be noticed of a member from outside.
#[derive(Debug)]
pub enum Seen {
    /// An entry is applied; if it answers a command, this is the answer.
    Applied {
        /// The entry.
        entry: LogEntry,
        /// What it asks for, if anything.
        request: Option<Box<Request>>,
        /// The answer.
        outcome: Outcome,
        /// What it changes.
        batch: Box<WriteBatch>,
    },
    /// The state is that of another member now.
    Installed(LogPosition),
    /// The node has logged something about leases, knowing what was applied up to this entry.
    LeaseLogged(RequestId, LogIndex),
    /// These reads can be served now.
    Readable(Vec<ReadTicket>),
    /// These reads are refused.
    ReadDropped(Vec<ReadTicket>),
    /// This proposal is refused.
    Dropped(RequestId, DropReason),
    /// A lease has its whole life again, or not, as far as the node knew what was applied.
    LeaseRenewed(LeaseTicket, Result<i64, LeaseRefusal>, LogIndex),
    /// This member leads in this term, or nobody is known to.
    Leader(Option<MemberId>, Term),
    /// Everything is noted that should be before a stop.
    StopReady,
}

/// What waits for the apply thread.
enum Work {
    Entry(LogEntry),
    Install(LogPosition),
}

/// The state of a member on its way to another.
#[derive(Clone, Debug)]
pub struct Body {
    /// The last entry that it holds, and the Raft configuration there.
    pub snapshot: Snapshot,
    /// The tables.
    pub tables: Vec<TableChange>,
    /// The records.
    pub records: Vec<StoredRecord>,
}

/// A [`Body`] that has been received.
struct Incoming {
    installation: Installation,
    tables: Vec<TableChange>,
}

/// What waits for the WAL thread.
enum Job {
    Persist(Persist),
    Checkpointed { index: LogIndex, term: Term, conf_state: ConfState },
}

/// A checkpoint that has begun.
struct CheckpointJob {
    checkpoint: Checkpoint,
    term: Term,
    conf_state: ConfState,
}

/// What upkeep removes at the moment.
#[derive(Default)]
struct Compaction {
    /// The compacted revision that is through.
    finished: Option<Revision>,
    /// On its way to this one.
    running: Option<(Revision, Option<Key>)>,
    reclaims: bool,
}

/// The member. After any error it is of no use: a real one has ended its process.
pub struct Member {
    node: Node,
    /// The state, for reads.
    pub state: StateMachine,
    /// The store, for reads.
    pub store: Store,
    wal: Wal,
    next_tick: Moment,
    jobs: VecDeque<Job>,
    committed: VecDeque<Work>,
    incoming: BTreeMap<LogPosition, Incoming>,
    /// What the node is to be told of a state that was installed, once the log knows it.
    installed: BTreeMap<LogPosition, Applied>,
    inbox: VecDeque<Input>,
    checkpoint: Option<CheckpointJob>,
    compaction: Compaction,
    waiting: BTreeMap<LogIndex, Vec<ReadTicket>>,
    /// Ids for what clients propose.
    pub request_ids: RequestIds,
    /// What has been noticed, oldest first. To be taken out.
    pub seen: VecDeque<Seen>,
    /// Messages to send. To be taken out.
    pub outbox: Vec<Message>,
    /// What the node has promised.
    pub promises: Promises,
    bug: Option<Bug>,
    planted: Planted,
}

/// What a planted bug remembers.
#[derive(Default)]
struct Planted {
    /// The last entry that went to the apply thread, for a leader that does not wait.
    queued: LogIndex,
    /// What was applied and must not be reported yet.
    held_back: VecDeque<Applied>,
    /// The last request before the restart.
    again: Option<Box<Request>>,
}

/// What the disk held at a start.
#[derive(Debug)]
pub struct Booted {
    /// The log.
    pub replay: Replay,
    /// The checkpoint.
    pub restored: Restored,
}

/// Why a member ends.
pub type Failure = String;

fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

impl Member {
    /// Starts a member on a disk, which may be empty.
    ///
    /// # Errors
    /// What a real member would end with.
    pub fn boot(
        disk: Arc<dyn Disk>,
        now: Moment,
        options: &MemberOptions,
    ) -> Result<(Self, Booted), Failure> {
        let wal_options = WalOptions { segment_bytes: options.wal_segment_bytes };
        let store_options = StoreOptions {
            segment_bytes_max: options.store_segment_bytes_max,
            recent_bytes_max: 4 << 10,
            tables_cache_bytes_max: 256 << 10,
        };
        disk.create_dir_all(Path::new("member")).map_err(text)?;
        let has_log = wal::exists(&*disk, Path::new(WAL)).map_err(text)?;
        if !has_log && disk.exists(Path::new(STORE)).map_err(text)? {
            return Err("there is a store, but no log".into());
        }
        if !has_log {
            let metadata = Metadata { member: options.member, cluster: options.cluster };
            Wal::create(disk.clone(), WAL, metadata, wal_options).map_err(text)?;
        }
        let (store, restored) = Store::open(disk.clone(), Path::new(STORE), store_options).map_err(text)?;
        let mut state = StateMachine::default();
        store::restore(&store, &restored, &mut state).map_err(text)?;
        let (mut wal, mut replay) = open_log(disk, &state, &restored, wal_options)?;
        if replay.last_index == LogIndex(0) && !options.founders.is_empty() {
            let (hard_state, entries) = node::bootstrap(&options.founders);
            wal.save(Some(hard_state), &entries, true).map_err(text)?;
            replay.hard_state = hard_state;
            replay.entries = entries;
        }
        let (node_ids, request_ids) = RequestIds::pair(wal.metadata().member, options.unix_millis);
        let mut config = NodeConfig::new(wal.metadata().member, node_ids, options.seed);
        config.tick = TICK;
        config.election_ticks = ELECTION_TICKS as usize;
        config.lease_checkpoint_interval = LEASE_CHECKPOINT_INTERVAL;
        config.catchup_entries_max = options.catchup_entries_max;
        config.message_bytes_max = options.bounds.message_bytes_max;
        config.inflight_messages_max = options.bounds.inflight_messages_max;
        config.unapplied_entries_max = options.bounds.unapplied_entries_max;
        config.waiting_max = options.bounds.waiting_max;
        let restart = restart(&state, &restored, &replay);
        let (node, outputs) = Node::new(now, config, restart).map_err(text)?;
        let promises = Promises::new(wal.hard_state(), wal.last_index());
        let mut member = Self {
            node,
            promises,
            state,
            store,
            wal,
            next_tick: now + TICK,
            jobs: VecDeque::new(),
            committed: VecDeque::new(),
            incoming: BTreeMap::new(),
            installed: BTreeMap::new(),
            inbox: VecDeque::new(),
            checkpoint: None,
            compaction: Compaction::default(),
            waiting: BTreeMap::new(),
            request_ids,
            seen: VecDeque::new(),
            outbox: Vec::new(),
            bug: options.bug,
            planted: Planted { queued: restored.applied, ..Planted::default() },
        };
        member.plant_again(&replay);
        let status = member.node.status();
        let turn = member.promises.begin(&status, &[]);
        member.promises.check(&turn, &status, &outputs)?;
        outputs.into_iter().try_for_each(|output| member.carry_out(output))?;
        Ok((member, Booted { replay, restored }))
    }

    /// Hands something in from outside: the driver takes it with whatever else has arrived by its next turn.
    pub fn hand_in(&mut self, input: Input) {
        self.inbox.push_back(input);
    }

    /// Hands inputs to the node, together, and carries out what comes back.
    ///
    /// # Errors
    /// If the node halts.
    pub fn handle(&mut self, now: Moment, inputs: impl IntoIterator<Item = Input>) -> Result<(), Failure> {
        let inputs: Vec<Input> = inputs.into_iter().collect();
        let turn = self.promises.begin(&self.node.status(), &inputs);
        let outputs = self.node.handle_all(now, inputs);
        self.promises.check(&turn, &self.node.status(), &outputs)?;
        outputs.into_iter().try_for_each(|output| self.carry_out(output))
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Persist(persist) => {
                self.note_lease_entries(&persist.entries);
                if let Some(snapshot) = &persist.snapshot {
                    self.committed.push_back(Work::Install(snapshot.position));
                }
                self.jobs.push_back(Job::Persist(persist));
            }
            Output::Apply(entries) => self.commit(entries),
            Output::Send(message) => self.outbox.push(message),
            Output::ReadReady { tickets, index } if index <= self.state.applied() => {
                self.seen.push_back(Seen::Readable(tickets));
            }
            Output::ReadReady { tickets, index } => self.waiting.entry(index).or_default().extend(tickets),
            Output::ReadDropped(tickets) => self.seen.push_back(Seen::ReadDropped(tickets)),
            Output::Dropped { id, reason } => self.seen.push_back(Seen::Dropped(id, reason)),
            Output::LeaseRenewed { ticket, ttl_seconds } => {
                let known = self.node.status().applied;
                self.seen.push_back(Seen::LeaseRenewed(ticket, ttl_seconds, known));
            }
            Output::LeaderChanged { leader, term, .. } => self.seen.push_back(Seen::Leader(leader, term)),
            Output::StopReady => self.seen.push_back(Seen::StopReady),
            Output::Halt(halt) => return Err(text(halt)),
            Output::LeaseLife { .. } | Output::LeaseList { .. } => {}
        }
        Ok(())
    }

    fn note_lease_entries(&mut self, entries: &[LogEntry]) {
        let known = self.node.status().applied;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Normal && !entry.data.is_empty())
        {
            let Ok(request) = Request::decode(entry.data.clone()) else { continue };
            if let Command::LeaseRevoke(_) | Command::LeaseCheckpoint(_) = request.command {
                self.seen.push_back(Seen::LeaseLogged(request.header.id, known));
            }
        }
    }

    /// Lets the clock of the driver run.
    ///
    /// # Errors
    /// If the node halts.
    pub fn tick(&mut self, now: Moment) -> Result<(), Failure> {
        if now < self.next_tick {
            return Ok(());
        }
        self.next_tick = now + TICK;
        self.handle(now, [Input::Tick])
    }

    /// Lets the driver take what the other threads have for it. Says whether there was anything.
    ///
    /// # Errors
    /// If the node halts.
    pub fn driver_turn(&mut self, now: Moment, events_max: usize) -> Result<bool, Failure> {
        let count = self.inbox.len().min(events_max);
        let inputs: Vec<Input> = self.inbox.drain(..count).collect();
        self.handle(now, inputs)?;
        Ok(count > 0)
    }

    /// Lets the WAL thread take at most `jobs_max` jobs. Says whether there was anything.
    ///
    /// # Errors
    /// If the log fails.
    pub fn wal_turn(&mut self, jobs_max: usize) -> Result<bool, Failure> {
        let mut batch = Vec::new();
        let mut checkpoints = Vec::new();
        let mut count = 0;
        while count < jobs_max
            && let Some(job) = self.jobs.pop_front_if(|job| match job {
                // What another member's state stands for is written once it is in its place.
                Job::Persist(Persist { snapshot: Some(snapshot), .. }) => {
                    self.installed.contains_key(&snapshot.position)
                }
                _ => true,
            })
        {
            count += 1;
            match job {
                Job::Persist(persist) => match persist.snapshot.as_ref().map(|snapshot| snapshot.position) {
                    Some(position) => {
                        self.write(std::mem::take(&mut batch))?;
                        self.write(vec![persist])?;
                        self.inbox.extend(self.installed.remove(&position).map(Input::Applied));
                    }
                    None => batch.push(persist),
                },
                Job::Checkpointed { index, term, conf_state } => checkpoints.push((index, term, conf_state)),
            }
        }
        self.write(batch)?;
        for (index, term, conf_state) in checkpoints {
            let state = self.wal.hard_state();
            if state.commit < index {
                let state = HardState { commit: index, ..state };
                self.wal.save(Some(state), &[], false).map_err(text)?;
            }
            self.wal.save_snapshot(index, term, &conf_state).map_err(text)?;
            self.wal.release_to(index).map_err(text)?;
        }
        Ok(count > 0)
    }

    /// Writes what was handed out, with one sync, and gives the last token back, which stands for those before it.
    fn write(&mut self, persists: Vec<Persist>) -> Result<(), Failure> {
        if persists.is_empty() {
            return Ok(());
        }
        let (mut entries, mut hard_state, mut must_sync) = (Vec::new(), None, false);
        let mut last = None;
        for persist in persists {
            if let Some(Snapshot { position, conf_state }) = &persist.snapshot {
                self.wal.save_installed(*position, conf_state).map_err(text)?;
                self.promises.note_durable(self.wal.hard_state(), self.wal.last_index());
            }
            entries.extend(persist.entries);
            hard_state = persist.hard_state.or(hard_state);
            must_sync |= persist.must_sync;
            last = Some(persist.token);
        }
        let syncs = must_sync && self.bug != Some(Bug::SkipsFsync);
        self.wal.save(hard_state, &entries, syncs).map_err(text)?;
        if must_sync {
            self.promises.note_durable(self.wal.hard_state(), self.wal.last_index());
        }
        self.inbox.extend(last.map(Input::Persisted));
        self.commit_too_early(entries);
        Ok(())
    }

    /// Lets the apply thread take at most `entries_max` entries as one group. Says whether there was anything.
    ///
    /// # Errors
    /// If an entry cannot be applied or the store fails.
    pub fn apply_turn(&mut self, entries_max: usize) -> Result<bool, Failure> {
        let mut report = Applied::default();
        let mut answers = Vec::new();
        let mut count = 0;
        while count < entries_max
            && let Some(work) = self.committed.pop_front_if(|work| matches!(work, Work::Entry(_)))
        {
            let Work::Entry(entry) = work else { continue };
            count += 1;
            let (request, effects) = self.effects_of(&entry)?;
            self.install(&effects.batch)?;
            if entry.kind == EntryKind::ConfChange {
                let is_removed = self.state.membership.is_removed(self.wal.metadata().member);
                self.promises.note_conf_change(entry.index, is_removed);
            }
            report.note(&effects.batch);
            answers.push(Seen::Applied {
                entry,
                request: request.map(Box::new),
                outcome: effects.outcome,
                batch: Box::new(effects.batch),
            });
        }
        if count > 0 {
            self.report(report);
            // A reader that was let in sees all of the group, and no answer of the group is out before the group is in.
            self.seen.extend(answers);
        } else if let Some(Work::Install(position)) = self.committed.pop_front() {
            self.take_over(position)?;
            count = 1;
        }
        if count > 0 {
            let later = self.waiting.split_off(&self.state.applied().next());
            let readable = std::mem::replace(&mut self.waiting, later).into_values().map(Seen::Readable);
            self.seen.extend(readable);
        }
        Ok(count > 0)
    }

    /// Puts another member's state, which has been received, in the place of this one's.
    fn take_over(&mut self, position: LogPosition) -> Result<(), Failure> {
        let incoming = self.incoming.remove(&position);
        let Incoming { installation, mut tables } =
            incoming.ok_or_else(|| format!("the snapshot at {position:?} was never received"))?;
        if self.bug == Some(Bug::InstallsWithoutLeases) {
            tables.retain(|row| !matches!(row, TableChange::LeasePut(_)));
        }
        let restored = installation.finish(position, tables).map_err(text)?;
        let mut state = StateMachine::default();
        store::restore(&self.store, &restored, &mut state).map_err(text)?;
        self.installed.insert(position, Applied::snapshot(&state));
        self.state = state;
        self.compaction = Compaction::default();
        self.planted.queued = position.index;
        self.seen.push_back(Seen::Installed(position));
        Ok(())
    }

    /// Takes in the state of another member and then the message that it came with. What the node does not want goes again.
    ///
    /// # Errors
    /// If the node halts, and if the disk fails or is full.
    pub fn receive_snapshot(&mut self, now: Moment, message: Message, body: Body) -> Result<(), Failure> {
        let position = body.snapshot.position;
        if !self.incoming.contains_key(&position) {
            let mut installation = self.store.install_begin();
            body.records.iter().try_for_each(|record| installation.push(record)).map_err(text)?;
            self.incoming.insert(position, Incoming { installation, tables: body.tables });
        }
        let waiting: Vec<Input> = self.inbox.drain(..).collect();
        self.handle(now, waiting)?;
        self.handle(now, [Input::Receive(Box::new(message))])?;
        let wanted: Vec<LogPosition> = self.committed.iter().filter_map(Work::installs).collect();
        self.incoming.retain(|position, _| wanted.contains(position));
        Ok(())
    }

    /// The state as it is now, for another member.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn capture(&self) -> Result<Body, Failure> {
        let view = SnapshotView::capture(&self.state, &self.store);
        let position = LogPosition { index: view.applied, term: view.term };
        let conf_state = self.state.membership.conf_state().clone();
        let records = view.records.collect::<Result<_, _>>().map_err(text)?;
        Ok(Body { snapshot: Snapshot { position, conf_state }, tables: view.tables, records })
    }

    /// Where the node stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Whether its applied state is the newest that anybody can have been told of.
    #[must_use]
    pub fn leads_alone(&self) -> bool {
        self.node.leads_alone()
    }

    /// Whether a thread has something to do: the WAL thread, the driver, the apply thread.
    #[must_use]
    pub fn has_work(&self) -> [bool; 3] {
        [!self.jobs.is_empty(), !self.inbox.is_empty(), !self.committed.is_empty()]
    }

    fn effects_of(&mut self, entry: &LogEntry) -> Result<(Option<Request>, Effects), Failure> {
        match entry.kind {
            EntryKind::Normal if entry.data.is_empty() => {
                let again = self.planted.again.take();
                let effects = match &again {
                    Some(request) => self.state.apply(&self.store, entry.index, entry.term, request),
                    None => self.state.apply_empty(entry.index, entry.term),
                };
                Ok((None, effects.map_err(text)?))
            }
            EntryKind::Normal => {
                let request = Request::decode(entry.data.clone()).map_err(text)?;
                let mut applied = request.clone();
                let identity = &mut applied.header.identity;
                if self.bug == Some(Bug::AppliesOutdatedIdentity) && identity.auth_revision > 0 {
                    identity.auth_revision = u64::MAX;
                }
                let effects =
                    self.state.apply(&self.store, entry.index, entry.term, &applied).map_err(text)?;
                Ok((Some(request), effects))
            }
            EntryKind::ConfChange | EntryKind::ConfChangeV2 => {
                Ok((None, self.state.apply_conf_change(entry).map_err(text)?))
            }
        }
    }

    fn install(&mut self, batch: &WriteBatch) -> Result<(), Failure> {
        self.store.append(batch).map_err(text)?;
        self.state.install(batch);
        if batch.tables.iter().any(|change| matches!(change, TableChange::CompactRevision(_))) {
            self.compaction.reclaims = true;
        }
        Ok(())
    }

    /// Begins a checkpoint, unless one is under way.
    pub fn checkpoint_begin(&mut self) {
        if self.checkpoint.is_none() {
            self.checkpoint = Some(CheckpointJob {
                checkpoint: self.store.checkpoint_begin(),
                term: self.state.applied_term(),
                conf_state: self.state.membership.conf_state().clone(),
            });
        }
    }

    /// Lets upkeep do its next step: a checkpoint that has begun, a step of a compaction, a step of reclaiming. Says whether there
    /// was anything.
    ///
    /// # Errors
    /// If the store fails.
    pub fn upkeep_turn(&mut self, keys_max: usize) -> Result<bool, Failure> {
        if let Some(CheckpointJob { checkpoint, term, conf_state }) = self.checkpoint.take() {
            let index = checkpoint.applied();
            checkpoint.run().map_err(text)?;
            self.jobs.push_back(Job::Checkpointed { index, term, conf_state });
            return Ok(true);
        }
        let target = self.state.mvcc.compacted();
        if self.compaction.running.is_none() && self.compaction.finished < Some(target) {
            self.compaction.running = Some((target, None));
        }
        if let Some((target, resume)) = self.compaction.running.take() {
            let step = self.state.mvcc.compact_step(resume.as_ref(), keys_max);
            self.store.mark_dead(&step.removed);
            match step.resume {
                Some(key) => self.compaction.running = Some((target, Some(key))),
                None => self.compaction.finished = Some(target),
            }
            return Ok(true);
        }
        if self.compaction.reclaims {
            let progress = self.store.reclaim_step().map_err(text)?;
            self.compaction.reclaims = progress != ReclaimProgress::Idle;
            return Ok(true);
        }
        Ok(false)
    }

    /// HashKV at the current revision.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn hash(&self) -> Result<KvHash, Failure> {
        let mut scan = HashScan::new(&self.state.mvcc, 0).map_err(text)?;
        while !scan.step(&self.state.mvcc, 3).map_err(text)? {}
        let mut hasher = scan.finish();
        for record in self.store.scan(RecordRevision::default(), self.state.mvcc.revision()) {
            let StoredRecord { at, tombstone, kv } = record.map_err(text)?;
            hasher.add(at, tombstone, &kv);
        }
        Ok(hasher.finish())
    }
}

impl Work {
    fn installs(&self) -> Option<LogPosition> {
        match self {
            Work::Install(position) => Some(*position),
            Work::Entry(_) => None,
        }
    }
}

/// The bugs that are planted in what a member does by itself.
impl Member {
    /// Sends what is committed to the apply thread.
    fn commit(&mut self, entries: Vec<LogEntry>) {
        let handed_out = entries.last().map_or(LogIndex(0), |entry| entry.index);
        let queued = self.planted.queued;
        self.committed.extend(entries.into_iter().filter(|entry| entry.index > queued).map(Work::Entry));
        self.planted.queued = queued.max(handed_out);
        while let Some(report) = self.planted.held_back.pop_front_if(|report| report.index() <= handed_out) {
            self.inbox.push_back(Input::Applied(report));
        }
    }

    /// [`Bug::AcknowledgesBeforeQuorum`]: what a leader has written goes to the apply thread.
    fn commit_too_early(&mut self, entries: Vec<LogEntry>) {
        if self.bug != Some(Bug::AcknowledgesBeforeQuorum) || self.node.status().role != node::Role::Leader {
            return;
        }
        for entry in entries {
            if entry.index == self.planted.queued.next() {
                self.planted.queued = entry.index;
                self.committed.push_back(Work::Entry(entry));
            }
        }
    }

    /// Tells the driver what was applied, unless it would notice that it was too early.
    fn report(&mut self, report: Applied) {
        if self.bug == Some(Bug::AcknowledgesBeforeQuorum) && report.index() > self.node.status().commit {
            self.planted.held_back.push_back(report);
        } else {
            self.inbox.push_back(Input::Applied(report));
        }
    }

    /// [`Bug::AppliesTwiceAfterRestart`]: remembers a request that was applied before.
    fn plant_again(&mut self, replay: &Replay) {
        if self.bug == Some(Bug::AppliesTwiceAfterRestart) {
            let commit = replay.hard_state.commit;
            let is_request = |entry: &&LogEntry| entry.kind == EntryKind::Normal && !entry.data.is_empty();
            let last = replay.entries.iter().filter(is_request).rfind(|entry| entry.index <= commit);
            self.planted.again =
                last.and_then(|entry| Request::decode(entry.data.clone()).ok()).map(Box::new);
        }
    }
}

/// Opens the log behind what the store holds.
fn open_log(
    disk: Arc<dyn Disk>,
    state: &StateMachine,
    restored: &Restored,
    options: WalOptions,
) -> Result<(Wal, Replay), Failure> {
    let position = LogPosition { index: restored.applied, term: restored.term };
    let opened = if restored.is_installed {
        Wal::open_installed(disk, WAL, position, state.membership.conf_state(), options)
    } else {
        Wal::open(disk, WAL, position.index, options)
    };
    opened.map_err(text)
}

/// What the node must know of what was found.
fn restart(state: &StateMachine, restored: &Restored, replay: &Replay) -> Restart {
    Restart {
        hard_state: replay.hard_state,
        start: LogPosition { index: restored.applied, term: restored.term },
        entries: replay.entries.clone(),
        applied: restored.applied,
        conf_state: state.membership.conf_state().clone(),
        leases: state.leases.iter().collect(),
        cluster_version: state.membership.cluster_version().map(str::to_owned),
        downgrade_target: state.membership.downgrade_target().map(str::to_owned),
    }
}
