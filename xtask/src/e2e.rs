//! `cargo xtask e2e`: the golden scripts against a server of one's choice.

use crate::root;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tenure_harness::{
    process::Target,
    script::{Options, Outcome, run_directory},
};

/// Which scripts, against what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// `etcd-3.4`, `etcd-3.5`, `etcd-3.7` or `tenured`.
    #[arg(long, default_value = "tenured")]
    target: Target,
    /// Whose etcdctl speaks: `3.4`, `3.5`, `3.7` or `tenurectl`.
    #[arg(long, default_value = "3.5", value_parser = ["3.4", "3.5", "3.7", "tenurectl"])]
    ctl: String,
    /// The server's program instead of the usual one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Make what a real etcd prints the expected output.
    #[arg(long)]
    update: bool,
    /// The directory of the scripts instead of `e2e/scripts`.
    #[arg(long)]
    scripts: Option<PathBuf>,
    /// Scripts at a time.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Only scripts whose path from their directory contains this.
    #[arg(default_value = "")]
    filter: String,
}

/// Where `tenurectl` is: beside the server's program that was given or beside this one, as all are built, or in the usual place.
fn tenurectl_directory(program: Option<&Path>) -> Result<PathBuf> {
    let this = std::env::current_exe().ok();
    let beside =
        [program, this.as_deref()].into_iter().flatten().filter_map(Path::parent).map(Path::to_path_buf);
    let usual = root().join("target/release");
    beside.chain([usual.clone()]).find(|directory| directory.join("tenurectl").exists()).with_context(|| {
        format!("tenurectl is not beside the server's program, nor in {}: build tenure-cli", usual.display())
    })
}

/// Runs the scripts; true when none failed.
///
/// # Errors
/// The server's program is not there, or the scripts cannot be read.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(
        !(arguments.update && arguments.target == Target::Tenured),
        "expected outputs come from a real etcd, never from tenured"
    );
    let program = match (&arguments.program, arguments.target) {
        (Some(program), _) => program.clone(),
        (None, Target::Tenured) => root().join("target/release/tenured"),
        (None, target) => {
            target.directory().with_context(|| format!("{target} is not on this machine"))?.join("etcd")
        }
    };
    ensure!(program.exists(), "{} is not there", program.display());
    let ctl = match arguments.ctl.as_str() {
        "tenurectl" => Some((Target::Tenured, tenurectl_directory(arguments.program.as_deref())?)),
        version => {
            let etcd: Target = format!("etcd-{version}").parse()?;
            etcd.directory().map(|directory| (etcd, directory))
        }
    };
    let options = Options {
        target: arguments.target,
        program,
        ctl,
        plain: Target::Etcd35,
        restorer: Target::Etcd35.directory(),
        update: arguments.update,
    };
    let scripts = arguments.scripts.clone().unwrap_or_else(|| root().join("e2e/scripts"));
    let results = run_directory(&scripts, &arguments.filter, arguments.at_once, &options).await?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (path, outcome) in &results {
        let name = path.strip_prefix(&scripts).unwrap_or(path).display();
        match outcome {
            Outcome::Passed => {
                passed += 1;
                println!("passed   {name}");
            }
            Outcome::Skipped(reason) => {
                skipped += 1;
                println!("skipped  {name}: {reason}");
            }
            Outcome::Failed(differences) => {
                failed += 1;
                println!("FAILED   {name}\n{differences}");
            }
        }
    }
    println!("e2e against {} with etcdctl {}:", arguments.target, arguments.ctl);
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}
