//! `check`: whether a cluster bears a load.

use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    go::quote::quote,
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
use tenure_client::{Client, Result, raw::etcdserverpb::DefragmentRequest};
use tokio::{task::JoinSet, time::sleep_until};

/// `check`.
pub static SPEC: Spec = Spec {
    words: "check <subcommand>",
    about: "Properties of the cluster: perf",
    group: Some(Group::Utility),
    commands: &[&PERF],
    ..Spec::EMPTY
};

static PERF: Spec = Spec {
    words: "perf [options]",
    about: "Checks how fast the cluster writes",
    long: "Writes for a minute as fast as a cluster of the given size should, and looks whether it keeps up: whether nine tenths of \
           the writes of each second are done, none takes longer than half a second, and they take about as long as each other. \
           The keys are deleted at the end. Sizes (clients, writes a second): s (50, 150), m (200, 1000), l (500, 8000), \
           xl (1000, 15000).",
    flags: &[
        Flag::new("load", Kind::Text, "size of the load: s(mall), m(edium), l(arge), xl(arge)").default("s"),
        Flag::new("prefix", Kind::Text, "what the keys begin with").default("/etcdctl-check-perf/"),
        Flag::new("auto-compact", Kind::Bool, "forget the history of the keys at the end"),
        Flag::new("auto-defrag", Kind::Bool, "give the disk space of the endpoints back at the end"),
    ],
    run: Some(perf),
    ..Spec::EMPTY
};

const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;

/// A load.
#[derive(Clone, Copy, Debug)]
struct Load {
    clients: usize,
    writes_per_second: u32,
    duration: Duration,
}

impl Load {
    fn of(name: &str) -> Result<Self, Failure> {
        let (clients, writes_per_second) = match name {
            "s" | "small" => (50, 150),
            "m" | "medium" => (200, 1_000),
            "l" | "large" => (500, 8_000),
            "xl" | "xLarge" => (1_000, 15_000),
            _ => return Err(Failure::new(Exit::BadFeature, format!("unknown load option {name}"))),
        };
        Ok(Load { clients, writes_per_second, duration: Duration::from_secs(60) })
    }
}

fn perf(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let load = Load::of(&call.text("load"))?;
        let prefix = call.text("prefix");
        let settings = call.settings()?;
        let first = settings.connect().await?;
        if first.get(&prefix).prefix().limit(1).keys_only().await?.count > 0 {
            let quoted = quote(prefix.as_bytes());
            let message =
                format!("prefix {quoted} has keys. Delete with 'etcdctl del --prefix {prefix}' first");
            return Err(Failure::new(Exit::InvalidInput, message));
        }
        let mut clients = vec![first.clone()];
        while clients.len() < load.clients {
            clients.push(settings.connect().await?);
        }
        let figures = measure(clients, &prefix, load).await;
        let deleted = first.delete(&prefix).prefix().await?;
        if call.flag("auto-compact") {
            let revision = deleted.header.revision;
            output::write(format!("Compacting with revision {revision}\n"))?;
            first.compact(revision).physical().await?;
            output::write(format!("Compacted with revision {revision}\n"))?;
        }
        if call.flag("auto-defrag") {
            for endpoint in &settings.endpoints {
                let quoted = quote(endpoint.as_bytes());
                output::write(format!("Defragmenting {quoted}\n"))?;
                settings.at(endpoint).connect().await?.raw().call(&DefragmentRequest {}).await?;
                output::write(format!("Defragmented {quoted}\n"))?;
            }
        }
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
        let mut key = prefix.clone();
        // Neighbours in time are none in the order of keys.
        key.extend_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        key.resize(prefix.len() + KEY_BYTES, 0);
        let sent = Instant::now();
        match client.put(key, value.clone()).await {
            Ok(_) => figures.latencies.push(sent.elapsed().as_secs_f64()),
            Err(error) => *figures.errors.entry(error.to_string()).or_default() += 1,
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
    let mut lines = Vec::new();
    let mut is_good = figures.errors.is_empty();
    if !is_good {
        lines.push("FAIL: too many errors".to_owned());
        lines.extend(figures.errors.iter().map(|(error, count)| format!("FAIL: ERROR({error}) -> {count}")));
    }
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
