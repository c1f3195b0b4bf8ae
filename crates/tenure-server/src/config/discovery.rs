//! Where the registry is through which the founders of a cluster find each other.

use super::{ConfigError, Settings};
use std::{path::PathBuf, time::Duration};
use tenure_core::types::Secret;

/// How to reach the registry: `--discovery-*`, `discovery-config` of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoveryConfig {
    /// The cluster that keeps it.
    pub endpoints: Vec<String>,
    /// What the new cluster is called there. It is the token of the new cluster, too.
    pub token: String,
    /// How long a connection may take.
    pub dial_timeout: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Time between pings; less than 10 s is 10 s, as in every client of etcd.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// TLS of endpoints without a scheme, and how that of `https://` endpoints is verified.
    pub tls: Option<DiscoveryTls>,
    /// Name and password.
    pub user: Option<(String, Secret)>,
    /// A token instead of them.
    pub auth_token: Option<Secret>,
}

/// TLS on the way to the registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveryTls {
    /// File of authorities; those of the system if there is none.
    pub authorities: Option<PathBuf>,
    /// Files of the certificate and the key of this client.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate of the registry must have, instead of the endpoint's host.
    pub server_name: Option<String>,
    /// Takes every certificate.
    pub skips_verification: bool,
}

/// What the flags say of a registry, if they name one.
///
/// # Errors
/// With exit code 1: half of a certificate, a user without a password.
pub fn resolve(settings: &Settings) -> Result<Option<DiscoveryConfig>, ConfigError> {
    if settings.discovery_endpoints.0.is_empty() {
        return Ok(None);
    }
    Ok(Some(DiscoveryConfig {
        endpoints: settings.discovery_endpoints.0.iter().map(|endpoint| endpoint.trim().to_owned()).collect(),
        token: settings.discovery_token.clone(),
        dial_timeout: settings.discovery_dial_timeout.or(Duration::from_secs(2)),
        request_timeout: settings.discovery_request_timeout.or(Duration::from_secs(5)),
        keepalive_interval: settings.discovery_keepalive_time.or(Duration::from_secs(2)),
        keepalive_timeout: settings.discovery_keepalive_timeout.or(Duration::from_secs(6)),
        tls: tls(settings)?,
        user: user(settings)?,
        auth_token: given(&settings.discovery_auth_token).map(|token| Secret::from(token.to_owned())),
    }))
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn tls(settings: &Settings) -> Result<Option<DiscoveryTls>, ConfigError> {
    let identity = match (given(&settings.discovery_cert), given(&settings.discovery_key)) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => {
            let text = "--discovery-cert and --discovery-key belong together: give both or none";
            return Err(ConfigError::invalid(text.to_owned()));
        }
    };
    let tls = DiscoveryTls {
        authorities: given(&settings.discovery_cacert).map(PathBuf::from),
        identity,
        server_name: given(&settings.discovery_server_name).map(str::to_owned),
        skips_verification: settings.discovery_insecure_skip_tls_verify,
    };
    let is_wanted =
        !settings.discovery_insecure_transport || tls.identity.is_some() || tls.authorities.is_some();
    let is_needed = |endpoint: &String| endpoint.starts_with("https:") || endpoint.starts_with("unixs:");
    Ok((is_wanted || settings.discovery_endpoints.0.iter().any(is_needed)).then_some(tls))
}

fn user(settings: &Settings) -> Result<Option<(String, Secret)>, ConfigError> {
    let Some(user) = given(&settings.discovery_user) else { return Ok(None) };
    let (user, password) = match given(&settings.discovery_password) {
        Some(password) => (user, password),
        None => user.split_once(':').ok_or_else(|| {
            let text = "--discovery-user has no password: write user:password, or give --discovery-password";
            ConfigError::invalid(text.to_owned())
        })?,
    };
    Ok(Some((user.to_owned(), Secret::from(password.to_owned()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::flag::WordSet;

    fn settings() -> Settings {
        Settings {
            discovery_endpoints: WordSet::of("127.0.0.1:2379"),
            discovery_token: "t".to_owned(),
            ..Settings::default()
        }
    }

    fn resolved(settings: &Settings) -> DiscoveryConfig {
        resolve(settings).expect("it fits").expect("a registry")
    }

    #[test]
    fn tls_is_used_when_something_asks_for_it() {
        assert_eq!(resolve(&Settings::default()), Ok(None));
        assert_eq!(resolved(&settings()).tls, None);
        let secure = Settings { discovery_insecure_transport: false, ..settings() };
        assert_eq!(resolved(&secure).tls, Some(DiscoveryTls::default()));
        let authority = Settings { discovery_cacert: "ca.crt".into(), ..settings() };
        let authorities = Some(PathBuf::from("ca.crt"));
        assert_eq!(resolved(&authority).tls, Some(DiscoveryTls { authorities, ..DiscoveryTls::default() }));
        let https = Settings { discovery_endpoints: WordSet::of("https://h:1"), ..settings() };
        assert!(resolved(&https).tls.is_some());
        let half = Settings { discovery_cert: "client.crt".into(), ..settings() };
        assert!(resolve(&half).is_err_and(|error| error.text.contains("give both or none")));
    }

    #[test]
    fn a_user_has_a_password() {
        let user = |user: &str, password: &str| {
            let settings =
                Settings { discovery_user: user.into(), discovery_password: password.into(), ..settings() };
            resolve(&settings).map(|config| config.and_then(|config| config.user))
        };
        let secret = |text: &str| Secret::from(text.to_owned());
        assert_eq!(user("", ""), Ok(None));
        assert_eq!(user("root:a:b", ""), Ok(Some(("root".into(), secret("a:b")))));
        assert_eq!(user("root", "a"), Ok(Some(("root".into(), secret("a")))));
        assert!(user("root", "").is_err_and(|error| error.text.contains("no password")));
        let shown =
            format!("{:?}", resolved(&Settings { discovery_user: "root:sesame".into(), ..settings() }));
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
