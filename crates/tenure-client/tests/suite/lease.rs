//! Leases: granted, renewed whatever happens, revoked; and sessions.

mod fake;
mod renewals;

use crate::support::{PATIENCE, Proxy, TestServer, config, eventually, impatient, soon};
use futures::{
    StreamExt,
    future::{join_all, try_join_all},
    stream,
};
use std::{
    future::{Future, IntoFuture},
    ops::RangeInclusive,
    time::{Duration, Instant},
};
use tenure_client::{
    Client, ClientConfig, Code, Error, EtcdError, LeaseId, LeaseKeeper, Ttl, concurrency::Session,
};

/// What is left of a lease, in seconds; -1 if it is gone.
async fn left(client: &Client, id: LeaseId) -> i64 {
    client.lease().time_to_live(id).await.expect("the server answers").ttl_seconds
}

/// What may be left at most and at least of a lease that had so many seconds at a moment, and was asked for just now.
fn left_since(moment: Instant, seconds: i64) -> RangeInclusive<i64> {
    // Servers round, and may look at their clocks a little earlier or later.
    let passed = i64::try_from(moment.elapsed().as_secs()).expect("it is not for ever");
    seconds - passed - 2..=seconds
}

async fn is_missing(client: &Client, key: &str) -> bool {
    client.get(key).await.expect("the server answers").count == 0
}

/// A lease that is kept alive.
async fn kept(client: &Client, ttl_seconds: i64) -> LeaseKeeper {
    let granted = client.lease().grant(Ttl::seconds(ttl_seconds)).await.expect("the server answers");
    soon(client.lease().keep_alive(granted.id)).await.expect("it is renewed")
}

/// Waits until all leases have been renewed by requests that were sent after this moment.
async fn all_renewed_after(keepers: &[LeaseKeeper], moment: Instant) {
    for keeper in keepers {
        eventually("a renewal", async || {
            assert!(!keeper.is_lost(), "{}", keeper.lost().await);
            (keeper.deadline() > moment + keeper.ttl()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_lease_is_granted_looked_at_and_revoked() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let lease = client.lease();
    let started = Instant::now();
    let granted = lease.grant(Duration::from_secs(100)).await.unwrap();
    assert!(granted.id.0 > 0);
    assert_eq!((granted.ttl_seconds, granted.header.revision), (100, 1));
    for key in ["b", "a"] {
        client.put(key, "v").lease(granted.id).await.unwrap();
    }
    let asked = lease.time_to_live(granted.id).keys().await.unwrap();
    assert_eq!((asked.id, asked.granted_ttl_seconds), (granted.id, 100));
    assert!(left_since(started, 100).contains(&asked.ttl_seconds), "{asked:?}");
    let mut keys = asked.keys;
    keys.sort();
    assert_eq!(keys, ["a", "b"]);
    assert!(lease.time_to_live(granted.id).await.unwrap().keys.is_empty());
    assert_eq!(lease.leases().await.unwrap().leases, [granted.id]);

    let revoked = lease.revoke(granted.id).await.unwrap();
    assert_eq!(revoked.header.revision, 4, "all keys go in one revision");
    assert!(is_missing(&client, "a").await && is_missing(&client, "b").await);
    let gone = lease.time_to_live(granted.id).keys().await.unwrap();
    assert_eq!((gone.ttl_seconds, gone.granted_ttl_seconds, gone.id), (-1, 0, granted.id));
    assert!(lease.leases().await.unwrap().leases.is_empty());
}

#[tokio::test]
async fn what_a_server_refuses_is_told_by_name() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let lease = client.lease();
    assert_eq!(lease.grant(Duration::from_secs(100)).id(LeaseId(-7)).await.unwrap().id, LeaseId(-7));
    let error = lease.grant(Duration::from_secs(100)).id(LeaseId(-7)).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseExist), "{error}");
    let error = lease.grant(Ttl::seconds(9_000_000_001)).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseTTLTooLarge), "{error}");
    assert!(
        lease.grant(Duration::from_secs(0)).await.unwrap().ttl_seconds >= 1,
        "what is too short is lengthened"
    );
    assert!(lease.grant(Ttl::seconds(-5)).await.unwrap().ttl_seconds >= 1);
    for id in [LeaseId(12345), LeaseId(0)] {
        let not_found = [
            lease.revoke(id).await.unwrap_err(),
            lease.keep_alive_once(id).await.unwrap_err(),
            soon(lease.keep_alive(id)).await.unwrap_err(),
        ];
        for error in not_found {
            assert!(error.is(EtcdError::LeaseNotFound), "{error}");
            assert_eq!(error.code(), Code::NotFound);
        }
        assert_eq!(left(&client, id).await, -1);
    }
    let error = client.put("k", "v").lease(LeaseId(12345)).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseNotFound), "{error}");
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_goes_with_its_keys_and_one_that_is_renewed_stays() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let short = client.lease().grant(Duration::from_secs(5)).await.unwrap();
    client.put("goes", "v").lease(short.id).await.unwrap();
    let mut keeper = kept(&client, 9).await;
    client.put("stays", "v").lease(keeper.id()).await.unwrap();
    eventually("the end of the lease", async || is_missing(&client, "goes").await.then_some(())).await;
    assert_eq!(left(&client, short.id).await, -1);
    // A renewal that is sent after that one is answered.
    let now = Instant::now();
    while keeper.deadline() < now + keeper.ttl() {
        let renewed = soon(keeper.next()).await.expect("it is renewed");
        assert_eq!((renewed.id, renewed.ttl_seconds), (keeper.id(), 9));
    }
    assert!(!is_missing(&client, "stays").await && !keeper.is_lost());
    // Nobody renews it any more.
    drop(keeper);
    eventually("the end of the lease", async || is_missing(&client, "stays").await.then_some(())).await;
}

#[tokio::test]
async fn a_lease_is_renewed_once() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let granted = client.lease().grant(Duration::from_secs(100)).await.unwrap();
    eventually("some of its life is over", async || (left(&client, granted.id).await < 97).then_some(()))
        .await;
    let asked = Instant::now();
    let renewed = client.lease().keep_alive_once(granted.id).await.unwrap();
    assert_eq!((renewed.id, renewed.ttl_seconds, renewed.header.revision), (granted.id, 100, 1));
    let left = left(&client, granted.id).await;
    assert!(left_since(asked, 100).contains(&left), "{left}");
}

#[tokio::test]
async fn a_session_holds_a_lease_until_it_is_closed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = Session::open(&client).await.unwrap();
    assert!(left(&client, session.lease()).await > 50, "the default, 60 s");
    let clone = session.clone();
    client.put("k", "v").lease(session.lease()).await.unwrap();
    assert!(!clone.is_expired());
    session.close().await.unwrap();
    soon(clone.expired()).await;
    assert!(clone.is_expired() && is_missing(&client, "k").await);
    assert_eq!(left(&client, clone.lease()).await, -1);
    clone.close().await.unwrap();
}

#[tokio::test]
async fn renewals_survive_a_restart_of_the_server_and_cut_connections() {
    let mut server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    // A restart may take a while.
    let keepers = join_all((0..100).map(|_| kept(&client, 30))).await;
    for cut in 0..3 {
        proxy.cut();
        if cut == 1 {
            server.restart().await;
        }
        all_renewed_after(&keepers, Instant::now()).await;
    }
    let direct = server.client().await;
    for keeper in &keepers {
        assert!(left(&direct, keeper.id()).await > 0 && !keeper.is_lost());
    }
    // They were really needed: without, less is left than ever with them, which is two thirds.
    let id = keepers[0].id();
    drop(keepers);
    eventually("half of a life", async || (left(&direct, id).await < 15).then_some(())).await;
}

#[tokio::test]
async fn a_silent_member_is_left_before_leases_end() {
    let server = TestServer::start().await;
    let (first, second) = (Proxy::to(server.endpoint()).await, Proxy::to(server.endpoint()).await);
    // Nothing else would notice it before: probes take longer than leases live.
    let endpoints = ClientConfig::new([first.endpoint(), second.endpoint()]).without_keep_alive();
    let client = Client::connect(endpoints).await.unwrap();
    eventually("both connections", async || {
        client.get("k").await.unwrap();
        (first.accepted() > 0 && second.accepted() > 0).then_some(())
    })
    .await;
    let keepers = join_all((0..10).map(|_| kept(&client, 12))).await;
    // Renewals go over one of them.
    for proxy in [&first, &second] {
        proxy.silence();
        let silenced = Instant::now();
        all_renewed_after(&keepers, silenced + Duration::from_secs(4)).await;
        proxy.resume();
    }
    let direct = server.client().await;
    for keeper in &keepers {
        assert!(left(&direct, keeper.id()).await > 0);
    }
}

#[tokio::test]
async fn a_frozen_server_costs_leases_in_bounded_time_and_not_before_their_end() {
    let Some(mut server) = TestServer::any_process().await else { return };
    let client = server.client().await;
    let keeper = kept(&client, 4).await;
    server.as_process().freeze().unwrap();
    let error = soon(keeper.lost()).await;
    assert!(Instant::now() >= keeper.deadline());
    assert!(matches!(error, Error::LeaseExpired { .. }), "{error}");
    server.as_process().thaw().unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_costs_leases_in_bounded_time_and_not_before_their_end() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    let mut keeper = kept(&client, 4).await;
    server.stop().await;
    let error = soon(keeper.lost()).await;
    assert!(Instant::now() >= keeper.deadline());
    assert!(matches!(error, Error::LeaseExpired { .. }), "{error}");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    // What was renewed before can still be looked at; then it is over.
    while soon(keeper.next()).await.is_some() {}
    assert!(keeper.is_lost() && soon(keeper.next()).await.is_none());
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_at_all_is_an_error_in_bounded_time() {
    let mut server = TestServer::start().await;
    let client = impatient(config(server.endpoint()).dial_timeout(Duration::from_secs(2))).await;
    let id = client.lease().grant(Duration::from_secs(100)).await.unwrap().id;
    server.stop().await;
    let error = soon(client.lease().keep_alive(id)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    server.start_again().await;
    drop(eventually("a renewal", async || soon(client.lease().keep_alive(id)).await.ok()).await);
}

#[tokio::test]
async fn a_lease_that_somebody_else_revokes_is_lost_with_the_next_renewal() {
    let server = TestServer::start().await;
    let (client, other) = (server.client().await, server.client().await);
    let (revoked, stays) = (kept(&client, 12).await, kept(&client, 12).await);
    other.lease().revoke(revoked.id()).await.unwrap();
    let error = soon(revoked.lost()).await;
    // Not its end, which would be another error: the renewal after a third of its life.
    assert!(error.is(EtcdError::LeaseNotFound), "{error}");
    all_renewed_after(&[stays], Instant::now()).await;
}

#[tokio::test]
async fn a_lease_that_this_client_revokes_is_lost_at_once() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let keepers = [kept(&client, 600).await, kept(&client, 600).await];
    let again = soon(client.lease().keep_alive(keepers[0].id())).await.unwrap();
    client.lease().revoke(again.id()).await.unwrap();
    for keeper in [&again, &keepers[0]] {
        assert!(soon(keeper.lost()).await.is(EtcdError::LeaseNotFound));
    }
    assert!(!keepers[1].is_lost());
    let error = soon(client.lease().keep_alive(again.id())).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseNotFound), "{error}");
    // The id is free for another lease, which the old keepers do not disturb.
    client.lease().grant(Duration::from_secs(600)).id(again.id()).await.unwrap();
    let new = soon(client.lease().keep_alive(again.id())).await.unwrap();
    drop((again, keepers));
    assert_eq!(client.lease().keep_alive_once(new.id()).await.unwrap().ttl_seconds, 600);
    assert!(!new.is_lost());
}

#[tokio::test]
async fn keepers_of_one_lease_share_it() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let first = kept(&client, 6).await;
    let mut second = soon(client.clone().lease().keep_alive(first.id())).await.unwrap();
    assert_eq!(second.ttl(), first.ttl());
    assert_eq!(soon(second.next()).await.unwrap().id, first.id());
    drop(first);
    all_renewed_after(std::slice::from_ref(&second), Instant::now() + Duration::from_secs(2)).await;
    let mut news = std::pin::pin!(second);
    assert!(soon(news.as_mut().next()).await.is_some(), "it is a stream");
}

#[tokio::test]
async fn a_keeping_that_is_given_up_before_its_first_answer_renews_nothing() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let id = client.lease().grant(Duration::from_secs(1)).await.unwrap().id;
    let lease = client.lease();
    assert!(futures::poll!(std::pin::pin!(lease.keep_alive(id))).is_pending());
    eventually("the end of the lease", async || (left(&client, id).await == -1).then_some(())).await;
}

#[tokio::test]
async fn closing_stops_renewals_and_a_later_keeping_starts_them_again() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let keepers = [kept(&client, 5).await, kept(&client, 100).await];
    client.clone().lease().close();
    for keeper in &keepers {
        assert!(matches!(soon(keeper.lost()).await, Error::Closed));
    }
    let [short, long] = keepers;
    eventually("the end of the lease", async || (left(&client, short.id()).await == -1).then_some(())).await;
    assert!(left(&client, long.id()).await > 0, "it is not revoked");
    let again = soon(client.lease().keep_alive(long.id())).await.unwrap();
    drop((short, long));
    all_renewed_after(&[again], Instant::now() - Duration::from_secs(1)).await;
}

#[tokio::test]
async fn without_a_client_there_are_no_renewals() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let keeper = kept(&client, 100).await;
    let lease = client.lease();
    client.close();
    assert!(matches!(soon(keeper.lost()).await, Error::Closed));
    assert!(matches!(soon(lease.keep_alive(keeper.id())).await, Err(Error::Closed)));
    let client = server.client().await;
    let keeper = kept(&client, 100).await;
    drop(client);
    assert!(matches!(soon(keeper.lost()).await, Error::Closed));
}

#[tokio::test]
async fn a_namespace_sees_its_own_keys_of_a_lease() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let app = client.with_namespace("app/");
    let id = app.lease().grant(Duration::from_secs(100)).await.unwrap().id;
    app.put("mine", "v").lease(id).await.unwrap();
    client.put("other", "v").lease(id).await.unwrap();
    assert_eq!(app.lease().time_to_live(id).keys().await.unwrap().keys, ["mine"]);
    let mut all = client.lease().time_to_live(id).keys().await.unwrap().keys;
    all.sort();
    assert_eq!(all, ["app/mine", "other"]);
}

#[tokio::test]
async fn ten_thousand_leases_are_kept_on_one_stream() {
    const LEASES: usize = 10_000;
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    // A slow machine has to grant and renew them all within these times.
    let config = config(proxy.endpoint()).dial_timeout(PATIENCE);
    let client = Client::connect(config).await.unwrap();
    let lease = client.lease();
    let granting = (0..LEASES).map(|_| lease.grant(Duration::from_secs(600)).into_future());
    let granted: Vec<LeaseId> =
        stream::iter(granting).buffer_unordered(200).map(|granted| granted.unwrap().id).collect().await;
    let keepers: Vec<LeaseKeeper> = {
        let keeping = granted.iter().map(|&id| lease.keep_alive(id));
        soon(try_join_all(keeping)).await.unwrap()
    };
    proxy.cut();
    all_renewed_after(&keepers, Instant::now()).await;
    assert!(keepers.iter().all(|keeper| !keeper.is_lost()));
    assert_eq!(lease.leases().await.unwrap().leases.len(), LEASES);
}

/// Runs a call whose answer is cut off; the wire works again for its repetition.
async fn with_a_lost_answer<T: Send + 'static>(
    proxy: &Proxy,
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let accepted = proxy.accepted();
    proxy.cut_after(5);
    let calling = tokio::spawn(call);
    eventually("the cut", async || (proxy.accepted() > accepted).then_some(())).await;
    proxy.resume();
    soon(calling).await.expect("it ends")
}

#[tokio::test]
async fn calls_whose_answer_is_lost_are_repeated() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let lease = client.lease();
    let granted =
        with_a_lost_answer(&proxy, lease.grant(Duration::from_secs(100)).into_future()).await.unwrap();
    assert!(left(&client, granted.id).await > 0);
    // With an id of one's own there is one lease, and never the claim that it is somebody else's.
    match with_a_lost_answer(&proxy, lease.grant(Duration::from_secs(100)).id(LeaseId(7)).into_future()).await
    {
        Ok(granted) => assert_eq!(granted.id, LeaseId(7)),
        Err(error) => assert!(error.may_have_taken_effect(), "{error}"),
    }
    assert!(left(&client, LeaseId(7)).await > 0);
    let revoking = lease.clone();
    match with_a_lost_answer(&proxy, async move { revoking.revoke(LeaseId(7)).await }).await {
        Ok(_) => {}
        Err(error) => assert!(error.is(EtcdError::LeaseNotFound), "{error}"),
    }
    assert_eq!(left(&client, LeaseId(7)).await, -1);
}

#[tokio::test]
async fn a_session_whose_lease_is_revoked_is_expired() {
    let server = TestServer::start().await;
    let (client, other) = (server.client().await, server.client().await);
    let session = Session::builder(&client).ttl(Duration::from_secs(12)).open().await.unwrap();
    other.lease().revoke(session.lease()).await.unwrap();
    let why = soon(session.expired()).await;
    assert!(why.is(EtcdError::LeaseNotFound), "{why}");
    assert!(session.is_expired());
    session.close().await.unwrap();
}

#[tokio::test]
async fn a_session_is_kept_alive_until_the_server_is_gone_for_its_ttl() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    let session = Session::builder(&client).ttl(Duration::from_secs(6)).open().await.unwrap();
    // A lease that is not renewed, granted after it, ends before it.
    let unkept = client.lease().grant(Duration::from_secs(6)).await.unwrap().id;
    eventually("the end of the other", async || (left(&client, unkept).await == -1).then_some(())).await;
    assert!(!session.is_expired() && left(&client, session.lease()).await >= 0);
    server.stop().await;
    let why = soon(session.expired()).await;
    assert!(Instant::now() >= session.deadline());
    assert!(matches!(&why, Error::LeaseExpired { reason } if !reason.contains("taken effect")), "{why}");
    let error = soon(session.close()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn an_orphaned_session_leaves_its_lease() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = Session::builder(&client).ttl(Duration::from_secs(8)).open().await.unwrap();
    let clone = session.clone();
    session.orphan();
    assert!(matches!(soon(clone.expired()).await, Error::Closed));
    let id = session.lease();
    drop((session, clone));
    assert!(left(&client, id).await >= 0, "it is not revoked");
    eventually("the end of the lease", async || (left(&client, id).await == -1).then_some(())).await;
}

#[tokio::test]
async fn dropping_the_last_clone_of_a_session_closes_it() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = Session::builder(&client).ttl(Duration::from_secs(0)).open().await.unwrap();
    let id = session.lease();
    assert!(left(&client, id).await > 50, "the default, 60 s");
    let clone = session.clone();
    drop(session);
    assert!(left(&client, id).await > 50 && !clone.is_expired());
    drop(clone);
    eventually("the end of the lease", async || (left(&client, id).await == -1).then_some(())).await;
    // Without a runtime there is nobody to do it; the lease runs out.
    let session = Session::open(&client).await.unwrap();
    let id = session.lease();
    std::thread::spawn(move || drop(session)).join().unwrap();
    assert!(left(&client, id).await > 50);
}

#[tokio::test]
async fn a_session_with_a_lease_that_is_given_to_it() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let id = client.lease().grant(Duration::from_secs(30)).await.unwrap().id;
    let session = Session::builder(&client).lease(id).open().await.unwrap();
    assert_eq!((session.lease(), session.client().endpoints()), (id, client.endpoints()));
    drop(session);
    assert!(left(&client, id).await > 0, "it is not the session's to revoke unasked");
    let session = Session::builder(&client).lease(id).open().await.unwrap();
    session.close().await.unwrap();
    assert_eq!(left(&client, id).await, -1);
    let error = soon(Session::builder(&client).lease(id).open()).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseNotFound), "{error}");
}
