//! The peer port as another member sees it: statuses, headers and texts of etcd's.

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tenure_server::Server;
use tenure_server::config::{EndpointUrl, ServerConfig};

struct Answer {
    status: u16,
    cluster: String,
    text: String,
}

async fn start() -> (Server, String) {
    let config = ServerConfig {
        listen_peer_urls: vec![EndpointUrl::http("127.0.0.1", 0)],
        ..ServerConfig::in_memory()
    };
    let server = Server::start(config).await.expect("a member in memory starts");
    let address = server.peer_urls()[0].address().to_owned();
    (server, address)
}

async fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(bytes::Bytes::copy_from_slice(body))).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status().as_u16();
    let cluster = response.headers()["x-etcd-cluster-id"].to_str().expect("an id").to_owned();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    Answer { status, cluster, text: String::from_utf8_lossy(&body).trim().to_owned() }
}

#[tokio::test]
async fn whoever_is_not_of_the_cluster_is_told_so() {
    let (server, address) = start().await;
    let version = ask(&address, "GET", "/version", &[], b"").await;
    assert_eq!(version.status, 200);
    assert_eq!(version.text, r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#);
    let members = ask(&address, "GET", "/members", &[], b"").await;
    assert!(
        members.text.starts_with(r#"[{"id":"#) && members.text.contains(r#""name":"default""#),
        "{}",
        members.text
    );
    let own = format!("{:x}", server.member().id().0);
    let cluster = version.cluster;
    let identity = [
        ("x-server-version", "3.7.1"),
        ("x-min-cluster-version", "3.0.0"),
        ("x-etcd-cluster-id", cluster.as_str()),
        ("x-server-from", "ab"),
        ("x-raft-to", own.as_str()),
    ];
    let with = |name: &str, value: &'static str| {
        let mut headers = identity.to_vec();
        headers.iter_mut().filter(|header| header.0 == name).for_each(|header| header.1 = value);
        headers
    };
    let stream = "/raft/stream/msgapp/ab";
    for (path, headers, status, text) in [
        (stream, with("x-etcd-cluster-id", "1"), 412, "cluster ID mismatch"),
        (stream, with("x-server-version", "2.3.0"), 412, "incompatible version"),
        (stream, with("x-min-cluster-version", "3.9.0"), 412, "incompatible version"),
        (stream, with("x-raft-to", "77"), 412, "to field mismatch"),
        (stream, identity.to_vec(), 404, "error sender not found"),
        ("/raft/stream/other/ab", identity.to_vec(), 404, "invalid path"),
        ("/raft/stream/message/xyz", identity.to_vec(), 404, "invalid from"),
        ("/nothing", identity.to_vec(), 404, "404 page not found"),
    ] {
        let answer = ask(&address, "GET", path, &headers, b"").await;
        assert_eq!((answer.status, answer.text.as_str()), (status, text), "{path} {headers:?}");
    }
    let garbage = ask(&address, "POST", "/raft", &identity, &[0xff, 0xff]).await;
    assert_eq!((garbage.status, garbage.text.as_str()), (400, "error unmarshalling raft message"));
    let wrong = ask(&address, "POST", "/raft/snapshot", &identity, &[0, 0, 0, 0, 0, 0, 0, 2, 8, 8]).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    assert_eq!(ask(&address, "GET", "/raft", &identity, b"").await.status, 405);
    let lease = ask(&address, "POST", "/leases", &identity, &[8, 5]).await;
    assert_eq!((lease.status, lease.text.as_str()), (404, "lease not found"));
    let hashes = "/members/hashkv";
    let (mine, other) = (("x-etcd-cluster-id", cluster.as_str()), ("x-etcd-cluster-id", "1"));
    let now = ask(&address, "GET", hashes, &[mine], br#"{"revision":1}"#).await;
    assert_eq!(now.status, 200, "{}", now.text);
    let said: serde_json::Value = serde_json::from_str(&now.text).expect("JSON");
    assert_eq!(said["hash"], 1_084_519_789_u32, "of nothing: {said}");
    assert_eq!((&said["compact_revision"], &said["hash_revision"]), (&(-1).into(), &1.into()));
    assert_eq!(said["header"]["revision"], 1);
    let unsaid = ask(&address, "GET", hashes, &[], br#"{}"#).await;
    assert_eq!((unsaid.status, &unsaid.text), (200, &now.text), "who names no cluster gets an answer");
    let of_compaction = ask(&address, "GET", hashes, &[mine], br#"{"revision":0}"#).await;
    let said: serde_json::Value = serde_json::from_str(&of_compaction.text).expect("JSON");
    assert_eq!(
        said["hash"], 1_084_519_789_u32,
        "a member that asks for it has compacted at revision 0: {said}"
    );
    assert_eq!((&said["compact_revision"], &said["hash_revision"]), (&(-1).into(), &0.into()));
    assert_eq!(said["header"]["revision"], 1);
    for (method, headers, body, status, text) in [
        ("GET", [other], r#"{"revision":0}"#, 412, "cluster ID mismatch"),
        ("GET", [mine], r#"{"revision":2}"#, 400, "mvcc: required revision is a future revision"),
        ("GET", [mine], "revision", 400, "error unmarshalling request"),
        ("GET", [mine], "", 400, "error unmarshalling request"),
        ("POST", [mine], r#"{"revision":0}"#, 405, ""),
    ] {
        let answer = ask(&address, method, hashes, &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, text), "{method} {body}");
    }
    let probe = ask(&address, "GET", "/raft/probing", &[], b"").await;
    assert!(probe.text.contains(r#""OK":true"#), "{}", probe.text);
    server.shutdown().await.expect("it stops");
}
