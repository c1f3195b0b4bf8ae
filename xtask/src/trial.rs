//! What trials of a server by chance have in common: a program, a seed, and a directory that is kept if something is wrong.

use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Whom a trial is of.
#[derive(Debug, clap::Args)]
pub struct Trial {
    /// The server's program.
    #[arg(long, default_value = "target/release/tenured")]
    pub server: PathBuf,
    /// Seed of what happens when; another one every time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Flags for the server, in one argument.
    #[arg(long, value_delimiter = ' ', allow_hyphen_values = true)]
    flags: Option<Vec<String>>,
    /// Where the data directory is made.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// A trial that is under way.
pub struct Begun {
    /// The seed.
    pub seed: u64,
    directory: TempDir,
    since: Instant,
}

impl Trial {
    /// Makes the directory and says the seed.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn begin(&self) -> Result<Begun> {
        let directory = match &self.directory {
            Some(parent) => TempDir::new_in(parent)?,
            None => TempDir::new()?,
        };
        let seed = self.seed.unwrap_or_else(rand::random);
        println!("seed {seed}");
        Ok(Begun { seed, directory, since: Instant::now() })
    }

    /// The flags, or these if none are given; an empty one is left out.
    pub fn flags(&self, default: &[&str]) -> Vec<String> {
        let given = self.flags.clone();
        let flags = given.unwrap_or_else(|| default.iter().map(|&flag| flag.to_owned()).collect());
        flags.into_iter().filter(|flag| !flag.is_empty()).collect()
    }
}

impl Begun {
    /// Where the trial keeps what it needs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How long it has been under way.
    pub fn took(&self) -> Duration {
        self.since.elapsed()
    }

    /// Ends it: what it wrote is kept if it failed.
    ///
    /// # Errors
    /// What is wrong, and with which seed.
    pub fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.directory.disable_cleanup(true);
            println!("data and logs are kept: {}", self.directory.path().display());
        }
        outcome.with_context(|| format!("seed {}", self.seed))
    }
}
