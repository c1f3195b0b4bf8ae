//! One gRPC call: its counters, its deadline, and the messages that pass.

use super::{Remote, framing::Framing};
use crate::metrics::{METHODS, MethodMetrics, MethodType, Metrics, RequestType, methods};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tenure_api::error::{self, EtcdError, UnlistedError};
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body};

/// Where clients say which version of the API they know.
const CLIENT_VERSION: &str = "client-api-version";
/// Where gRPC says how long a client waits.
const TIMEOUT: &str = "grpc-timeout";
/// Where gRPC says how a call ended.
const STATUS: &str = "grpc-status";

/// A call between its request and its last frame. Dropped before that, it counts as canceled.
struct Call {
    metrics: Arc<Metrics>,
    position: usize,
    begun: Instant,
    has_ended: bool,
}

impl Call {
    fn begin(metrics: &Arc<Metrics>, position: usize) -> Self {
        metrics.grpc.method(position).started.inc();
        Self { metrics: Arc::clone(metrics), position, begun: Instant::now(), has_ended: false }
    }

    fn kind(&self) -> MethodType {
        METHODS[self.position].kind
    }

    fn counters(&self) -> &MethodMetrics {
        self.metrics.grpc.method(self.position)
    }

    fn end(&mut self, code: Code) {
        if !self.has_ended {
            self.has_ended = true;
            self.counters().handled(code).inc();
            if let Some(seconds) = &self.counters().handling_seconds {
                seconds.observe(self.begun.elapsed().as_secs_f64());
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// The body of a request, whose messages are counted as they are read. A message that says it is too long ends the call
/// before it is read (Q7).
pub struct RequestBody {
    incoming: Incoming,
    message_bytes_max: usize,
    counted: Option<(Arc<Metrics>, usize)>,
    framing: Framing,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        let frame = polled.map(|frame| frame.map_err(|error| Status::from_error(Box::new(error))));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let seen = self.framing.take(data);
            if seen.longest as usize > self.message_bytes_max {
                let refusal = error::message_too_large(seen.longest as usize, self.message_bytes_max);
                return Poll::Ready(Some(Err(refusal)));
            }
            if let Some((metrics, position)) = &self.counted {
                metrics.handles.client_received_bytes.inc_by(seen.bytes);
                metrics.grpc.method(*position).received.inc_by(seen.messages);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The body of an answer. That of a gRPC call ends the call with its trailers.
pub struct AnswerBody {
    body: Body,
    counted: Option<CountedAnswer>,
}

struct CountedAnswer {
    call: Call,
    framing: Framing,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}

impl AnswerBody {
    /// A body that nobody counts.
    pub fn plain(body: Body) -> Self {
        Self { body, counted: None }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, counted } = &mut *self;
        let Some(answer) = counted else { return Pin::new(body).poll_frame(cx) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    let seen = answer.framing.take(data);
                    answer.call.counters().sent.inc_by(seen.messages);
                    answer.call.metrics.handles.client_sent_bytes.inc_by(seen.bytes);
                } else if let Some(trailers) = frame.trailers_ref() {
                    answer.call.end(code_of(trailers).unwrap_or(Code::Unknown));
                }
            }
            Poll::Ready(Some(Err(status))) => answer.call.end(status.code()),
            Poll::Ready(None) => answer.call.end(Code::Unknown),
            Poll::Pending => {
                let deadline = answer.deadline.as_mut().map(|deadline| deadline.as_mut().poll(cx));
                if deadline.is_some_and(|deadline| deadline.is_ready()) && !answer.call.has_ended {
                    answer.call.end(Code::DeadlineExceeded);
                    *body = Body::empty();
                    return Poll::Ready(Some(Ok(Frame::trailers(deadline_trailers()))));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a call is measured against.
#[derive(Clone, Copy, Debug)]
pub struct CallPolicy {
    /// A unary call that takes longer is logged.
    pub slow_after: Duration,
    /// The largest message of a client.
    pub message_bytes_max: usize,
}

/// A call as far as it gets without waiting.
enum Begun<F> {
    Refused(Box<Response<AnswerBody>>),
    /// Of a service whose calls are not counted.
    Uncounted(F),
    Counted(Call, Option<tokio::time::Instant>, F),
}

/// Carries out one call. The request is handed on before anything waits: a future has room for all that it ever holds, and
/// that of a call is moved to a task of its own.
///
/// * `grpc`: the service; a clone of its own for this call.
/// * `remote`: who calls, for the log.
pub fn call<G>(
    mut grpc: G,
    metrics: &Arc<Metrics>,
    policy: CallPolicy,
    remote: Remote,
    request: Request<Incoming>,
) -> impl Future<Output = Response<AnswerBody>> + use<G>
where
    G: tower::Service<Request<RequestBody>, Response = Response<Body>, Error = std::convert::Infallible>,
{
    let begun = begin(&mut grpc, metrics, policy, request);
    async move {
        match begun {
            Begun::Refused(answer) => *answer,
            Begun::Uncounted(answering) => answer(answering.await).map(AnswerBody::plain),
            Begun::Counted(call, deadline, answering) => {
                let answered = match deadline {
                    None => answer(answering.await),
                    Some(deadline) => match tokio::time::timeout_at(deadline, answering).await {
                        Ok(answered) => answer(answered),
                        Err(_) => Status::from(UnlistedError::ContextDeadlineExceeded).into_http(),
                    },
                };
                finish(call, deadline, policy, remote, answered)
            }
        }
    }
}

fn begin<G>(
    grpc: &mut G,
    metrics: &Arc<Metrics>,
    policy: CallPolicy,
    request: Request<Incoming>,
) -> Begun<G::Future>
where
    G: tower::Service<Request<RequestBody>>,
{
    let message_bytes_max = policy.message_bytes_max;
    let body =
        |incoming, counted| RequestBody { incoming, message_bytes_max, counted, framing: Framing::default() };
    let refused =
        |status: Status| Begun::Refused(Box::new(status.into_http::<Body>().map(AnswerBody::plain)));
    let Some(position) = methods::position(request.uri().path()) else {
        return match unknown(request.uri().path()) {
            Some(status) => refused(status),
            None => Begun::Uncounted(grpc.call(request.map(|incoming| body(incoming, None)))),
        };
    };
    let mut call = Call::begin(metrics, position);
    if let Err(error) = count_client(metrics, call.kind(), request.headers()) {
        call.end(error.code());
        return refused(error.into());
    }
    let deadline = timeout_of(request.headers()).map(|timeout| tokio::time::Instant::now() + timeout);
    let counted = Some((Arc::clone(metrics), position));
    Begun::Counted(call, deadline, grpc.call(request.map(|incoming| body(incoming, counted))))
}

/// What is left to do once there is an answer, or the beginning of one.
fn finish(
    mut call: Call,
    deadline: Option<tokio::time::Instant>,
    policy: CallPolicy,
    remote: Remote,
    answered: Response<Body>,
) -> Response<AnswerBody> {
    let is_unary = call.kind() == MethodType::Unary;
    if is_unary && call.begun.elapsed() > policy.slow_after {
        warn_slow(&call, &remote);
    }
    if let Some(code) = code_of(answered.headers()) {
        call.end(code);
        return answered.map(AnswerBody::plain);
    }
    let deadline = deadline.filter(|_| !is_unary).map(tokio::time::sleep_until).map(Box::pin);
    let counted = CountedAnswer { call, framing: Framing::default(), deadline };
    answered.map(|body| AnswerBody { body, counted: Some(counted) })
}

fn answer(result: Result<Response<Body>, std::convert::Infallible>) -> Response<Body> {
    match result {
        Ok(response) => response,
    }
}

fn count_client(metrics: &Metrics, kind: MethodType, headers: &HeaderMap) -> Result<(), EtcdError> {
    let kind = if kind == MethodType::Unary { RequestType::Unary } else { RequestType::Stream };
    let version = match headers.get(CLIENT_VERSION).map(HeaderValue::as_bytes).map(std::str::from_utf8) {
        None => "unknown",
        Some(Ok(version)) => version,
        Some(Err(_)) => return Err(EtcdError::InvalidClientAPIVersion),
    };
    metrics.grpc.count_request(kind, version);
    Ok(())
}

fn warn_slow(call: &Call, remote: &impl fmt::Display) {
    tracing::warn!(
        "time spent" = crate::config::value::format_duration(call.begun.elapsed()),
        remote = %remote,
        "response type" = METHODS[call.position].path,
        "request stats"
    );
}

/// The refusal of a path that the server has not; nothing for services that it has and does not count.
fn unknown(path: &str) -> Option<Status> {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
        return Some(Status::unimplemented(format!("malformed method name: {path:?}")));
    };
    if METHODS.iter().any(|known| known.service == service) {
        return Some(error::unknown_method(service, method));
    }
    let is_reflection = service.starts_with("grpc.reflection.");
    (!is_reflection).then(|| error::unknown_service(service))
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

fn deadline_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS, HeaderValue::from_static("4"));
    trailers.insert("grpc-message", HeaderValue::from_static("context%20deadline%20exceeded"));
    trailers
}

/// How long the client waits: up to eight digits and a unit. What cannot be read sets no bound, as in other servers.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(text: &'static str) -> Option<Duration> {
        timeout_of(&HeaderMap::from_iter([(TIMEOUT.parse().unwrap(), HeaderValue::from_static(text))]))
    }

    #[test]
    fn timeouts_of_grpc() {
        assert_eq!(timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(timeout("4999971u"), Some(Duration::from_micros(4_999_971)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "S", "5", "123456789S", "-1S", "5s"] {
            assert_eq!(timeout(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn unknown_methods_get_grpcs_texts() {
        let text = |path| unknown(path).map(|status| status.message().to_owned());
        assert_eq!(
            text("/etcdserverpb.KV/Nonsense").as_deref(),
            Some("unknown method Nonsense for service etcdserverpb.KV")
        );
        assert_eq!(text("/no.such.Service/X").as_deref(), Some("unknown service no.such.Service"));
        assert_eq!(text("/nonsense").as_deref(), Some(r#"malformed method name: "/nonsense""#));
        assert_eq!(text("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), None);
    }
}
