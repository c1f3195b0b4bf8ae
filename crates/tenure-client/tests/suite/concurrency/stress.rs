//! Everything at once, with a server that stands still again and again: whoever waits for something gets it.
//!
//! All work in their own time, which a seed decides together with the scheduler; many give up while they wait. Of every kind somebody
//! must get on as long as the server does. `STRESS_SECONDS` is how long it goes on (3), `STRESS_SEED` repeats the choices of a run.

use super::{line, places};
use crate::support::{Progress, TestServer, eventually};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tenure_client::{
    Error, Kv,
    concurrency::{DoubleBarrier, Mutex, Queue, RwMutex, Session},
    leasing::LeasingKv,
};
use tenure_harness::process::Target;
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

/// Those who contend for one thing.
const CONTENDERS: u64 = 6;
const BARRIER_COUNT: usize = 3;

/// One who contends.
struct Contender {
    random: SmallRng,
    is_over: Arc<AtomicBool>,
    progress: Progress,
}

impl Contender {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Lets others run, for more or less long.
    async fn pause(&mut self) {
        match self.random.random_range(0..4) {
            0 => {}
            1 => sleep(Duration::from_micros(self.random.random_range(0..3000))).await,
            _ => {
                for _ in 0..self.random.random_range(0..8) {
                    yield_now().await;
                }
            }
        }
    }

    /// Waits, or gives up after a while of any length.
    async fn patiently<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        if self.random.random_ratio(2, 3) {
            return Some(what.await);
        }
        let patience = Duration::from_micros(self.random.random_range(0..30_000));
        timeout(patience, what).await.ok()
    }
}

/// What goes through the queue.
#[derive(Default)]
struct Goods {
    put: AtomicU64,
    taken: parking_lot::Mutex<BTreeSet<u64>>,
}

/// A server, and all who contend for things in its store.
struct Arena {
    server: TestServer,
    random: SmallRng,
    is_over: Arc<AtomicBool>,
}

impl Arena {
    fn contender(&mut self, progress: &Progress) -> Contender {
        let random = SmallRng::seed_from_u64(self.random.random());
        Contender { random, is_over: self.is_over.clone(), progress: progress.clone() }
    }

    async fn session(&self) -> Session {
        let client = self.server.client().await;
        Session::builder(&client).ttl(Duration::from_secs(60)).open().await.unwrap()
    }

    async fn mutex(&mut self, progress: &Progress) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let inside = Arc::new(AtomicUsize::new(0));
        for _ in 0..CONTENDERS / 2 {
            let mutex = Mutex::new(&self.session().await, "mutex");
            for _ in 0..2 {
                let (mut me, mutex, inside) = (self.contender(progress), mutex.clone(), inside.clone());
                tasks.spawn(async move {
                    while me.goes_on() {
                        if let Some(guard) = me.patiently(mutex.lock()).await {
                            let guard = guard.unwrap();
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            me.progress.step();
                            me.pause().await;
                            assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                            drop(me.patiently(guard.unlock()).await);
                        }
                    }
                });
            }
        }
        tasks
    }

    async fn rw_mutex(&mut self, progress: &Progress) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        // Below zero with a writer inside.
        let inside = Arc::new(AtomicI64::new(0));
        for number in 0..CONTENDERS {
            let lock = RwMutex::new(&self.session().await, "table");
            let (mut me, inside) = (self.contender(progress), inside.clone());
            let (is_writer, weight) = if number % 2 == 0 { (true, -1000) } else { (false, 1) };
            tasks.spawn(async move {
                while me.goes_on() {
                    let locked = if is_writer {
                        me.patiently(lock.write()).await
                    } else {
                        me.patiently(lock.read()).await
                    };
                    if let Some(guard) = locked {
                        let guard = guard.unwrap();
                        let before = inside.fetch_add(weight, Ordering::SeqCst);
                        assert!(before == 0 || before > 0 && !is_writer, "{before} inside");
                        me.progress.step();
                        me.pause().await;
                        inside.fetch_sub(weight, Ordering::SeqCst);
                        drop(me.patiently(guard.unlock()).await);
                    }
                }
            });
        }
        tasks
    }

    /// Each value comes from a single one who puts, and what is given up goes to somebody else of the same queue.
    async fn queue(&mut self, progress: &Progress, goods: &Arc<Goods>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let queue = Queue::new(&self.server.client().await, "queue");
        for _ in 0..CONTENDERS {
            let (mut me, queue, goods) = (self.contender(progress), queue.clone(), goods.clone());
            tasks.spawn(async move {
                loop {
                    if let Some(value) = me.patiently(queue.dequeue()).await {
                        let value: u64 = String::from_utf8_lossy(&value.unwrap()).parse().unwrap();
                        if value == u64::MAX {
                            return;
                        }
                        assert!(goods.taken.lock().insert(value), "{value} was taken twice");
                        me.progress.step();
                    }
                }
            });
        }
        let (mut me, queue) = (self.contender(progress), Queue::new(&self.server.client().await, "queue"));
        let goods = goods.clone();
        tasks.spawn(async move {
            while me.goes_on() {
                me.pause().await;
                queue.enqueue(goods.put.fetch_add(1, Ordering::SeqCst).to_string()).await.unwrap();
            }
            for _ in 0..CONTENDERS {
                queue.enqueue(u64::MAX.to_string()).await.unwrap();
            }
        });
        tasks
    }

    /// The rounds go on until all are told together, inside, that it is over.
    async fn barrier(&mut self, progress: &Progress) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let ends = Arc::new(AtomicUsize::new(usize::MAX));
        for _ in 0..BARRIER_COUNT {
            let barrier = DoubleBarrier::new(&self.session().await, "barrier", BARRIER_COUNT);
            let (mut me, ends) = (self.contender(progress), ends.clone());
            tasks.spawn(async move {
                for round in 0.. {
                    let inside = loop {
                        match barrier.enter().await {
                            Err(Error::TooManyClients) => me.pause().await,
                            inside => break inside.unwrap(),
                        }
                    };
                    me.progress.step();
                    if !me.goes_on() {
                        // Nobody looks before all have left.
                        ends.store(round, Ordering::SeqCst);
                    }
                    me.pause().await;
                    inside.leave().await.unwrap();
                    if ends.load(Ordering::SeqCst) == round {
                        return;
                    }
                }
            });
        }
        tasks
    }

    async fn leasing(&mut self, progress: &Progress) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..CONTENDERS / 2 {
            let client = self.server.client().await;
            let kv = LeasingKv::builder(&client, "owners/").ttl(Duration::from_secs(60));
            let kv = kv.rest(Duration::from_millis(20)).open().await.unwrap();
            for _ in 0..2 {
                let (mut me, kv) = (self.contender(progress), kv.clone());
                tasks.spawn(async move {
                    while me.goes_on() {
                        let key = format!("data/{}", me.random.random_range(0..3));
                        let what = me.random.random_range(0..8);
                        let step = async {
                            match what {
                                0..4 => kv.get(&key).await.map(drop),
                                4..7 => kv.put(&key, "v").await.map(drop),
                                _ => kv.delete("data/0").range_end("data/2").await.map(drop),
                            }
                        };
                        if let Some(done) = me.patiently(step).await {
                            done.unwrap();
                            me.progress.step();
                        }
                    }
                });
            }
        }
        tasks
    }

    /// Has the server stand still again and again, never long enough for anybody to believe that it is gone.
    async fn hold_up(&mut self, until: Instant) {
        while Instant::now() < until {
            sleep(Duration::from_millis(self.random.random_range(20..400))).await;
            self.server.as_process().freeze().unwrap();
            let frozen = self.random.random_range(1..40) << self.random.random_range(0..6);
            sleep(Duration::from_millis(frozen)).await;
            self.server.as_process().thaw().unwrap();
        }
        self.is_over.store(true, Ordering::SeqCst);
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_gets_on_though_the_server_stands_still_again_and_again() {
    let seconds = from_environment("STRESS_SECONDS").unwrap_or(3);
    let seed = from_environment("STRESS_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let Some(server) = TestServer::process(Target::Tenured, &[]).await else { return };
    let observer = server.client().await;
    let mut arena = Arena { server, random: SmallRng::seed_from_u64(seed), is_over: Arc::default() };
    let goods = Arc::<Goods>::default();
    let progress: [Progress; 5] = Default::default();
    let mutex = arena.mutex(&progress[0]).await;
    let rw_mutex = arena.rw_mutex(&progress[1]).await;
    let queue = arena.queue(&progress[2], &goods).await;
    let barrier = arena.barrier(&progress[3]).await;
    let leasing = arena.leasing(&progress[4]).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    tokio::join!(
        progress[0].of(&observer, mutex.join_all()),
        progress[1].of(&observer, rw_mutex.join_all()),
        progress[2].of(&observer, queue.join_all()),
        progress[3].of(&observer, barrier.join_all()),
        progress[4].of(&observer, leasing.join_all()),
        arena.hold_up(until),
    );
    for prefix in ["mutex/", "table/", "barrier/"] {
        eventually("the end of the line", async || line(&observer, prefix).await.is_empty().then_some(()))
            .await;
    }
    // What was taken for one who gave up in the end goes back.
    eventually("every value", async || {
        let taken = goods.taken.lock().len() as u64;
        (taken + places(&observer, "queue/").await >= goods.put.load(Ordering::SeqCst)).then_some(())
    })
    .await;
}
