//! The plain HTTP endpoints beside gRPC: `/health`, `/livez`, `/readyz`, `/version`, `/metrics` and `/debug/vars`.
//!
//! What they say of the member they learn through [`HealthSource`].

mod access;
mod checks;
mod query;

pub use access::AccessPolicy;

use crate::{
    config::{ServerConfig, help::ETCD_VERSION},
    metrics::{CONTENT_TYPE, Metrics, descriptors_limit},
};
use bytes::Bytes;
use checks::{Check, LIVEZ, READYZ};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use query::Query;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tenure_api::error::EtcdError;
use tenure_core::command::AlarmType;
use tonic::body::Body;

/// What the endpoints ask the member.
pub trait HealthSource: Send + Sync + 'static {
    /// Reads one key from this member's own state.
    fn serializable_read(&self) -> impl Future<Output = Result<(), EtcdError>> + Send;

    /// Reads one key as the whole cluster has it.
    fn linearizable_read(&self) -> impl Future<Output = Result<(), EtcdError>> + Send;

    /// The alarms that are raised, of whichever member.
    fn alarms(&self) -> Vec<AlarmType>;

    /// Whether the cluster has a leader.
    fn has_leader(&self) -> bool;

    /// Whether this member is a learner.
    fn is_learner(&self) -> bool;

    /// What the cluster and its data have agreed on.
    fn versions(&self) -> Versions;

    /// What Raft says of itself, for `/debug/vars`.
    fn raft_status(&self) -> serde_json::Value;
}

/// Versions as `/version` prints them, `3.7.0` for 3.7.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The cluster's; nothing until it is decided.
    pub cluster: Option<String>,
    /// The data's; nothing until it is known.
    pub storage: Option<String>,
}

/// Which of the endpoints a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, behind the access policy.
    Clients,
    /// All, behind the access policy except for the names of hosts: a certificate says who is spoken to.
    SecureClients,
    /// Metrics and health alone, open to everybody: `--listen-metrics-urls`.
    Metrics,
}

/// The endpoints of one listener, as a service.
pub struct Endpoints<H> {
    shared: Arc<Shared<H>>,
    scope: Scope,
}

struct Shared<H> {
    source: Arc<H>,
    metrics: Arc<Metrics>,
    access: AccessPolicy,
    read_timeout: Duration,
}

impl<H> Clone for Endpoints<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: self.scope }
    }
}

impl<H> std::fmt::Debug for Endpoints<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// An answer whose body is already there.
type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";

impl<H: HealthSource> Endpoints<H> {
    /// The endpoints for clients.
    ///
    /// * `source`: the member.
    /// * `config`: who may call, and how long a read may take.
    #[must_use]
    pub fn new(source: Arc<H>, metrics: Arc<Metrics>, config: &ServerConfig) -> Self {
        let access = AccessPolicy::new(config.cors.clone(), config.host_whitelist.clone());
        let shared = Shared { source, metrics, access, read_timeout: config.request_timeout() };
        Self { shared: Arc::new(shared), scope: Scope::Clients }
    }

    /// The same endpoints for another kind of listener.
    #[must_use]
    pub fn with_scope(&self, scope: Scope) -> Self {
        Self { shared: Arc::clone(&self.shared), scope }
    }

    /// Answers one request. Bodies of requests are not read.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer {
        let (parts, _) = request.into_parts();
        if self.scope == Scope::Metrics {
            return self.route(&parts).await;
        }
        match self.shared.access.admit(&parts, self.scope == Scope::SecureClients) {
            Err(refusal) => *refusal,
            Ok(admitted) => {
                let mut answer = if parts.method == Method::OPTIONS {
                    Response::new(Full::default())
                } else {
                    self.route(&parts).await
                };
                admitted.mark(answer.headers_mut());
                answer
            }
        }
    }

    async fn route(&self, request: &http::request::Parts) -> Answer {
        let path = request.uri.path();
        let for_clients = self.scope != Scope::Metrics;
        match path {
            "/metrics" => return self.metrics(),
            "/health" | "/livez" | "/readyz" => {}
            "/version" | "/debug/vars" if for_clients => {}
            _ if Check::of_path(path).is_some() => {}
            _ => return error(StatusCode::NOT_FOUND, "404 page not found"),
        }
        if request.method != Method::GET {
            if for_clients && matches!(path, "/health" | "/livez" | "/readyz") {
                tracing::warn!(path, "status-code" = 405, "Health request error");
            }
            let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        let query = Query::of(request.uri.query());
        match path {
            "/health" => self.health(&query).await,
            "/livez" => self.checks(path, &LIVEZ, Some(&query), query.has("verbose")).await,
            "/readyz" => self.checks(path, &READYZ, Some(&query), query.has("verbose")).await,
            "/version" => self.version(),
            "/debug/vars" => self.variables(),
            _ => match Check::of_path(path) {
                Some(check) => self.checks(path, &[check], None, query.has("verbose")).await,
                None => error(StatusCode::NOT_FOUND, "404 page not found"),
            },
        }
    }

    async fn health(&self, query: &Query<'_>) -> Answer {
        let reason = self.unhealthy(query).await;
        let handles = &self.shared.metrics.handles;
        let is_healthy = reason.is_none();
        let body = serde_json::json!({
            "health": if is_healthy { "true" } else { "false" },
            "reason": reason.unwrap_or_default(),
        })
        .to_string();
        if is_healthy {
            handles.health_success.inc();
            tracing::debug!("status-code" = 200, "/health OK");
            return content(TEXT, body);
        }
        handles.health_failures.inc();
        tracing::warn!(output = body, "status-code" = 503, "/health error");
        error(StatusCode::SERVICE_UNAVAILABLE, &body)
    }

    /// Why the member is not healthy: alarms first, then the leader, then a read.
    async fn unhealthy(&self, query: &Query<'_>) -> Option<String> {
        let source = &self.shared.source;
        let excluded: Vec<_> = query.all("exclude").collect();
        let raised = source.alarms();
        if let Some(alarm) =
            raised.iter().find(|alarm| !excluded.iter().any(|name| *name == alarm_name(**alarm)))
        {
            return Some(format!("ALARM {}", alarm_name(*alarm)));
        }
        let serializable = query.first("serializable").is_some_and(|value| value == "true");
        if !serializable && !source.has_leader() {
            return Some("RAFT NO LEADER".to_owned());
        }
        let check = if serializable { Check::SerializableRead } else { Check::LinearizableRead };
        check.run(&**source, self.shared.read_timeout).await.err().map(|error| format!("RANGE ERROR:{error}"))
    }

    /// Runs checks one after the other.
    ///
    /// * `query`: where to look for checks to leave out; a single check cannot be left out.
    async fn checks(&self, path: &str, checks: &[Check], query: Option<&Query<'_>>, verbose: bool) -> Answer {
        let excluded: Vec<_> = query.map(|query| query.all("exclude").collect()).unwrap_or_default();
        let unknown: Vec<_> =
            excluded.iter().filter(|name| !checks.iter().any(|check| check.name() == **name)).collect();
        if !unknown.is_empty() {
            tracing::warn!("missing-health-checks" = ?unknown, "some health checks cannot be excluded");
        }
        let kind = if path.starts_with("/livez") { "livez" } else { "readyz" };
        let mut lines = String::new();
        let mut failed = false;
        for check in checks.iter().filter(|check| !excluded.iter().any(|name| *name == check.name())) {
            let outcome = check.run(&*self.shared.source, self.shared.read_timeout).await;
            self.record(kind, check.name(), outcome.is_ok());
            lines += &match outcome {
                Ok(()) => format!("[+]{} ok\n", check.name()),
                Err(reason) => format!("[-]{} failed: {reason}\n", check.name()),
            };
            failed |= lines.lines().last().is_some_and(|line| line.starts_with("[-]"));
        }
        if failed {
            tracing::error!(path, reason = lines, "status-code" = 503, "Health check error");
            return error(StatusCode::SERVICE_UNAVAILABLE, &lines);
        }
        let mut answer = content(TEXT, if verbose { lines + "ok\n" } else { "ok\n".to_owned() });
        answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    fn record(&self, kind: &str, name: &str, ok: bool) {
        let handles = &self.shared.metrics.handles;
        let status = if ok { "success" } else { "error" };
        handles.healthcheck.with_label_values(&[kind, name]).set(i64::from(ok));
        handles.healthchecks.with_label_values(&[kind, name, status]).inc();
    }

    fn version(&self) -> Answer {
        content("application/json", version_json(&self.shared.source.versions()))
    }

    fn metrics(&self) -> Answer {
        let metrics = &self.shared.metrics;
        metrics.handles.scrapes_in_flight.inc();
        let encoded = metrics.encode();
        metrics.handles.scrapes_in_flight.dec();
        let code = if encoded.is_ok() { "200" } else { "500" };
        metrics.handles.scrapes.with_label_values(&[code]).inc();
        match encoded {
            Ok(text) => content(CONTENT_TYPE, text),
            Err(reason) => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("An error has occurred while serving metrics:\n\n{reason}"),
            ),
        }
    }

    /// The variables that etcd publishes, but for `memstats`, which is of Go's runtime.
    fn variables(&self) -> Answer {
        let arguments: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let entries = [
            ("cmdline", serde_json::json!(arguments)),
            ("file_descriptor_limit", serde_json::json!(descriptors_limit())),
            ("raft.status", self.shared.source.raft_status()),
        ];
        let lines: Vec<String> = entries.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        content("application/json; charset=utf-8", format!("{{\n{}\n}}\n", lines.join(",\n")))
    }
}

/// The body of `/version`, on client and peer port alike.
#[must_use]
pub fn version_json(versions: &Versions) -> String {
    let (cluster, storage) = (versions.cluster.as_deref(), versions.storage.as_deref());
    format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{}","storage":"{}"}}"#,
        cluster.unwrap_or("not_decided"),
        storage.unwrap_or("unknown")
    )
}

fn alarm_name(alarm: AlarmType) -> &'static str {
    match alarm {
        AlarmType::NoSpace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
    }
}

fn content(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// An error as Go's `http.Error` writes it: plain text and a line feed.
fn error(status: StatusCode, text: &str) -> Answer {
    let mut answer = content(TEXT, format!("{text}\n"));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

impl<H: HealthSource, B: Send + 'static> tower::Service<Request<B>> for Endpoints<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let endpoints = self.clone();
        Box::pin(async move { Ok(endpoints.answer(request).await.map(Body::new)) })
    }
}

#[cfg(test)]
mod tests;
