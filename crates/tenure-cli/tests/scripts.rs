//! The golden scripts with `tenurectl` in etcdctl's place: those of the whole project and those of this crate, against
//! a real etcd 3.5.1 where there is one, and against the `tenured` of this workspace.
//!
//! What the scripts of this crate expect is what etcdctl 3.7.1 prints. Where there is one (`e2e/fetch-etcd.sh` builds it, `ETCD_3_7` names
//! its directory) the scripts are held against it; with `UPDATE=1` they are written by it.

use futures::StreamExt;
use std::path::{Path, PathBuf};
use tenure_harness::{
    process::Target,
    script::{Options, Outcome, run_file},
};

/// Scripts at a time: each has a server of its own.
const AT_ONCE: usize = 4;

/// Where cargo puts the programs of the workspace.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenurectl")).parent().expect("a program is in a directory")
}

/// The etcd that `TENURE_ETCD` names, or the 3.5.1 of this machine.
fn etcd() -> Option<PathBuf> {
    let named = std::env::var_os("TENURE_ETCD").map(PathBuf::from);
    named.or_else(|| Some(Target::Etcd35.directory()?.join("etcd"))).filter(|program| program.exists())
}

/// The scripts of this crate.
const OWN: &str = "tests/scripts/";

/// Those scripts of the project whose output is the same in etcdctl 3.5 and 3.7. `cargo xtask e2e --ctl tenurectl` runs all.
const COMMON: [&str; 9] =
    ["compaction", "del", "elect", "lease", "lease-list", "lock", "put-get", "restart", "txn"];

/// The scripts of this crate, and those of the project that are meant for both.
fn scripts(with_common: bool) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = std::fs::read_dir(root.join(OWN)).expect("the scripts are there");
    let mut paths: Vec<PathBuf> = own.map(|entry| entry.expect("a readable directory").path()).collect();
    if with_common {
        paths.extend(COMMON.map(|name| root.join(format!("../../e2e/scripts/ctl/{name}.txt"))));
    }
    let filter = std::env::var("FILTER").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&filter));
    paths.sort();
    paths
}

async fn run(target: Target, program: PathBuf, ctl: (Target, PathBuf)) {
    // Only commit a difference that you understand.
    let update = std::env::var_os("UPDATE").is_some() && ctl.0 != Target::Tenured;
    let paths = scripts(ctl.0 == Target::Tenured);
    let options = Options { target, program, ctl: Some(ctl), plain: Target::Etcd37, restorer: None, update };
    let runs = paths.into_iter().map(|path| async {
        let outcome = run_file(&path, &options).await.expect("the script is read and a server starts");
        (path, outcome)
    });
    let mut failed = 0;
    for (path, outcome) in futures::stream::iter(runs).buffered(AT_ONCE).collect::<Vec<_>>().await {
        match outcome {
            Outcome::Passed => {}
            Outcome::Skipped(reason) => println!("skipped {}: {reason}", path.display()),
            Outcome::Failed(differences) => {
                failed += 1;
                println!("FAILED {}\n{differences}", path.display());
            }
        }
    }
    assert_eq!(failed, 0, "scripts failed against {target}");
}

fn tenurectl() -> (Target, PathBuf) {
    (Target::Tenured, programs().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_says_the_same() {
    match (etcd(), Target::Etcd37.directory()) {
        (Some(program), Some(directory)) => {
            run(Target::Etcd35, program, (Target::Etcd37, directory)).await;
        }
        _ => println!("skipped: there is no etcdctl 3.7.1, or no etcd 3.5"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn against_etcd() {
    match etcd() {
        Some(program) => run(Target::Etcd35, program, tenurectl()).await,
        None => println!("skipped: no etcd 3.5 on this machine (TENURE_ETCD names its program)"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn against_tenured() {
    let program = programs().join("tenured");
    match program.exists() {
        true => run(Target::Tenured, program, tenurectl()).await,
        false => println!("skipped: {} is not built (cargo test --workspace does)", program.display()),
    }
}
