//! A watcher that outlives its connection.

use crate::{connection::Connection, exit::status_message};
use std::{sync::Arc, time::Duration};
use tenure_api::{
    error::{EtcdError, status_text},
    etcdserverpb::{
        WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
        watch_request::RequestUnion::{CreateRequest, ProgressRequest},
    },
};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// How long to wait before a broken stream is opened again.
const BACKOFF: Duration = Duration::from_millis(50);

/// Requests that wait to be sent on a stream.
const REQUESTS_MAX: usize = 16;

/// Something a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Events, or the revision up to which there are none.
    News(WatchResponse),
    /// Nothing more will come, for the reason in words.
    End(String, WatchResponse),
}

struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

/// Watches one range. When its stream breaks, it opens another one and goes on with the first revision that it
/// was not told.
pub struct Watcher {
    connection: Arc<Connection>,
    create: WatchCreateRequest,
    stream: Option<Stream>,
    /// Progress was asked for while there was no stream to ask on.
    progress_wanted: bool,
}

impl Watcher {
    /// A watcher that asks for what `create` describes.
    #[must_use]
    pub fn new(connection: Arc<Connection>, create: WatchCreateRequest) -> Self {
        Watcher { connection, create, stream: None, progress_wanted: false }
    }

    /// What the watcher is told next. May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Told {
        loop {
            let received = match &mut self.stream {
                Some(stream) => stream.responses.message().await,
                None => match self.open().await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        if std::mem::take(&mut self.progress_wanted) {
                            self.request_progress().await;
                        }
                        continue;
                    }
                    Err(status) => Err(status),
                },
            };
            match received {
                Ok(Some(response)) => {
                    if let Some(told) = self.take(response) {
                        return told;
                    }
                }
                Err(status) if is_final(&status) => {
                    let response = WatchResponse { canceled: true, ..Default::default() };
                    return Told::End(status_message(&status), response);
                }
                Ok(None) | Err(_) => {
                    self.stream = None;
                    sleep(BACKOFF).await;
                }
            }
        }
    }

    /// Asks up to which revision the watcher was told everything. The answer comes as an answer without events, if the
    /// watcher is up to date.
    pub async fn request_progress(&mut self) {
        let Some(stream) = &self.stream else {
            self.progress_wanted = true;
            return;
        };
        let request = WatchRequest { request_union: Some(ProgressRequest(WatchProgressRequest {})) };
        // A stream that is just breaking has nobody to ask.
        drop(stream.requests.send(request).await);
    }

    async fn open(&self) -> Result<Stream, Status> {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let create = WatchRequest { request_union: Some(CreateRequest(self.create.clone())) };
        // The queue is empty and its receiver is here.
        drop(requests.send(create).await);
        let responses = self.connection.watch(ReceiverStream::new(queue)).await?;
        Ok(Stream { requests, responses })
    }

    /// Notes how far the watcher came. Nothing is to be told of its mere creation.
    fn take(&mut self, response: WatchResponse) -> Option<Told> {
        if response.created && response.canceled {
            // Refused: the library that etcdctl uses keeps the reason only.
            let refused = WatchResponse { canceled: true, ..Default::default() };
            return Some(Told::End(response.cancel_reason, refused));
        }
        if response.canceled {
            return Some(Told::End(end_reason(&response), response));
        }
        let revision = response.header.unwrap_or_default().revision;
        if response.created {
            if self.create.start_revision == 0 {
                self.create.start_revision = revision + 1;
            }
            return None;
        }
        let last = response.events.last().and_then(|event| event.kv.as_ref());
        let seen = last.map_or(revision, |pair| pair.mod_revision);
        self.create.start_revision = self.create.start_revision.max(seen + 1);
        Some(Told::News(response))
    }
}

/// Why a watcher was ended that had been told of its creation.
fn end_reason(response: &WatchResponse) -> String {
    if response.compact_revision != 0 {
        return EtcdError::Compacted.text().to_owned();
    }
    match response.cancel_reason.as_str() {
        "" => EtcdError::FutureRev.text().to_owned(),
        reason => match EtcdError::ALL.iter().find(|error| error.text() == reason) {
            Some(error) => error.text().to_owned(),
            None => status_text(Code::FailedPrecondition, reason),
        },
    }
}

/// Whether another stream would not help.
fn is_final(status: &Status) -> bool {
    if EtcdError::from_status(status) == Some(EtcdError::NoLeader) {
        return true;
    }
    // A broken connection shows as any of these.
    !matches!(status.code(), Code::Unavailable | Code::Internal | Code::Unknown | Code::Cancelled)
}
