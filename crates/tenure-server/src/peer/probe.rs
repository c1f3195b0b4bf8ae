//! How long a question to another member takes: asked now and then, on a connection of its own.

use super::Peers;
use super::dial::{Connection, DialError, request};
use super::link::Peer;
use crate::config::EndpointUrl;
use axum::body::Body;
use http::Method;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

/// Asks again and again, as often as a silent connection would be given up, until the member is gone or this one stops.
pub async fn run(peers: Peers, peer: Arc<Peer>) {
    let stop = peer.stop.clone();
    let probing = async {
        let mut open: Option<(EndpointUrl, Connection)> = None;
        loop {
            if let Err(error) = probe(&peers, &peer, &mut open).await {
                tracing::debug!("remote-peer-id" = format!("{:x}", peer.id.0), %error, "a probe has no answer");
            }
            tokio::time::sleep(peers.shared.read_timeout).await;
        }
    };
    stop.run_until_cancelled(probing).await;
}

async fn probe(
    peers: &Peers,
    peer: &Peer,
    open: &mut Option<(EndpointUrl, Connection)>,
) -> Result<(), DialError> {
    let url = peer.url().ok_or(DialError::NoUrl)?;
    let usable = open.take().filter(|(known, connection)| *known == url && !connection.is_closed());
    let mut connection = match usable {
        Some((_, connection)) => connection,
        None => peers.shared.dialer.connect(&url).await?,
    };
    let request = request(Method::GET, "/raft/probing", Some(&peers.shared.identity), Body::empty())?;
    let asked = Instant::now();
    let within = peers.shared.read_timeout;
    timeout(within, connection.ask(request)).await.unwrap_or(Err(DialError::Timeout(within)))?;
    peer.counts.round_trip.observe(asked.elapsed().as_secs_f64());
    *open = Some((url, connection));
    Ok(())
}
