//! What those who watch, write, and hold leases and a lock are told when members stop, die or freeze. All of them go on: each watch
//! tells each change once and in order, no lease and no lock is lost, and no write is carried out twice.

use crate::support::{TestCluster, eventually, soon};
use futures::future::try_join_all;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tenure_client::{
    Client, ClientConfig, Error, LeaseKeeper, Op, Result, Revision, WatchStream,
    concurrency::{Mutex, MutexGuard, Session},
};
use tokio::{sync::watch, task::JoinHandle};

/// Writes that must be acknowledged between two things that happen.
const WRITES: usize = 30;

/// How long leases live. They are all renewed whenever a stream breaks; a member that has little of a processor takes its time for each.
const TTL: Duration = Duration::from_secs(60);

/// What goes on while something happens to members.
struct Load {
    client: Client,
    start: Revision,
    readers: Vec<JoinHandle<Vec<(Revision, String)>>>,
    keepers: Vec<LeaseKeeper>,
    guard: MutexGuard,
    acknowledged: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    writer: JoinHandle<Vec<String>>,
}

impl Load {
    /// So many watches and so many leases, a lock, and one who writes.
    async fn start(cluster: &TestCluster, client: Client, count: usize, ttl: Duration) -> Result<Self> {
        let start = client.put("k/first", "").await?.header.revision + 1;
        // Most watches begin now, and a member's now is what it has applied.
        cluster.level().await?;
        let watches = (0..count).map(async |number| match number % 4 {
            0 => client.watch("k/").prefix().await,
            1 => client.watch("k/").prefix().prev_kv().fragment().await,
            2 => client.watch("k/"..).require_leader(false).await,
            _ => client.watch("k/").prefix().start_revision(start).await,
        });
        let watches = try_join_all(watches).await?.into_iter();
        let leases = (0..count).map(async |_| {
            let granted = client.lease().grant(ttl).await?;
            client.put(format!("by-lease/{}", granted.id), "").lease(granted.id).await?;
            Ok::<_, Error>(granted.id)
        });
        let leases = try_join_all(leases).await?;
        // A leader of etcd 3.5.1 who has not applied a grant yet says of its lease that there is none.
        cluster.level().await?;
        let session = Session::builder(&client).ttl(ttl).open().await?;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = watch::channel(false);
        Ok(Load {
            start,
            readers: watches.map(|watch| tokio::spawn(read(watch))).collect(),
            keepers: try_join_all(leases.into_iter().map(async |id| client.lease().keep_alive(id).await))
                .await?,
            guard: Mutex::new(&session, "a-lock").lock().await?,
            writer: tokio::spawn(write(client.clone(), acknowledged.clone(), stopped)),
            acknowledged,
            stop,
            client,
        })
    }

    /// Work goes on.
    async fn goes_on(&self) {
        let before = self.acknowledged.load(Ordering::SeqCst);
        eventually("more writes", async || {
            (self.acknowledged.load(Ordering::SeqCst) >= before + WRITES).then_some(())
        })
        .await;
    }

    async fn end(self) -> Result<()> {
        self.stop.send_replace(true);
        let written = soon(self.writer).await.expect("it does not panic");
        eventually("the last write", async || self.client.put("k/last", "").await.ok()).await;
        let history = self.client.watch("k/").prefix().start_revision(self.start).await?;
        let history = soon(read(history)).await;
        for reader in self.readers {
            assert_eq!(
                soon(reader).await.expect("it does not panic"),
                history,
                "a watch tells what happened"
            );
        }
        let mut times = HashMap::new();
        for (_, key) in &history {
            *times.entry(key.clone()).or_insert(0) += 1;
        }
        assert!(times.values().all(|times| *times == 1), "a write was carried out twice");
        for key in written {
            assert!(times.contains_key(&key), "{key} was acknowledged and is missing");
        }
        for keeper in &self.keepers {
            assert!(!keeper.is_lost(), "{}", keeper.lost().await);
        }
        let leased = self.client.get("by-lease/").prefix().count_only().await?.count;
        assert_eq!(leased, self.keepers.len() as u64);
        assert!(self.guard.is_held());
        let proof = self.client.txn().when([self.guard.owner_condition()]).and_then([Op::put("proof", "")]);
        assert!(proof.commit().await?.succeeded);
        Ok(())
    }
}

/// Everything that a watch tells, up to the last write.
async fn read(mut watch: WatchStream) -> Vec<(Revision, String)> {
    let mut told = Vec::new();
    loop {
        for event in watch.next().await.expect("it goes on").expect("it does not fail").events {
            told.push((event.kv.mod_revision, event.kv.key_text().into_owned()));
            if event.kv.key == "k/last" {
                return told;
            }
        }
    }
}

/// Writes keys, each once, until told to stop: those that were acknowledged.
async fn write(
    client: Client,
    acknowledged: Arc<AtomicUsize>,
    stopped: watch::Receiver<bool>,
) -> Vec<String> {
    let mut written = Vec::new();
    for number in 0.. {
        if *stopped.borrow() {
            break;
        }
        let key = format!("k/{number}");
        if client.put(&key, "").await.is_ok() {
            written.push(key);
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_nobody_anything() {
    let Some(mut cluster) = TestCluster::start(3).await else { return };
    let load = Load::start(&cluster, cluster.client().await, 100, TTL).await.unwrap();
    for member in 0..3 {
        cluster.member(member).terminate().await.unwrap();
        load.goes_on().await;
        cluster.member(member).start_again().await.unwrap();
        load.goes_on().await;
    }
    load.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_costs_nobody_anything() {
    let Some(mut cluster) = TestCluster::start(3).await else { return };
    let load = Load::start(&cluster, cluster.client().await, 20, TTL).await.unwrap();
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.member(leader).kill().unwrap();
        load.goes_on().await;
        cluster.member(leader).start_again().await.unwrap();
        load.goes_on().await;
    }
    load.end().await.unwrap();
}

/// A frozen member's connections live, and say nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_frozen_costs_nobody_anything() {
    let Some(mut cluster) = TestCluster::start(3).await else { return };
    let config = ClientConfig::new(cluster.endpoints());
    let config = config.keep_alive(Duration::from_secs(10), Duration::from_secs(1));
    let client = Client::connect(config).await.unwrap();
    let load = Load::start(&cluster, client, 20, TTL).await.unwrap();
    let leader = cluster.leader().await;
    cluster.member(leader).freeze().unwrap();
    load.goes_on().await;
    cluster.member(leader).thaw().unwrap();
    load.goes_on().await;
    load.end().await.unwrap();
}
