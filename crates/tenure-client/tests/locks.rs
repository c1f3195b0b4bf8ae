//! Fifty who want one lock, on a server that is killed again and again: are there ever two holders?
//!
//! Every holder writes his fencing revision into a log, with the condition that he still holds the lock. Some forget to
//! unlock, some give up waiting, some die with the lock in hand, and some wires are cut or fall silent. In the end the history
//! of the store is read, every revision of it, and it must show that each write to the log came from whoever was first in line
//! at that revision, and that no holder wrote after a later one.
//!
//! `LOCKS_SECONDS` is how long it goes on (10), `LOCKS_SEED` repeats the choices of a run. `TENURE_TARGET` picks
//! a server; without it, it runs against `tenured` and against an etcd, as far as they are on this machine.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "suite/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the suite uses all of it")]
mod support;

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{Progress, Proxy, TestServer, config, eventually, target};
use tenure_client::{
    Client, EventKind, Op, Revision, Ttl,
    concurrency::{Mutex, MutexGuard, Session},
};
use tenure_harness::process::Target;
use tokio::{task::JoinSet, time::timeout};

const HOLDERS: u64 = 50;
/// Holders who share a session have to exclude each other as well.
const HOLDERS_PER_SESSION: u64 = 2;
/// Two servers' wires can be spoiled, two cannot.
const WIRES: usize = 4;
const SPOILT_WIRES: usize = 2;
/// How long nobody may get the lock, when nothing is spoiled any more.
const END: Duration = Duration::from_secs(90);

/// What has happened, for the report.
#[derive(Default)]
struct Counts {
    locked: AtomicU64,
    written: AtomicU64,
    /// The condition did not hold: the lock was lost.
    refused: AtomicU64,
    unknown: AtomicU64,
    gave_up: AtomicU64,
    forgotten: AtomicU64,
    died: AtomicU64,
    sessions: AtomicU64,
    kills: AtomicU64,
    cuts: AtomicU64,
}

impl Counts {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self, seconds: u64, seed: u64, target: Target) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{target}, {seconds} s, seed {seed}: {} locked, {} written, {} refused, {} unknown, {} gave up, {} forgotten, {} died, \
             {} sessions, {} kills, {} cuts",
            of(&self.locked),
            of(&self.written),
            of(&self.refused),
            of(&self.unknown),
            of(&self.gave_up),
            of(&self.forgotten),
            of(&self.died),
            of(&self.sessions),
            of(&self.kills),
            of(&self.cuts),
        )
    }
}

/// A time in which somebody was sure to hold the lock.
#[derive(Clone, Copy, Debug)]
struct Held {
    revision: Revision,
    from: Instant,
    to: Instant,
}

/// One of the fifty.
struct Holder {
    client: Client,
    session: Session,
    random: SmallRng,
    counts: Arc<Counts>,
    held: Vec<Held>,
    progress: Progress,
    /// Those who do not know that they are dead.
    ghosts: JoinSet<()>,
}

async fn open(client: &Client, ttl_seconds: i64, counts: &Counts) -> Session {
    let started = Instant::now();
    let session = loop {
        match Session::builder(client).ttl(Ttl::seconds(ttl_seconds)).open().await {
            Ok(session) => break session,
            Err(error) => assert!(started.elapsed() < END, "no session: {error}"),
        }
    };
    Counts::count(&counts.sessions);
    session
}

impl Holder {
    /// Takes the lock again and again, and in the end once more, when nothing is spoiled.
    async fn run(mut self, is_over: Arc<AtomicBool>) -> (Session, Vec<Held>) {
        while !is_over.load(Ordering::Relaxed) {
            let patience = if self.random.random_ratio(1, 10) { Duration::from_millis(50) } else { END };
            self.turn(patience, true).await;
        }
        while !self.turn(END, false).await {}
        self.ghosts.join_all().await;
        (self.session, self.held)
    }

    /// Whether the lock was held, and the log written.
    async fn turn(&mut self, patience: Duration, may_fail: bool) -> bool {
        let mutex = Mutex::new(&self.session, "lock");
        let guard = match timeout(patience, mutex.lock()).await {
            Ok(Ok(guard)) => guard,
            Ok(Err(_)) => {
                self.session = open(&self.client, self.random.random_range(2..4), &self.counts).await;
                return false;
            }
            Err(_) => {
                Counts::count(&self.counts.gave_up);
                return false;
            }
        };
        let from = Instant::now();
        Counts::count(&self.counts.locked);
        self.progress.step();
        let first = write(&self.client, &guard, &self.counts).await;
        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..10))).await;
        let is_written = [first, write(&self.client, &guard, &self.counts).await] == [Written::Yes; 2];
        match self.random.random_range(0..80) {
            0 if may_fail => {
                self.die(guard).await;
                return is_written;
            }
            1..5 if may_fail => {
                Counts::count(&self.counts.forgotten);
                self.note(&guard, from);
                drop(guard);
            }
            _ => {
                self.note(&guard, from);
                drop(guard.unlock().await);
            }
        }
        is_written
    }

    /// Nobody renews his lease, and nobody unlocks. But he goes on as if nothing was, until he is refused.
    async fn die(&mut self, guard: MutexGuard) {
        Counts::count(&self.counts.died);
        self.session.orphan();
        let (client, counts) = (self.client.clone(), self.counts.clone());
        self.ghosts.spawn(async move {
            while write(&client, &guard, &counts).await != Written::Refused {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        self.session = open(&self.client, self.random.random_range(2..4), &self.counts).await;
    }

    /// Whoever still knows nothing of a loss was the holder up to now.
    fn note(&mut self, guard: &MutexGuard, from: Instant) {
        let to = Instant::now();
        if guard.is_held() {
            self.held.push(Held { revision: guard.revision(), from, to });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    /// The condition did not hold.
    Refused,
    Unknown,
}

/// Writes the fencing revision into the log, if the lock is held.
async fn write(client: &Client, guard: &MutexGuard, counts: &Counts) -> Written {
    let put = Op::put("log", guard.revision().to_string());
    let (written, counter) = match client.txn().when([guard.owner_condition()]).and_then([put]).commit().await
    {
        Ok(response) if response.succeeded => (Written::Yes, &counts.written),
        Ok(_) => (Written::Refused, &counts.refused),
        Err(_) => (Written::Unknown, &counts.unknown),
    };
    Counts::count(counter);
    written
}

/// Kills the server again and again. In between there is time for leases to run out: a server that starts gives each its full
/// life again.
async fn kill(server: &mut TestServer, mut random: SmallRng, until: Instant, counts: &Counts) {
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(random.random_range(2500..6500))).await;
        server.as_process().kill().unwrap();
        Counts::count(&counts.kills);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        server.start_again().await;
    }
}

/// Cuts a wire again and again, and lets it fall silent, sometimes for longer than leases live.
async fn spoil(proxy: &Proxy, mut random: SmallRng, until: Instant, counts: &Counts) {
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..2000))).await;
        Counts::count(&counts.cuts);
        match random.random_range(0..6) {
            0 => proxy.silence(),
            1 => proxy.mute(),
            2 => proxy.down(),
            _ => proxy.cut(),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..5000) / random.random_range(1..20)))
            .await;
        proxy.cut();
        proxy.resume();
    }
}

/// The history of the store: who stood in line, and who wrote the log.
async fn check_history(client: &Client, written: u64) -> usize {
    let last = client.put("end", "").await.unwrap().header.revision;
    let mut changes = client.watch("").prefix().start_revision(1).await.unwrap();
    let mut line: BTreeMap<Revision, String> = BTreeMap::new();
    let mut writes: Vec<(Revision, Revision)> = Vec::new();
    'history: loop {
        let response = changes.next().await.unwrap().unwrap();
        for event in response.events {
            let (key, at) = (event.kv.key_text().into_owned(), event.kv.mod_revision);
            match (event.kind, key.strip_prefix("lock/")) {
                (EventKind::Put, Some(_)) => {
                    assert!(event.is_create(), "{key} was put twice, at {at}");
                    line.insert(event.kv.create_revision, key);
                }
                (EventKind::Delete, Some(_)) => line.retain(|_, place| *place != key),
                (EventKind::Put, None) if key == "log" => {
                    let fence: Revision = event.kv.value_text().parse().unwrap();
                    let first = line.first_key_value().map(|(created, _)| *created);
                    assert_eq!(first, Some(fence), "at {at} somebody wrote who was not first in line");
                    let before = writes.last().map_or(0, |write| write.1);
                    assert!(fence >= before, "at {at} {fence} wrote after {before}");
                    writes.push((at, fence));
                }
                _ => {}
            }
            if at == last {
                break 'history;
            }
        }
    }
    assert!(line.is_empty(), "keys that nobody stands for: {line:?}");
    assert!(writes.len() as u64 >= written, "{written} writes were acknowledged, {} are there", writes.len());
    writes.len()
}

/// What the holders saw: from lock to unlock, one after the other.
fn check_intervals(mut held: Vec<Held>) -> usize {
    held.sort_by_key(|held| held.revision);
    for pair in held.windows(2) {
        assert!(pair[0].revision < pair[1].revision, "two holders of one revision: {pair:?}");
        assert!(pair[0].to <= pair[1].from, "two holders at once: {pair:?}");
    }
    held.len()
}

async fn contend(target: Target) {
    let from_environment =
        |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seconds = from_environment("LOCKS_SECONDS").unwrap_or(10);
    let seed = from_environment("LOCKS_SEED").unwrap_or_else(rand::random);
    println!("{target}: seed {seed}");
    let Some(mut server) = TestServer::process(target, &[]).await else { return };
    let mut random = SmallRng::seed_from_u64(seed);
    let counts = Arc::new(Counts::default());
    let mut proxies = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..WIRES {
        let proxy = Proxy::to(server.endpoint()).await;
        clients.push(Client::connect(config(proxy.endpoint())).await.unwrap());
        proxies.push(proxy);
    }
    let (is_over, progress) = (Arc::new(AtomicBool::new(false)), Progress::with_patience(END));
    let mut holders = JoinSet::new();
    let mut session = open(&clients[0], 4, &counts).await;
    for number in 0..HOLDERS {
        let client = &clients[number as usize / 2 % WIRES];
        if number % HOLDERS_PER_SESSION == 0 {
            session = open(client, random.random_range(2..4), &counts).await;
        }
        let random = SmallRng::seed_from_u64(random.next_u64());
        let (client, session, counts) = (client.clone(), session.clone(), counts.clone());
        let (progress, held, ghosts) = (progress.clone(), Vec::new(), JoinSet::new());
        let holder = Holder { client, session, random, counts, held, progress, ghosts };
        holders.spawn(holder.run(is_over.clone()));
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut next_random = || SmallRng::seed_from_u64(random.next_u64());
    let killing = kill(&mut server, next_random(), until, &counts);
    let spoiling: Vec<_> =
        proxies[..SPOILT_WIRES].iter().map(|proxy| spoil(proxy, next_random(), until, &counts)).collect();
    tokio::join!(killing, futures::future::join_all(spoiling));
    is_over.store(true, Ordering::Relaxed);
    // Everybody gets the lock once more.
    let direct = server.client().await;
    let ended = progress.of(&direct, holders.join_all()).await;
    println!("{}", counts.report(seconds, seed, target));
    // All sessions live, and nobody holds or waits.
    eventually("the end of the line", async || {
        (direct.get("lock/").prefix().count_only().await.unwrap().count == 0).then_some(())
    })
    .await;
    let written = check_history(&direct, counts.written.load(Ordering::Relaxed)).await;
    let held = check_intervals(ended.into_iter().flat_map(|(_session, held)| held).collect());
    println!(
        "{target}: {written} writes, each by whoever was first in line; {held} times from lock to unlock, none at once"
    );
    // Otherwise nothing was tried.
    assert!(counts.kills.load(Ordering::Relaxed) > 0 && written as u64 > 2 * HOLDERS);
}

fn is_wanted(candidate: Target) -> bool {
    target().is_none_or(|target| target == candidate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_two_holders_on_tenured() {
    if is_wanted(Target::Tenured) {
        contend(Target::Tenured).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_two_holders_on_etcd() {
    let there = Target::ETCDS.into_iter().filter(|&target| is_wanted(target));
    match there.into_iter().find(|target| target.directory().is_some()) {
        Some(target) => contend(target).await,
        None => eprintln!("skipped: no etcd is on this machine, or another server is asked for"),
    }
}
