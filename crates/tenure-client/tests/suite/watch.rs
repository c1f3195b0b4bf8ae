//! Watches: every option, and every way in which a stream can break.

mod faults;

use crate::support::{Proxy, TestServer, answers_in_order, config, eventually, figure, soon};
use futures::StreamExt;
use tenure_client::{Client, Code, Error, Event, EventKind, Op, WatchResponse, WatchStream};

/// The next response.
async fn next(watch: &mut WatchStream) -> WatchResponse {
    soon(watch.next()).await.expect("the watch goes on").expect("it does not fail")
}

/// The error that is the last item.
async fn end(watch: &mut WatchStream) -> Error {
    let error = soon(watch.next()).await.expect("it is told").expect_err("it is the end");
    assert!(soon(watch.next()).await.is_none());
    error
}

fn text(event: &Event) -> String {
    let (key, value) = (event.kv.key_text(), event.kv.value_text());
    match event.kind {
        EventKind::Put => format!("{key}={value}"),
        EventKind::Delete => format!("-{key}"),
    }
}

/// So many events, as texts: `k=v`, or `-k`.
async fn events(watch: &mut WatchStream, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(next(watch).await.events.iter().map(text));
    }
    events
}

/// Everything up to the event whose text this is.
async fn events_until(watch: &mut WatchStream, last: &str) -> Vec<String> {
    let mut events = Vec::new();
    while events.last().is_none_or(|event| event != last) {
        events.extend(next(watch).await.events.iter().map(text));
    }
    events
}

/// How many watches the server has.
async fn watchers(server: &TestServer) -> Option<f64> {
    figure(&server.endpoint(), "etcd_debugging_mvcc_watcher_total").await
}

// --- options

#[tokio::test]
async fn changes_are_told_in_order() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut watch = client.watch("k").await.unwrap();
    let put = client.put("k", "1").await.unwrap().header;
    client.put("other", "x").await.unwrap();
    client.put("k", "2").await.unwrap();
    client.delete("k").await.unwrap();
    let first = next(&mut watch).await;
    assert_eq!((first.events.len(), first.header.revision), (1, put.revision));
    assert_eq!(first.header.member_id, put.member_id);
    assert!(!first.created && !first.is_progress_notify());
    let event = &first.events[0];
    assert!(event.is_create() && !event.is_modify());
    assert_eq!((event.kv.mod_revision, event.kv.version, &event.prev_kv), (put.revision, 1, &None));
    let second = next(&mut watch).await.events.remove(0);
    assert!(second.is_modify() && !second.is_create());
    let third = next(&mut watch).await.events.remove(0);
    assert_eq!((text(&second), text(&third)), ("k=2".into(), "-k".into()));
    assert!(!third.is_create() && !third.is_modify());
    assert_eq!(third.kv.mod_revision, second.kv.mod_revision + 1);
}

#[tokio::test]
async fn ranges_are_as_those_of_reads() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let prefix = client.watch("b").prefix().await.unwrap();
    let all = client.watch("").prefix().await.unwrap();
    let from = client.watch("b1").from_key().await.unwrap();
    let between = client.watch("a").range_end("b1").await.unwrap();
    for key in ["a", "b", "b1", "c", "end"] {
        client.put(key, "").await.unwrap();
    }
    for (mut watch, expected) in
        [(prefix, "b= b1="), (all, "a= b= b1= c= end="), (from, "b1= c= end="), (between, "a= b=")]
    {
        let expected: Vec<&str> = expected.split(' ').collect();
        assert_eq!(events(&mut watch, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn a_range_that_ends_before_it_begins_is_refused() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut other = client.watch("k").await.unwrap();
    let error = soon(client.watch("b").range_end("a")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message().as_str()),
        (Code::InvalidArgument, "mvcc: watcher range is empty")
    );
    let error = soon(client.watch("b").start_revision(-1)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let error = soon(client.watch(vec![b'k'; 3 << 20])).await.unwrap_err();
    assert!(matches!(error, Error::RequestTooLarge { .. }), "{error}");
    client.put("k", "v").await.unwrap();
    assert_eq!(events(&mut other, 1).await, ["k=v"]);
}

#[tokio::test]
async fn options_say_what_is_told() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut puts = client.watch("k").filter_delete().await.unwrap();
    let mut deletes = client.watch("k").filter_put().prev_kv().await.unwrap();
    let mut created = client.watch("k").created_notify().prev_kv().require_leader(false).await.unwrap();
    let first = next(&mut created).await;
    assert!(first.created && !first.is_progress_notify() && first.events.is_empty());
    assert_eq!(first.header.revision, 1);
    client.put("k", "1").await.unwrap();
    client.delete("k").await.unwrap();
    client.put("k", "2").await.unwrap();
    assert_eq!(events(&mut puts, 2).await, ["k=1", "k=2"]);
    let deleted = next(&mut deletes).await.events.remove(0);
    assert_eq!(deleted.prev_kv.unwrap().value, "1");
    let put = next(&mut created).await.events.remove(0);
    assert!(put.is_create() && put.prev_kv.is_none());
}

#[tokio::test]
async fn a_watch_starts_in_the_past_or_in_the_future() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for number in 2..=20 {
        client.put("k", format!("{number}")).await.unwrap();
    }
    let mut past = client.watch("k").start_revision(15).await.unwrap();
    assert_eq!(events(&mut past, 6).await, ["k=15", "k=16", "k=17", "k=18", "k=19", "k=20"]);
    let mut future = client.watch("k").start_revision(23).await.unwrap();
    for number in 21..=24 {
        client.put("k", format!("{number}")).await.unwrap();
    }
    assert_eq!(events(&mut future, 2).await, ["k=23", "k=24"]);
    client.compact(20).await.unwrap();
    let mut compacted = client.watch("k").start_revision(10).await.unwrap();
    let error = end(&mut compacted).await;
    assert!(matches!(error, Error::Compacted { compact_revision: 20 }), "{error}");
}

#[tokio::test]
async fn changes_of_one_revision_come_together() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut watch = client.watch("").prefix().await.unwrap();
    let puts = (0..100).map(|number| Op::put(format!("{number:03}"), "v"));
    client.txn().and_then(puts).commit().await.unwrap();
    assert_eq!(next(&mut watch).await.events.len(), 100);
}

#[tokio::test]
async fn large_events_come_in_fragments_and_are_told_as_one() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for number in 0..6 {
        client.put(format!("k{number}"), vec![b'v'; 1 << 20]).await.unwrap();
    }
    let mut past = client.watch("k").prefix().start_revision(1).fragment().await.unwrap();
    let mut keys = Vec::new();
    while keys.len() < 6 {
        for event in next(&mut past).await.events {
            assert_eq!(event.kv.value.len(), 1 << 20);
            keys.push(event.kv.key_text().into_owned());
        }
    }
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4", "k5"]);
    // One revision of 6 MiB.
    let mut deletes = client.watch("k").prefix().fragment().prev_kv().await.unwrap();
    client.delete("k").prefix().await.unwrap();
    let deleted = next(&mut deletes).await;
    assert_eq!(deleted.events.len(), 6);
    assert!(
        deleted
            .events
            .iter()
            .all(|event| event.prev_kv.as_ref().is_some_and(|pair| pair.value.len() == 1 << 20))
    );
}

#[tokio::test]
async fn keys_are_those_of_the_namespace() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let app = client.with_namespace("app/");
    let mut all = app.watch("").prefix().prev_kv().await.unwrap();
    let mut from = app.watch("b").from_key().await.unwrap();
    let mut one = app.watcher().watch("a").await.unwrap();
    client.put("a", "outside").await.unwrap();
    client.put("app0", "outside").await.unwrap();
    app.put("a", "1").await.unwrap();
    app.delete("a").await.unwrap();
    app.put("b", "2").await.unwrap();
    assert_eq!(next(&mut all).await.events[0].kv.key, "a");
    assert_eq!(next(&mut all).await.events[0].prev_kv.as_ref().unwrap().key, "a");
    assert_eq!(events(&mut all, 1).await, ["b=2"]);
    assert_eq!(events(&mut from, 1).await, ["b=2"]);
    assert_eq!(events(&mut one, 2).await, ["a=1", "-a"]);
}

// --- progress

#[tokio::test]
async fn a_quiet_watch_is_told_how_far_it_is() {
    let Some(server) = TestServer::with_progress().await else { return };
    let client = server.client().await;
    let mut watch = client.watch("k").progress_notify().await.unwrap();
    let revision = client.put("other", "v").await.unwrap().header.revision;
    loop {
        let response = next(&mut watch).await;
        assert!(response.is_progress_notify());
        if response.header.revision == revision {
            break;
        }
    }
    // It goes on from there: what is compacted before does not matter.
    client.compact(revision).await.unwrap();
    client.put("k", "v").await.unwrap();
    let told = loop {
        let response = next(&mut watch).await;
        if !response.is_progress_notify() {
            break response;
        }
    };
    assert_eq!(text(&told.events[0]), "k=v");
}

/// The last revision that a progress answer can tell of.
fn provable(revision: i64, told: i64) -> i64 {
    if answers_in_order() { revision } else { told }
}

#[tokio::test]
async fn progress_can_be_asked_for() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut asking = client.watch("k").await.unwrap();
    let mut other = client.watch("k").await.unwrap();
    let revision = client.put("other", "v").await.unwrap().header.revision;
    asking.request_progress().await;
    let answer = next(&mut asking).await;
    assert!(answer.is_progress_notify());
    assert_eq!(answer.header.revision, provable(revision, revision - 1));
    let put = client.put("k", "1").await.unwrap().header.revision;
    assert_eq!(events(&mut asking, 1).await, ["k=1"]);
    // Nothing was told to who has not asked.
    assert_eq!(next(&mut other).await.events.len(), 1);
    client.watcher().request_progress().await;
    for watch in [&mut asking, &mut other] {
        let answer = next(watch).await;
        assert!(answer.is_progress_notify());
        assert_eq!(answer.header.revision, put);
    }
}

#[tokio::test]
async fn a_question_for_progress_outlives_the_connection() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let mut watch = client.watch("k").await.unwrap();
    proxy.down();
    watch.request_progress().await;
    let revision = server.client().await.put("other", "v").await.unwrap().header.revision;
    proxy.resume();
    let answer = next(&mut watch).await;
    assert!(answer.is_progress_notify());
    assert_eq!(answer.header.revision, provable(revision, revision - 1));
}

#[tokio::test]
async fn progress_never_runs_ahead_of_events() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let writer = server.client().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn(async move {
        for number in 0.. {
            if *stopped.borrow() {
                return;
            }
            writer.put("k", format!("{number}")).await.unwrap();
        }
    });
    let mut watch = client.watch("k").await.unwrap();
    let (mut told, mut changes, mut answers) = (0, 0, 0);
    while changes < 100 || answers < 20 {
        watch.request_progress().await;
        let response = next(&mut watch).await;
        for event in &response.events {
            assert!(event.kv.mod_revision > told, "an event of {} after {told}", event.kv.mod_revision);
            told = event.kv.mod_revision;
            changes += 1;
        }
        if response.is_progress_notify() {
            assert!(response.header.revision >= told);
            told = response.header.revision;
            answers += 1;
        }
    }
    stop.send_replace(true);
    writing.await.unwrap();
}

// --- the end

#[tokio::test]
async fn who_goes_is_cancelled_on_the_server() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut kept = client.watch("k").await.unwrap();
    if watchers(&server).await != Some(1.0) {
        println!("skipped: the server does not count its watches");
        return;
    }
    let dropped = client.watch("k").prefix().await.unwrap();
    let closed = client.watch("k").await.unwrap();
    // A watch that is given up before it is there.
    drop(
        tokio::time::timeout(
            std::time::Duration::ZERO,
            std::future::IntoFuture::into_future(client.watch("x")),
        )
        .await,
    );
    eventually("three watches", async || (watchers(&server).await == Some(3.0)).then_some(())).await;
    soon(closed.close()).await;
    assert_eq!(watchers(&server).await, Some(2.0), "close waits for the server");
    drop(dropped);
    eventually("one watch", async || (watchers(&server).await == Some(1.0)).then_some(())).await;
    client.put("k", "v").await.unwrap();
    assert_eq!(events(&mut kept, 1).await, ["k=v"]);
    drop(kept);
    let streams = async || figure(&server.endpoint(), "etcd_debugging_mvcc_watch_stream_total").await;
    eventually("no stream", async || (streams().await == Some(0.0)).then_some(())).await;
    // The next one opens another.
    let mut again = client.watch("k").await.unwrap();
    client.put("k", "w").await.unwrap();
    assert_eq!(events(&mut again, 1).await, ["k=w"]);
}

#[tokio::test]
async fn closing_ends_watches_with_an_error() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut watch = client.watch("k").await.unwrap();
    client.watcher().close();
    assert!(matches!(end(&mut watch).await, Error::Closed));
    let mut watch = client.watch("k").await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(events(&mut watch, 1).await, ["k=v"]);
    client.close();
    assert!(matches!(end(&mut watch).await, Error::Closed));
    assert!(matches!(soon(client.watch("k")).await, Err(Error::Closed)));
}

#[tokio::test]
async fn dropping_the_client_ends_its_watches() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut watch = client.watch("k").await.unwrap();
    client.put("k", "v").await.unwrap();
    drop(client);
    let told: Vec<_> = soon(watch.by_ref().collect::<Vec<_>>()).await;
    assert!(matches!(told.last(), Some(Err(Error::Closed))), "{told:?}");
}
