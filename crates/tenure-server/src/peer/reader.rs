//! Reading the streams that this member asks others for.

use super::Peers;
use super::dial::{DialError, read_whole, request};
use super::frames::{FrameDecoder, MalformedStream, StreamKind};
use super::identity::{RAFT_TO, hex};
use super::link::Peer;
use crate::limits;
use axum::body::Body;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Malformed(#[from] MalformedStream),
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    #[error("the other member closed the stream")]
    Closed,
    #[error("the other member refuses the stream: {0}: {1}")]
    Refused(StatusCode, String),
    #[error("the member has been permanently removed from the cluster")]
    Removed,
}

/// Asks for a stream and reads it, again and again, until the member is gone or this one stops.
pub async fn run(peers: Peers, peer: Arc<Peer>, kind: StreamKind) {
    let stop = peer.stop.clone();
    let reading = async {
        loop {
            let Err(end) = read(&peers, &peer, kind).await;
            if matches!(end, StreamEnd::Removed)
                && let Some(inbound) = peers.inbound()
            {
                inbound.told_removed(peer.id);
            }
            peer.is_lost(&end);
            tokio::time::sleep(limits::PEER_RETRY_PAUSE).await;
        }
    };
    stop.run_until_cancelled(reading).await;
}

async fn read(peers: &Peers, peer: &Peer, kind: StreamKind) -> Result<Infallible, StreamEnd> {
    let shared = &peers.shared;
    let url = peer.url().ok_or(DialError::NoUrl)?;
    let opening = open(peers, peer, kind, &url);
    let opened = timeout(shared.dialer.connect_timeout + shared.read_timeout, opening).await;
    let mut body = opened.unwrap_or(Err(StreamEnd::Silent(shared.read_timeout))).inspect_err(|_| {
        peer.pass_over(&url);
    })?;
    peer.is_heard();
    let mut decoder = FrameDecoder::new(kind, peer.id, shared.identity.member);
    loop {
        let frame = timeout(shared.read_timeout, body.frame()).await;
        let frame = frame.map_err(|_| StreamEnd::Silent(shared.read_timeout))?.ok_or(StreamEnd::Closed)?;
        let frame = frame.map_err(DialError::Http)?;
        let Ok(data) = frame.into_data() else { continue };
        peer.counts.received_bytes.inc_by(data.len() as u64);
        decoder.push(&data);
        let next = |decoder: &mut FrameDecoder| {
            decoder.next_message().inspect_err(|_| peer.counts.received_failures.inc())
        };
        while let Some(message) = next(&mut decoder)? {
            if peers.inbound().is_some_and(|inbound| !inbound.receive(message)) {
                peer.counts.received_failures.inc();
            }
        }
    }
}

async fn open(
    peers: &Peers,
    peer: &Peer,
    kind: StreamKind,
    url: &crate::config::EndpointUrl,
) -> Result<hyper::body::Incoming, StreamEnd> {
    let identity = &peers.shared.identity;
    let path = format!("/raft/stream/{}/{:x}", kind.path_word(), identity.member.0);
    let mut request = request(Method::GET, &path, Some(identity), Body::empty())?;
    request.headers_mut().insert(RAFT_TO, hex(peer.id.0));
    let mut connection = peers.shared.dialer.connect(url).await?;
    let response = connection.send(request).await?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        StatusCode::GONE => Err(StreamEnd::Removed),
        status => Err(StreamEnd::Refused(status, read_whole(response).await?.text())),
    }
}
