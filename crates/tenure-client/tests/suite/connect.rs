//! Connections: made, broken, made anew.

use crate::support::{PATIENCE, Proxy, TestServer, config, eventually, impatient, soon};
use std::time::{Duration, Instant};
use tenure_client::{Client, ClientConfig, Code, Error};
use tokio::net::TcpListener;

#[tokio::test]
async fn nobody_there_is_an_error_after_the_dial_timeout() {
    let nobody = ClientConfig::new(["127.0.0.1:1"]).dial_timeout(Duration::from_secs(1));
    let started = Instant::now();
    let error = Client::connect(nobody).await.unwrap_err();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.to_string().contains("127.0.0.1:1: connect: Connection refused"), "{error}");
}

#[tokio::test]
async fn who_accepts_connections_and_says_nothing_is_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = Client::connect(config(address).dial_timeout(Duration::from_millis(200))).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_lazy_client_waits_with_its_first_call() {
    let mut server = TestServer::start().await;
    server.stop().await;
    let refused = config(server.endpoint()).reject_old_cluster();
    assert!(matches!(Client::connect_lazy(refused), Err(Error::Invalid(_))));
    let lazy = config(server.endpoint()).dial_timeout(Duration::from_millis(100)).connection_wait(PATIENCE);
    let client = Client::connect_lazy(lazy).unwrap();
    let written = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "v").await }
    });
    // Longer than the dial timeout, so it has failed to connect at least once.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!written.is_finished());
    server.start_again().await;
    soon(written).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_found_no_endpoint_until_its_time_was_over_says_so() {
    let nobody = config("127.0.0.1:1").connection_wait(Duration::MAX).request_timeout(Duration::from_secs(1));
    let client = Client::connect_lazy(nobody).unwrap();
    for error in [
        soon(client.put("k", "v")).await.unwrap_err(),
        soon(client.maintenance().status("127.0.0.1:1")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unreachable { .. }) && !error.may_have_taken_effect(), "{error}");
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }
}

#[tokio::test]
async fn one_endpoint_of_several_is_enough() {
    let server = TestServer::start().await;
    let endpoints = ["127.0.0.1:1".to_owned(), server.endpoint(), "127.0.0.1:2".to_owned()];
    let client = soon(Client::connect(ClientConfig::new(endpoints))).await.unwrap();
    for number in 0..10 {
        client.put("k", format!("{number}")).await.unwrap();
    }
    assert_eq!(client.endpoints().len(), 3);
}

#[tokio::test]
async fn endpoints_may_be_one_text_with_commas() {
    let server = TestServer::start().await;
    let endpoints = format!("127.0.0.1:1, {},127.0.0.1:2", server.endpoint());
    let client = soon(Client::connect(&endpoints)).await.unwrap();
    assert_eq!(client.endpoints(), ["127.0.0.1:1".to_owned(), server.endpoint(), "127.0.0.1:2".to_owned()]);
    client.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn a_log_in_that_nobody_answers_says_what_it_waited_for() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client =
        impatient(config(proxy.endpoint()).dial_timeout(Duration::from_secs(2)).user("root", "p")).await;
    proxy.silence();
    let error = soon(client.log_in()).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("log-in")), "{error}");
    assert!(!error.may_have_taken_effect(), "{error}");
}

#[tokio::test]
async fn configurations_that_cannot_be_used_are_refused() {
    let refused = async |config: ClientConfig| Client::connect(config).await.unwrap_err().to_string();
    assert!(refused(ClientConfig::new(Vec::<String>::new())).await.contains("no available endpoints"));
    assert!(refused(ClientConfig::new(["ftp://x"])).await.contains("unknown scheme"));
    let both = ClientConfig::new(["x:1"]).user("root", "p").token("t");
    assert!(refused(both).await.contains("not both"));
}

#[tokio::test]
async fn a_cut_connection_is_made_anew() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    client.put("k", "v").await.unwrap();
    for _ in 0..5 {
        proxy.cut();
        // A read is repeated until it is answered.
        assert_eq!(soon(client.get("k")).await.unwrap().count, 1);
    }
    assert!(proxy.accepted() > 1);
}

#[tokio::test]
async fn a_write_whose_answer_is_cut_off_is_told_as_such_and_not_repeated() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let direct = server.client().await;
    client.put("k", "1").await.unwrap();
    let is_done = async || direct.get("k").await.unwrap().kvs[0].value == "2";
    let (written, ()) = tokio::join!(client.put("k", "2").into_future(), soon(proxy.lose_answer(is_done)));
    let error = written.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(error.may_have_taken_effect());
    proxy.resume();
    // It was carried out once; who cannot bear twice can see that it was.
    let got = soon(client.get("k")).await.unwrap();
    assert_eq!((got.kvs[0].value_text(), got.kvs[0].version), ("2".into(), 2));
}

#[tokio::test]
async fn a_read_whose_answer_is_cut_off_is_repeated() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    client.put("k", vec![b'x'; 500_000]).await.unwrap();
    proxy.cut_after(100_000);
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get("k").await }
    });
    eventually("the cut", async || (proxy.accepted() > 1).then_some(())).await;
    proxy.resume();
    assert_eq!(soon(reading).await.unwrap().unwrap().kvs[0].value.len(), 500_000);
}

#[tokio::test]
async fn a_request_without_a_connection_waits_and_then_says_why() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = impatient(config(proxy.endpoint()).connection_wait(Duration::from_secs(2))).await;
    proxy.down();
    let error = soon(client.put("k", "v")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. } | Error::ConnectionLost { .. }), "{error}");
    let error = soon(client.put("k", "v")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(!error.may_have_taken_effect());
    proxy.resume();
    eventually("the connection", async || client.put("k", "v").await.ok()).await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let impatient = config(proxy.endpoint()).request_timeout(Duration::from_millis(200));
    let client = Client::connect(impatient).await.unwrap();
    proxy.silence();
    let error = soon(client.get("k")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn requests_survive_a_restart_of_the_server() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    client.put("k", "v").await.unwrap();
    server.stop().await;
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get("k").await }
    });
    server.start_again().await;
    assert_eq!(soon(reading).await.unwrap().unwrap().count, 1);
    eventually("a write", async || client.put("k", "w").await.ok()).await;
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let clone = client.clone();
    client.close();
    assert!(matches!(clone.get("k").await, Err(Error::Closed)));
}

#[tokio::test]
async fn endpoints_can_be_replaced() {
    let first = TestServer::start().await;
    let second = TestServer::start().await;
    let client = first.client().await;
    client.put("where", "first").await.unwrap();
    second.client().await.put("where", "second").await.unwrap();
    client.set_endpoints([second.endpoint()]).unwrap();
    assert_eq!(client.get("where").await.unwrap().kvs[0].value, "second");
    assert!(client.set_endpoints(Vec::<String>::new()).is_err());
    assert_eq!(client.endpoints(), [second.endpoint()]);
}

#[tokio::test]
async fn a_frozen_member_is_left_in_bounded_time() {
    let (Some(mut frozen), Some(other)) = (TestServer::any_process().await, TestServer::any_process().await)
    else {
        return;
    };
    let endpoints = [frozen.endpoint(), other.endpoint()];
    let config = ClientConfig::new(endpoints).keep_alive(Duration::from_secs(10), Duration::from_secs(2));
    let client = Client::connect(config).await.unwrap();
    // Both are connected: each answers with its own id.
    let mut members = std::collections::HashSet::new();
    eventually("both members", async || {
        members.insert(client.get("k").await.unwrap().header.member_id);
        (members.len() == 2).then_some(())
    })
    .await;
    frozen.as_process().freeze().unwrap();
    for _ in 0..4 {
        let answer = tokio::time::timeout(PATIENCE, async { client.get("k").await }).await;
        answer.expect("within the keep-alive interval and its timeout").unwrap();
    }
    frozen.as_process().thaw().unwrap();
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_endpoint() {
    let server = TestServer::start().await;
    let (first, second) = (Proxy::to(server.endpoint()).await, Proxy::to(server.endpoint()).await);
    let client = Client::connect(config(first.endpoint())).await.unwrap();
    let mut watch = client.watch("k").await.unwrap();
    assert_eq!(first.open(), 1);
    client.set_endpoints([second.endpoint()]).unwrap();
    eventually("the end of the connection", async || (first.open() == 0).then_some(())).await;
    client.put("k", "v").await.unwrap();
    let response = soon(watch.next()).await.unwrap().unwrap();
    assert_eq!(response.events[0].kv.value, "v");
    client.close();
    eventually("the end of the connection", async || (second.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn requests_under_way_outlast_a_change_of_endpoints() {
    let server = TestServer::start().await;
    let (first, second) = (Proxy::to(server.endpoint()).await, Proxy::to(server.endpoint()).await);
    let client = Client::connect(config(first.endpoint())).await.unwrap();
    first.silence();
    let putting = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "v").await }
    });
    // It has left for the first endpoint.
    tokio::task::yield_now().await;
    client.set_endpoints([second.endpoint()]).unwrap();
    assert_eq!(client.get("k").await.unwrap().count, 0);
    first.resume();
    soon(putting).await.unwrap().unwrap();
    assert_eq!(client.get("k").await.unwrap().kvs[0].version, 1);
    eventually("the end of the connection", async || (first.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_endpoint_that_is_written_in_another_way_keeps_its_connection() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    let url = format!("http://{}", proxy.endpoint());
    client.set_endpoints([url.clone(), proxy.endpoint()]).unwrap();
    assert_eq!(client.endpoints(), [url]);
    client.put("k", "v").await.unwrap();
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
}

#[tokio::test]
async fn closing_ends_what_is_under_way() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.endpoint()).await;
    let client = Client::connect(config(proxy.endpoint())).await.unwrap();
    client.put("k", "v").await.unwrap();
    proxy.silence();
    let (reading, writing) = (client.clone(), client.clone());
    let reading = tokio::spawn(async move { reading.get("k").await });
    let writing = tokio::spawn(async move { writing.put("k", "w").await });
    tokio::task::yield_now().await;
    client.close();
    assert!(matches!(soon(reading).await.unwrap(), Err(Error::Closed)));
    let error = soon(writing).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Closed | Error::ConnectionLost { .. }), "{error}");
    // The wire notices an end only when it passes something.
    proxy.resume();
    eventually("the end of the connection", async || (proxy.open() == 0).then_some(())).await;
    client.set_endpoints([server.endpoint()]).unwrap();
    assert!(matches!(client.get("k").await, Err(Error::Closed)));
    assert!(matches!(client.maintenance().status(server.endpoint()).await, Err(Error::Closed)));
}
