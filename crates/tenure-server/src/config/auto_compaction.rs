//! When to compact without being asked: `--auto-compaction-mode` and `--auto-compaction-retention`.
//!
//! A pure state machine. The member tells it the time and the current revision, it answers with the revision to compact
//! at, and it is told how the compaction went.

use super::value::{format_duration, parse_signed, parse_span};
use std::{collections::VecDeque, time::Duration};
use tenure_core::types::Revision;

/// Which revisions are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Nobody compacts but clients.
    #[default]
    Off,
    /// What was current within this time is kept.
    Periodic(Duration),
    /// The newest so many revisions are kept.
    Revision(i64),
}

impl AutoCompaction {
    /// Reads mode and retention. A bare number means hours in the mode `periodic`, revisions in the mode `revision`.
    ///
    /// # Errors
    /// etcd's text for an unknown mode or an unreadable retention.
    pub fn parse(mode: &str, retention: &str) -> Result<Self, String> {
        let periodic = match mode {
            "periodic" => true,
            "revision" => false,
            "" => return Err("undefined auto-compaction-mode".to_owned()),
            _ => return Err(format!("unknown auto-compaction-mode {mode:?}")),
        };
        let retention = if retention.is_empty() { "0" } else { retention };
        let amount = match parse_signed(retention) {
            Ok(number) if number >= 0 && periodic => number.saturating_mul(3_600_000_000_000),
            Ok(number) if number >= 0 => number,
            _ => {
                let parsed = parse_span(retention);
                parsed.map_err(|error| format!("error parsing CompactionRetention: {error}"))?.nanoseconds
            }
        };
        Ok(match amount {
            ..=0 => AutoCompaction::Off,
            _ if periodic => AutoCompaction::Periodic(Duration::from_nanos(amount.unsigned_abs())),
            _ => AutoCompaction::Revision(amount),
        })
    }

    /// The mode's word.
    #[must_use]
    pub fn mode(self) -> &'static str {
        match self {
            AutoCompaction::Off | AutoCompaction::Periodic(_) => "periodic",
            AutoCompaction::Revision(_) => "revision",
        }
    }

    /// The retention as it is logged.
    #[must_use]
    pub fn retention(self) -> String {
        match self {
            AutoCompaction::Off => "0s".to_owned(),
            AutoCompaction::Periodic(period) => format_duration(period),
            AutoCompaction::Revision(revisions) => revisions.to_string(),
        }
    }
}

/// Samples of the revision are taken this many times an interval.
const SAMPLES: u32 = 10;
/// A longer period is compacted in steps of this.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// How often the mode `revision` looks.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Decides when to compact. Times are counted from the moment the member began to serve, on a clock that does not
/// jump.
#[derive(Debug)]
pub struct AutoCompactor {
    policy: AutoCompaction,
    next: Duration,
    /// Revisions of the last period, oldest first, a sample apart. Bounded by [`AutoCompactor::samples_max`].
    sampled: VecDeque<Revision>,
    succeeded_at: Duration,
    /// What has to pass since the last success: the whole period at first, then the interval.
    wait: Duration,
    last: Revision,
}

impl AutoCompactor {
    /// Starts to watch.
    ///
    /// * `now`: the present time.
    /// * `current`: the present revision of the store.
    #[must_use]
    pub fn new(policy: AutoCompaction, now: Duration, current: Revision) -> Self {
        let wait = match policy {
            AutoCompaction::Periodic(period) => period,
            AutoCompaction::Off | AutoCompaction::Revision(_) => REVISION_INTERVAL,
        };
        let mut compactor =
            Self { policy, next: now, sampled: VecDeque::new(), succeeded_at: now, wait, last: Revision(0) };
        compactor.next = now + compactor.step();
        if let AutoCompaction::Periodic(_) = policy {
            compactor.sampled.push_back(current);
        }
        compactor
    }

    /// When [`AutoCompactor::tick`] wants to be called; nothing if never.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        (self.policy != AutoCompaction::Off).then_some(self.next)
    }

    /// Looks at the clock and says at which revision to compact, if now.
    ///
    /// * `now`: the present time.
    /// * `current`: the present revision of the store.
    /// * `leading`: etcd's followers do not compact by themselves; their samples go on.
    pub fn tick(&mut self, now: Duration, current: Revision, leading: bool) -> Option<Revision> {
        if self.policy == AutoCompaction::Off || now < self.next {
            return None;
        }
        self.next = now + self.step();
        let due = match self.policy {
            AutoCompaction::Off => None,
            AutoCompaction::Revision(retained) => {
                let at = Revision(current.0 - retained);
                (leading && at > Revision(0) && at != self.last).then_some(at)
            }
            AutoCompaction::Periodic(_) => {
                let at = self.sampled.front().copied().unwrap_or(current);
                let waited = now.saturating_sub(self.succeeded_at) >= self.wait;
                (leading && waited && at != self.last).then_some(at)
            }
        };
        if let AutoCompaction::Periodic(period) = self.policy {
            self.sampled.push_back(current);
            if self.sampled.len() > self.samples_max() {
                self.sampled.pop_front();
            }
            if due.is_some() {
                self.wait = period.min(INTERVAL_MAX);
            }
        }
        due
    }

    /// Reports that the compaction at this revision succeeded, or that somebody had already compacted there. After a
    /// failure nothing is reported, and the next tick asks again.
    pub fn compacted(&mut self, now: Duration, at: Revision) {
        self.last = at;
        self.succeeded_at = now;
    }

    fn step(&self) -> Duration {
        match self.policy {
            AutoCompaction::Periodic(period) => {
                (period.min(INTERVAL_MAX) / SAMPLES).max(Duration::from_nanos(1))
            }
            AutoCompaction::Off | AutoCompaction::Revision(_) => REVISION_INTERVAL,
        }
    }

    /// As many samples as make one period.
    fn samples_max(&self) -> usize {
        match self.policy {
            AutoCompaction::Periodic(period) => {
                let samples = period.as_nanos() / self.step().as_nanos();
                usize::try_from(samples).unwrap_or(usize::MAX).saturating_add(1)
            }
            AutoCompaction::Off | AutoCompaction::Revision(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Runs a compactor for a while; the store writes 100 revisions a minute. Returns (minute, revision) of what was
    /// compacted.
    fn run(policy: AutoCompaction, minutes: u32, leading: bool) -> Vec<(u64, i64)> {
        let mut compactor = AutoCompactor::new(policy, Duration::ZERO, Revision(1));
        let mut compacted = Vec::new();
        while let Some(at) = compactor.next_tick().filter(|at| *at <= MINUTE * minutes) {
            let current = Revision(1 + i64::try_from(at.as_secs() * 100 / 60).unwrap());
            if let Some(revision) = compactor.tick(at, current, leading) {
                compacted.push((at.as_secs() / 60, revision.0));
                compactor.compacted(at, revision);
            }
        }
        compacted
    }

    #[test]
    fn retention_is_read_as_etcd_reads_it() {
        let parse = AutoCompaction::parse;
        assert_eq!(parse("periodic", "0"), Ok(AutoCompaction::Off));
        assert_eq!(parse("periodic", "2"), Ok(AutoCompaction::Periodic(MINUTE * 120)));
        assert_eq!(parse("periodic", "30m"), Ok(AutoCompaction::Periodic(MINUTE * 30)));
        assert_eq!(parse("revision", "1000"), Ok(AutoCompaction::Revision(1000)));
        assert_eq!(parse("revision", "1us"), Ok(AutoCompaction::Revision(1000)), "a duration's nanoseconds");
        assert_eq!(parse("", "1"), Err("undefined auto-compaction-mode".to_owned()));
        assert_eq!(parse("daily", "1"), Err(r#"unknown auto-compaction-mode "daily""#.to_owned()));
        assert_eq!(
            parse("periodic", "x"),
            Err(r#"error parsing CompactionRetention: time: invalid duration "x""#.to_owned())
        );
    }

    #[test]
    fn a_period_up_to_an_hour_is_compacted_once_a_period() {
        let compacted = run(AutoCompaction::Periodic(MINUTE * 30), 120, true);
        assert_eq!(compacted, [(30, 1), (60, 2701), (90, 5701), (120, 8701)]);
    }

    #[test]
    fn a_longer_period_is_compacted_every_hour() {
        let compacted = run(AutoCompaction::Periodic(MINUTE * 180), 360, true);
        assert_eq!(compacted, [(180, 1), (240, 5401), (300, 11401), (360, 17401)]);
    }

    #[test]
    fn the_mode_revision_keeps_the_newest() {
        let compacted = run(AutoCompaction::Revision(1000), 20, true);
        assert_eq!(compacted, [(10, 1), (15, 501), (20, 1001)]);
    }

    #[test]
    fn a_follower_and_a_quiet_store_are_left_alone() {
        assert_eq!(run(AutoCompaction::Revision(10), 60, false), []);
        assert_eq!(run(AutoCompaction::Periodic(MINUTE), 60, false), []);
        let mut compactor = AutoCompactor::new(AutoCompaction::Revision(10), Duration::ZERO, Revision(1));
        assert_eq!(compactor.tick(MINUTE * 5, Revision(50), true), Some(Revision(40)));
        compactor.compacted(MINUTE * 5, Revision(40));
        assert_eq!(compactor.tick(MINUTE * 10, Revision(50), true), None);
    }

    #[test]
    fn a_failure_is_tried_again_a_sample_later() {
        let mut compactor =
            AutoCompactor::new(AutoCompaction::Periodic(MINUTE * 10), Duration::ZERO, Revision(1));
        let mut asked = Vec::new();
        for minute in 1..=12 {
            if let Some(at) = compactor.tick(MINUTE * minute, Revision(i64::from(minute) * 10), true) {
                asked.push((minute, at.0));
            }
        }
        assert_eq!(asked, [(10, 1), (11, 1), (12, 10)]);
    }
}
