//! The rules of the check at compactions: who is right when hashes differ.

use crate::peer::PeerHash;
use std::collections::BTreeMap;
use tenure_core::mvcc::KvHash;
use tenure_core::types::MemberId;

/// What the hashes of one compaction say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All members have the same.
    Same,
    /// Those that could be compared have the same.
    SameSoFar {
        /// How many others could be compared.
        checked: usize,
    },
    /// Most members have the same; these do not, by what they have.
    Minority(BTreeMap<u32, Vec<MemberId>>),
    /// No hash is that of most members. Who has which:
    NoMajority(BTreeMap<u32, Vec<MemberId>>),
}

impl Verdict {
    /// Whose alarm is to be raised: that of nobody in particular (0) if it cannot be said.
    pub fn suspects(&self) -> Vec<MemberId> {
        match self {
            Verdict::Same | Verdict::SameSoFar { .. } => Vec::new(),
            Verdict::Minority(members) => members.values().flatten().copied().collect(),
            Verdict::NoMajority(_) => vec![MemberId(0)],
        }
    }
}

/// Judges a compaction by the hash that its leader has of it and those of all other members. Who compacted from elsewhere on has a
/// hash of something else, and is passed over like those that do not answer; all count for what a majority is.
pub fn judge(leader: MemberId, hash: &KvHash, peers: &[PeerHash]) -> Verdict {
    let comparable = peers.iter().filter_map(|(id, answer)| {
        let theirs = answer.as_ref().ok().filter(|theirs| theirs.compact_revision == hash.compacted)?;
        Some((*id, theirs.hash))
    });
    let mut by_hash = BTreeMap::from([(hash.hash, vec![leader])]);
    let mut checked = 0;
    for (id, theirs) in comparable {
        checked += 1;
        by_hash.entry(theirs).or_default().push(id);
    }
    if by_hash.len() == 1 {
        return if checked == peers.len() { Verdict::Same } else { Verdict::SameSoFar { checked } };
    }
    let members = peers.len() + 1;
    let majority = members / 2 + 1;
    let right = by_hash.iter().find(|(_, members)| members.len() >= majority).map(|(hash, _)| *hash);
    match right {
        Some(right) => {
            by_hash.remove(&right);
            Verdict::Minority(by_hash)
        }
        None => Verdict::NoMajority(by_hash),
    }
}

/// Writes to the log what was judged, in etcd's words.
pub fn tell(leader: MemberId, hash: &KvHash, peers: &[PeerHash], verdict: &Verdict) {
    let leader_id = format!("{:x}", leader.0);
    let (revision, compact_revision) = (hash.revision.0, hash.compacted.0);
    for (id, answer) in peers {
        let reason = match answer {
            Err(_) => "no response".to_owned(),
            Ok(theirs) if theirs.compact_revision != hash.compacted => format!(
                "the peer's CompactRevision {} doesn't match leader's CompactRevision {compact_revision}",
                theirs.compact_revision.0
            ),
            Ok(_) => continue,
        };
        let peer_id = format!("{:x}", id.0);
        tracing::warn!(
            "number-of-peers" = peers.len(),
            "leader-id" = leader_id,
            "peer-id" = peer_id,
            reason,
            "Skipped peer's hash"
        );
    }
    match verdict {
        Verdict::Same => tracing::info!(
            "number-of-peers-checked" = peers.len(),
            revision,
            "compactRevision" = compact_revision,
            "successfully checked hash on whole cluster"
        ),
        Verdict::SameSoFar { checked } => tracing::warn!(
            "number-of-peers-checked" = checked,
            "number-of-peers" = peers.len(),
            revision,
            "compactRevision" = compact_revision,
            "skipped revision in compaction hash check; was not able to check all peers"
        ),
        Verdict::Minority(members) => tell_of_difference(&leader_id, hash, members, true),
        Verdict::NoMajority(members) => {
            tracing::error!(
                "leader-id" = leader_id,
                "leader-revision" = revision,
                "leader-compact-revision" = compact_revision,
                "leader-hash" = hash.hash,
                "Detected compaction hash mismatch but cannot identify the corrupted members, so intentionally set the memberID as 0"
            );
            tell_of_difference(&leader_id, hash, members, false);
        }
    }
}

fn tell_of_difference(
    leader_id: &str,
    hash: &KvHash,
    members: &BTreeMap<u32, Vec<MemberId>>,
    quorum_exist: bool,
) {
    for (theirs, ids) in members {
        let ids: Vec<String> = ids.iter().map(|id| format!("{:x}", id.0)).collect();
        tracing::error!(
            "leader-id" = leader_id,
            "leader-revision" = hash.revision.0,
            "leader-compact-revision" = hash.compacted.0,
            "leader-hash" = hash.hash,
            "peer-hash" = theirs,
            "peer-ids" = ids.join(","),
            "quorum-exist" = quorum_exist,
            "Detected compaction hash mismatch"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::HashKvAnswer;
    use crate::peer::HashError;
    use tenure_core::types::Revision;

    const LEADER: MemberId = MemberId(1);
    const COMPACTION: KvHash = KvHash { hash: 7, compacted: Revision(3), revision: Revision(10) };

    /// The verdict on the leader's 7 and these hashes of the members 2, 3, ...; `None` is one that does not answer, 0 one that
    /// compacted from elsewhere on.
    fn verdict(peers: &[Option<u32>]) -> Verdict {
        let answer = |hash: Option<u32>| {
            let hash = hash.ok_or(HashError::Behind)?;
            let compact_revision = if hash == 0 { Revision(10) } else { COMPACTION.compacted };
            Ok(HashKvAnswer { hash, compact_revision, hash_revision: Revision(10), revision: Revision(12) })
        };
        let peers: Vec<PeerHash> = (2..).zip(peers).map(|(id, hash)| (MemberId(id), answer(*hash))).collect();
        judge(LEADER, &COMPACTION, &peers)
    }

    fn suspects(peers: &[Option<u32>]) -> Vec<u64> {
        verdict(peers).suspects().into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn members_that_have_the_same_are_right() {
        assert_eq!(verdict(&[Some(7), Some(7)]), Verdict::Same);
        assert_eq!(verdict(&[Some(7), None]), Verdict::SameSoFar { checked: 1 });
        assert_eq!(verdict(&[Some(0), Some(7)]), Verdict::SameSoFar { checked: 1 });
        assert_eq!(suspects(&[Some(7), None]), [0; 0]);
    }

    #[test]
    fn the_majority_is_right_whoever_leads() {
        assert_eq!(suspects(&[Some(7), Some(8)]), [3]);
        assert_eq!(suspects(&[Some(8), Some(8)]), [1], "the leader itself");
        assert_eq!(suspects(&[Some(8), Some(7), Some(9), Some(7)]), [2, 4], "each with another hash");
    }

    #[test]
    fn without_a_majority_nobody_can_be_named() {
        assert_eq!(suspects(&[Some(8)]), [0], "one against one");
        assert_eq!(suspects(&[Some(8), Some(9)]), [0]);
        assert_eq!(suspects(&[Some(8), None]), [0], "who does not answer counts as a member");
        assert_eq!(suspects(&[Some(7), Some(8), Some(8)]), [0], "two against two");
        assert!(matches!(verdict(&[Some(8), Some(0)]), Verdict::NoMajority(_)));
    }
}
