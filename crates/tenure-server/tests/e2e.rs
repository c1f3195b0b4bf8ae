//! The golden scripts of `e2e/scripts` against `tenured` as a process. The same scripts run against real etcd servers:
//! `cargo xtask e2e --target etcd-3.5`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use tenure_harness::{
    process::Target,
    script::{Options, Outcome, run_directory},
};

/// Runs the scripts of a folder with an etcdctl; those that need one are skipped, with the reason, where it is missing.
async fn run(folder: &str, ctl: Target) {
    let options = Options {
        target: Target::Tenured,
        program: PathBuf::from(env!("CARGO_BIN_EXE_tenured")),
        ctl: ctl.directory().map(|directory| (ctl, directory)),
        plain: Target::Etcd35,
        restorer: Target::Etcd35.directory(),
        update: false,
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/scripts").join(folder);
    let results = run_directory(&scripts, "", 4, &options).await.expect("the scripts can be read");
    assert!(!results.is_empty(), "{} has no scripts", scripts.display());
    let mut failed = Vec::new();
    for (path, outcome) in results {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match outcome {
            Outcome::Passed => {}
            Outcome::Skipped(reason) => println!("skipped {name}: {reason}"),
            Outcome::Failed(differences) => failed.push(format!("{name}\n{differences}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_and_http_answer_as_etcd_does() {
    run("grpc", Target::Etcd35).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_3_5_prints_what_it_prints_with_etcd() {
    run("ctl", Target::Etcd35).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_3_4_prints_what_it_prints_with_etcd() {
    run("ctl", Target::Etcd34).await;
}
