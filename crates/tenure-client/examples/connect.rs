//! Connecting: several endpoints, a dial timeout, and what happens when nobody answers.

use std::time::Duration;
use tenure_client::{Client, ClientConfig, Error};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());

    // Several endpoints of one cluster. One that answers is enough.
    let config = ClientConfig::new([endpoint.as_str(), "127.0.0.1:22379", "127.0.0.1:32379"])
        .dial_timeout(Duration::from_secs(2))
        .request_timeout(Duration::from_secs(5));
    let client = Client::connect(config).await?;
    println!("connected, endpoints {:?}", client.endpoints());

    // Clones share the connections: give one to every task.
    let task = tokio::spawn({
        let client = client.clone();
        async move { client.get("greeting").await }
    });
    let answer = task.await.expect("the task does not panic")?;
    println!("the store is at revision {}", answer.header.revision);

    // Nobody there: an error after the dial timeout.
    let nobody = ClientConfig::new(["127.0.0.1:1"]).dial_timeout(Duration::from_millis(300));
    match Client::connect(nobody).await {
        Err(error @ Error::Unreachable { .. }) => println!("{error}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}
