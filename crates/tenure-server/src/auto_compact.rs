//! Compacts by itself, as `--auto-compaction-mode` and `--auto-compaction-retention` say.

use crate::auth::Caller;
use crate::config::auto_compaction::{AutoCompaction, AutoCompactor};
use crate::member::Member;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, Compact};
use tokio::time::Instant;

/// Runs until it is dropped.
pub async fn run(member: Member, policy: AutoCompaction) {
    let origin = Instant::now();
    let now = || origin.elapsed();
    let mut compactor = AutoCompactor::new(policy, now(), member.revision());
    while let Some(tick) = compactor.next_tick() {
        tokio::time::sleep_until(origin + tick).await;
        let Some(revision) = compactor.tick(now(), member.revision(), member.is_leader()) else { continue };
        match member.propose(&Caller::Member, Command::Compact(Compact { revision, physical: false })).await {
            Ok(_) | Err(EtcdError::Compacted) => {
                tracing::info!(revision = revision.0, "completed auto compaction");
                compactor.compacted(now(), revision);
            }
            Err(EtcdError::Stopped) => return,
            Err(error) => {
                tracing::warn!(revision = revision.0, %error, "failed auto compaction; it is tried again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
