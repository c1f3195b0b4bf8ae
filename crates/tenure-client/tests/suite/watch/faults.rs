//! Watches and what happens to connections, servers, tokens and users that do not read.

use super::{end, events, events_until, next, text, watchers};
use crate::support::{AUTH_TOKEN_TTL, Proxy, TestServer, config, eventually, impatient, soon};
use futures::future::join_all;
use std::time::Duration;
use tenure_client::{Client, ClientConfig, Error, EtcdError, KeyRange, Permission, WatchStream};

#[tokio::test]
async fn a_watch_outlives_its_connection() {
    let server = TestServer::start().await;
    let writer = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let mut watch = client.watch("k").prefix().created_notify().await.unwrap();
    assert!(next(&mut watch).await.created);
    for number in 0..5 {
        writer.put("k", format!("{number}a")).await.unwrap();
        assert_eq!(events(&mut watch, 1).await, [format!("k={number}a")]);
        proxy.cut();
        writer.put("k", format!("{number}b")).await.unwrap();
        assert_eq!(events(&mut watch, 1).await, [format!("k={number}b")]);
    }
}

#[tokio::test]
async fn what_happens_while_nobody_is_connected_is_told_after() {
    let server = TestServer::start().await;
    let writer = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = impatient(config(proxy.endpoint()).connection_wait(Duration::from_secs(2))).await;
    let mut watch = client.watch("k").await.unwrap();
    proxy.down();
    writer.put("k", "1").await.unwrap();
    writer.delete("k").await.unwrap();
    // New watches fail; the one that is there waits as long as it takes.
    let error = soon(client.watch("k")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    proxy.resume();
    assert_eq!(events(&mut watch, 2).await, ["k=1", "-k"]);
}

/// All watches are told the same: what a watch that was never disturbed is told.
#[tokio::test]
async fn a_hundred_watches_outlive_restarts_under_writes() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    let start = client.put("k/first", "").await.unwrap().header.revision + 1;
    let started = (0..100).map(async |number| match number % 4 {
        0 => client.watch("k/").prefix().await,
        1 => client.watch("k/").prefix().prev_kv().fragment().await,
        2 => client.watch("k/").from_key().require_leader(false).await,
        _ => client.watch("k/").prefix().start_revision(start).await,
    });
    let watches: Vec<WatchStream> = join_all(started).await.into_iter().map(Result::unwrap).collect();
    let read = |mut watch: WatchStream| async move {
        let mut told = Vec::new();
        loop {
            for event in next(&mut watch).await.events {
                told.push((event.kv.mod_revision, text(&event)));
                if event.kv.key == "k/last" {
                    return told;
                }
            }
        }
    };
    let readers: Vec<_> = watches.into_iter().map(|watch| tokio::spawn(read(watch))).collect();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn({
        let client = client.clone();
        async move {
            let mut number = 0;
            while !*stopped.borrow() {
                // Whether a write that fails took effect does not matter here: all watches are to agree on it.
                if client.put(format!("k/{}", number % 7), format!("{number}")).await.is_ok() {
                    number += 1;
                }
            }
            number
        }
    });
    for _ in 0..3 {
        let before = client.get("k/").prefix().await.unwrap().header.revision;
        server.restart().await;
        eventually("more writes", async || {
            let now = client.get("k/").prefix().await.ok()?.header.revision;
            (now > before + 20).then_some(())
        })
        .await;
    }
    stop.send_replace(true);
    assert!(soon(writing).await.unwrap() > 60);
    eventually("the last write", async || client.put("k/last", "").await.ok()).await;
    let expected = soon(read(client.watch("k/").prefix().start_revision(start).await.unwrap())).await;
    assert!(expected.len() > 60);
    for reader in readers {
        assert_eq!(soon(reader).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_response_that_is_cut_off_is_told_once() {
    let server = TestServer::start().await;
    let writer = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let mut watch = client.watch("k").fragment().await.unwrap();
    for (number, bytes) in [1, 5, 9, 10, 40, 1_000, 100_000, 250_000].into_iter().enumerate() {
        let accepted = proxy.accepted();
        proxy.cut_after(bytes);
        writer.put("k", format!("{number}").repeat(300_000)).await.unwrap();
        writer.put("k", format!("{number} end")).await.unwrap();
        eventually("the cut", async || (proxy.accepted() > accepted).then_some(())).await;
        proxy.resume();
        let told = events_until(&mut watch, &format!("k={number} end")).await;
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].len(), 300_002);
    }
}

#[tokio::test]
async fn a_member_that_hangs_is_left_for_another() {
    let server = TestServer::start().await;
    let (hanging, other) = (Proxy::to(server.endpoint()).await, Proxy::to(server.endpoint()).await);
    let impatient =
        ClientConfig::new([hanging.endpoint()]).keep_alive(Duration::from_secs(10), Duration::from_secs(1));
    let client = Client::connect(impatient).await.unwrap();
    let mut watch = client.watch("k").await.unwrap();
    client.set_endpoints([hanging.endpoint(), other.endpoint()]).unwrap();
    hanging.silence();
    server.client().await.put("k", "v").await.unwrap();
    assert_eq!(events(&mut watch, 1).await, ["k=v"]);
}

#[tokio::test]
async fn what_was_compacted_meanwhile_cannot_be_told() {
    let server = TestServer::start().await;
    let writer = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let mut watch = client.watch("k").await.unwrap();
    writer.put("k", "1").await.unwrap();
    assert_eq!(events(&mut watch, 1).await, ["k=1"]);
    proxy.down();
    writer.put("k", "2").await.unwrap();
    writer.put("k", "3").await.unwrap();
    let revision = writer.put("k", "4").await.unwrap().header.revision;
    writer.compact(revision).await.unwrap();
    proxy.resume();
    let error = end(&mut watch).await;
    assert!(
        matches!(error, Error::Compacted { compact_revision } if compact_revision == revision),
        "{error}"
    );
    assert!(error.is(EtcdError::Compacted));
    // As it says: from there it goes on.
    let mut watch = client.watch("k").start_revision(revision).await.unwrap();
    assert_eq!(events(&mut watch, 1).await, ["k=4"]);
}

// --- users that do not read

const LARGE_BYTES: usize = 512 * 1024;

async fn write_large(client: &Client, count: usize) {
    for number in 0..count {
        client.put("k", format!("{number:04}").repeat(LARGE_BYTES / 4)).await.expect("it is written");
    }
}

#[tokio::test]
async fn who_reads_slowly_loses_nothing_and_holds_up_nobody() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut slow = client.watch("k").await.unwrap();
    let quick = client.watch("k").await.unwrap();
    let reading = tokio::spawn(async move {
        let mut quick = quick;
        events(&mut quick, 40).await.len()
    });
    write_large(&client, 40).await;
    assert_eq!(soon(reading).await.unwrap(), 40, "others are not held up");
    if watchers(&server).await.is_some() {
        // Its queue is full: nothing waits for it on the server. The quick one has gone.
        eventually("no watch", async || (watchers(&server).await == Some(0.0)).then_some(())).await;
    }
    let told = events(&mut slow, 40).await;
    let numbers: Vec<&str> = told.iter().map(|event| &event[2..6]).collect();
    assert_eq!(numbers, (0..40).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    client.put("k", "end").await.unwrap();
    assert_eq!(events(&mut slow, 1).await, ["k=end"]);
}

#[tokio::test]
async fn who_reads_too_slowly_finds_the_rest_compacted() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut slow = client.watch("k").await.unwrap();
    let mut quick = client.watch("k").await.unwrap();
    for _ in 0..3 {
        write_large(&client, 10).await;
        events(&mut quick, 10).await;
    }
    let revision = client.get("k").await.unwrap().header.revision;
    client.compact(revision).await.unwrap();
    let mut told = 0;
    let error = loop {
        match soon(slow.next()).await.unwrap() {
            Ok(response) => told += response.events.len(),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, Error::Compacted { compact_revision } if compact_revision == revision),
        "{error}"
    );
    assert!((1..30).contains(&told), "{told}");
}

// --- users and tokens

#[tokio::test]
async fn a_watch_outlives_its_token() {
    let Some(server) = TestServer::with_auth(AUTH_TOKEN_TTL).await else { return };
    let nobody = server.client().await;
    let auth = nobody.auth();
    auth.user_add("root", "root-password").await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    auth.role_add("app").await.unwrap();
    auth.role_grant_permission("app", Permission::read(KeyRange::prefix("app/"))).await.unwrap();
    auth.user_add("alice", "alice-password").await.unwrap();
    auth.user_grant_role("alice", "app").await.unwrap();
    auth.enable().await.unwrap();
    let as_root = || config(server.endpoint()).user("root", "root-password");
    let proxy = Proxy::to(server.endpoint()).await;
    let alice = Client::connect(config(proxy.endpoint()).user("alice", "alice-password")).await.unwrap();
    let mut watch = alice.watch("app/").prefix().await.unwrap();
    for range in [alice.watch("other").prefix(), alice.watch("ap").prefix()] {
        let denied = soon(range).await.unwrap_err();
        assert!(denied.is(EtcdError::PermissionDenied), "{denied}");
    }
    for number in 0..3 {
        let root = Client::connect(as_root()).await.unwrap();
        root.put("app/k", format!("{number}a")).await.unwrap();
        assert_eq!(events(&mut watch, 1).await, [format!("app/k={number}a")]);
        // All tokens end; the watch meets a server that does not know its own any more.
        root.auth().disable().await.unwrap();
        nobody.auth().enable().await.unwrap();
        proxy.cut();
        let root = Client::connect(as_root()).await.unwrap();
        root.put("app/k", format!("{number}b")).await.unwrap();
        assert_eq!(events(&mut watch, 1).await, [format!("app/k={number}b")]);
    }
    // Who may not read any more is told so when the watch has to be resumed.
    let root = Client::connect(as_root()).await.unwrap();
    root.auth().role_revoke_permission("app", KeyRange::prefix("app/")).await.unwrap();
    proxy.cut();
    let error = end(&mut watch).await;
    assert!(error.is(EtcdError::PermissionDenied), "{error}");
}
