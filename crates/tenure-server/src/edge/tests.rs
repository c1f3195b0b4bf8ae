//! gRPC and HTTP on one port, over sockets and without.

use super::{
    authority::tests::{FIRST, bytes, frame},
    testing::{Served, get, http2, on_loopback, serve},
    *,
};
use crate::{config::SocketOptions, metrics::methods};
use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};
use tenure_harness::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, service::Routes, transport::Endpoint};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Health is a service with a unary method and a stream, and needs no member.
async fn routes() -> (tonic_health::server::HealthReporter, Routes) {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;
    (reporter, Routes::new(service))
}

async fn check(channel: Channel) -> Result<i32, tonic::Status> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status)
}

async fn channel_to(served: &Served) -> Channel {
    Endpoint::new(format!("http://{}", served.clients.unwrap())).unwrap().connect().await.unwrap()
}

fn handled(served: &Served, path: &str, code: Code) -> u64 {
    served.metrics.grpc.method(methods::position(path).unwrap()).handled(code).get()
}

/// Waits until a counter has a value; the end of a call is counted after its client has seen it.
async fn until(expected: u64, counter: impl Fn() -> u64) {
    let reached = async {
        while counter() != expected {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{} instead of {expected}", counter());
}

/// As etcd's client of 3.4 asks one endpoint; the answer has header fields and does not reset the stream.
#[tokio::test]
async fn an_authority_that_is_a_url_is_taken() {
    let (_reporter, routes) = routes().await;
    let served = serve(&on_loopback(), routes).await;
    let mut stream = tokio::net::TcpStream::connect(served.clients.unwrap()).await.unwrap();
    let request = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, &[]),
        frame(1, 4, &bytes(FIRST)),
        frame(0, 1, &[0; 5]),
    ];
    stream.write_all(&request.concat()).await.unwrap();
    let answered = async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            let of_the_stream = header[8] == 1;
            if of_the_stream && header[3] != 8 {
                return header[3];
            }
        }
    };
    let kind = tokio::time::timeout(PATIENCE, answered).await.unwrap();
    assert_eq!(kind, 1, "HEADERS, where RST_STREAM is 3");
    until(1, || handled(&served, CHECK, Code::Ok)).await;
}

#[tokio::test]
async fn grpc_and_http_share_a_port() {
    let (_reporter, routes) = routes().await;
    let served = serve(&on_loopback(), routes).await;
    let channel = channel_to(&served).await;
    assert_eq!(check(channel.clone()).await.unwrap(), 1);
    assert_eq!(get(served.clients.unwrap(), "/livez").await.0, 200);
    assert_eq!(http2(served.clients.unwrap(), "GET", "/livez").await.0, 200);
    served.serving.stop(Duration::from_secs(5)).await;
    assert!(check(channel).await.is_err());
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let (_reporter, routes) = routes().await;
    let served = serve(&on_loopback(), routes).await;
    let channel = channel_to(&served).await;
    for _ in 0..3 {
        check(channel.clone()).await.unwrap();
    }
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let refused = HealthClient::new(channel.clone()).check(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    until(3, || handled(&served, CHECK, Code::Ok)).await;
    until(1, || handled(&served, CHECK, Code::NotFound)).await;
    let method = served.metrics.grpc.method(methods::position(CHECK).unwrap());
    assert_eq!((method.started.get(), method.received.get(), method.sent.get()), (4, 4, 3));
    assert_eq!(served.metrics.handles.client_received_bytes.get(), 8, "the name and its tag");
    assert_eq!(served.metrics.handles.client_sent_bytes.get(), 6, "a tag and a value, three times");
}

#[tokio::test]
async fn a_stream_that_its_client_leaves_is_counted_as_canceled() {
    let (reporter, routes) = routes().await;
    let served = serve(&on_loopback(), routes).await;
    let mut client = HealthClient::new(channel_to(&served).await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    assert_eq!(served.metrics.grpc.method(methods::position(WATCH).unwrap()).sent.get(), 2);
    drop(watch);
    until(1, || handled(&served, WATCH, Code::Cancelled)).await;
}

#[tokio::test]
async fn the_version_that_a_client_says_is_counted() {
    let (_reporter, routes) = routes().await;
    let served = serve(&on_loopback(), routes).await;
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("client-api-version", "3.5".parse().unwrap());
    let channel = channel_to(&served).await;
    HealthClient::new(channel.clone()).check(request).await.unwrap();
    check(channel).await.unwrap();
    let text = String::from_utf8(served.metrics.encode().unwrap()).unwrap();
    for version in ["3.5", "unknown"] {
        let line = format!(
            "etcd_server_client_requests_total{{client_api_version=\"{version}\",type=\"unary\"}} 1\n"
        );
        assert!(text.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn unknown_methods_are_unimplemented_with_grpcs_texts() {
    let (_reporter, routes) = routes().await;
    let served = serve(&on_loopback(), routes).await;
    let mut client = tonic::client::Grpc::new(channel_to(&served).await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let path = http::uri::PathAndQuery::from_static("/etcdserverpb.KV/Nonsense");
    let request = tonic::Request::new(HealthCheckRequest::default());
    let status = client.unary(request, path, codec).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unimplemented, "unknown method Nonsense for service etcdserverpb.KV")
    );
}

#[tokio::test]
async fn the_in_process_channel_needs_no_socket() {
    let (_reporter, routes) = routes().await;
    let served = serve(&ServerConfig::in_memory(), routes).await;
    assert_eq!(served.clients, None);
    let channel = served.serving.in_process();
    assert_eq!(check(channel.clone()).await.unwrap(), 1);
    let calls = (0..200).map(|_| check(channel.clone()));
    for status in futures::future::join_all(calls).await {
        assert_eq!(status.unwrap(), 1);
    }
    served.serving.stop(Duration::from_secs(5)).await;
    assert!(check(channel).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_is_listened_on_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.sock");
    std::fs::write(&path, "left behind").unwrap();
    let config = ServerConfig::in_memory().listening_on(EndpointUrl::unix(path.to_str().unwrap()));
    let (_reporter, routes) = routes().await;
    let served = serve(&config, routes).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    served.serving.stop(Duration::from_secs(5)).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn http_has_listeners_of_its_own_if_asked() {
    let mut config = on_loopback();
    config.listen_client_http_urls = vec![EndpointUrl::http("127.0.0.1", 0)];
    let (_reporter, routes) = routes().await;
    let edge = Edge::bind(&config).await.unwrap();
    let http_address = edge.addresses(Role::Http)[0];
    let grpc_address = edge.addresses(Role::Grpc)[0];
    let metrics = Metrics::new(config.metrics).unwrap();
    let member = Arc::new(testing::FakeMember::default());
    let endpoints = Endpoints::new(member, Arc::clone(&metrics), &config);
    let serving = edge.serve(routes, endpoints, metrics, &config);
    assert_eq!(get(http_address, "/version").await.0, 200);
    assert_eq!(http2(grpc_address, "GET", "/version").await.0, 415);
    let endpoint = |address: SocketAddr| Endpoint::new(format!("http://{address}")).unwrap();
    assert_eq!(check(endpoint(grpc_address).connect().await.unwrap()).await.unwrap(), 1);
    assert!(check(endpoint(http_address).connect().await.unwrap()).await.is_err());
    serving.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_cannot_be_bound_is_named() {
    let any = EndpointUrl::http("127.0.0.1", 0);
    let taken = Listener::bind(&any, Role::Both, SocketOptions::default(), None).await.unwrap();
    let config = ServerConfig::in_memory().listening_on(taken.url.clone());
    let error = Edge::bind(&config).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("listen tcp {}: Address already in use", taken.url.address())),
        "{error}"
    );
    let secure = ServerConfig::in_memory().listening_on("https://127.0.0.1:0".parse().unwrap());
    let error = Edge::bind(&secure).await.unwrap_err().to_string();
    assert_eq!(error, "cannot listen on TLS for https://127.0.0.1:0: KeyFile and CertFile are not presented");
}

/// Answers when a gate opens, and counts those that wait.
#[derive(Clone)]
struct Gated {
    gate: Arc<tokio::sync::Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl tower::Service<http::Request<RequestBody>> for Gated {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<RequestBody>) -> Self::Future {
        let gated = self.clone();
        Box::pin(async move {
            gated.waiting.fetch_add(1, Ordering::SeqCst);
            let opened = gated.gate.acquire().await;
            let code = if opened.is_ok() { Code::Aborted } else { Code::Internal };
            Ok(tonic::Status::new(code, "opened").into_http())
        })
    }
}

fn gated() -> Gated {
    Gated { gate: Arc::new(tokio::sync::Semaphore::new(0)), waiting: Arc::default() }
}

#[tokio::test]
async fn a_stop_lets_calls_end_within_its_grace() {
    let gated = gated();
    let served = serve(&on_loopback(), gated.clone()).await;
    let call = tokio::spawn(check(channel_to(&served).await));
    until(1, || gated.waiting.load(Ordering::SeqCst) as u64).await;
    let stop = tokio::spawn(served.serving.stop(Duration::from_secs(600)));
    tokio::task::yield_now().await;
    gated.gate.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Aborted, "the answer of the service");
    stop.await.unwrap();
}

#[tokio::test]
async fn a_stop_cuts_what_outlasts_its_grace() {
    let gated = gated();
    let served = serve(&on_loopback(), gated.clone()).await;
    let call = tokio::spawn(check(channel_to(&served).await));
    until(1, || gated.waiting.load(Ordering::SeqCst) as u64).await;
    served.serving.stop(Duration::from_millis(1)).await;
    assert_ne!(call.await.unwrap().unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn a_call_ends_at_the_deadline_that_its_client_sent() {
    let gated = gated();
    let served = serve(&on_loopback(), gated.clone()).await;
    // The header alone: tonic's client would end the call by itself as well.
    let stream = tokio::net::TcpStream::connect(served.clients.unwrap()).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost{CHECK}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "20m")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(response.headers()["grpc-message"], "context%20deadline%20exceeded");
    until(1, || handled(&served, CHECK, Code::DeadlineExceeded)).await;
    driver.abort();
}

#[tokio::test]
async fn q7_a_message_over_the_limit_is_refused_with_grpcs_text() {
    let (_reporter, routes) = routes().await;
    let mut config = on_loopback();
    config.request_bytes_max = 1_000;
    let served = serve(&config, routes).await;
    let limit = 1_000 + limits::GRPC_OVERHEAD_BYTES;
    for (name_bytes, code) in [(limit - 4, Code::NotFound), (limit, Code::ResourceExhausted)] {
        let request = HealthCheckRequest { service: "x".repeat(name_bytes) };
        let status = HealthClient::new(channel_to(&served).await).check(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        if code == Code::ResourceExhausted {
            let text = format!("grpc: received message larger than max ({} vs. {limit})", limit + 4);
            assert_eq!(status.message(), text);
        }
    }
}
