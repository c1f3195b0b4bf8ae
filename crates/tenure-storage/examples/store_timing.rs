//! Times what the store is made for: appending, reading pages, restoring, giving room back.
//!
//! `cargo run --release -p tenure-storage --example store_timing -- DIRECTORY [RECORDS]` works in a fresh
//! directory of that name, which must not exist, and removes it again. Printed are wall time and, in
//! brackets, the time of the processors.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenure_core::state::{StateMachine, WriteBatch};
use tenure_core::types::{
    Change, KvBytes, LogIndex, Record, RecordRevision, RecordSource, Revision, Term, Version,
};
use tenure_storage::disk::OsDisk;
use tenure_storage::store::{ReclaimProgress, Store, StoreOptions, restore};

const VALUE_BYTES: usize = 256;
const PAGE: usize = 500;
const PAGES: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: store_timing DIRECTORY [RECORDS]")?;
    let records: i64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    std::fs::create_dir(&directory)?;
    let outcome = run(Path::new(&directory), records);
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn run(directory: &Path, records: i64) -> Result<(), Box<dyn Error>> {
    let open = || -> Result<_, Box<dyn Error>> {
        let disk = Arc::new(OsDisk::new(directory));
        Ok(Store::open(disk, Path::new("store"), StoreOptions::default())?)
    };
    let (store, _) = open()?;
    append(&store, records)?;
    let begun = Watch::start();
    store.checkpoint_begin().run()?;
    report("checkpoint", &begun.read(), 1);
    read(&store, records)?;
    drop(store);

    let begun = Watch::start();
    let (store, restored) = open()?;
    report("open", &begun.read(), 1);
    let begun = Watch::start();
    let scanned = store.scan(RecordRevision::default(), Revision(i64::MAX)).count();
    report("scan, a record", &begun.read(), scanned as u64);
    let begun = Watch::start();
    let mut state = StateMachine::default();
    restore(&store, &restored, &mut state)?;
    report("restore, a record", &begun.read(), restored.records);
    reclaim(&store, records)
}

fn append(store: &Store, records: i64) -> Result<(), Box<dyn Error>> {
    let mut spent = Spent::default();
    for mains in (2..records + 2).collect::<Vec<_>>().chunks(100) {
        let batches: Vec<WriteBatch> = mains.iter().map(|main| batch(*main)).collect();
        let begun = Watch::start();
        store.append_all(&batches)?;
        spent.add(begun.read());
    }
    report("append, a record", &spent, records as u64);
    Ok(())
}

fn batch(main: i64) -> WriteBatch {
    let mut batch = WriteBatch::new(LogIndex(main as u64), Term(1));
    let at = RecordRevision::first_of(Revision(main));
    let version = Version { at, created: at.main, version: 1 };
    // A multiplication by an odd number goes through all keys in an order without neighbours.
    let key = format!("/registry/pods/{:016x}", (main as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let kv = KvBytes::encode(key.as_bytes(), &version, &[b'v'; VALUE_BYTES], None);
    let key = bytes::Bytes::from(key).into();
    batch.records.push(Record { key, version, change: Change::Put { lease: None }, kv });
    batch
}

fn read(store: &Store, records: i64) -> Result<(), Box<dyn Error>> {
    let count = (PAGE * PAGES) as u64;
    let far = |index: u64| {
        let main = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) % records as u64 + 2;
        RecordRevision::first_of(Revision(main as i64))
    };
    let begun = Watch::start();
    for index in 0..count {
        store.record(far(index))?;
    }
    report("random read, a record", &begun.read(), count);
    let pages: Vec<u64> = (0..PAGES as u64).collect();
    let begun = Watch::start();
    for page in &pages {
        let at: Vec<_> = (0..PAGE as u64).map(|index| far(page * PAGE as u64 + index)).collect();
        store.records(&at)?;
    }
    report("page of 500 records far apart", &begun.read(), PAGES as u64);
    let begun = Watch::start();
    for page in &pages {
        let first = far(*page).main.0.min(records - PAGE as i64).max(2);
        let at: Vec<_> =
            (first..first + PAGE as i64).map(|main| RecordRevision::first_of(Revision(main))).collect();
        store.records(&at)?;
    }
    report("page of 500 neighbours", &begun.read(), PAGES as u64);
    Ok(())
}

fn reclaim(store: &Store, records: i64) -> Result<(), Box<dyn Error>> {
    let dead: Vec<_> = (2..records + 2)
        .filter(|main| main % 3 != 0)
        .map(|main| RecordRevision::first_of(Revision(main)))
        .collect();
    let begun = Watch::start();
    dead.chunks(1000).for_each(|step| store.mark_dead(step));
    report("mark dead, a record", &begun.read(), dead.len() as u64);
    store.checkpoint_begin().run()?;
    let before = store.sizes();
    let begun = Watch::start();
    let mut steps = 0;
    while store.reclaim_step()? != ReclaimProgress::Idle {
        steps += 1;
    }
    report("reclaim, a step", &begun.read(), steps);
    println!("{:>12} bytes before, {} bytes after", before.total_bytes, store.sizes().total_bytes);
    Ok(())
}

/// Wall time, and the time that the processors worked for this process, which tells more on a busy machine.
#[derive(Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    fn add(&mut self, other: Spent) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

struct Watch {
    begun: Instant,
    cpu: Duration,
}

impl Watch {
    fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu() }
    }

    fn read(&self) -> Spent {
        Spent { wall: self.begun.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

/// Processor time of all threads of the process; zero where the system does not say.
fn cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let statistics = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        statistics.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn report(what: &str, spent: &Spent, count: u64) {
    let wall_us = spent.wall.as_secs_f64() * 1e6 / count.max(1) as f64;
    let cpu_us = spent.cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!(
        "{wall_us:>12.2} us [{cpu_us:>10.2} us]  {what} ({count}, {:.3} s in all)",
        spent.wall.as_secs_f64()
    );
}
