//! `cargo xtask bench`: what an operation costs a server, alone or beside another one.

mod clients;
mod histogram;
mod join;
mod load;
mod login;
mod subject;

use anyhow::{Result, ensure};
use load::Work;
use std::path::PathBuf;
use subject::{Round, Spread, Subject};

/// What to measure, on what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What the clients do, several names separated by commas: put, get, get-serializable, range, txn, lease, keepalive,
    /// watch, mixed; `load` loads the keys, and tells memory and the time of a restart; `join` loads the keys, and tells how long a member
    /// takes that joins with an empty disk; `login` has a thousand clients log in at once; `client` measures not the server but the
    /// client library, beside the crate `etcd-client`.
    #[arg(long, value_delimiter = ',', default_value = "put,get,txn")]
    work: Vec<String>,
    /// A running server, `http://HOST:PORT`. Its cpu time is read from its /metrics.
    #[arg(long, conflicts_with_all = ["server", "beside"])]
    endpoint: Option<String>,
    /// The program of the server to start.
    #[arg(long, default_value = "target/release/tenured")]
    server: PathBuf,
    /// The program of another server to start, and to measure in turn with the first.
    #[arg(long)]
    beside: Option<PathBuf>,
    /// Flags for the first server.
    #[arg(long, value_delimiter = ' ', allow_hyphen_values = true)]
    server_flags: Vec<String>,
    /// Measure the first server a second time, with authentication on and the clients logged in.
    #[arg(long, conflicts_with_all = ["endpoint", "beside"])]
    authenticated: bool,
    /// Members of each cluster that is started.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(usize))]
    members: usize,
    /// Which members the clients are connected to.
    #[arg(long, value_enum, default_value = "all")]
    spread: Spread,
    /// Clients with one request under way each.
    #[arg(long, default_value_t = 256)]
    clients: usize,
    /// Connections that the clients share.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Bytes of every value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Measured time of each round.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Keys that are loaded before gets, ranges and mixed work.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Watchers of the work `watch`.
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Rounds of each work on each server.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Where the data directories are made, for the disk to be measured.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Measures; always true.
///
/// # Errors
/// A server does not start, or refuses a request.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.members > 0, "--members must be at least 1");
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    let mut subjects = subjects(arguments).await?;
    for work in &arguments.work {
        match work.as_str() {
            "client" => {
                let url = subjects[0].urls(Spread::Leader).await?.remove(0);
                let address = url.trim_start_matches("http://");
                clients::measure(address, arguments.clients, arguments.seconds, arguments.rounds)?;
            }
            "load" => {
                for subject in &mut subjects {
                    subject.load(arguments).await?;
                }
            }
            "join" => {
                for subject in &mut subjects {
                    join::measure(subject, arguments).await?;
                }
            }
            "login" => {
                for subject in &mut subjects {
                    login::measure(subject, arguments).await?;
                }
            }
            name => measure(name.parse()?, &mut subjects, arguments).await?,
        }
    }
    Ok(true)
}

async fn subjects(arguments: &Arguments) -> Result<Vec<Subject>> {
    if let Some(url) = &arguments.endpoint {
        return Ok(vec![Subject::running(url)]);
    }
    let mut subjects = vec![Subject::start(&arguments.server, &arguments.server_flags, arguments).await?];
    if arguments.authenticated {
        let mut second = Subject::start(&arguments.server, &arguments.server_flags, arguments).await?;
        second.authenticate().await?;
        // The ratio is what authentication costs.
        subjects.insert(0, second);
    } else if let Some(beside) = &arguments.beside {
        let mut second = Subject::start(beside, &[], arguments).await?;
        if second.name == subjects[0].name {
            second.name.push_str(" (2)");
        }
        subjects.push(second);
    }
    Ok(subjects)
}

/// Rounds in turn; of each server the medians, and their ratios.
async fn measure(work: Work, subjects: &mut [Subject], arguments: &Arguments) -> Result<()> {
    let mut rounds = vec![Vec::new(); subjects.len()];
    for _ in 0..arguments.rounds {
        for (subject, rounds) in subjects.iter_mut().zip(&mut rounds) {
            rounds.push(subject.round(work, arguments).await?);
        }
    }
    let medians: Vec<Round> = rounds.iter().map(|rounds| Round::median(rounds)).collect();
    for (subject, median) in subjects.iter().zip(&medians) {
        println!(
            "{:<17} {:<14} median of {} rounds: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, cpu {:.2} us/op",
            work.to_string(),
            subject.name,
            arguments.rounds,
            median.throughput,
            median.median_millis,
            median.p99_millis,
            median.cpu_micros,
        );
    }
    if let [first, second] = medians[..] {
        println!(
            "{:<17} {} / {}: cpu per operation {:.2}, throughput {:.2}, p50 {:.2}, p99 {:.2}",
            work.to_string(),
            subjects[0].name,
            subjects[1].name,
            first.cpu_micros / second.cpu_micros,
            first.throughput / second.throughput,
            first.median_millis / second.median_millis,
            first.p99_millis / second.p99_millis,
        );
    }
    Ok(())
}
