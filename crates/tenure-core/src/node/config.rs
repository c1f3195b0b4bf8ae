//! What a [`Node`](super::Node) is started with.

use crate::state::LeaseEntry;
use crate::types::{ConfState, HardState, LogEntry, LogIndex, LogPosition, MemberId, RequestIds};
use std::time::Duration;
use thiserror::Error;

/// The constants of one node's life.
#[derive(Debug)]
pub struct NodeConfig {
    /// The member.
    pub member: MemberId,
    /// Time between two [`Input::Tick`](super::Input::Tick)s, which is the heartbeat interval.
    pub tick: Duration,
    /// Ticks without a leader before an election starts; each election draws from this to 1.7 times this.
    pub election_ticks: usize,
    /// Whether a candidate asks first whether it could win. Off only for tests against old members.
    pub pre_vote: bool,
    /// Where the election timeouts come from: the same seed and the same inputs give the same outputs.
    pub seed: u64,
    /// Ids for what the node proposes by itself.
    pub request_ids: RequestIds,
    /// The version of this program, `X.Y.Z`, from which a leader alone in its cluster decides the cluster version.
    pub server_version: &'static str,
    /// Time between two notes of how much life a long lease has left (L8).
    pub lease_checkpoint_interval: Duration,
    /// Applied entries that stay in memory for followers that are behind (`--snapshot-catchup-entries`).
    pub catchup_entries_max: usize,
    /// Bytes of those entries; the older ones go first.
    pub catchup_bytes_max: usize,
    /// Bytes of one append message, etcd's 1 MiB. A single greater entry is sent all the same.
    pub message_bytes_max: u64,
    /// Append messages under way to one follower, etcd's 512.
    pub inflight_messages_max: usize,
    /// Bytes proposed and not yet committed. What does not fit is dropped.
    pub uncommitted_bytes_max: u64,
    /// Entries committed and not yet applied above which proposals are dropped (Q8).
    pub unapplied_entries_max: u64,
    /// Proposals, and again reads, that wait for a leader.
    pub waiting_max: usize,
    /// How long they wait.
    pub request_timeout: Duration,
}

impl NodeConfig {
    /// etcd's defaults: a heartbeat of 100 ms, an election timeout of 1 s.
    #[must_use]
    pub fn new(member: MemberId, request_ids: RequestIds, seed: u64) -> Self {
        Self {
            member,
            tick: Duration::from_millis(100),
            election_ticks: 10,
            pre_vote: true,
            seed,
            request_ids,
            server_version: "3.7.1",
            lease_checkpoint_interval: Duration::from_secs(300),
            catchup_entries_max: 5_000,
            catchup_bytes_max: 64 << 20,
            message_bytes_max: 1 << 20,
            inflight_messages_max: 512,
            uncommitted_bytes_max: 1 << 30,
            unapplied_entries_max: 5_000,
            waiting_max: 5_000,
            request_timeout: Duration::from_secs(7),
        }
    }

    /// How long a follower waits at least before it starts an election.
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.tick * u32::try_from(self.election_ticks).unwrap_or(u32::MAX)
    }
}

/// What a member knows when it starts: what its log and its state machine hold.
///
/// At the very first start of a cluster it is what [`bootstrap`](super::bootstrap) makes, already on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restart {
    /// The newest hard state of the log. Its commit index may lag; what has been applied is committed.
    pub hard_state: HardState,
    /// The position before the first of `entries`: 0 for a log that begins at the beginning.
    pub start: LogPosition,
    /// The log, without gaps, all of it on disk. Entries that have been applied may be left out.
    pub entries: Vec<LogEntry>,
    /// The last entry whose effects the state machine holds.
    pub applied: LogIndex,
    /// The Raft configuration that the state machine holds.
    pub conf_state: ConfState,
    /// The leases that the state machine holds.
    pub leases: Vec<LeaseEntry>,
    /// The cluster version that the state machine holds.
    pub cluster_version: Option<String>,
    /// The target of the downgrade that the state machine knows to be under way.
    pub downgrade_target: Option<String>,
}

/// Log and state machine do not belong together: the member must not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartError {
    /// The entries have a gap.
    #[error("the log has a gap: entry {found} follows entry {after}")]
    Gap {
        /// The entry before the gap.
        after: LogIndex,
        /// The entry after it.
        found: LogIndex,
    },
    /// The state machine is ahead of the log, or the log begins behind it.
    #[error(
        "the log holds the entries from {first} to {last}, but the state machine has applied entry {applied}"
    )]
    Apart {
        /// First entry of the log.
        first: LogIndex,
        /// Last entry of the log.
        last: LogIndex,
        /// Last entry applied.
        applied: LogIndex,
    },
    /// The hard state is ahead of the log: a part of it is lost.
    #[error("the log ends at entry {last}, but entry {commit} is committed")]
    Lost {
        /// Last entry of the log.
        last: LogIndex,
        /// The committed index.
        commit: LogIndex,
    },
    /// A number in the configuration makes no sense, or the Raft configuration contradicts itself.
    #[error("invalid Raft configuration: {0}")]
    Config(String),
}

/// The hard state to start with, if `restart` makes sense: what is applied is committed, and a term that an entry has is
/// known. (The end of a log can be torn between an entry and the hard state that was written after it.)
pub(super) fn check(restart: &Restart) -> Result<HardState, StartError> {
    let mut last = restart.start;
    for entry in &restart.entries {
        if entry.index != last.index.next() {
            return Err(StartError::Gap { after: last.index, found: entry.index });
        }
        last = LogPosition { index: entry.index, term: entry.term };
    }
    let applied = restart.applied;
    if applied < restart.start.index || applied > last.index {
        return Err(StartError::Apart { first: restart.start.index.next(), last: last.index, applied });
    }
    let mut state = restart.hard_state;
    if state.commit > last.index {
        return Err(StartError::Lost { last: last.index, commit: state.commit });
    }
    state.commit = state.commit.max(applied);
    if state.term < last.term {
        state.term = last.term;
        state.vote = None;
    }
    Ok(state)
}

/// The engine's configuration. Election timeouts are replaced by our own; `batch_append` must stay off, because with it
/// the engine merges entries that do not follow each other.
pub(super) fn engine_config(config: &NodeConfig, restart: &Restart) -> raft::Config {
    let engine = raft::Config {
        id: config.member.0,
        election_tick: config.election_ticks,
        heartbeat_tick: 1,
        applied: restart.applied.0,
        max_size_per_msg: config.message_bytes_max,
        max_inflight_msgs: config.inflight_messages_max,
        check_quorum: true,
        pre_vote: config.pre_vote,
        max_uncommitted_size: config.uncommitted_bytes_max,
        max_committed_size_per_ready: super::APPLY_BYTES_MAX,
        // The node does it, with what else it has to say.
        skip_bcast_commit: true,
        ..raft::Config::default()
    };
    assert!(!engine.batch_append, "batch_append loses entries");
    engine
}
