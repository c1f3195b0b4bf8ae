//! `cargo xtask`: what the project does with itself.

mod bench;
mod crash;
mod e2e;
mod faults;
mod tidy;
mod trial;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// The project's automation.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the golden scripts of `e2e/scripts` against a server.
    E2e(e2e::Arguments),
    /// Measures what operations cost a server, alone or beside another one.
    Bench(bench::Arguments),
    /// Kills a server under load and looks for what was lost.
    Crash(crash::Arguments),
    /// Lets a cluster under load suffer what can happen to one, and looks whether it stays correct and available.
    Faults(faults::Arguments),
    /// Checks what neither the compiler nor clippy looks at.
    Tidy,
}

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let passed = match Arguments::parse().command {
        Command::E2e(arguments) => e2e::run(&arguments).await?,
        Command::Bench(arguments) => bench::run(&arguments).await?,
        Command::Crash(arguments) => crash::run(&arguments).await?,
        Command::Faults(arguments) => faults::run(&arguments).await?,
        Command::Tidy => tidy::run()?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
