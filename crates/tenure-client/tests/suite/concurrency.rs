//! What several programs do together.

#![expect(clippy::unwrap_used, reason = "what tests share fails as tests do")]

mod barrier;
mod election;
mod interop;
mod mutex;
mod queue;
mod rw_mutex;
mod stm;
mod stress;

use crate::support::{TestServer, calls_handled, eventually, soon};
use std::time::Duration;
use tenure_client::{
    Client, Error, KeyValue,
    concurrency::{DoubleBarrier, PriorityQueue, Session, Stm},
};

/// A session of a connection of its own.
async fn session(server: &TestServer) -> Session {
    Session::builder(&server.client().await).ttl(Duration::from_secs(30)).open().await.unwrap()
}

/// The keys of a line, the oldest first.
async fn line(client: &Client, prefix: &str) -> Vec<KeyValue> {
    let mut pairs = client.get(prefix).prefix().await.unwrap().kvs;
    pairs.sort_by_key(|pair| pair.create_revision);
    pairs
}

/// Waits until so many stand in line.
async fn stand_in_line(client: &Client, prefix: &str, count: usize) -> Vec<KeyValue> {
    eventually("the line", async || Some(line(client, prefix).await).filter(|line| line.len() == count)).await
}

/// How many stand in line.
async fn places(client: &Client, prefix: &str) -> u64 {
    client.get(prefix).prefix().count_only().await.unwrap().count
}

/// What ends etcd before 3.5.5 when the connection breaks meanwhile.
#[tokio::test]
async fn nothing_is_read_in_a_transaction_that_only_reads() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let txns = async || calls_handled(&server.endpoint(), "Txn").await;
    let queue = PriorityQueue::new(&client, "q");
    let before = txns().await;
    queue.enqueue("v", 3).await.unwrap();
    assert_eq!(txns().await, before + 1, "the one that puts the value");
    let before = txns().await;
    let stm = Stm::new(&client).prefetch(["a", "b"]);
    stm.run(async |txn| txn.values(["a", "b", "c", "d"]).await.map(drop)).await.unwrap();
    assert_eq!(txns().await, before + 1, "the commit, which compares and does nothing");
    let closure_fails = Stm::new(&client).run(async |txn| {
        txn.values(["a", "b"]).await?;
        Err::<(), _>(Error::Closed)
    });
    closure_fails.await.unwrap_err();
    assert_eq!(txns().await, before + 1);
    let before = txns().await;
    let inside = soon(DoubleBarrier::new(&session(&server).await, "b", 1).enter()).await.unwrap();
    assert_eq!(txns().await, before + 2, "what puts the place, and what tells all to go");
    inside.leave().await.unwrap();
}
