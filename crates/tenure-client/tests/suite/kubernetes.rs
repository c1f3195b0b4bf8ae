//! The calls that Kubernetes makes.

use crate::support::TestServer;
use tenure_client::{
    Error, EtcdError,
    kubernetes::{GetResponse, Kubernetes},
    ordering::{OrderedKv, next_endpoint},
};

#[tokio::test]
async fn a_write_is_carried_out_if_the_key_is_as_expected() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let store = client.kubernetes();
    let made = store.optimistic_put("/pods/a", "1", 0).await.unwrap();
    assert!(made.succeeded && made.kv.is_none());
    let pair = store.get("/pods/a").await.unwrap();
    assert_eq!((pair.revision, pair.kv.unwrap().mod_revision), (made.revision, made.revision));
    let again = store.optimistic_put("/pods/a", "2", 0).await.unwrap();
    assert_eq!((again.succeeded, again.kv), (false, None));
    let again = store.optimistic_put("/pods/a", "2", 0).read_on_failure().await.unwrap();
    assert_eq!((again.succeeded, again.revision), (false, made.revision));
    assert_eq!(again.kv.unwrap().value, "1");
    let changed = store.optimistic_put("/pods/a", "2", made.revision).read_on_failure().await.unwrap();
    assert_eq!((changed.succeeded, changed.kv), (true, None));
    assert_eq!(store.get("/pods/a").revision(made.revision).await.unwrap().kv.unwrap().value, "1");
    let late = store.optimistic_delete("/pods/a", made.revision).read_on_failure().await.unwrap();
    assert_eq!((late.succeeded, late.kv.unwrap().mod_revision), (false, changed.revision));
    let late = store.optimistic_delete("/pods/a", made.revision).await.unwrap();
    assert_eq!((late.succeeded, late.kv), (false, None));
    let gone = store.optimistic_delete("/pods/a", changed.revision).await.unwrap();
    assert!(gone.succeeded && gone.revision > changed.revision);
    let absent = store.get("/pods/a").await.unwrap();
    assert_eq!(absent, GetResponse { kv: None, revision: gone.revision });
    let absent = store.optimistic_put("/pods/a", "3", made.revision).read_on_failure().await.unwrap();
    assert_eq!((absent.succeeded, absent.kv), (false, None));
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_revision() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let store = client.kubernetes();
    for number in 0..7 {
        store.optimistic_put(format!("/pods/{number}"), "v", 0).await.unwrap();
    }
    let last = store.optimistic_put("/services/0", "v", 0).await.unwrap();
    assert_eq!(store.count("/pods/").await.unwrap(), 7);
    assert_eq!(store.count("").await.unwrap(), 8);
    let mut page = store.list("/pods/").limit(3).await.unwrap();
    assert_eq!((page.kvs.len(), page.count, page.revision), (3, 7, last.revision));
    let mut keys = Vec::new();
    loop {
        keys.extend(page.kvs.iter().map(|pair| pair.key_text().into_owned()));
        // What is written meanwhile is not part of it.
        client.put("/pods/3a", "late").await.unwrap();
        let Some(next) = page.continue_from() else { break };
        page = store.list("/pods/").limit(3).revision(page.revision).continue_from(next).await.unwrap();
    }
    assert_eq!(keys, (0..7).map(|number| format!("/pods/{number}")).collect::<Vec<_>>());
    assert_eq!(store.list("").await.unwrap().kvs.len(), 9);
    let outside = store.list("/pods/").continue_from("/services/0").await.unwrap_err();
    assert!(matches!(outside, Error::Invalid(_)), "{outside}");
    client.compact(last.revision).await.unwrap();
    let compacted = store.list("/pods/").revision(2).await.unwrap_err();
    assert!(compacted.is(EtcdError::Compacted), "{compacted}");
}

#[tokio::test]
async fn a_lease_takes_its_keys_along_and_layers_can_be_put_below() {
    let server = TestServer::start().await;
    let client = server.client().await.with_namespace("cluster/");
    let store = Kubernetes::new(OrderedKv::new(client.clone(), next_endpoint(&client)));
    let unknown = store.optimistic_put("/events/a", "v", 0).lease(7.into()).await.unwrap_err();
    assert!(unknown.is(EtcdError::LeaseNotFound), "{unknown}");
    let made = store.optimistic_put("/events/a", "v", 0).await.unwrap();
    assert_eq!(store.list("/events/").await.unwrap().kvs[0].key, "/events/a");
    assert!(store.optimistic_delete("/events/a", made.revision).await.unwrap().succeeded);
}
