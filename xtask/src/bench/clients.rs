//! What a request costs the client: ours beside the crate `etcd-client`, each with one connection, under the same load.

use anyhow::{Context, Result, bail, ensure};
use std::{path::PathBuf, process::Command};

const CLIENTS: [&str; 2] = ["tenure-client", "etcd-client"];
const WORKS: [&str; 2] = ["put", "get"];

/// What a run of the load program printed.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    throughput: f64,
    cpu_micros: f64,
    median_millis: f64,
    p99_millis: f64,
}

/// Builds the load program and runs it in turn with both clients against the server at `address`.
///
/// * `tasks`: requests under way at a time.
/// * `seconds`: measured time of each run.
///
/// # Errors
/// `protoc`, which the other crate's build needs, is missing; the build or a run fails.
pub fn measure(address: &str, tasks: usize, seconds: u64, rounds: usize) -> Result<()> {
    let program = build()?;
    for work in WORKS {
        let mut sums = [(0.0, 0.0); 2];
        for _ in 0..rounds {
            for (client, sum) in CLIENTS.into_iter().zip(&mut sums) {
                let figures = run(&program, client, work, address, tasks, seconds)?;
                println!(
                    "client {work:<10} {client:<14} {:>9.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms  own cpu {:>7.2} us/op",
                    figures.throughput, figures.median_millis, figures.p99_millis, figures.cpu_micros,
                );
                sum.0 += figures.throughput;
                sum.1 += figures.cpu_micros;
            }
        }
        println!(
            "client {work:<10} {} / {}: own cpu per operation {:.2}, throughput {:.2}",
            CLIENTS[0],
            CLIENTS[1],
            sums[0].1 / sums[1].1,
            sums[0].0 / sums[1].0,
        );
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    let root = crate::root();
    if Command::new("protoc").arg("--version").output().is_err() {
        bail!(
            "the crate etcd-client is built with protoc: install it (Debian: protobuf-compiler and libprotobuf-dev) and run again"
        );
    }
    let target = root.join("target/interop-client-bench");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("interop/client-bench/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("cargo build")?;
    ensure!(status.success(), "the load program is not built");
    Ok(target.join("release/client-bench"))
}

fn run(
    program: &PathBuf,
    client: &str,
    work: &str,
    address: &str,
    tasks: usize,
    seconds: u64,
) -> Result<Figures> {
    let output = Command::new(program)
        .args([client, work, address, &tasks.to_string(), &seconds.to_string()])
        .output()
        .context("start the load program")?;
    ensure!(output.status.success(), "{client} {work}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [throughput, cpu_micros, median_millis, p99_millis] = numbers[..] else {
        bail!("{client} {work} printed {text:?}");
    };
    Ok(Figures { throughput, cpu_micros, median_millis, p99_millis })
}
