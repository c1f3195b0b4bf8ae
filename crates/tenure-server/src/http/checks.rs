//! What `/livez` and `/readyz` look at.

use super::HealthSource;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::command::AlarmType;

/// One look at the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// No member has found its data corrupt.
    DataCorruption,
    /// This member can read its own state.
    SerializableRead,
    /// The cluster agrees on a read.
    LinearizableRead,
    /// This member has a vote.
    NonLearner,
}

/// Whether the process is alive.
pub const LIVEZ: [Check; 1] = [Check::SerializableRead];
/// Whether the member can serve.
pub const READYZ: [Check; 4] =
    [Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    /// The name in the path and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    /// The check of `/livez/<name>` or `/readyz/<name>`.
    pub fn of_path(path: &str) -> Option<Self> {
        let (checks, name) = match path.strip_prefix("/livez/") {
            Some(name) => (LIVEZ.as_slice(), name),
            None => (READYZ.as_slice(), path.strip_prefix("/readyz/")?),
        };
        checks.iter().copied().find(|check| check.name() == name)
    }

    /// Looks.
    ///
    /// * `timeout`: for a read that does not come back.
    ///
    /// # Errors
    /// What stands behind `failed: `.
    pub async fn run<H: HealthSource>(self, source: &H, timeout: Duration) -> Result<(), String> {
        match self {
            Check::DataCorruption if source.alarms().contains(&AlarmType::Corrupt) => {
                Err("alarm activated: CORRUPT".to_owned())
            }
            Check::NonLearner if source.is_learner() => Err("not supported for learner".to_owned()),
            Check::DataCorruption | Check::NonLearner => Ok(()),
            Check::SerializableRead => within(timeout, source.serializable_read()).await,
            Check::LinearizableRead => within(timeout, source.linearizable_read()).await,
        }
    }
}

async fn within(timeout: Duration, read: impl Future<Output = Result<(), EtcdError>>) -> Result<(), String> {
    let outcome = tokio::time::timeout(timeout, read).await.unwrap_or(Err(EtcdError::Timeout));
    outcome.map_err(|error| error.to_string())
}
