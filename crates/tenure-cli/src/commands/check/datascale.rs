//! `check datascale`: how much memory a member takes for many keys.

use super::{AUTO_COMPACT, AUTO_DEFRAG, LOAD, Size, VALUE_BYTES, clean_up, error_lines, expect_no_keys, key};
use crate::{
    command_line::{Call, Flag, Kind, Pending, Spec},
    exit::{Exit, Failure, error_text},
    output,
    settings::Settings,
};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tenure_client::Client;
use tokio::{task::JoinSet, time::interval};

pub(super) static SPEC: Spec = Spec {
    words: "datascale [options]",
    about: "Checks how much memory a member takes for many keys",
    long: "Writes as many keys as a cluster of the given size holds, and tells by how much the memory of the first endpoint's process \
           grew meanwhile, after its metrics. The keys are deleted at the end. Sizes (clients, keys): s (50, 10000), \
           m (200, 100000), l (500, 1000000), xl (1000, 3000000).",
    flags: &[
        LOAD,
        Flag::new("prefix", Kind::Text, "what the keys begin with").default("/etcdctl-check-datascale/"),
        AUTO_COMPACT,
        AUTO_DEFRAG,
    ],
    run: Some(run),
    ..Spec::EMPTY
};

const KEY_BYTES: usize = 512;

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The metric that tells the memory of a process, in bytes.
const MEMORY: &str = "process_resident_memory_bytes";

fn keys(size: Size) -> u64 {
    match size {
        Size::Small => 10_000,
        Size::Medium => 100_000,
        Size::Large => 1_000_000,
        Size::ExtraLarge => 3_000_000,
    }
}

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let size = Size::of(call)?;
        let prefix = call.text("prefix");
        let settings = call.settings()?;
        let first = settings.connect().await?;
        expect_no_keys(&first, &prefix, &format!("etcdctl del --prefix {prefix}")).await?;
        let before = memory(&first, &settings, "before").await?;
        let (count, clients) = (keys(size), size.clients());
        output::write(format!(
            "Start data scale check for work load [{count} key-value pairs, {VALUE_BYTES} bytes per key-value, \
             {clients} concurrent clients].\n"
        ))?;
        let mut writers = vec![first.clone()];
        while writers.len() < clients {
            writers.push(settings.connect().await?);
        }
        let errors = write_all(writers, prefix.as_bytes(), count).await;
        let after = memory(&first, &settings, "after").await;
        clean_up(call, &settings, &prefix).await?;
        let after = after?;
        if !errors.is_empty() {
            output::write(error_lines(&errors).join("\n") + "\n")?;
            return Err(Failure::told(Exit::Error));
        }
        output::write(format!(
            "PASS: Approximate system memory used : {:.2} MB.\n",
            megabytes(after - before)
        ))
    })
}

fn megabytes(bytes: f64) -> f64 {
    bytes / (1024.0 * 1024.0)
}

/// The memory of the first endpoint's process in bytes. `when` is told if it cannot be had.
async fn memory(client: &Client, settings: &Settings, when: &str) -> Result<f64, Failure> {
    let endpoint = settings.endpoints.first().map(|name| settings.secure.endpoint(name)).unwrap_or_default();
    let metrics = client.maintenance().metrics(endpoint).await;
    let bytes = match &metrics {
        Ok(metrics) => figure(metrics, MEMORY),
        Err(error) => {
            output::write(format!("fetch error: {error}\n"))?;
            None
        }
    };
    match bytes {
        Some(bytes) => Ok(bytes),
        None => {
            output::write(format!("FAIL: Could not read {MEMORY} {when} the put operations.\n"))?;
            Err(Failure::told(Exit::Error))
        }
    }
}

/// The value of a metric without labels. 0 is no value: every process has some memory.
fn figure(metrics: &str, name: &str) -> Option<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok().filter(|value| *value > 0.0)
}

/// All clients write, each its next key when the one before is there. Answers what went wrong, and how often.
async fn write_all(clients: Vec<Client>, prefix: &[u8], count: u64) -> BTreeMap<String, u64> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for client in clients {
        writers.spawn(write(client, prefix.to_vec(), next.clone(), count));
    }
    let mut errors = BTreeMap::new();
    let mut ticks = interval(PROGRESS_INTERVAL);
    let is_seen = std::io::stderr().is_terminal();
    loop {
        tokio::select! {
            written = writers.join_next() => match written {
                Some(of_one) => of_one.unwrap_or_default().into_iter().for_each(|(error, times)| {
                    *errors.entry(error).or_default() += times;
                }),
                None => break,
            },
            _ = ticks.tick() => if is_seen {
                eprint!("\r{} of {count} keys", next.load(Ordering::Relaxed).min(count));
            },
        }
    }
    if is_seen {
        eprint!("\r{}\r", " ".repeat(32));
    }
    errors
}

async fn write(client: Client, prefix: Vec<u8>, next: Arc<AtomicU64>, count: u64) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    let value = vec![0; VALUE_BYTES];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return errors;
        }
        if let Err(error) = client.put(key(&prefix, number, KEY_BYTES), value.clone()).await {
            *errors.entry(error_text(&error)).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_found_among_the_metrics() {
        let metrics =
            "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 3.3570816e+07\n";
        assert_eq!(figure(metrics, MEMORY), Some(33_570_816.0));
        let others = ["", "process_resident_memory_bytes_max 5\n", "process_resident_memory_bytes x\n"];
        for none in others.into_iter().chain(["process_resident_memory_bytes 0\n"]) {
            assert_eq!(figure(none, MEMORY), None, "{none}");
        }
        assert_eq!(format!("{:.2}", megabytes(33_570_816.0)), "32.02");
    }
}
