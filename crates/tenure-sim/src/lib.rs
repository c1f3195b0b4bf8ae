//! A deterministic simulator: the real core and the real storage code of a member on a simulated disk and clock.
//!
//! A seed decides everything: what clients ask for, which thread of the member runs when, when power fails, which sectors of what was
//! not synced survive. A simple model that shares no code with the core says what every answer must be. [`run`] is one seed;
//! the program `tenure-sim` runs many.
//!
//! What is checked: every answer and every read; after every restart that the log holds all that was acknowledged, entry by entry, and
//! that applying it again gives the same answers; HashKV, all keys, revisions, compaction and leases against the model; that no lease
//! ends early or lives for ever; that nothing is applied that nobody asked for, or twice.

pub mod bug;
pub mod check;
pub mod disk;
pub mod member;
pub mod model;
pub mod random;
pub mod trace;
pub mod workload;
pub mod world;

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
