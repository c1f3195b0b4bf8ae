//! Servers to test against, and a wire that can be cut.

mod cluster;
mod metrics;
mod progress;
mod proxy;
mod server;

pub use cluster::TestCluster;
pub use metrics::{calls_handled, figure};
pub use progress::Progress;
pub use proxy::Proxy;
pub use server::{AUTH_TOKEN_TTL, TestServer, answers_in_order, real_etcd, survives_cut_reads, target};

use std::{future::IntoFuture, time::Duration};
use tenure_client::{Client, ClientConfig};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub async fn soon<T>(what: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what.into_future()).await.expect("it comes in time")
}

/// Asks again and again until the answer is there.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The configuration of a client that waits for its server: one that is being started, or has much to do.
pub fn config(endpoint: impl Into<String>) -> ClientConfig {
    ClientConfig::new([endpoint]).dial_timeout(PATIENCE)
}

/// A client that gives up soon, as its configuration says, once it has a connection: to get that takes as long as it takes.
pub async fn impatient(config: ClientConfig) -> Client {
    let client = Client::connect_lazy(config).expect("the configuration can be used");
    eventually("a connection", async || client.get("any").await.ok()).await;
    client
}
