//! What is measured: a cluster that is started for it, or a server that runs.

use super::{
    Arguments,
    load::{self, Done, Phase, Plan, Work},
    login,
};
use anyhow::{Context, Result, ensure};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tenure_harness::{cluster::Cluster, http, process::cpu_time};

/// Which members the clients are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// All of them, each as often.
    All,
    /// The one that leads.
    Leader,
}

/// A cluster or a server that is measured.
pub struct Subject {
    pub name: String,
    /// `None` if it runs elsewhere.
    pub cluster: Option<Cluster>,
    endpoint: String,
    filled: bool,
    token: Option<String>,
    _directory: Option<TempDir>,
}

/// What one round said.
#[derive(Clone, Copy)]
pub struct Round {
    pub throughput: f64,
    pub cpu_micros: f64,
    pub median_millis: f64,
    pub p99_millis: f64,
}

impl Round {
    /// Of each figure the one in the middle.
    pub fn median(rounds: &[Round]) -> Round {
        let median = |figure: fn(&Round) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_unstable_by(f64::total_cmp);
            let upper = figures.len() / 2;
            if figures.len() % 2 == 1 { figures[upper] } else { (figures[upper - 1] + figures[upper]) / 2.0 }
        };
        Round {
            throughput: median(|round| round.throughput),
            cpu_micros: median(|round| round.cpu_micros),
            median_millis: median(|round| round.median_millis),
            p99_millis: median(|round| round.p99_millis),
        }
    }
}

impl Subject {
    pub async fn start(program: &Path, flags: &[String], arguments: &Arguments) -> Result<Self> {
        let directory = match &arguments.directory {
            Some(parent) => TempDir::new_in(parent)?,
            None => TempDir::new()?,
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let cluster = Cluster::start(program, directory.path(), arguments.members, &flags).await?;
        cluster.leader().await?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            name,
            endpoint: cluster.members[0].url(),
            cluster: Some(cluster),
            filled: false,
            token: None,
            _directory: Some(directory),
        })
    }

    pub fn running(url: &str) -> Self {
        Self {
            name: "endpoint".to_owned(),
            cluster: None,
            endpoint: url.to_owned(),
            filled: false,
            token: None,
            _directory: None,
        }
    }

    /// Switches authentication on; the clients are a user who may do everything to the keys of the bench.
    pub async fn authenticate(&mut self) -> Result<()> {
        let channel = load::connect(std::slice::from_ref(&self.endpoint), 1).await?.remove(0);
        login::enable(&channel).await?;
        self.token = Some(login::log_in(&channel, "user-0", "password-0").await?);
        self.name.push_str(" (auth)");
        Ok(())
    }

    /// Where clients connect.
    pub async fn urls(&self, spread: Spread) -> Result<Vec<String>> {
        let Some(cluster) = &self.cluster else { return Ok(vec![self.endpoint.clone()]) };
        Ok(match spread {
            Spread::All => cluster.members.iter().map(|member| member.url()).collect(),
            Spread::Leader => vec![cluster.members[cluster.leader().await?].url()],
        })
    }

    /// User and system time of all members together.
    pub async fn cpu(&self) -> Result<Duration> {
        match &self.cluster {
            Some(cluster) => cluster.members.iter().map(|member| member.cpu_time()).sum(),
            None => Ok(Duration::from_secs_f64(self.sample("process_cpu_seconds_total").await?)),
        }
    }

    /// Of all members together.
    pub async fn resident_bytes(&self) -> Result<f64> {
        match &self.cluster {
            Some(cluster) => {
                let bytes: Result<u64> = cluster.members.iter().map(|member| member.resident_bytes()).sum();
                Ok(bytes? as f64)
            }
            None => self.sample("process_resident_memory_bytes").await,
        }
    }

    async fn sample(&self, name: &str) -> Result<f64> {
        let address = self.endpoint.trim_start_matches("http://");
        let body = http::request(address, "GET", "/metrics").await?.body;
        let body = String::from_utf8_lossy(&body).into_owned();
        let line = body.lines().find(|line| line.split(' ').next() == Some(name));
        let value =
            line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("{name} is not told"))?;
        Ok(value.parse()?)
    }

    /// Loads the keys, once.
    pub async fn fill(&mut self, arguments: &Arguments) -> Result<()> {
        if !self.filled {
            let urls = self.urls(Spread::Leader).await?;
            load::fill(&urls, arguments.keys, arguments.value_bytes, self.token.as_deref()).await?;
            self.filled = true;
        }
        Ok(())
    }

    pub async fn round(&mut self, work: Work, arguments: &Arguments) -> Result<Round> {
        if matches!(work, Work::Get | Work::GetSerializable | Work::Range | Work::Mixed | Work::Txn) {
            self.fill(arguments).await?;
        }
        let plan = Plan {
            // A page of a large keyspace can take etcd a third of a second.
            clients: if work == Work::Range { arguments.clients.min(16) } else { arguments.clients },
            connections: arguments.connections,
            value_bytes: arguments.value_bytes,
            window: Duration::from_secs(arguments.seconds),
            keys: arguments.keys,
            watchers: arguments.watchers,
            token: self.token.clone(),
        };
        let channels = load::connect(&self.urls(arguments.spread).await?, plan.connections).await?;
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
        let milliseconds = |share: f64| done.latencies.quantile(share).as_secs_f64() * 1e3;
        let round = Round {
            throughput: done.operations as f64 / elapsed.as_secs_f64(),
            cpu_micros: each(cpu),
            median_millis: milliseconds(0.5),
            p99_millis: milliseconds(0.99),
        };
        println!(
            "{:<17} {:<14} {:>10.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms  p99.9 {:>8.2} ms  cpu {:>9.2} us/op  \
             resident {:>5.0} MB  (clients {:.1} us/op)",
            work.to_string(),
            self.name,
            round.throughput,
            round.median_millis,
            round.p99_millis,
            milliseconds(0.999),
            round.cpu_micros,
            self.resident_bytes().await? / 1e6,
            each(own),
        );
        Ok(round)
    }

    /// Loads the keys, then says how much memory they take, and how long a restart of the first member after SIGKILL is, twice.
    pub async fn load(&mut self, arguments: &Arguments) -> Result<()> {
        let (started, cpu) = (Instant::now(), self.cpu().await?);
        self.fill(arguments).await?;
        let cpu = self.cpu().await?.saturating_sub(cpu);
        println!(
            "load              {:<14} {} keys of {} B in {:.1} s, cpu {:.2} us/key, resident {:.0} MB",
            self.name,
            arguments.keys,
            arguments.value_bytes,
            started.elapsed().as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / arguments.keys as f64,
            self.resident_bytes().await? / 1e6,
        );
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let server = &mut cluster.members[0];
        for _ in 0..2 {
            server.kill()?;
            server.start_again().await?;
            println!(
                "restart           {:<14} first linearizable read {:.2} s after the start, cpu {:.2} s, resident {:.0} MB",
                self.name,
                server.ready_after.as_secs_f64(),
                server.cpu_time()?.as_secs_f64(),
                server.resident_bytes()? as f64 / 1e6,
            );
        }
        Ok(())
    }
}
