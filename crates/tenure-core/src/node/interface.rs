//! What goes into a [`Node`](super::Node) and what comes out.

use super::message::{Message, Snapshot};
use crate::membership::{self, Downgrade};
use crate::state::{Halt, LeaseEntry, LeaseEvent, StateMachine, TableChange, WriteBatch};
use crate::types::{
    ConfChange, ConfState, HardState, LeaseId, LogEntry, LogIndex, MemberId, RequestId, Term,
};
use bytes::Bytes;

/// Everything that can happen to a node.
#[derive(Debug)]
pub enum Input {
    /// [`NodeConfig::tick`](super::NodeConfig::tick) has passed since the last one.
    Tick,
    /// Commands to replicate, in this order. What waits goes into one input: it becomes one batch.
    Propose(Vec<Proposal>),
    /// A member to add, remove or change.
    ProposeConfChange(ConfChange),
    /// A read wants to know the index that it must see applied. What waits goes under one ticket.
    ReadIndex(ReadTicket),
    /// What was handed out with this token, and everything before it, is on disk.
    Persisted(PersistToken),
    /// Entries have been applied. To be handed in before their replies leave, or a client could renew a lease
    /// that the node has not heard of yet.
    Applied(Applied),
    /// A client keeps a lease alive.
    RenewLease {
        /// The lease.
        lease: LeaseId,
        /// Returns with [`Output::LeaseRenewed`].
        ticket: LeaseTicket,
    },
    /// A client asks how much life a lease has left.
    LeaseLife {
        /// The lease.
        lease: LeaseId,
        /// Returns with [`Output::LeaseLife`].
        ticket: LeaseTicket,
    },
    /// A client asks for the leases in the order of their expiry (L10).
    ListLeases(LeaseTicket),
    /// A message of another member.
    Receive(Box<Message>),
    /// The last message to this member could not be sent.
    PeerUnreachable(MemberId),
    /// A snapshot has been sent to this member, or not.
    SnapshotSent {
        /// Whom it was for.
        to: MemberId,
        /// Whether it arrived.
        arrived: bool,
    },
    /// The smallest server version of the members, `X.Y.Z`, once they are all known: the leader raises the cluster
    /// version to it, or lowers it to the target of a downgrade. To be told anew when a downgrade begins or ends. Not needed in a
    /// cluster of one.
    ServerVersionMin(String),
    /// Hand the leadership to this member.
    TransferLeader(MemberId),
    /// Start an election now.
    Campaign,
    /// The member is about to stop: note how much life the leases have left. Returns with [`Output::StopReady`].
    Stop,
}

/// One command to replicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The id in its header, to name it in [`Output::Dropped`].
    pub id: RequestId,
    /// The encoded [`Request`](crate::command::Request).
    pub data: Bytes,
}

/// Names a batch of reads of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadTicket(pub u64);

/// Names a question about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseTicket(pub u64);

/// The proof that something was handed out to be persisted. Only a node makes it, and giving it back says "it is on
/// disk": there is no other way to say so.
#[derive(Debug, PartialEq, Eq)]
pub struct PersistToken(pub(super) u64);

/// What a node must know of the entries that have been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub(super) index: LogIndex,
    pub(super) leases: Vec<LeaseEvent>,
    pub(super) conf_states: Vec<(LogIndex, Result<ConfState, String>)>,
    pub(super) cluster_version: Option<String>,
    /// The target of a downgrade that has begun, or none any more.
    pub(super) downgrade_target: Option<Option<String>>,
    /// All leases, if the state machine was replaced by a snapshot.
    pub(super) replaced: Option<Vec<LeaseEntry>>,
}

impl Applied {
    /// A snapshot has replaced the state machine, which is now `state`.
    #[must_use]
    pub fn snapshot(state: &StateMachine) -> Self {
        Self {
            index: state.applied(),
            replaced: Some(state.leases.iter().collect()),
            cluster_version: state.membership.cluster_version().map(String::from),
            downgrade_target: Some(state.membership.downgrade_target().map(String::from)),
            ..Self::default()
        }
    }

    /// Adds the batch of the next entry.
    pub fn note(&mut self, batch: &WriteBatch) {
        self.index = batch.applied();
        self.leases.extend(batch.lease_events());
        for change in &batch.tables {
            match change {
                TableChange::ConfState(json) => {
                    let state = membership::conf_state_from_json(json).map_err(|error| error.to_string());
                    self.conf_states.push((self.index, state));
                }
                TableChange::ClusterVersion(version) => self.cluster_version = Some(version.clone()),
                TableChange::Downgrade(json) => {
                    let downgrade = Downgrade::from_json(json).unwrap_or_default();
                    self.downgrade_target = Some(downgrade.enabled.then_some(downgrade.target_version));
                }
                _ => {}
            }
        }
    }

    /// The last entry that was noted.
    #[must_use]
    pub fn index(&self) -> LogIndex {
        self.index
    }
}

/// Everything that a node asks for. Outputs are carried out in their order, except where one says otherwise.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Put this on disk.
    Persist(Persist),
    /// Apply these entries. They are committed and on this member's disk; they follow the ones before without a gap.
    Apply(Vec<LogEntry>),
    /// Send this message now. It never waits for a disk: what must wait, the node holds back.
    Send(Message),
    /// These reads see everything they must once `index` is applied.
    ReadReady {
        /// The reads.
        tickets: Vec<ReadTicket>,
        /// What they must see.
        index: LogIndex,
    },
    /// These reads have waited too long for a leader, or too many wait already.
    ReadDropped(Vec<ReadTicket>),
    /// This proposal is not in the log and will not be. (Of one that is not named here nothing is known before it is
    /// applied.)
    Dropped {
        /// Which.
        id: RequestId,
        /// Why.
        reason: DropReason,
    },
    /// The answer to [`Input::RenewLease`].
    LeaseRenewed {
        /// Whose.
        ticket: LeaseTicket,
        /// The granted life in seconds.
        ttl_seconds: Result<i64, LeaseRefusal>,
    },
    /// The answer to [`Input::LeaseLife`].
    LeaseLife {
        /// Whose.
        ticket: LeaseTicket,
        /// Granted and left.
        life: Result<LeaseLife, LeaseRefusal>,
    },
    /// The answer to [`Input::ListLeases`].
    LeaseList {
        /// Whose.
        ticket: LeaseTicket,
        /// The leases, the one that expires next first. On a member that does not lead by id.
        leases: Vec<LeaseId>,
    },
    /// Who leads, or in which term, has changed.
    LeaderChanged {
        /// The leader, if one is known.
        leader: Option<MemberId>,
        /// The term.
        term: Term,
        /// Proposals and changes of the membership that still wait for a leader. What else was handed in went to leaders before this
        /// one, and what of it is in no log by then will hardly get into one.
        unsent: Vec<RequestId>,
    },
    /// Everything is noted that should be before the member stops.
    StopReady,
    /// The member must stop; the node does nothing any more.
    Halt(Halt),
}

/// What must be put on disk, in the order in which it is handed out.
#[derive(Debug, PartialEq)]
pub struct Persist {
    /// To be given back in [`Input::Persisted`].
    pub token: PersistToken,
    /// The state machine of another member, which replaces this one's before the entries are appended. It has been
    /// received with the message that carried this.
    pub snapshot: Option<Snapshot>,
    /// Entries to append. If the first one's index is not beyond the last one of the log, they replace its end.
    pub entries: Vec<LogEntry>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// Whether it must be synced before the token goes back. If not, writing is enough.
    pub must_sync: bool,
}

/// Why a proposal is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// No leader was found in time.
    NoLeader,
    /// Too much waits already: for a leader, for its commit, or for being applied (Q8).
    TooManyRequests,
    /// The leadership is being handed over, or this member is no part of the cluster any more.
    Refused,
}

/// Why a question about a lease has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRefusal {
    /// There is no such lease (any more).
    NotFound,
    /// Only the leader knows (`not a primary lessor`).
    NotPrimary,
}

/// How long a lease lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLife {
    /// The granted life in seconds.
    pub ttl_seconds: i64,
    /// Whole seconds left; 0 if it is over and the revocation is under way.
    pub remaining_seconds: i64,
}

/// What a node does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Wants to be elected.
    Candidate,
    /// Leads.
    Leader,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub role: Role,
    /// Who leads, if known.
    pub leader: Option<MemberId>,
    /// The term.
    pub term: Term,
    /// The last entry of the log.
    pub last: LogIndex,
    /// The last entry known to be committed.
    pub commit: LogIndex,
    /// The last entry known to be applied.
    pub applied: LogIndex,
    /// Whether this member only follows and does not vote.
    pub is_learner: bool,
    /// How far the other members are, by id. Empty on a member that does not lead.
    pub progress: Vec<Progress>,
}

/// How far another member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub member: MemberId,
    /// The last entry known to be in its log.
    pub matched: LogIndex,
    /// Whether it has been heard of lately.
    pub is_active: bool,
    /// Whether it does not vote.
    pub is_learner: bool,
}
