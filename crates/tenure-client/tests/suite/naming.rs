//! Addresses of services.

use crate::support::{Proxy, TestServer, config, eventually, soon};
use serde_json::json;
use std::collections::BTreeMap;
use tenure_client::{
    Client, Error, EtcdError,
    naming::{Endpoint, EndpointWatch, Endpoints, Update},
};

async fn told(watch: &mut EndpointWatch) -> Vec<Update> {
    soon(watch.next()).await.expect("it goes on").expect("it works")
}

#[tokio::test]
async fn what_is_stored_is_what_go_stores() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let service = Endpoints::new(&client, "services/search").unwrap();
    let metadata = json!({"zone": "<a>", "weight": 1.0});
    service.add_endpoint("services/search/a", Endpoint::new("10.0.0.1:80").metadata(metadata)).await.unwrap();
    let stored = client.get("services/search/a").await.unwrap();
    let expected = r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"weight":1,"zone":"\u003ca\u003e"}}"#;
    assert_eq!(stored.kvs[0].value_text(), expected);
    // As another client stores it.
    client.put("services/search/b", r#"{"Op":0,"Addr":"10.0.0.2:80","Metadata":null}"#).await.unwrap();
    client.put("services/search/c", "no endpoint").await.unwrap();
    client.put("services/searching/d", r#"{"Op":0,"Addr":"10.0.0.4:80","Metadata":null}"#).await.unwrap();
    let expected = BTreeMap::from([
        (
            "services/search/a".into(),
            Endpoint::new("10.0.0.1:80").metadata(json!({"weight": 1, "zone": "<a>"})),
        ),
        ("services/search/b".into(), Endpoint::new("10.0.0.2:80")),
    ]);
    assert_eq!(service.list().await.unwrap(), expected);
    service.delete_endpoint("services/search/a").await.unwrap();
    service.delete_endpoint("services/search/none").await.unwrap();
    assert_eq!(service.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn changes_happen_at_once_or_not_at_all() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert!(matches!(Endpoints::new(&client, ""), Err(Error::Invalid(_))));
    let service = Endpoints::new(&client, "s").unwrap();
    let outside =
        service.update([Update::add("s/a", Endpoint::new("1")), Update::delete("t/a")]).await.unwrap_err();
    assert_eq!(outside.to_string(), "endpoints: endpoint key should be prefixed with 's/' got: 't/a'");
    let without_lease = service
        .update([
            Update::add("s/a", Endpoint::new("1")),
            Update::add_with_lease("s/b", Endpoint::new("2"), 7.into()),
        ])
        .await
        .unwrap_err();
    assert!(without_lease.is(EtcdError::LeaseNotFound), "{without_lease}");
    assert!(service.list().await.unwrap().is_empty());
    let mut watch = service.watch().await.unwrap();
    let updates = vec![Update::add("s/a", Endpoint::new("1")), Update::add("s/b", Endpoint::new("2"))];
    service.update(updates.clone()).await.unwrap();
    assert_eq!(told(&mut watch).await, updates);
    service.update([Update::delete("s/a"), Update::add("s/b", Endpoint::new("3"))]).await.unwrap();
    assert_eq!(told(&mut watch).await, [Update::delete("s/a"), Update::add("s/b", Endpoint::new("3"))]);
}

#[tokio::test]
async fn a_watch_tells_what_there_is_and_what_changes() {
    let server = TestServer::start().await;
    let client = server.client().await.with_namespace("app/");
    let service = Endpoints::new(&client, "s").unwrap();
    service.add_endpoint("s/a", Endpoint::new("1")).await.unwrap();
    let mut watch = service.watch().await.unwrap();
    assert_eq!(told(&mut watch).await, [Update::add("s/a", Endpoint::new("1"))]);
    // Nothing that could be told happens here.
    client.put("s/x", "no endpoint").await.unwrap();
    service.add_endpoint("s/a", Endpoint::new("2")).await.unwrap();
    assert_eq!(told(&mut watch).await, [Update::add("s/a", Endpoint::new("2"))]);
    service.delete_endpoint("s/a").await.unwrap();
    assert_eq!(told(&mut watch).await, [Update::delete("s/a")]);
}

#[tokio::test]
async fn a_watch_survives_cuts_restarts_and_compaction() {
    let mut server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let writer = server.client().await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let here = Endpoints::new(&writer, "s").unwrap();
    here.add_endpoint("s/a", Endpoint::new("1")).await.unwrap();
    here.add_endpoint("s/b", Endpoint::new("1")).await.unwrap();
    let mut watch = Endpoints::new(&client, "s").unwrap().watch().await.unwrap();
    assert_eq!(told(&mut watch).await.len(), 2);
    proxy.cut();
    here.add_endpoint("s/a", Endpoint::new("2")).await.unwrap();
    assert_eq!(told(&mut watch).await, [Update::add("s/a", Endpoint::new("2"))]);
    server.restart().await;
    eventually("the server is back", async || here.add_endpoint("s/a", Endpoint::new("3")).await.ok()).await;
    assert_eq!(told(&mut watch).await, [Update::add("s/a", Endpoint::new("3"))]);
    proxy.down();
    here.delete_endpoint("s/b").await.unwrap();
    here.add_endpoint("s/c", Endpoint::new("1")).await.unwrap();
    let last = writer.put("unrelated", "v").await.unwrap().header.revision;
    writer.compact(last).await.unwrap();
    proxy.resume();
    assert_eq!(told(&mut watch).await, [Update::delete("s/b"), Update::add("s/c", Endpoint::new("1"))]);
    here.delete_endpoint("s/c").await.unwrap();
    assert_eq!(told(&mut watch).await, [Update::delete("s/c")]);
}
