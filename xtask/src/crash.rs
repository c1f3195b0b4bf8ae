//! `cargo xtask crash`: kills a server under load, again and again.

use anyhow::Result;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tenure_harness::crash::{self, Plan};

/// How often, and what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The server's program.
    #[arg(long, default_value = "target/release/tenured")]
    server: PathBuf,
    /// How often it is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Seed of requests and moments of death; another one every time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Clients that write at the same time.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// The longest time under load before a kill, in milliseconds.
    #[arg(long, default_value_t = 400)]
    load_ms: u64,
    /// Flags for the server.
    #[arg(long, value_delimiter = ' ', allow_hyphen_values = true)]
    flags: Vec<String>,
    /// Where the data directory is made.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Runs the rounds; always true.
///
/// # Errors
/// Something acknowledged was lost, or the server did not start again. The data directory is kept.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let mut directory = match &arguments.directory {
        Some(parent) => TempDir::new_in(parent)?,
        None => TempDir::new()?,
    };
    let plan = Plan {
        seed: arguments.seed.unwrap_or_else(rand::random),
        rounds: arguments.rounds,
        clients: arguments.clients,
        load_max: Duration::from_millis(arguments.load_ms),
    };
    println!("seed {}", plan.seed);
    let started = Instant::now();
    match crash::run(&arguments.server, directory.path(), &arguments.flags, &plan).await {
        Ok(report) => println!(
            "{} kills in {:.0} s: {} acknowledged and found again; {} under way, of which {} were done; revision {}",
            plan.rounds,
            started.elapsed().as_secs_f64(),
            report.acknowledged,
            report.under_way,
            report.under_way_done,
            report.revision,
        ),
        Err(error) => {
            directory.disable_cleanup(true);
            println!("the data directory is kept: {}", directory.path().display());
            return Err(error);
        }
    }
    Ok(true)
}
