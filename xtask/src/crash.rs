//! `cargo xtask crash`: kills a server under load, again and again.

use crate::trial::Trial;
use anyhow::Result;
use std::time::Duration;
use tenure_harness::crash::{self, Plan};

/// How often, and what. The seed is of requests and moments of death.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    trial: Trial,
    /// How often it is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Clients that write at the same time.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// The longest time under load before a kill, in milliseconds.
    #[arg(long, default_value_t = 400)]
    load_ms: u64,
}

/// Runs the rounds; always true.
///
/// # Errors
/// Something acknowledged was lost, or the server did not start again. The data directory is kept.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let (trial, begun) = (&arguments.trial, arguments.trial.begin()?);
    let plan = Plan {
        seed: begun.seed,
        rounds: arguments.rounds,
        clients: arguments.clients,
        load_max: Duration::from_millis(arguments.load_ms),
    };
    let outcome = crash::run(&trial.server, begun.directory(), &trial.flags(&[]), &plan).await;
    let took = begun.took();
    let report = begun.end(outcome)?;
    println!(
        "{} kills in {:.0} s: {} acknowledged and found again; {} under way, of which {} were done; revision {}",
        plan.rounds,
        took.as_secs_f64(),
        report.acknowledged,
        report.under_way,
        report.under_way_done,
        report.revision,
    );
    Ok(true)
}
