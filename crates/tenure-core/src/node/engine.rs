//! The engine's types, to and from ours. Nothing else knows them but [`super::log`] and the node itself.
//!
//! Field numbers are etcd's, with two exceptions, which is why everything is converted: the engine counts an added
//! learner as 2 where etcd counts an update as 2 and the learner as 3, and its messages have four more fields,
//! which only speed things up and are left out.

use super::interface::Role;
use super::message::{InvalidMessage, Message, MessageKind, Snapshot};
use crate::types::{
    ConfChange, ConfChangeKind, ConfState, EntryKind, HardState, LogEntry, LogIndex, LogPosition, MemberId,
    Term,
};
use raft::StateRole;
use raft::eraftpb;

pub(super) fn member(id: u64) -> Option<MemberId> {
    (id != 0).then_some(MemberId(id))
}

pub(super) fn role(state: StateRole) -> Role {
    match state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

pub(super) fn entry_into(entry: LogEntry) -> eraftpb::Entry {
    let mut out = eraftpb::Entry { index: entry.index.0, term: entry.term.0, ..Default::default() };
    out.entry_type = match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    out.data = entry.data;
    out
}

/// A proposed change of the membership. The engine's leader parses the data of such an entry, to see that there is
/// one change in it, and refuses numbers that it does not know. No bytes are one change to it, so what is meant travels
/// in the context, and [`entry_from`] puts it into its place.
pub(super) fn conf_change_entry(change: &ConfChange) -> eraftpb::Entry {
    eraftpb::Entry {
        entry_type: eraftpb::EntryType::EntryConfChange,
        context: change.encode(),
        ..Default::default()
    }
}

pub(super) fn entry_from(entry: eraftpb::Entry) -> LogEntry {
    let data = if entry.context.is_empty() { entry.data } else { entry.context };
    let kind = match entry.entry_type {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    LogEntry { index: LogIndex(entry.index), term: Term(entry.term), kind, data }
}

pub(super) fn hard_state_into(state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term.0,
        vote: state.vote.map_or(0, |member| member.0),
        commit: state.commit.0,
        ..Default::default()
    }
}

pub(super) fn hard_state_from(state: &eraftpb::HardState) -> HardState {
    HardState { term: Term(state.term), vote: member(state.vote), commit: LogIndex(state.commit) }
}

pub(super) fn conf_state_into(state: &ConfState) -> eraftpb::ConfState {
    let numbers = |ids: &[MemberId]| ids.iter().map(|id| id.0).collect();
    eraftpb::ConfState {
        voters: numbers(&state.voters),
        learners: numbers(&state.learners),
        voters_outgoing: numbers(&state.voters_outgoing),
        learners_next: numbers(&state.learners_next),
        auto_leave: state.auto_leave,
        ..Default::default()
    }
}

/// The lists come out of hash sets, so they are sorted.
pub(super) fn conf_state_from(state: &eraftpb::ConfState) -> ConfState {
    let ids = |numbers: &[u64]| {
        let mut ids: Vec<MemberId> = numbers.iter().copied().map(MemberId).collect();
        ids.sort_unstable();
        ids
    };
    ConfState {
        voters: ids(&state.voters),
        learners: ids(&state.learners),
        voters_outgoing: ids(&state.voters_outgoing),
        learners_next: ids(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(super) fn snapshot_into(snapshot: &Snapshot) -> eraftpb::Snapshot {
    let metadata = eraftpb::SnapshotMetadata {
        conf_state: Some(conf_state_into(&snapshot.conf_state)).into(),
        index: snapshot.position.index.0,
        term: snapshot.position.term.0,
        ..Default::default()
    };
    eraftpb::Snapshot { metadata: Some(metadata).into(), ..Default::default() }
}

pub(super) fn snapshot_from(snapshot: &eraftpb::Snapshot) -> Option<Snapshot> {
    let metadata = snapshot.get_metadata();
    let position = LogPosition { index: LogIndex(metadata.index), term: Term(metadata.term) };
    (metadata.index > 0)
        .then(|| Snapshot { position, conf_state: conf_state_from(metadata.get_conf_state()) })
}

/// The change as the engine makes it; `None` for an update, which is nothing to Raft.
pub(super) fn conf_change_into(change: &ConfChange) -> Option<eraftpb::ConfChange> {
    let change_type = match change.kind {
        ConfChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode,
        ConfChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode,
        ConfChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
        ConfChangeKind::Update => return None,
    };
    let mut out = eraftpb::ConfChange { node_id: change.member.0, ..Default::default() };
    out.change_type = change_type;
    Some(out)
}

/// `None` for a message that the engine sends only to itself.
pub(super) fn message_from(message: eraftpb::Message) -> Option<Message> {
    let kind = MessageKind::from_number(message.msg_type as i32)?;
    Some(Message {
        kind,
        to: MemberId(message.to),
        from: MemberId(message.from),
        term: Term(message.term),
        log_term: Term(message.log_term),
        index: LogIndex(message.index),
        snapshot: message.snapshot.as_ref().and_then(snapshot_from),
        entries: message.entries.into_iter().map(entry_from).collect(),
        commit: LogIndex(message.commit),
        is_reject: message.reject,
        reject_hint: LogIndex(message.reject_hint),
        context: message.context,
    })
}

/// The message as the engine takes it, if it holds what a message of its kind must hold: the engine does not check.
pub(super) fn message_into(message: Message) -> Result<eraftpb::Message, InvalidMessage> {
    check(&message).map_err(|what| InvalidMessage(format!("{:?} with {what}", message.kind)))?;
    let mut out = eraftpb::Message {
        to: message.to.0,
        from: message.from.0,
        term: if is_passed_on(message.kind) { 0 } else { message.term.0 },
        log_term: message.log_term.0,
        index: message.index.0,
        commit: message.commit.0,
        snapshot: message.snapshot.as_ref().map(snapshot_into).into(),
        reject: message.is_reject,
        reject_hint: message.reject_hint.0,
        context: message.context,
        ..Default::default()
    };
    out.entries = message.entries.into_iter().map(entry_into).collect::<Vec<_>>().into();
    out.msg_type = match message.kind {
        MessageKind::Propose => eraftpb::MessageType::MsgPropose,
        MessageKind::Append => eraftpb::MessageType::MsgAppend,
        MessageKind::AppendResponse => eraftpb::MessageType::MsgAppendResponse,
        MessageKind::Vote => eraftpb::MessageType::MsgRequestVote,
        MessageKind::VoteResponse => eraftpb::MessageType::MsgRequestVoteResponse,
        MessageKind::InstallSnapshot => eraftpb::MessageType::MsgSnapshot,
        MessageKind::Heartbeat => eraftpb::MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => eraftpb::MessageType::MsgHeartbeatResponse,
        MessageKind::TransferLeader => eraftpb::MessageType::MsgTransferLeader,
        MessageKind::TimeoutNow => eraftpb::MessageType::MsgTimeoutNow,
        MessageKind::ReadIndex => eraftpb::MessageType::MsgReadIndex,
        MessageKind::ReadIndexResponse => eraftpb::MessageType::MsgReadIndexResp,
        MessageKind::PreVote => eraftpb::MessageType::MsgRequestPreVote,
        MessageKind::PreVoteResponse => eraftpb::MessageType::MsgRequestPreVoteResponse,
    };
    Ok(out)
}

/// Whether a follower passes such a message on, which it does without a term.
fn is_passed_on(kind: MessageKind) -> bool {
    matches!(kind, MessageKind::Propose | MessageKind::ReadIndex)
}

fn check(message: &Message) -> Result<(), &'static str> {
    match message.kind {
        kind if message.term == Term(0) && !is_passed_on(kind) => Err("no term"),
        MessageKind::Propose if message.entries.is_empty() => Err("no entries"),
        MessageKind::ReadIndex | MessageKind::ReadIndexResponse if message.entries.len() != 1 => {
            Err("another number of contexts than one")
        }
        MessageKind::Append => {
            let expected = (message.index.0 + 1..).map(LogIndex);
            let is_gapless =
                message.entries.iter().map(|entry| entry.index).zip(expected).all(|(a, b)| a == b);
            if is_gapless { Ok(()) } else { Err("a gap") }
        }
        MessageKind::InstallSnapshot if message.snapshot.is_none() => Err("no snapshot"),
        _ => Ok(()),
    }
}
