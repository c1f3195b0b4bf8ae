//! `cargo xtask bench`: what an operation costs a server, alone or beside another one.

mod clients;
mod histogram;
mod load;

use anyhow::{Context, Result, ensure};
use load::{Done, Phase, Plan, Work};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tenure_harness::{
    http,
    process::{Server, cpu_time},
};

/// What to measure, on what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What the clients do, several names separated by commas: put, get, get-serializable, range, txn, lease, keepalive,
    /// watch, mixed; `load` loads the keys, and tells memory and the time of a restart; `client` measures not the server but the
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

/// A server that is measured.
struct Subject {
    name: String,
    url: String,
    server: Option<Server>,
    filled: bool,
    _directory: Option<TempDir>,
}

/// What one round said.
struct Round {
    throughput: f64,
    cpu_micros: f64,
}

impl Subject {
    async fn start(program: &Path, flags: &[String], arguments: &Arguments) -> Result<Self> {
        let directory = match &arguments.directory {
            Some(parent) => TempDir::new_in(parent)?,
            None => TempDir::new()?,
        };
        let server = Server::start(program, &directory.path().join("data"), flags).await?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, url: server.url(), server: Some(server), filled: false, _directory: Some(directory) })
    }

    fn running(url: &str) -> Self {
        Self {
            name: "endpoint".to_owned(),
            url: url.to_owned(),
            server: None,
            filled: false,
            _directory: None,
        }
    }

    async fn cpu(&self) -> Result<Duration> {
        match &self.server {
            Some(server) => server.cpu_time(),
            None => Ok(Duration::from_secs_f64(self.sample("process_cpu_seconds_total").await?)),
        }
    }

    async fn resident_bytes(&self) -> Result<f64> {
        match &self.server {
            Some(server) => Ok(server.resident_bytes()? as f64),
            None => self.sample("process_resident_memory_bytes").await,
        }
    }

    async fn sample(&self, name: &str) -> Result<f64> {
        let address = self.url.trim_start_matches("http://");
        let body = http::request(address, "GET", "/metrics").await?.body;
        let body = String::from_utf8_lossy(&body).into_owned();
        let line = body.lines().find(|line| line.split(' ').next() == Some(name));
        let value =
            line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("{name} is not told"))?;
        Ok(value.parse()?)
    }

    async fn round(&mut self, work: Work, arguments: &Arguments) -> Result<Round> {
        let reads = matches!(work, Work::Get | Work::GetSerializable | Work::Range | Work::Mixed | Work::Txn);
        if reads && !self.filled {
            load::fill(&self.url, arguments.keys, arguments.value_bytes).await?;
            self.filled = true;
        }
        let plan = Plan {
            // A page of a large keyspace can take etcd a third of a second.
            clients: if work == Work::Range { arguments.clients.min(16) } else { arguments.clients },
            connections: arguments.connections,
            value_bytes: arguments.value_bytes,
            window: Duration::from_secs(arguments.seconds),
            keys: arguments.keys,
            watchers: arguments.watchers,
        };
        let channels = load::connect(&self.url, plan.connections).await?;
        let phase = Phase::default();
        let window = plan.window;
        let clients = tokio::spawn(load::run(work, channels, plan, phase.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        ensure!(!clients.is_finished(), "the clients ended: {:?}", clients.await?.err());
        let (cpu, own, started) = (self.cpu().await?, cpu_time(std::process::id())?, Instant::now());
        phase.measure();
        tokio::time::sleep(window).await;
        let (elapsed, cpu) = (started.elapsed(), self.cpu().await?.saturating_sub(cpu));
        let own = cpu_time(std::process::id())?.saturating_sub(own);
        phase.stop();
        let done = clients.await??;
        self.report(work, &done, elapsed, cpu, own).await
    }

    async fn report(
        &self,
        work: Work,
        done: &Done,
        elapsed: Duration,
        cpu: Duration,
        own: Duration,
    ) -> Result<Round> {
        ensure!(done.operations > 0, "no operation was answered");
        let each = |time: Duration| time.as_secs_f64() * 1e6 / done.operations as f64;
        let throughput = done.operations as f64 / elapsed.as_secs_f64();
        let milliseconds = |share: f64| done.latencies.quantile(share).as_secs_f64() * 1e3;
        println!(
            "{:<17} {:<8} {throughput:>10.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms  p99.9 {:>8.2} ms  cpu {:>9.2} us/op  \
             resident {:>5.0} MB  (clients {:.1} us/op)",
            work.to_string(),
            self.name,
            milliseconds(0.5),
            milliseconds(0.99),
            milliseconds(0.999),
            each(cpu),
            self.resident_bytes().await? / 1e6,
            each(own),
        );
        Ok(Round { throughput, cpu_micros: each(cpu) })
    }

    /// Loads the keys, then says how much memory they take, and how long a restart after SIGKILL is, twice.
    async fn load(&mut self, arguments: &Arguments) -> Result<()> {
        let (started, cpu) = (Instant::now(), self.cpu().await?);
        load::fill(&self.url, arguments.keys, arguments.value_bytes).await?;
        self.filled = true;
        let cpu = self.cpu().await?.saturating_sub(cpu);
        println!(
            "load              {:<8} {} keys of {} B in {:.1} s, cpu {:.2} us/key, resident {:.0} MB",
            self.name,
            arguments.keys,
            arguments.value_bytes,
            started.elapsed().as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / arguments.keys as f64,
            self.resident_bytes().await? / 1e6,
        );
        let name = self.name.clone();
        let Some(server) = &mut self.server else { return Ok(()) };
        for _ in 0..2 {
            server.kill()?;
            server.start_again().await?;
            println!(
                "restart           {name:<8} first linearizable read {:.2} s after the start, cpu {:.2} s, resident {:.0} MB",
                server.ready_after.as_secs_f64(),
                server.cpu_time()?.as_secs_f64(),
                server.resident_bytes()? as f64 / 1e6,
            );
        }
        Ok(())
    }
}

/// Measures; always true.
///
/// # Errors
/// A server does not start, or refuses a request.
pub async fn run(arguments: &Arguments) -> Result<bool> {
    let mut subjects = Vec::new();
    if let Some(url) = &arguments.endpoint {
        subjects.push(Subject::running(url));
    } else {
        subjects.push(Subject::start(&arguments.server, &arguments.server_flags, arguments).await?);
        if let Some(beside) = &arguments.beside {
            let mut second = Subject::start(beside, &[], arguments).await?;
            if second.name == subjects[0].name {
                second.name.push_str(" (2)");
            }
            subjects.push(second);
        }
    }
    for work in &arguments.work {
        if work == "client" {
            let address = subjects[0].url.trim_start_matches("http://");
            clients::measure(address, arguments.clients, arguments.seconds, arguments.rounds)?;
        } else if work == "load" {
            for subject in &mut subjects {
                subject.load(arguments).await?;
            }
        } else {
            measure(work.parse()?, &mut subjects, arguments).await?;
        }
    }
    Ok(true)
}

/// Rounds in turn, and the ratio of the means.
async fn measure(work: Work, subjects: &mut [Subject], arguments: &Arguments) -> Result<()> {
    let mut sums = vec![(0.0, 0.0); subjects.len()];
    for _ in 0..arguments.rounds {
        for (subject, sum) in subjects.iter_mut().zip(&mut sums) {
            let round = subject.round(work, arguments).await?;
            sum.0 += round.throughput;
            sum.1 += round.cpu_micros;
        }
    }
    if let [first, second] = sums[..] {
        println!(
            "{:<17} {} / {}: cpu per operation {:.2}, throughput {:.2}",
            work.to_string(),
            subjects[0].name,
            subjects[1].name,
            first.1 / second.1,
            first.0 / second.0,
        );
    }
    Ok(())
}
