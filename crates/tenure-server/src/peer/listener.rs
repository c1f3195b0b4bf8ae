//! The sockets of the peer port.

use super::Peers;
use super::http::router;
use super::timed::Timed;
use crate::config::{EndpointUrl, ServerConfig};
use crate::edge::{BindError, Listener, Role, Transport, admit};
use crate::limits;
use crate::member::Member;
use crate::tls::PeerTls;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Sockets that are bound and not yet served: members connect and wait.
#[derive(Debug)]
pub struct PeerListeners {
    listeners: Vec<Listener>,
    write_timeout: Duration,
}

/// A served peer port. It stops when it is dropped.
#[derive(Debug)]
pub struct PeerServing {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl PeerListeners {
    /// Binds `--listen-peer-urls`.
    ///
    /// # Errors
    /// The first URL that cannot be bound.
    pub async fn bind(config: &ServerConfig, tls: &PeerTls) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for url in &config.listen_peer_urls {
            listeners.push(Listener::bind(url, Role::Http, config.socket, tls.acceptor.as_ref()).await?);
        }
        Ok(Self { listeners, write_timeout: config.raft_write_timeout })
    }

    /// What is bound, with the ports that the system chose.
    #[must_use]
    pub fn urls(&self) -> Vec<EndpointUrl> {
        self.listeners.iter().map(|listener| listener.url.clone()).collect()
    }

    /// Begins to serve. Must be called in a tokio runtime.
    #[must_use]
    pub fn serve(self, member: &Member, peers: &Peers) -> PeerServing {
        let serving = PeerServing { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let admission = Arc::new(Semaphore::new(limits::PEER_CONNECTIONS_MAX));
        for listener in self.listeners {
            tracing::info!(address = %listener.url, "serving peer traffic");
            let accepting = Accepting {
                router: router(member.clone(), peers.clone()),
                admission: admission.clone(),
                write_timeout: self.write_timeout,
                stop: serving.stop.clone(),
                tasks: serving.tasks.clone(),
            };
            serving.tasks.spawn(async move { accepting.run(&listener).await });
        }
        serving
    }
}

impl PeerServing {
    /// Closes all connections.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for PeerServing {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Accepting {
    router: Router,
    admission: Arc<Semaphore>,
    write_timeout: Duration,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self, listener: &Listener) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(async {
            loop {
                let Ok(permit) = self.admission.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((transport, remote)) => {
                        let (router, tls) = (self.router.clone(), listener.tls().cloned());
                        let (stop, write_timeout) = (self.stop.clone(), self.write_timeout);
                        self.tasks.spawn(async move {
                            let admitting = admit(transport, remote, tls.as_ref());
                            if let Some(Some(admitted)) = stop.run_until_cancelled(admitting).await {
                                let io = Timed::new(admitted.transport, write_timeout);
                                serve_connection(router, io, stop).await;
                            }
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection of another member");
                        tokio::time::sleep(limits::ACCEPT_RETRY_PAUSE).await;
                    }
                }
            }
        })
        .await;
    }
}

async fn serve_connection(router: Router, io: Timed<Transport>, stop: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::HEADER_READ_TIMEOUT);
    let serving = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    if let Some(Err(error)) = stop.run_until_cancelled(serving).await {
        tracing::debug!(%error, "connection of another member ended");
    }
}
