//! Connections as tasks: HTTP on a transport, until the client leaves or the member stops.

use super::{
    Admitted, AnyConnections, GrpcService, Listener, Remote, Role, Transport, admit,
    authority::NamedAuthority,
    call::{AnswerBody, CallPolicy, call},
    coalesce::Coalesced,
};
use crate::{
    auth::CertificateName,
    config::ServerConfig,
    http::{Endpoints, HealthSource, Scope},
    limits,
    metrics::Metrics,
};
use futures::future::{Either, FutureExt};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::Service;

/// What requests are answered with.
pub struct Services<G, H> {
    grpc: G,
    endpoints: Endpoints<H>,
    metrics: Arc<Metrics>,
    policy: CallPolicy,
}

impl<G: GrpcService, H: HealthSource> Services<G, H> {
    pub fn new(grpc: G, endpoints: Endpoints<H>, metrics: Arc<Metrics>, config: &ServerConfig) -> Self {
        let policy = CallPolicy {
            slow_after: config.warning_unary_request_duration,
            message_bytes_max: limits::decoded_bytes_max(config.request_bytes_max),
        };
        Self { grpc, endpoints, metrics, policy }
    }

    /// Answers one request of a guest.
    fn answer(
        served: &Arc<(Arc<Self>, Guest)>,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Response<AnswerBody>> + use<G, H> {
        let (services, guest) = &**served;
        if let Some(user) = &guest.user {
            request.extensions_mut().insert(user.clone());
        }
        let is_grpc = request.version() == Version::HTTP_2 && has_grpc_content(request.headers());
        let scope = match guest.role {
            Role::Both | Role::Grpc if is_grpc => {
                let Services { grpc, metrics, policy, .. } = &**services;
                return Either::Left(call(grpc.clone(), metrics, *policy, guest.remote, request));
            }
            Role::Grpc => None,
            Role::Both | Role::Http => Some(guest.scope()),
            Role::Metrics => Some(Scope::Metrics),
        };
        let services = Arc::clone(services);
        Either::Right(Box::pin(async move {
            match scope {
                Some(scope) => services.plain(scope, request).await,
                None => not_grpc(request.headers()),
            }
        }))
    }

    async fn plain(&self, scope: Scope, request: Request<Incoming>) -> Response<AnswerBody> {
        match self.endpoints.with_scope(scope).call(request).await {
            Ok(response) => response.map(AnswerBody::plain),
        }
    }
}

/// Who is at the other end of a connection, and what it is for.
struct Guest {
    role: Role,
    remote: Remote,
    is_secure: bool,
    user: Option<CertificateName>,
}

impl Guest {
    fn scope(&self) -> Scope {
        if self.is_secure { Scope::SecureClients } else { Scope::Clients }
    }
}

fn has_grpc_content(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What a gRPC server answers to other requests.
fn not_grpc(headers: &HeaderMap) -> Response<AnswerBody> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let text = format!("invalid gRPC request content-type {kind:?}\n");
    let mut response = Response::new(AnswerBody::plain(Body::new(http_body_util::Full::from(text))));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// All connections of an edge.
pub struct Connections<G, H> {
    shared: Arc<Shared<G, H>>,
}

struct Shared<G, H> {
    services: Arc<Services<G, H>>,
    http: auto::Builder<TokioExecutor>,
    /// Accepted connections, bounded by the descriptors of the process.
    admission: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Ends listeners, and lets connections end what they have begun.
    drain: CancellationToken,
    /// Ends connections at once.
    close: CancellationToken,
}

impl<G: GrpcService, H: HealthSource> Connections<G, H> {
    pub fn new(services: Services<G, H>, config: &ServerConfig, connections_max: usize) -> Self {
        let shared = Shared {
            services: Arc::new(services),
            http: http_builder(config),
            admission: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            close: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Accepts on a listener until the edge stops.
    pub fn listen(&self, listener: Listener) {
        let message = match (listener.role, listener.tls()) {
            (Role::Metrics, _) => "serving metrics",
            (_, Some(_)) => "serving client traffic securely",
            (_, None) => "serving client traffic insecurely; this is strongly discouraged!",
        };
        let address = listener.url.address();
        tracing::info!(traffic = listener.role.traffic(), address, message);
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            let accepting = accept_all(&shared, &listener);
            shared.drain.run_until_cancelled(accepting).await;
        });
    }
}

/// Takes connections for ever. A permit is taken first: what cannot be served waits in the system's backlog.
async fn accept_all<G: GrpcService, H: HealthSource>(shared: &Arc<Shared<G, H>>, listener: &Listener) {
    loop {
        let Ok(permit) = Arc::clone(&shared.admission).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((transport, remote)) => {
                let (shared, role, tls) = (Arc::clone(shared), listener.role, listener.tls().cloned());
                let tasks = shared.tasks.clone();
                tasks.spawn(async move {
                    // Boxed: a connection keeps no room for it.
                    let admitting = Box::pin(admit(transport, remote, tls.as_ref()));
                    let admitted = shared.drain.run_until_cancelled(admitting).await.flatten();
                    if let Some(Admitted { transport, user }) = admitted {
                        let guest = Guest { role, remote, is_secure: tls.is_some(), user };
                        drop(tls);
                        serve(shared, guest, transport).await;
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors or memory: to try again at once would only burn the processor.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(limits::ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve<G: GrpcService, H: HealthSource>(
    shared: Arc<Shared<G, H>>,
    guest: Guest,
    transport: Transport,
) {
    let remote = guest.remote;
    // One count of references for each request and not two.
    let served = Arc::new((Arc::clone(&shared.services), guest));
    let service = service_fn(move |request| Services::answer(&served, request).map(Ok::<_, Infallible>));
    let io: TokioIo<NamedAuthority<Coalesced<Transport>>> =
        TokioIo::new(NamedAuthority::new(transport.coalesced()));
    let mut connection = pin!(shared.http.serve_connection(io, service));
    let mut drained = pin!(shared.drain.cancelled());
    let mut closed = pin!(shared.close.cancelled());
    let mut is_registered = false;
    let mut is_draining = false;
    let served = poll_fn(|cx| {
        // The tokens are polled once, to leave this task's waker with them, and again only after they were cancelled:
        // a poll takes a lock that all connections share, and a connection is polled for every batch of frames.
        if !is_registered || shared.drain.is_cancelled() {
            is_registered = true;
            if drained.as_mut().poll(cx).is_ready() && !is_draining {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
        }
        connection.as_mut().poll(cx).map(Some)
    })
    .await;
    if let Some(Err(error)) = served {
        tracing::debug!(%remote, %error, "connection ended");
    }
}

fn http_builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .max_header_list_size(limits::HEADER_BYTES_MAX)
        .max_send_buf_size(limits::STREAM_SEND_BYTES_MAX)
        .max_concurrent_streams(config.concurrent_streams_max)
        .max_pending_accept_reset_streams(limits::RESET_STREAMS_MAX)
        .keep_alive_interval(config.keepalive.interval);
    if let Some(timeout) = config.keepalive.timeout {
        builder.http2().keep_alive_timeout(timeout);
    }
    builder
}

impl<G: GrpcService, H: HealthSource> AnyConnections for Connections<G, H> {
    fn connect(&self, near: tokio::io::DuplexStream) {
        let shared = Arc::clone(&self.shared);
        let guest = Guest { role: Role::Both, remote: Remote::InProcess, is_secure: false, user: None };
        self.shared.tasks.spawn(serve(shared, guest, Transport::Memory(near)));
    }

    fn stop(&self, grace: Duration) -> futures::future::BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.drain.cancel();
            self.shared.tasks.close();
            if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
                self.shared.close.cancel();
                self.shared.tasks.wait().await;
            }
        })
    }
}

impl<G, H> Drop for Connections<G, H> {
    fn drop(&mut self) {
        self.shared.drain.cancel();
        self.shared.close.cancel();
    }
}
