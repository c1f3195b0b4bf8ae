//! A copy of a prefix that follows its changes.

use crate::support::{Proxy, TestServer, config, soon};
use futures::{Stream, StreamExt, pin_mut};
use std::collections::BTreeMap;
use tenure_client::{
    Client, Error, EtcdError, EventKind, GetResponse, KeyRange, Op, Result, WatchStream, mirror::Syncer,
};

type Pairs = BTreeMap<String, String>;

async fn fill(client: &Client, prefix: &str, keys: usize) {
    for chunk in (0..keys).collect::<Vec<_>>().chunks(100) {
        let puts = chunk.iter().map(|number| Op::put(format!("{prefix}{number:05}"), "v"));
        client.txn().and_then(puts).commit().await.expect("it works");
    }
}

async fn collect(base: impl Stream<Item = Result<GetResponse>>) -> (Vec<usize>, Pairs) {
    let (mut pages, mut pairs) = (Vec::new(), Pairs::new());
    pin_mut!(base);
    while let Some(page) = base.next().await {
        let page = page.expect("it works");
        pages.push(page.kvs.len());
        pairs.extend(page.kvs.iter().map(|pair| (pair.key_text().into(), pair.value_text().into())));
    }
    (pages, pairs)
}

/// Applies updates until this key is written.
async fn follow(updates: &mut WatchStream, pairs: &mut Pairs, last: &str) {
    loop {
        for event in soon(updates.next()).await.expect("it works").expect("it works").events {
            let (key, value) = (event.kv.key_text().into_owned(), event.kv.value_text().into_owned());
            match event.kind {
                EventKind::Put => drop(pairs.insert(key.clone(), value)),
                EventKind::Delete => drop(pairs.remove(&key)),
            }
            if key == last {
                return;
            }
        }
    }
}

async fn truth(client: &Client, range: KeyRange) -> Pairs {
    let kvs = client.get(range.key).range_end(range.end).await.expect("it works").kvs;
    kvs.iter().map(|pair| (pair.key_text().into(), pair.value_text().into())).collect()
}

#[tokio::test]
async fn a_base_comes_in_pages_of_one_revision_and_updates_follow_it() {
    let server = TestServer::start().await;
    let client = server.client().await;
    fill(&client, "app/", 2500).await;
    client.put("other", "v").await.unwrap();
    let syncer = Syncer::new(&client, "app/");
    assert!(matches!(syncer.sync_updates().await, Err(Error::Invalid(_))));
    let base = syncer.sync_base();
    pin_mut!(base);
    let first = base.next().await.unwrap().unwrap();
    assert_eq!((first.kvs.len(), first.header.revision), (1000, syncer.revision()));
    // What happens while the base is read is part of the updates.
    client.delete("app/02000").await.unwrap();
    client.put("app/new", "v").await.unwrap();
    let (pages, mut pairs) = collect(base).await;
    assert_eq!(pages, [1000, 500]);
    assert!(pairs.contains_key("app/02000") && !pairs.contains_key("app/new"));
    pairs.extend(first.kvs.iter().map(|pair| (pair.key_text().into(), pair.value_text().into())));
    let mut updates = syncer.sync_updates().await.unwrap();
    client.put("elsewhere", "v").await.unwrap();
    client.put("app/last", "v").await.unwrap();
    follow(&mut updates, &mut pairs, "app/last").await;
    assert_eq!(pairs, truth(&client, KeyRange::prefix("app/")).await);
}

#[tokio::test]
async fn every_key_can_be_mirrored_and_nothing_too() {
    let server = TestServer::start().await;
    let client = server.client().await.with_namespace("n/");
    let (pages, pairs) = collect(Syncer::new(&client, "").sync_base()).await;
    assert_eq!((pages, pairs), (vec![0], Pairs::new()));
    fill(&client, "", 1000).await;
    let syncer = Syncer::new(&client, "");
    let (pages, mut pairs) = collect(syncer.sync_base()).await;
    assert_eq!(pages, [1000]);
    let mut updates = syncer.sync_updates().await.unwrap();
    client.put("last", "v").await.unwrap();
    follow(&mut updates, &mut pairs, "last").await;
    assert_eq!(pairs, truth(&client, KeyRange::all()).await);
}

#[tokio::test]
async fn a_base_of_an_old_revision() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let old = client.put("a", "1").await.unwrap().header.revision;
    client.put("a", "2").await.unwrap();
    client.put("b", "3").await.unwrap();
    let syncer = Syncer::at_revision(&client, "", old);
    let (_, mut pairs) = collect(syncer.sync_base()).await;
    assert_eq!(pairs, Pairs::from([("a".to_owned(), "1".to_owned())]));
    assert_eq!(syncer.revision(), old);
    follow(&mut syncer.sync_updates().await.unwrap(), &mut pairs, "b").await;
    assert_eq!(pairs, truth(&client, KeyRange::all()).await);
    client.compact(old + 2).await.unwrap();
    let base = Syncer::at_revision(&client, "", old).sync_base();
    pin_mut!(base);
    let error = base.next().await.unwrap().unwrap_err();
    assert!(error.is(EtcdError::Compacted), "{error}");
    assert!(base.next().await.is_none());
}

#[tokio::test]
async fn cuts_and_restarts_lose_nothing() {
    let mut server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let writer = server.client().await;
    fill(&writer, "k", 3000).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let syncer = Syncer::new(&client, "k");
    let base = syncer.sync_base();
    pin_mut!(base);
    let mut pairs = Pairs::new();
    while let Some(page) = base.next().await {
        pairs.extend(page.unwrap().kvs.iter().map(|pair| (pair.key_text().into(), pair.value_text().into())));
        proxy.cut();
    }
    let mut updates = syncer.sync_updates().await.unwrap();
    for round in 0..5 {
        writer.delete("k0000").prefix().await.unwrap();
        writer.put("k00001", format!("{round}")).await.unwrap();
        proxy.cut();
        if round == 2 {
            server.restart().await;
        }
        crate::support::eventually("the server is back", async || writer.put("k/last", "v").await.ok()).await;
        follow(&mut updates, &mut pairs, "k/last").await;
    }
    crate::support::eventually("nothing is missing", async || {
        let truth = truth(&writer, KeyRange::prefix("k")).await;
        if pairs == truth { Some(()) } else { None }
    })
    .await;
}
