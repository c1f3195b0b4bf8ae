//! Locks.

use super::{line, places, session, stand_in_line};
use crate::support::{Progress, Proxy, TestServer, config, eventually, impatient, soon};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
    time::Instant,
};
use tenure_client::{
    Client, Code, Error, EtcdError, Op,
    concurrency::{Mutex, MutexGuard, Session},
};
use tokio::{sync::oneshot, task::JoinSet};

async fn is_owner(client: &Client, guard: &MutexGuard) -> bool {
    let txn = client.txn().when([guard.owner_condition()]).and_then([Op::put("proof", "")]);
    txn.commit().await.unwrap().succeeded
}

#[tokio::test]
async fn the_lock_goes_from_one_to_the_next_in_the_order_of_asking() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sessions = [session(&server).await, session(&server).await, session(&server).await];
    let first = Mutex::new(&sessions[0], "lock").lock().await.unwrap();
    assert_eq!(first.key(), &format!("lock/{}", sessions[0].lease()));
    let mut waiting = Vec::new();
    for (number, session) in sessions[1..].iter().enumerate() {
        let mutex = Mutex::new(session, "lock");
        waiting.push(tokio::spawn(async move { mutex.lock().await.unwrap() }));
        stand_in_line(&client, "lock/", number + 2).await;
    }
    let pairs = line(&client, "lock/").await;
    assert!(pairs.iter().zip(&sessions).all(|(pair, session)| pair.lease == session.lease()));
    assert_eq!(first.revision(), pairs[0].create_revision);
    assert_eq!(first.held_revision(), first.revision(), "nobody had to go first");
    assert!(first.is_held() && is_owner(&client, &first).await);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    let third = waiting.pop().unwrap();
    let second = waiting.pop().unwrap();
    first.unlock().await.unwrap();
    let second = soon(second).await.unwrap();
    assert_eq!(second.revision(), pairs[1].create_revision);
    assert!(second.held_revision() > pairs[2].create_revision, "the first went after all had come");
    assert!(is_owner(&client, &second).await && !third.is_finished());
    drop(second);
    let third = soon(third).await.unwrap();
    assert_eq!(third.revision(), pairs[2].create_revision);
    third.unlock().await.unwrap();
    assert!(line(&client, "lock/").await.is_empty());
}

#[tokio::test]
async fn trying_takes_a_free_lock_only_and_leaves_no_trace() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other) = (session(&server).await, session(&server).await);
    let held = Mutex::new(&one, "lock").try_lock().await.unwrap();
    let revision = client.get("x").await.unwrap().header.revision;
    let refused = Mutex::new(&other, "lock").try_lock().await.unwrap_err();
    assert!(matches!(refused, Error::Locked), "{refused}");
    // Also to who shares the session.
    let refused = Mutex::new(&one, "lock").try_lock().await.unwrap_err();
    assert!(matches!(refused, Error::Locked), "{refused}");
    assert_eq!(client.get("x").await.unwrap().header.revision, revision);
    assert!(Mutex::new(&other, "lock2").try_lock().await.is_ok());
    // Another lock, though its name begins alike.
    assert!(Mutex::new(&other, "loc").try_lock().await.is_ok());
    held.unlock().await.unwrap();
    let again = Mutex::new(&other, "lock").try_lock().await.unwrap();
    assert!(again.is_held() && again.revision() > revision);
}

/// Takes the lock, adds one to a counter in two steps, and gives it back.
async fn count_up(client: &Client, mutex: &Mutex, inside: &AtomicUsize, progress: &Progress) -> i64 {
    let guard = mutex.lock().await.unwrap();
    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
    let count: i64 =
        client.get("count").await.unwrap().first().map_or(0, |pair| pair.value_text().parse().unwrap());
    let put = Op::put("count", (count + 1).to_string());
    assert!(client.txn().when([guard.owner_condition()]).and_then([put]).commit().await.unwrap().succeeded);
    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1, "two holders");
    let revision = guard.revision();
    guard.unlock().await.unwrap();
    progress.step();
    revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_of_few_sessions_exclude_each_other() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (inside, progress) = (Arc::new(AtomicUsize::new(0)), Progress::default());
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        let mutex = Mutex::new(&session(&server).await, "lock");
        for _ in 0..6 {
            let (client, mutex, inside) = (client.clone(), mutex.clone(), inside.clone());
            let progress = progress.clone();
            tasks.spawn(async move {
                let first = count_up(&client, &mutex, &inside, &progress).await;
                let second = count_up(&client, &mutex, &inside, &progress).await;
                assert!(first < second);
                [first, second]
            });
        }
    }
    let mut revisions = progress.of(&client, tasks.join_all()).await.concat();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 60, "each holder has a revision of its own");
    assert_eq!(client.get("count").await.unwrap().kvs[0].value, "60");
    assert!(line(&client, "lock/").await.is_empty());
}

#[tokio::test]
async fn a_waiter_that_is_cancelled_leaves_the_line() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sessions = [session(&server).await, session(&server).await, session(&server).await];
    let first = Mutex::new(&sessions[0], "lock").lock().await.unwrap();
    let mut waiting = Vec::new();
    for (number, session) in sessions[1..].iter().enumerate() {
        let mutex = Mutex::new(session, "lock");
        waiting.push(tokio::spawn(async move { mutex.lock().await.unwrap() }));
        stand_in_line(&client, "lock/", number + 2).await;
    }
    waiting.remove(0).abort();
    let left = stand_in_line(&client, "lock/", 2).await;
    assert_eq!((left[0].lease, left[1].lease), (sessions[0].lease(), sessions[2].lease()));
    first.unlock().await.unwrap();
    let third = soon(waiting.remove(0)).await.unwrap();
    assert_eq!(third.revision(), left[1].create_revision);
    // One of the same session who waits here for the first one to be gone.
    let mutex = Mutex::new(&sessions[2], "lock");
    let waits = tokio::spawn(async move { mutex.lock().await.unwrap() });
    drop(third);
    assert!(soon(waits).await.unwrap().revision() > left[1].create_revision);
}

#[tokio::test]
async fn a_place_whose_answer_is_lost_is_found() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let session = Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap();
    for is_try in [false, true] {
        let mutex = Mutex::new(&session, "lock");
        let locking = async { if is_try { mutex.try_lock().await } else { mutex.lock().await } };
        let lose = async {
            proxy.lose_answer(async || places(&direct, "lock/").await == 1).await;
            let pairs = line(&direct, "lock/").await;
            proxy.resume();
            pairs
        };
        let (guard, pairs) = soon(async { tokio::join!(locking, lose) }).await;
        let guard = guard.unwrap();
        assert_eq!(guard.revision(), pairs[0].create_revision);
        assert_eq!(line(&direct, "lock/").await, pairs);
        // The same with the way back.
        let lose = async {
            proxy.lose_answer(async || places(&direct, "lock/").await == 0).await;
            proxy.resume();
        };
        soon(async { tokio::join!(guard.unlock(), lose) }).await.0.unwrap();
    }
}

#[tokio::test]
async fn a_put_that_arrives_after_all_is_cleared_away() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let session = Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap();
    let mutex = Mutex::new(&session, "lock");
    let lose = async {
        proxy.lose_answer(async || places(&direct, "lock/").await == 1).await;
        proxy.resume();
    };
    let guard = soon(async { tokio::join!(mutex.lock(), lose) }).await.0.unwrap();
    guard.unlock().await.unwrap();
    // As if the request without an answer had been stuck between members until now: it would stand in everybody's way.
    direct.put(mutex.key(), "").lease(session.lease()).await.unwrap();
    stand_in_line(&direct, "lock/", 0).await;
    // Whoever has the lock again by then is left alone.
    let again = mutex.lock().await.unwrap();
    assert!(!session.is_expired() && is_owner(&direct, &again).await);
}

#[tokio::test]
async fn who_gives_up_while_the_answer_is_under_way_leaves_no_key() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let session = Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap();
    for is_cut in [false, true] {
        let mutex = Mutex::new(&session, "lock");
        let locking = tokio::spawn(async move { mutex.lock().await });
        proxy.hold_answer(async || places(&direct, "lock/").await == 1).await;
        locking.abort();
        assert!(locking.await.unwrap_err().is_cancelled());
        if is_cut {
            proxy.cut();
        }
        proxy.resume();
        stand_in_line(&direct, "lock/", 0).await;
    }
    assert!(soon(Mutex::new(&session, "lock").lock()).await.unwrap().is_held());
}

#[tokio::test]
async fn waiting_survives_cut_connections_and_a_restart() {
    let mut server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let sessions = [
        Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap(),
        Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap(),
    ];
    let first = Mutex::new(&sessions[0], "lock").lock().await.unwrap();
    let mutex = Mutex::new(&sessions[1], "lock");
    let second = tokio::spawn(async move { mutex.lock().await.unwrap() });
    let pairs = stand_in_line(&client, "lock/", 2).await;
    for _ in 0..3 {
        proxy.cut();
        assert_eq!(soon(client.get("lock/").prefix()).await.unwrap().count, 2);
    }
    server.restart().await;
    assert_eq!(stand_in_line(&client, "lock/", 2).await, pairs);
    assert!(first.is_held() && !second.is_finished());
    // A write may be lost with the connection; unlocking goes on until it is done.
    proxy.cut();
    first.unlock().await.unwrap();
    let second = soon(second).await.unwrap();
    assert_eq!(second.revision(), pairs[1].create_revision);
    assert!(second.is_held() && is_owner(&server.client().await, &second).await);
}

#[tokio::test]
async fn a_session_that_ends_while_it_waits_ends_the_waiting() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let holder = session(&server).await;
    let held = Mutex::new(&holder, "lock").lock().await.unwrap();
    // Revoked by others: its renewals are told so.
    let waiter = Session::builder(&client).ttl(Duration::from_secs(12)).open().await.unwrap();
    let mutex = Mutex::new(&waiter, "lock");
    let waiting = tokio::spawn(async move { mutex.lock().await });
    stand_in_line(&client, "lock/", 2).await;
    client.lease().revoke(waiter.lease()).await.unwrap();
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
    // Who waits for the same session's turn is told too, and whoever comes later.
    let error = Mutex::new(&waiter, "lock").lock().await.unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
    let error = Mutex::new(&waiter, "lock").try_lock().await.unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
    assert!(held.is_held());
}

#[tokio::test]
async fn a_lease_that_is_gone_is_noticed_by_the_put() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = session(&server).await;
    client.lease().revoke(session.lease()).await.unwrap();
    for is_try in [false, true] {
        let mutex = Mutex::new(&session, "lock");
        let error = if is_try { mutex.try_lock().await } else { mutex.lock().await }.unwrap_err();
        assert!(matches!(error, Error::SessionExpired), "{error}");
    }
}

/// Takes the lock over a wire, spoils the wire, and has another session wait: the holder knows that he has lost the lock
/// before the other one has it.
async fn lost_in_time(spoil: impl Fn(&Proxy)) {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let cut_off = Session::builder(&client).ttl(Duration::from_secs(6)).open().await.unwrap();
    let held = Arc::new(Mutex::new(&cut_off, "lock").lock().await.unwrap());
    let other = Mutex::new(&session(&server).await, "lock");
    let first = held.clone();
    let waiting = tokio::spawn(async move { (other.lock().await.unwrap(), first.is_held()) });
    stand_in_line(&server.client().await, "lock/", 2).await;
    spoil(&proxy);
    let why = soon(held.lost()).await;
    assert!(matches!(why, Error::LeaseExpired { .. }), "{why}");
    assert!(!held.is_held());
    let (next, is_still_held) = soon(waiting).await.unwrap();
    assert!(!is_still_held, "known too late");
    assert!(next.revision() > held.revision());
    proxy.resume();
    let direct = server.client().await;
    assert!(!is_owner(&direct, &held).await && is_owner(&direct, &next).await);
    // There is nothing left to unlock, and the other one's lock is left alone.
    soon(Arc::into_inner(held).unwrap().unlock()).await.unwrap();
    assert!(is_owner(&direct, &next).await && next.is_held());
}

#[tokio::test]
async fn a_holder_whose_connections_are_cut_knows_in_time() {
    lost_in_time(Proxy::down).await;
}

#[tokio::test]
async fn a_holder_whose_wire_is_silent_knows_in_time() {
    lost_in_time(Proxy::silence).await;
}

#[tokio::test]
async fn a_key_that_somebody_deletes_is_a_lock_that_is_lost() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = session(&server).await;
    let held = Mutex::new(&session, "lock").lock().await.unwrap();
    // To write it is not to take it.
    client.put(held.key(), "scribble").lease(session.lease()).await.unwrap();
    assert!(is_owner(&client, &held).await);
    // Gone and there again at once is gone.
    client.delete(held.key()).await.unwrap();
    client.put(held.key(), "").await.unwrap();
    let why = soon(held.lost()).await;
    assert!(matches!(&why, Error::KeyGone { key } if key == held.key()), "{why}");
    assert!(!held.is_held() && !session.is_expired());
    assert!(!is_owner(&client, &held).await);
    let key = held.key().clone();
    held.unlock().await.unwrap();
    assert_eq!(client.get(key).await.unwrap().count, 1, "a key of somebody else's stays");
}

#[tokio::test]
async fn why_a_lock_was_lost_stays_the_same() {
    let server = TestServer::start().await;
    let session = session(&server).await;
    let held = Mutex::new(&session, "lock").lock().await.unwrap();
    server.client().await.lease().revoke(session.lease()).await.unwrap();
    // The key is gone at once, and the next renewal is refused. Whatever is heard of first.
    let first = soon(held.lost()).await;
    assert!(matches!(first, Error::KeyGone { .. }) || first.is(EtcdError::LeaseNotFound), "{first}");
    soon(session.expired()).await;
    let (again, too) = tokio::join!(held.lost(), held.lost());
    assert_eq!([again.to_string(), too.to_string()], [first.to_string(), first.to_string()]);
}

/// A lock of a session with this TTL, over a wire.
async fn lock_over(proxy: &Proxy, ttl: Duration) -> (Session, MutexGuard) {
    let client = impatient(config(proxy.endpoint()).connection_wait(Duration::from_millis(200))).await;
    let session = Session::builder(&client).ttl(ttl).open().await.unwrap();
    let held = Mutex::new(&session, "lock").lock().await.unwrap();
    (session, held)
}

#[tokio::test]
async fn who_unlocks_while_he_is_cut_off_is_not_told_that_it_is_done() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let (session, held) = lock_over(&proxy, Duration::from_secs(6)).await;
    proxy.down();
    let error = soon(held.unlock()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    // It is told when the lease is over by the clock here, and not before.
    assert!(Instant::now() >= session.deadline());
    // The server lets the next one in when the lease is over by its own.
    stand_in_line(&direct, "lock/", 0).await;
    // Known to have ended on the server, there is nothing left to do.
    proxy.resume();
    let (session, held) = lock_over(&proxy, Duration::from_secs(6)).await;
    direct.lease().revoke(session.lease()).await.unwrap();
    let why = soon(session.expired()).await;
    assert!(why.is(EtcdError::LeaseNotFound), "{why}");
    proxy.down();
    soon(held.unlock()).await.unwrap();
}

#[tokio::test]
async fn unlocking_goes_on_after_the_session_was_orphaned() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let (session, held) = lock_over(&proxy, Duration::from_secs(60)).await;
    session.orphan();
    proxy.down();
    let mut unlocking = tokio::spawn(held.unlock());
    // Several attempts fail meanwhile.
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut unlocking).await.is_err());
    assert_eq!(places(&direct, "lock/").await, 1);
    proxy.resume();
    soon(unlocking).await.unwrap().unwrap();
    assert_eq!(places(&direct, "lock/").await, 0);
}

#[tokio::test]
async fn a_waiter_whose_key_is_deleted_asks_again() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sessions = [session(&server).await, session(&server).await];
    let first = Mutex::new(&sessions[0], "lock").lock().await.unwrap();
    let mutex = Mutex::new(&sessions[1], "lock");
    let second = tokio::spawn(async move { mutex.lock().await.unwrap() });
    let pairs = stand_in_line(&client, "lock/", 2).await;
    client.delete(&pairs[1].key).await.unwrap();
    first.unlock().await.unwrap();
    let second = soon(second).await.unwrap();
    assert!(second.revision() > pairs[1].create_revision);
    assert!(is_owner(&client, &second).await);
}

#[tokio::test]
async fn a_history_that_is_compacted_does_not_matter() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let other = Client::connect(config(proxy.endpoint())).await.unwrap();
    let session_of =
        async |client: &Client| Session::builder(client).ttl(Duration::from_secs(30)).open().await.unwrap();
    let first = Mutex::new(&session_of(&other).await, "lock").lock().await.unwrap();
    let mutex = Mutex::new(&session_of(&other).await, "lock");
    let second = tokio::spawn(async move { mutex.lock().await.unwrap() });
    stand_in_line(&client, "lock/", 2).await;
    // While both are cut off, the revisions that their watches go on from are compacted away.
    proxy.down();
    for _ in 0..3 {
        client.put("other", "").await.unwrap();
    }
    let newest = client.put("other", "").await.unwrap().header.revision;
    client.compact(newest).physical().await.unwrap();
    proxy.resume();
    assert!(soon(other.get("other")).await.is_ok());
    assert!(first.is_held() && !second.is_finished());
    soon(first.unlock()).await.unwrap();
    let second = soon(second).await.unwrap();
    client.delete(second.key()).await.unwrap();
    soon(second.lost()).await;
}

#[tokio::test]
async fn a_lock_is_taken_up_with_its_lease() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let lease = client.lease().grant(Duration::from_secs(30)).await.unwrap().id;
    let before = Session::builder(&client).lease(lease).open().await.unwrap();
    let held = Mutex::new(&before, "lock").lock().await.unwrap();
    let after = Session::builder(&client).lease(lease).open().await.unwrap();
    let again = soon(Mutex::new(&after, "lock").lock()).await.unwrap();
    assert_eq!((again.key(), again.revision()), (held.key(), held.revision()));
    let tried =
        Mutex::new(&Session::builder(&client).lease(lease).open().await.unwrap(), "lock").try_lock().await;
    assert_eq!(tried.unwrap().revision(), held.revision());
}

#[tokio::test]
async fn a_closed_session_lets_go_of_its_locks() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other) = (session(&server).await, session(&server).await);
    let held = Mutex::new(&one, "lock").lock().await.unwrap();
    let (sender, receiver) = oneshot::channel();
    let mutex = Mutex::new(&other, "lock");
    tokio::spawn(async move { sender.send(mutex.lock().await.unwrap()).map_err(drop) });
    stand_in_line(&client, "lock/", 2).await;
    one.close().await.unwrap();
    assert!(!held.is_held());
    let why = soon(held.lost()).await;
    assert!(matches!(why, Error::Closed), "{why}");
    let next = soon(receiver).await.unwrap();
    assert!(next.revision() > held.revision());
    assert!(is_owner(&client, &next).await && !is_owner(&client, &held).await);
}

#[tokio::test]
async fn a_lock_stays_in_its_namespace() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let app = Session::open(&client.with_namespace("app/")).await.unwrap();
    let held = Mutex::new(&app, "lock").lock().await.unwrap();
    assert_eq!(client.get(format!("app/lock/{}", app.lease())).await.unwrap().count, 1);
    // The same lock by its full name; another one by its short name.
    let full = Session::open(&client).await.unwrap();
    let refused = Mutex::new(&full, "app/lock").try_lock().await.unwrap_err();
    assert!(matches!(refused, Error::Locked), "{refused}");
    assert!(Mutex::new(&full, "lock").try_lock().await.is_ok());
    client.delete("app/").prefix().await.unwrap();
    soon(held.lost()).await;
    let again = eventually("the lock", async || Mutex::new(&full, "app/lock").try_lock().await.ok());
    assert!(again.await.is_held());
}
