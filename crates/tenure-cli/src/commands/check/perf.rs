//! `check perf`: whether a cluster writes as fast as it should.

use super::{AUTO_COMPACT, AUTO_DEFRAG, LOAD, Size, VALUE_BYTES, clean_up, error_lines, expect_no_keys, key};
use crate::{
    command_line::{Call, Flag, Kind, Pending, Spec},
    exit::{Exit, Failure, error_text},
    output,
};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tenure_client::Client;
use tokio::{task::JoinSet, time::sleep_until};

pub(super) static SPEC: Spec = Spec {
    words: "perf [options]",
    about: "Checks how fast the cluster writes",
    long: "Writes for a minute as fast as a cluster of the given size should, and looks whether it keeps up: whether nine tenths of \
           the writes of each second are done, none takes longer than half a second, and they take about as long as each other. \
           The keys are deleted at the end. Sizes (clients, writes a second): s (50, 150), m (200, 1000), l (500, 8000), \
           xl (1000, 15000).",
    flags: &[
        LOAD,
        Flag::new("prefix", Kind::Text, "what the keys begin with").default("/etcdctl-check-perf/"),
        AUTO_COMPACT,
        AUTO_DEFRAG,
    ],
    run: Some(run),
    ..Spec::EMPTY
};

const KEY_BYTES: usize = 256;

/// A load.
#[derive(Clone, Copy, Debug)]
struct Load {
    clients: usize,
    writes_per_second: u32,
    duration: Duration,
}

impl Load {
    fn of(size: Size) -> Self {
        let writes_per_second = match size {
            Size::Small => 150,
            Size::Medium => 1_000,
            Size::Large => 8_000,
            Size::ExtraLarge => 15_000,
        };
        Load { clients: size.clients(), writes_per_second, duration: Duration::from_secs(60) }
    }
}

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let load = Load::of(Size::of(call)?);
        let prefix = call.text("prefix");
        let settings = call.settings()?;
        let first = settings.connect().await?;
        expect_no_keys(&first, &prefix, &format!("'etcdctl del --prefix {prefix}'")).await?;
        let mut clients = vec![first];
        while clients.len() < load.clients {
            clients.push(settings.connect().await?);
        }
        let figures = measure(clients, &prefix, load).await;
        clean_up(call, &settings, &prefix).await?;
        let (lines, is_good) = verdict(&figures, load.writes_per_second);
        output::write(lines.join("\n") + "\n")?;
        if is_good { Ok(()) } else { Err(Failure::told(Exit::Error)) }
    })
}

/// What was measured.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// How long each write took, in seconds.
    latencies: Vec<f64>,
    errors: BTreeMap<String, u64>,
    /// From the first write to the last answer, in seconds.
    total: f64,
}

/// Every client writes what is due next, so the load is as even as the clients are fast.
async fn measure(clients: Vec<Client>, prefix: &str, load: Load) -> Figures {
    let (number, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let mut writers = JoinSet::new();
    for client in clients {
        writers.spawn(write(client, prefix.as_bytes().to_vec(), load, number.clone(), start));
    }
    let mut figures = Figures::default();
    let telling = tell_progress(load.duration);
    tokio::pin!(telling);
    loop {
        let written = tokio::select! {
            written = writers.join_next() => written,
            () = &mut telling => unreachable!("it goes on until it is dropped"),
        };
        let Some(written) = written else { break };
        let of_one = written.unwrap_or_default();
        figures.latencies.extend(of_one.latencies);
        for (error, count) in of_one.errors {
            *figures.errors.entry(error).or_default() += count;
        }
    }
    figures.total = start.elapsed().as_secs_f64();
    figures
}

async fn write(client: Client, prefix: Vec<u8>, load: Load, next: Arc<AtomicU64>, start: Instant) -> Figures {
    let mut figures = Figures::default();
    let value = vec![0; VALUE_BYTES];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a minute has no 2^52 writes")]
        let due = Duration::from_secs_f64(number as f64 / f64::from(load.writes_per_second));
        if due.max(start.elapsed()) >= load.duration {
            return figures;
        }
        sleep_until((start + due).into()).await;
        let key = key(&prefix, number, KEY_BYTES);
        let sent = Instant::now();
        match client.put(key, value.clone()).await {
            Ok(_) => figures.latencies.push(sent.elapsed().as_secs_f64()),
            Err(error) => *figures.errors.entry(error_text(&error)).or_default() += 1,
        }
    }
}

/// Who looks at a terminal sees how far it is.
async fn tell_progress(duration: Duration) {
    let start = Instant::now();
    let is_seen = std::io::stderr().is_terminal();
    loop {
        let seconds = start.elapsed().as_secs();
        if is_seen {
            eprint!("\r{seconds} of {} s", duration.as_secs());
        }
        sleep_until((start + Duration::from_secs(seconds + 1)).into()).await;
        if is_seen && start.elapsed() >= duration {
            eprint!("\r                \r");
        }
    }
}

/// What to say of it, and whether it is good.
#[expect(clippy::cast_precision_loss, reason = "a minute has no 2^52 writes")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]
fn verdict(figures: &Figures, wanted_per_second: u32) -> (Vec<String>, bool) {
    let mut lines = error_lines(&figures.errors);
    let mut is_good = lines.is_empty();
    let count = figures.latencies.len() as f64;
    let per_second = if figures.total > 0.0 { count / figures.total } else { 0.0 };
    let shown = per_second as u64 + 1;
    if per_second / f64::from(wanted_per_second) <= 0.9 {
        lines.push(format!("FAIL: Throughput too low: {shown} writes/s"));
        is_good = false;
    } else {
        lines.push(format!("PASS: Throughput is {shown} writes/s"));
    }
    let slowest = figures.latencies.iter().copied().fold(0.0, f64::max);
    if slowest > 0.5 {
        lines.push(format!("Slowest request took too long: {slowest:.6}s"));
        is_good = false;
    } else {
        lines.push(format!("PASS: Slowest request took {slowest:.6}s"));
    }
    let mean = figures.latencies.iter().sum::<f64>() / count.max(1.0);
    let squares = figures.latencies.iter().map(|latency| (latency - mean).powi(2)).sum::<f64>();
    let deviation = (squares / count.max(1.0)).sqrt();
    if deviation > 0.1 {
        lines.push(format!("Stddev too high: {deviation:.6}s"));
        is_good = false;
    } else {
        lines.push(format!("PASS: Stddev is {deviation:.6}s"));
    }
    lines.push(if is_good { "PASS" } else { "FAIL" }.to_owned());
    (lines, is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_keeps_up_passes() {
        let figures = Figures { latencies: vec![0.01; 9_000], total: 60.0, ..Figures::default() };
        let expected = [
            "PASS: Throughput is 151 writes/s",
            "PASS: Slowest request took 0.010000s",
            "PASS: Stddev is 0.000000s",
            "PASS",
        ];
        assert_eq!(verdict(&figures, 150), (expected.map(str::to_owned).to_vec(), true));
    }

    #[test]
    fn each_fault_is_told() {
        let mut figures = Figures { latencies: vec![0.01, 0.61], total: 60.0, ..Figures::default() };
        figures.errors.insert("boom".to_owned(), 3);
        let expected = [
            "FAIL: too many errors",
            "FAIL: ERROR(boom) -> 3",
            "FAIL: Throughput too low: 1 writes/s",
            "Slowest request took too long: 0.610000s",
            "Stddev too high: 0.300000s",
            "FAIL",
        ];
        assert_eq!(verdict(&figures, 150), (expected.map(str::to_owned).to_vec(), false));
        assert!(!verdict(&Figures::default(), 150).1, "nothing written is no pass");
    }
}
