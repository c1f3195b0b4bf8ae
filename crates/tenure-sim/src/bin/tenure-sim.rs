//! `tenure-sim [--seeds N] [--first S] [--threads T] [--verbose]`: runs N seeds from S on. Prints a failing seed with what happened
//! last, and ends with code 1 if there was one.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

struct Options {
    seeds: u64,
    first: u64,
    threads: usize,
    verbose: bool,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { seeds: 1_000, first: 0, threads, verbose: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or(format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|error| format!("{word} {value}: {error}"))
        };
        match word.as_str() {
            "--seeds" => options.seeds = number()?,
            "--first" => options.first = number()?,
            "--threads" => options.threads = number()?.max(1) as usize,
            "--verbose" => options.verbose = true,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nusage: tenure-sim [--seeds N] [--first S] [--threads T] [--verbose]");
            return ExitCode::from(2);
        }
    };
    let started = std::time::Instant::now();
    let next = AtomicU64::new(options.first);
    let (failures, traces) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.first + options.seeds {
                        break;
                    }
                    match tenure_sim::run(seed, options.verbose) {
                        Ok(hash) => {
                            traces.fetch_xor(hash.rotate_left((seed % 64) as u32), Ordering::Relaxed);
                        }
                        Err(report) => {
                            eprintln!("{report}");
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner();
    println!(
        "{} seeds from {}: {failures} failed, traces {:016x}, {:.1} s",
        options.seeds,
        options.first,
        traces.into_inner(),
        started.elapsed().as_secs_f64()
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
