//! Keys that a client owns and reads from its memory.

use crate::support::{
    Progress, Proxy, TestServer, calls_handled, config, eventually, soon, survives_cut_reads,
};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tenure_client::{
    Client, Compare, Error, EtcdError, EventKind, GetResponse, KeyValue, Kv, Op, OpResponse, Revision,
    leasing::LeasingKv,
};
use tokio::task::JoinSet;

/// Calls of all kinds that read or write keys.
async fn calls(server: &TestServer) -> u64 {
    let mut calls = 0;
    for method in ["Range", "Put", "DeleteRange", "Txn"] {
        calls += calls_handled(&server.endpoint(), method).await;
    }
    calls
}

fn value(read: &GetResponse) -> Option<String> {
    read.first().map(|pair| pair.value_text().into_owned())
}

/// Reads until the key is owned, as it will be once it has rested.
async fn own(kv: &LeasingKv, key: &str) {
    let owned = kv.keys_owned();
    eventually("the key is owned", async || {
        kv.get(key).await.expect("it works");
        (kv.keys_owned() > owned).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_owned_is_read_from_memory() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let kv = LeasingKv::open(&client, "~leasing/").await.unwrap();
    let put = kv.put("k", "1").await.unwrap();
    assert_eq!(value(&kv.get("k").await.unwrap()), Some("1".into()));
    assert_eq!(kv.get("none").await.unwrap().count, 0);
    assert_eq!(kv.keys_owned(), 2);
    let owner = client.get("~leasing/k").await.unwrap();
    assert_eq!(value(&owner), Some(String::new()));
    assert_ne!(owner.kvs[0].lease.0, 0);
    let before = calls(&server).await;
    for _ in 0..10 {
        let read = kv.get("k").await.unwrap();
        assert_eq!((read.count, read.kvs[0].mod_revision), (1, put.header.revision));
        assert!(read.header.revision >= put.header.revision && read.header.cluster_id != 0);
        assert_eq!(kv.get("none").await.unwrap().count, 0);
        let read_only = kv
            .txn()
            .when([Compare::value("k").equal("1"), Compare::missing("none")])
            .and_then([Op::get("k").keys_only(), Op::get("none")]);
        let read_only = read_only.commit().await.unwrap();
        assert!(read_only.succeeded && read_only.responses[0].as_get().unwrap().count == 1);
    }
    assert_eq!(calls(&server).await, before);
    // Options are carried out here as by the server.
    assert_eq!(
        kv.get("k").count_only().await.unwrap(),
        GetResponse { kvs: vec![], ..kv.get("k").await.unwrap() }
    );
    assert!(kv.get("k").keys_only().await.unwrap().kvs[0].value.is_empty());
    assert!(kv.get("k").mod_revision_min(put.header.revision + 1).await.unwrap().kvs.is_empty());
    assert_eq!(calls(&server).await, before);
    // Ranges and the past are the server's.
    assert_eq!(kv.get("k").prefix().await.unwrap().count, 1);
    assert_eq!(kv.get("k").revision(put.header.revision).await.unwrap().count, 1);
    assert_eq!(calls(&server).await, before + 2);
}

#[tokio::test]
async fn what_its_owner_writes_he_reads_from_memory() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let kv = LeasingKv::open(&client, "~leasing/").await.unwrap();
    own(&kv, "k").await;
    let mut expected: Option<KeyValue> = None;
    for number in 0..10 {
        let put = kv.put("k", format!("{number}")).prev_kv().await.unwrap();
        assert_eq!(put.prev_kv, expected);
        let (read, truth) = (kv.get("k").await.unwrap(), client.get("k").await.unwrap());
        assert_eq!((&read.kvs, read.count), (&truth.kvs, truth.count));
        assert_eq!(read.kvs[0].mod_revision, put.header.revision);
        expected = Some(read.kvs[0].clone());
        if number % 4 == 3 {
            assert_eq!(kv.delete("k").prev_kv().await.unwrap().prev_kvs, expected.take().as_slice());
            assert_eq!(kv.get("k").await.unwrap().count, 0);
        }
    }
    kv.put("k", "").ignore_value().await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().kvs, client.get("k").await.unwrap().kvs);
    let refused = kv.put("k", "x").lease(7.into()).await.unwrap_err();
    assert!(refused.is(EtcdError::LeaseNotFound), "{refused}");
    assert_eq!((kv.keys_owned(), value(&kv.get("k").await.unwrap())), (1, Some("9".into())));
    own(&kv, "l").await;
    let txn = kv.txn().when([Compare::exists("k")]).and_then([Op::put("k", "a"), Op::put("l", "b")]);
    let txn = txn.or_else([Op::get("k")]).commit().await.unwrap();
    assert!(txn.succeeded && txn.responses.len() == 2);
    let before = calls(&server).await;
    assert_eq!(value(&kv.get("k").await.unwrap()), Some("a".into()));
    assert_eq!(kv.get("l").await.unwrap().kvs[0].mod_revision, txn.header.revision);
    assert_eq!(calls(&server).await, before);
    let ops = [Op::from(Op::delete("l")), Op::put("k", "c").into(), Op::get("k").into()];
    let txn = kv.txn().and_then(ops).commit().await.unwrap();
    assert_eq!((txn.responses.len(), value(txn.responses[2].as_get().unwrap())), (3, Some("c".into())));
    assert_eq!(kv.get("l").await.unwrap().count, 0);
    assert_eq!(kv.delete("a").range_end("z").await.unwrap().deleted, 1);
    assert_eq!(kv.get("k").await.unwrap().count, 0);
    // A key with a lease is not owned: it can go away by itself.
    let lease = client.lease().grant(Duration::from_secs(60)).await.unwrap().id;
    kv.put("k", "leased").lease(lease).await.unwrap();
    client.lease().revoke(lease).await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().count, 0);
}

#[tokio::test]
async fn others_write_once_the_owner_has_let_go() {
    let server = TestServer::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let (one, two) = (LeasingKv::open(&one, "~/").await.unwrap(), LeasingKv::open(&two, "~/").await.unwrap());
    own(&one, "k").await;
    soon(two.put("k", "two")).await.unwrap();
    assert_eq!(value(&one.get("k").await.unwrap()), Some("two".into()));
    for key in ["a", "b", "c"] {
        soon(two.put(key, "x")).await.unwrap();
        own(&one, key).await;
    }
    assert_eq!(soon(two.delete("b")).await.unwrap().deleted, 1);
    assert_eq!(one.get("b").await.unwrap().count, 0);
    let txn = two.txn().when([Compare::exists("a")]).and_then([Op::put("a", "y")]).commit();
    assert!(soon(txn).await.unwrap().succeeded);
    assert_eq!(value(&one.get("a").await.unwrap()), Some("y".into()));
    own(&one, "a").await;
    own(&one, "k").await;
    let deleted = soon(two.delete("a").range_end("z").prev_kv()).await.unwrap();
    assert_eq!(deleted.deleted, 3);
    for key in ["a", "c", "k"] {
        assert_eq!(one.get(key).await.unwrap().count, 0);
    }
    own(&one, "a").await;
    soon(two.txn().and_then([Op::from(Op::delete("a").range_end("b")), Op::put("d", "z").into()]).commit())
        .await
        .unwrap();
    assert_eq!(value(&one.get("d").await.unwrap()), Some("z".into()));
    // Many keys in one transaction, owned by both and by nobody.
    for number in 0..10 {
        own(if number % 2 == 0 { &one } else { &two }, &format!("m{number}")).await;
    }
    let puts = (0..20).map(|number| Op::put(format!("m{number}"), "many"));
    soon(two.txn().and_then(puts).commit()).await.unwrap();
    for number in 0..20 {
        assert_eq!(value(&one.get(format!("m{number}")).await.unwrap()), Some("many".into()));
        assert_eq!(value(&two.get(format!("m{number}")).await.unwrap()), Some("many".into()));
    }
}

#[tokio::test]
async fn it_works_with_clients_of_go() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let kv = LeasingKv::open(&client, "~/").await.unwrap();
    // What Go's client does to write a key that this one owns.
    own(&kv, "k").await;
    let owner = client.get("~/k").await.unwrap().kvs.remove(0);
    let mut changes = client.watch("~/k").start_revision(owner.mod_revision + 1).await.unwrap();
    let write = || {
        let free = Compare::create_revision("~/k").less(1);
        client
            .txn()
            .when([free])
            .and_then([Op::put("k", "go")])
            .or_else([Op::put("~/k", "REVOKE").ignore_lease()])
    };
    assert!(!write().commit().await.unwrap().succeeded);
    let mark = soon(changes.next()).await.unwrap().unwrap().events.remove(0);
    assert_eq!((mark.kv.value_text(), mark.kv.lease), ("REVOKE".into(), owner.lease));
    let gone = soon(changes.next()).await.unwrap().unwrap().events.remove(0);
    assert_eq!(gone.kind, EventKind::Delete);
    assert!(write().commit().await.unwrap().succeeded);
    assert_eq!(value(&kv.get("k").await.unwrap()), Some("go".into()));

    // What Go's client does to own a key that this one writes.
    let lease = client.lease().grant(Duration::from_secs(60)).await.unwrap().id;
    let made = client.put("~/go", "").lease(lease).await.unwrap().header.revision;
    let mut changes = client.watch("~/go").start_revision(made + 1).await.unwrap();
    assert_eq!(kv.get("go").await.unwrap().count, 0);
    let other = kv.clone();
    let writing = tokio::spawn(async move { other.put("go", "tenure").await });
    let mark = soon(changes.next()).await.unwrap().unwrap().events.remove(0);
    assert_eq!((mark.kv.value_text(), mark.kv.lease), ("REVOKE".into(), lease));
    assert!(!writing.is_finished() && client.get("go").await.unwrap().count == 0);
    let rescinded = client.txn().when([Compare::create_revision("~/go").less(mark.kv.mod_revision)]);
    assert!(rescinded.and_then([Op::delete("~/go")]).commit().await.unwrap().succeeded);
    soon(writing).await.unwrap().unwrap();
    assert_eq!(value(&client.get("go").await.unwrap()), Some("tenure".into()));
    // An owner that is dead is waited for until its lease ends.
    client.put("~/dead", "").lease(lease).await.unwrap();
    let other = kv.clone();
    let deleting = tokio::spawn(async move { other.delete("a").range_end("z").await });
    eventually("the mark", async || (value(&client.get("~/dead").await.unwrap())? == "REVOKE").then_some(()))
        .await;
    client.lease().revoke(lease).await.unwrap();
    assert_eq!(soon(deleting).await.unwrap().unwrap().deleted, 2);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert!(matches!(LeasingKv::open(&client, "").await, Err(Error::Invalid(_))));
    let kv = LeasingKv::open(&client, "~/").await.unwrap();
    for op in [
        Op::from(Op::put("~/k", "v")),
        Op::delete("~/k").into(),
        Op::delete("").prefix().into(),
        Op::delete("~").prefix().into(),
        Op::delete("k").from_key().into(),
        Op::delete("a").range_end("~0").into(),
        Op::txn().and_then([Op::txn().or_else([Op::delete("~/")])]).into(),
    ] {
        let refused = kv.execute(op).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    }
    assert_eq!(kv.delete("a").range_end("~/").await.unwrap().deleted, 0);
    assert_eq!(kv.delete("~0").from_key().await.unwrap().deleted, 0);
    assert!(matches!(kv.put("", "v").await, Err(Error::Invalid(_))));
    assert!(matches!(kv.get("").await, Err(Error::Invalid(_))));
    let twice = kv.txn().and_then([Op::put("x", "1"), Op::put("x", "2")]).commit().await.unwrap_err();
    assert!(twice.is(EtcdError::DuplicateKey), "{twice}");
    let ops = (0..128).map(|number| Op::put(format!("n{number}"), "v"));
    assert_eq!(kv.txn().and_then(ops).commit().await.unwrap().responses.len(), 128);
    own(&kv, "k").await;
    let clone = kv.clone();
    kv.close().await.unwrap();
    assert!(matches!(clone.get("k").await, Err(Error::Closed)));
    assert!(matches!(clone.put("k", "v").await, Err(Error::Closed)));
    assert_eq!(client.get("~/").prefix().await.unwrap().count, 0);
    // Dropping it lets go as well.
    let kv = LeasingKv::builder(&client, "~/").keys_max(1).open().await.unwrap();
    own(&kv, "k").await;
    kv.get("not one too many").await.unwrap();
    assert_eq!((kv.keys_owned(), client.get("~/").prefix().await.unwrap().count), (1, 1));
    drop(kv);
    eventually("it is let go", async || (client.get("~/").prefix().await.unwrap().count == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn when_the_session_is_lost_the_server_is_asked() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let here = server.client().await;
    let cut_off = config(proxy.endpoint()).request_timeout(Duration::from_secs(8)).without_keep_alive();
    let cut_off = Client::connect(cut_off).await.unwrap();
    let kv = LeasingKv::builder(&cut_off, "~/").ttl(Duration::from_secs(8)).open().await.unwrap();
    let other = LeasingKv::open(&here, "~/").await.unwrap();
    other.put("k", "1").await.unwrap();
    own(&kv, "k").await;
    proxy.down();
    // It owns the key as long as its lease lives, and others have to wait.
    assert_eq!(value(&kv.get("k").await.unwrap()), Some("1".into()));
    soon(other.put("k", "2")).await.unwrap();
    // Since then it must not answer from memory.
    assert!(kv.get("k").await.is_err());
    assert_eq!(kv.keys_owned(), 0);
    proxy.resume();
    let read = eventually("the server answers", async || kv.get("k").await.ok()).await;
    assert_eq!(value(&read), Some("2".into()));
    own(&kv, "k").await;
    // A lease that is revoked.
    let lease = here.get("~/k").await.unwrap().kvs[0].lease;
    here.lease().revoke(lease).await.unwrap();
    eventually("it is forgotten", async || (kv.keys_owned() == 0).then_some(())).await;
    soon(other.put("k", "3")).await.unwrap();
    assert_eq!(value(&kv.get("k").await.unwrap()), Some("3".into()));
    eventually("there is a new session", async || {
        kv.get("k").await.unwrap();
        (kv.keys_owned() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_write_that_is_given_up_cannot_surprise_its_owner() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint()).without_keep_alive()).await.unwrap();
    let kv = LeasingKv::open(&client, "~/").await.unwrap();
    own(&kv, "k").await;
    proxy.silence();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), kv.put("k", "late").into_future()).await.is_err()
    );
    assert_eq!(kv.keys_owned(), 0);
    let reading = {
        let kv = kv.clone();
        tokio::spawn(async move { kv.get("k").await })
    };
    proxy.resume();
    let first = soon(reading).await.unwrap().unwrap();
    let truth = server.client().await;
    eventually("memory and server agree for good", async || {
        let (owned, read, there) = (kv.keys_owned(), kv.get("k").await.ok()?, truth.get("k").await.unwrap());
        assert!(value(&first).is_none() || value(&there).is_some());
        (owned == 1).then(|| assert_eq!(read.kvs, there.kvs))
    })
    .await;
}

#[tokio::test]
async fn it_stays_true_over_cuts_restarts_and_compactions() {
    let mut server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let here = server.client().await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let kv = LeasingKv::open(&client, "~/").await.unwrap();
    let other = LeasingKv::open(&here, "~/").await.unwrap();
    own(&kv, "k").await;
    proxy.cut();
    soon(other.put("k", "1")).await.unwrap();
    assert_eq!(value(&eventually("an answer", async || kv.get("k").await.ok()).await), Some("1".into()));
    own(&kv, "k").await;
    server.restart().await;
    eventually("an answer", async || here.get("k").await.ok()).await;
    soon(async { while other.put("k", "2").await.is_err() {} }).await;
    assert_eq!(value(&eventually("an answer", async || kv.get("k").await.ok()).await), Some("2".into()));
    own(&kv, "k").await;
    // The mark is put while the owner is away, and the history in between is gone.
    proxy.down();
    let revision = here.get("k").await.unwrap().header.revision;
    let writing = tokio::spawn(async move { other.put("k", "3").await });
    eventually("the mark", async || (value(&here.get("~/k").await.unwrap())? == "REVOKE").then_some(()))
        .await;
    here.put("elsewhere", "v").await.unwrap();
    here.compact(revision + 1).await.unwrap();
    assert!(!writing.is_finished());
    proxy.resume();
    soon(writing).await.unwrap().unwrap();
    assert_eq!(value(&eventually("an answer", async || kv.get("k").await.ok()).await), Some("3".into()));
}

/// What each key was, when, and what has been seen of it so far.
#[derive(Default)]
struct Ledger {
    seen: HashMap<String, Revision>,
    reads: Vec<Read>,
}

struct Read {
    key: String,
    pair: Option<KeyValue>,
    /// The newest revision of the key that anybody had seen when the read began.
    floor: Revision,
}

struct Worker {
    kv: LeasingKv,
    ledger: Arc<Mutex<Ledger>>,
    random: StdRng,
    name: u64,
    /// Transactions that only read are among what it does.
    may_read_in_txn: bool,
    doing: String,
}

impl Worker {
    fn key(&mut self) -> String {
        format!("k{}", self.random.random_range(0..4))
    }

    fn floors(&self, keys: &[String]) -> Vec<Revision> {
        let ledger = self.ledger.lock();
        keys.iter().map(|key| ledger.seen.get(key).copied().unwrap_or(0)).collect()
    }

    fn saw(&self, key: &str, pair: Option<KeyValue>, floor: Revision) {
        let mut ledger = self.ledger.lock();
        let seen = pair.as_ref().map_or(floor, |pair| pair.mod_revision);
        let newest = ledger.seen.entry(key.to_owned()).or_default();
        *newest = seen.max(*newest);
        ledger.reads.push(Read { key: key.to_owned(), pair, floor });
    }

    fn wrote(&self, key: &str, revision: Revision) {
        let mut ledger = self.ledger.lock();
        let newest = ledger.seen.entry(key.to_owned()).or_default();
        *newest = revision.max(*newest);
    }

    async fn step(&mut self, number: usize) -> Result<(), Error> {
        let (key, other) = (self.key(), self.key());
        let value = format!("{}-{number}", self.name);
        let what = self.random.random_range(0..20);
        self.doing = format!("{what} {key} {other}");
        match what {
            0..10 => {
                let floor = self.floors(std::slice::from_ref(&key))[0];
                let read = self.kv.get(&key).await?;
                self.saw(&key, read.kvs.into_iter().next(), floor);
            }
            10..13 => {
                let put = self.kv.put(&key, value).await?;
                self.wrote(&key, put.header.revision);
            }
            13 => {
                let deleted = self.kv.delete(&key).await?;
                if deleted.deleted > 0 {
                    self.wrote(&key, deleted.header.revision);
                }
            }
            14 => {
                let deleted = self.kv.delete("k0").range_end("k2").prev_kv().await?;
                for pair in &deleted.prev_kvs {
                    self.wrote(&pair.key_text(), deleted.header.revision);
                }
            }
            15..18 if self.may_read_in_txn => {
                let keys = [key, other];
                let floors = self.floors(&keys);
                let gets = keys.iter().map(Op::get);
                let txn =
                    self.kv.txn().when([Compare::exists(&keys[0])]).and_then(gets.clone()).or_else(gets);
                let read = txn.commit().await?;
                for ((key, floor), response) in keys.iter().zip(floors).zip(read.responses) {
                    let OpResponse::Get(read) = response else { panic!("an answer of another kind") };
                    self.saw(key, read.kvs.into_iter().next(), floor);
                }
            }
            _ if key == other => {}
            _ => {
                let txn = self.kv.txn().when([Compare::exists(&key)]);
                let txn = txn
                    .and_then([Op::put(&key, &value), Op::put(&other, &value)])
                    .or_else([Op::put(&key, &value)]);
                let done = txn.commit().await?;
                self.wrote(&key, done.header.revision);
                if done.succeeded {
                    self.wrote(&other, done.header.revision);
                }
            }
        }
        Ok(())
    }
}

/// Every change of every key, as the server tells them.
async fn history(client: &Client, last: Revision) -> HashMap<String, Vec<(Revision, Option<KeyValue>)>> {
    let mut history: HashMap<String, Vec<_>> = HashMap::new();
    let mut changes = client.watch("k").prefix().start_revision(1).await.expect("it works");
    loop {
        for event in soon(changes.next()).await.expect("it works").expect("it works").events {
            let (key, revision) = (event.kv.key_text().into_owned(), event.kv.mod_revision);
            let is_last = revision == last;
            let pair = (event.kind == EventKind::Put).then_some(event.kv);
            history.entry(key).or_default().push((revision, pair));
            if is_last {
                return history;
            }
        }
    }
}

/// Whether the key was that, at some time not before the floor.
fn was(history: &[(Revision, Option<KeyValue>)], read: &Read) -> bool {
    let before = std::iter::once(&(0, None));
    let from = before.chain(history);
    let until = history.iter().map(|(revision, _)| *revision).chain([Revision::MAX]);
    from.zip(until).any(|((_, pair), until)| *pair == read.pair && until > read.floor)
}

/// How long nobody may get on: an owner whose session is lost keeps others waiting for its lease of ten seconds, perhaps more than
/// once. One step alone may take longer where many contend: with many who read, a key that is let go is taken again before
/// who wants to write it has heard of it, and each try takes several round trips.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

async fn check(clients: usize, seed: u64, steps: usize, is_cut: bool) {
    println!("seed {seed}");
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let observer = server.client().await;
    let (mut workers, progress) = (JoinSet::new(), Progress::with_patience(STANDSTILL_MAX));
    let successes = Progress::default();
    for name in 0..clients as u64 {
        let client = Client::connect(config(proxy.endpoint())).await.expect("it works");
        let kv = LeasingKv::builder(&client, "~leasing/")
            .ttl(Duration::from_secs(10))
            .rest(Duration::from_millis(20));
        let kv = kv.open().await.expect("it works");
        // Two at a time through one layer.
        for half in 0..2 {
            let random = StdRng::seed_from_u64(seed ^ (name * 2 + half));
            let (kv, ledger, progress) = (kv.clone(), ledger.clone(), progress.clone());
            let (name, may_read_in_txn) = (name * 2 + half, !is_cut || survives_cut_reads());
            let mut worker = Worker { kv, ledger, random, name, may_read_in_txn, doing: String::new() };
            let successes = successes.clone();
            workers.spawn(async move {
                for number in 0..steps {
                    match worker.step(number).await {
                        Ok(()) => successes.step(),
                        Err(error) => assert!(is_cut, "{}: {error}", worker.doing),
                    }
                    progress.step();
                }
            });
        }
    }
    let mut random = StdRng::seed_from_u64(seed);
    let cutting = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(random.random_range(50..300))).await;
            // A machine that needs longer for a connection would never get to anything.
            if is_cut && successes.steps() > before {
                before = successes.steps();
                proxy.cut();
            }
        }
    };
    tokio::select! {
        _ = progress.of(&observer, workers.join_all()) => {}
        () = cutting => {}
    }
    let client = observer;
    let last = client.put("k-last", "").await.expect("it works").header.revision;
    let history = history(&client, last).await;
    let ledger = ledger.lock();
    assert!(ledger.reads.len() > steps);
    for read in &ledger.reads {
        let history = history.get(&read.key).map(Vec::as_slice).unwrap_or_default();
        assert!(was(history, read), "{} was {:?} after {}", read.key, read.pair, read.floor);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_what_anybody_has_seen() {
    check(3, rand::random(), 150, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_while_connections_are_cut() {
    check(3, rand::random(), 60, true).await;
}
