//! How much of the log stays in memory for members that are behind.

use super::Node;
use super::message::Message;
use crate::types::{LogIndex, MemberId};

/// While a member takes up a snapshot the log may be so many times as long as usual.
const CATCHING_UP_BYTES_FACTOR: usize = 4;

/// A member that has not been heard of for so many election timeouts is not waited for.
const CATCHING_UP_PATIENCE_ELECTIONS: u32 = 3;

impl Node {
    pub(super) fn snapshot_sent(&mut self, to: MemberId, arrived: bool) {
        let status = if arrived { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(to.0, status);
    }

    pub(super) fn note_snapshots(&mut self, messages: &[Message]) {
        for message in messages {
            if let Some(snapshot) = &message.snapshot {
                self.catching_up.insert(message.to, (snapshot.position.index, self.now));
            }
        }
    }

    /// A member that is alone needs no applied entries: nobody has to catch up. What follows a snapshot that a member is taking
    /// up stays, or it would be too far behind again once it has done so.
    pub(super) fn compact(&mut self) {
        let is_alone = self.raw.raft.prs().iter().len() == 1;
        let (mut entries_max, mut bytes_max) = match is_alone {
            true => (0, self.limits.catchup_bytes_max),
            false => (self.limits.catchup_entries_max, self.limits.catchup_bytes_max),
        };
        if let Some(needed) = self.needed_by_snapshots(entries_max) {
            let behind = usize::try_from(self.applied.0.saturating_sub(needed.0)).unwrap_or(usize::MAX);
            entries_max = entries_max.max(behind);
            bytes_max = bytes_max.saturating_mul(CATCHING_UP_BYTES_FACTOR);
        }
        self.raw.mut_store().applied_to(self.applied, entries_max, bytes_max);
    }

    /// A member of the older version that joins must not be shown the entry that once set the newer one: it would stop. It gets a
    /// snapshot.
    pub(super) fn forget_newer_version(&mut self) {
        self.raw.mut_store().applied_to(self.applied, 0, self.limits.catchup_bytes_max);
    }

    /// The index behind which members that were sent a snapshot need the log, while they are there and far behind.
    fn needed_by_snapshots(&mut self, entries_max: usize) -> Option<LogIndex> {
        if self.catching_up.is_empty() {
            return None;
        }
        let (raft, applied, now) = (&self.raw.raft, self.applied, self.now);
        let patience = CATCHING_UP_PATIENCE_ELECTIONS * self.limits.election_timeout;
        let leads = raft.state == raft::StateRole::Leader;
        let mut needed = None;
        self.catching_up.retain(|member, (index, heard)| {
            let Some(progress) = raft.prs().get(member.0).filter(|_| leads) else { return false };
            if progress.recent_active {
                *heard = now;
            }
            if now.since(*heard) > patience {
                return false;
            }
            let from = LogIndex(progress.matched.max(index.0));
            let is_far = progress.matched < index.0 || from.0 + (entries_max as u64) < applied.0;
            if is_far {
                needed = Some(needed.map_or(from, |other: LogIndex| other.min(from)));
            }
            is_far
        });
        needed
    }
}
