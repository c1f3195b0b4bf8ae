//! Keys: reads, writes, transactions.

use crate::support::TestServer;
use futures::StreamExt;
use tenure_client::{Compare, Error, EtcdError, LeaseId, Op, OpResponse, SortOrder, SortTarget};

#[tokio::test]
async fn what_is_put_is_got_until_it_is_deleted() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let put = client.put("k", "v").await.unwrap();
    let got = client.get("k").await.unwrap();
    assert_eq!(got.count, 1);
    let pair = got.first().unwrap();
    assert_eq!((pair.key_text(), pair.value_text()), ("k".into(), "v".into()));
    assert_eq!(
        (pair.mod_revision, pair.create_revision, pair.version),
        (put.header.revision, put.header.revision, 1)
    );
    let before = client.put("k", "w").prev_kv().await.unwrap().prev_kv.unwrap();
    assert_eq!(before, *pair);
    let deleted = client.delete("k").prev_kv().await.unwrap();
    assert_eq!((deleted.deleted, deleted.prev_kvs[0].value_text()), (1, "w".into()));
    assert!(client.get("k").await.unwrap().kvs.is_empty());
    assert_eq!(client.get("k").revision(put.header.revision).await.unwrap().kvs, got.kvs);
}

#[tokio::test]
async fn ranges_have_their_options() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for (key, value) in [("a/1", "z"), ("a/2", "y"), ("a/3", "x"), ("b", "w")] {
        client.put(key, value).await.unwrap();
    }
    let keys = |response: tenure_client::GetResponse| {
        response.kvs.iter().map(|pair| pair.key_text().into_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(client.get("a/").prefix().await.unwrap()), "a/1 a/2 a/3");
    assert_eq!(keys(client.get("").prefix().await.unwrap()), "a/1 a/2 a/3 b");
    assert_eq!(keys(client.get("a/2").from_key().await.unwrap()), "a/2 a/3 b");
    assert_eq!(keys(client.get("a/1").range_end("a/3").await.unwrap()), "a/1 a/2");
    let page = client.get("a/").prefix().limit(2).await.unwrap();
    assert_eq!((page.more, page.count, keys(page)), (true, 3, "a/1 a/2".to_owned()));
    let by_value = client.get("a/").prefix().sort(SortTarget::Value, SortOrder::Ascend);
    assert_eq!(keys(by_value.await.unwrap()), "a/3 a/2 a/1");
    assert_eq!(
        keys(client.get("a/").prefix().sort(SortTarget::Key, SortOrder::Descend).await.unwrap()),
        "a/3 a/2 a/1"
    );
    let count = client.get("a/").prefix().count_only().await.unwrap();
    assert_eq!((count.count, count.kvs.len()), (3, 0));
    assert!(
        client.get("a/").prefix().keys_only().await.unwrap().kvs.iter().all(|pair| pair.value.is_empty())
    );
    assert_eq!(keys(client.get("a/").last_created().await.unwrap()), "a/3");
    assert_eq!(keys(client.get("a/").first_created().await.unwrap()), "a/1");
    assert_eq!(keys(client.get("a/").first_key().await.unwrap()), "a/1");
    assert_eq!(keys(client.get("a/").last_key().await.unwrap()), "a/3");
    client.put("a/1", "again").await.unwrap();
    assert_eq!(keys(client.get("a/").last_modified().await.unwrap()), "a/1");
    assert_eq!(keys(client.get("a/").first_modified().await.unwrap()), "a/2");
    let revision = client.get("b").await.unwrap().kvs[0].mod_revision;
    assert_eq!(keys(client.get("").prefix().mod_revision_min(revision).await.unwrap()), "a/1 b");
    assert_eq!(keys(client.get("").prefix().mod_revision_max(revision - 1).await.unwrap()), "a/2 a/3");
    assert_eq!(keys(client.get("").prefix().create_revision_min(revision).await.unwrap()), "b");
    assert_eq!(keys(client.get("").prefix().create_revision_max(revision - 1).await.unwrap()), "a/1 a/2 a/3");
    assert_eq!(keys(client.get("b").serializable().await.unwrap()), "b");
    assert_eq!(client.delete("a/").prefix().await.unwrap().deleted, 3);
}

#[tokio::test]
async fn values_and_leases_can_be_kept() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let missing = client.put("k", "").ignore_value().await.unwrap_err();
    assert!(missing.is(EtcdError::KeyNotFound), "{missing}");
    client.put("k", "v").await.unwrap();
    client.put("k", "").ignore_value().await.unwrap();
    assert_eq!(client.get("k").await.unwrap().kvs[0].value, "v");
    let given = client.put("k", "w").ignore_value().await.unwrap_err();
    assert!(given.is(EtcdError::ValueProvided), "{given}");
    let given = client.put("k", "w").lease(LeaseId(1)).ignore_lease().await.unwrap_err();
    assert!(given.is(EtcdError::LeaseProvided), "{given}");
    let unknown = client.put("k", "w").lease(LeaseId(7)).await.unwrap_err();
    assert!(unknown.is(EtcdError::LeaseNotFound), "{unknown}");
    assert!(!unknown.may_have_taken_effect());
}

#[tokio::test]
async fn a_transaction_does_one_thing_or_the_other() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.put("n", "1").await.unwrap();
    let txn = || {
        client
            .txn()
            .when([Compare::value("n").equal("1"), Compare::missing("m")])
            .and_then([Op::put("m", "made")])
            .and_then([Op::get("m")])
            .or_else([Op::get("n")])
    };
    let first = txn().commit().await.unwrap();
    assert!(first.succeeded);
    assert_eq!(first.responses[1].as_get().unwrap().kvs[0].value, "made");
    assert_eq!(first.responses[1].as_get().unwrap().kvs[0].mod_revision, first.header.revision);
    let second = txn().commit().await.unwrap();
    assert!(!second.succeeded);
    assert_eq!(second.responses[0].as_get().unwrap().kvs[0].value, "1");
    let conditions = [
        Compare::version("n").equal(1),
        Compare::version("n").less(2),
        Compare::create_revision("n").greater(0),
        Compare::mod_revision("n").not_equal(0),
        Compare::lease("n").equal(LeaseId(0)),
        Compare::exists("n"),
        Compare::value("").prefix().not_equal("2"),
        Compare::version("a").range_end("z").greater(0),
    ];
    let inner = Op::txn().when([Compare::missing("n")]).or_else([Op::delete("n").prev_kv()]);
    let nested = client.txn().when(conditions).and_then([inner]).commit().await.unwrap();
    assert!(nested.succeeded);
    let inner = nested.responses[0].as_txn().unwrap();
    assert!(!inner.succeeded);
    assert_eq!(inner.responses[0].as_delete().unwrap().prev_kvs[0].value, "1");
    let twice = client.txn().and_then([Op::put("x", "1"), Op::put("x", "2")]).commit().await.unwrap_err();
    assert!(twice.is(EtcdError::DuplicateKey), "{twice}");
}

#[tokio::test]
async fn any_operation_is_carried_out_by_execute() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert_eq!(client.execute(Op::put("k", "v").prev_kv()).await.unwrap().prev_kv, None);
    let got = client.execute(Op::get("k")).await.unwrap();
    assert_eq!(got.kvs[0].value, "v");
    assert!(client.execute(Op::txn().and_then([Op::get("k")])).await.unwrap().succeeded);
    let any: Op = Op::get("k").into();
    assert!(matches!(client.execute(any).await.unwrap(), OpResponse::Get(_)));
    assert_eq!(client.execute(Op::delete("k")).await.unwrap().deleted, 1);
}

#[tokio::test]
async fn history_ends_at_the_compaction() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let old = client.put("k", "1").await.unwrap().header.revision;
    let new = client.put("k", "2").await.unwrap().header.revision;
    client.compact(new).physical().await.unwrap();
    let gone = client.get("k").revision(old).await.unwrap_err();
    assert!(gone.is(EtcdError::Compacted), "{gone}");
    let again = client.compact(new).await.unwrap_err();
    assert!(again.is(EtcdError::Compacted), "{again}");
    let future = client.get("k").revision(new + 100).await.unwrap_err();
    assert!(future.is(EtcdError::FutureRev), "{future}");
}

#[tokio::test]
async fn a_large_range_comes_in_parts_of_one_revision() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for chunk in 0..25 {
        let puts = (0..100).map(|number| Op::put(format!("k{:04}", chunk * 100 + number), "v"));
        client.txn().and_then(puts).commit().await.unwrap();
    }
    let written = client.get("k").await.unwrap().header.revision;
    let mut stream = client.get_stream(Op::get("k").prefix());
    let mut parts = vec![stream.next().await.unwrap().unwrap()];
    client.delete("k").prefix().await.unwrap();
    while let Some(part) = stream.next().await {
        parts.push(part.unwrap());
    }
    let last = parts.last().unwrap().clone();
    assert_eq!((last.header.revision, last.count, last.more), (written, 2500, false));
    for part in &parts[..parts.len() - 1] {
        assert_eq!((part.header.revision, part.count, part.more), (0, 0, false), "only the last one tells");
    }
    let keys: Vec<_> = parts.into_iter().flat_map(|part| part.kvs).map(|pair| pair.key).collect();
    let expected: Vec<String> = (0..2500).map(|number| format!("k{number:04}")).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_limit_ends_a_range_in_parts() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for chunk in 0..12 {
        let puts = (0..100).map(|number| Op::put(format!("k{:04}", chunk * 100 + number), "v"));
        client.txn().and_then(puts).commit().await.unwrap();
    }
    for (limit, is_more) in [(7, true), (1100, true), (1200, false)] {
        let parts: Vec<_> = client.get_stream(Op::get("k").prefix().limit(limit)).collect().await;
        let parts: Vec<_> = parts.into_iter().map(Result::unwrap).collect();
        let keys: usize = parts.iter().map(|part| part.kvs.len()).sum();
        assert_eq!(keys, limit as usize);
        let last = parts.last().unwrap();
        assert_eq!((last.count, last.more), (1200, is_more), "limit {limit}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_it_is_sent() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert!(matches!(client.put("", "v").await, Err(Error::Invalid(_))));
    assert!(matches!(client.get("").await, Err(Error::Invalid(_))));
    assert!(matches!(client.delete("").await, Err(Error::Invalid(_))));
    let large = client.put("k", vec![0; 3 << 20]).await.unwrap_err();
    assert!(matches!(large, Error::RequestTooLarge { .. }), "{large}");
    let large = client.put("k", vec![0; 1_600_000]).await.unwrap_err();
    assert!(large.is(EtcdError::RequestTooLarge), "{large}");
    assert_eq!(client.get("").prefix().await.unwrap().header.revision, 1);
}

#[tokio::test]
async fn a_namespace_is_a_world_of_its_own() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let app = client.with_namespace("app/");
    app.put("k", "v").await.unwrap();
    client.put("other", "v").await.unwrap();
    assert_eq!(client.get("app/k").await.unwrap().count, 1);
    assert_eq!(app.get("").prefix().await.unwrap().kvs[0].key, "k");
    assert_eq!(app.get("").prefix().await.unwrap().count, 1);
    assert_eq!(app.get("a").from_key().await.unwrap().count, 1);
    let deep = app.with_namespace("deep/");
    let answer = deep
        .txn()
        .when([Compare::missing("k")])
        .and_then([Op::put("k", "w").prev_kv()])
        .and_then([Op::get("k")])
        .commit()
        .await
        .unwrap();
    assert_eq!(answer.responses[1].as_get().unwrap().kvs[0].key, "k");
    assert_eq!(client.get("app/deep/k").await.unwrap().kvs[0].value, "w");
    let parts: Vec<_> = app.get_stream(Op::get("").prefix()).collect().await;
    let keys: Vec<_> = parts.into_iter().flat_map(|part| part.unwrap().kvs).map(|pair| pair.key).collect();
    assert_eq!(keys, ["deep/k", "k"]);
    assert_eq!(app.delete("").prefix().prev_kv().await.unwrap().prev_kvs[0].key, "deep/k");
    assert_eq!(client.get("other").await.unwrap().count, 1);
}
