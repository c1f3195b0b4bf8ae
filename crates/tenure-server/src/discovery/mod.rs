//! How the founders of a cluster find each other: through the registry that another cluster keeps for them.
//!
//! Each founder registers under the token of the cluster and waits until as many have as the registry wants. The keys are
//! etcd's, so founders of both kinds find each other:
//!
//! * `/_etcd/registry/TOKEN/_config/size`: how many founders; whoever hands out the token writes it.
//! * `/_etcd/registry/TOKEN/members/ID`: `NAME=URL,NAME=URL`; the first to register are the founders.

mod registry;

pub use registry::{Founders, cluster_text};

use crate::config::DiscoveryConfig;
use crate::limits;
use registry::{Keys, Registry, parse_size};
use std::time::Duration;
use tenure_client::{Client, ClientConfig, Code, Error, EventKind, Pem, TlsConfig};
use tenure_core::types::MemberId;

/// Why a member cannot find the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// As many founders as the registry wants have registered, and this member is not one.
    #[error("discovery: cluster is full")]
    Full,
    /// Nobody said how many founders there are.
    #[error("discovery: size key not found")]
    NoSize,
    /// The number of founders is none.
    #[error("discovery: size key is bad")]
    BadSize,
    /// What a founder registered holds no URL.
    #[error("discovery: invalid peer URL")]
    InvalidUrl,
    /// Two founders have one name.
    #[error("discovery: another member is named {0:?}; give every member a --name of its own")]
    DuplicateName(String),
    /// Two founders have one URL.
    #[error("discovery cluster {0} has duplicate url")]
    DuplicateUrl(String),
    /// The registry cannot be used, and trying again would not help.
    #[error("{0}")]
    Refused(String),
    /// The start was given up.
    #[error("the start was given up")]
    GivenUp,
}

/// Registers a member and waits for the other founders, as long as it takes.
///
/// * `own`: the id that this member has as a founder.
/// * `founder`: its name and URLs.
///
/// # Errors
/// [`DiscoveryError`]. A registry that does not answer is asked again and again.
pub async fn join(
    config: &DiscoveryConfig,
    own: MemberId,
    founder: &Founders,
) -> Result<Founders, DiscoveryError> {
    let keys = Keys::of(&config.token);
    let mut registrar = Registrar {
        client: connect(config).await?,
        own_key: format!("{}{:x}", keys.members, own.0),
        keys,
        name: founder.keys().next().cloned().unwrap_or_default(),
        text: cluster_text(founder),
        backoff: Backoff::default(),
    };
    registrar.check().await?;
    registrar.register().await?;
    let joined = registrar.wait().await;
    registrar.client.close();
    joined
}

async fn connect(config: &DiscoveryConfig) -> Result<Client, DiscoveryError> {
    let mut backoff = Backoff::default();
    loop {
        match Client::connect(client_config(config)).await {
            Ok(client) => return Ok(client),
            Err(error) => backoff.wait("connecting", error).await?,
        }
    }
}

fn client_config(config: &DiscoveryConfig) -> ClientConfig {
    let mut client = ClientConfig::new(config.endpoints.iter().cloned())
        .dial_timeout(config.dial_timeout)
        .request_timeout(config.request_timeout)
        .keep_alive(config.keepalive_interval, config.keepalive_timeout)
        .response_bytes_max(limits::DISCOVERY_ANSWER_BYTES_MAX);
    if let Some(tls) = &config.tls {
        let mut wanted = TlsConfig::default();
        if let Some(authorities) = &tls.authorities {
            wanted = wanted.trust(Pem::file(authorities));
        }
        if let Some((certificate, key)) = &tls.identity {
            wanted = wanted.identity(Pem::file(certificate), Pem::file(key));
        }
        if let Some(name) = &tls.server_name {
            wanted = wanted.server_name(name);
        }
        if tls.skips_verification {
            wanted = wanted.danger_skip_verification();
        }
        client = client.tls(wanted);
    }
    if let Some((user, password)) = &config.user {
        client = client.user(user, String::from_utf8_lossy(&password.0));
    }
    if let Some(token) = &config.auth_token {
        client = client.token(String::from_utf8_lossy(&token.0));
    }
    client
}

struct Registrar {
    client: Client,
    keys: Keys,
    own_key: String,
    name: String,
    text: String,
    backoff: Backoff,
}

impl Registrar {
    /// The registry as it is now, if this member has a place in it, and the revision after which it may change.
    async fn check(&mut self) -> Result<(Registry, i64), DiscoveryError> {
        let (registry, revision) = loop {
            match self.look().await {
                Ok(Ok(found)) => break found,
                Ok(Err(error)) => return Err(error),
                Err(error) => self.backoff.wait("cluster status check", error).await?,
            }
        };
        self.backoff = Backoff::default();
        registry.check(&self.own_key, &self.name)?;
        Ok((registry, revision))
    }

    async fn look(&self) -> Result<Result<(Registry, i64), DiscoveryError>, Error> {
        let size = self.client.get(self.keys.size.as_str()).await?;
        let size = match size.first() {
            Some(pair) => parse_size(&pair.value),
            None => Err(DiscoveryError::NoSize),
        };
        let mut registry = match size {
            Ok(size) => Registry::new(size),
            Err(error) => return Ok(Err(error)),
        };
        let members = self.client.get(self.keys.members.as_str()).prefix().await?;
        for pair in &members.kvs {
            take_up(&mut registry, &pair.key_text(), &pair.value_text(), pair.create_revision);
        }
        Ok(Ok((registry, members.header.revision)))
    }

    async fn register(&mut self) -> Result<(), DiscoveryError> {
        while let Err(error) = self.client.put(self.own_key.as_str(), self.text.as_str()).await {
            self.backoff.wait("register member itself", error).await?;
        }
        tracing::info!(
            "memberKey" = self.own_key,
            "memberInfo" = self.text,
            "register member itself successfully"
        );
        Ok(())
    }

    async fn wait(&mut self) -> Result<Founders, DiscoveryError> {
        loop {
            let (mut registry, revision) = self.check().await?;
            tracing::info!(
                "clusterSize" = registry.size(),
                "found-peers" = registry.len(),
                "waiting for peers from discovery service"
            );
            match self.follow(&mut registry, revision).await {
                Ok(()) => {
                    tracing::info!(
                        "clusterSize" = registry.size(),
                        "found-peers" = registry.len(),
                        "found all needed peers from discovery service"
                    );
                    return registry.founders();
                }
                Err(error) => self.backoff.wait("waiting for other nodes", error).await?,
            }
        }
    }

    /// Follows the registry until it is full.
    async fn follow(&self, registry: &mut Registry, revision: i64) -> Result<(), Error> {
        if registry.is_full() {
            return Ok(());
        }
        let watch = self.client.watch(self.keys.members.as_str()).prefix().start_revision(revision + 1);
        let mut changes = watch.await?;
        while !registry.is_full() {
            let response = changes.next().await.ok_or(Error::Closed)??;
            for event in response.events.iter().filter(|event| event.kind == EventKind::Put) {
                let pair = &event.kv;
                take_up(registry, &pair.key_text(), &pair.value_text(), pair.create_revision);
            }
        }
        Ok(())
    }
}

fn take_up(registry: &mut Registry, key: &str, text: &str, created: i64) {
    match registry.add(key, text, created) {
        Ok(()) => {
            tracing::info!("memberKey" = key, "memberInfo" = text, "found peer from discovery service");
        }
        Err(reason) => tracing::warn!("memberKey" = key, "memberInfo" = text, "{reason}"),
    }
}

/// The pauses between tries: twice as long each time, up to [`limits::DISCOVERY_PAUSE_MAX`].
#[derive(Debug, Default)]
struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Waits, if trying again can help.
    async fn wait(&mut self, step: &'static str, error: Error) -> Result<(), DiscoveryError> {
        if !can_pass(&error) {
            return Err(DiscoveryError::Refused(error.to_string()));
        }
        self.tries += 1;
        let pause = self.pause();
        tracing::warn!(reason = step, backoff = ?pause, %error, "retry connecting to discovery service");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(1 << self.tries.min(16)).min(limits::DISCOVERY_PAUSE_MAX)
    }
}

/// Whether it may go away without anybody changing the configuration.
fn can_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. }
        | Error::ConnectionLost { .. }
        | Error::Timeout { .. }
        | Error::Compacted { .. } => true,
        Error::Etcd { .. } | Error::Rpc { .. } => !matches!(
            error.code(),
            Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
                | Code::FailedPrecondition
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_client::EtcdError;

    #[test]
    fn pauses_grow_to_their_bound() {
        let pauses = [1, 2, 3, 9, u32::MAX].map(|tries| Backoff { tries }.pause().as_secs());
        assert_eq!(pauses, [2, 4, 8, 32, 32]);
    }

    #[test]
    fn a_wrong_password_is_not_tried_again() {
        let etcd = |error: EtcdError| Error::Etcd { error, code: error.code() };
        assert!(!can_pass(&etcd(EtcdError::AuthFailed)) && !can_pass(&etcd(EtcdError::PermissionDenied)));
        assert!(can_pass(&etcd(EtcdError::NoLeader)) && can_pass(&etcd(EtcdError::Timeout)));
        assert!(!can_pass(&Error::Invalid("an endpoint".into())));
    }
}
