//! Removals of members that are logged, and what must be so before one of them is applied, which is when it can be answered.
//!
//! Raft itself is content with the commitment. But who leaves does not come back, and those who stay must be able to find out
//! without him that they need him no more:
//!
//! * It must be durable here that the removal is committed. Of two members the one who stays could not find that out again. Nor may
//!   anybody be told before, who could leave at once.
//! * Of a member's own removal another voter must know, for ever. Who leads knows first, and if he left at that moment, the
//!   other of two would wait for his vote. Until then he does not even note on his disk that it is committed: started again he is
//!   the member that he was.
//!
//! A member of Tenure says with every message how far it knows the log to be committed, and by the rule above says of a removal only
//! what is durable. A follower of etcd does not say it. For its sake a leader who waits logs something behind his removal: whoever has
//! that on his disk has been told with it that the removal is committed, and has noted it in the same write.

use crate::types::{ConfChange, ConfChangeKind, EntryKind, LogEntry, LogIndex, MemberId};
use std::collections::BTreeMap;

/// Those that this member has logged and not applied.
pub(super) struct Removals {
    member: MemberId,
    /// Whom they are about.
    logged: BTreeMap<LogIndex, MemberId>,
    /// Up to here it is durable that the log is committed, and up to here it will be.
    commit_durable: LogIndex,
    commit_saving: LogIndex,
    /// Up to here another voter knows for ever that the log is committed.
    known_elsewhere: LogIndex,
    /// Where this leader logs something, or has, to find out what others know.
    witness: Option<LogIndex>,
}

impl Removals {
    /// At a start.
    pub(super) fn new(member: MemberId, commit_durable: LogIndex, log: &[LogEntry]) -> Self {
        let mut removals = Self {
            member,
            logged: BTreeMap::new(),
            commit_durable,
            commit_saving: commit_durable,
            known_elsewhere: LogIndex(0),
            witness: None,
        };
        removals.note_logged(log);
        removals
    }

    /// These entries are logged now, and nothing else from the first of them on.
    pub(super) fn note_logged(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        self.logged.split_off(&first.index);
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
            // The state machine stops at one that is malformed.
            if let Ok(ConfChange { kind: ConfChangeKind::Remove, member, .. }) =
                ConfChange::decode(entry.data.clone())
            {
                self.logged.insert(entry.index, member);
            }
        }
    }

    /// Nothing of the log is left: another member's state takes its place.
    pub(super) fn forget(&mut self) {
        self.logged.clear();
    }

    pub(super) fn note_applied(&mut self, applied: LogIndex) {
        self.logged = self.logged.split_off(&applied.next());
    }

    /// A commit index goes to the disk, to be synced.
    pub(super) fn note_saving(&mut self, commit: LogIndex) {
        self.commit_saving = self.commit_saving.max(commit);
    }

    /// And there it is.
    pub(super) fn note_durable(&mut self, commit: LogIndex) {
        self.commit_durable = self.commit_durable.max(commit);
    }

    /// Another voter knows that the log is committed up to `commit`.
    pub(super) fn note_known_elsewhere(&mut self, commit: LogIndex) {
        self.known_elsewhere = self.known_elsewhere.max(commit);
    }

    /// The own removal, if it is committed and nobody else is known to know.
    pub(super) fn own_that_waits(&self, commit: LogIndex) -> Option<LogIndex> {
        let from = self.known_elsewhere.max(self.commit_durable).next();
        if from > commit {
            return None;
        }
        let mut unknown = self.logged.range(from..=commit);
        unknown.find(|(_, member)| **member == self.member).map(|(index, _)| *index)
    }

    /// The commit index that may be noted, when it is really `commit`.
    pub(super) fn commit_to_save(&self, commit: LogIndex) -> LogIndex {
        self.own_that_waits(commit).map_or(commit, |own| LogIndex(own.0 - 1))
    }

    /// The first removal of which it is not durable that it is committed, if that is to become so.
    fn first_unsaved(&self, commit: LogIndex) -> Option<LogIndex> {
        let (index, _) = self.logged.range(self.commit_durable.next()..).next()?;
        (*index <= self.commit_to_save(commit)).then_some(*index)
    }

    /// Whether the commit index must go to the disk now, and be synced.
    pub(super) fn must_save(&self, commit: LogIndex) -> bool {
        self.first_unsaved(commit).is_some_and(|removal| removal > self.commit_saving)
    }

    /// Whether nobody may be told yet how far the log is committed.
    pub(super) fn is_secret(&self, commit: LogIndex) -> bool {
        self.first_unsaved(commit).is_some()
    }

    /// What is committed may be applied up to here.
    pub(super) fn may_apply_to(&self) -> LogIndex {
        let first = self.logged.range(self.commit_durable.next()..).next();
        first.map_or(LogIndex(u64::MAX), |(removal, _)| LogIndex(removal.0 - 1))
    }

    /// On a leader whose own removal waits, and whose log ends at `last`: whether something is to be logged.
    pub(super) fn wants_witness(&mut self, last: LogIndex) -> bool {
        let witness = *self.witness.get_or_insert(last.next());
        last < witness
    }

    /// The leader, whose own removal waits, has committed entries up to `commit` in his term.
    pub(super) fn ask_witness(&mut self, commit: LogIndex) {
        if self.witness.take_if(|witness| *witness <= commit).is_some()
            && let Some(own) = self.own_that_waits(commit)
        {
            self.note_known_elsewhere(own);
        }
    }

    /// Another leads, or this member in another term.
    pub(super) fn dismiss_witness(&mut self) {
        self.witness = None;
    }
}
