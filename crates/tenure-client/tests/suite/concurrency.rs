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

use crate::support::{TestServer, eventually};
use std::time::Duration;
use tenure_client::{Client, KeyValue, concurrency::Session};

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
