//! Locks that readers share.

use super::{line, places, session, stand_in_line};
use crate::support::{Progress, Proxy, TestServer, config, soon};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;
use tenure_client::{
    Client, Error,
    concurrency::{RwMutex, Session},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn readers_share_and_writers_do_not_in_the_order_of_asking() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other) = (session(&server).await, session(&server).await);
    let (one, other) = (RwMutex::new(&one, "lock"), RwMutex::new(&other, "lock"));
    let readers =
        [soon(one.read()).await.unwrap(), soon(other.read()).await.unwrap(), soon(one.read()).await.unwrap()];
    assert!(readers.iter().all(|reader| reader.key().starts_with(b"lock/read/")));
    let writer = tokio::spawn({
        let other = other.clone();
        async move { other.write().await.unwrap() }
    });
    let pairs = stand_in_line(&client, "lock/", 4).await;
    assert!(pairs[3].key.starts_with(b"lock/write/"));
    // Who asks after the writer waits for him, so that he does not starve.
    let late = tokio::spawn({
        let one = one.clone();
        async move { one.read().await.unwrap() }
    });
    let pairs = stand_in_line(&client, "lock/", 5).await;
    for reader in readers {
        assert!(!writer.is_finished() && !late.is_finished());
        reader.unlock().await.unwrap();
    }
    let writer = soon(writer).await.unwrap();
    assert_eq!(writer.revision(), pairs[3].create_revision);
    let writers = tokio::spawn(async move { other.write().await.unwrap() });
    stand_in_line(&client, "lock/", 3).await;
    assert!(!late.is_finished() && !writers.is_finished());
    writer.unlock().await.unwrap();
    let late = soon(late).await.unwrap();
    assert_eq!(late.revision(), pairs[4].create_revision);
    assert!(!writers.is_finished());
    drop(late);
    soon(writers).await.unwrap().unlock().await.unwrap();
    assert!(line(&client, "lock/").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_and_writers_exclude_each_other() {
    let server = TestServer::start().await;
    // Readers inside, or -1 for a writer.
    let inside = Arc::new(AtomicI64::new(0));
    let mut tasks = JoinSet::new();
    let progress = Progress::default();
    for _ in 0..3 {
        let lock = RwMutex::new(&session(&server).await, "lock");
        for task in 0..6 {
            let (lock, inside, progress) = (lock.clone(), inside.clone(), progress.clone());
            tasks.spawn(async move {
                for _ in 0..3 {
                    let guard = if task % 2 == 0 {
                        let guard = lock.write().await.unwrap();
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 0);
                        tokio::task::yield_now().await;
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), -1);
                        guard
                    } else {
                        let guard = lock.read().await.unwrap();
                        assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0);
                        tokio::task::yield_now().await;
                        assert!(inside.fetch_sub(1, Ordering::SeqCst) >= 1);
                        guard
                    };
                    guard.unlock().await.unwrap();
                    progress.step();
                }
            });
        }
    }
    let client = server.client().await;
    progress.of(&client, tasks.join_all()).await;
    assert!(line(&client, "lock/").await.is_empty());
}

#[tokio::test]
async fn who_gives_up_or_is_cut_off_leaves_the_line() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let lock =
        RwMutex::new(&Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap(), "lock");
    let reader = lock.read().await.unwrap();
    let writer = tokio::spawn({
        let lock = lock.clone();
        async move { lock.write().await.unwrap() }
    });
    stand_in_line(&direct, "lock/", 2).await;
    writer.abort();
    stand_in_line(&direct, "lock/", 1).await;
    // A lost answer, by who waits and by who gives up.
    for is_given_up in [false, true] {
        let locking = tokio::spawn({
            let lock = lock.clone();
            async move { lock.read().await.unwrap() }
        });
        proxy.hold_answer(async || places(&direct, "lock/").await == 2).await;
        let pairs = line(&direct, "lock/").await;
        if is_given_up {
            locking.abort();
        }
        proxy.cut();
        proxy.resume();
        if !is_given_up {
            let locked = soon(locking).await.unwrap();
            assert_eq!(locked.revision(), pairs[1].create_revision);
            assert_eq!(line(&direct, "lock/").await, pairs);
        }
        stand_in_line(&direct, "lock/", 1).await;
    }
    direct.delete(reader.key()).await.unwrap();
    soon(reader.lost()).await;
}

#[tokio::test]
async fn a_session_that_ends_lets_others_in() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other) = (session(&server).await, session(&server).await);
    let writer = RwMutex::new(&one, "lock").write().await.unwrap();
    let waiting = tokio::spawn({
        let lock = RwMutex::new(&other, "lock");
        async move { lock.read().await.unwrap() }
    });
    stand_in_line(&client, "lock/", 2).await;
    one.close().await.unwrap();
    assert!(!writer.is_held());
    assert!(soon(waiting).await.unwrap().is_held());
    let ended = session(&server).await;
    ended.orphan();
    let error = RwMutex::new(&ended, "lock").read().await.unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
}
