//! The server that other programs embed: a member with its gRPC and HTTP edge.

use crate::auth::Caller;
use crate::auto_compact;
use crate::config::{EndpointUrl, ServerConfig};
use crate::edge::{BindError, Edge, Serving};
use crate::http::Endpoints;
use crate::limits;
use crate::member::{self, BootError, Member, Running};
use crate::metrics::Metrics;
use crate::rpc;
use crate::tls::PeerTls;
use std::sync::Arc;
use std::thread::JoinHandle;
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, MemberAttributesSet};
use tenure_core::state::Halt;
use thiserror::Error;
use tokio::task::AbortHandle;
use tonic::transport::Channel;

/// A running server. Dropping it without [`Server::shutdown`] leaves its threads running until the process ends.
pub struct Server {
    member: Member,
    metrics: Arc<Metrics>,
    threads: Vec<JoinHandle<()>>,
    serving: Serving,
    client_urls: Vec<EndpointUrl>,
    auto_compaction: AbortHandle,
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
        // Nobody dials yet, but what is wrong with the files is wrong now.
        PeerTls::new(&config).map_err(BindError::from)?;
        let client_urls = edge.client_urls();
        let metrics = Metrics::new(config.metrics).map_err(|error| StartError::Metrics(error.to_string()))?;
        let (boot_config, boot_metrics) = (config.clone(), metrics.clone());
        let booted = tokio::task::spawn_blocking(move || member::boot(boot_config, boot_metrics)).await;
        let Running { member, threads } = match booted {
            Ok(booted) => booted?,
            Err(error) => return Err(StartError::Halted(Halt(error.to_string()))),
        };
        metrics.identify(member.id(), &config.features);
        let advertised = match config.advertise_client_urls.is_empty() {
            true => &client_urls,
            false => &config.advertise_client_urls,
        };
        let version = prepare(&member, &config.name, advertised).await?;
        metrics.set_cluster_version(version.strip_suffix(".0").unwrap_or(&version));
        let routes = rpc::routes(&member).map_err(|error| StartError::Services(error.to_string()))?;
        let endpoints = Endpoints::new(Arc::new(member.clone()), metrics.clone(), &config);
        let serving = edge.serve(routes.prepare(), endpoints, metrics.clone(), &config);
        let auto_compaction =
            tokio::spawn(auto_compact::run(member.clone(), config.auto_compaction)).abort_handle();
        Ok(Self { member, metrics, threads, serving, client_urls, auto_compaction })
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

    /// Stops: no more connections, what leases have left is noted, a last checkpoint is made.
    ///
    /// # Errors
    /// [`Halted`] if the member had to stop by itself.
    pub async fn shutdown(self) -> Result<(), Halted> {
        let halted = self.member.halted();
        // Streams end when the hub closes, and what waits for an answer gets one.
        self.auto_compaction.abort();
        self.member.stop();
        self.serving.stop(limits::SHUTDOWN_GRACE).await;
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| Halt("a thread panicked".into())))
        });
        let joined = joined.await.unwrap_or_else(|error| Err(Halt(error.to_string())));
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
        while let Err(error) = member.linearize().await {
            match error {
                EtcdError::Timeout => tracing::info!("still applying the log"),
                error => return Err(error),
            }
        }
        member.propose(&Caller::Member, Command::MemberAttributesSet(attributes)).await?;
        member.cluster_version_decided().await
    };
    ready.await.map_err(|error| match member.halted().borrow().clone() {
        Some(halt) => StartError::Halted(halt),
        None => StartError::NotReady(error),
    })
}
