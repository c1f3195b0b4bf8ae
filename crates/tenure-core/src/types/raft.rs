//! What Raft keeps: entries, hard state, configuration. The wire forms are in `tenure-api` (`raftpb`); the types of the
//! engine stay inside [`crate::node`].

use super::{LogIndex, MemberId, RequestId, Term};
use bytes::Bytes;
use prost::Message;
use tenure_api::raftpb;
use thiserror::Error;

/// A place in the log: an index and the term of the entry there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The index.
    pub index: LogIndex,
    /// The term of its entry.
    pub term: Term,
}

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

/// A change of one member, as the log carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfChange {
    /// The proposal.
    pub id: RequestId,
    /// What changes.
    pub kind: ConfChangeKind,
    /// Whom it is about.
    pub member: MemberId,
    /// The member as JSON; empty for a removal.
    pub context: Bytes,
}

/// What a [`ConfChange`] changes. The numbers on the wire are etcd's, not those of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChangeKind {
    /// A new voter, or a learner that becomes one.
    AddVoter,
    /// A member leaves.
    Remove,
    /// A member gets other peer URLs.
    Update,
    /// A new learner.
    AddLearner,
}

/// The bytes are not a `raftpb.ConfChange`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("malformed configuration change in the log: {0}")]
pub struct MalformedConfChange(String);

impl ConfChange {
    /// The bytes of a `raftpb.ConfChange`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let kind = match self.kind {
            ConfChangeKind::AddVoter => raftpb::ConfChangeType::ConfChangeAddNode,
            ConfChangeKind::Remove => raftpb::ConfChangeType::ConfChangeRemoveNode,
            ConfChangeKind::Update => raftpb::ConfChangeType::ConfChangeUpdateNode,
            ConfChangeKind::AddLearner => raftpb::ConfChangeType::ConfChangeAddLearnerNode,
        };
        let wire = raftpb::ConfChange {
            id: Some(self.id.0),
            r#type: Some(kind.into()),
            node_id: Some(self.member.0),
            context: (!self.context.is_empty()).then(|| self.context.clone()),
        };
        wire.encode_to_vec().into()
    }

    /// The change that an entry of the log holds.
    ///
    /// # Errors
    /// [`MalformedConfChange`] if the bytes are no such message or its kind does not exist.
    pub fn decode(bytes: Bytes) -> Result<Self, MalformedConfChange> {
        let wire =
            raftpb::ConfChange::decode(bytes).map_err(|error| MalformedConfChange(error.to_string()))?;
        let number = wire.r#type.unwrap_or_default();
        let kind = match raftpb::ConfChangeType::try_from(number) {
            Ok(raftpb::ConfChangeType::ConfChangeAddNode) => ConfChangeKind::AddVoter,
            Ok(raftpb::ConfChangeType::ConfChangeRemoveNode) => ConfChangeKind::Remove,
            Ok(raftpb::ConfChangeType::ConfChangeUpdateNode) => ConfChangeKind::Update,
            Ok(raftpb::ConfChangeType::ConfChangeAddLearnerNode) => ConfChangeKind::AddLearner,
            Err(_) => return Err(MalformedConfChange(format!("type {number}"))),
        };
        Ok(Self {
            id: RequestId(wire.id.unwrap_or_default()),
            kind,
            member: MemberId(wire.node_id.unwrap_or_default()),
            context: wire.context.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conf_change_has_etcds_numbers() {
        let change = |kind| ConfChange {
            id: RequestId(5),
            kind,
            member: MemberId(7),
            context: Bytes::from_static(b"{}"),
        };
        for (number, kind) in [
            (0, ConfChangeKind::AddVoter),
            (1, ConfChangeKind::Remove),
            (2, ConfChangeKind::Update),
            (3, ConfChangeKind::AddLearner),
        ] {
            let change = change(kind);
            assert_eq!(change.encode()[..], [8, 5, 16, number, 24, 7, 34, 2, b'{', b'}']);
            assert_eq!(ConfChange::decode(change.encode()), Ok(change));
        }
        assert!(ConfChange::decode(Bytes::from_static(&[16, 4])).is_err());
        assert!(ConfChange::decode(Bytes::from_static(&[255])).is_err());
    }
}
