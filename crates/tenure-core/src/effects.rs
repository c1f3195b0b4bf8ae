//! What a command does, as a value.

use crate::command::{AlarmType, Permission};
use crate::types::{KvBytes, LeaseId, LogIndex, MemberId, Record, Revision, Secret, Term};
use bytes::Bytes;
use tenure_api::error::EtcdError;
use thiserror::Error;

/// What applying one entry of the log does.
#[derive(Clone, Debug)]
pub struct Effects {
    /// Everything that changes, with the index of the entry that changes it.
    pub batch: WriteBatch,
    /// The answer, the same on every member. A refusal has an empty batch.
    pub outcome: Outcome,
}

/// The answer to a command: a response or a refusal that every member computes alike.
pub type Outcome = Result<Response, EtcdError>;

/// The member cannot go on: what it holds is not what the log says it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Halt(pub String);

/// All changes of one entry. It cannot be made without the position of the entry, so data and applied
/// index cannot get out of step (the cause of etcd's v3.5 inconsistency).
#[derive(Clone, Debug)]
pub struct WriteBatch {
    applied: LogIndex,
    term: Term,
    /// Changes of keys, in order; all of one revision, `sub` counting from 0.
    pub records: Vec<Record>,
    /// Changes of the small tables, in order.
    pub tables: Vec<TableChange>,
}

impl WriteBatch {
    /// The batch of the entry at `applied`, with no change yet.
    #[must_use]
    pub fn new(applied: LogIndex, term: Term) -> Self {
        Self { applied, term, records: Vec::new(), tables: Vec::new() }
    }

    /// The index of the entry.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The term of the entry.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The revision that the records make, if there are any.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.records.first().map(|record| record.at().main)
    }
}

/// A change of one of the small tables. The names are those of etcd's buckets and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// A lease exists with this life.
    LeasePut(LeaseEntry),
    /// A lease is gone.
    LeaseDelete(LeaseId),
    /// An alarm is raised.
    AlarmPut(AlarmEntry),
    /// An alarm is cleared.
    AlarmDelete(AlarmEntry),
    /// Reads below this revision are refused from now on (`scheduledCompactRev`).
    CompactRevision(Revision),
    /// A member of the cluster: id, and the JSON that etcd's `members` bucket holds.
    MemberPut(MemberId, Bytes),
    /// A member has left; its id is never used again (`members_removed`).
    MemberRemove(MemberId),
    /// `clusterVersion`, `X.Y.0`.
    ClusterVersion(String),
    /// The `downgrade` entry as JSON.
    Downgrade(Bytes),
    /// The Raft configuration as etcd's `confState` JSON.
    ConfState(Bytes),
    /// `storageVersion`, `X.Y.0`.
    StorageVersion(String),
    /// Whether authentication is on (`authEnabled`).
    AuthEnabled(bool),
    /// The auth revision (`authRevision`).
    AuthRevision(u64),
    /// A user exists like this.
    AuthUserPut(AuthUser),
    /// A user is gone.
    AuthUserDelete(String),
    /// A role exists like this.
    AuthRolePut(AuthRole),
    /// A role is gone.
    AuthRoleDelete(String),
}

/// A user as the tables hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthUser {
    /// The name.
    pub name: String,
    /// The bcrypt hash of the password, as text; empty for a user without one.
    pub password_hash: Secret,
    /// The names of the roles, sorted.
    pub roles: Vec<String>,
    /// Only a certificate can say that somebody is this user.
    pub no_password: bool,
}

/// A role as the tables hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRole {
    /// The name.
    pub name: String,
    /// What it may do, by key.
    pub permissions: Vec<Permission>,
}

/// A lease as the tables hold it. Attached keys are not stored: the newest records say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseEntry {
    /// Its id.
    pub id: LeaseId,
    /// The granted life in seconds.
    pub ttl_seconds: i64,
    /// Seconds left at the last checkpoint, 0 if there was none since the last renewal.
    pub remaining_ttl_seconds: i64,
}

/// A raised alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmEntry {
    /// Whose.
    pub member: MemberId,
    /// Which.
    pub alarm: AlarmType,
}

/// What the lease clock of the leader must know of an applied entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// A lease exists (or its checkpointed life changed).
    Granted(LeaseEntry),
    /// A lease is gone.
    Revoked(LeaseId),
}

impl WriteBatch {
    /// What the lease clock must know of this batch.
    pub fn lease_events(&self) -> impl Iterator<Item = LeaseEvent> + '_ {
        self.tables.iter().filter_map(|change| match change {
            TableChange::LeasePut(entry) => Some(LeaseEvent::Granted(*entry)),
            TableChange::LeaseDelete(id) => Some(LeaseEvent::Revoked(*id)),
            _ => None,
        })
    }
}

/// The answer to a command. `revision` is what the response header must say.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To a put.
    Put(PutOutcome),
    /// To a delete.
    DeleteRange(DeleteOutcome),
    /// To a transaction.
    Txn(TxnOutcome),
    /// To a compaction: the current revision.
    Compact(Revision),
    /// To a lease grant.
    LeaseGrant {
        /// The lease.
        lease: LeaseEntry,
        /// The current revision.
        revision: Revision,
    },
    /// To a lease revocation: the revision that deleted the keys, or the current one.
    LeaseRevoke(Revision),
    /// To an alarm command: the alarms it read, raised or cleared.
    Alarm(Vec<AlarmEntry>, Revision),
    /// To a log-in: the auth revision that the user was found at.
    Authenticated {
        /// The entry that logs him in, which is a part of his simple token.
        index: LogIndex,
        /// The auth revision.
        auth_revision: u64,
        /// The current revision.
        revision: Revision,
    },
    /// To everything that only acknowledges.
    Done(Revision),
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOutcome {
    /// The revision it made.
    pub revision: Revision,
    /// The pair that was there before, if it was asked for.
    pub prev: Option<KvBytes>,
}

/// The answer to a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The revision it made, or the one it found if nothing was deleted.
    pub revision: Revision,
    /// How many keys it deleted.
    pub deleted: i64,
    /// The pairs that were there before, if they were asked for.
    pub prev: Vec<KvBytes>,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeOutcome {
    /// The current revision (not the requested one, R3).
    pub revision: Revision,
    /// The pairs, in the order that was asked for.
    pub kvs: Vec<KvBytes>,
    /// Whether the limit cut the answer.
    pub more: bool,
    /// Keys in the range at the revision, whatever limit and filters say (R9).
    pub count: i64,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnOutcome {
    /// The revision it made, or the one it found if nothing was written. The header of a nested answer
    /// is empty on the wire (reference 11, T8); this field is for the outermost.
    pub revision: Revision,
    /// Whether the compares held.
    pub succeeded: bool,
    /// One answer an operation.
    pub responses: Vec<OpOutcome>,
}

/// The answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum OpOutcome {
    /// To a range.
    Range(RangeOutcome),
    /// To a put.
    Put(PutOutcome),
    /// To a delete.
    DeleteRange(DeleteOutcome),
    /// To a transaction within.
    Txn(TxnOutcome),
}
