//! The handle that services use: cheap to clone, nothing in it blocks a task for long.

use super::driver::Event;
use super::{Shared, measure, whole};
use crate::auth::Caller;
use crate::limits;
use crate::metrics::{Metrics, Operation};
use crate::peer::Peers;
use crate::rpc::header::Headers;
use crate::watch::event::EventSource;
use crate::watch::hub::Hub;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tenure_api::error::EtcdError;
use tenure_core::auth::Auth;
use tenure_core::command::{
    AlarmAction, AlarmCommand, AlarmType, Command, RangeQuery, Request, RequestHeader, Txn,
};
use tenure_core::membership;
use tenure_core::mvcc::{KvHash, RangeScan, ReadError, ScanProgress};
use tenure_core::node::Proposal;
use tenure_core::state::{self, Access, AlarmEntry, Halt, RangeOutcome, Response, TxnOutcome};
use tenure_core::types::{LeaseId, LogIndex, MemberId, RequestIds, Revision, Term};
use tenure_storage::snapshot::{SnapshotError, SnapshotFile};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

/// A running member, as its services see it.
#[derive(Clone)]
pub struct Member {
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: TaskTracker,
    pub(super) request_ids: Arc<Mutex<RequestIds>>,
}

/// What [`Member::status`] says.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// The revision that reads see.
    pub revision: Revision,
    /// Bytes on disk.
    pub total_bytes: u64,
    /// Bytes on disk that are not garbage.
    pub live_bytes: u64,
    /// The quota, in bytes.
    pub quota_bytes: u64,
    /// Who leads, if anybody does.
    pub leader: Option<MemberId>,
    /// Up to where the log is committed.
    pub commit: LogIndex,
    /// The Raft term.
    pub term: Term,
    /// Up to where the log is applied.
    pub applied: LogIndex,
    /// What is wrong, in etcd's words.
    pub errors: Vec<String>,
    /// Whether the member only follows.
    pub is_learner: bool,
    /// Version of the stored data, `X.Y.0`, empty until it is known.
    pub storage_version: String,
    /// The version that a downgrade which is under way leads to, `X.Y.0`.
    pub downgrade_target: Option<String>,
}

/// The answer to HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKvAnswer {
    /// The hash.
    pub hash: u32,
    /// The compacted revision that it counts from, -1 for none.
    pub compact_revision: Revision,
    /// The revision that was hashed.
    pub hash_revision: Revision,
    /// The current revision.
    pub revision: Revision,
}

impl Member {
    /// This member's id.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.shared.id
    }

    /// Makes response headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.shared.headers
    }

    /// The tasks of this member's streams.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// The revision that reads see.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.shared.state.read().mvcc.revision()
    }

    /// Bytes that a replicated request may have.
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        self.shared.config.request_bytes_max
    }

    /// Operations that a level of a transaction may have.
    #[must_use]
    pub fn txn_ops_max(&self) -> usize {
        self.shared.config.txn_ops_max as usize
    }

    /// How often quiet watchers that asked for it are told the revision.
    #[must_use]
    pub fn watch_progress_interval(&self) -> Duration {
        self.shared.config.watch_progress_notify_interval
    }

    /// How long etcd waits for what goes through the log.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.shared.config.request_timeout()
    }

    /// The shortest life of a lease, in seconds (L2).
    #[must_use]
    pub fn lease_ttl_seconds_min(&self) -> i64 {
        let election_ms = self.shared.config.election_timeout.as_millis() as u64;
        (election_ms * 3).div_ceil(2 * 1000) as i64
    }

    /// The metrics of this member.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The other members.
    pub(crate) fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    pub(crate) fn hub(&self) -> Arc<Hub> {
        self.shared.hub.clone()
    }

    pub(crate) fn event_source(&self) -> Arc<dyn EventSource> {
        self.shared.clone()
    }

    /// Wakes the hub's thread after something was asked of the hub.
    pub(crate) fn wake_hub(&self) {
        self.shared.hub_bell.ring();
    }

    /// Proposes a command in somebody's name and waits until it is applied.
    ///
    /// # Errors
    /// What the state machine and [`Member::authorize`] refuse; `RequestTooLarge`, `NoSpace`, `TooManyRequests` before it gets
    /// there; `Timeout` if the answer takes longer than etcd waits (the command may still take effect); `Stopped`.
    pub async fn propose(&self, caller: &Caller, command: Command) -> Result<Response, EtcdError> {
        let identity = self.identify_for(caller, &command).await?;
        self.check_quota(&command).await?;
        let since = Instant::now();
        let operation = measure::operation(&command);
        let id = self.request_ids.lock().next_id();
        let header = RequestHeader { id, identity };
        let data = Request { header, command }.encode();
        if data.len() > self.shared.config.request_bytes_max {
            return Err(EtcdError::RequestTooLarge);
        }
        let permit = self.shared.admission.admit(data.len()).ok_or(EtcdError::RequestTooManyRequests)?;
        let answer = self.shared.pending.wait(id, permit)?;
        if self.shared.inbox.propose(Proposal { id, data }).is_err() {
            self.shared.pending.answer(vec![(id, Err(EtcdError::RequestTooManyRequests))]);
        }
        // The driver's clock ends the wait (`Pending::tick`).
        let outcome = answer.await.map_err(|_| EtcdError::Stopped)?;
        measure::answered(&self.shared, operation, &outcome, since.elapsed());
        match outcome {
            Err(
                error @ (EtcdError::Timeout | EtcdError::TimeoutDueToLeaderFail | EtcdError::LeaderChanged),
            ) => {
                self.shared.metrics.handles.proposals_failed.inc();
                Err(if error == EtcdError::Timeout { self.why_late(since) } else { error })
            }
            outcome => outcome,
        }
    }

    /// Waits for an answer as long as etcd does.
    pub(super) async fn within_deadline<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, EtcdError> {
        let waiting = tokio::time::timeout(self.shared.config.request_timeout(), answer);
        // What waits in the inbox of a driver that has ended is never answered.
        match self.shared.stopped.run_until_cancelled(waiting).await {
            Some(Ok(Ok(answer))) => Ok(answer),
            None | Some(Ok(Err(_))) => Err(EtcdError::Stopped),
            Some(Err(_)) => Err(EtcdError::Timeout),
        }
    }

    /// Refuses what would take the store over its quota, and raises the alarm (Q1, Q2).
    async fn check_quota(&self, command: &Command) -> Result<(), EtcdError> {
        let Some(quota_bytes) = self.shared.config.quota_backend_bytes else { return Ok(()) };
        let cost = state::cost(command);
        if cost == 0 || self.shared.store.sizes().live_bytes + cost < quota_bytes {
            return Ok(());
        }
        let alarm = AlarmCommand {
            action: AlarmAction::Activate,
            member: self.shared.id,
            alarm: Some(AlarmType::NoSpace),
        };
        let entry = AlarmEntry { member: self.shared.id, alarm: AlarmType::NoSpace };
        if !self.shared.state.read().alarms.contains(entry) {
            Box::pin(self.propose(&Caller::Member, Command::Alarm(alarm))).await?;
        }
        Err(EtcdError::NoSpace)
    }

    /// Waits until this member has applied everything that was committed when it was asked.
    ///
    /// # Errors
    /// `Timeout`, `TooManyRequests`, `Stopped`.
    pub async fn linearize(&self) -> Result<(), EtcdError> {
        if self.shared.leads_alone.load(Ordering::Acquire) {
            return if self.shared.is_stopping() { Err(EtcdError::Stopped) } else { Ok(()) };
        }
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.read(reply).map_err(|_| {
            self.shared.metrics.handles.read_indexes_failed.inc();
            EtcdError::RequestTooManyRequests
        })?;
        self.within_deadline(answer).await?
    }

    /// Reads a range for somebody.
    ///
    /// # Errors
    /// `Compacted`, `FutureRev`; those of [`Member::linearize`] and [`Member::authorize`]; `AuthOldRevision` if users change meanwhile.
    pub async fn range(&self, caller: &Caller, query: RangeQuery) -> Result<RangeOutcome, EtcdError> {
        let since = Instant::now();
        let reading = async {
            if !query.serializable {
                self.linearize().await?;
            }
            let permit = self.authorize(caller, Access::Read(&query.range)).await?;
            let outcome = self.read_range(&query).await?;
            self.still_permitted(permit)?;
            Ok(outcome)
        };
        let outcome = reading.await;
        self.shared.metrics.request.observe(Operation::Range, outcome.is_ok(), since.elapsed());
        outcome
    }

    /// Reads a range as this member has it, without asking the cluster or whether somebody may.
    ///
    /// # Errors
    /// `Compacted`, `FutureRev`, `Stopped`.
    pub async fn read_range(&self, query: &RangeQuery) -> Result<RangeOutcome, EtcdError> {
        let since = Instant::now();
        let outcome = self.scan_range(query).await;
        self.shared.metrics.range[usize::from(outcome.is_ok())].observe(since.elapsed().as_secs_f64());
        outcome
    }

    async fn scan_range(&self, query: &RangeQuery) -> Result<RangeOutcome, EtcdError> {
        for _ in 0..limits::READ_ATTEMPTS_MAX {
            let mut scan = RangeScan::new(&self.shared.state.read().mvcc, query)?;
            let mut steps = 0;
            while scan.step(&self.shared.state.read().mvcc, limits::SCAN_STEP_KEYS)? == ScanProgress::More {
                steps += 1;
                tokio::task::yield_now().await;
            }
            let finished = if steps == 0 {
                scan.finish(&self.shared.store)
            } else {
                // Many records: not on a thread that serves sockets.
                let shared = self.shared.clone();
                self.off_thread(move || scan.finish(&shared.store)).await?
            };
            match finished {
                Err(ReadError::Again) => {}
                finished => {
                    self.shared.metrics.handles.mvcc_range.inc();
                    return finished.map_err(|error| self.read_error(error));
                }
            }
        }
        Err(EtcdError::Compacted)
    }

    /// Answers a transaction that only reads (T7).
    ///
    /// # Errors
    /// As [`Member::range`].
    pub async fn read_txn(&self, caller: &Caller, txn: Txn) -> Result<TxnOutcome, EtcdError> {
        if !state::txn_is_serializable(&txn) {
            self.linearize().await?;
        }
        let since = Instant::now();
        let outcome = self.read_linearized_txn(caller, txn).await;
        self.shared.metrics.request.observe(Operation::ReadonlyTxn, outcome.is_ok(), since.elapsed());
        outcome
    }

    async fn read_linearized_txn(&self, caller: &Caller, txn: Txn) -> Result<TxnOutcome, EtcdError> {
        let permit = self.authorize(caller, Access::ReadTxn(&txn)).await?;
        let txn = Arc::new(txn);
        for _ in 0..limits::READ_ATTEMPTS_MAX {
            match self.read_txn_once(&txn).await? {
                Err(ReadError::Again) => {}
                outcome => {
                    let outcome = outcome.map_err(|error| self.read_error(error))?;
                    self.still_permitted(permit)?;
                    return Ok(outcome);
                }
            }
        }
        Err(EtcdError::Compacted)
    }

    async fn read_txn_once(&self, txn: &Arc<Txn>) -> Result<Result<TxnOutcome, ReadError>, EtcdError> {
        let (shared, txn) = (self.shared.clone(), txn.clone());
        // Compares of values read records, and so may the ranges: not on a thread that serves sockets.
        let read = move || {
            let mut read = {
                let state = shared.state.read();
                state::ReadTxn::new(&state.mvcc, &state.leases, &shared.store, &txn)?
            };
            while read.step(&shared.state.read().mvcc, limits::SCAN_STEP_KEYS)? == ScanProgress::More {}
            read.finish(&shared.store)
        };
        self.off_thread(read).await
    }

    fn read_error(&self, error: ReadError) -> EtcdError {
        match error {
            ReadError::Refused(error) => error,
            ReadError::Again => EtcdError::Compacted,
            ReadError::Damaged(what) => {
                self.shared.halt("reading the store", &Halt(what));
                EtcdError::Stopped
            }
        }
    }

    /// Runs something long where it blocks no task.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EtcdError> {
        tokio::task::spawn_blocking(work).await.map_err(|_| EtcdError::Stopped)
    }

    /// Waits until a compaction at `revision` has removed its versions.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn compacted(&self, revision: Revision) -> Result<(), EtcdError> {
        let mut compacted = self.shared.compacted.subscribe();
        let finished = compacted.wait_for(|finished| *finished >= revision);
        match self.shared.stopped.run_until_cancelled(finished).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(EtcdError::Stopped),
        }
    }

    /// A lease id that nobody has: positive, from the same generator as request ids.
    #[must_use]
    pub fn choose_lease_id(&self) -> LeaseId {
        let state = self.shared.state.read();
        loop {
            let id = LeaseId((self.request_ids.lock().next_id().0 & (i64::MAX as u64)) as i64);
            if id.0 != 0 && !state.leases.contains(id) {
                return id;
            }
        }
    }

    /// Whether this member leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.lead.borrow().leader == Some(self.shared.id)
    }

    /// Raised alarms of one kind, or of every kind.
    #[must_use]
    pub fn alarms(&self, kind: Option<AlarmType>) -> Vec<AlarmEntry> {
        let state = self.shared.state.read();
        state.alarms.iter(kind).collect()
    }

    /// Something of the users and roles, once somebody may see it, as they were when this was asked or later.
    ///
    /// # Errors
    /// Those of [`Member::linearize`] and [`Member::authorize`].
    pub async fn auth<T>(
        &self,
        caller: &Caller,
        access: Option<Access<'_>>,
        look: impl FnOnce(&Auth) -> T,
    ) -> Result<T, EtcdError> {
        self.linearize().await?;
        match access {
            Some(access) => self.authorized(caller, &[access], |state| look(&state.auth)).await,
            None => Ok(look(&self.shared.state.read().auth)),
        }
    }

    /// The members of the cluster, by id.
    #[must_use]
    pub fn members(&self) -> Vec<membership::Member> {
        self.shared.state.read().membership.members().cloned().collect()
    }

    /// How the member is.
    #[must_use]
    pub fn status(&self) -> MemberStatus {
        let node = self.shared.node_status.lock().clone();
        let sizes = self.shared.store.sizes();
        let state = self.shared.state.read();
        let mut errors = Vec::new();
        if node.leader.is_none() {
            errors.push(EtcdError::NoLeader.text().to_owned());
        }
        errors.extend(
            state.alarms.iter(None).map(|entry| {
                format!("memberID:{} alarm:{}", entry.member, entry.alarm.to_wire().as_str_name())
            }),
        );
        MemberStatus {
            revision: state.mvcc.revision(),
            total_bytes: sizes.total_bytes,
            live_bytes: sizes.live_bytes,
            quota_bytes: self.shared.config.quota_backend_bytes.unwrap_or(0),
            leader: node.leader,
            commit: node.commit,
            term: node.term,
            applied: self.shared.applied.load(),
            errors,
            is_learner: node.is_learner,
            storage_version: state.membership.storage_version().unwrap_or_default().to_owned(),
            downgrade_target: state.membership.downgrade_target().map(str::to_owned),
        }
    }

    /// The version that the cluster as a whole speaks, once it is decided.
    #[must_use]
    pub fn cluster_version(&self) -> Option<String> {
        self.shared.cluster_version.borrow().clone()
    }

    /// Waits until the version that the cluster speaks is decided.
    ///
    /// # Errors
    /// `Timeout`, `Stopped`.
    pub async fn cluster_version_decided(&self) -> Result<String, EtcdError> {
        let mut decided = self.shared.cluster_version.subscribe();
        let wait = decided.wait_for(Option::is_some);
        let waiting = tokio::time::timeout(self.shared.config.request_timeout(), wait);
        match self.shared.stopped.run_until_cancelled(waiting).await {
            Some(Ok(Ok(version))) => Ok(version.clone().unwrap_or_default()),
            Some(Ok(Err(_))) | None => Err(EtcdError::Stopped),
            Some(Err(_)) => Err(EtcdError::Timeout),
        }
    }

    /// Rewrites what holds garbage, while reads and writes go on.
    ///
    /// # Errors
    /// `Stopped` if the disk failed: the member stops.
    pub async fn defragment(&self) -> Result<(), EtcdError> {
        let shared = self.shared.clone();
        let outcome = self.off_thread(move || shared.store.defragment()).await?;
        outcome.map(drop).map_err(|error| self.read_error(ReadError::Damaged(error.to_string())))
    }

    /// Hash of all pairs up to `revision`, 0 for the current one (N3). At the revision of one of the last compactions, 0 included, it is
    /// the hash that the compaction made.
    ///
    /// # Errors
    /// `FutureRev`, `Compacted`, `Stopped`.
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKvAnswer, EtcdError> {
        self.hash_by(move |shared| whole::hash_kv(shared, revision)).await
    }

    /// Hash of all pairs at the current revision, whatever was compacted.
    ///
    /// # Errors
    /// `Stopped`; `Compacted` if a compaction comes in between.
    pub(crate) async fn hash_newest(&self) -> Result<HashKvAnswer, EtcdError> {
        self.hash_by(whole::hash_newest).await
    }

    /// What a compaction at revision 0 hashed, had there been one.
    pub(crate) fn hash_of_nothing(&self) -> HashKvAnswer {
        whole::hash_of_nothing(&self.shared)
    }

    async fn hash_by(
        &self,
        hash: impl FnOnce(&Shared) -> Result<HashKvAnswer, ReadError> + Send + 'static,
    ) -> Result<HashKvAnswer, EtcdError> {
        let started = Instant::now();
        let shared = self.shared.clone();
        let outcome = self.off_thread(move || hash(&shared)).await?;
        self.shared.metrics.handles.mvcc_hash_rev.observe(started.elapsed().as_secs_f64());
        outcome.map_err(|error| self.read_error(error))
    }

    /// The hashes of the last compactions that were after `revision`, the newest first.
    pub(crate) fn compaction_hashes_after(&self, revision: Revision) -> Vec<KvHash> {
        self.shared.compactions.hashes_after(revision)
    }

    /// Hash of everything that is stored (N2), and the revision it was made at.
    ///
    /// # Errors
    /// [`SnapshotError`] if a record cannot be read.
    pub async fn hash(&self) -> Result<(u32, Revision), SnapshotError> {
        let shared = self.shared.clone();
        let started = Instant::now();
        let outcome = tokio::task::spawn_blocking(move || whole::hash(&shared)).await;
        self.shared.metrics.handles.mvcc_hash.observe(started.elapsed().as_secs_f64());
        outcome.unwrap_or_else(|error| Err(SnapshotError::Io(error.into())))
    }

    /// A backup of the member, ready to be read.
    ///
    /// # Errors
    /// [`SnapshotError`] if it cannot be written, because the disk is full, say; the member goes on.
    pub async fn snapshot(&self) -> Result<SnapshotFile, SnapshotError> {
        let shared = self.shared.clone();
        let outcome = tokio::task::spawn_blocking(move || whole::snapshot(&shared)).await;
        outcome.unwrap_or_else(|error| Err(SnapshotError::Io(error.into())))
    }

    /// Notes how much life the leases have left, makes a last checkpoint and stops the threads.
    pub(crate) fn stop(&self) {
        self.shared.inbox.send(Event::Stop);
    }

    /// The member has stopped, for whatever reason.
    pub(crate) async fn stopped(&self) {
        self.shared.stopped.cancelled().await;
    }

    /// Becomes `Some` when the member had to stop by itself.
    pub(crate) fn halted(&self) -> watch::Receiver<Option<Halt>> {
        self.shared.halted.subscribe()
    }
}
