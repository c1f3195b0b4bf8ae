//! Waiting for one, and for each other.

use super::{line, places, session, stand_in_line};
use crate::support::{Progress, Proxy, TestServer, config, eventually, soon};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;
use tenure_client::{
    Client, Error, Op,
    concurrency::{Barrier, DoubleBarrier, DoubleBarrierGuard, Session},
};
use tokio::task::{JoinHandle, JoinSet};

#[tokio::test]
async fn all_wait_until_the_barrier_is_released() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let direct = server.client().await;
    let barrier = Barrier::new(&direct, "barrier");
    soon(barrier.wait()).await.unwrap();
    barrier.release().await.unwrap();
    barrier.hold().await.unwrap();
    let twice = Barrier::new(&client, "barrier").hold().await.unwrap_err();
    assert!(matches!(twice, Error::KeyExists), "{twice}");
    // Another key that begins alike is another barrier.
    soon(Barrier::new(&direct, "barr").wait()).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..5 {
        let barrier = Barrier::new(&client, "barrier");
        waiting.spawn(async move { barrier.wait().await });
    }
    proxy.cut();
    assert_eq!(soon(client.get("barrier")).await.unwrap().count, 1);
    assert!(waiting.try_join_next().is_none());
    proxy.down();
    barrier.release().await.unwrap();
    // Who cannot see it yet sees it once he can, though it is history by then.
    let newest = direct.put("other", "").await.unwrap().header.revision;
    direct.compact(newest).physical().await.unwrap();
    proxy.resume();
    assert!(soon(waiting.join_all()).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn answers_of_a_barrier_that_are_lost_are_looked_up() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let barrier = Barrier::new(&client, "barrier");
    let lose = async {
        proxy.lose_answer(async || places(&direct, "barrier").await == 1).await;
        proxy.resume();
    };
    soon(async { tokio::join!(barrier.hold(), lose) }).await.0.unwrap();
    let lose = async {
        proxy.lose_answer(async || places(&direct, "barrier").await == 0).await;
        // Who raises it again is not undone.
        Barrier::new(&direct, "barrier").hold().await.unwrap();
        proxy.resume();
    };
    soon(async { tokio::join!(barrier.release(), lose) }).await.0.unwrap();
    assert_eq!(places(&direct, "barrier").await, 1);
}

fn enter(session: &Session, count: usize) -> JoinHandle<DoubleBarrierGuard> {
    let barrier = DoubleBarrier::new(session, "b", count);
    tokio::spawn(async move { barrier.enter().await.unwrap() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_enter_and_leave_together_again_and_again() {
    const COUNT: usize = 6;
    let server = TestServer::start().await;
    let client = server.client().await;
    let (entering, leaving) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let sessions = [session(&server).await, session(&server).await];
    for _ in 0..3 {
        entering.store(0, Ordering::SeqCst);
        leaving.store(0, Ordering::SeqCst);
        let mut tasks = JoinSet::new();
        for number in 0..COUNT {
            let barrier = DoubleBarrier::new(&sessions[number % 2], "b", COUNT);
            let (entering, leaving) = (entering.clone(), leaving.clone());
            tasks.spawn(async move {
                entering.fetch_add(1, Ordering::SeqCst);
                let inside = barrier.enter().await.unwrap();
                assert_eq!(entering.load(Ordering::SeqCst), COUNT, "inside before all have come");
                leaving.fetch_add(1, Ordering::SeqCst);
                inside.leave().await.unwrap();
                assert_eq!(leaving.load(Ordering::SeqCst), COUNT, "outside before all have left");
            });
        }
        soon(tasks.join_all()).await;
        assert!(line(&client, "b/").await.is_empty());
    }
}

#[tokio::test]
async fn nobody_enters_before_the_last_one_and_nobody_after_him() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = session(&server).await;
    let first = enter(&session, 2);
    let pairs = stand_in_line(&client, "b/waiters/", 1).await;
    assert!(pairs[0].lease == session.lease() && !first.is_finished());
    let second = enter(&session, 2);
    let (first, second) = (soon(first).await.unwrap(), soon(second).await.unwrap());
    assert_eq!(first.key(), &pairs[0].key);
    let third = DoubleBarrier::new(&session, "b", 2).enter().await.unwrap_err();
    assert!(matches!(third, Error::TooManyClients), "{third}");
    assert_eq!(line(&client, "b/").await.len(), 3);
    let leaving = tokio::spawn(first.leave());
    assert!(!leaving.is_finished());
    // Who is dropped leaves as well, and does not wait.
    drop(second);
    soon(leaving).await.unwrap().unwrap();
    assert!(line(&client, "b/").await.is_empty());
}

#[tokio::test]
async fn who_fails_before_all_have_come_is_replaced() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other, lost) = (session(&server).await, session(&server).await, session(&server).await);
    let first = enter(&one, 3);
    stand_in_line(&client, "b/", 1).await;
    let given_up = enter(&one, 3);
    stand_in_line(&client, "b/", 2).await;
    given_up.abort();
    stand_in_line(&client, "b/", 1).await;
    let barrier = DoubleBarrier::new(&lost, "b", 3);
    let ended = tokio::spawn(async move { barrier.enter().await.map(drop) });
    stand_in_line(&client, "b/", 2).await;
    lost.close().await.unwrap();
    let error = soon(ended).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
    let second = enter(&other, 3);
    stand_in_line(&client, "b/", 2).await;
    assert!(!first.is_finished() && !second.is_finished());
    let third = enter(&other, 3);
    let inside = [soon(first).await.unwrap(), soon(second).await.unwrap(), soon(third).await.unwrap()];
    let leaving: Vec<_> = inside.into_iter().map(|inside| tokio::spawn(inside.leave())).collect();
    for leaving in leaving {
        soon(leaving).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_last_one_may_fail_before_he_tells_the_others() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = session(&server).await;
    let first = enter(&session, 2);
    stand_in_line(&client, "b/", 1).await;
    // As if a program of etcd's had come and died: its key is there, and nothing more.
    client.put("b/waiters/1", "").await.unwrap();
    let inside = soon(first).await.unwrap();
    client.delete("b/waiters/1").await.unwrap();
    soon(inside.leave()).await.unwrap();
    assert!(line(&client, "b/").await.is_empty());
}

#[tokio::test]
async fn who_leaves_late_does_not_wait_for_the_next_round() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = session(&server).await;
    // The other one, by hand, is the oldest.
    client.put("b/waiters/1", "").await.unwrap();
    let inside = soon(enter(&session, 2)).await.unwrap();
    let leaving = tokio::spawn(inside.leave());
    stand_in_line(&client, "b/waiters/", 1).await;
    // It is the last to leave, and comes for the next round before it is known here.
    let again = [Op::from(Op::delete("b/waiters/1")), Op::put("b/waiters/2", "").into()];
    client.txn().and_then(again).commit().await.unwrap();
    soon(leaving).await.unwrap().unwrap();
    let inside = soon(enter(&session, 2)).await.unwrap();
    client.delete("b/waiters/2").await.unwrap();
    soon(inside.leave()).await.unwrap();
    assert!(places(&client, "b/waiters/").await == 0);
}

#[tokio::test]
async fn who_comes_early_is_of_the_next_round() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = session(&server).await;
    let oldest = enter(&session, 3);
    stand_in_line(&client, "b/waiters/", 1).await;
    for number in 1..3 {
        client.put(format!("b/waiters/{number}"), "").await.unwrap();
    }
    let oldest = soon(oldest).await.unwrap();
    client.delete("b/waiters/1").await.unwrap();
    // Three are there, but one of them has yet to leave, and one will never be of this round.
    let early = enter(&session, 3);
    stand_in_line(&client, "b/waiters/", 3).await;
    let leaving = tokio::spawn(oldest.leave());
    client.delete("b/waiters/2").await.unwrap();
    soon(leaving).await.unwrap().unwrap();
    stand_in_line(&client, "b/", 1).await;
    assert!(!early.is_finished());
    let others = [enter(&session, 3), enter(&session, 3)];
    let mut leaving = JoinSet::new();
    for inside in others.into_iter().chain([early]) {
        leaving.spawn(soon(inside).await.unwrap().leave());
    }
    assert!(soon(leaving.join_all()).await.iter().all(Result::is_ok));
    assert!(line(&client, "b/").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_follows_round_without_anybody_to_call_them() {
    const COUNT: usize = 5;
    let server = TestServer::start().await;
    let (entered, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let progress = Progress::default();
    for _ in 0..COUNT {
        let barrier = DoubleBarrier::new(&session(&server).await, "b", COUNT);
        let (entered, progress) = (entered.clone(), progress.clone());
        tasks.spawn(async move {
            for round in 1..=6 {
                entered.fetch_add(1, Ordering::SeqCst);
                // Who is early may find some of the last round still inside.
                let inside = loop {
                    match barrier.enter().await {
                        Err(Error::TooManyClients) => {}
                        inside => break inside.unwrap(),
                    }
                };
                assert!(entered.load(Ordering::SeqCst) >= round * COUNT, "inside before all have come");
                progress.step();
                inside.leave().await.unwrap();
            }
        });
    }
    let client = server.client().await;
    progress.of(&client, tasks.join_all()).await;
    assert!(line(&client, "b/").await.is_empty());
}

#[tokio::test]
async fn a_double_barrier_works_over_cut_connections() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let session = Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap();
    proxy.mute();
    let first = enter(&session, 2);
    // Whether it has already put its key or still reads, it finds out.
    proxy.cut();
    proxy.resume();
    stand_in_line(&direct, "b/waiters/", 1).await;
    proxy.cut();
    let second = enter(&session, 2);
    let (first, second) = (soon(first).await.unwrap(), soon(second).await.unwrap());
    let leaving = [tokio::spawn(first.leave()), tokio::spawn(second.leave())];
    proxy.cut();
    for leaving in leaving {
        soon(leaving).await.unwrap().unwrap();
    }
    eventually("all gone", async || line(&direct, "b/").await.is_empty().then_some(())).await;
    // A key of an earlier round does no harm.
    direct.txn().and_then([Op::put("b/ready", "")]).commit().await.unwrap();
    let first = enter(&session, 2);
    stand_in_line(&direct, "b/waiters/", 1).await;
    assert!(!first.is_finished());
    let second = soon(enter(&session, 2)).await.unwrap();
    let first = soon(first).await.unwrap();
    let leaving = tokio::spawn(first.leave());
    soon(second.leave()).await.unwrap();
    soon(leaving).await.unwrap().unwrap();
}
