//! Renewals with members that refuse, fall silent, or talk nonsense.

use super::fake::{FakeMember, Reply};
use crate::support::{config, eventually, soon};
use futures::future::{join_all, try_join_all};
use std::time::{Duration, Instant};
use tenure_client::{Client, ClientConfig, Code, Error, EtcdError, LeaseId, LeaseKeeper};

/// How long leases live, in seconds.
const TTL: i64 = 6;

/// Leases are to live until then at least: for that, they are renewed several times.
const A_WHILE: Duration = Duration::from_secs(13);

async fn client(members: &[&FakeMember]) -> Client {
    let endpoints = members.iter().map(|member| member.endpoint());
    Client::connect(ClientConfig::new(endpoints)).await.expect("they answer")
}

async fn kept(client: &Client, ids: impl IntoIterator<Item = i64>) -> Vec<LeaseKeeper> {
    let lease = client.lease();
    let keeping = ids.into_iter().map(|id| lease.keep_alive(LeaseId(id)));
    soon(try_join_all(keeping)).await.expect("they are renewed")
}

/// All is well for a while.
async fn go_on(keepers: &[LeaseKeeper]) {
    let end = Instant::now() + A_WHILE;
    for keeper in keepers {
        eventually("the end of the while", async || {
            assert!(!keeper.is_lost(), "{}", keeper.lost().await);
            (keeper.deadline() > end).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_lease_whose_renewal_is_refused_does_not_take_others_with_it() {
    let member = FakeMember::start(|asked| match asked.id {
        2 => vec![Reply::Refuse(EtcdError::PermissionDenied)],
        // From the second stream on somebody has attached a key that this user may not write.
        4 if asked.stream > 1 => vec![Reply::Refuse(EtcdError::PermissionDenied)],
        id => vec![Reply::Alive(id, TTL)],
    })
    .await;
    let client = client(&[&member]).await;
    let keepers = kept(&client, [1, 3, 4]).await;
    let error = soon(client.lease().keep_alive(LeaseId(2))).await.unwrap_err();
    assert!(error.is(EtcdError::PermissionDenied), "{error}");
    let error = soon(keepers[2].lost()).await;
    assert!(error.is(EtcdError::PermissionDenied), "{error}");
    go_on(&keepers[..2]).await;
    assert_eq!(member.streams(), 3, "one for each refusal and one that lasts");
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed() {
    // The first token is good for three renewals, and then no stream is opened with it.
    let member = FakeMember::start(|asked| match (asked.token.as_str(), asked.number) {
        ("token-1", 4..) => vec![Reply::Refuse(EtcdError::InvalidAuthToken)],
        ("", _) => vec![Reply::Refuse(EtcdError::UserEmpty)],
        _ => vec![Reply::Alive(asked.id, TTL)],
    })
    .await;
    let alice = Client::connect(config(member.endpoint()).user("alice", "secret")).await.unwrap();
    go_on(&kept(&alice, [1]).await).await;
    assert_eq!((member.log_ins(), member.streams()), (2, 2));
    // Who has no password cannot renew, and is told so at once.
    let nobody = client(&[&member]).await;
    let error = soon(nobody.lease().keep_alive(LeaseId(1))).await.unwrap_err();
    assert!(error.is(EtcdError::UserEmpty), "{error}");
}

#[tokio::test]
async fn a_member_without_a_leader_is_left_for_another_one() {
    let alone = FakeMember::start(|_| vec![Reply::Refuse(EtcdError::NoLeader)]).await;
    let silent = FakeMember::start(|_| Vec::new()).await;
    // It falls silent itself after a while on each stream.
    let good = FakeMember::start(|asked| match asked.number {
        ..4 => vec![Reply::Alive(asked.id, 2 * TTL)],
        _ => Vec::new(),
    })
    .await;
    let client = client(&[&alone, &silent, &good]).await;
    let lease = client.lease();
    eventually("all connections", async || {
        // Requests take the connections in turn.
        join_all((0..3).map(|_| lease.leases())).await;
        (alone.connections() + silent.connections() + good.connections() == 3).then_some(())
    })
    .await;
    let keepers = kept(&client, 1..=3).await;
    eventually("several changes of the member", async || {
        assert!(keepers.iter().all(|keeper| !keeper.is_lost()));
        (good.streams() > 2 && alone.streams() > 0 && silent.streams() > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_ends_every_stream_is_not_stormed() {
    let member = FakeMember::start(|asked| vec![Reply::Alive(asked.id, TTL), Reply::End]).await;
    let client = client(&[&member]).await;
    let keepers = kept(&client, [1]).await;
    let started = Instant::now();
    go_on(&keepers).await;
    let (streams, took) = (u128::from(member.streams()), started.elapsed());
    assert!(streams > 2 && streams < 10 + took.as_millis() / 20, "{streams} streams in {took:?}");
}

#[tokio::test]
async fn answers_that_were_not_asked_for_mean_nothing() {
    let member = FakeMember::start(|asked| {
        let (id, other) = (asked.id, 3 - asked.id);
        vec![
            Reply::Alive(77, 0),
            Reply::Alive(-1, 5),
            Reply::Alive(id, TTL),
            Reply::Alive(id, 0),
            Reply::Alive(other, 0),
        ]
    })
    .await;
    let client = client(&[&member]).await;
    let keepers = kept(&client, [1]).await;
    go_on(&keepers).await;
    assert_eq!(member.streams(), 1);
}

#[tokio::test]
async fn who_knows_no_leases_is_an_error_at_once() {
    let member = FakeMember::start(|_| vec![Reply::Refuse(EtcdError::NotCapable)]).await;
    let client = client(&[&member]).await;
    let lease = client.lease();
    let error = soon(lease.keep_alive_once(LeaseId(1))).await.unwrap_err();
    assert!(error.is(EtcdError::NotCapable), "{error}");
    assert_eq!(lease.grant(Duration::from_secs(1)).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    // Nothing is answered on the first stream.
    let member = FakeMember::start(|asked| match asked.stream {
        1 => Vec::new(),
        // None is due again before all are renewed.
        _ => vec![Reply::Alive(asked.id, 600)],
    })
    .await;
    let client = client(&[&member]).await;
    let keeping = tokio::spawn({
        let lease = client.lease();
        async move { try_join_all((0..2_000).map(|id| lease.keep_alive(LeaseId(id)))).await }
    });
    eventually("a full stream", async || (member.requests() == 512).then_some(())).await;
    let keepers = soon(keeping).await.unwrap().unwrap();
    assert_eq!((member.streams(), member.requests()), (2, 512 + 2_000));
    drop(keepers);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_an_error_in_bounded_time() {
    let member = FakeMember::start(|_| Vec::new()).await;
    // The dial timeout and a second are what an answer may take.
    let client =
        Client::connect(config(member.endpoint()).dial_timeout(Duration::from_secs(3))).await.unwrap();
    let started = Instant::now();
    let error = soon(client.lease().keep_alive(LeaseId(1))).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("{} does not answer renewals", member.endpoint())),
        "{error}"
    );
    assert!(started.elapsed() >= Duration::from_secs(4));
}
