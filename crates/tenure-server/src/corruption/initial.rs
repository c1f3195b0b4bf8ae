//! The check before a member serves.

use crate::member::HashKvAnswer;
use crate::peer::{HashError, PeerHash, Peers};
use std::time::Duration;
use tenure_core::types::MemberId;

/// This member does not hold what the others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{:x} found data inconsistency with peers; its data cannot be trusted: remove it from the cluster with 'member remove', and add \
     it again with an empty data directory", .0.0
)]
pub struct Inconsistent(pub MemberId);

/// Compares the hash of this member's data with those of all other members, at this member's revision. Only a difference that
/// proves something counts; who cannot be compared (not reached, behind, compacted, compacted otherwise) is passed over.
///
/// * `within`: how long they may take to answer.
///
/// # Errors
/// [`Inconsistent`].
pub async fn check(
    peers: &Peers,
    others: impl Iterator<Item = MemberId>,
    own: &HashKvAnswer,
    within: Duration,
) -> Result<(), Inconsistent> {
    let id = peers.identity().member;
    let local_id = format!("{:x}", id.0);
    let answers = peers.hashes(others, own.hash_revision, within).await;
    answers.iter().for_each(|answer| tell(&local_id, own, answer));
    if answers.iter().any(|(_, answer)| differs(own, answer)) {
        return Err(Inconsistent(id));
    }
    tracing::info!("local-member-id" = local_id, "initial corruption checking passed; no corruption");
    Ok(())
}

/// Whether another member's answer proves that one of the two has wrong data.
fn differs(own: &HashKvAnswer, theirs: &Result<HashKvAnswer, HashError>) -> bool {
    theirs
        .as_ref()
        .is_ok_and(|theirs| theirs.hash != own.hash && theirs.compact_revision == own.compact_revision)
}

fn tell(local_id: &str, own: &HashKvAnswer, (id, answer): &PeerHash) {
    let peer_id = format!("{:x}", id.0);
    let what = match answer {
        Ok(theirs) if theirs.hash == own.hash => return,
        Ok(_) if differs(own, answer) => "found different hash values from remote peer",
        Ok(_) => "found different compact revision values from remote peer",
        Err(HashError::Behind) => "cannot fetch hash from slow remote peer",
        Err(HashError::Compacted) => "cannot fetch hash from remote peer; local member is behind",
        Err(HashError::OtherCluster) => "cluster ID mismatch",
        // The request itself has been reported.
        Err(HashError::NoAnswer(_)) => return,
    };
    let theirs = answer.as_ref().ok();
    tracing::warn!(
        "local-member-id" = local_id,
        "local-member-revision" = own.hash_revision.0,
        "local-member-compact-revision" = own.compact_revision.0,
        "local-member-hash" = own.hash,
        "remote-peer-id" = peer_id,
        "remote-peer-revision" = theirs.map(|theirs| theirs.revision.0),
        "remote-peer-compact-revision" = theirs.map(|theirs| theirs.compact_revision.0),
        "remote-peer-hash" = theirs.map(|theirs| theirs.hash),
        "{what}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::types::Revision;

    fn at(hash: u32, compacted: i64) -> HashKvAnswer {
        HashKvAnswer {
            hash,
            compact_revision: Revision(compacted),
            hash_revision: Revision(10),
            revision: Revision(12),
        }
    }

    #[test]
    fn only_another_hash_of_the_same_proves_something() {
        let own = at(7, 3);
        assert!(differs(&own, &Ok(at(8, 3))));
        for (answer, why) in [
            (Ok(at(7, 3)), "the same"),
            (Ok(at(8, 5)), "compacted otherwise"),
            (Ok(at(7, 5)), "compacted otherwise, and the same"),
            (Err(HashError::Behind), "has not come so far"),
            (Err(HashError::Compacted), "is far ahead"),
            (Err(HashError::OtherCluster), "is of another cluster"),
            (Err(HashError::NoAnswer("refused".into())), "does not answer"),
        ] {
            assert!(!differs(&own, &answer), "{why}");
        }
    }
}
