//! `cargo xtask faults`: a cluster of processes under constant load, to which every few seconds something happens.

use anyhow::{Context, Result};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tenure_harness::faults::{self, Fault, Plan, Report};

/// How long, and what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The server's program.
    #[arg(long, default_value = "target/release/tenured")]
    server: PathBuf,
    /// How long it goes on.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Members of the cluster.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Seed of what happens when; another one every time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults whose name has this in it; may be given more than once. The names are those of the table.
    #[arg(long)]
    only: Vec<String>,
    /// The longest time without an acknowledged write that a fault of a minority may cause, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    gap_ms: u64,
    /// The longest that a SIGTERM of the leader may, in milliseconds.
    #[arg(long, default_value_t = 500)]
    hand_over_gap_ms: u64,
    /// Flags for the members.
    #[arg(
        long,
        value_delimiter = ' ',
        allow_hyphen_values = true,
        default_value = "--snapshot-count=1000 --snapshot-catchup-entries=300"
    )]
    flags: Vec<String>,
    /// Where the data directories are made.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Runs it; always true.
///
/// # Errors
/// Something was seen that must not be. Data directories and logs are kept.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let mut directory = match &arguments.directory {
        Some(parent) => TempDir::new_in(parent)?,
        None => TempDir::new()?,
    };
    let is_wanted = |fault: &Fault| {
        let name = fault.to_string();
        arguments.only.is_empty() || arguments.only.iter().any(|part| name.contains(part.as_str()))
    };
    let chosen: Vec<Fault> = Fault::ALL.into_iter().filter(is_wanted).collect();
    anyhow::ensure!(!chosen.is_empty(), "no fault is named {}", arguments.only.join(" or "));
    let plan = Plan {
        program: arguments.server.clone(),
        flags: arguments.flags.iter().filter(|flag| !flag.is_empty()).cloned().collect(),
        members: arguments.members,
        seed: arguments.seed.unwrap_or_else(rand::random),
        duration: Duration::from_secs(arguments.seconds),
        faults: chosen,
        gap_max: Duration::from_millis(arguments.gap_ms),
        hand_over_gap_max: Duration::from_millis(arguments.hand_over_gap_ms),
    };
    println!("seed {}", plan.seed);
    let started = Instant::now();
    let mut report = Report::default();
    let outcome = faults::run(&plan, directory.path(), &mut report).await;
    print(&report, started.elapsed());
    if outcome.is_err() {
        directory.disable_cleanup(true);
        println!("data directories and logs are kept: {}", directory.path().display());
    }
    outcome.map(|()| true).with_context(|| format!("seed {}", plan.seed))
}

fn print(report: &Report, took: Duration) {
    let millis = |time: &Duration| time.as_millis();
    println!("\nlongest time without an acknowledged write, in ms");
    println!("{:>6} {:>8} {:>8}  what happened", "times", "median", "longest");
    for (fault, gaps) in &report.gaps {
        let mut sorted = gaps.longest.clone();
        sorted.sort_unstable();
        match (&gaps.skipped, sorted.last()) {
            (Some(reason), _) => println!("{:>6} {:>8} {:>8}  {fault}: skipped: {reason}", 0, "", ""),
            (None, Some(longest)) => {
                let median = millis(&sorted[sorted.len() / 2]);
                println!("{:>6} {median:>8} {:>8}  {fault}", sorted.len(), millis(longest));
            }
            (None, None) => {}
        }
    }
    println!("{:>6} {:>8} {:>8}  nothing", "", "", millis(&report.quiet_gap));
    println!(
        "\n{:.0} s: {} acknowledged writes, {} operations and {} events of watchers judged, revision {}",
        took.as_secs_f64(),
        report.writes,
        report.operations,
        report.events,
        report.revision,
    );
    for (error, count) in &report.errors {
        println!("{count:>7} times {error}");
    }
}
