//! A slice of `cargo xtask crash`: `tenured` is killed under load, and nothing acknowledged is missing afterwards.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tenure_harness::crash::{self, Plan};

async fn kill(rounds: u32, flags: &[&str]) {
    let seed = std::env::var("CRASH_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let plan = Plan { seed, rounds, clients: 8, load_max: Duration::from_millis(300) };
    let directory = TempDir::new().unwrap();
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let report = crash::run(program, directory.path(), &flags, &plan)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.acknowledged > 0, "nothing was written: {report:?}");
    println!("{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_and_no_revision_is_used_twice() {
    kill(12, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_with_frequent_checkpoints() {
    kill(8, &["--snapshot-count=50"]).await;
}
