//! A member whose answers to renewals are written by the test.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    HeaderMap, Request, Response, body::Frame, body::Incoming, server::conn::http2, service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tenure_api::{
    etcdserverpb as pb,
    server::etcdserverpb::lease_server::{Lease, LeaseServer},
};
use tenure_client::EtcdError;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming, body::Body};
use tower_service::Service;

/// A request to renew a lease.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: i64,
    /// Which request on this stream it is, from 1.
    pub number: u64,
    /// Which stream of this member it is on, from 1.
    pub stream: u64,
    /// The token that came with the stream.
    pub token: String,
}

/// What the member does about it.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Says that this lease lives so many seconds; 0 or less for a lease that is gone.
    Alive(i64, i64),
    /// Ends the stream with an error.
    Refuse(EtcdError),
    /// Ends the stream.
    End,
}

type Script = Arc<dyn Fn(&Asked) -> Vec<Reply> + Send + Sync>;

/// A member. It ends when it is dropped.
pub struct FakeMember {
    address: String,
    seen: Arc<Seen>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    streams: AtomicU64,
    requests: AtomicU64,
    log_ins: AtomicU64,
}

impl FakeMember {
    pub async fn start(script: impl Fn(&Asked) -> Vec<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::<Seen>::default();
        let service = Renewing { script: Arc::new(script), seen: seen.clone() };
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                service.seen.connections.fetch_add(1, Ordering::SeqCst);
                let service = service.clone();
                let answer = service_fn(move |request| answer(service.clone(), request));
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(socket), answer));
            }
        });
        FakeMember { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub fn endpoint(&self) -> String {
        self.address.clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Streams of renewals so far.
    pub fn streams(&self) -> u64 {
        self.seen.streams.load(Ordering::SeqCst)
    }

    /// Requests on them.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Tokens that were handed out: `token-1`, `token-2` and so on.
    pub fn log_ins(&self) -> u64 {
        self.seen.log_ins.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Renewing {
    script: Script,
    seen: Arc<Seen>,
}

async fn answer(service: Renewing, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/etcdserverpb.Auth/Authenticate" {
        let number = service.seen.log_ins.fetch_add(1, Ordering::SeqCst) + 1;
        return Ok(unary(&pb::AuthenticateResponse { header: None, token: format!("token-{number}") }));
    }
    LeaseServer::new(service).call(request).await
}

fn unary(message: &impl Message) -> Response<Body> {
    let mut frame = BytesMut::from(&[0][..]);
    frame.extend_from_slice(&u32::try_from(message.encoded_len()).expect("it is small").to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    let frames = [Frame::data(Bytes::from(frame)), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    response
}

#[tonic::async_trait]
impl Lease for Renewing {
    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: tonic::Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<tonic::Response<Self::LeaseKeepAliveStream>, Status> {
        let token = request.metadata().get("token").and_then(|token| token.to_str().ok());
        let token = token.unwrap_or_default().to_owned();
        let stream = self.seen.streams.fetch_add(1, Ordering::SeqCst) + 1;
        let this = self.clone();
        let replies = request.into_inner().enumerate().flat_map(move |(index, request)| {
            let Ok(request) = request else { return stream::iter(vec![None]) };
            this.seen.requests.fetch_add(1, Ordering::SeqCst);
            let number = index as u64 + 1;
            let asked = Asked { id: request.id, number, stream, token: token.clone() };
            let replies = (this.script)(&asked).into_iter().map(|reply| match reply {
                Reply::Alive(id, ttl) => Some(Ok(pb::LeaseKeepAliveResponse { header: None, id, ttl })),
                Reply::Refuse(error) => Some(Err(error.into())),
                Reply::End => None,
            });
            stream::iter(replies.collect::<Vec<_>>())
        });
        // The stream ends at the first end that a reply asks for.
        let replies = replies.take_while(|reply| std::future::ready(reply.is_some()));
        Ok(tonic::Response::new(Box::pin(replies.filter_map(std::future::ready))))
    }

    async fn lease_grant(
        &self,
        _request: tonic::Request<pb::LeaseGrantRequest>,
    ) -> Result<tonic::Response<pb::LeaseGrantResponse>, Status> {
        Err(Status::unimplemented("grant"))
    }

    async fn lease_revoke(
        &self,
        _request: tonic::Request<pb::LeaseRevokeRequest>,
    ) -> Result<tonic::Response<pb::LeaseRevokeResponse>, Status> {
        Err(Status::unimplemented("revoke"))
    }

    async fn lease_time_to_live(
        &self,
        _request: tonic::Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<tonic::Response<pb::LeaseTimeToLiveResponse>, Status> {
        Err(Status::unimplemented("time to live"))
    }

    async fn lease_leases(
        &self,
        _request: tonic::Request<pb::LeaseLeasesRequest>,
    ) -> Result<tonic::Response<pb::LeaseLeasesResponse>, Status> {
        Err(Status::unimplemented("leases"))
    }
}
