//! `tenure-sim [--members N[,N]] [--seeds N] [--first S] [--threads T] [--verbose]`: runs N seeds from S on, with clusters of so many
//! members in turn. Prints a failing seed with what happened last, and ends with code 1 if there was one.
//!
//! One seed again, with all that happened: `tenure-sim --members 3 --first S --seeds 1 --verbose`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_sim::Story;
use tenure_sim::bug::Bug;

const USAGE: &str =
    "usage: tenure-sim [--members N[,N]] [--seeds N] [--first S] [--threads T] [--bug NAME] [--verbose]";

struct Options {
    members: Vec<usize>,
    seeds: u64,
    first: u64,
    threads: usize,
    bug: Option<Bug>,
    verbose: bool,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options =
        Options { members: vec![1], seeds: 1_000, first: 0, threads, bug: None, verbose: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--members" => {
                let counts = value()?;
                options.members =
                    counts.split(',').map(|count| number(&word, count)).collect::<Result<_, _>>()?;
            }
            "--seeds" => options.seeds = number(&word, &value()?)?,
            "--first" => options.first = number(&word, &value()?)?,
            "--threads" => options.threads = number::<usize>(&word, &value()?)?.max(1),
            "--bug" => {
                let name = value()?;
                let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
                options.bug = Some(bug.ok_or(format!("bugs are {:?}", Bug::ALL))?);
            }
            "--verbose" => options.verbose = true,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if options.members.iter().any(|count| !(1..=7).contains(count)) {
        return Err("a cluster has 1 to 7 members".into());
    }
    Ok(options)
}

fn number<N: std::str::FromStr<Err: std::fmt::Display>>(word: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|error| format!("{word} {value}: {error}"))
}

/// What all seeds together came to.
#[derive(Default)]
struct Total {
    failures: u64,
    story: Story,
}

impl Total {
    fn add(&mut self, seed: u64, story: &Story) {
        self.story.add(&Story { trace: story.trace.rotate_left((seed % 64) as u32), ..*story });
    }
}

fn run(seed: u64, options: &Options, total: &Mutex<Total>) {
    let members = options.members[(seed % options.members.len() as u64) as usize];
    let ran = match members {
        1 => tenure_sim::run(seed, options.verbose).map(|trace| Story { trace, ..Story::default() }),
        _ => tenure_sim::run_cluster(seed, members, options.bug, options.verbose),
    };
    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match ran {
        Ok(story) => total.add(seed, &story),
        Err(report) => {
            eprintln!("{members} members: {report}");
            total.failures += 1;
        }
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let started = std::time::Instant::now();
    let next = AtomicU64::new(options.first);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.first + options.seeds {
                        break;
                    }
                    run(seed, &options, &total);
                }
            });
        }
    });
    let Total { failures, story } = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Story { trace, entries, answered, installed, elections, changes, forbidden, alarmed, turns } = story;
    if options.members != [1] {
        println!(
            "{entries} entries, {answered} answers, {elections} leaders, {changes} changes of members, {installed} snapshots installed, \
             {forbidden} refusals by authentication and {alarmed} by alarms"
        );
        println!("{turns:?}");
    }
    println!(
        "{} seeds from {}: {failures} failed, traces {trace:016x}, {:.1} s",
        options.seeds,
        options.first,
        started.elapsed().as_secs_f64()
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
