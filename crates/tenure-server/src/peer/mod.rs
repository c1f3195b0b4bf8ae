//! The other members: what Raft sends goes out here, what they send comes in here. etcd's peer protocol.
//!
//! Each member *asks* each other for two streams, one for appends and one for everything else, and reads from them; so a
//! member writes to the streams that others asked it for. While there is no stream, messages are posted one by one.
//! Appends never travel with heartbeats and votes. Every queue has a bound; what does not fit is dropped and Raft told so.
//!
//! * `identity`: the headers that say who talks to whom.
//! * `frames`: the bytes of the streams.
//! * `counts`: what is counted of another member.
//! * `link`: another member and its queues.
//! * `dial`, `reader`, `post`, `probe`: this member's requests to others.
//! * `listener`, `http`: the requests of others to this member.
//! * `snapshot`: the state of this member for one that is too far behind.
//! * `join`, `versions`, `hashes`: what is asked of others beside Raft.

mod counts;
mod dial;
mod frames;
mod hashes;
mod http;
mod identity;
pub mod join;
mod link;
mod listener;
mod post;
mod probe;
mod reader;
mod snapshot;
mod timed;
mod versions;

pub use counts::SnapshotCount;
pub use dial::{Answer, DialError, Dialer};
pub use hashes::{HashError, PeerHash};
pub use identity::Identity;
pub use listener::{PeerListeners, PeerServing};
pub use snapshot::SnapshotSendError;
pub use versions::{watch_downgrade, watch_versions};

use crate::config::EndpointUrl;
use crate::limits;
use crate::metrics::Metrics;
use ::http::Method;
use axum::body::Body;
use counts::PeerCounts;
use dial::request;
use frames::StreamKind;
use link::{Peer, StreamBody};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tenure_core::membership::Member;
use tenure_core::node::Message;
use tenure_core::types::MemberId;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// What the others say to this member. Nothing here waits.
pub trait Inbound: Send + Sync + 'static {
    /// A message of another member. Whether it was taken: what does not fit is dropped.
    fn receive(&self, message: Message) -> bool;

    /// The last message to another member was not sent.
    fn unreachable(&self, member: MemberId);

    /// Another member says that this one has been removed.
    fn told_removed(&self, by: MemberId);
}

/// How this member makes requests to others.
#[derive(Clone, Debug)]
pub struct Network {
    /// Where they run.
    pub runtime: Handle,
    /// How they connect.
    pub dialer: Dialer,
    /// Nobody waits any more for what is asked before a start.
    pub given_up: CancellationToken,
}

/// The other members. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    dialer: Dialer,
    metrics: Arc<Metrics>,
    read_timeout: Duration,
    peers: RwLock<BTreeMap<MemberId, Arc<Peer>>>,
    /// Those who have left: they are told so, and never come back.
    removed: RwLock<BTreeSet<MemberId>>,
    inbound: OnceLock<Arc<dyn Inbound>>,
    runtime: Handle,
    stop: CancellationToken,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("identity", &self.shared.identity).finish_non_exhaustive()
    }
}

impl Peers {
    /// Nobody yet.
    ///
    /// * `network`: how requests are made.
    /// * `read_timeout`: the silence that ends a stream.
    #[must_use]
    pub fn new(identity: Identity, network: Network, read_timeout: Duration, metrics: Arc<Metrics>) -> Self {
        let Network { runtime, dialer, .. } = network;
        let shared = Shared {
            identity,
            dialer,
            metrics,
            read_timeout,
            peers: RwLock::default(),
            removed: RwLock::default(),
            inbound: OnceLock::new(),
            runtime,
            stop: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Who receives what the others say. Before that nobody is dialed.
    pub fn receive_with(&self, inbound: Arc<dyn Inbound>) {
        self.shared.inbound.set(inbound).ok();
        let peers: Vec<Arc<Peer>> = self.shared.peers.read().values().cloned().collect();
        for peer in peers {
            self.read_from(&peer);
        }
    }

    /// Who this member is to the others.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// The members are these now.
    pub fn update<'a>(
        &self,
        members: impl Iterator<Item = &'a Member>,
        removed: impl Iterator<Item = MemberId>,
    ) {
        for member in members {
            self.is_known(member.id, true);
            self.add(member.id, &member.peer_urls);
        }
        for id in removed {
            self.is_known(id, false);
            if self.shared.removed.write().insert(id)
                && let Some(peer) = self.shared.peers.write().remove(&id)
            {
                tracing::info!("removed-remote-peer-id" = format!("{:x}", id.0), "removed remote peer");
                self.let_go(&peer);
            }
        }
    }

    fn is_known(&self, id: MemberId, known: bool) {
        let labels = [self.shared.identity.member, id].map(|id| format!("{:x}", id.0));
        let gauge = &self.shared.metrics.handles.known_peers;
        gauge.with_label_values(&[&labels[0], &labels[1]]).set(i64::from(known));
    }

    /// What is queued for a member that has left may still be told to it: its own removal, above all.
    fn let_go(&self, peer: &Arc<Peer>) {
        let (stop, counts) = (peer.stop.clone(), peer.counts.clone());
        self.shared.runtime.spawn(async move {
            tokio::time::sleep(limits::PEER_LET_GO).await;
            stop.cancel();
            counts.active.set(0);
        });
    }

    /// A member at these URLs, known or not. Those that are no URLs are left out.
    pub fn add(&self, id: MemberId, urls: &[String]) {
        if id == self.shared.identity.member || self.shared.removed.read().contains(&id) {
            return;
        }
        let urls: Vec<EndpointUrl> = urls.iter().filter_map(|url| url.parse().ok()).collect();
        let mut peers = self.shared.peers.write();
        if let Some(peer) = peers.get(&id) {
            return peer.moved(urls);
        }
        let shared = &self.shared;
        let counts = PeerCounts::new(&shared.metrics.handles, shared.identity.member, id);
        let (peer, queues) = Peer::new(id, urls, shared.stop.child_token(), counts, shared.read_timeout / 3);
        tracing::info!("remote-peer-id" = format!("{:x}", id.0), "started remote peer");
        peers.insert(id, peer.clone());
        drop(peers);
        self.shared.runtime.spawn(post::run(self.clone(), peer.clone(), queues.posts));
        self.shared.runtime.spawn(post::run(self.clone(), peer.clone(), queues.appends));
        if self.shared.inbound.get().is_some() {
            self.read_from(&peer);
        }
    }

    /// A sender whose membership this member has not applied yet: it can be answered all the same. Whoever knows the id of the cluster
    /// can say so, so their number has a bound.
    fn add_stranger(&self, id: MemberId, urls: &[String]) {
        let is_new = {
            let peers = self.shared.peers.read();
            !peers.contains_key(&id) && peers.len() < limits::PEERS_MAX
        };
        if is_new {
            self.add(id, urls);
        }
    }

    fn read_from(&self, peer: &Arc<Peer>) {
        for kind in [StreamKind::Message, StreamKind::Append] {
            self.shared.runtime.spawn(reader::run(self.clone(), peer.clone(), kind));
        }
        self.shared.runtime.spawn(probe::run(self.clone(), peer.clone()));
    }

    /// Sends a message, at once or not at all. A snapshot goes with [`Peers::send_snapshot`].
    ///
    /// # Errors
    /// [`NotSent`]: the message is dropped.
    pub fn send(&self, message: Message) -> Result<(), NotSent> {
        let peer = self.shared.peers.read().get(&message.to).cloned();
        peer.ok_or(NotSent)?.send(message).map_err(|_| NotSent)
    }

    /// Since when a member is reached without a break.
    #[must_use]
    pub fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.shared.peers.read().get(&id)?.active_since()
    }

    /// Asks another member something beside Raft.
    ///
    /// # Errors
    /// [`DialError`] of the last of its URLs.
    pub async fn ask(
        &self,
        id: MemberId,
        method: Method,
        path: &str,
        body: bytes::Bytes,
        within: Duration,
    ) -> Result<Answer, DialError> {
        let urls = self.shared.peers.read().get(&id).map(|peer| peer.urls()).unwrap_or_default();
        let mut outcome = Err(DialError::NoUrl);
        for url in urls {
            let request =
                request(method.clone(), path, Some(&self.shared.identity), Body::from(body.clone()))?;
            outcome = self.shared.dialer.ask(&url, request, within).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Runs something beside Raft until it is done or the process ends.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.shared.runtime.spawn(work);
    }

    /// Closes everything.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.shared.removed.read().contains(&id)
    }

    fn inbound(&self) -> Option<&Arc<dyn Inbound>> {
        self.shared.inbound.get()
    }

    /// The body of a stream that a member has asked for, if it is known.
    fn attach(&self, id: MemberId, kind: StreamKind) -> Option<StreamBody> {
        let peer = self.shared.peers.read().get(&id).cloned()?;
        peer.is_heard();
        Some(peer.attach(kind))
    }

    /// Takes the place of another member, which must be known. What is called then tells what has been said to it since, appends last.
    /// Called in a runtime.
    #[cfg(test)]
    pub(crate) fn overhear(&self, id: MemberId) -> Box<dyn FnMut() -> Vec<Message>> {
        let kinds = [StreamKind::Message, StreamKind::Append];
        let mut streams = kinds.map(|kind| self.attach(id, kind).expect("it is known"));
        Box::new(move || {
            streams.iter_mut().flat_map(|stream| std::iter::from_fn(|| stream.overhear())).collect()
        })
    }

    /// What is counted of a member, if it is known.
    fn counts(&self, id: MemberId) -> Option<PeerCounts> {
        Some(self.shared.peers.read().get(&id)?.counts.clone())
    }

    /// Tells the node that a message to a member was lost.
    fn lost(&self, peer: &Peer, error: &dyn std::fmt::Display) {
        peer.counts.sent_failures.inc();
        peer.is_lost(error);
        if let Some(inbound) = self.inbound() {
            inbound.unreachable(peer.id);
        }
    }
}

/// The message was not sent, and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSent;
