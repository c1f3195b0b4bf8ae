//! Messages that are posted one by one, because the other member has not asked for a stream.

use super::Peers;
use super::dial::{Connection, DialError, request};
use super::http::REMOVED_SENDER;
use super::link::Peer;
use crate::config::EndpointUrl;
use http::{HeaderValue, Method, StatusCode, header};
use prost::Message as _;
use std::sync::Arc;
use tenure_core::node::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Why a message was not posted.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the other member refuses a message: {0}: {1}")]
    Refused(StatusCode, String),
    #[error("the member has been permanently removed from the cluster")]
    Removed,
}

/// Posts what comes out of a queue until the member is gone or this one stops.
pub async fn run(peers: Peers, peer: Arc<Peer>, mut queue: mpsc::Receiver<Message>) {
    let stop = peer.stop.clone();
    let posting = async {
        let mut open: Option<(EndpointUrl, Connection)> = None;
        while let Some(message) = queue.recv().await {
            match post(&peers, &peer, &mut open, &message).await {
                Ok(()) => peer.is_heard(),
                Err(error) => {
                    open = None;
                    // What waits is as old as the failure took: nobody wants it any more.
                    while queue.try_recv().is_ok() {}
                    if let (PostError::Removed, Some(inbound)) = (&error, peers.inbound()) {
                        inbound.told_removed(peer.id);
                    }
                    peers.lost(&peer, &error);
                }
            }
        }
    };
    stop.run_until_cancelled(posting).await;
}

async fn post(
    peers: &Peers,
    peer: &Peer,
    open: &mut Option<(EndpointUrl, Connection)>,
    message: &Message,
) -> Result<(), PostError> {
    let url = peer.url().ok_or(DialError::NoUrl)?;
    let body = message.to_wire().encode_to_vec();
    let bytes = body.len() as u64;
    let mut request = request(Method::POST, "/raft", Some(&peers.shared.identity), body)?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/protobuf"));
    let asking = async {
        let usable = open.take().filter(|(known, connection)| *known == url && !connection.is_closed());
        let mut connection = match usable {
            Some((_, connection)) => connection,
            None => peers.shared.dialer.connect(&url).await?,
        };
        let answer = connection.ask(request).await?;
        *open = Some((url.clone(), connection));
        Ok(answer)
    };
    let within = peers.shared.dialer.connect_timeout + peers.shared.read_timeout;
    let answer = timeout(within, asking).await.unwrap_or(Err(DialError::Timeout(within)));
    let answer = answer.inspect_err(|_| peer.pass_over(&url))?;
    match answer.status {
        StatusCode::NO_CONTENT => {
            peer.counts.sent_bytes.inc_by(bytes);
            Ok(())
        }
        // The same status says that the message is for somebody else, who was at that URL before.
        StatusCode::FORBIDDEN if answer.text().contains(REMOVED_SENDER) => Err(PostError::Removed),
        status => Err(PostError::Refused(status, answer.text())),
    }
}
