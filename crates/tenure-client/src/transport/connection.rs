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
        Arc, Weak,
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
#[error("{}", error.as_ref().map_or(OVER.to_owned(), ToString::to_string))]
pub(crate) struct TransportError {
    /// The request may have reached the server.
    pub was_sent: bool,
    /// Nothing if the connection was over before.
    #[source]
    error: Option<hyper::Error>,
}

const OVER: &str = "the connection has ended";

/// What sends requests; nothing once the connection is over.
///
/// hyper leaves a request unanswered that is handed in just when it stops to take any, as long as somebody could send another one. So
/// nobody can after that: the last sender is dropped when the connection ends, and what it had taken is given back.
type Sender = Mutex<Option<SendRequest<RequestBody>>>;

/// Closes the way in. Those who wait for answers keep it: it does not keep them.
struct Door(Weak<Sender>);

impl Door {
    fn close(&self) {
        if let Some(sender) = self.0.upgrade() {
            let last = sender.lock().take();
            drop(last);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

/// An HTTP/2 connection. Cheap to clone; requests run side by side.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: Arc<Sender>,
    endpoint: Arc<str>,
    origin: Uri,
}

/// What drives a connection as long as one of its futures is polled. Dropping it ends the connection and all calls on it.
pub(super) struct Driver {
    /// Passes requests on; nothing once it has ended.
    dispatch: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Dropped after what it leads to.
    door: Door,
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
            self.door.close();
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
        let requests = Arc::new(Mutex::new(Some(requests)));
        let driver = Driver { dispatch, door: Door(Arc::downgrade(&requests)), connection, seen };
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
        self.requests.lock().as_ref().is_some_and(|requests| !requests.is_closed())
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
        let answer = self.requests.lock().as_mut().map(|requests| requests.try_send_request(request));
        async move {
            let Some(answer) = answer else { return Err(TransportError { was_sent: false, error: None }) };
            answer.await.map_err(|mut failed| {
                let given_back = failed.take_message().is_some();
                let error = failed.into_error();
                TransportError { was_sent: !given_back && !was_refused(&error), error: Some(error) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// What each server says first: its settings, which are none.
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

    /// Hands in requests one after the other, and waits for what becomes of them.
    async fn send_many(mut connection: Connection) {
        let request = || {
            let mut request = Request::new(RequestBody::whole(Bytes::from_static(b"\0\0\0\0\0")));
            *request.uri_mut() = Uri::from_static("http://test/a/b");
            request
        };
        let answers: Vec<_> = (0..100).map(|_| connection.dispatch(request())).collect();
        for answer in answers {
            assert!(answer.await.is_err(), "nobody answers");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_request_that_meets_the_end_of_its_connection_is_not_left_unanswered() {
        for round in 0..1_000 {
            let (client, mut server) = tokio::io::duplex(64 * 1024);
            let seen = Arc::new(Seen::default());
            let stream = Stream::new(Box::new(client), seen.clone());
            let origin = Uri::from_static("http://test");
            let started = Connection::start(stream, seen, "test".into(), origin, None).await;
            let (connection, mut driver) = started.unwrap();
            server.write_all(SETTINGS).await.unwrap();
            let driving = tokio::spawn(async move { drop(driver.ended().await) });
            let begin = Arc::new(tokio::sync::Barrier::new(4));
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let (connection, begin) = (connection.clone(), begin.clone());
                    tokio::spawn(async move {
                        begin.wait().await;
                        send_many(connection).await;
                    })
                })
                .collect();
            begin.wait().await;
            drop(server);
            for sender in senders {
                let ended = tokio::time::timeout(Duration::from_secs(60), sender).await;
                ended.unwrap_or_else(|_| panic!("a request is left unanswered in round {round}")).unwrap();
            }
            driving.await.unwrap();
        }
    }
}
