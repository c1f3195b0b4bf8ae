//! Endpoints, timeouts, failover.
//!
//! Calls go to the endpoints in turn. A call waits until one of them accepts a connection, so a request is sent at
//! most once as long as nobody answered; what can be repeated without harm is sent again when a connection breaks.

mod auth;
mod identity;
mod rpc;

use crate::{
    exit::{Exit, Failure, status_message},
    log::{self, Level},
    settings::Settings,
};
use identity::{Identity, Token};
use parking_lot::Mutex;
use prost::Message;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tenure_api::error::{EtcdError, status_text};
use tokio::time::{sleep, timeout};
use tonic::{
    Code, ConnectError, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::{Channel, Endpoint},
};

/// The version of the protocol that this client speaks, as servers count it in their metrics.
const CLIENT_API_VERSION: &str = "3.7.1";

/// Probes that come more often make an etcd server close the connection.
const KEEPALIVE_TIME_MIN: Duration = Duration::from_secs(10);

/// How long to wait after all endpoints failed, at first and at most.
const BACKOFF_MIN: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How often a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    /// Again whenever no answer came.
    Repeatable,
    /// Again only if the request was surely never sent.
    Once,
}

struct Target {
    name: String,
    endpoint: Endpoint,
    channel: Mutex<Option<Channel>>,
}

/// Connections to one or several endpoints, made when they are needed.
pub struct Connection {
    targets: Vec<Target>,
    next: AtomicUsize,
    command_timeout: Duration,
    request_bytes_max: usize,
    response_bytes_max: usize,
    identity: Identity,
    /// Why the last attempt failed.
    last_error: Mutex<Option<String>>,
}

impl Connection {
    /// A connection to `endpoints`, with the timeouts and limits of `settings`. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no endpoint, or one is malformed or wants TLS.
    pub fn new(endpoints: &[String], settings: &Settings) -> Result<Self, Failure> {
        if endpoints.is_empty() {
            return Err(Failure::new(Exit::BadConnection, "etcdclient: no available endpoints"));
        }
        let target = |name: &String| {
            let endpoint = endpoint(name, settings)?;
            Ok(Target { name: name.clone(), endpoint, channel: Mutex::new(None) })
        };
        Ok(Connection {
            targets: endpoints.iter().map(target).collect::<Result<_, Failure>>()?,
            next: AtomicUsize::new(0),
            command_timeout: settings.command_timeout,
            request_bytes_max: settings.request_bytes_max,
            response_bytes_max: settings.response_bytes_max,
            identity: Identity::new(settings.credentials.clone()),
            last_error: Mutex::new(None),
        })
    }

    /// How long a command may take.
    #[must_use]
    pub fn command_timeout(&self) -> Duration {
        self.command_timeout
    }

    /// The channel to the next endpoint that accepts a connection, however long that takes, and its number.
    async fn channel(&self) -> (Channel, usize) {
        let mut backoff = BACKOFF_MIN;
        loop {
            for _ in 0..self.targets.len() {
                let number = self.next.fetch_add(1, Ordering::Relaxed) % self.targets.len();
                if let Some(channel) = self.open(&self.targets[number]).await {
                    return (channel, number);
                }
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn open(&self, target: &Target) -> Option<Channel> {
        let open = target.channel.lock().clone();
        if open.is_some() {
            return open;
        }
        match target.endpoint.connect().await {
            Ok(channel) => {
                *target.channel.lock() = Some(channel.clone());
                Some(channel)
            }
            Err(error) => {
                let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), causes);
                let text = format!("connection error: desc = \"transport: Error while dialing: {reason}\"");
                *self.last_error.lock() = Some(status_text(Code::Unavailable, &text));
                None
            }
        }
    }

    /// Whether a failed request may be sent again. Forgets the connection over which it failed.
    fn may_repeat(&self, sends: Sends, status: &Status, number: usize) -> bool {
        if EtcdError::from_status(status) == Some(EtcdError::NotSupportedForLearner) {
            return self.targets.len() > 1;
        }
        if status.code() != Code::Unavailable {
            return false;
        }
        *self.last_error.lock() = Some(status_message(status));
        // A server that says so in its own words is there; a transport's failure ends the connection.
        if EtcdError::from_status(status).is_none() {
            *self.targets[number].channel.lock() = None;
        }
        sends == Sends::Repeatable || was_never_sent(status)
    }

    /// Sends a request until it is answered or refused, as long as a command may take.
    async fn unary<Q, R, F>(
        &self,
        method: &str,
        sends: Sends,
        request: Q,
        call: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<R, Failure>
    where
        Q: Message + Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.check_size(&request)?;
        let attempts = async {
            let mut backoff = BACKOFF_MIN;
            let mut may_log_in_again = true;
            loop {
                let (channel, number) = self.channel().await;
                let answer = async {
                    let token = self.identity.token(&channel).await?;
                    call(channel, with_metadata(request.clone(), false, token)).await
                };
                match answer.await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) if may_log_in_again && self.identity.is_outdated(&status).await => {
                        may_log_in_again = false;
                        continue;
                    }
                    Err(status) if self.may_repeat(sends, &status, number) => {}
                    Err(status) => return Err(Failure::from(status)),
                }
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        };
        self.in_time(method, attempts).await
    }

    /// Waits for a call as long as a command may take.
    async fn in_time<T>(
        &self,
        method: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match timeout(self.command_timeout, call).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.log_last_error(method);
                Err(Failure::new(Exit::Error, "context deadline exceeded"))
            }
        }
    }

    fn log_last_error(&self, method: &str) {
        let Some(error) = self.last_error.lock().take() else { return };
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let target = format!("etcd-endpoints:///{}", names.join(","));
        let fields = [("target", target.as_str()), ("method", method), ("error", error.as_str())];
        log::line(Level::Warn, "retrying of unary invoker failed", &fields);
    }

    fn check_size(&self, request: &impl Message) -> Result<(), Failure> {
        let (len, max) = (request.encoded_len(), self.request_bytes_max);
        if len <= max {
            return Ok(());
        }
        let text = format!("trying to send message larger than max ({len} vs. {max})");
        Err(Failure::new(Exit::Error, status_text(Code::ResourceExhausted, &text)))
    }
}

/// Whether the failure is one of connecting.
fn was_never_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error and what caused it.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn with_metadata<T>(message: T, requires_leader: bool, token: Option<Token>) -> Request<T> {
    let mut request = Request::new(message);
    let metadata: &mut MetadataMap = request.metadata_mut();
    metadata.insert("client-api-version", MetadataValue::from_static(CLIENT_API_VERSION));
    if let Some(token) = token {
        metadata.insert("token", token);
    }
    if requires_leader {
        metadata.insert("hasleader", MetadataValue::from_static("true"));
    }
    request
}

/// What a name means: `host:port`, `http://host:port` or `unix:path`.
fn endpoint(name: &str, settings: &Settings) -> Result<Endpoint, Failure> {
    let refuse = |reason: &str| Failure::bad_args(format!("endpoint {name}: {reason}"));
    if name.starts_with("https://") || name.starts_with("unixs:") {
        return Err(refuse("TLS is not supported by this version"));
    }
    let uri = if name.contains("://") || name.starts_with("unix:") {
        name.to_owned()
    } else {
        format!("http://{name}")
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| refuse(&causes(&error)))?;
    Ok(endpoint
        .connect_timeout(settings.dial_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(settings.keepalive_time.max(KEEPALIVE_TIME_MIN))
        .keep_alive_timeout(settings.keepalive_timeout))
}
