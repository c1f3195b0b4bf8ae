//! A member made of the real parts, with the server's threads taken apart: what a thread does in one go is a call here, and
//! whoever calls decides who runs when.
//!
//! The order in which outputs are carried out is that of `tenure-server/src/member`.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tenure_core::command::{Command, Request};
use tenure_core::membership::{self, Membership};
use tenure_core::mvcc::{HashScan, KvHash};
use tenure_core::node::{
    self, Applied, DropReason, Input, LeaseRefusal, LeaseTicket, Node, NodeConfig, Output, Persist,
    PersistToken, ReadTicket, Restart,
};
use tenure_core::state::{Effects, Outcome, StateMachine, TableChange, WriteBatch};
use tenure_core::types::{
    ConfState, EntryKind, Key, LogEntry, LogIndex, LogPosition, Moment, RecordRevision, RequestId,
    RequestIds, Revision, Term,
};
use tenure_storage::disk::Disk;
use tenure_storage::store::{self, Checkpoint, ReclaimProgress, Restored, Store, StoreOptions, StoredRecord};
use tenure_storage::wal::{self, Metadata, Replay, Wal, WalOptions};

const WAL: &str = "member/wal";
const STORE: &str = "member/store";
const TICK: Duration = Duration::from_millis(100);
/// Leases live for seconds here, so their life is noted every few seconds.
const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// What a member is started with.
#[derive(Clone, Copy, Debug)]
pub struct MemberOptions {
    /// Size of a segment of the log, in bytes.
    pub wal_segment_bytes: u64,
    /// Size of a segment of the store, in bytes.
    pub store_segment_bytes_max: u32,
    /// The seed of the node.
    pub seed: u64,
    /// Milliseconds since 1970, for the ids of requests.
    pub unix_millis: u64,
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
    },
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
    /// The member leads, in this term, or does not.
    Leads(Option<Term>),
    /// Everything is noted that should be before a stop.
    StopReady,
}

/// What waits for the driver.
enum Event {
    Persisted(PersistToken),
    Applied(Applied),
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
    committed: VecDeque<LogEntry>,
    inbox: VecDeque<Event>,
    checkpoint: Option<CheckpointJob>,
    compaction: Compaction,
    waiting: BTreeMap<LogIndex, Vec<ReadTicket>>,
    /// Ids for what clients propose.
    pub request_ids: RequestIds,
    /// What has been noticed, oldest first. To be taken out.
    pub seen: VecDeque<Seen>,
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

fn founders() -> Result<Vec<membership::Member>, Failure> {
    let cluster = BTreeMap::from([("default".to_owned(), vec!["http://localhost:2380".to_owned()])]);
    Membership::bootstrap(&cluster, "etcd-cluster").map_err(text)
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
        let members = founders()?;
        if !has_log {
            let member = members.first().map(|member| member.id).unwrap_or_default();
            let cluster = membership::cluster_id([member]);
            Wal::create(disk.clone(), WAL, Metadata { member, cluster }, wal_options).map_err(text)?;
        }
        let (store, restored) = Store::open(disk.clone(), Path::new(STORE), store_options).map_err(text)?;
        let mut state = StateMachine::default();
        store::restore(&store, &restored, &mut state).map_err(text)?;
        let (mut wal, mut replay) = Wal::open(disk, WAL, restored.applied, wal_options).map_err(text)?;
        if replay.last_index == LogIndex(0) {
            let (hard_state, entries) = node::bootstrap(&members);
            wal.save(Some(hard_state), &entries, true).map_err(text)?;
            replay.hard_state = hard_state;
            replay.entries = entries;
        }
        let (node_ids, request_ids) = RequestIds::pair(wal.metadata().member, options.unix_millis);
        let mut config = NodeConfig::new(wal.metadata().member, node_ids, options.seed);
        config.tick = TICK;
        config.lease_checkpoint_interval = LEASE_CHECKPOINT_INTERVAL;
        let restart = restart(&state, &restored, &replay);
        let (node, outputs) = Node::new(now, config, restart).map_err(text)?;
        let mut member = Self {
            node,
            state,
            store,
            wal,
            next_tick: now + TICK,
            jobs: VecDeque::new(),
            committed: VecDeque::new(),
            inbox: VecDeque::new(),
            checkpoint: None,
            compaction: Compaction::default(),
            waiting: BTreeMap::new(),
            request_ids,
            seen: VecDeque::new(),
        };
        outputs.into_iter().try_for_each(|output| member.carry_out(output))?;
        Ok((member, Booted { replay, restored }))
    }

    /// Hands an input to the node and carries out what comes back.
    ///
    /// # Errors
    /// If the node halts.
    pub fn hand_in(&mut self, now: Moment, input: Input) -> Result<(), Failure> {
        self.node.handle(now, input).into_iter().try_for_each(|output| self.carry_out(output))
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Persist(persist) => {
                self.note_lease_entries(&persist.entries);
                self.jobs.push_back(Job::Persist(persist));
            }
            Output::Apply(entries) => self.committed.extend(entries),
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
            Output::LeaderChanged { leader, term } => self.seen.push_back(Seen::Leads(leader.map(|_| term))),
            Output::StopReady => self.seen.push_back(Seen::StopReady),
            Output::Halt(halt) => return Err(text(halt)),
            Output::LeaseLife { .. } | Output::LeaseList { .. } | Output::Send(_) => {}
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
    /// As [`Member::hand_in`].
    pub fn tick(&mut self, now: Moment) -> Result<(), Failure> {
        if now < self.next_tick {
            return Ok(());
        }
        self.next_tick = now + TICK;
        self.hand_in(now, Input::Tick)
    }

    /// Lets the driver take what the other threads have for it. Says whether there was anything.
    ///
    /// # Errors
    /// As [`Member::hand_in`].
    pub fn driver_turn(&mut self, now: Moment, events_max: usize) -> Result<bool, Failure> {
        let count = self.inbox.len().min(events_max);
        for event in self.inbox.drain(..count).collect::<Vec<_>>() {
            self.hand_in(
                now,
                match event {
                    Event::Persisted(token) => Input::Persisted(token),
                    Event::Applied(applied) => Input::Applied(applied),
                },
            )?;
        }
        Ok(count > 0)
    }

    /// Lets the WAL thread take at most `jobs_max` jobs. Says whether there was anything.
    ///
    /// # Errors
    /// If the log fails.
    pub fn wal_turn(&mut self, jobs_max: usize) -> Result<bool, Failure> {
        let count = self.jobs.len().min(jobs_max);
        let (mut entries, mut hard_state, mut must_sync) = (Vec::new(), None, false);
        let (mut tokens, mut checkpoints) = (Vec::new(), Vec::new());
        for job in self.jobs.drain(..count) {
            match job {
                Job::Persist(persist) => {
                    entries.extend(persist.entries);
                    hard_state = persist.hard_state.or(hard_state);
                    must_sync |= persist.must_sync;
                    tokens.push(persist.token);
                }
                Job::Checkpointed { index, term, conf_state } => checkpoints.push((index, term, conf_state)),
            }
        }
        if !tokens.is_empty() {
            self.wal.save(hard_state, &entries, must_sync).map_err(text)?;
            self.inbox.extend(tokens.into_iter().map(Event::Persisted));
        }
        for (index, term, conf_state) in checkpoints {
            self.wal.save_snapshot(index, term, &conf_state).map_err(text)?;
            self.wal.release_to(index).map_err(text)?;
        }
        Ok(count > 0)
    }

    /// Lets the apply thread take at most `entries_max` entries as one group. Says whether there was anything.
    ///
    /// # Errors
    /// If an entry cannot be applied or the store fails.
    pub fn apply_turn(&mut self, entries_max: usize) -> Result<bool, Failure> {
        let count = self.committed.len().min(entries_max);
        let mut report = Applied::default();
        let mut answers = Vec::new();
        for entry in self.committed.drain(..count).collect::<Vec<_>>() {
            let (request, effects) = self.effects_of(&entry)?;
            self.install(&effects.batch)?;
            report.note(&effects.batch);
            answers.push(Seen::Applied { entry, request: request.map(Box::new), outcome: effects.outcome });
        }
        if count > 0 {
            let later = self.waiting.split_off(&self.state.applied().next());
            let readable = std::mem::replace(&mut self.waiting, later).into_values().map(Seen::Readable);
            self.inbox.push_back(Event::Applied(report));
            // A reader that was let in sees all of the group, and no answer of the group is out before the group is in.
            self.seen.extend(answers);
            self.seen.extend(readable);
        }
        Ok(count > 0)
    }

    fn effects_of(&self, entry: &LogEntry) -> Result<(Option<Request>, Effects), Failure> {
        match entry.kind {
            EntryKind::Normal if entry.data.is_empty() => {
                Ok((None, self.state.apply_empty(entry.index, entry.term).map_err(text)?))
            }
            EntryKind::Normal => {
                let request = Request::decode(entry.data.clone()).map_err(text)?;
                let effects =
                    self.state.apply(&self.store, entry.index, entry.term, &request).map_err(text)?;
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
    }
}
