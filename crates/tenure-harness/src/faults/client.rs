//! A client that keeps to one member until it fails.

use super::record::{Endpoints, Record};
use rand::{RngExt, rngs::SmallRng};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_check::Answer;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// How long a client waits for an answer before it asks somebody else.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection to one member after the other.
pub(super) struct Client {
    pub record: Arc<Record>,
    endpoints: Arc<Endpoints>,
    pub random: SmallRng,
    /// The member it prefers.
    home: usize,
    open: Option<Connection>,
}

/// A connection to a run of a member.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub channel: Channel,
    pub at: usize,
    pub run: u64,
}

impl Client {
    pub fn new(record: Arc<Record>, endpoints: Arc<Endpoints>, home: usize, random: SmallRng) -> Self {
        Self { record, endpoints, random, home, open: None }
    }

    /// The connection, a new one if there is none.
    pub async fn connection(&mut self) -> Connection {
        loop {
            // Now and then somebody moves on without need.
            if self.random.random_range(0..500) == 0 {
                self.open = None;
            }
            if let Some(open) = self.open.as_ref().filter(|open| self.is_current(open)) {
                return open.clone();
            }
            let there = self.endpoints.there();
            let at = match self.random.random_range(0..3) {
                0 if !there.is_empty() => there[self.random.random_range(0..there.len())],
                _ if there.contains(&self.home) => self.home,
                _ if !there.is_empty() => there[self.random.random_range(0..there.len())],
                _ => self.home,
            };
            let known = self.endpoints.at(at);
            let endpoint = Endpoint::from_shared(known.url).expect("a member's URL is one");
            let endpoint = endpoint.tcp_nodelay(true).connect_timeout(CONNECT_PATIENCE);
            match tokio::time::timeout(CONNECT_PATIENCE, endpoint.connect()).await {
                Ok(Ok(channel)) => self.open = Some(Connection { channel, at, run: known.run }),
                Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Whether the same process still answers there.
    pub fn is_current(&self, connection: &Connection) -> bool {
        self.endpoints.at(connection.at).run == connection.run
    }

    /// One call; whatever fails is counted, and another member asked next time.
    pub async fn call<T, F: Future<Output = Result<Response<T>, Status>>>(
        &mut self,
        call: impl FnOnce(Channel) -> F,
    ) -> (Connection, Result<T, Status>) {
        let connection = self.connection().await;
        let called = tokio::time::timeout(PATIENCE, call(connection.channel.clone())).await;
        let outcome = called.unwrap_or_else(|_| Err(Status::deadline_exceeded("the client gives up")));
        if let Err(status) = &outcome {
            self.record.error(status);
            if !is_refusal(status) {
                self.open = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
        (connection, outcome.map(Response::into_inner))
    }

    /// Asks another member next time.
    pub fn move_on(&mut self) {
        self.open = None;
    }
}

/// A request whose stream of answers is read as long as there are some.
pub(super) fn open_ended<T: Send + 'static>(
    requests: tokio::sync::mpsc::Receiver<T>,
) -> Request<tokio_stream::wrappers::ReceiverStream<T>> {
    Request::new(tokio_stream::wrappers::ReceiverStream::new(requests))
}

/// Whether a status is the answer of the state machine, which stays what it is.
pub(super) fn is_refusal(status: &Status) -> bool {
    matches!(
        EtcdError::from_status(status),
        Some(
            EtcdError::LeaseNotFound | EtcdError::LeaseExist | EtcdError::KeyNotFound | EtcdError::Compacted
        )
    )
}

/// What a status says about a write.
pub(super) fn answer_of(status: &Status) -> Answer {
    let is_refused = is_refusal(status)
        // Said before anything is proposed.
        || matches!(EtcdError::from_status(status), Some(EtcdError::NoLeader | EtcdError::NotSupportedForLearner));
    if is_refused { Answer::Refused } else { Answer::Unknown }
}
