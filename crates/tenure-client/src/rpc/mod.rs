//! Calls: which connection, how often, with which token.
//!
//! * `method`: the table of methods, and which of them may be repeated.
//! * `unary`: one request and one answer on a connection.
//! * `codec`: requests of streams, encoded once.
//! * `token`: who the client is.
//! * `retry`: what to do about a failure.

mod codec;
pub(crate) mod method;
mod retry;
mod token;
mod unary;

use crate::{
    ClientConfig, Endpoint, Error, Result,
    config::parse_endpoints,
    transport::{Connection, Dialer, Driven, Pool, page},
};
use bytes::Bytes;
use codec::Encoded;
use http::uri::PathAndQuery;
use method::Method;
use prost::Message;
use retry::{Next, Retries};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tenure_api::codec::MessageCodec;
use token::Token;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

/// The version of etcd's client whose behaviour this one follows, as servers count it in their metrics.
pub(crate) const CLIENT_API_VERSION: &str = "3.7.1";

/// Everything that calls need.
pub(crate) struct Rpc {
    pool: Pool,
    token: Token,
    retry: crate::config::RetryConfig,
    request_timeout: Option<Duration>,
    request_bytes_max: usize,
    response_bytes_max: usize,
}

/// What a call carries beside its message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallOptions {
    /// Fail, or end the stream, when the member that serves it has no leader.
    pub requires_leader: bool,
}

/// A failed attempt, with what is needed to decide whether there is another one.
pub(super) struct Attempt {
    error: Error,
    /// The request may have reached the server.
    was_sent: bool,
    /// No answer came: the transport failed.
    is_transport: bool,
}

impl Rpc {
    /// Starts to connect. Nothing is sent yet.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self> {
        let endpoints = config.parsed_endpoints()?;
        let dialer = Dialer::new(config);
        for endpoint in &endpoints {
            dialer.check(endpoint)?;
        }
        Ok(Rpc {
            token: Token::new(config.credentials()?)?,
            pool: Pool::new(dialer, endpoints),
            retry: config.retry,
            request_timeout: config.request_timeout,
            request_bytes_max: config.request_bytes_max,
            response_bytes_max: config.response_bytes_max,
        })
    }

    /// Uses these endpoints from now on.
    pub(crate) fn set_endpoints(&self, names: &[String]) -> Result<()> {
        let endpoints = parse_endpoints(names)?;
        for endpoint in &endpoints {
            self.pool.dialer().check(endpoint)?;
        }
        self.pool.set_endpoints(endpoints);
        Ok(())
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Pauses between the attempts of a stream to come back, by the same rules as those of requests.
    pub(crate) fn backoff(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        retry::backoff(&self.retry)
    }

    /// A call with one request and one answer, repeated as its method allows.
    pub(crate) async fn unary<Q, R>(&self, method: &'static Method, request: &Q) -> Result<R>
    where
        Q: Message,
        R: Message + Default + 'static,
    {
        self.unary_with(method, request, CallOptions::default()).await
    }

    /// [`Rpc::unary`] with options.
    pub(crate) async fn unary_with<Q, R>(
        &self,
        method: &'static Method,
        request: &Q,
        options: CallOptions,
    ) -> Result<R>
    where
        Q: Message,
        R: Message + Default + 'static,
    {
        let (request, end) = (&self.encoded(request)?, self.end());
        let call = self.as_user(|token| async move {
            let token = &token;
            let attempt = |connection| self.attempt(connection, method, request.clone(), token, options);
            self.repeated(method, end, attempt).await
        });
        self.in_time(call).await
    }

    /// Attempts on one connection after the other, as the method allows. The connection must be there before `end`.
    async fn repeated<T, F>(
        &self,
        method: &'static Method,
        end: Option<Instant>,
        attempt: impl Fn(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Attempt>>,
    {
        let mut retries = Retries::new(&self.retry, self.pool.len());
        loop {
            match attempt(self.pool.connection_before(end).await?).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => match retries.next(method, &failed) {
                    Next::Fail => return Err(failed.error),
                    Next::Again(pause) => tokio::time::sleep(pause).await,
                },
            }
        }
    }

    /// A call with the token in use; again with a new one if that is refused.
    async fn as_user<T, F>(&self, call: impl Fn(Option<MetadataValue<Ascii>>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut renewals = None;
        loop {
            let token = self.token.current();
            match call(token.clone()).await {
                Err(error) if self.token.is_refused(&error) => {
                    match renewals.get_or_insert_with(|| retry::renewals(&self.retry)).next() {
                        None => return Err(error),
                        Some(pause) => {
                            tokio::time::sleep(pause).await;
                            self.renew_token(&token).await?;
                        }
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// A call to this endpoint and no other. It is sent again only with a new token, and once if it surely never left.
    pub(crate) async fn unary_to<Q, R>(
        &self,
        endpoint: &Endpoint,
        method: &'static Method,
        request: &Q,
    ) -> Result<R>
    where
        Q: Message,
        R: Message + Default + 'static,
    {
        let (request, end) = (&self.encoded(request)?, self.end());
        let call = self.as_user(|token| async move {
            let mut is_repeated = false;
            loop {
                let (connection, _driven) = self.pool.connection_to(endpoint, end).await?;
                let options = CallOptions::default();
                match self.attempt(connection, method, request.clone(), &token, options).await {
                    // The connection broke just before.
                    Err(failed) if !is_repeated && failed.is_transport && !failed.was_sent => {
                        is_repeated = true;
                    }
                    outcome => return outcome.map_err(|failed| failed.error),
                }
            }
        });
        self.in_time(call).await
    }

    /// Opens a stream of answers to one request. Opening is tried again; what breaks later is the caller's.
    pub(crate) async fn server_stream<Q, R>(&self, method: &'static Method, request: &Q) -> Result<Answers<R>>
    where
        Q: Message,
        R: Message + Default + 'static,
    {
        let request = &self.encoded(request)?;
        let opening = self.as_user(|token| async move {
            let token = &token;
            let attempt = |connection| self.open_stream(connection, method, request.clone(), token);
            self.repeated(method, None, attempt).await
        });
        opening.await
    }

    /// Opens a stream of answers from this endpoint and no other. It is opened again only with a new token.
    pub(crate) async fn server_stream_to<Q, R>(
        &self,
        endpoint: &Endpoint,
        method: &'static Method,
        request: &Q,
    ) -> Result<Answers<R>>
    where
        Q: Message,
        R: Message + Default + 'static,
    {
        let request = &self.encoded(request)?;
        let opening = self.as_user(|token| async move {
            let (connection, driven) = self.pool.connection_to(endpoint, None).await?;
            let opened = self.open_stream(connection, method, request.clone(), &token).await;
            let mut answers = opened.map_err(|failed| failed.error)?;
            answers._driven = driven;
            Ok(answers)
        });
        opening.await
    }

    async fn open_stream<R>(
        &self,
        connection: Connection,
        method: &'static Method,
        request: Bytes,
        token: &Option<MetadataValue<Ascii>>,
    ) -> Result<Answers<R>, Attempt>
    where
        R: Message + Default + 'static,
    {
        let message = request.slice(unary::PREFIX_BYTES..);
        let message = with_metadata(message, token, CallOptions::default());
        let endpoint = connection.endpoint().clone();
        let opened = self.grpc(connection).server_streaming(message, method.path(), Encoded::default()).await;
        let stream = opened.map_err(Attempt::from)?.into_inner();
        Ok(Answers::new(stream, endpoint))
    }

    /// Opens a stream both ways on the next connection, once. The first request must be ready in `requests` if the server
    /// answers nothing before it, as it is with watches and lease renewals.
    ///
    /// A token that is refused is renewed, and the failure is told: the caller opens the stream again.
    pub(crate) async fn bidi_stream<Q, R>(
        &self,
        method: &'static Method,
        requests: impl Stream<Item = Q> + Send + 'static,
        options: CallOptions,
    ) -> Result<Answers<R>>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let connection = self.pool.connection().await?;
        self.bidi_stream_on(connection, method, requests, options).await
    }

    /// [`Rpc::bidi_stream`] on this connection.
    pub(crate) async fn bidi_stream_on<Q, R>(
        &self,
        connection: Connection,
        method: &'static Method,
        requests: impl Stream<Item = Q> + Send + 'static,
        options: CallOptions,
    ) -> Result<Answers<R>>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let token = self.token.current();
        let endpoint = connection.endpoint().clone();
        let message = with_metadata(requests, &token, options);
        let opened = self.grpc(connection).streaming(message, method.path(), MessageCodec::default()).await;
        match opened {
            Ok(answers) => Ok(Answers::new(answers.into_inner(), endpoint)),
            Err(status) => {
                let failed = Attempt::from(status);
                if self.token.is_refused(&failed.error) {
                    self.renew_token(&token).await?;
                }
                Err(failed.error)
            }
        }
    }

    /// Whether a token that is refused can be replaced.
    pub(crate) fn can_renew_token(&self) -> bool {
        self.token.can_be_renewed()
    }

    /// Whether the error is about the token, and another one can be fetched.
    pub(crate) fn is_token_refused(&self, error: &Error) -> bool {
        self.token.is_refused(error)
    }

    /// Renews the token after a stream was told that it is not valid.
    ///
    /// Returns whether there was something to renew, so that trying again makes sense.
    pub(crate) async fn renew_after(&self, error: &Error) -> Result<bool> {
        if !self.token.is_refused(error) {
            return Ok(false);
        }
        let token = self.token.current();
        self.renew_token(&token).await?;
        Ok(true)
    }

    /// Fetches a token if the client has a user and a password; within the dial timeout.
    pub(crate) async fn log_in(&self) -> Result<()> {
        if !self.token.can_be_renewed() {
            return Ok(());
        }
        let waited = self.pool.dialer().dial_timeout();
        let unanswered = |_| {
            let reason = "no answer to the log-in, which takes a majority of the members".to_owned();
            Err(Error::Unreachable { waited, reason })
        };
        timeout(waited, self.renew_token(&None)).await.unwrap_or_else(unanswered)
    }

    async fn renew_token(&self, refused: &Option<MetadataValue<Ascii>>) -> Result<()> {
        self.token
            .renew(refused, |request| async move {
                let request = self.encoded(&request)?;
                let options = CallOptions::default();
                let attempt = |connection| {
                    self.attempt(connection, &method::AUTHENTICATE, request.clone(), &None, options)
                };
                self.repeated(&method::AUTHENTICATE, None, attempt).await
            })
            .await
    }

    async fn attempt<R>(
        &self,
        connection: Connection,
        method: &'static Method,
        request: Bytes,
        token: &Option<MetadataValue<Ascii>>,
        options: CallOptions,
    ) -> Result<R, Attempt>
    where
        R: Message + Default + 'static,
    {
        let bytes_max = self.response_bytes_max;
        let answer = unary::call(connection, method.path, request, token, options, bytes_max).await?;
        R::decode(answer).map_err(|_| Attempt {
            error: Error::Protocol("an answer that cannot be decoded"),
            was_sent: true,
            is_transport: false,
        })
    }

    fn grpc(&self, connection: Connection) -> Grpc<Connection> {
        let origin = connection.origin().clone();
        Grpc::with_origin(connection, origin).max_decoding_message_size(self.response_bytes_max)
    }

    /// The request as one frame.
    fn encoded(&self, request: &impl Message) -> Result<Bytes> {
        Ok(unary::frame(request, self.check_size(request)?))
    }

    /// When a call that begins now must have its connection. It is before [`Rpc::in_time`] gives up the call, so that a call which
    /// found no endpoint says so.
    fn end(&self) -> Option<Instant> {
        self.request_timeout.and_then(|limit| Instant::now().checked_add(limit))
    }

    /// The page of a member at `path`, which need not be one of the client's endpoints.
    pub(crate) async fn page(&self, endpoint: &Endpoint, path: &'static str) -> Result<Bytes> {
        self.in_time(page(self.pool.dialer(), endpoint, path)).await
    }

    /// Keeps a call within the request timeout.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.request_timeout {
            None => call.await,
            Some(limit) => timeout(limit, call).await.unwrap_or(Err(Error::Timeout { waited: limit })),
        }
    }
}

/// A stream of answers, and where it comes from.
pub(crate) struct Answers<R> {
    stream: Streaming<R>,
    /// An answer that was looked at and is still to be told.
    taken: Option<R>,
    endpoint: Arc<str>,
    /// Keeps a connection that was made for this stream alone.
    _driven: Option<Driven>,
}

impl<R> std::fmt::Debug for Answers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// As [`Answers::next`].
impl<R: Unpin> Stream for Answers<R> {
    type Item = Result<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        if let Some(answer) = self.taken.take() {
            return Poll::Ready(Some(Ok(answer)));
        }
        let answer = ready!(Pin::new(&mut self.stream).poll_next(cx));
        Poll::Ready(answer.map(|answer| answer.map_err(|status| Attempt::from(status).error)))
    }
}

impl<R> Answers<R> {
    fn new(stream: Streaming<R>, endpoint: Arc<str>) -> Self {
        Answers { stream, taken: None, endpoint, _driven: None }
    }

    /// The endpoint that serves the stream.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The same stream with an answer that was already taken from it.
    pub(crate) fn preceded_by(mut self, answer: R) -> Self {
        self.taken = Some(answer);
        self
    }

    /// The next answer; nothing when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<R>> {
        if let Some(answer) = self.taken.take() {
            return Ok(Some(answer));
        }
        self.stream.message().await.map_err(|status| Attempt::from(status).error)
    }
}

fn with_metadata<T>(message: T, token: &Option<MetadataValue<Ascii>>, options: CallOptions) -> Request<T> {
    let mut request = Request::new(message);
    let metadata: &mut MetadataMap = request.metadata_mut();
    metadata.insert("client-api-version", MetadataValue::from_static(CLIENT_API_VERSION));
    if let Some(token) = token {
        metadata.insert("token", token.clone());
    }
    if options.requires_leader {
        metadata.insert("hasleader", MetadataValue::from_static("true"));
    }
    request
}

impl Method {
    fn path(&self) -> PathAndQuery {
        PathAndQuery::from_static(self.path)
    }
}

impl From<Status> for Attempt {
    fn from(status: Status) -> Self {
        match retry::transport_failure(&status) {
            None => Attempt { error: status.into(), was_sent: true, is_transport: false },
            Some(failure) => Attempt {
                error: Error::ConnectionLost { reason: failure.reason.into() },
                was_sent: failure.was_sent,
                is_transport: true,
            },
        }
    }
}
