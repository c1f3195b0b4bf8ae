//! Leases: keys that go away unless somebody keeps them.

use std::time::Duration;
use tenure_client::Client;

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint]).await?;
    let leases = client.lease();

    let lease = leases.grant(Duration::from_secs(10)).await?;
    println!("lease {} lives {} s", lease.id, lease.ttl_seconds);
    client.put("worker/1", "here").lease(lease.id).await?;

    // Renews by itself, over broken connections and restarts of servers, until it is dropped.
    let mut keeper = leases.keep_alive(lease.id).await?;
    let renewed = keeper.next().await.expect("the lease is there");
    println!("renewed for {} s", renewed.ttl_seconds);

    let life = leases.time_to_live(lease.id).keys().await?;
    println!("{} s left of {} s, {} keys", life.ttl_seconds, life.granted_ttl_seconds, life.keys.len());
    assert_eq!(leases.leases().await?.leases.len(), 1);

    // A single renewal, for those who have a clock of their own.
    let once = leases.keep_alive_once(lease.id).await?;
    assert_eq!(once.ttl_seconds, lease.ttl_seconds);

    // The end of a lease is the end of its keys, all at one revision; the keeper is told.
    leases.revoke(lease.id).await?;
    assert_eq!(client.get("worker/1").await?.count, 0);
    println!("lost: {}", keeper.lost().await);
    Ok(())
}
