//! Messages between members, in terms of our own types; [`Message::to_wire`] and [`Message::from_wire`] are etcd's
//! `raftpb.Message`.

use crate::types::{ConfState, EntryKind, HardState, LogEntry, LogIndex, LogPosition, MemberId, Term};
use bytes::Bytes;
use tenure_api::raftpb;
use thiserror::Error;

/// A message between two members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub kind: MessageKind,
    /// Who is to hear it.
    pub to: MemberId,
    /// Who says it.
    pub from: MemberId,
    /// The term of the sender. 0 in messages that are passed on to the leader.
    pub term: Term,
    /// `Append`: the term of the entry before `entries`. Votes: the term of the candidate's last entry.
    pub log_term: Term,
    /// `Append`: the index of the entry before `entries`. Votes: that of the candidate's last entry. Answers: up to where
    /// the logs agree.
    pub index: LogIndex,
    /// Entries to append or to propose; the context of a read.
    pub entries: Vec<LogEntry>,
    /// Up to where the log is committed.
    pub commit: LogIndex,
    /// The snapshot of an `InstallSnapshot`. The state machine itself travels beside the message.
    pub snapshot: Option<Snapshot>,
    /// Whether the answer is no.
    pub is_reject: bool,
    /// Of a refused append: where the logs may agree.
    pub reject_hint: LogIndex,
    /// What comes back in the answer.
    pub context: Bytes,
}

/// What a [`Message`] says. The numbers are those of `raftpb.MessageType`; those that a member says only to itself are
/// left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Something to propose, passed on to the leader.
    Propose = 2,
    /// Entries to append.
    Append = 3,
    /// The answer to `Append` and `InstallSnapshot`.
    AppendResponse = 4,
    /// A candidate asks for a vote.
    Vote = 5,
    /// The answer to `Vote`.
    VoteResponse = 6,
    /// A snapshot for a follower that is too far behind.
    InstallSnapshot = 7,
    /// The leader is alive.
    Heartbeat = 8,
    /// The answer to `Heartbeat`.
    HeartbeatResponse = 9,
    /// A follower asks for the leadership to be handed over, for another member.
    TransferLeader = 13,
    /// Start an election at once.
    TimeoutNow = 14,
    /// A read, passed on to the leader.
    ReadIndex = 15,
    /// The answer to `ReadIndex`.
    ReadIndexResponse = 16,
    /// A member asks whether it could win an election.
    PreVote = 17,
    /// The answer to `PreVote`.
    PreVoteResponse = 18,
}

/// What a snapshot of the state machine stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that it holds.
    pub position: LogPosition,
    /// The Raft configuration there.
    pub conf_state: ConfState,
}

/// The message is not one that a member sends.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid message of another member: {0}")]
pub struct InvalidMessage(pub(super) String);

impl MessageKind {
    /// Whether a message says nothing for its sender's term: it is of none, or asks about the next one.
    #[must_use]
    pub fn is_of_no_term(self) -> bool {
        use MessageKind::{PreVote, PreVoteResponse, Propose, ReadIndex};
        matches!(self, Propose | ReadIndex | PreVote | PreVoteResponse)
    }

    const ALL: [MessageKind; 14] = [
        MessageKind::Propose,
        MessageKind::Append,
        MessageKind::AppendResponse,
        MessageKind::Vote,
        MessageKind::VoteResponse,
        MessageKind::InstallSnapshot,
        MessageKind::Heartbeat,
        MessageKind::HeartbeatResponse,
        MessageKind::TransferLeader,
        MessageKind::TimeoutNow,
        MessageKind::ReadIndex,
        MessageKind::ReadIndexResponse,
        MessageKind::PreVote,
        MessageKind::PreVoteResponse,
    ];

    /// The kind with this number, if members send it to each other.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i32 == number)
    }
}

impl Message {
    /// A message of `kind` that says nothing else.
    #[must_use]
    pub fn new(kind: MessageKind, from: MemberId, to: MemberId) -> Self {
        Self {
            kind,
            to,
            from,
            term: Term(0),
            log_term: Term(0),
            index: LogIndex(0),
            entries: Vec::new(),
            commit: LogIndex(0),
            snapshot: None,
            is_reject: false,
            reject_hint: LogIndex(0),
            context: Bytes::new(),
        }
    }

    /// As `raftpb.Message`.
    #[must_use]
    pub fn to_wire(&self) -> raftpb::Message {
        raftpb::Message {
            r#type: Some(self.kind as i32),
            to: Some(self.to.0),
            from: Some(self.from.0),
            term: Some(self.term.0),
            log_term: Some(self.log_term.0),
            index: Some(self.index.0),
            entries: self.entries.iter().map(entry_to_wire).collect(),
            commit: Some(self.commit.0),
            vote: None,
            snapshot: self.snapshot.as_ref().map(Snapshot::to_wire),
            reject: Some(self.is_reject),
            reject_hint: Some(self.reject_hint.0),
            context: (!self.context.is_empty()).then(|| self.context.clone()),
            responses: Vec::new(),
        }
    }

    /// From `raftpb.Message`.
    ///
    /// # Errors
    /// [`InvalidMessage`] for what members do not send to each other.
    pub fn from_wire(wire: raftpb::Message) -> Result<Self, InvalidMessage> {
        let number = wire.r#type.unwrap_or_default();
        let kind =
            MessageKind::from_number(number).ok_or_else(|| InvalidMessage(format!("type {number}")))?;
        let entries = wire.entries.into_iter().map(entry_from_wire).collect::<Result<_, _>>()?;
        Ok(Self {
            kind,
            to: MemberId(wire.to.unwrap_or_default()),
            from: MemberId(wire.from.unwrap_or_default()),
            term: Term(wire.term.unwrap_or_default()),
            log_term: Term(wire.log_term.unwrap_or_default()),
            index: LogIndex(wire.index.unwrap_or_default()),
            entries,
            commit: LogIndex(wire.commit.unwrap_or_default()),
            snapshot: wire.snapshot.and_then(Snapshot::from_wire),
            is_reject: wire.reject.unwrap_or_default(),
            reject_hint: LogIndex(wire.reject_hint.unwrap_or_default()),
            context: wire.context.unwrap_or_default(),
        })
    }
}

impl Snapshot {
    fn to_wire(&self) -> raftpb::Snapshot {
        let metadata = raftpb::SnapshotMetadata {
            conf_state: Some(conf_state_to_wire(&self.conf_state)),
            index: Some(self.position.index.0),
            term: Some(self.position.term.0),
        };
        raftpb::Snapshot { data: None, metadata: Some(metadata) }
    }

    /// A snapshot at index 0 is none: Go sends one in every message.
    fn from_wire(wire: raftpb::Snapshot) -> Option<Self> {
        let metadata = wire.metadata?;
        let index = metadata.index.filter(|index| *index > 0)?;
        let position = LogPosition { index: LogIndex(index), term: Term(metadata.term.unwrap_or_default()) };
        Some(Self { position, conf_state: conf_state_from_wire(metadata.conf_state.unwrap_or_default()) })
    }
}

/// An entry as `raftpb.Entry`, the form of the WAL and of messages.
#[must_use]
pub fn entry_to_wire(entry: &LogEntry) -> raftpb::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => raftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => raftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => raftpb::EntryType::EntryConfChangeV2,
    };
    raftpb::Entry {
        term: Some(entry.term.0),
        index: Some(entry.index.0),
        r#type: Some(kind.into()),
        data: (!entry.data.is_empty()).then(|| entry.data.clone()),
    }
}

/// An entry from `raftpb.Entry`.
///
/// # Errors
/// [`InvalidMessage`] for a type of entry that does not exist.
pub fn entry_from_wire(wire: raftpb::Entry) -> Result<LogEntry, InvalidMessage> {
    let number = wire.r#type.unwrap_or_default();
    let kind = match raftpb::EntryType::try_from(number) {
        Ok(raftpb::EntryType::EntryNormal) => EntryKind::Normal,
        Ok(raftpb::EntryType::EntryConfChange) => EntryKind::ConfChange,
        Ok(raftpb::EntryType::EntryConfChangeV2) => EntryKind::ConfChangeV2,
        Err(_) => return Err(InvalidMessage(format!("entry of type {number}"))),
    };
    Ok(LogEntry {
        index: LogIndex(wire.index.unwrap_or_default()),
        term: Term(wire.term.unwrap_or_default()),
        kind,
        data: wire.data.unwrap_or_default(),
    })
}

/// A hard state as `raftpb.HardState`.
#[must_use]
pub fn hard_state_to_wire(state: &HardState) -> raftpb::HardState {
    raftpb::HardState {
        term: Some(state.term.0),
        vote: Some(state.vote.map_or(0, |member| member.0)),
        commit: Some(state.commit.0),
    }
}

/// A hard state from `raftpb.HardState`.
#[must_use]
pub fn hard_state_from_wire(wire: raftpb::HardState) -> HardState {
    HardState {
        term: Term(wire.term.unwrap_or_default()),
        vote: wire.vote.filter(|vote| *vote != 0).map(MemberId),
        commit: LogIndex(wire.commit.unwrap_or_default()),
    }
}

/// A Raft configuration as `raftpb.ConfState`.
#[must_use]
pub fn conf_state_to_wire(state: &ConfState) -> raftpb::ConfState {
    let numbers = |ids: &[MemberId]| ids.iter().map(|id| id.0).collect();
    raftpb::ConfState {
        voters: numbers(&state.voters),
        learners: numbers(&state.learners),
        voters_outgoing: numbers(&state.voters_outgoing),
        learners_next: numbers(&state.learners_next),
        auto_leave: Some(state.auto_leave),
    }
}

/// A Raft configuration from `raftpb.ConfState`.
#[must_use]
pub fn conf_state_from_wire(wire: raftpb::ConfState) -> ConfState {
    let ids = |numbers: Vec<u64>| numbers.into_iter().map(MemberId).collect();
    ConfState {
        voters: ids(wire.voters),
        learners: ids(wire.learners),
        voters_outgoing: ids(wire.voters_outgoing),
        learners_next: ids(wire.learners_next),
        auto_leave: wire.auto_leave.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message as _;

    fn some_entry() -> impl Strategy<Value = LogEntry> {
        let kind =
            prop::sample::select(vec![EntryKind::Normal, EntryKind::ConfChange, EntryKind::ConfChangeV2]);
        (any::<u64>(), any::<u64>(), kind, vec(any::<u8>(), 0..5)).prop_map(|(index, term, kind, data)| {
            LogEntry { index: LogIndex(index), term: Term(term), kind, data: data.into() }
        })
    }

    fn some_snapshot() -> impl Strategy<Value = Snapshot> {
        (1..u64::MAX, any::<u64>(), vec(any::<u64>(), 0..3), any::<bool>()).prop_map(
            |(index, term, voters, auto_leave)| Snapshot {
                position: LogPosition { index: LogIndex(index), term: Term(term) },
                conf_state: ConfState {
                    voters: voters.into_iter().map(MemberId).collect(),
                    auto_leave,
                    ..ConfState::default()
                },
            },
        )
    }

    proptest! {
        #[test]
        fn a_message_comes_back_from_the_wire(
            kind in prop::sample::select(MessageKind::ALL.to_vec()),
            numbers in any::<[u64; 7]>(),
            entries in vec(some_entry(), 0..3),
            snapshot in prop::option::of(some_snapshot()),
            is_reject in any::<bool>(),
            context in vec(any::<u8>(), 0..5),
        ) {
            let message = Message {
                kind,
                to: MemberId(numbers[0]),
                from: MemberId(numbers[1]),
                term: Term(numbers[2]),
                log_term: Term(numbers[3]),
                index: LogIndex(numbers[4]),
                commit: LogIndex(numbers[5]),
                reject_hint: LogIndex(numbers[6]),
                entries,
                snapshot,
                is_reject,
                context: context.into(),
            };
            let bytes = message.to_wire().encode_to_vec();
            let wire = raftpb::Message::decode(&bytes[..]).expect("decodes");
            prop_assert_eq!(Message::from_wire(wire), Ok(message));
        }
    }

    #[test]
    fn what_a_member_says_only_to_itself_is_refused() {
        for number in [0, 1, 10, 11, 12, 19, 23, 24, -1] {
            let wire = raftpb::Message { r#type: Some(number), ..raftpb::Message::default() };
            assert!(Message::from_wire(wire).is_err(), "type {number}");
        }
        let entry = raftpb::Entry { r#type: Some(3), ..raftpb::Entry::default() };
        let wire = raftpb::Message { r#type: Some(3), entries: vec![entry], ..raftpb::Message::default() };
        assert!(Message::from_wire(wire).is_err());
    }

    #[test]
    fn the_empty_snapshot_that_go_sends_is_none() {
        let snapshot = raftpb::Snapshot {
            metadata: Some(raftpb::SnapshotMetadata { index: Some(0), ..Default::default() }),
            data: None,
        };
        let wire = raftpb::Message { r#type: Some(8), snapshot: Some(snapshot), ..Default::default() };
        assert_eq!(Message::from_wire(wire).map(|message| message.snapshot), Ok(None));
    }

    #[test]
    fn nobody_is_voted_for_with_0() {
        let state = HardState { term: Term(3), vote: None, commit: LogIndex(9) };
        let wire = hard_state_to_wire(&state);
        assert_eq!(wire.encode_to_vec(), [8, 3, 16, 0, 24, 9]);
        assert_eq!(hard_state_from_wire(wire), state);
    }
}
