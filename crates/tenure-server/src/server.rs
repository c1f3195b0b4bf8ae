//! The server that other programs embed: a member with its gRPC and HTTP edge.

use crate::config::ServerConfig;
use crate::member::{self, BootError, Member, Running};
use crate::metrics::Metrics;
use crate::rpc;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tenure_api::error::EtcdError;
use tenure_core::command::{Command, MemberAttributesSet};
use tenure_core::state::Halt;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// A running server. Dropping it without [`Server::shutdown`] leaves its threads running until the process ends.
pub struct Server {
    member: Member,
    metrics: Arc<Metrics>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
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
    /// An address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
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
        let metrics = Metrics::new(config.metrics).map_err(|error| StartError::Metrics(error.to_string()))?;
        let (boot_config, boot_metrics) = (config.clone(), metrics.clone());
        let booted = tokio::task::spawn_blocking(move || member::boot(boot_config, boot_metrics)).await;
        let Running { member, threads } = match booted {
            Ok(booted) => booted?,
            Err(error) => return Err(StartError::Halted(Halt(error.to_string()))),
        };
        metrics.identify(member.id(), &config.features);
        let server = Self { member, metrics, threads, stop: CancellationToken::new() };
        server.get_ready(&config).await?;
        server.listen(&config).await?;
        Ok(server)
    }

    /// Waits until the cluster version is decided and publishes the member's name and URLs.
    async fn get_ready(&self, config: &ServerConfig) -> Result<(), StartError> {
        let client_urls = match config.advertise_client_urls.is_empty() {
            true => &config.listen_client_urls,
            false => &config.advertise_client_urls,
        };
        let attributes = MemberAttributesSet {
            member: self.member.id(),
            name: config.name.clone(),
            client_urls: client_urls.iter().map(ToString::to_string).collect(),
        };
        let published = self.member.propose(Command::MemberAttributesSet(attributes)).await;
        published.map_err(|error| self.not_ready(error))?;
        let version = self.member.cluster_version_decided().await.map_err(|error| self.not_ready(error))?;
        self.metrics.set_cluster_version(version.trim_end_matches(".0"));
        Ok(())
    }

    fn not_ready(&self, error: EtcdError) -> StartError {
        match self.member.halted().borrow().clone() {
            Some(halt) => StartError::Halted(halt),
            None => StartError::NotReady(error),
        }
    }

    async fn listen(&self, config: &ServerConfig) -> Result<(), StartError> {
        let routes = rpc::routes(&self.member).map_err(|error| StartError::Services(error.to_string()))?;
        let router = routes.prepare().into_axum_router();
        for url in &config.listen_client_urls {
            let address = url.address().to_owned();
            let listener = tokio::net::TcpListener::bind(&address)
                .await
                .map_err(|source| StartError::Listen { address: address.clone(), source })?;
            tracing::info!(address, "serving client traffic");
            let stop = self.stop.clone();
            let serve = axum::serve(listener, router.clone())
                .with_graceful_shutdown(async move { stop.cancelled().await });
            self.member.tasks().spawn(async move { serve.await.ok() });
        }
        Ok(())
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
        self.stop.cancel();
        self.member.stop();
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| Halt("a thread panicked".into())))
        });
        let joined = joined.await.unwrap_or_else(|error| Err(Halt(error.to_string())));
        self.member.tasks().close();
        // Streams end once the member has stopped; one whose client does not read any more is left behind.
        tokio::time::timeout(Duration::from_secs(1), self.member.tasks().wait()).await.ok();
        let halt = halted.borrow().clone();
        match (halt, joined) {
            (Some(halt), _) | (None, Err(halt)) => Err(Halted(halt)),
            (None, Ok(())) => Ok(()),
        }
    }
}
