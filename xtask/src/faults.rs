//! `cargo xtask faults`: a cluster of processes under constant load, to which every few seconds something happens.

use crate::trial::Trial;
use anyhow::Result;
use std::time::Duration;
use tenure_harness::faults::{self, Fault, PeerTls, Plan, Report, Tokens, minority};

/// Snapshots within what a run writes, so that members that were away are sent some.
const FLAGS: [&str; 2] = ["--snapshot-count=1000", "--snapshot-catchup-entries=300"];

/// How long, and what. The seed is of what happens when.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    trial: Trial,
    /// How long it goes on.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Members of the cluster.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// The most things that happen in the time of each other. Those that hurt a member hurt no more than a minority all together. Without
    /// it one thing for each member that may be hurt, and one that hurts nobody.
    #[arg(long)]
    together: Option<usize>,
    /// Only faults whose name has this in it; may be given more than once. The names are those of the table.
    #[arg(long)]
    only: Vec<String>,
    /// Turn authentication on, with tokens that are `simple` or `jwt`: the load logs in.
    #[arg(long)]
    auth: Option<Tokens>,
    /// TLS between members, with certificates that each makes for itself (`auto`) or that one authority vouches for (`certificates`, if
    /// nothing is said).
    #[arg(long, num_args = 0..=1, default_missing_value = "certificates")]
    peer_tls: Option<PeerTls>,
    /// Give each member settings of its own, drawn from the seed: how often it snapshots and how much it keeps behind that.
    #[arg(long)]
    varied: bool,
    /// The longest time without an acknowledged write that a fault of a minority may cause, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    gap_ms: u64,
    /// The longest that a SIGTERM of the leader may, in milliseconds.
    #[arg(long, default_value_t = 500)]
    hand_over_gap_ms: u64,
}

/// Runs it; always true.
///
/// # Errors
/// Something was seen that must not be. Data directories and logs are kept.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let is_wanted = |fault: &Fault| {
        let name = fault.to_string();
        arguments.only.is_empty() || arguments.only.iter().any(|part| name.contains(part.as_str()))
    };
    let chosen: Vec<Fault> = Fault::ALL.into_iter().filter(is_wanted).collect();
    anyhow::ensure!(!chosen.is_empty(), "no fault is named {}", arguments.only.join(" or "));
    let begun = arguments.trial.begin()?;
    let plan = Plan {
        program: arguments.trial.server.clone(),
        flags: arguments.trial.flags(&FLAGS),
        members: arguments.members,
        together_max: arguments.together.unwrap_or(minority(arguments.members) + 1),
        seed: begun.seed,
        duration: Duration::from_secs(arguments.seconds),
        faults: chosen,
        auth: arguments.auth,
        peer_tls: arguments.peer_tls,
        is_varied: arguments.varied,
        gap_max: Duration::from_millis(arguments.gap_ms),
        hand_over_gap_max: Duration::from_millis(arguments.hand_over_gap_ms),
    };
    let mut report = Report::default();
    let outcome = faults::run(&plan, begun.directory(), &mut report).await;
    print(&report, begun.took());
    begun.end(outcome).map(|()| true)
}

fn print(report: &Report, took: Duration) {
    let millis = |time: &Duration| time.as_millis();
    println!("\nlongest time without an acknowledged write, in ms");
    println!("{:>6} {:>8} {:>8}  what happened", "times", "median", "longest");
    let mut gaps: Vec<_> = report.gaps.iter().collect();
    gaps.sort_by_key(|(together, _)| together.faults().len());
    for (together, gaps) in gaps {
        let mut sorted = gaps.clone();
        sorted.sort_unstable();
        let (median, longest) = (&sorted[sorted.len() / 2], &sorted[sorted.len() - 1]);
        println!("{:>6} {:>8} {:>8}  {together}", sorted.len(), millis(median), millis(longest));
    }
    for (fault, reason) in &report.skipped {
        println!("{:>6} {:>8} {:>8}  {fault}: skipped: {reason}", 0, "", "");
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
    for (at, (count, single, to_all)) in &report.streams {
        println!(
            "m{at}: {count} streams of watches, {single} progresses to single watchers, {to_all} to all of a stream"
        );
    }
    for (error, count) in &report.errors {
        println!("{count:>7} times {error}");
    }
}
