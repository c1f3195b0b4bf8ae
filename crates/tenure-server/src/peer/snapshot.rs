//! A snapshot on its way to another member: the message, then the database, in one request.

use super::counts::SnapshotCount;
use super::dial::{DialError, read_whole, request};
use super::frames::put_sized;
use super::link::Peer;
use super::{NotSent, Peers};
use crate::limits;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode, header};
use std::io;
use std::sync::Arc;
use tenure_core::node::Message;
use tenure_storage::snapshot::SnapshotFile;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotSendError {
    /// Nobody is there to take it.
    #[error("the member is not known any more")]
    Unknown,
    /// The connection failed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The other member does not want it or cannot take it.
    #[error("the other member answers {0}: {1}")]
    Refused(StatusCode, String),
    /// This member stops, or the other one is gone.
    #[error("the member is gone")]
    Gone,
}

impl From<NotSent> for SnapshotSendError {
    fn from(_: NotSent) -> Self {
        SnapshotSendError::Unknown
    }
}

impl Peers {
    /// Sends a snapshot and waits until the other member has taken it up. Memory does not grow with it.
    ///
    /// * `data`: what goes into the message's snapshot; the database follows the message.
    ///
    /// # Errors
    /// [`SnapshotSendError`].
    pub async fn send_snapshot(
        &self,
        message: Message,
        data: Bytes,
        file: SnapshotFile,
    ) -> Result<(), SnapshotSendError> {
        let peer = self.shared.peers.read().get(&message.to).cloned().ok_or(NotSent)?;
        let bytes = file.database_bytes();
        tracing::info!("remote-peer-id" = format!("{:x}", peer.id.0), bytes, "sending database snapshot");
        let count = SnapshotCount::sent(&self.shared.metrics.handles, peer.id);
        let stop = peer.stop.clone();
        let sent = stop.run_until_cancelled(self.post_snapshot(&peer, &message, data, file)).await;
        sent.unwrap_or(Err(SnapshotSendError::Gone)).inspect_err(|_| peer.counts.sent_failures.inc())?;
        count.arrived();
        peer.counts.sent_bytes.inc_by(bytes);
        peer.is_heard();
        tracing::info!("remote-peer-id" = format!("{:x}", peer.id.0), bytes, "sent database snapshot");
        Ok(())
    }

    async fn post_snapshot(
        &self,
        peer: &Arc<Peer>,
        message: &Message,
        data: Bytes,
        file: SnapshotFile,
    ) -> Result<(), SnapshotSendError> {
        let url = peer.url().ok_or(DialError::NoUrl)?;
        let body = Body::from_stream(ReceiverStream::new(pieces(message, data, file)));
        let mut request = request(Method::POST, "/raft/snapshot", Some(self.identity()), body)?;
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let mut connection = self.shared.dialer.connect(&url).await.inspect_err(|_| peer.pass_over(&url))?;
        let within = limits::PEER_SNAPSHOT_TIMEOUT;
        let answering = async { read_whole(connection.send(request).await?).await };
        let answer = timeout(within, answering).await.unwrap_or(Err(DialError::Timeout(within)))?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(()),
            status => Err(SnapshotSendError::Refused(status, answer.text())),
        }
    }
}

/// The body, read from the file as fast as it is taken.
fn pieces(message: &Message, data: Bytes, file: SnapshotFile) -> mpsc::Receiver<io::Result<Bytes>> {
    let (out, pieces) = mpsc::channel(limits::PEER_SNAPSHOT_PIECES_MAX);
    let mut head = BytesMut::new();
    let mut message = message.to_wire();
    if let Some(snapshot) = &mut message.snapshot {
        snapshot.data = Some(data);
    }
    put_sized(&message, &mut head);
    tokio::task::spawn_blocking(move || {
        let mut at = 0;
        let mut piece = Ok(head.freeze());
        loop {
            let is_last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
            // An error breaks the request off; nothing more to read ends it.
            if matches!(&piece, Ok(bytes) if bytes.is_empty()) || out.blocking_send(piece).is_err() || is_last
            {
                return;
            }
            piece = file.read(at, limits::PEER_SNAPSHOT_PIECE_BYTES);
            at += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        }
    });
    pieces
}
