//! client-bench CLIENT WORK ENDPOINT TASKS SECONDS: loads a server over one connection of one client, and prints one line:
//! operations per second, own cpu in microseconds an operation, median and 99th percentile in milliseconds.
//!
//! CLIENT is `tenure-client` or `etcd-client`, WORK is `put` or `get`. `cargo xtask bench --work client` runs it.

use std::{
    env,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const KEYS: usize = 10_000;
const VALUE: [u8; 256] = [b'v'; 256];
const WARM_UP: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One request, numbered.
trait Load: Clone + Send + Sync + 'static {
    fn put(&mut self, number: usize) -> impl Future<Output = Result<(), Failure>> + Send;
    fn get(&mut self, number: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

fn key(number: usize) -> String {
    format!("client-bench/{:08}", number % KEYS)
}

impl Load for tenure_client::Client {
    async fn put(&mut self, number: usize) -> Result<(), Failure> {
        tenure_client::Client::put(self, key(number), VALUE).await?;
        Ok(())
    }

    async fn get(&mut self, number: usize) -> Result<(), Failure> {
        let answer = tenure_client::Client::get(self, key(number)).await?;
        (answer.kvs.len() == 1).then_some(()).ok_or_else(|| "the key is not there".into())
    }
}

impl Load for etcd_client::Client {
    async fn put(&mut self, number: usize) -> Result<(), Failure> {
        etcd_client::Client::put(self, key(number), VALUE, None).await?;
        Ok(())
    }

    async fn get(&mut self, number: usize) -> Result<(), Failure> {
        let answer = etcd_client::Client::get(self, key(number), None).await?;
        (answer.kvs().len() == 1).then_some(()).ok_or_else(|| "the key is not there".into())
    }
}

/// Latencies of the requests that were answered while it was measured.
async fn work<L: Load>(
    mut load: L,
    is_put: bool,
    first: usize,
    step: usize,
    phase: Arc<Phase>,
) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::new();
    let mut number = first;
    while !phase.ended.load(Ordering::Relaxed) {
        let started = Instant::now();
        if is_put { load.put(number).await? } else { load.get(number).await? }
        if phase.measured.load(Ordering::Relaxed) {
            latencies.push(started.elapsed());
        }
        number += step;
    }
    Ok(latencies)
}

#[derive(Default)]
struct Phase {
    measured: AtomicBool,
    ended: AtomicBool,
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

async fn run<L: Load>(load: L, is_put: bool, tasks: usize, window: Duration) -> Result<(), Failure> {
    if !is_put {
        let mut filling = load.clone();
        for number in 0..KEYS {
            filling.put(number).await?;
        }
    }
    let phase = Arc::new(Phase::default());
    let running: Vec<_> =
        (0..tasks).map(|task| tokio::spawn(work(load.clone(), is_put, task, tasks, phase.clone()))).collect();
    tokio::time::sleep(WARM_UP).await;
    let (before, started) = (cpu(), Instant::now());
    phase.measured.store(true, Ordering::Relaxed);
    tokio::time::sleep(window).await;
    phase.measured.store(false, Ordering::Relaxed);
    let (spent, elapsed) = (cpu() - before, started.elapsed());
    phase.ended.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in running {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    let operations = latencies.len();
    let quantile = |share: f64| {
        let rank = ((operations as f64 * share) as usize).min(operations.saturating_sub(1));
        latencies.get(rank).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    println!(
        "{:.0} {:.2} {:.3} {:.3}",
        operations as f64 / elapsed.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / operations.max(1) as f64,
        quantile(0.5),
        quantile(0.99),
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [client, work, endpoint, tasks, seconds] = &arguments[..] else {
        return Err("client-bench CLIENT WORK ENDPOINT TASKS SECONDS".into());
    };
    let (tasks, window) = (tasks.parse()?, Duration::from_secs(seconds.parse()?));
    let is_put = match work.as_str() {
        "put" => true,
        "get" => false,
        other => return Err(format!("{other}: not put or get").into()),
    };
    match client.as_str() {
        "tenure-client" => {
            let client = tenure_client::Client::connect([endpoint.as_str()]).await?;
            run(client, is_put, tasks, window).await
        }
        "etcd-client" => {
            let client = etcd_client::Client::connect([endpoint.as_str()], None).await?;
            run(client, is_put, tasks, window).await
        }
        other => Err(format!("{other}: not tenure-client or etcd-client").into()),
    }
}
