//! What a client needs to know.

use crate::{Endpoint, Error, Result, TlsConfig};
use std::{fmt, time::Duration};

/// The shortest time between two probes of a silent connection: an etcd server closes connections that are probed more often.
const KEEP_ALIVE_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// A text that `Debug` does not show.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// A name and a password, for which the server gives a token.
    Password { user: String, password: Secret },
    /// A token that does not change.
    Token(Secret),
}

/// How often and after which pauses a request is repeated that may be repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RetryConfig {
    pub retries_max: u32,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
}

/// What a client needs to know: the endpoints, and options with the defaults that each method names.
///
/// ```
/// use std::time::Duration;
/// use tenure_client::ClientConfig;
///
/// let config = ClientConfig::new(["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"])
///     .dial_timeout(Duration::from_secs(2))
///     .user("root", "secret");
/// # drop(config);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientConfig {
    pub(crate) endpoints: Vec<String>,
    pub(crate) dial_timeout: Duration,
    pub(crate) connection_wait: Option<Duration>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) keep_alive: Option<(Duration, Duration)>,
    pub(crate) request_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
    pub(crate) retry: RetryConfig,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) user: Option<(String, Secret)>,
    pub(crate) token: Option<Secret>,
    pub(crate) auto_sync_interval: Option<Duration>,
    pub(crate) is_old_cluster_rejected: bool,
}

impl ClientConfig {
    /// A configuration with these endpoints (see [`Endpoint`] for their forms) and the default of everything else.
    ///
    /// ```
    /// use tenure_client::ClientConfig;
    ///
    /// let config = ClientConfig::new(["https://db.example:2379", "unix:///run/etcd.sock"]);
    /// # drop(config);
    /// ```
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        ClientConfig {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            dial_timeout: Duration::from_secs(5),
            connection_wait: None,
            request_timeout: None,
            keep_alive: Some((KEEP_ALIVE_INTERVAL_MIN, Duration::from_secs(5))),
            request_bytes_max: 2 * 1024 * 1024,
            response_bytes_max: i32::MAX as usize,
            retry: RetryConfig {
                retries_max: 100,
                backoff_min: Duration::from_millis(25),
                backoff_max: Duration::from_secs(1),
            },
            tls: None,
            user: None,
            token: None,
            auto_sync_interval: None,
            is_old_cluster_rejected: false,
        }
    }

    /// How long an endpoint may take to answer when it is connected to, and a log-in. As long is also waited for a connection, if
    /// [`ClientConfig::connection_wait`] says nothing else. Default: 5 s.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tenure_client::{Client, ClientConfig, Error};
    ///
    /// # async fn example() -> tenure_client::Result<()> {
    /// let config = ClientConfig::new(["127.0.0.1:2379"]).dial_timeout(Duration::from_millis(500));
    /// match Client::connect(config).await {
    ///     Err(Error::Unreachable { reason, .. }) => println!("no server: {reason}"),
    ///     client => println!("{:?}", client?.endpoints()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// How long to wait for a connection while no endpoint has one: when the client is made, and whenever a call finds none. Then
    /// [`Error::Unreachable`]. Endpoints are dialled again and again meanwhile. Default: the dial timeout.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tenure_client::{Client, ClientConfig};
    ///
    /// # async fn example() -> tenure_client::Result<()> {
    /// // The server is being started beside this program.
    /// let config = ClientConfig::new(["127.0.0.1:2379"]).connection_wait(Duration::from_secs(60));
    /// let client = Client::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connection_wait(mut self, limit: Duration) -> Self {
        self.connection_wait = Some(limit);
        self
    }

    /// How long a request with one answer may take, retries included; then [`Error::Timeout`]. Streams (watches, lease
    /// renewals, snapshots) are not concerned. Default: as long as it takes.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tenure_client::{Client, ClientConfig, Error};
    ///
    /// # async fn example() -> tenure_client::Result<()> {
    /// let config = ClientConfig::new(["127.0.0.1:2379"]).request_timeout(Duration::from_secs(3));
    /// let client = Client::connect(config).await?;
    /// if let Err(Error::Timeout { waited }) = client.put("a", "1").await {
    ///     println!("no answer after {waited:?}: perhaps it was written, perhaps not");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// Probes a connection on which calls wait and nothing came for `interval` (10 s at least), and gives it up when the
    /// probe is not answered within `timeout`: so a server that hangs is left within their sum. Default: 10 s and 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenure_client::ClientConfig;
    ///
    /// // A server that hangs is left after 30 + 10 s.
    /// let config = ClientConfig::new(["db.example:2379"]).keep_alive(Duration::from_secs(30), Duration::from_secs(10));
    /// # drop(config);
    /// ```
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keep_alive = Some((interval.max(KEEP_ALIVE_INTERVAL_MIN), timeout));
        self
    }

    /// Probes no connection. A request to a server that hangs then waits until the system gives the connection up.
    ///
    /// ```
    /// use tenure_client::ClientConfig;
    ///
    /// let config = ClientConfig::new(["unix:///run/etcd.sock"]).without_keep_alive();
    /// # drop(config);
    /// ```
    pub fn without_keep_alive(mut self) -> Self {
        self.keep_alive = None;
        self
    }

    /// The largest request that is sent, in bytes. Default: 2 MiB. Servers take 1.5 MiB unless told otherwise.
    ///
    /// ```
    /// use tenure_client::ClientConfig;
    ///
    /// // The server has to allow as much: `--max-request-bytes`.
    /// let config = ClientConfig::new(["db.example:2379"]).request_bytes_max(8 * 1024 * 1024);
    /// # drop(config);
    /// ```
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.request_bytes_max = bytes;
        self
    }

    /// The largest message that is received, in bytes. Default: 2 GiB - 1.
    ///
    /// ```
    /// use tenure_client::ClientConfig;
    ///
    /// let config = ClientConfig::new(["db.example:2379"]).response_bytes_max(64 * 1024 * 1024);
    /// # drop(config);
    /// ```
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.response_bytes_max = bytes;
        self
    }

    /// How often a request is repeated, if repeating it is safe. Default: 100.
    ///
    /// ```
    /// use tenure_client::ClientConfig;
    ///
    /// // Every failure is told at once.
    /// let config = ClientConfig::new(["db.example:2379"]).retries_max(0);
    /// # drop(config);
    /// ```
    pub fn retries_max(mut self, retries: u32) -> Self {
        self.retry.retries_max = retries;
        self
    }

    /// The pause between retries, once a majority of the endpoints has failed: it doubles from `min` to `max`, and each is
    /// lengthened by chance so that clients do not come back together. Default: 25 ms and 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenure_client::ClientConfig;
    ///
    /// let config = ClientConfig::new(["db.example:2379"])
    ///     .retries_max(20)
    ///     .backoff(Duration::from_millis(50), Duration::from_secs(5));
    /// # drop(config);
    /// ```
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.retry.backoff_min = min;
        self.retry.backoff_max = max.max(min);
        self
    }

    /// Secures connections to endpoints that are `https://`, `unixs:` or without a scheme.
    ///
    /// ```
    /// use tenure_client::{ClientConfig, Pem, TlsConfig};
    ///
    /// let tls = TlsConfig::default().trust(Pem::file("/etc/etcd/ca.crt"));
    /// let config = ClientConfig::new(["https://db.example:2379"]).tls(tls);
    /// # drop(config);
    /// ```
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates as this user; the token is fetched, and fetched anew when it expires.
    ///
    /// ```no_run
    /// use tenure_client::{Client, ClientConfig, EtcdError};
    ///
    /// # async fn example() -> tenure_client::Result<()> {
    /// let config = ClientConfig::new(["127.0.0.1:2379"]).user("alice", "secret");
    /// match Client::connect(config).await {
    ///     Err(error) if error.is(EtcdError::AuthFailed) => println!("wrong name or password"),
    ///     client => println!("logged in: {:?}", client?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), Secret(password.into())));
        self
    }

    /// Authenticates with this token, for instance a JSON Web Token. It excludes [`ClientConfig::user`] and is never renewed.
    ///
    /// ```
    /// use tenure_client::ClientConfig;
    ///
    /// let jwt = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmVk";
    /// let config = ClientConfig::new(["db.example:2379"]).token(jwt);
    /// assert!(!format!("{config:?}").contains(jwt), "secrets do not get into logs");
    /// ```
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret(token.into()));
        self
    }

    /// Asks the cluster for its members in this interval, and uses their client URLs as endpoints. Default: never.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenure_client::ClientConfig;
    ///
    /// // One address to begin with; members that are added later are found.
    /// let config = ClientConfig::new(["db.example:2379"]).auto_sync_interval(Duration::from_secs(60));
    /// # drop(config);
    /// ```
    pub fn auto_sync_interval(mut self, interval: Duration) -> Self {
        self.auto_sync_interval = Some(interval).filter(|interval| !interval.is_zero());
        self
    }

    /// Refuses to work with a cluster that has a server older than etcd 3.6, the minor version before this client's.
    ///
    /// ```no_run
    /// use tenure_client::{Client, ClientConfig, Error};
    ///
    /// # async fn example() -> tenure_client::Result<()> {
    /// let config = ClientConfig::new(["127.0.0.1:2379"]).reject_old_cluster();
    /// if let Err(Error::OldCluster { endpoint, version, .. }) = Client::connect(config).await {
    ///     println!("{endpoint} runs {version}: upgrade it first");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reject_old_cluster(mut self) -> Self {
        self.is_old_cluster_rejected = true;
        self
    }

    pub(crate) fn parsed_endpoints(&self) -> Result<Vec<Endpoint>> {
        parse_endpoints(&self.endpoints)
    }

    pub(crate) fn credentials(&self) -> Result<Option<Credentials>> {
        match (&self.user, &self.token) {
            (Some(_), Some(_)) => Err(Error::invalid(
                "etcdclient: mutually exclusive: give either user and password or a token, not both",
            )),
            (Some((user, password)), None) => {
                Ok(Some(Credentials::Password { user: user.clone(), password: password.clone() }))
            }
            (None, Some(token)) => Ok(Some(Credentials::Token(token.clone()))),
            (None, None) => Ok(None),
        }
    }
}

pub(crate) fn parse_endpoints(names: &[String]) -> Result<Vec<Endpoint>> {
    if names.is_empty() {
        return Err(Error::invalid("etcdclient: no available endpoints: name one at least"));
    }
    names.iter().map(|name| name.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_not_shown() {
        let config = ClientConfig::new(["a:1"]).user("root", "SECRET");
        let shown = format!("{config:?} {:?}", config.credentials());
        assert!(shown.contains("root") && !shown.contains("SECRET"), "{shown}");
        let config = ClientConfig::new(["a:1"]).token("SECRET");
        let shown = format!("{config:?} {:?}", config.credentials());
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}
