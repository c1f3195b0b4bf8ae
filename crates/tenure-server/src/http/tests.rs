//! The endpoints, through a socket.

use super::*;
use crate::edge::testing::{Condition, Served, get, http1, http2, on_loopback, serve};
use std::net::SocketAddr;
use tonic::service::Routes;

async fn served() -> (Served, SocketAddr) {
    let served = serve(&on_loopback(), Routes::default()).await;
    let address = served.clients.unwrap();
    (served, address)
}

fn body(code: u16, text: &str) -> (u16, String) {
    (code, text.to_owned())
}

#[tokio::test]
async fn health_of_a_healthy_member() {
    let (served, address) = served().await;
    assert_eq!(get(address, "/health").await, body(200, r#"{"health":"true","reason":""}"#));
    assert_eq!(http2(address, "GET", "/health").await, body(200, r#"{"health":"true","reason":""}"#));
    let answer = http1(address, "GET /health HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{answer}");
    assert_eq!(served.metrics.handles.health_success.get(), 3);
}

#[tokio::test]
async fn health_looks_at_alarms_then_the_leader_then_reads() {
    let (served, address) = served().await;
    let unhealthy = |reason: &str| body(503, &format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}\n"));
    *served.member.0.lock() = Condition {
        alarms: vec![AlarmType::NoSpace],
        has_leader: false,
        linearizable: Err(EtcdError::LeaderChanged),
        serializable: Err(EtcdError::Stopped),
        ..Condition::default()
    };
    assert_eq!(get(address, "/health").await, unhealthy("ALARM NOSPACE"));
    assert_eq!(get(address, "/health?exclude=NOSPACE").await, unhealthy("RAFT NO LEADER"));
    assert_eq!(
        get(address, "/health?exclude=NOSPACE&serializable=true").await,
        unhealthy("RANGE ERROR:etcdserver: server stopped")
    );
    served.member.0.lock().has_leader = true;
    assert_eq!(
        get(address, "/health?exclude=NOSPACE&exclude=CORRUPT").await,
        unhealthy("RANGE ERROR:etcdserver: leader changed")
    );
    served.member.0.lock().alarms = vec![AlarmType::NoSpace, AlarmType::Corrupt];
    assert_eq!(get(address, "/health?exclude=NOSPACE").await, unhealthy("ALARM CORRUPT"));
    assert_eq!(served.metrics.handles.health_failures.get(), 5);
}

#[tokio::test]
async fn livez_and_readyz() {
    let (served, address) = served().await;
    assert_eq!(get(address, "/livez").await, body(200, "ok\n"));
    assert_eq!(get(address, "/readyz").await, body(200, "ok\n"));
    assert_eq!(get(address, "/livez?verbose").await, body(200, "[+]serializable_read ok\nok\n"));
    assert_eq!(
        http2(address, "GET", "/readyz?verbose=1").await,
        body(
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"
        )
    );
    *served.member.0.lock() = Condition {
        alarms: vec![AlarmType::Corrupt],
        linearizable: Err(EtcdError::Timeout),
        is_learner: true,
        ..Condition::default()
    };
    let all = "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n\
               [-]linearizable_read failed: etcdserver: request timed out\n\
               [-]non_learner failed: not supported for learner\n\n";
    assert_eq!(get(address, "/readyz").await, body(503, all));
    assert_eq!(get(address, "/livez").await, body(200, "ok\n"), "alive all the same");
    let excluded =
        "/readyz?exclude=data_corruption&exclude=linearizable_read&exclude=non_learner&exclude=nonsense";
    assert_eq!(get(address, excluded).await, body(200, "ok\n"));
    let failed = &served.metrics.handles.healthchecks;
    assert_eq!(failed.with_label_values(&["readyz", "non_learner", "error"]).get(), 1);
    let answer = http1(address, "GET /livez HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{answer}");
}

#[tokio::test]
async fn single_checks() {
    let (served, address) = served().await;
    served.member.0.lock().linearizable = Err(EtcdError::NoLeader);
    assert_eq!(get(address, "/livez/serializable_read").await, body(200, "ok\n"));
    assert_eq!(
        get(address, "/readyz/linearizable_read?exclude=linearizable_read").await,
        body(503, "[-]linearizable_read failed: etcdserver: no leader\n\n")
    );
    assert_eq!(get(address, "/readyz/non_learner?verbose").await, body(200, "[+]non_learner ok\nok\n"));
    assert_eq!(get(address, "/livez/non_learner").await.0, 404);
}

#[tokio::test]
async fn a_read_that_hangs_fails_the_check() {
    let source = Arc::new(crate::edge::testing::FakeMember::default());
    source.0.lock().hangs = true;
    let metrics = Metrics::new(crate::config::MetricsDetail::Basic).unwrap();
    let mut endpoints = Endpoints::new(source, metrics, &ServerConfig::default());
    Arc::get_mut(&mut endpoints.shared).unwrap().read_timeout = Duration::from_millis(1);
    let request = Request::get("/livez").header(header::HOST, "localhost").body(()).unwrap();
    let answer = endpoints.answer(request).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn version_metrics_and_variables() {
    let (served, address) = served().await;
    let version = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    assert_eq!(get(address, "/version").await, body(200, version));
    served.member.0.lock().versions = Versions::default();
    let version = r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#;
    assert_eq!(get(address, "/version").await, body(200, version));
    let (code, text) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(text.contains("\netcd_server_has_leader 0\n"));
    assert!(text.contains("\npromhttp_metric_handler_requests_in_flight 1\n"));
    let (code, text) = get(address, "/debug/vars").await;
    let variables: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &variables["raft.status"]["id"]), (200, &serde_json::json!("1")));
    assert!(variables["file_descriptor_limit"].as_u64() > Some(0) && variables["cmdline"].is_array());
}

#[tokio::test]
async fn other_methods_and_paths() {
    let (_served, address) = served().await;
    for path in ["/health", "/livez", "/readyz", "/readyz/non_learner", "/version", "/debug/vars"] {
        let answer =
            http1(address, &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0")).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{path}: {answer}");
        assert!(
            answer.contains("\r\nallow: GET\r\n") && answer.ends_with("\r\n\r\nMethod Not Allowed\n"),
            "{answer}"
        );
    }
    assert_eq!(http2(address, "PUT", "/version").await, body(405, "Method Not Allowed\n"));
    for path in ["/", "/v2/keys", "/config/local/log", "/livez/", "/readyz/nonsense", "/v3/kv/range"] {
        assert_eq!(get(address, path).await, body(404, "404 page not found\n"), "{path}");
    }
}

#[tokio::test]
async fn the_metrics_listener_has_metrics_and_health_alone() {
    let (served, _) = served().await;
    let address = served.metrics_address.unwrap();
    for path in ["/metrics", "/health", "/livez", "/readyz?verbose", "/readyz/non_learner"] {
        assert_eq!(get(address, path).await.0, 200, "{path}");
    }
    for path in ["/version", "/debug/vars"] {
        assert_eq!(get(address, path).await.0, 404, "{path}");
    }
    let answer = http1(address, "GET /health HTTP/1.1\r\nHost: localhost").await;
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");
}

#[tokio::test]
async fn cors_marks_answers_for_the_origins_it_knows() {
    let (_open, address) = served().await;
    let answer = http1(address, "GET /version HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.contains("\r\naccess-control-allow-origin: *\r\n"), "{answer}");
    assert!(
        answer.contains("\r\naccess-control-allow-methods: POST, GET, OPTIONS, PUT, DELETE\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\r\naccess-control-allow-headers: accept, content-type, authorization\r\n"),
        "{answer}"
    );
    let answer = http1(address, "OPTIONS /anything HTTP/1.1\r\nHost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut config = on_loopback();
    config.cors = ["https://good.example".to_owned()].into();
    let strict = serve(&config, Routes::default()).await;
    let address = strict.clients.unwrap();
    let from = |origin: &str| format!("GET /version HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}");
    let answer = http1(address, &from("https://good.example")).await;
    assert!(answer.contains("\r\naccess-control-allow-origin: https://good.example\r\n"), "{answer}");
    let answer = http1(address, &from("https://bad.example")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("access-control"), "{answer}");
}

#[tokio::test]
async fn hosts_that_are_not_whitelisted_are_misdirected() {
    let mut config = on_loopback();
    config.host_whitelist = ["good.example".to_owned(), "::1".to_owned()].into();
    let served = serve(&config, Routes::default()).await;
    let address = served.clients.unwrap();
    for (host, code) in [
        ("good.example", "200"),
        ("good.example:2379", "200"),
        ("[::1]:2379", "200"),
        ("bad.example:2379", "421"),
    ] {
        let answer = http1(address, &format!("GET /version HTTP/1.1\r\nHost: {host}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{host}: {answer}");
    }
    assert_eq!(http2(address, "GET", "/version").await.0, 421, "the authority of HTTP/2 is localhost");
}
