//! The rules of the periodic check.

use crate::member::HashKvAnswer;
use crate::peer::PeerHash;
use tenure_core::types::{MemberId, Revision};

/// Something that cannot be if all members hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The leader hashed the same revisions twice, with two results.
    LeaderDiffersFromItself {
        /// Who leads.
        leader: MemberId,
        /// The earlier hash.
        first: HashKvAnswer,
        /// The later one.
        second: HashKvAnswer,
    },
    /// A member has applied more than the leader.
    Ahead {
        /// Who.
        follower: MemberId,
        /// Up to where.
        revision: Revision,
        /// Up to where the leader has.
        leader_revision: Revision,
    },
    /// A member has compacted more than the leader.
    CompactedAhead {
        /// Who.
        follower: MemberId,
        /// Up to where.
        compact_revision: Revision,
        /// Up to where the leader has.
        leader_compact_revision: Revision,
    },
    /// A member has another hash of the same revisions.
    Differs {
        /// Who.
        follower: MemberId,
        /// Its hash.
        theirs: HashKvAnswer,
        /// The leader's.
        leader: HashKvAnswer,
    },
}

/// What is wrong, the worst first: etcd's rules in etcd's order.
///
/// * `first`: the leader's hash, made before the others were asked for theirs at the same revision;
/// * `second`: the leader's hash, made when it had applied all that was committed after they answered.
pub fn compare(
    leader: MemberId,
    first: &HashKvAnswer,
    second: &HashKvAnswer,
    peers: &[PeerHash],
) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_same_history =
        first.hash_revision == second.hash_revision && first.compact_revision == second.compact_revision;
    if is_same_history && first.hash != second.hash {
        found.push(Finding::LeaderDiffersFromItself { leader, first: *first, second: *second });
    }
    for (follower, theirs) in peers {
        let (follower, Ok(theirs)) = (*follower, theirs) else { continue };
        if theirs.revision > second.revision {
            let (revision, leader_revision) = (theirs.revision, second.revision);
            found.push(Finding::Ahead { follower, revision, leader_revision });
        }
        if theirs.compact_revision > second.compact_revision {
            let (compact_revision, leader_compact_revision) =
                (theirs.compact_revision, second.compact_revision);
            found.push(Finding::CompactedAhead { follower, compact_revision, leader_compact_revision });
        }
        if theirs.compact_revision == first.compact_revision && theirs.hash != first.hash {
            found.push(Finding::Differs { follower, theirs: *theirs, leader: *first });
        }
    }
    found
}

impl Finding {
    /// Whose data cannot be trusted.
    pub fn suspect(&self) -> MemberId {
        match self {
            Finding::LeaderDiffersFromItself { leader, .. } => *leader,
            Finding::Ahead { follower, .. }
            | Finding::CompactedAhead { follower, .. }
            | Finding::Differs { follower, .. } => *follower,
        }
    }

    /// Writes it to the log, in etcd's words.
    pub fn tell(&self) {
        let follower_id = format!("{:x}", self.suspect().0);
        match self {
            Finding::LeaderDiffersFromItself { first, second, .. } => tracing::warn!(
                "revision-1" = first.hash_revision.0,
                "compact-revision-1" = first.compact_revision.0,
                "hash-1" = first.hash,
                "revision-2" = second.hash_revision.0,
                "compact-revision-2" = second.compact_revision.0,
                "hash-2" = second.hash,
                "found hash mismatch"
            ),
            Finding::Ahead { revision, leader_revision, .. } => tracing::warn!(
                "leader-revision" = leader_revision.0,
                "follower-revision" = revision.0,
                "follower-peer-id" = follower_id,
                "revision from follower must be less than or equal to leader's"
            ),
            Finding::CompactedAhead { compact_revision, leader_compact_revision, .. } => tracing::warn!(
                "leader-compact-revision" = leader_compact_revision.0,
                "follower-compact-revision" = compact_revision.0,
                "follower-peer-id" = follower_id,
                "compact revision from follower must be less than or equal to leader's"
            ),
            Finding::Differs { theirs, leader, .. } => tracing::warn!(
                "leader-compact-revision" = leader.compact_revision.0,
                "leader-hash" = leader.hash,
                "follower-compact-revision" = theirs.compact_revision.0,
                "follower-hash" = theirs.hash,
                "follower-peer-id" = follower_id,
                "same compact revision then hashes must match"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::HashError;

    const LEADER: MemberId = MemberId(1);

    /// A hash of everything up to `revision`.
    fn at(hash: u32, compacted: i64, revision: i64) -> HashKvAnswer {
        HashKvAnswer {
            hash,
            compact_revision: Revision(compacted),
            hash_revision: Revision(revision),
            revision: Revision(revision),
        }
    }

    fn suspects(first: HashKvAnswer, second: HashKvAnswer, peers: &[HashKvAnswer]) -> Vec<u64> {
        let peers: Vec<PeerHash> = (2..).zip(peers).map(|(id, answer)| (MemberId(id), Ok(*answer))).collect();
        compare(LEADER, &first, &second, &peers).iter().map(|finding| finding.suspect().0).collect()
    }

    #[test]
    fn members_that_agree_or_cannot_be_compared_are_not_suspected() {
        let now = at(7, -1, 10);
        assert_eq!(suspects(now, now, &[now, now]), [0; 0]);
        assert_eq!(suspects(now, at(8, -1, 12), &[now]), [0; 0], "the leader went on");
        assert_eq!(suspects(now, at(8, 5, 10), &[now]), [0; 0], "the leader has compacted meanwhile");
        let went_on = HashKvAnswer { revision: Revision(12), ..now };
        assert_eq!(suspects(now, at(8, -1, 12), &[went_on]), [0; 0], "so did a follower");
        assert_eq!(suspects(now, at(8, 5, 10), &[at(9, 5, 10)]), [0; 0], "of other compactions");
        let silent = [(MemberId(2), Err(HashError::Behind)), (MemberId(3), Err(HashError::Compacted))];
        assert_eq!(compare(LEADER, &now, &now, &silent), []);
    }

    #[test]
    fn who_has_another_hash_of_the_same_is_suspected() {
        let now = at(7, 3, 10);
        assert_eq!(suspects(now, now, &[now, at(8, 3, 10)]), [3]);
        assert_eq!(suspects(now, at(9, 3, 11), &[at(8, 3, 10), now]), [2], "by the leader's first hash");
        assert_eq!(suspects(now, at(9, 10, 10), &[at(8, 3, 10), now]), [2], "by its first compaction");
    }

    #[test]
    fn who_is_ahead_of_the_leader_is_suspected() {
        let now = at(7, 3, 10);
        let ahead = HashKvAnswer { revision: Revision(11), ..now };
        assert_eq!(suspects(now, now, &[ahead]), [2]);
        assert_eq!(suspects(now, now, &[now, at(7, 4, 10)]), [3]);
        assert_eq!(suspects(now, now, &[at(8, 4, 12)]), [2, 2], "for both reasons");
    }

    #[test]
    fn a_leader_that_differs_from_itself_suspects_itself_first() {
        assert_eq!(suspects(at(7, 3, 10), at(8, 3, 10), &[at(8, 3, 10)]), [1, 2]);
    }
}
