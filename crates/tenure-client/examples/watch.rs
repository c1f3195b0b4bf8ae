//! Watches: what has changed, and what changes from now on.

use tenure_client::{Client, Error, EventKind};

#[tokio::main]
async fn main() -> tenure_client::Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let client = Client::connect([endpoint]).await?;

    // Once it is awaited the server has confirmed it: nothing that comes now is missed.
    let mut watch = client.watch("sensor/").prefix().prev_kv().await?;
    let first = client.put("sensor/1", "20").await?.header.revision;
    client.put("sensor/1", "21").await?;
    client.delete("sensor/1").await?;

    let mut events = Vec::new();
    while events.len() < 3 {
        let response = watch.next().await.expect("a watch does not end by itself")?;
        events.extend(response.events);
    }
    for event in &events {
        match event.kind {
            EventKind::Put if event.is_create() => println!("new: {}", event.kv.value_text()),
            EventKind::Put => println!("changed: {}", event.kv.value_text()),
            EventKind::Delete => println!("gone: {}", event.kv.key_text()),
        }
    }
    assert_eq!(events[2].prev_kv.as_ref().expect("it was asked for").value, "21");
    watch.close().await;

    // From a revision in the past: the history comes first.
    let mut history = client.watch("sensor/").prefix().start_revision(first).await?;
    let response = history.next().await.expect("a watch does not end by itself")?;
    assert_eq!(response.events[0].kv.value, "20");

    // What is compacted cannot be told any more, and the watch says so.
    let last = client.put("sensor/2", "5").await?.header.revision;
    client.compact(last).await?;
    let mut late = client.watch("sensor/").prefix().start_revision(first).await?;
    match late.next().await {
        Some(Err(Error::Compacted { compact_revision })) => println!("go on from {compact_revision}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}
