//! A member that says what a test wants, behind a real edge.

use super::{Edge, GrpcService, Role, Serving};
use crate::{
    config::{EndpointUrl, MetricsDetail, ServerConfig},
    http::{Endpoints, HealthSource, Versions},
    metrics::Metrics,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::{net::SocketAddr, sync::Arc};
use tenure_api::error::EtcdError;
use tenure_core::command::AlarmType;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What the member says.
#[derive(Clone, Debug)]
pub struct Condition {
    pub serializable: Result<(), EtcdError>,
    pub linearizable: Result<(), EtcdError>,
    pub alarms: Vec<AlarmType>,
    pub has_leader: bool,
    pub is_learner: bool,
    pub versions: Versions,
    /// Reads never come back.
    pub hangs: bool,
}

impl Default for Condition {
    fn default() -> Self {
        let version = Some("3.7.0".to_owned());
        Self {
            serializable: Ok(()),
            linearizable: Ok(()),
            alarms: Vec::new(),
            has_leader: true,
            is_learner: false,
            versions: Versions { cluster: version.clone(), storage: version },
            hangs: false,
        }
    }
}

/// A member of which only its condition is real.
#[derive(Debug, Default)]
pub struct FakeMember(pub Mutex<Condition>);

impl FakeMember {
    async fn read(&self, of: impl Fn(&Condition) -> Result<(), EtcdError> + Send) -> Result<(), EtcdError> {
        let condition = self.0.lock().clone();
        if condition.hangs {
            std::future::pending::<()>().await;
        }
        of(&condition)
    }
}

impl HealthSource for FakeMember {
    async fn serializable_read(&self) -> Result<(), EtcdError> {
        self.read(|condition| condition.serializable).await
    }

    async fn linearizable_read(&self) -> Result<(), EtcdError> {
        self.read(|condition| condition.linearizable).await
    }

    fn alarms(&self) -> Vec<AlarmType> {
        self.0.lock().alarms.clone()
    }

    fn has_leader(&self) -> bool {
        self.0.lock().has_leader
    }

    fn is_learner(&self) -> bool {
        self.0.lock().is_learner
    }

    fn versions(&self) -> Versions {
        self.0.lock().versions.clone()
    }

    fn raft_status(&self) -> serde_json::Value {
        serde_json::json!({ "id": "1" })
    }
}

/// A served edge and the member behind it.
pub struct Served {
    pub serving: Serving,
    pub member: Arc<FakeMember>,
    pub metrics: Arc<Metrics>,
    pub clients: Option<SocketAddr>,
    pub metrics_address: Option<SocketAddr>,
}

/// A configuration on loopback, with a port for metrics.
pub fn on_loopback() -> ServerConfig {
    let mut config = ServerConfig::in_memory().listening_on(EndpointUrl::http("127.0.0.1", 0));
    config.listen_metrics_urls = vec![EndpointUrl::http("127.0.0.1", 0)];
    config
}

/// Serves a gRPC service and a fake member.
pub async fn serve(config: &ServerConfig, grpc: impl GrpcService) -> Served {
    let edge = Edge::bind(config).await.expect("loopback can be bound");
    let clients = [Role::Both, Role::Grpc].iter().find_map(|role| edge.addresses(*role).first().copied());
    let metrics_address = edge.addresses(Role::Metrics).first().copied();
    let member = Arc::new(FakeMember::default());
    let metrics = Metrics::new(MetricsDetail::Basic).expect("the names of metrics are unique");
    let endpoints = Endpoints::new(Arc::clone(&member), Arc::clone(&metrics), config);
    let serving = edge.serve(grpc, endpoints, Arc::clone(&metrics), config);
    Served { serving, member, metrics, clients, metrics_address }
}

/// Sends one HTTP/1.1 request and gives back the whole answer as text.
pub async fn http1(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The status line's code, and the body, of a GET over HTTP/1.1.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = http1(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// Status and body of a request over HTTP/2 without TLS.
pub async fn http2(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let uri = format!("http://localhost{path}");
    let request = http::Request::builder().method(method).uri(uri).body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(client);
    driver.await.unwrap().unwrap();
    (code, String::from_utf8(body.to_vec()).unwrap())
}
