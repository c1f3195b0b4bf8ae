//! Transactional memory.

use crate::support::{Progress, Proxy, TestServer, config, soon};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::time::Duration;
use tenure_client::{
    Client, Error, EtcdError, Kv, LeaseId, Op, OpResponse, Result,
    concurrency::{Isolation, Stm, StmTxn},
};
use tokio::task::JoinSet;

const LEVELS: [Isolation; 4] = [
    Isolation::SerializableSnapshot,
    Isolation::Serializable,
    Isolation::RepeatableReads,
    Isolation::ReadCommitted,
];

fn number(value: Option<Bytes>) -> i64 {
    value.map_or(0, |text| String::from_utf8_lossy(&text).parse().unwrap())
}

async fn value(client: &Client, key: &str) -> String {
    client.get(key).await.unwrap().first().map_or("none".into(), |pair| pair.value_text().into_owned())
}

async fn put_all(client: &Client, pairs: &[(&str, &str)]) {
    client.txn().and_then(pairs.iter().map(|&(key, value)| Op::put(key, value))).commit().await.unwrap();
}

#[tokio::test]
async fn what_a_transaction_writes_it_reads_and_nobody_else_until_it_commits() {
    let server = TestServer::start().await;
    let client = server.client().await;
    put_all(&client, &[("a", "1"), ("b", "2")]).await;
    let before = client.get("a").await.unwrap().kvs[0].mod_revision;
    for (round, level) in LEVELS.into_iter().enumerate() {
        put_all(&client, &[("a", "1"), ("b", "2")]).await;
        client.delete("c").await.unwrap();
        let done = Stm::new(&client)
            .isolation(level)
            .run(async |txn| {
                let read = txn.values(["a", "b", "c", "a"]).await?;
                assert_eq!(read, [Some("1".into()), Some("2".into()), None, Some("1".into())]);
                txn.put("a", "10");
                txn.del("b");
                txn.put("c", "30");
                assert_eq!(txn.get("a").await?.unwrap(), "10");
                assert_eq!(txn.get("b").await?, None);
                assert_eq!(txn.values(["c", "a"]).await?, [Some("30".into()), Some("10".into())]);
                assert!(txn.rev("a").await? > before);
                assert_eq!(txn.rev("c").await?, 0);
                assert_eq!((value(&client, "a").await, value(&client, "b").await), ("1".into(), "2".into()));
                Ok::<_, Error>(round)
            })
            .await
            .unwrap();
        assert_eq!((done.value, done.attempts), (round, 1));
        let after = client.get("").prefix().await.unwrap();
        let pairs: Vec<_> = after.kvs.iter().map(|pair| (pair.key_text(), pair.value_text())).collect();
        assert_eq!(pairs, [("a".into(), "10".into()), ("c".into(), "30".into())], "{level:?}");
        assert!(after.kvs.iter().all(|pair| pair.mod_revision == done.response.header.revision));
    }
}

#[tokio::test]
async fn a_transaction_that_returns_an_error_writes_nothing() {
    #[derive(Debug)]
    enum Refusal {
        TooPoor { has: i64 },
        Etcd(Error),
    }
    impl From<Error> for Refusal {
        fn from(error: Error) -> Self {
            Refusal::Etcd(error)
        }
    }
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("purse", "5").await.unwrap();
    let refused = Stm::new(&client)
        .run(async |txn| {
            let has = number(txn.get("purse").await?);
            txn.put("purse", (has - 10).to_string());
            if has < 10 { Err(Refusal::TooPoor { has }) } else { Ok(()) }
        })
        .await;
    assert!(matches!(refused, Err(Refusal::TooPoor { has: 5 })), "{refused:?}");
    assert_eq!(value(&client, "purse").await, "5");
    let refused = Stm::new(&client)
        .run(async |txn: &mut StmTxn<'_>| {
            txn.put_with_lease("purse", "0", LeaseId(7777));
            Ok::<_, Refusal>(())
        })
        .await;
    assert!(
        matches!(&refused, Err(Refusal::Etcd(error)) if error.is(EtcdError::LeaseNotFound)),
        "{refused:?}"
    );
    let refused = Stm::new(&client).run(async |txn: &mut StmTxn<'_>| txn.get("").await).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(value(&client, "purse").await, "5");
}

/// Runs a transaction that reads `x` then `y`, while somebody changes both between the two reads, and writes what it has seen.
/// Tells what each run has seen.
async fn skewed_reads(client: &Client, level: Isolation) -> Vec<(i64, i64)> {
    put_all(client, &[("x", "1"), ("y", "1")]).await;
    let mut seen = Vec::new();
    Stm::new(client)
        .isolation(level)
        .run(async |txn| {
            let x = number(txn.get("x").await?);
            if seen.is_empty() {
                put_all(client, &[("x", "2"), ("y", "2")]).await;
            }
            let y = number(txn.get("y").await?);
            // A second read of the same key, whatever happened since.
            assert_eq!(number(txn.get("x").await?), x);
            seen.push((x, y));
            txn.put("seen", format!("{x} {y}"));
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    seen
}

#[tokio::test]
async fn reads_of_a_run_are_of_one_revision_at_the_first_two_levels_only() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for level in [Isolation::SerializableSnapshot, Isolation::Serializable] {
        assert_eq!(skewed_reads(&client, level).await, [(1, 1), (2, 2)], "{level:?}");
        assert_eq!(value(&client, "seen").await, "2 2");
    }
    // The anomaly: values that never were together. They are not committed.
    assert_eq!(skewed_reads(&client, Isolation::RepeatableReads).await, [(1, 2), (2, 2)]);
    assert_eq!(value(&client, "seen").await, "2 2");
    // The anomaly: they are committed.
    assert_eq!(skewed_reads(&client, Isolation::ReadCommitted).await, [(1, 2)]);
    assert_eq!(value(&client, "seen").await, "1 2");
}

/// Adds one to a counter, while somebody adds ten after it was read. Tells how often it ran.
async fn lost_update(client: &Client, level: Isolation) -> u32 {
    client.put("count", "0").await.unwrap();
    let mut runs = 0;
    let done = Stm::new(client)
        .isolation(level)
        .run(async |txn| {
            runs += 1;
            let count = number(txn.get("count").await?);
            if runs == 1 {
                client.put("count", "10").await?;
            }
            txn.put("count", (count + 1).to_string());
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!(done.attempts, runs);
    runs
}

#[tokio::test]
async fn an_update_is_lost_at_the_last_level_only() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for level in &LEVELS[..3] {
        assert_eq!(lost_update(&client, *level).await, 2, "{level:?}");
        assert_eq!(value(&client, "count").await, "11", "{level:?}");
    }
    // The anomaly: the ten are lost.
    assert_eq!(lost_update(&client, Isolation::ReadCommitted).await, 1);
    assert_eq!(value(&client, "count").await, "1");
}

/// Reads `a` and writes `b` without reading it, while somebody writes `b`. Tells how often it ran.
async fn blind_write(client: &Client, level: Isolation) -> u32 {
    put_all(client, &[("a", "1"), ("b", "1")]).await;
    let done = Stm::new(client)
        .isolation(level)
        .run(async |txn| {
            txn.get("a").await?;
            if value(client, "b").await == "1" {
                client.put("b", "theirs").await?;
            }
            txn.put("b", "mine");
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!(value(client, "b").await, "mine");
    done.attempts
}

#[tokio::test]
async fn a_write_over_a_newer_one_is_noticed_at_the_first_level_only() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert_eq!(blind_write(&client, Isolation::SerializableSnapshot).await, 2);
    for level in &LEVELS[1..] {
        assert_eq!(blind_write(&client, *level).await, 1, "{level:?}");
    }
}

/// Two doctors on call, each of whom goes home if the other stays: both look before either goes. Tells how many stay.
async fn write_skew(client: &Client, level: Isolation) -> i64 {
    put_all(client, &[("on-call/a", "1"), ("on-call/b", "1")]).await;
    let both_looked = tokio::sync::Barrier::new(2);
    let go_home = async |doctor: &str| {
        let mut runs = 0;
        Stm::new(client)
            .isolation(level)
            .run(async |txn| {
                runs += 1;
                let on_call: i64 =
                    txn.values(["on-call/a", "on-call/b"]).await?.into_iter().map(number).sum();
                if runs == 1 {
                    both_looked.wait().await;
                }
                if on_call > 1 {
                    txn.put(doctor, "0");
                }
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
    };
    tokio::join!(go_home("on-call/a"), go_home("on-call/b"));
    number(Some(value(client, "on-call/a").await.into()))
        + number(Some(value(client, "on-call/b").await.into()))
}

#[tokio::test]
async fn writes_that_rest_on_each_others_reads_are_committed_at_the_last_level_only() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for level in &LEVELS[..3] {
        assert_eq!(write_skew(&client, *level).await, 1, "{level:?}");
    }
    // The anomaly: nobody stays.
    assert_eq!(write_skew(&client, Isolation::ReadCommitted).await, 0);
}

/// Twenty tasks move money between accounts; at the end there is as much as before.
async fn transfers(client: &Client, level: Isolation, seed: u64) {
    const ACCOUNTS: usize = 7;
    const TASKS: u64 = 20;
    let key = |account: usize| format!("account/{account}");
    for account in 0..ACCOUNTS {
        client.put(key(account), "100").await.unwrap();
    }
    let (mut tasks, progress) = (JoinSet::new(), Progress::default());
    for task in 0..TASKS {
        let (client, progress) = (client.clone(), progress.clone());
        let mut random = SmallRng::seed_from_u64(seed + task);
        tasks.spawn(async move {
            let mut attempts = 0;
            for _ in 0..5 {
                let from = key(random.random_range(0..ACCOUNTS));
                let to = key(random.random_range(0..ACCOUNTS));
                let amount = random.random_range(1..20);
                let done = Stm::new(&client)
                    .isolation(level)
                    .run(async move |txn| {
                        let has = number(txn.get(&from).await?);
                        txn.put(&from, (has - amount).to_string());
                        let has = number(txn.get(&to).await?);
                        txn.put(&to, (has + amount).to_string());
                        Ok::<_, Error>(())
                    })
                    .await
                    .unwrap();
                attempts += done.attempts;
                progress.step();
            }
            attempts
        });
    }
    let attempts: u32 = progress.of(client, tasks.join_all()).await.into_iter().sum();
    println!("{level:?}: 100 transfers in {attempts} attempts");
    // At every revision, not only at the end.
    let last = client.get("account/").prefix().await.unwrap().header.revision;
    for revision in (last - 99..=last).step_by(13) {
        let all = client.get("account/").prefix().revision(revision).await.unwrap();
        let sum: i64 = all.kvs.into_iter().map(|pair| number(Some(pair.value))).sum();
        assert_eq!(sum, 100 * ACCOUNTS as i64, "{level:?} at revision {revision}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_of_many_tasks_keep_the_sum() {
    let seed = rand::random();
    println!("seed {seed}");
    let server = TestServer::start().await;
    let client = server.client().await;
    for level in &LEVELS[..3] {
        transfers(&client, *level, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn philosophers_eat_with_two_forks_and_none_starves() {
    const SEATS: usize = 5;
    const MEALS: usize = 8;
    let server = TestServer::start().await;
    let client = server.client().await;
    let (mut tasks, progress) = (JoinSet::new(), Progress::default());
    for seat in 0..SEATS {
        let (client, progress) = (client.clone(), progress.clone());
        tasks.spawn(async move {
            let forks = [format!("fork/{seat}"), format!("fork/{}", (seat + 1) % SEATS)];
            let mut eaten = 0;
            while eaten < MEALS {
                let (mine, laid) = (forks.clone(), forks.clone());
                // Both forks or none; who sits beside is never in between.
                let took = Stm::new(&client)
                    .prefetch(&forks)
                    .backoff(Duration::from_millis(1), Duration::from_millis(5))
                    .run(async move |txn| {
                        let is_free = txn.values(&mine).await?.iter().all(Option::is_none);
                        if is_free {
                            mine.iter().for_each(|fork| txn.put(fork, seat.to_string()));
                        }
                        Ok::<_, Error>(is_free)
                    })
                    .await
                    .unwrap()
                    .value;
                if !took {
                    tokio::task::yield_now().await;
                    continue;
                }
                let lay_down = Stm::new(&client).run(async move |txn| {
                    for fork in &laid {
                        assert_eq!(txn.get(fork).await?, Some(seat.to_string().into()), "a stolen fork");
                        txn.del(fork);
                    }
                    let meals = format!("meals/{seat}");
                    let count = number(txn.get(&meals).await?);
                    txn.put(&meals, (count + 1).to_string());
                    Ok::<_, Error>(())
                });
                lay_down.await.unwrap();
                eaten += 1;
                progress.step();
            }
        });
    }
    progress.of(&client, tasks.join_all()).await;
    let meals = client.get("meals/").prefix().await.unwrap();
    assert!(meals.kvs.iter().all(|pair| pair.value_text() == MEALS.to_string()), "{meals:?}");
    assert_eq!((meals.count, client.get("fork/").prefix().await.unwrap().count), (SEATS as u64, 0));
}

#[tokio::test]
async fn attempts_have_a_bound() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("k", "0").await.unwrap();
    for backoff in [false, true] {
        let mut runs = 0;
        let stm = Stm::new(&client).attempts_max(3);
        let stm = if backoff { stm.backoff(Duration::from_millis(1), Duration::from_millis(2)) } else { stm };
        let refused = stm
            .run(async |txn| {
                runs += 1;
                txn.get("k").await?;
                client.put("k", "theirs").await?;
                txn.put("k", "mine");
                Ok::<_, Error>(())
            })
            .await;
        assert!(matches!(refused, Err(Error::Conflict { attempts: 3 })), "{refused:?}");
        assert_eq!((runs, value(&client, "k").await), (3, "theirs".into()));
    }
}

/// Counts what is asked of a client.
struct Counting {
    client: Client,
    gets: std::sync::atomic::AtomicUsize,
    txns: std::sync::atomic::AtomicUsize,
}

impl Kv for Counting {
    async fn execute_op(&self, op: Op) -> Result<OpResponse> {
        let count = if matches!(op, Op::Get(_)) { &self.gets } else { &self.txns };
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.client.execute(op).await
    }
}

impl Counting {
    fn new(client: &Client) -> Self {
        Counting { client: client.clone(), gets: 0.into(), txns: 0.into() }
    }

    fn take(&self) -> (usize, usize) {
        let take =
            |count: &std::sync::atomic::AtomicUsize| count.swap(0, std::sync::atomic::Ordering::SeqCst);
        (take(&self.gets), take(&self.txns))
    }
}

#[tokio::test]
async fn reads_are_fetched_ahead_and_come_with_a_refusal() {
    let server = TestServer::start().await;
    let client = server.client().await;
    put_all(&client, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let counting = Counting::new(&client);
    for level in &LEVELS[..3] {
        let mut is_first = true;
        let done = Stm::new(&counting)
            .isolation(*level)
            .prefetch(["a", "b", "unused"])
            .run(async |txn| {
                txn.get("a").await?;
                txn.get("b").await?;
                if std::mem::take(&mut is_first) {
                    // That is not read: it makes no conflict.
                    client.put("unused", "changed").await?;
                    client.put("a", "changed").await?;
                }
                txn.put("d", "4");
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
        assert_eq!(done.attempts, 2);
        // A read for each key, a transaction that is refused and brings the values of the second run, one that commits.
        assert_eq!(counting.take(), (3, 2), "{level:?}");
    }
    let done = Stm::new(&counting)
        .prefetch(["a"])
        .run(async |txn| {
            client.put("unused", "changed again").await?;
            txn.get("a").await
        })
        .await
        .unwrap();
    assert_eq!((done.attempts, counting.take()), (1, (1, 1)));
}

#[tokio::test]
async fn what_is_fetched_together_is_of_one_revision_though_others_write_it() {
    let server = TestServer::start().await;
    let writer = server.client().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn(async move {
        for number in 0.. {
            if *stopped.borrow() {
                return;
            }
            // Both there, both changed, both gone.
            let ops: [Op; 2] = match number % 3 {
                2 => [Op::delete("a").into(), Op::delete("b").into()],
                _ => [Op::put("a", format!("{number}")).into(), Op::put("b", format!("{number}")).into()],
            };
            writer.txn().and_then(ops).commit().await.unwrap();
        }
    });
    let client = server.client().await;
    let (mut runs, mut revision) = (0, 0);
    // So often that somebody must have come between.
    while runs < 100 || revision < 60 {
        for level in &LEVELS[..2] {
            let stm = Stm::new(&client).isolation(*level).prefetch(["a", "b"]);
            let done = stm.run(async |txn| {
                runs += 1;
                let values = txn.values(["a", "b"]).await?;
                assert_eq!(values[0], values[1]);
                Ok::<_, Error>(())
            });
            revision = done.await.unwrap().response.header.revision;
        }
    }
    stop.send_replace(true);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_revision_that_is_compacted_while_it_is_read_is_a_new_run() {
    let server = TestServer::start().await;
    let client = server.client().await;
    put_all(&client, &[("a", "1"), ("b", "1")]).await;
    let mut runs = 0;
    let done = Stm::new(&client)
        .run(async |txn| {
            runs += 1;
            txn.get("a").await?;
            if runs == 1 {
                put_all(&client, &[("a", "2"), ("b", "2")]).await;
                let newest = client.put("b", "3").await?.header.revision;
                client.compact(newest).await?;
            }
            let b = number(txn.get("b").await?);
            txn.put("sum", b.to_string());
            Ok::<_, Error>(b)
        })
        .await
        .unwrap();
    assert_eq!((done.value, done.attempts, runs), (3, 2, 2));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_told_and_not_repeated() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    direct.put("count", "1").await.unwrap();
    let mut runs = 0;
    let committing = Stm::new(&client).run(async |txn| {
        runs += 1;
        let count = number(txn.get("count").await?);
        txn.put("count", (count + 1).to_string());
        Ok::<_, Error>(())
    });
    let lose = async {
        proxy.lose_answer(async || value(&direct, "count").await == "2").await;
        proxy.resume();
    };
    let (lost, ()) = soon(async { tokio::join!(committing, lose) }).await;
    assert!(matches!(&lost, Err(error) if error.may_have_taken_effect()), "{lost:?}");
    let pair = client.get("count").await.unwrap().kvs.remove(0);
    assert_eq!((pair.value_text(), pair.version, runs), ("2".into(), 2, 1));
    // A transaction that only reads is repeated like any read.
    let read = soon(Stm::new(&client).run(async |txn| {
        proxy.cut();
        txn.get("count").await
    }))
    .await
    .unwrap();
    assert_eq!(read.value.unwrap(), "2");
}

#[tokio::test]
async fn a_transaction_stays_in_its_namespace() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let app = client.with_namespace("app/");
    client.put("app/k", "1").await.unwrap();
    Stm::new(&app)
        .run(async |txn| {
            let count = number(txn.get("k").await?);
            txn.put("k", (count + 1).to_string());
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!(value(&client, "app/k").await, "2");
}
