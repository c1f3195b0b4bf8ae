//! Elections.

use super::{line, places, session, stand_in_line};
use crate::support::{Proxy, TestServer, config, soon};
use std::time::Duration;
use tenure_client::{
    Client, Error,
    concurrency::{Election, LeaderStream, Session},
};

async fn next(leaders: &mut LeaderStream) -> String {
    soon(leaders.next()).await.unwrap().unwrap().kv.value_text().into_owned()
}

#[tokio::test]
async fn one_leads_after_the_other() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let elections = [
        Election::new(&session(&server).await, "e"),
        Election::new(&session(&server).await, "e"),
        Election::new(&session(&server).await, "e"),
    ];
    let nobody = elections[0].leader().await.unwrap_err();
    assert!(matches!(nobody, Error::NoLeader), "{nobody}");
    let mut waiting = Vec::new();
    for (number, election) in elections.iter().cloned().enumerate() {
        waiting
            .push(tokio::spawn(async move { election.campaign(format!("value {number}")).await.unwrap() }));
        stand_in_line(&client, "e/", number + 1).await;
    }
    let pairs = line(&client, "e/").await;
    for (number, election) in waiting.into_iter().enumerate() {
        let leadership = soon(election).await.unwrap();
        assert_eq!(
            (leadership.key(), leadership.revision()),
            (&pairs[number].key, pairs[number].create_revision)
        );
        let leader = elections[2].leader().await.unwrap();
        assert_eq!(leader.kv, pairs[number]);
        assert!(leadership.is_held());
        let proclaimed = leadership.proclaim("now").await.unwrap();
        let leader = elections[0].leader().await.unwrap();
        assert_eq!((leader.kv.value_text(), leader.kv.mod_revision), ("now".into(), proclaimed.revision));
        if number == 1 { drop(leadership) } else { leadership.resign().await.unwrap() }
    }
    assert!(matches!(elections[0].leader().await, Err(Error::NoLeader)));
}

#[tokio::test]
async fn every_leader_and_proclamation_is_observed_in_order_over_cut_connections() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let observer = Client::connect(config(proxy.endpoint())).await.unwrap();
    let observing = Election::new(&Session::open(&observer).await.unwrap(), "e");
    let mut leaders = observing.observe();
    let one = Election::new(&session(&server).await, "e");
    let other = Election::new(&session(&server).await, "e");
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for round in 0..6 {
        let first = soon(one.campaign(format!("{round} one"))).await.unwrap();
        if round == 0 {
            // Whoever leads when the observing begins is told, and what came before is not.
            seen.push(next(&mut leaders).await);
        }
        let second = tokio::spawn({
            let other = other.clone();
            async move { other.campaign(format!("{round} other")).await.unwrap() }
        });
        stand_in_line(&client, "e/", 2).await;
        // Observers are cut off while things happen, in some rounds so that they cannot come back for all of it.
        match round % 3 {
            0 => proxy.cut(),
            1 => proxy.down(),
            _ => {}
        }
        first.proclaim(format!("{round} one again")).await.unwrap();
        first.resign().await.unwrap();
        let second = soon(second).await.unwrap();
        proxy.cut();
        second.resign().await.unwrap();
        proxy.resume();
        expected.extend([format!("{round} one"), format!("{round} one again"), format!("{round} other")]);
    }
    while seen.len() < expected.len() {
        seen.push(next(&mut leaders).await);
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn observing_begins_with_who_leads_and_waits_for_who_comes() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let one = Election::new(&session(&server).await, "e");
    let leadership = one.campaign("one").await.unwrap();
    leadership.proclaim("one again").await.unwrap();
    let mut leaders = one.observe();
    let told = soon(leaders.next()).await.unwrap().unwrap();
    assert_eq!((told.kv.value_text(), told.kv.create_revision), ("one again".into(), leadership.revision()));
    let told_without_session = soon(Election::observer(&client, "e").next()).await.unwrap().unwrap();
    assert_eq!(told_without_session.kv, told.kv);
    // A future that is dropped while it waits loses nothing.
    assert!(futures::poll!(std::pin::pin!(leaders.next())).is_pending());
    leadership.resign().await.unwrap();
    let again = one.campaign("once more").await.unwrap();
    let told = soon(leaders.next()).await.unwrap().unwrap();
    assert_eq!((told.kv.value_text(), told.header.revision), ("once more".into(), again.revision()));
    // What happens while the history is compacted away is left out; the leader after it is told.
    let proxy = Proxy::to(server.endpoint()).await;
    let observer = Client::connect(config(proxy.endpoint())).await.unwrap();
    let mut leaders = Election::new(&Session::open(&observer).await.unwrap(), "e").observe();
    assert_eq!(next(&mut leaders).await, "once more");
    proxy.down();
    again.proclaim("missed").await.unwrap();
    let last = again.proclaim("last").await.unwrap();
    client.put("other", "").await.unwrap();
    client.compact(client.put("other", "").await.unwrap().header.revision).physical().await.unwrap();
    proxy.resume();
    let told = soon(leaders.next()).await.unwrap().unwrap();
    assert_eq!((told.kv.value_text(), told.kv.mod_revision), ("last".into(), last.revision));
}

#[tokio::test]
async fn a_candidate_that_gives_up_leaves_the_line() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other) = (session(&server).await, session(&server).await);
    let leadership = Election::new(&one, "e").campaign("one").await.unwrap();
    let waiting = tokio::spawn({
        let election = Election::new(&other, "e");
        async move { election.campaign("other").await.unwrap() }
    });
    stand_in_line(&client, "e/", 2).await;
    waiting.abort();
    let left = stand_in_line(&client, "e/", 1).await;
    assert_eq!(&left[0].key, leadership.key());
    // Of one session, one after the other.
    let waiting = tokio::spawn({
        let election = Election::new(&one, "e");
        async move { election.campaign("the same").await.unwrap() }
    });
    let revision = leadership.revision();
    drop(leadership);
    let next = soon(waiting).await.unwrap();
    assert!(next.revision() > revision);
    assert_eq!(Election::new(&one, "e").leader().await.unwrap().kv.value, "the same");
}

#[tokio::test]
async fn what_is_lost_on_the_wire_is_looked_up() {
    let server = TestServer::start().await;
    let direct = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let election =
        Election::new(&Session::builder(&client).ttl(Duration::from_secs(30)).open().await.unwrap(), "e");
    let lose = async {
        proxy.lose_answer(async || places(&direct, "e/").await == 1).await;
        proxy.resume();
    };
    let leadership = soon(async { tokio::join!(election.campaign("first"), lose) }).await.0.unwrap();
    let pair = line(&direct, "e/").await.remove(0);
    assert_eq!((leadership.revision(), pair.version), (pair.create_revision, 1));
    let lose = async {
        proxy.lose_answer(async || line(&direct, "e/").await[0].value == "second").await;
        proxy.resume();
    };
    let proclaimed = soon(async { tokio::join!(leadership.proclaim("second"), lose) }).await.0.unwrap();
    let pair = line(&direct, "e/").await.remove(0);
    assert_eq!((pair.version, pair.mod_revision), (2, proclaimed.revision), "it is written once");
    // A proclamation that was dropped does not stand in the way of the next one.
    proxy.mute();
    assert!(futures::poll!(std::pin::pin!(leadership.proclaim("dropped"))).is_pending());
    proxy.resume();
    soon(leadership.proclaim("third")).await.unwrap();
    assert_eq!(line(&direct, "e/").await[0].value, "third");
}

#[tokio::test]
async fn a_leader_knows_when_he_leads_no_more() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let (one, other) = (session(&server).await, session(&server).await);
    let leadership = Election::new(&one, "e").campaign("one").await.unwrap();
    client.delete(leadership.key()).await.unwrap();
    let why = soon(leadership.lost()).await;
    assert!(matches!(why, Error::KeyGone { .. }), "{why}");
    assert!(!leadership.is_held());
    let next = soon(Election::new(&other, "e").campaign("other")).await.unwrap();
    let error = leadership.proclaim("still me").await.unwrap_err();
    assert!(matches!(error, Error::NotLeader), "{error}");
    let condition = |leadership: &tenure_client::concurrency::Leadership| {
        client.txn().when([leadership.owner_condition()]).commit()
    };
    assert!(!condition(&leadership).await.unwrap().succeeded && condition(&next).await.unwrap().succeeded);
    leadership.resign().await.unwrap();
    assert_eq!(Election::new(&one, "e").leader().await.unwrap().kv.value, "other");
    other.close().await.unwrap();
    soon(next.lost()).await;
    let error = next.proclaim("still me").await.unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
    assert!(matches!(Election::new(&one, "e").leader().await, Err(Error::NoLeader)));
}

#[tokio::test]
async fn a_session_that_ends_ends_the_candidacy() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let leadership = Election::new(&session(&server).await, "e").campaign("one").await.unwrap();
    let waiter = Session::builder(&client).ttl(Duration::from_secs(12)).open().await.unwrap();
    let waiting = tokio::spawn({
        let election = Election::new(&waiter, "e");
        async move { election.campaign("other").await }
    });
    stand_in_line(&client, "e/", 2).await;
    client.lease().revoke(waiter.lease()).await.unwrap();
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::SessionExpired), "{error}");
    assert!(leadership.is_held());
}

#[tokio::test]
async fn a_leadership_that_is_kept_is_resumed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let lease = client.lease().grant(Duration::from_secs(30)).await.unwrap().id;
    let before = Session::builder(&client).lease(lease).open().await.unwrap();
    let (key, revision) = Election::new(&before, "e").campaign("before").await.unwrap().keep();
    before.orphan();
    let after = Session::builder(&client).lease(lease).open().await.unwrap();
    let election = Election::new(&after, "e");
    let wrong = election.resume(&key, revision + 1).await.unwrap_err();
    assert!(matches!(wrong, Error::NotLeader), "{wrong}");
    let leadership = election.resume(&key, revision).await.unwrap();
    let twice = election.resume(&key, revision).await.unwrap_err();
    assert!(matches!(twice, Error::NotLeader), "{twice}");
    leadership.proclaim("after").await.unwrap();
    assert_eq!(line(&client, "e/").await[0].value, "after");
    leadership.resign().await.unwrap();
    let gone = election.resume(&key, revision).await.unwrap_err();
    assert!(matches!(gone, Error::NotLeader), "{gone}");
    // Who campaigns with a lease that leads already leads at once, with what he says now.
    let kept = election.campaign("kept").await.unwrap().keep();
    let again = election.campaign("said now").await.unwrap();
    assert_eq!(again.revision(), kept.1);
    assert_eq!(line(&client, "e/").await[0].value, "said now");
}
