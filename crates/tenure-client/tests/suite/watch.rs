//! Watches: every option, and every way in which a stream can break.

use crate::support::{Proxy, TestServer, config, eventually, soon};
use tenure_client::{Client, EventKind, WatchResponse, WatchStream};

/// The next response.
async fn next(watch: &mut WatchStream) -> WatchResponse {
    soon(watch.next()).await.expect("the watch goes on").expect("it does not fail")
}

/// The next so many events, as `PUT key=value@revision`.
async fn events(watch: &mut WatchStream, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        for event in next(watch).await.events {
            let (key, value) = (event.kv.key_text(), event.kv.value_text());
            events.push(match event.kind {
                EventKind::Put => format!("{key}={value}"),
                EventKind::Delete => format!("-{key}"),
            });
        }
    }
    events
}

#[tokio::test]
async fn changes_are_told_in_order() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut watch = client.watch("k").await.unwrap();
    let put = client.put("k", "1").await.unwrap().header.revision;
    client.put("other", "x").await.unwrap();
    client.put("k", "2").await.unwrap();
    client.delete("k").await.unwrap();
    let first = next(&mut watch).await;
    assert_eq!(first.events.len(), 1);
    let event = &first.events[0];
    assert!(event.is_create() && !event.is_modify());
    assert_eq!((event.kv.mod_revision, event.kv.version, &event.prev_kv), (put, 1, &None));
    assert_eq!(events(&mut watch, 2).await, ["k=2", "-k"]);
}

#[tokio::test]
async fn a_watch_outlives_its_connection() {
    let server = TestServer::start().await;
    let writer = server.client().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let mut watch = client.watch("k").prefix().await.unwrap();
    for number in 0..5 {
        writer.put("k", format!("{number}a")).await.unwrap();
        assert_eq!(events(&mut watch, 1).await, [format!("k={number}a")]);
        proxy.cut();
        writer.put("k", format!("{number}b")).await.unwrap();
        assert_eq!(events(&mut watch, 1).await, [format!("k={number}b")]);
    }
}

#[tokio::test]
async fn a_watch_outlives_its_server() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    let mut watch = client.watch("k").prefix().await.unwrap();
    client.put("k", "1").await.unwrap();
    server.restart().await;
    eventually("a write", async || client.put("k", "2").await.ok()).await;
    assert_eq!(events(&mut watch, 2).await, ["k=1", "k=2"]);
}
