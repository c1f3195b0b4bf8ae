//! Plays one scene after the other, and measures.

use super::Report;
use super::scene::{Repertoire, Scene};
use super::stage::Stage;
use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use rand::rngs::SmallRng;
use std::time::Duration;

/// How long is looked for a gap after everything is well again.
const AFTERMATH: Duration = Duration::from_millis(500);
/// The pause between two scenes.
const PAUSE_MILLIS: std::ops::Range<u64> = 300..1_500;

/// A cluster, and what is still to happen to it.
pub(super) struct Run {
    pub stage: Stage,
    pub repertoire: Repertoire,
    pub random: SmallRng,
}

impl Run {
    /// Measures the longest gap while nothing happens.
    pub async fn observe_quiet(&self, report: &mut Report) -> Result<()> {
        self.stage.record.begin_gap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        report.quiet_gap = report.quiet_gap.max(self.stage.record.longest_gap());
        Ok(())
    }

    /// Plays one scene, waits until all is well again, and writes down for how long nobody could write.
    pub async fn next_scene(&mut self, report: &mut Report) -> Result<()> {
        let Scene(acts) = &self.repertoire.draw(&mut self.random);
        let together = Scene(acts.clone()).together();
        let record = &self.stage.record;
        let at = record.time().as_secs_f64();
        record.begin_gap();
        try_join_all(acts.iter().map(|act| self.stage.play(act, acts.len() == 1)))
            .await
            .with_context(|| format!("{together}, {at:.1} s after the begin"))?;
        self.stage.recover().await.with_context(|| format!("after {together}, {at:.1} s after the begin"))?;
        tokio::time::sleep(AFTERMATH).await;
        let gap = record.longest_gap();
        println!("{at:7.1} s  {:5} ms  {together}", gap.as_millis());
        report.gaps.entry(together).or_default().push(gap);
        if let Some(wrong) = record.first_wrong() {
            bail!("{wrong}");
        }
        self.stage.pause(PAUSE_MILLIS, &mut self.random).await;
        Ok(())
    }
}
