//! Reads that never go back in time.

use crate::support::{TestServer, eventually};
use futures::future::join_all;
use std::time::Duration;
use tenure_client::{
    Client, Error, Kv, Op,
    ordering::{OrderedKv, Violation, next_endpoint},
};

/// Two servers that differ, as a member that is behind differs from the others, and a client of both.
async fn two() -> (TestServer, TestServer, Client) {
    let (behind, ahead) = (TestServer::start().await, TestServer::start().await);
    behind.client().await.put("k", "old").await.expect("it works");
    let client = ahead.client().await;
    for number in 0..10 {
        client.put("k", format!("new {number}")).await.expect("it works");
    }
    let both = Client::connect([behind.endpoint(), ahead.endpoint()]).await.expect("it works");
    // Both are connected to once both have answered.
    eventually("an answer of each", async || {
        let revisions =
            join_all((0..4).map(|_| async { both.get("k").await.expect("it works").header.revision })).await;
        (revisions.contains(&2) && revisions.contains(&11)).then_some(())
    })
    .await;
    (behind, ahead, both)
}

#[tokio::test]
async fn no_read_goes_back() {
    let (_behind, _ahead, both) = two().await;
    let ordered = OrderedKv::new(both.clone(), next_endpoint(&both));
    let mut newest = 0;
    for _ in 0..50 {
        let answer = ordered.get("k").serializable().await.unwrap();
        assert!(answer.header.revision >= newest, "{} after {newest}", answer.header.revision);
        newest = answer.header.revision;
    }
    assert_eq!(newest, 11);
    for _ in 0..10 {
        let answer = ordered.txn().and_then([Op::get("k").serializable()]).commit().await.unwrap();
        assert_eq!(answer.responses[0].as_get().unwrap().kvs[0].value, "new 9");
    }
}

#[tokio::test]
async fn many_reads_at_once_do_not_go_back() {
    let (_behind, _ahead, both) = two().await;
    // Together, the reads of others may take every turn of the member that is ahead: so there is no end to the attempts.
    let ordered = OrderedKv::new(both, |_: &Violation<'_>| Ok(Duration::from_millis(1)));
    ordered.see(11);
    let answers = join_all((0..50).map(|_| async { ordered.get("k").serializable().await.unwrap() })).await;
    assert!(answers.iter().all(|answer| answer.header.revision == 11));
}

#[tokio::test]
async fn without_the_member_that_is_ahead_the_read_fails() {
    let (_behind, mut ahead, both) = two().await;
    let ordered = OrderedKv::new(both.clone(), next_endpoint(&both));
    ordered.see(11);
    ahead.stop().await;
    let error = ordered.get("k").serializable().await.unwrap_err();
    assert!(matches!(error, Error::NoGreaterRevision), "{error}");
    // A write is as good as its server says.
    assert_eq!(ordered.put("other", "v").await.unwrap().header.revision, 3);
    assert_eq!(ordered.revision_seen(), 11);
    ahead.start_again().await;
    eventually("the member is back", async || {
        let answer = ordered.get("k").serializable().await;
        answer.ok().filter(|answer| answer.header.revision == 11)
    })
    .await;
}

#[tokio::test]
async fn a_closure_decides() {
    let (_behind, _ahead, both) = two().await;
    let asked = std::sync::atomic::AtomicU32::new(0);
    let policy = |violation: &Violation<'_>| {
        assert_eq!((violation.revision_seen, violation.response.header().revision), (11, 2));
        asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Err(Error::Closed)
    };
    let ordered = OrderedKv::new(both, policy);
    ordered.see(11);
    let answers = join_all((0..10).map(|_| async { ordered.get("k").serializable().await })).await;
    let failed = answers.iter().filter(|answer| matches!(answer, Err(Error::Closed))).count();
    assert!(failed > 0);
    assert_eq!(u32::try_from(failed).unwrap(), asked.load(std::sync::atomic::Ordering::SeqCst));
}
