//! HTTP/2 over one connection.

use super::{
    body::{AnswerBody, RequestBody},
    stream::{End, Seen, Stream},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, uri::PathAndQuery};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;

/// Bytes that a server may send ahead on one stream, and on one connection.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

const USER_AGENT_VALUE: &str = concat!("tenure-client/", env!("CARGO_PKG_VERSION"));

/// A request did not come back with an answer.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct TransportError {
    /// The request may have reached the server.
    pub was_sent: bool,
    #[source]
    error: hyper::Error,
}

/// An HTTP/2 connection. Cheap to clone; requests run side by side.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<RequestBody>,
    endpoint: Arc<str>,
    origin: Uri,
}

/// What drives a connection as long as one of its futures is polled. Dropping it ends the connection and all calls on it.
pub(super) struct Driver {
    /// Passes requests on; nothing once it has ended.
    dispatch: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    connection: Option<AbortOnDropHandle<()>>,
    seen: Arc<Seen>,
}

impl Driver {
    /// Drives until nobody can send a request any more and those with one answer are answered, or the connection has ended.
    /// Streams may go on.
    pub(super) async fn idle(&mut self) {
        if let Some(dispatch) = &mut self.dispatch {
            dispatch.await;
            self.dispatch = None;
        }
    }

    /// Drives until the connection has ended, and says why it did.
    pub(super) async fn ended(&mut self) -> End {
        self.idle().await;
        if let Some(connection) = &mut self.connection {
            drop(connection.await);
            self.connection = None;
        }
        self.seen.end()
    }
}

/// Where hyper runs its tasks. It detaches the one of the connection, which then outlives everything: this keeps hold of it.
#[derive(Clone, Default)]
struct Tasks {
    has_connection: Arc<AtomicBool>,
    connection: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let running = tokio::spawn(task);
        // The task of the connection is the first, before there can be a request.
        if !self.has_connection.swap(true, Ordering::Relaxed) {
            *self.connection.lock() = Some(running);
        }
    }
}

impl Connection {
    /// Starts HTTP/2 on a socket.
    pub(super) async fn start(
        stream: Stream,
        seen: Arc<Seen>,
        endpoint: Arc<str>,
        origin: Uri,
        keep_alive: Option<(Duration, Duration)>,
    ) -> Result<(Self, Driver), hyper::Error> {
        let tasks = Tasks::default();
        let mut builder = http2::Builder::new(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(64 * 1024);
        if let Some((interval, timeout)) = keep_alive {
            builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
        }
        let (requests, dispatch) = builder.handshake(TokioIo::new(stream)).await?;
        let connection = tasks.connection.lock().take().map(AbortOnDropHandle::new);
        // hyper does not say why a connection has ended.
        let dispatch = Some(Box::pin(async move { drop(dispatch.await) }) as Pin<Box<_>>);
        let driver = Driver { dispatch, connection, seen };
        Ok((Connection { requests, endpoint, origin }, driver))
    }

    /// The endpoint, as it was configured.
    pub(crate) fn endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    pub(crate) fn origin(&self) -> &Uri {
        &self.origin
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }
}

impl Connection {
    /// Sends one gRPC request whose whole body is `frame`.
    pub(crate) async fn send(
        &mut self,
        path: &'static str,
        mut headers: HeaderMap,
        frame: Bytes,
    ) -> Result<Response<Incoming>, TransportError> {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let mut request = Request::new(RequestBody::whole(frame));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(path);
        *request.headers_mut() = headers;
        self.dispatch(request).await
    }

    fn uri(&self, path: &'static str) -> Uri {
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static(path));
        // With scheme, authority and path nothing is missing.
        Uri::from_parts(parts).unwrap_or_else(|_| self.origin.clone())
    }

    fn dispatch(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TransportError>> + Send + use<> {
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        let answer = self.requests.try_send_request(request);
        async move {
            answer.await.map_err(|mut failed| {
                let given_back = failed.take_message().is_some();
                let error = failed.into_error();
                TransportError { was_sent: !given_back && !was_refused(&error), error }
            })
        }
    }
}

/// Streams go through tonic, which needs a service.
impl tower_service::Service<Request<Body>> for Connection {
    type Response = Response<AnswerBody>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A closed connection refuses the request itself, and gives it back.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.dispatch(request.map(RequestBody::Stream));
        Box::pin(async move { Ok(AnswerBody::of(answer.await?)) })
    }
}

/// The server said that it did not look at the request.
fn was_refused(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_remote()
                && error.is_reset()
                && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        cause = error.source();
    }
    false
}
