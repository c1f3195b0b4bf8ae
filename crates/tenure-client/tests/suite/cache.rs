//! A local copy of a prefix.

use crate::support::{
    PATIENCE, Progress, Proxy, TestServer, answers_in_order, calls_handled, config, eventually, soon,
};
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, time::Duration};
use tenure_client::{
    Client, Error, EtcdError, Event, EventKind, KeyValue, Op, OpResponse, SortOrder, SortTarget,
    WatchResponse,
    cache::{Cache, CacheBuilder, CacheWatchStream},
};

async fn response(watch: &mut CacheWatchStream) -> WatchResponse {
    soon(watch.next()).await.expect("it goes on").expect("it works")
}

/// Events until this key was changed.
async fn events(watch: &mut CacheWatchStream, last: &str) -> Vec<Event> {
    let mut events = Vec::new();
    while !events.iter().any(|event: &Event| event.kv.key_text() == last) {
        events.extend(response(watch).await.events);
    }
    events
}

/// A copy whose readers wait for it as long as it takes.
fn patient(client: &Client, prefix: &str) -> CacheBuilder {
    Cache::builder(client, prefix).wait_timeout(PATIENCE)
}

fn cache_of(client: &Client, prefix: &str) -> Cache {
    patient(client, prefix).open().expect("it can be configured so")
}

fn keys(kvs: &[KeyValue]) -> String {
    kvs.iter().map(KeyValue::key_text).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_read_sees_every_write_that_was_acknowledged() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let cache = cache_of(&client, "app/");
    for number in 0..30 {
        let put = client.put("app/k", format!("{number}")).await.unwrap();
        let got = cache.get("app/k").await.unwrap();
        assert_eq!(got.kvs[0].value_text(), format!("{number}"));
        assert!(got.header.revision >= put.header.revision);
        // Elsewhere: nothing comes on the watch, and still the answer is as new as that.
        let put = client.put("elsewhere", "v").await.unwrap();
        let got = cache.get("app/").prefix().await.unwrap();
        assert!(got.header.revision >= put.header.revision);
        assert_eq!((keys(&got.kvs), got.count), ("app/k".to_owned(), 1));
        // Servers whose answers can be trusted say that the copy is there; with others the read has gone to the server.
        assert!(!answers_in_order() || cache.revision() >= put.header.revision);
    }
    client.delete("app/k").await.unwrap();
    assert_eq!(cache.get("app/k").await.unwrap().count, 0);
}

#[tokio::test]
async fn the_server_is_asked_for_its_revision_only() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let cache = cache_of(&client, "r/");
    soon(cache.wait_ready()).await.unwrap();
    let before = calls_handled(&server.endpoint(), "Range").await;
    for _ in 0..10 {
        cache.get("r/").prefix().serializable().await.unwrap();
    }
    assert_eq!(calls_handled(&server.endpoint(), "Range").await, before);
    for number in 0..10 {
        client.put("elsewhere", "v").await.unwrap();
        client.put("r/k", format!("{number}")).await.unwrap();
        client.put("elsewhere", "v").await.unwrap();
        assert_eq!(cache.get("r/k").await.unwrap().kvs[0].value_text(), format!("{number}"));
    }
    let asked = calls_handled(&server.endpoint(), "Range").await - before;
    assert!(asked == 10 || (!answers_in_order() && asked <= 20), "{asked}");
}

#[tokio::test]
async fn reads_have_their_options() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for (key, value) in [("p/1", "z"), ("p/2", "y"), ("p/3", "x"), ("q", "w")] {
        client.put(key, value).await.unwrap();
    }
    let revision = client.put("p/1", "again").await.unwrap().header.revision;
    let cache = cache_of(&client, "p/");
    let all = || cache.get("p/").prefix();
    assert_eq!(keys(&all().await.unwrap().kvs), "p/1 p/2 p/3");
    let page = all().limit(2).await.unwrap();
    assert_eq!((keys(&page.kvs), page.more, page.count), ("p/1 p/2".to_owned(), true, 3));
    assert_eq!(keys(&all().sort(SortTarget::Value, SortOrder::Descend).await.unwrap().kvs), "p/2 p/3 p/1");
    assert_eq!(all().count_only().await.unwrap().count, 3);
    assert!(all().keys_only().await.unwrap().kvs.iter().all(|pair| pair.value.is_empty()));
    assert_eq!(keys(&all().mod_revision_min(revision).await.unwrap().kvs), "p/1");
    assert_eq!(keys(&cache.get("p/2").range_end("p/3").serializable().await.unwrap().kvs), "p/2");
    for get in [cache.get("q"), cache.get("p/1").from_key(), cache.get("p/2").range_end("p/1"), cache.get("")]
    {
        let refused = get.await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
        assert!(refused.to_string().starts_with("cache: invalid or out-of-range key range"), "{refused}");
    }
    assert!(matches!(cache.watch("q").await, Err(Error::Invalid(_))));
    assert!(matches!(cache.watch("p/").start_revision(-1).await, Err(Error::Invalid(_))));
    assert!(matches!(Cache::builder(&client, "p/").history_revisions_max(0).open(), Err(Error::Invalid(_))));
    let everything = Cache::new(&client.with_namespace("p/"), "");
    assert_eq!(keys(&everything.get("").prefix().await.unwrap().kvs), "1 2 3");
    assert_eq!(keys(&everything.get("2").from_key().await.unwrap().kvs), "2 3");
}

#[tokio::test]
async fn history_can_be_read_as_far_as_the_window_reaches() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("h/a", "0").await.unwrap();
    let cache = patient(&client, "h/").history_revisions_max(5).open().unwrap();
    soon(cache.wait_ready()).await.unwrap();
    let first = cache.revision();
    let mut revisions = Vec::new();
    for number in 1..=9 {
        revisions.push(client.put("h/a", format!("{number}")).await.unwrap().header.revision);
    }
    for (number, &revision) in (1..).zip(&revisions) {
        let read = cache.get("h/a").revision(revision).await;
        // The state after the change that was forgotten last is known as well.
        if number < 4 {
            let compacted = read.unwrap_err();
            assert!(
                matches!(compacted, Error::Compacted { compact_revision } if compact_revision == revisions[3])
            );
            assert!(compacted.is(EtcdError::Compacted));
        } else {
            let read = read.unwrap();
            assert_eq!(read.kvs[0].value_text(), format!("{number}"));
            assert!(read.header.revision >= revisions[8]);
        }
    }
    assert!(cache.get("h/a").revision(first).serializable().await.is_err());
    for get in [cache.get("h/a"), cache.get("h/a").serializable()] {
        let future = get.revision(revisions[8] + 100).await.unwrap_err();
        assert!(future.is(EtcdError::FutureRev), "{future}");
    }
}

#[tokio::test]
async fn watches_are_served_from_the_copy() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let cache = cache_of(&client, "w/");
    soon(cache.wait_ready()).await.unwrap();
    assert!(cache.is_ready());
    let start = cache.revision() + 1;
    let mut now = cache.watch("w/").prefix().prev_kv().await.unwrap();
    client.put("w/a", "1").await.unwrap();
    let txn = [Op::put("w/a", "2"), Op::put("w/b", "1"), Op::put("x", "1")];
    let both = client.txn().and_then(txn).commit().await.unwrap().header.revision;
    client.delete("w/a").await.unwrap();
    client.put("w/last", "").await.unwrap();
    let first = response(&mut now).await;
    assert_eq!((first.events.len(), first.events[0].prev_kv.as_ref()), (1, None));
    assert_eq!(first.header.revision, first.events[0].kv.mod_revision);
    let second = response(&mut now).await;
    assert_eq!((second.events.len(), second.header.revision), (2, both));
    assert_eq!(second.events[0].prev_kv.as_ref().unwrap().value, "1");
    let third = response(&mut now).await;
    assert_eq!(
        (third.events[0].kind, third.events[0].prev_kv.as_ref().unwrap().value_text()),
        (EventKind::Delete, "2".into())
    );
    assert_eq!(keys(&[response(&mut now).await.events.remove(0).kv]), "w/last");

    let told = |events: Vec<Event>| -> String {
        events.iter().map(|event| format!("{}{} ", event.kv.key_text(), event.kv.value_text())).collect()
    };
    let mut past = cache.watch("w/").prefix().start_revision(start).await.unwrap();
    assert_eq!(told(events(&mut past, "w/last").await), "w/a1 w/a2 w/b1 w/a w/last ");
    let mut one = cache.watch("w/a").start_revision(both).await.unwrap();
    assert_eq!(told(response(&mut one).await.events), "w/a2 ");
    let mut puts = cache.watch("w/a").filter_delete().start_revision(start).await.unwrap();
    let mut deletes = cache.watch("w/a").filter_put().start_revision(start).await.unwrap();
    assert_eq!(told(response(&mut deletes).await.events), "w/a ");
    assert_eq!(told(response(&mut puts).await.events), "w/a1 ");
    let mut future = cache.watch("w/").prefix().start_revision(both + 4).await.unwrap();
    client.put("w/early", "").await.unwrap();
    client.put("w/late", "").await.unwrap();
    assert_eq!(told(events(&mut future, "w/late").await), "w/late ");
    // The server is told of one watch, however many there are here.
    let mut many = Vec::new();
    for _ in 0..50 {
        many.push(cache.watch("w/many").await.unwrap());
    }
    client.put("w/many", "x").await.unwrap();
    for told in join_all(many.iter_mut().map(response)).await {
        assert_eq!(told.events[0].kv.value, "x");
    }
}

#[tokio::test]
async fn a_watch_that_does_not_keep_up_ends() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let builder = Cache::builder(&client, "l/").history_revisions_max(10).watch_responses_max(3);
    let cache = builder.open().unwrap();
    soon(cache.wait_ready()).await.unwrap();
    let mut slow = cache.watch("l/").prefix().await.unwrap();
    client.put("l/k", "first").await.unwrap();
    let got = response(&mut slow).await;
    assert_eq!(got.events[0].kv.value, "first");
    for number in 0..30 {
        client.put("l/k", format!("{number}")).await.unwrap();
    }
    soon(cache.wait_for_revision(got.header.revision + 30)).await.unwrap();
    let ended = soon(slow.next()).await.unwrap().unwrap_err();
    let Error::Compacted { compact_revision } = ended else { panic!("{ended}") };
    assert_eq!(compact_revision, got.header.revision + 21);
    assert!(soon(slow.next()).await.is_none());
    // What the error says is what the next watch can start from.
    assert!(
        soon(cache.watch("l/k").start_revision(compact_revision - 1).await.unwrap().next())
            .await
            .unwrap()
            .is_err()
    );
    let mut next = cache.watch("l/k").start_revision(compact_revision).await.unwrap();
    for number in 20..30 {
        assert_eq!(response(&mut next).await.events[0].kv.value_text(), format!("{number}"));
    }
}

#[tokio::test]
async fn progress_is_told_to_who_wants_it() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let cache =
        Cache::builder(&client, "n/").progress_notify_interval(Duration::from_millis(50)).open().unwrap();
    let mut watch = cache.watch("n/").prefix().progress_notify().await.unwrap();
    let first = response(&mut watch).await;
    assert!(first.is_progress_notify() && first.header.revision >= 1, "{first:?}");
    let put = client.put("n/k", "v").await.unwrap().header.revision;
    let told = loop {
        let told = response(&mut watch).await;
        if !told.is_progress_notify() {
            break told;
        }
        assert!(told.header.revision < put);
    };
    assert_eq!(told.header.revision, put);
    assert_eq!(response(&mut watch).await.header.revision, put);
    let quiet = Cache::new(&client, "n/");
    let mut watch = quiet.watch("n/").prefix().progress_notify().await.unwrap();
    quiet.request_progress();
    assert!(response(&mut watch).await.is_progress_notify());
}

#[tokio::test]
async fn without_a_server_the_copy_still_answers_who_does_not_mind() {
    let mut server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let writer = server.client().await;
    writer.put("o/k", "1").await.unwrap();
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let builder = patient(&client, "o/");
    let cache = builder.open().unwrap();
    soon(cache.wait_ready()).await.unwrap();
    let mut watch = cache.watch("o/").prefix().await.unwrap();
    let start = cache.revision();
    proxy.down();
    assert_eq!(cache.get("o/k").serializable().await.unwrap().kvs[0].value, "1");
    writer.put("o/k", "2").await.unwrap();
    proxy.resume();
    assert_eq!(soon(cache.get("o/k")).await.unwrap().kvs[0].value, "2");
    assert_eq!(response(&mut watch).await.events[0].kv.value, "2");
    server.restart().await;
    eventually("the server is back", async || writer.put("o/last", "3").await.ok()).await;
    events(&mut watch, "o/last").await;
    assert_eq!(cache.get("o/k").revision(start).serializable().await.unwrap().kvs[0].value, "1");
}

#[tokio::test]
async fn what_cannot_be_copied_is_told() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    proxy.silence();
    let builder = Cache::builder(&client, "s/").wait_timeout(Duration::from_millis(300));
    let cache = builder.page_timeout(Duration::from_millis(500)).open().unwrap();
    let behind = soon(cache.get("s/k").serializable()).await.unwrap_err();
    assert!(matches!(behind, Error::CacheBehind { revision: 0, .. }), "{behind}");
    assert!(behind.to_string().starts_with("cache: timed out waiting for revision 0"), "{behind}");
    assert!(!cache.is_ready());
    proxy.resume();
    soon(cache.wait_ready()).await.unwrap();
    assert_eq!(cache.get("s/k").serializable().await.unwrap().count, 0);
}

#[tokio::test]
async fn after_a_compaction_there_is_a_new_copy() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let writer = server.client().await;
    writer.put("c/old", "1").await.unwrap();
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let cache = cache_of(&client, "c/");
    soon(cache.wait_ready()).await.unwrap();
    let mut watch = cache.watch("c/").prefix().await.unwrap();
    proxy.down();
    writer.delete("c/old").await.unwrap();
    writer.put("c/new", "1").await.unwrap();
    let last = writer.put("elsewhere", "1").await.unwrap().header.revision;
    writer.compact(last).await.unwrap();
    proxy.resume();
    let ended = soon(watch.next()).await.unwrap().unwrap_err();
    let Error::Compacted { compact_revision } = ended else { panic!("{ended}") };
    assert!(compact_revision > last, "{compact_revision} {last}");
    assert!(soon(watch.next()).await.is_none());
    let all = soon(cache.get("c/").prefix()).await.unwrap();
    assert_eq!(keys(&all.kvs), "c/new");
    let compacted = cache.get("c/").prefix().revision(last - 2).await.unwrap_err();
    assert!(compacted.is(EtcdError::Compacted), "{compacted}");
    let mut again = cache.watch("c/").prefix().start_revision(compact_revision).await.unwrap();
    writer.put("c/more", "1").await.unwrap();
    assert_eq!(keys(&[response(&mut again).await.events.remove(0).kv]), "c/more");
}

#[tokio::test]
async fn it_ends_when_it_is_closed_or_dropped() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let cache = cache_of(&client, "e/");
    let mut watch = cache.watch("e/").prefix().await.unwrap();
    let put = client.put("e/k", "v").await.unwrap();
    soon(cache.wait_for_revision(put.header.revision)).await.unwrap();
    let clone = cache.clone();
    drop(cache);
    assert_eq!(clone.get("e/k").await.unwrap().count, 1);
    clone.close();
    assert_eq!(response(&mut watch).await.events[0].kv.value, "v");
    assert!(soon(watch.next()).await.is_none());
    assert!(matches!(clone.get("e/k").await, Err(Error::Closed)));
    assert!(matches!(clone.get("e/k").serializable().await, Err(Error::Closed)));
    assert!(matches!(clone.wait_ready().await, Err(Error::Closed)));
    assert!(matches!(clone.watch("e/k").await, Err(Error::Closed)));
    assert!(!clone.is_ready());
    let dropped = Cache::new(&client, "e/");
    let mut watch = dropped.watch("e/").prefix().await.unwrap();
    drop(dropped);
    assert!(soon(watch.next()).await.is_none());
    let of_closed = Cache::new(&client, "e/");
    soon(of_closed.wait_ready()).await.unwrap();
    client.close();
    assert!(soon(of_closed.get("e/k")).await.is_err());
    eventually("the cache ends with its client", async || of_closed.wait_ready().await.err()).await;
}

/// Writers, readers and watchers while the wire is cut: no read is older than a write that was acknowledged before it, and what
/// watchers tell adds up to what the server has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_and_cuts_the_copy_stays_true() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let writer = server.client().await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let cache = cache_of(&client, "m/");
    let mut watch = cache.watch("m/").prefix().await.unwrap();
    let mut state: BTreeMap<String, String> = BTreeMap::new();
    let follower = tokio::spawn(async move {
        let mut revision = 0;
        loop {
            let told = soon(watch.next()).await.unwrap().unwrap();
            assert!(told.header.revision > revision);
            revision = told.header.revision;
            for event in told.events {
                let (key, value) = (event.kv.key_text().into_owned(), event.kv.value_text().into_owned());
                match event.kind {
                    EventKind::Put => drop(state.insert(key.clone(), value)),
                    EventKind::Delete => drop(state.remove(&key)),
                }
                if key == "m/last" {
                    return state;
                }
            }
        }
    });
    let reads = Progress::default();
    let workers = (0..4).map(|worker| {
        let (cache, writer, mut random) =
            (cache.clone(), writer.clone(), StdRng::seed_from_u64(seed ^ worker));
        let reads = reads.clone();
        tokio::spawn(async move {
            for number in 0..25 {
                let key = format!("m/{worker}/{}", random.random_range(0..5));
                let op = match random.random_bool(0.7) {
                    true => Op::from(Op::put(&key, format!("{number}"))),
                    false => Op::delete(&key).into(),
                };
                let is_put = matches!(op, Op::Put(_));
                let acknowledged = writer.execute(op).await.unwrap();
                let read = soon(cache.get(&key)).await.unwrap();
                reads.step();
                assert!(read.header.revision >= acknowledged.header().revision);
                let expected = is_put.then(|| format!("{number}"));
                assert_eq!(read.kvs.first().map(|pair| pair.value_text().into_owned()), expected);
                if let OpResponse::Put(put) = acknowledged {
                    assert_eq!(read.kvs[0].mod_revision, put.header.revision);
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let (mut random, mut before) = (StdRng::seed_from_u64(seed), 0);
    while workers.iter().any(|worker| !worker.is_finished()) {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..300))).await;
        // A machine that needs longer for a connection would never get to a read.
        if reads.steps() > before {
            before = reads.steps();
            proxy.cut();
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
    writer.put("m/last", "").await.unwrap();
    let told = follower.await.unwrap();
    let truth = writer.get("m/").prefix().await.unwrap();
    let truth: BTreeMap<String, String> =
        truth.kvs.iter().map(|pair| (pair.key_text().into(), pair.value_text().into())).collect();
    assert_eq!(told, truth);
}
