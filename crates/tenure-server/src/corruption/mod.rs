//! Whether all members hold the same data. Members compare their hashes, and the CORRUPT alarm stops writes before a difference
//! spreads (reference N4).
//!
//! * `initial`: a member with data compares itself before it serves, with the gate `InitialCorruptCheck`.
//! * `periodic`: the leader compares the present, every `--corrupt-check-time`.
//! * `compacted`: the leader compares what compactions found, every `--compact-hash-check-time`, with the gate `CompactHashCheck`.
//!
//! What is asked and done is here; what the answers mean is decided in functions without IO.

mod compacted;
mod initial;
mod periodic;

pub use initial::{Inconsistent, check as check_initially};

use crate::auth::Caller;
use crate::config::{Feature, ServerConfig};
use crate::member::Member;
use crate::peer::PeerHash;
use compacted::Verdict;
use std::sync::Arc;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::command::{AlarmAction, AlarmCommand, AlarmType, Command};
use tenure_core::types::{MemberId, Revision};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Up to here there is nothing to compare.
const NOTHING: Revision = Revision(0);

/// Makes the checks that compare members while they serve, those that the configuration asks for, until it is dropped.
pub async fn watch(member: Member, config: Arc<ServerConfig>) {
    let present = async {
        if let Some(interval) = config.corrupt_check_time {
            watch_present(&member, interval).await;
        }
    };
    let compactions = async {
        if config.features.enabled(Feature::CompactHashCheck) {
            watch_compactions(&member, config.compact_hash_check_time).await;
        }
    };
    tokio::join!(present, compactions);
}

async fn watch_present(member: &Member, interval: Duration) {
    let local_id = format!("{:x}", member.id().0);
    tracing::info!("local-member-id" = local_id, ?interval, "enabled corruption checking");
    let mut turns = Turns::new(member, interval);
    loop {
        turns.next().await;
        if let Err(error) = check_present(member).await {
            tracing::warn!(%error, "failed to check hash KV");
        }
    }
}

async fn watch_compactions(member: &Member, interval: Duration) {
    let mut turns = Turns::new(member, interval);
    let mut checked = NOTHING;
    loop {
        turns.next().await;
        checked = check_compactions(member, checked).await;
    }
}

/// Comes again and again, whenever this member leads when its time has come.
struct Turns<'a> {
    member: &'a Member,
    ticks: Interval,
}

impl<'a> Turns<'a> {
    fn new(member: &'a Member, interval: Duration) -> Self {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        // A check that takes longer than the interval is not followed by a burst of others.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { member, ticks }
    }

    async fn next(&mut self) {
        loop {
            self.ticks.tick().await;
            if self.member.is_leader() {
                return;
            }
        }
    }
}

/// Compares all members with this one, which leads. Between its own two hashes everything that the others can have applied when
/// they answered has been applied here.
async fn check_present(member: &Member) -> Result<(), EtcdError> {
    let first = member.hash_newest().await?;
    let peers = hashes_of_others(member, first.hash_revision).await;
    member.linearize().await?;
    let second = member.hash_newest().await?;
    let found = periodic::compare(member.id(), &first, &second, &peers);
    found.iter().for_each(periodic::Finding::tell);
    if let Some(finding) = found.first() {
        raise(member, finding.suspect()).await;
    }
    let checked = peers.iter().filter(|(_, answer)| answer.is_ok()).count();
    tracing::info!("number-of-peers-checked" = checked, "finished peer corruption check");
    Ok(())
}

/// Compares the members' hashes of the compactions after `checked`, the newest first, until one could be compared among all of
/// them. Returns up to where all members are known to have the same.
async fn check_compactions(member: &Member, checked: Revision) -> Revision {
    let local_id = format!("{:x}", member.id().0);
    tracing::info!(
        "local-member-id" = local_id,
        timeout = ?member.request_timeout(),
        "starting compact hash check"
    );
    let mut hashes_checked = 0;
    let mut same_up_to = checked;
    for hash in member.compaction_hashes_after(checked) {
        hashes_checked += 1;
        let peers = hashes_of_others(member, hash.revision).await;
        if peers.is_empty() {
            continue;
        }
        let verdict = compacted::judge(member.id(), &hash, &peers);
        compacted::tell(member.id(), &hash, &peers, &verdict);
        for suspect in verdict.suspects() {
            raise(member, suspect).await;
        }
        match verdict {
            Verdict::SameSoFar { .. } => continue,
            Verdict::Same => same_up_to = hash.revision,
            Verdict::Minority(_) | Verdict::NoMajority(_) => {}
        }
        break;
    }
    tracing::info!("number-of-hashes-checked" = hashes_checked, "finished compaction hash check");
    same_up_to
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
