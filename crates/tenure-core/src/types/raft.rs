//! What Raft keeps: entries, hard state, configuration. The wire forms are in `tenure-api` (`raftpb`); the types of the
//! engine stay inside [`crate::node`].

use super::{LogIndex, MemberId, Term};
use bytes::Bytes;

/// One entry of the Raft log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position.
    pub index: LogIndex,
    /// The term of the leader that wrote it.
    pub term: Term,
    /// What the data is.
    pub kind: EntryKind,
    /// [`EntryKind::Normal`]: an encoded [`crate::command::Request`], or nothing (a new leader's first entry).
    /// [`EntryKind::ConfChange`]: `raftpb.ConfChange`. [`EntryKind::ConfChangeV2`]: `raftpb.ConfChangeV2`.
    pub data: Bytes,
}

/// What the data of an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A command.
    #[default]
    Normal,
    /// A change of one member.
    ConfChange,
    /// A change of several members.
    ConfChangeV2,
}

/// What a member must remember of the Raft protocol besides its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term it knows.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<MemberId>,
    /// Up to where the log is committed, as far as it knows.
    pub commit: LogIndex,
}

/// Who takes part in Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Those who vote.
    pub voters: Vec<MemberId>,
    /// Those who only follow.
    pub learners: Vec<MemberId>,
    /// Voters of the configuration that is being left.
    pub voters_outgoing: Vec<MemberId>,
    /// Learners once the change is over.
    pub learners_next: Vec<MemberId>,
    /// Whether the change ends by itself.
    pub auto_leave: bool,
}
