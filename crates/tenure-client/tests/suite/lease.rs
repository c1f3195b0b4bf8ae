//! Leases: granted, renewed whatever happens, revoked; and sessions.

use crate::support::{TestServer, eventually, soon};
use std::time::Instant;
use tenure_client::{Client, Code, EtcdError, LeaseId, LeaseKeeper, concurrency::Session};

/// What is left of a lease, in seconds; -1 if it is gone.
async fn left(client: &Client, id: LeaseId) -> i64 {
    client.lease().time_to_live(id).await.expect("the server answers").ttl_seconds
}

async fn is_missing(client: &Client, key: &str) -> bool {
    client.get(key).await.expect("the server answers").count == 0
}

/// A lease that is kept alive.
async fn kept(client: &Client, ttl_seconds: i64) -> LeaseKeeper {
    let granted = client.lease().grant(ttl_seconds).await.expect("the server answers");
    soon(client.lease().keep_alive(granted.id)).await.expect("it is renewed")
}

#[tokio::test]
async fn a_lease_is_granted_looked_at_and_revoked() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let lease = client.lease();
    let granted = lease.grant(100).await.unwrap();
    assert!(granted.id.0 > 0);
    assert_eq!((granted.ttl_seconds, granted.header.revision), (100, 1));
    for key in ["b", "a"] {
        client.put(key, "v").lease(granted.id).await.unwrap();
    }
    let asked = lease.time_to_live(granted.id).keys().await.unwrap();
    assert_eq!((asked.id, asked.granted_ttl_seconds), (granted.id, 100));
    assert!((98..=100).contains(&asked.ttl_seconds), "{asked:?}");
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
    assert_eq!(lease.grant(100).id(LeaseId(-7)).await.unwrap().id, LeaseId(-7));
    let error = lease.grant(100).id(LeaseId(-7)).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseExist), "{error}");
    let error = lease.grant(9_000_000_001).await.unwrap_err();
    assert!(error.is(EtcdError::LeaseTTLTooLarge), "{error}");
    assert!(lease.grant(0).await.unwrap().ttl_seconds >= 1, "what is too short is lengthened");
    assert!(lease.grant(-5).await.unwrap().ttl_seconds >= 1);
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
    let short = client.lease().grant(1).await.unwrap();
    client.put("goes", "v").lease(short.id).await.unwrap();
    let mut keeper = kept(&client, 1).await;
    client.put("stays", "v").lease(keeper.id()).await.unwrap();
    eventually("the end of the lease", async || is_missing(&client, "goes").await.then_some(())).await;
    assert_eq!(left(&client, short.id).await, -1);
    // A renewal that is sent after that one is answered.
    let now = Instant::now();
    while keeper.deadline() < now + keeper.ttl() {
        let renewed = soon(keeper.next()).await.expect("it is renewed");
        assert_eq!((renewed.id, renewed.ttl_seconds), (keeper.id(), short.ttl_seconds));
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
    let granted = client.lease().grant(100).await.unwrap();
    eventually("some of its life is over", async || (left(&client, granted.id).await < 99).then_some(()))
        .await;
    let renewed = client.lease().keep_alive_once(granted.id).await.unwrap();
    assert_eq!((renewed.id, renewed.ttl_seconds, renewed.header.revision), (granted.id, 100, 1));
    assert!(left(&client, granted.id).await >= 99);
}

#[tokio::test]
async fn a_session_holds_a_lease_until_it_is_closed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let session = Session::open(&client).await.unwrap();
    assert!(left(&client, session.lease()).await >= 58);
    let clone = session.clone();
    client.put("k", "v").lease(session.lease()).await.unwrap();
    assert!(!clone.is_expired());
    session.close().await.unwrap();
    soon(clone.expired()).await;
    assert!(clone.is_expired() && is_missing(&client, "k").await);
    assert_eq!(left(&client, clone.lease()).await, -1);
    clone.close().await.unwrap();
}
