//! The server that other programs embed: a member with its gRPC and HTTP edge.

use crate::auth::Caller;
use crate::auto_compact;
use crate::config::{EndpointUrl, ServerConfig};
use crate::corruption;
use crate::edge::{BindError, Edge, Serving};
use crate::http::Endpoints;
use crate::limits;
use crate::member::{self, BootError, Member, Running};
use crate::metrics::Metrics;
use crate::peer::{self, Dialer, Network, PeerListeners, PeerServing};
use crate::rpc;
use crate::tls::PeerTls;
use std::sync::Arc;
use std::thread::JoinHandle;
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, MemberAttributesSet};
use tenure_core::state::Halt;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// A running server. Dropping it without [`Server::shutdown`] leaves its threads running until the process ends.
pub struct Server {
    member: Member,
    metrics: Arc<Metrics>,
    threads: Vec<JoinHandle<()>>,
    serving: Serving,
    peer_serving: PeerServing,
    peer_urls: Vec<EndpointUrl>,
    versions: tokio::task::JoinHandle<()>,
    client_urls: Vec<EndpointUrl>,
    auto_compaction: AbortHandle,
    /// What is looked after while the member serves.
    duties: Vec<tokio::task::JoinHandle<()>>,
}

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The member does not start.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The member started but does not get ready.
    #[error("the member does not get ready: {0}")]
    NotReady(EtcdError),
    /// The member stopped while it started.
    #[error("the member stopped while it started: {0}")]
    Halted(Halt),
    /// A URL cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The metrics contradict each other.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The services cannot be described for reflection.
    #[error("services: {0}")]
    Services(String),
}

/// The member had to stop by itself: it cannot vouch for what it would answer.
#[derive(Clone, Debug, Error)]
#[error("the member stopped: {0}")]
pub struct Halted(pub Halt);

impl Server {
    /// Starts a member and serves it. Comes back when it is ready: it leads, its cluster version is decided, and its listeners take
    /// connections.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let edge = Edge::bind(&config).await?;
        let peer_tls = PeerTls::new(&config).map_err(BindError::from)?;
        let peer_listeners = PeerListeners::bind(&config, &peer_tls).await?;
        let peer_urls = peer_listeners.urls();
        let client_urls = edge.client_urls();
        let metrics = Metrics::new(config.metrics).map_err(|error| StartError::Metrics(error.to_string()))?;
        let (boot_config, boot_metrics) = (config.clone(), metrics.clone());
        let given_up = CancellationToken::new();
        let _gives_up = given_up.clone().drop_guard();
        let dialer = Dialer::new(&config, peer_tls.connector);
        let network = Network { runtime: Handle::current(), dialer, given_up };
        let booting = tokio::task::spawn_blocking(move || member::boot(boot_config, boot_metrics, &network));
        let booted = booting.await;
        let Running { member, threads } = match booted {
            Ok(booted) => booted?,
            Err(error) => return Err(StartError::Halted(Halt(error.to_string()))),
        };
        metrics.identify(member.id(), &config.features);
        // The others are served first: without them there is no leader, and nothing to get ready with.
        let peer_serving = peer_listeners.serve(&member, member.peers());
        let versions = tokio::spawn(peer::watch_versions(member.clone(), member.peers().clone()));
        let advertised = match config.advertise_client_urls.is_empty() {
            true => &client_urls,
            false => &config.advertise_client_urls,
        };
        prepare(&member, &config.name, advertised).await?;
        let routes = rpc::routes(&member).map_err(|error| StartError::Services(error.to_string()))?;
        let endpoints = Endpoints::new(Arc::new(member.clone()), metrics.clone(), &config);
        let services = rpc::gate::Gate::new(member.clone(), routes);
        let serving = edge.serve(services, endpoints, metrics.clone(), &config);
        let auto_compaction =
            tokio::spawn(auto_compact::run(member.clone(), config.auto_compaction)).abort_handle();
        let downgrade =
            peer::watch_downgrade(member.clone(), member.peers().clone(), config.downgrade_check_time);
        let corruption = corruption::watch(member.clone(), config.clone());
        let duties = vec![tokio::spawn(corruption), tokio::spawn(downgrade)];
        Ok(Self {
            member,
            metrics,
            threads,
            serving,
            peer_serving,
            peer_urls,
            versions,
            client_urls,
            auto_compaction,
            duties,
        })
    }

    /// A channel to this server that needs no socket. It fails once the server has stopped.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.serving.in_process()
    }

    /// Where clients find this server, with the ports that the system chose.
    #[must_use]
    pub fn client_urls(&self) -> &[EndpointUrl] {
        &self.client_urls
    }

    /// Where other members find this server, with the ports that the system chose.
    #[must_use]
    pub fn peer_urls(&self) -> &[EndpointUrl] {
        &self.peer_urls
    }

    /// The member, for what only a program that embeds it can ask.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The metrics of this server.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Waits until the member has to stop by itself.
    pub async fn halted(&self) -> Halted {
        let mut halted = self.member.halted();
        let halt = halted.wait_for(Option::is_some).await.ok().and_then(|halt| halt.clone());
        Halted(halt.unwrap_or_else(|| Halt("its threads ended".into())))
    }

    /// Stops: the leadership goes to another member, no more connections, what leases have left is noted, a last checkpoint is made.
    ///
    /// # Errors
    /// [`Halted`] if the member had to stop by itself.
    pub async fn shutdown(self) -> Result<(), Halted> {
        let halted = self.member.halted();
        // Streams end when the hub closes, and what waits for an answer gets one.
        self.auto_compaction.abort();
        self.duties.iter().for_each(tokio::task::JoinHandle::abort);
        self.member.hand_over().await;
        self.member.stop();
        self.serving.stop(limits::SHUTDOWN_GRACE).await;
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| Halt("a thread panicked".into())))
        });
        let joined = joined.await.unwrap_or_else(|error| Err(Halt(error.to_string())));
        self.versions.abort();
        // They hold the member, and with it the lock of the data directory.
        self.versions.await.ok();
        futures::future::join_all(self.duties).await;
        self.peer_serving.stop().await;
        self.member.tasks().close();
        // Streams end once the member has stopped; one whose client does not read any more is left behind.
        tokio::time::timeout(limits::STREAMS_END_GRACE, self.member.tasks().wait()).await.ok();
        let halt = halted.borrow().clone();
        match (halt, joined) {
            (Some(halt), _) | (None, Err(halt)) => Err(Halted(halt)),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Publishes the member's name and URLs and waits until the version of the cluster is decided.
async fn prepare(member: &Member, name: &str, client_urls: &[EndpointUrl]) -> Result<String, StartError> {
    let attributes = MemberAttributesSet {
        member: member.id(),
        name: name.to_owned(),
        client_urls: client_urls.iter().map(ToString::to_string).collect(),
    };
    let ready = async {
        // First what the log holds beyond the store: while it is applied, commands are refused if it is much.
        until_done(member, || member.linearize(), "still applying the log, or waiting for a leader").await?;
        let publish = || member.propose(&Caller::Member, Command::MemberAttributesSet(attributes.clone()));
        until_done(member, publish, "still publishing the name and URLs of this member").await?;
        until_done(
            member,
            || member.cluster_version_decided(),
            "the version of the cluster is not decided yet",
        )
        .await
    };
    ready.await.map_err(|error| match member.halted().borrow().clone() {
        Some(halt) => StartError::Halted(halt),
        None => StartError::NotReady(error),
    })
}

/// Tries again while there is no leader, or none that answers: the others may take as long as they like to start.
async fn until_done<T, F: Future<Output = Result<T, EtcdError>>>(
    member: &Member,
    attempt: impl Fn() -> F,
    waiting: &str,
) -> Result<T, EtcdError> {
    loop {
        match attempt().await {
            Err(_) if member.halted().borrow().is_some() => return Err(EtcdError::Stopped),
            Err(
                error @ (EtcdError::Timeout
                | EtcdError::TimeoutDueToLeaderFail
                | EtcdError::TimeoutDueToConnectionLost
                | EtcdError::RequestTooManyRequests
                | EtcdError::NoLeader
                | EtcdError::LeaderChanged),
            ) => {
                tracing::info!(%error, "{waiting}");
                tokio::time::sleep(limits::START_RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
