//! A client that keeps to one member until it fails.

use super::record::{Endpoints, Record};
use super::session::{self, LOAD, Token, Wire};
use rand::{RngExt, rngs::SmallRng};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_check::Answer;
use tonic::{Request, Response, Status};

/// How long a client waits for an answer before it asks somebody else.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a connection may take.
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
    has_auth: bool,
}

/// A connection to a run of a member.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub wire: Wire,
    pub at: usize,
    pub run: u64,
}

impl Client {
    /// * `has_auth`: whether it has to log in.
    pub fn new(
        record: Arc<Record>,
        endpoints: Arc<Endpoints>,
        home: usize,
        has_auth: bool,
        random: SmallRng,
    ) -> Self {
        Self { record, endpoints, random, home, open: None, has_auth }
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
            if self.connection_to(at).await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The connection to the member at a place, a new one if there is none, or nothing if that fails.
    pub async fn connection_to(&mut self, at: usize) -> Option<Connection> {
        if let Some(open) = self.open.as_ref().filter(|open| open.at == at && self.is_current(open)) {
            return Some(open.clone());
        }
        let known = self.endpoints.at(at);
        let wire = tokio::time::timeout(PATIENCE, self.open(&known.url)).await.ok()?.ok()?;
        self.open = Some(Connection { wire, at, run: known.run });
        self.open.clone()
    }

    async fn open(&self, url: &str) -> Result<Wire, Status> {
        let channel = session::connect(url, CONNECT_PATIENCE).await?;
        let token = match self.has_auth {
            true => session::log_in(channel.clone(), LOAD).await?,
            false => Token::default(),
        };
        Ok(Wire::new(channel, token))
    }

    /// Whether the same process still answers there.
    pub fn is_current(&self, connection: &Connection) -> bool {
        self.endpoints.at(connection.at).run == connection.run
    }

    /// One call; whatever fails is counted, and another member asked next time.
    pub async fn call<T, F: Future<Output = Result<Response<T>, Status>>>(
        &mut self,
        call: impl FnOnce(Wire) -> F,
    ) -> (Connection, Result<T, Status>) {
        let connection = self.connection().await;
        let outcome = self.call_over(&connection, call).await;
        (connection, outcome)
    }

    /// One call over a connection.
    pub async fn call_over<T, F: Future<Output = Result<Response<T>, Status>>>(
        &mut self,
        connection: &Connection,
        call: impl FnOnce(Wire) -> F,
    ) -> Result<T, Status> {
        let called = tokio::time::timeout(PATIENCE, call(connection.wire.clone())).await;
        let outcome = called.unwrap_or_else(|_| Err(Status::deadline_exceeded("the client gives up")));
        if let Err(status) = &outcome {
            self.record.error(status);
            if !is_refusal(status) {
                self.open = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
        outcome.map(Response::into_inner)
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
