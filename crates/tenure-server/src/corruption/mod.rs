//! Whether all members hold the same data. Members compare their hashes, and the CORRUPT alarm stops writes before a difference
//! spreads (reference N4).
//!
//! * `periodic`: the leader compares the present, every `--corrupt-check-time`.
//!
//! What is asked and done is here; what the answers mean is decided in functions without IO.

mod periodic;

use crate::auth::Caller;
use crate::member::Member;
use crate::peer::PeerHash;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::command::{AlarmAction, AlarmCommand, AlarmType, Command};
use tenure_core::types::{MemberId, Revision};
use tokio::time::{Instant, MissedTickBehavior};

/// Makes the checks that compare members while they serve, until it is dropped.
///
/// * `corrupt_check_time`: how often the present is compared; never, if there is none.
pub async fn watch(member: Member, corrupt_check_time: Option<Duration>) {
    let Some(interval) = corrupt_check_time else { return };
    tracing::info!(
        "local-member-id" = format!("{:x}", member.id().0),
        ?interval,
        "enabled corruption checking"
    );
    while_leading(&member, interval, || async {
        if let Err(error) = check_present(&member).await {
            tracing::warn!(%error, "failed to check hash KV");
        }
    })
    .await;
}

/// Does something again and again, whenever this member leads when its time has come.
async fn while_leading<F: Future<Output = ()>>(member: &Member, interval: Duration, check: impl Fn() -> F) {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    // A check that takes longer than the interval is not followed by a burst of others.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if member.is_leader() {
            check().await;
        }
    }
}

/// Compares all members with this one, which leads. Between its own two hashes everything that the others can have applied when
/// they answered has been applied here.
async fn check_present(member: &Member) -> Result<(), EtcdError> {
    let first = member.hash_kv(0).await?;
    let peers = hashes_of_others(member, first.hash_revision).await;
    member.linearize().await?;
    let second = member.hash_kv(0).await?;
    let found = periodic::compare(member.id(), &first, &second, &peers);
    found.iter().for_each(periodic::Finding::tell);
    if let Some(finding) = found.first() {
        raise(member, finding.suspect()).await;
    }
    let checked = peers.iter().filter(|(_, answer)| answer.is_ok()).count();
    tracing::info!("number-of-peers-checked" = checked, "finished peer corruption check");
    Ok(())
}

/// The hashes of all other members at a revision.
async fn hashes_of_others(member: &Member, revision: Revision) -> Vec<PeerHash> {
    let others = member.members().into_iter().map(|other| other.id).filter(|id| *id != member.id());
    member.peers().hashes(others, revision, member.request_timeout()).await
}

/// Raises the CORRUPT alarm of a member, or of none in particular (0), unless it is raised.
async fn raise(member: &Member, suspect: MemberId) {
    if member.alarms(Some(AlarmType::Corrupt)).iter().any(|entry| entry.member == suspect) {
        return;
    }
    let alarm =
        AlarmCommand { action: AlarmAction::Activate, member: suspect, alarm: Some(AlarmType::Corrupt) };
    if let Err(error) = member.propose(&Caller::Member, Command::Alarm(alarm)).await {
        let id = format!("{:x}", suspect.0);
        tracing::error!("suspected-member-id" = id, %error, "failed to raise the CORRUPT alarm");
    }
}
