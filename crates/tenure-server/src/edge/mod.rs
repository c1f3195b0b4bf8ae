//! Listeners and connections: one port for gRPC, HTTP/1.1 and HTTP/2.
//!
//! [`Edge::bind`] takes the sockets, [`Edge::serve`] puts services behind them. A request that is gRPC goes to the gRPC
//! service, any other to the [`Endpoints`]. Each connection is a task; each stream of HTTP/2 is one too.

mod authority;
mod call;
mod coalesce;
mod connection;
mod framing;
mod listener;
mod transport;

pub use call::{AnswerBody, RequestBody};
pub use coalesce::Coalesced;
pub use listener::{Admitted, BindError, Listener, Role, admit};
pub use transport::{Remote, Transport};

use crate::{
    config::{EndpointUrl, ServerConfig},
    http::{Endpoints, HealthSource},
    limits,
    metrics::{Metrics, descriptors_limit},
    tls,
};
use connection::{Connections, Services};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, fmt, future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tonic::{body::Body, transport::Channel};

/// A gRPC service that the edge can serve: tonic's `Routes`, or a dispatch by hand. It must always be ready, and cheap to
/// clone: each call has a clone.
pub trait GrpcService:
    tower::Service<
        http::Request<RequestBody>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Future<Output = Result<http::Response<Body>, Infallible>> + Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: tower::Service<
            http::Request<RequestBody>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Future<Output = Result<http::Response<Body>, Infallible>> + Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Sockets that are bound and not yet served: clients connect and wait.
#[derive(Debug)]
pub struct Edge {
    listeners: Vec<Listener>,
    connections_max: usize,
}

impl Edge {
    /// Binds every URL of a configuration; with none, the in-process channel is the only way in.
    ///
    /// # Errors
    /// The first URL that cannot be bound. Those before it are given back.
    pub async fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        let (limit, reserved) = (descriptors_limit(), limits::RESERVED_DESCRIPTORS);
        if limit <= reserved {
            return Err(BindError::Descriptors { limit, reserved });
        }
        let shared = config.listen_client_http_urls.is_empty();
        let for_clients = if shared { Role::Both } else { Role::Grpc };
        let groups = [
            (&config.listen_client_urls, for_clients),
            (&config.listen_client_http_urls, Role::Http),
            (&config.listen_metrics_urls, Role::Metrics),
        ];
        let connections_max = usize::try_from(limit - reserved).unwrap_or(usize::MAX);
        let tls = tls::for_clients(config, connections_max / 2)?;
        let mut listeners = Vec::new();
        for (urls, role) in groups {
            for url in urls {
                listeners.push(Listener::bind(url, role, config.socket, tls.as_ref()).await?);
            }
        }
        Ok(Self { listeners, connections_max })
    }

    /// What clients of gRPC can dial, with the ports that the system chose.
    #[must_use]
    pub fn client_urls(&self) -> Vec<EndpointUrl> {
        let grpc = self.listeners.iter().filter(|listener| matches!(listener.role, Role::Both | Role::Grpc));
        grpc.map(|listener| listener.url.clone()).collect()
    }

    /// The bound TCP addresses of one kind of listener.
    #[must_use]
    pub fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        self.listeners.iter().filter(|listener| listener.role == role).filter_map(Listener::address).collect()
    }

    /// Begins to serve. Must be called in a tokio runtime.
    ///
    /// * `grpc`: the gRPC services.
    /// * `endpoints`: the plain HTTP endpoints.
    pub fn serve<G: GrpcService, H: HealthSource>(
        self,
        grpc: G,
        endpoints: Endpoints<H>,
        metrics: Arc<Metrics>,
        config: &ServerConfig,
    ) -> Serving {
        let services = Services::new(grpc, endpoints, metrics, config);
        let connections = Connections::new(services, config, self.connections_max);
        tracing::info!("ready to serve client requests");
        for listener in self.listeners {
            connections.listen(listener);
        }
        Serving { connections: Arc::new(connections) }
    }
}

/// What [`Serving`] needs of its connections, whatever the services are.
trait AnyConnections: Send + Sync {
    fn connect(&self, near: tokio::io::DuplexStream);
    fn stop(&self, grace: Duration) -> futures::future::BoxFuture<'_, ()>;
}

/// A running edge. Dropped without [`Serving::stop`] it closes its connections at once.
pub struct Serving {
    connections: Arc<dyn AnyConnections>,
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

impl Serving {
    /// A channel to the same services without a socket. It connects when it is first used, and fails once the edge has
    /// stopped. Must be called in a tokio runtime.
    #[must_use]
    pub fn in_process(&self) -> Channel {
        let connections = Arc::downgrade(&self.connections);
        let connector = tower::service_fn(move |_: http::Uri| {
            let connected = match connections.upgrade() {
                Some(connections) => {
                    let (near, far) = tokio::io::duplex(limits::IN_PROCESS_BYTES_MAX);
                    connections.connect(far);
                    Ok(TokioIo::new(near))
                }
                None => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
            };
            std::future::ready(connected)
        });
        tonic::transport::Endpoint::from_static("http://in-process")
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .connect_with_connector_lazy(connector)
    }

    /// Stops: no new connection, no new request; what has begun may end.
    ///
    /// * `grace`: how long that may take; then connections are closed.
    pub async fn stop(self, grace: Duration) {
        self.connections.stop(grace).await;
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
