//! A deterministic simulator: the real core and the real storage code of a member on a simulated disk and clock.
//!
//! A seed decides everything: what clients ask for, which thread of the member runs when, when power fails, which sectors of what was
//! not synced survive. A simple model that shares no code with the core says what every answer must be. [`run`] is one seed;
//! the program `tenure-sim` runs many.
//!
//! What is checked: every answer and every read; after every restart that the log holds all that was acknowledged, entry by entry, and
//! that applying it again gives the same answers; HashKV, all keys, revisions, compaction and leases against the model; that no lease
//! ends early or lives for ever; that nothing is applied that nobody asked for, or twice. In a cluster also: who is refused and why, by his
//! roles or by an alarm, and that no read is answered that its client may not see; which changes of members are refused; that whoever
//! is removed is needed no more. And in every turn what a node promises whoever drives it ([`promises`]).

pub mod bug;
pub mod cluster;
pub mod disk;
pub mod member;
pub mod model;
pub mod promises;
pub mod random;
pub mod trace;
pub mod workload;
pub mod world;

pub use cluster::Story;

use tenure_check as check;

use cluster::Cluster;
use trace::Trace;
use world::World;

/// What went wrong in a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub failure: String,
    /// What happened last.
    pub tail: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.tail {
            writeln!(f, "  {line}")?;
        }
        write!(f, "seed {}: {}", self.seed, self.failure)
    }
}

/// Runs a seed. Returns the hash of its trace.
///
/// # Errors
/// What was wrong.
pub fn run(seed: u64, echo: bool) -> Result<u64, Box<Report>> {
    let report = |failure, tail| Box::new(Report { seed, failure, tail });
    let mut world = World::new(seed, Trace::new(echo)).map_err(|failure| report(failure, Vec::new()))?;
    match world.run() {
        Ok(()) => Ok(world.trace.hash()),
        Err(failure) => {
            let tail = world.trace.tail().map(str::to_owned).collect();
            Err(report(failure, tail))
        }
    }
}

/// Runs a seed with a cluster of `members`. Returns what it came to.
///
/// # Errors
/// What was wrong.
pub fn run_cluster(
    seed: u64,
    members: usize,
    bug: Option<bug::Bug>,
    echo: bool,
) -> Result<Story, Box<Report>> {
    let mut cluster = Cluster::new(seed, members, bug, Trace::new(echo));
    // What a member panics at is found like all else, with what happened before.
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cluster.run()));
    let ran = ran.unwrap_or_else(|panic| Err(format!("a member panics: {}", text_of(&*panic))));
    ran.map_err(|failure| {
        let tail = cluster.trace.tail().map(str::to_owned).collect();
        Box::new(Report { seed, failure, tail })
    })
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
